"""Vectors on the wire: pgvector's binary format, as an asyncpg codec.

The text format costs 10-15 times as much on a bulk insert. The codec is set on
the driver connection itself, so that SQLAlchemy sessions and bare asyncpg calls
speak the same; SQLAlchemy's side of it is the type ``HalfVector`` in schema.py.
Format: pgvector's ``halfvec_send`` in src/halfvec.c: int16 dimensions, int16 zero, then
big-endian IEEE 754 half-precision floats.
"""

import struct
from array import array
from collections.abc import Sequence
from typing import Any

MAX_DIMENSIONS = 3900
"""A row of ``note_embeddings`` must fit in one 8 KiB page, since nothing of it is TOASTed."""


def encode_halfvec(vector: Sequence[float]) -> bytes:
    """The vector as pgvector's halfvec, rounded to half precision."""
    dimensions = len(vector)
    return struct.pack(f">HH{dimensions}e", dimensions, 0, *vector)


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
