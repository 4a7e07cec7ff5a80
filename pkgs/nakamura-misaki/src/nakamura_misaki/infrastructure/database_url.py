"""The one form of a database's URL that the rest of the package works with."""

import re
from collections.abc import Iterator
from urllib.parse import parse_qsl, unquote, urlencode

SCHEME = "postgresql+asyncpg"
_SCHEMES = frozenset({"postgresql", "postgres", SCHEME})

SSL_MODES = frozenset({"disable", "allow", "prefer", "require", "verify-ca", "verify-full"})
_PARAMETERS = frozenset(
    {
        "host",
        "port",
        "user",
        "password",
        "database",
        "passfile",
        "service",
        "servicefile",
        "ssl",
        "krbsrvname",
        "gsslib",
        "target_session_attrs",
        "prepared_statement_cache_size",
    }
)
"""What ``asyncpg.connect`` and SQLAlchemy's dialect for it take as text."""

# As sqlalchemy.engine.make_url reads it, but of the whole text.
_URL = re.compile(
    r"(?P<scheme>[A-Za-z][\w+.-]*)://"
    r"(?P<place>(?:[^:/@?]*(?::(?P<password>[^@]*))?@)?"
    r"(?:\[[0-9A-Fa-f:.%]+\]|[^:/@?\[\]]*)(?::(?P<port>\d{0,5}))?"
    r"(?:/[^?]*)?)"
    r"(?:\?(?P<query>.*))?"
)


def normalise_database_url(url: str) -> str:
    """The URL as ``postgresql+asyncpg://``, libpq's ``sslmode`` as asyncpg's ``ssl``.

    Raises ValueError, with one sentence that shows nothing of the URL's secrets, for
    another kind of URL and for parameters that asyncpg does not know.
    """
    match = _URL.fullmatch(url.strip()) if url.strip().isprintable() else None
    if match is None or match["scheme"].lower() not in _SCHEMES:
        raise ValueError(
            "it must look like postgresql+asyncpg://user:password@host:5432/database,"
            " with %40 for an @ in the password"
        )
    port = match["port"]
    if port and not 0 < int(port) < 65536:
        raise ValueError("its port must be a number from 1 to 65535")
    query = match["query"]
    return f"{SCHEME}://{match['place']}" + (f"?{_normalise_query(query)}" if query else "")


def password_of(url: str) -> Iterator[str]:
    """The passwords in a normalised URL, as they are and as they are written there."""
    match = _URL.fullmatch(url)
    if match is None:
        return
    if match["password"]:
        yield match["password"]
        yield unquote(match["password"])
    for name, value in parse_qsl(match["query"] or ""):
        if name == "password":
            yield value


def _normalise_query(query: str) -> str:
    parameters = parse_qsl(query, keep_blank_values=True)
    names = [name for name, _ in parameters]
    if "ssl" in names and "sslmode" in names:
        raise ValueError("ssl and sslmode say the same; leave one of them out")
    for name, value in parameters:
        if name not in _PARAMETERS | {"sslmode"}:
            raise ValueError(f"its parameter {name!r} is not one that asyncpg knows")
        if name == "prepared_statement_cache_size" and not value.isdigit():
            raise ValueError(f"its {name} must be a whole number")
        if name in ("ssl", "sslmode") and value not in SSL_MODES:
            raise ValueError(f"its {name} must be one of {', '.join(sorted(SSL_MODES))}")
    if "sslmode" not in names:
        return query
    return urlencode([("ssl" if n == "sslmode" else n, v) for n, v in parameters], safe="/:,")
