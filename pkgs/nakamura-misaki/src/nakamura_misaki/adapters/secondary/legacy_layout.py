"""Where what lies in the directory that the JSON storage and an export share.

``sessions/user_<user>_sessions.json``, ``notes/<category>.json`` for the five
categories, ``notes/note_<id>.json`` for all other notes, ``tasks.json`` and
``handoffs.json``. Beside them the JSON storage keeps what only the service needs
(``SERVICE_FILES``), which is neither imported nor exported.
"""

from hashlib import blake2b
from urllib.parse import quote

from nakamura_misaki.domain.note import CATEGORIES, Note

NOTES = "notes"
SESSIONS = "sessions"
TASKS_FILE = "tasks.json"
HANDOFFS_FILE = "handoffs.json"

TOKENS_FILE = "api_tokens.json"
IDEMPOTENCY_FILE = "idempotency_keys.json"
INBOX_FILE = "inbox_events.json"
REMINDER_CLAIMS_FILE = "reminder_claims.json"
SERVICE_FILES = frozenset((TOKENS_FILE, IDEMPOTENCY_FILE, INBOX_FILE, REMINDER_CLAIMS_FILE))

_LONGEST_NAME = 180


def sessions_path(user_id: str) -> str:
    """The file of the user's sessions. Any text is a safe file name, no two share one."""
    # quote leaves "~" alone, which marks a shortened name here.
    name = quote(user_id, safe="").replace("~", "%7E")
    if name.startswith("."):
        name = "%2E" + name[1:]
    if len(name) > _LONGEST_NAME:
        digest = blake2b(user_id.encode(), digest_size=16).hexdigest()
        name = f"{name[:_LONGEST_NAME]}~{digest}"
    return f"{SESSIONS}/user_{name}_sessions.json"


def note_path(note: Note) -> str:
    """The file the note belongs into: its category's array, or one of its own."""
    if note.category in CATEGORIES:
        return category_path(note.category)
    return f"{NOTES}/note_{note.id}.json"


def category_path(category: str) -> str:
    """The file that holds the array of one of the five categories."""
    return f"{NOTES}/{category}.json"
