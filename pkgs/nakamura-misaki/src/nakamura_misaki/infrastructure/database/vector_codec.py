"""Vectors on the wire: pgvector's binary format, as an asyncpg codec.

The text format costs 10-15 times as much on a bulk insert. The codec is set on
the driver connection itself, so that SQLAlchemy sessions and bare asyncpg calls
speak the same; SQLAlchemy's side of it is the type ``HalfVector`` in schema.py.
Format: pgvector's ``halfvec_send`` in src/halfvec.c: int16 dimensions, int16 zero, then
big-endian IEEE 754 half-precision floats.
"""

import struct
from array import array
from collections.abc import Iterable, Sequence
from typing import Any

from nakamura_misaki.domain.errors import InvalidInput

MAX_DIMENSIONS = 3900
"""A row of ``note_embeddings`` must fit in one 8 KiB page, since nothing of it is TOASTed."""


def encode_halfvec(vector: Sequence[float] | bytes) -> bytes:
    """The vector as pgvector's halfvec, rounded to half precision; bytes are one already."""
    if isinstance(vector, bytes):
        return vector
    dimensions = len(vector)
    try:
        return struct.pack(f">HH{dimensions}e", dimensions, 0, *vector)
    except OverflowError:
        raise InvalidInput("A vector holds a number beyond 65504, the greatest half.") from None


def encode_halfvecs(vectors: Iterable[Sequence[float]]) -> list[bytes]:
    """Many vectors as halfvecs.

    Arrays of single precision in a sixth of the time that one by one they take,
    after an import that a single vector would not be worth.
    """
    import numpy as np

    encoded = []
    with np.errstate(over="ignore"):  # infinite then, which the database refuses, too
        for vector in vectors:
            if isinstance(vector, array) and vector.typecode == "f":
                halves = np.frombuffer(vector, np.float32).astype(">f2")
                encoded.append(struct.pack(">HH", len(vector), 0) + halves.tobytes())
            else:
                encoded.append(encode_halfvec(vector))
    return encoded


def decode_halfvec(data: bytes) -> "array[float]":
    """The halfvec as an array of single-precision floats (exact: half fits in single)."""
    (dimensions,) = struct.unpack_from(">H", data)
    return array("f", struct.unpack_from(f">{dimensions}e", data, 4))


async def set_vector_codec(connection: Any) -> bool:
    """Teach an asyncpg connection halfvec; False where the extension is not installed yet."""
    schema = await connection.fetchval(
        "SELECT n.nspname FROM pg_type t JOIN pg_namespace n ON n.oid = t.typnamespace"
        " WHERE t.typname = 'halfvec'"
    )
    if schema is None:
        return False
    await connection.set_type_codec(
        "halfvec", schema=schema, encoder=encode_halfvec, decoder=decode_halfvec, format="binary"
    )
    return True
