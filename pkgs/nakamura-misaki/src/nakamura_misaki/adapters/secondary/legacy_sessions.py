"""Sessions as the legacy files hold them, and as this project writes them there.

Everything that a session has no place for (``claude_options`` and unknown
fields) is its metadata, and is written back as fields. The naive local times
are accompanied by ``…_exact`` ones that carry their offset: an hour that a
clock shows twice, and a change of the configured time zone, do no harm.
"""

from datetime import UTC, datetime, tzinfo
from typing import Any

from nakamura_misaki.adapters.secondary.legacy_json import ordered
from nakamura_misaki.adapters.secondary.legacy_times import (
    ROUNDING,
    aware_or_none,
    in_zone,
    modification_time,
    parse_time,
)
from nakamura_misaki.domain.errors import InvalidInput
from nakamura_misaki.domain.session import Session

_LEGACY_FIELDS = frozenset(
    {
        "user_id",
        "session_id",
        "created_at",
        "last_active",
        "title",
        "message_count",
        "workspace_path",
        "is_active",
    }
)
_EXACT_FIELDS = frozenset({"created_at_exact", "last_active_exact"})
_VERBATIM = "metadata_verbatim"
_OPTIONS = "claude_options"
_RESERVED = _LEGACY_FIELDS | _EXACT_FIELDS | {_VERBATIM, "metadata"}

_TELLING_FIELDS = ("last_active", "message_count", "workspace_path", _OPTIONS, "is_active")


def looks_like_session(value: Any) -> bool:
    """Whether ``value`` is a session's object rather than a note's."""
    return (
        isinstance(value, dict)
        and "content" not in value
        and any(field in value for field in _TELLING_FIELDS)
    )


def read_session(
    entry: Any, key: str | None, *, time_zone: tzinfo, modified_ns: int
) -> tuple[Session, bool]:
    """The session, and whether its times are only the file's modification time.

    ``key`` is the one under which the entry stands in its file, if it does.
    Naive times are taken as local time of ``time_zone``. Raises InvalidInput.
    """
    if not isinstance(entry, dict):
        raise InvalidInput(f"a session must be an object, not {type(entry).__name__}.")
    user_id = entry.get("user_id")
    if user_id is None:
        raise InvalidInput("user_id is missing.")
    verbatim = entry.get(_VERBATIM) is True and isinstance(entry.get("metadata"), dict)
    unknown = {name: entry[name] for name in entry if name not in _LEGACY_FIELDS}
    session_id = entry.get("session_id")
    if key is not None:
        if session_id not in (None, key):
            unknown["session_id"] = session_id
        session_id = key
    if session_id is None:
        raise InvalidInput("session_id is missing.")

    created_at = _moment(entry, "created_at", time_zone, unknown)
    last_active_at = _moment(entry, "last_active", time_zone, unknown)
    undated = created_at is None and last_active_at is None
    if undated:
        created_at = modification_time(modified_ns)
    if verbatim:
        metadata = unknown.pop("metadata")
        del unknown[_VERBATIM]
        if unknown.get(_OPTIONS) == {}:
            del unknown[_OPTIONS]
        metadata = {**metadata, **unknown}
    else:
        metadata = unknown
    session = Session(
        id=session_id,
        user_id=user_id,
        title=_present(entry.get("title"), ""),
        workspace_path=entry.get("workspace_path"),
        message_count=_present(entry.get("message_count"), 0),
        is_active=_present(entry.get("is_active"), True),
        metadata=metadata,
        last_active_at=last_active_at or created_at,  # type: ignore[arg-type]  # or the domain refuses
        created_at=created_at or last_active_at,  # type: ignore[arg-type]  # or the domain refuses
    )
    return session, undated


def session_entry(session: Session, time_zone: tzinfo) -> dict[str, Any]:
    """The session as it stands under its id in its user's file."""
    metadata = session.metadata
    created_at = in_zone(session.created_at, time_zone)
    last_active_at = in_zone(session.last_active_at, time_zone)
    plain = _OPTIONS in metadata and not _RESERVED & metadata.keys()
    entry: dict[str, Any] = {
        "user_id": session.user_id,
        "session_id": session.id,
        "created_at": _naive_text(created_at),
        "last_active": _naive_text(last_active_at),
        "title": session.title,
        "message_count": session.message_count,
        "workspace_path": session.workspace_path,
        _OPTIONS: ordered(metadata[_OPTIONS]) if plain else {},
        "is_active": session.is_active,
        "created_at_exact": created_at.isoformat(timespec="microseconds"),
        "last_active_exact": last_active_at.isoformat(timespec="microseconds"),
    }
    if plain:
        return entry | {k: v for k, v in ordered(metadata).items() if k != _OPTIONS}
    return entry | {"metadata": ordered(metadata), _VERBATIM: True}


def _moment(
    entry: dict[str, Any], field: str, time_zone: tzinfo, unknown: dict[str, Any]
) -> datetime | None:
    """The time of ``field`` in UTC, as exact as it is known.

    The exact field counts unless a program that knows only the legacy field has
    changed that one since.
    """
    value = entry.get(field)
    exact = aware_or_none(entry.get(f"{field}_exact"))
    if exact is not None:
        del unknown[f"{field}_exact"]
        if value is None or _says_the_same(value, exact):
            return exact.astimezone(UTC)
    return None if value is None else parse_time(value, field, time_zone)


def _says_the_same(text: Any, exact: datetime) -> bool:
    try:
        naive = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return False
    return naive.tzinfo is None and abs(naive - exact.replace(tzinfo=None)) < ROUNDING


def _naive_text(local: datetime) -> str:
    return local.replace(tzinfo=None).isoformat(timespec="microseconds")


def _present(value: Any, default: Any) -> Any:
    return default if value is None else value
