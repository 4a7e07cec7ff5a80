"""The tables, as the present release expects them.

``workspace_id`` comes first in every primary key, unique key, foreign key and
hot index: a workspace is a tenant, the unit of row-level security, and what the
data would be distributed by. Functions, policies and grants can't be said in
SQLAlchemy's terms; they stand in the migrations (``migrations/versions``), and
a test compares what those build with what is declared here.
"""

from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import (
    Boolean,
    CheckConstraint,
    Column,
    Computed,
    DateTime,
    Dialect,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    desc,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)


class HalfVector(HALFVEC):
    """pgvector's halfvec of any number of dimensions; values are sequences of floats.

    With pgvector's operators (``cosine_distance`` and its like), but without its
    conversion to text: the driver's binary codec (vector_codec.py) takes the values.
    """

    cache_ok = True

    def bind_processor(self, dialect: Dialect) -> None:
        return None

    def result_processor(self, dialect: Dialect, coltype: object) -> None:
        return None


def _time(name: str, *, nullable: bool = False) -> Column[object]:
    return Column(name, DateTime(timezone=True), nullable=nullable)


def _text(name: str, *, nullable: bool = False, default: str | None = None) -> Column[str]:
    return Column(name, Text, nullable=nullable, server_default=default)


tasks = Table(
    "tasks",
    metadata,
    Column("workspace_id", Text, primary_key=True),
    Column("id", Uuid, primary_key=True),
    _text("title"),
    _text("description", default=""),
    _text("assignee_user_id"),
    _text("creator_user_id"),
    _text("status"),
    _time("due_at", nullable=True),
    _time("completed_at", nullable=True),
    _time("created_at"),
    _time("updated_at"),
    CheckConstraint(r"title ~ '\S'", name="title_not_blank"),
    CheckConstraint(
        "status IN ('pending', 'in_progress', 'completed', 'cancelled')", name="status_known"
    ),
    CheckConstraint(
        "(status = 'completed') = (completed_at IS NOT NULL)", name="completed_at_when_completed"
    ),
    Index("ix_tasks_assignee", "workspace_id", "assignee_user_id", "due_at", "id"),
)

handoffs = Table(
    "handoffs",
    metadata,
    Column("workspace_id", Text, primary_key=True),
    Column("id", Uuid, primary_key=True),
    Column("task_id", Uuid),
    _text("from_user_id"),
    _text("to_user_id"),
    _text("progress_note"),
    _text("next_steps", default=""),
    _time("handoff_at"),
    _time("reminded_at", nullable=True),
    _time("completed_at", nullable=True),
    _time("created_at"),
    # Who sends the reminder holds the handoff until then; how often that was tried.
    _time("reminder_claimed_until", nullable=True),
    Column("reminder_attempts", Integer, nullable=False, server_default="0"),
    ForeignKeyConstraint(
        ["workspace_id", "task_id"], ["tasks.workspace_id", "tasks.id"], ondelete="CASCADE"
    ),
    CheckConstraint("from_user_id <> to_user_id", name="two_people"),
    CheckConstraint(r"progress_note ~ '\S'", name="progress_note_not_blank"),
    Index("ix_handoffs_to_user", "workspace_id", "to_user_id", "handoff_at", "id"),
    Index(
        "ix_handoffs_task", "workspace_id", "task_id", postgresql_where=text("task_id IS NOT NULL")
    ),
    Index(
        "ix_handoffs_pending_reminder",
        "workspace_id",
        "handoff_at",
        postgresql_where=text("reminded_at IS NULL AND completed_at IS NULL"),
    ),
)

sessions = Table(
    "sessions",
    metadata,
    Column("workspace_id", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    _text("user_id"),
    _text("title", default=""),
    _text("workspace_path", nullable=True),
    Column("message_count", Integer, nullable=False, server_default="0"),
    Column("is_active", Boolean, nullable=False, server_default=text("true")),
    Column("metadata", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    _time("last_active_at"),
    _time("created_at"),
    CheckConstraint("message_count >= 0", name="message_count_not_negative"),
    Index("ix_sessions_user", "workspace_id", "user_id", "last_active_at"),
    Index("ix_sessions_last_active", "workspace_id", "last_active_at"),
)

notes = Table(
    "notes",
    metadata,
    Column("workspace_id", Text, primary_key=True),
    Column("id", Uuid, primary_key=True),
    # No foreign key: legacy notes name sessions that are gone, and outlive them.
    _text("session_id", nullable=True),
    _text("user_id"),
    _text("category", nullable=True),
    _text("content"),
    Column("metadata", JSONB, nullable=False, server_default=text("'{}'::jsonb")),
    _text("source_key", nullable=True),
    _time("created_at"),
    _time("updated_at"),
    Column("search_tokens", TSVECTOR, Computed("nakamura_misaki_tokens(content)", persisted=True)),
    UniqueConstraint("workspace_id", "source_key"),
    CheckConstraint(r"content ~ '\S'", name="content_not_blank"),
    Index("ix_notes_user", "workspace_id", "user_id", desc("created_at"), desc("id")),
    Index(
        "ix_notes_session",
        "workspace_id",
        "session_id",
        "created_at",
        postgresql_where=text("session_id IS NOT NULL"),
    ),
    Index(
        "ix_notes_category",
        "workspace_id",
        "category",
        "created_at",
        postgresql_where=text("category IS NOT NULL"),
    ),
    Index("ix_notes_created", "workspace_id", "created_at"),
    Index(
        "ix_notes_metadata",
        "metadata",
        postgresql_using="gin",
        postgresql_ops={"metadata": "jsonb_path_ops"},
    ),
    # The tenant and the user stand in the index as an array, so that a rare user's search does
    # not fetch everybody's rows, and without the extension btree_gin.
    Index(
        "ix_notes_search",
        "search_tokens",
        text("(ARRAY[workspace_id, user_id])"),
        postgresql_using="gin",
    ),
)

note_embeddings = Table(
    "note_embeddings",
    metadata,
    Column("workspace_id", Text, primary_key=True),
    Column("note_id", Uuid, primary_key=True),
    Column("model", Text, primary_key=True),
    _text("user_id"),
    # Whether the vector indexes hold this row. Rows are written without, so that no insert ever
    # waits for an HNSW; maintenance sets it, and until then an exact scan covers them.
    Column("is_indexed", Boolean, nullable=False, server_default=text("false")),
    Column("embedding", HalfVector, nullable=False),
    # Of the text that the vector was made of: the same text need not be embedded twice.
    Column("text_hash", Uuid),
    ForeignKeyConstraint(
        ["workspace_id", "note_id"], ["notes.workspace_id", "notes.id"], ondelete="CASCADE"
    ),
    Index("ix_note_embeddings_scan", "workspace_id", "model", "user_id", "is_indexed"),
    Index(
        "ix_note_embeddings_text",
        "workspace_id",
        "text_hash",
        postgresql_where=text("text_hash IS NOT NULL"),
    ),
)

spare_embeddings = Table(
    "spare_embeddings",
    metadata,
    Column("workspace_id", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("text_hash", Uuid, primary_key=True),
    Column("embedding", HalfVector, nullable=False),
    _time("kept_at"),
)

embedding_models = Table(
    "embedding_models",
    metadata,
    Column("workspace_id", Text, primary_key=True),
    Column("model", Text, primary_key=True),
    Column("dimensions", Integer, nullable=False),
    Column("is_active", Boolean, nullable=False),
    # When another model took its place; the last one replaced is what a rollback goes back to.
    _time("replaced_at", nullable=True),
    CheckConstraint("dimensions BETWEEN 1 AND 3900", name="dimensions_fit_a_page"),
    Index(
        "uq_embedding_models_active",
        "workspace_id",
        unique=True,
        postgresql_where=text("is_active"),
    ),
)

note_common_terms = Table(
    "note_common_terms",
    metadata,
    Column("workspace_id", Text, primary_key=True),
    Column("term", Text, primary_key=True),
    Column("note_count", Integer, nullable=False),
)

api_tokens = Table(
    "api_tokens",
    metadata,
    Column("workspace_id", Text, primary_key=True),
    Column("id", Uuid, primary_key=True),
    _text("name"),
    Column("secret_hash", LargeBinary, nullable=False),
    _text("user_id", nullable=True),
    _time("created_at"),
    _time("expires_at", nullable=True),
    _time("revoked_at", nullable=True),
    _time("last_used_at", nullable=True),
    CheckConstraint("length(secret_hash) = 32", name="secret_hash_is_sha256"),
    Index(
        "uq_api_tokens_name",
        "workspace_id",
        "name",
        unique=True,
        postgresql_where=text("revoked_at IS NULL"),
    ),
)

idempotency_keys = Table(
    "idempotency_keys",
    metadata,
    Column("workspace_id", Text, primary_key=True),
    Column("scope", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("fingerprint", LargeBinary, nullable=False),
    Column("entity_id", Uuid, nullable=False),
    _time("created_at"),
    Column("status", Integer),
    Column("body", LargeBinary),
    _text("location", nullable=True),
    CheckConstraint("(status IS NULL) = (body IS NULL)", name="status_with_body"),
    Index("ix_idempotency_keys_created", "workspace_id", "created_at"),
)

inbox_events = Table(
    "inbox_events",
    metadata,
    Column("workspace_id", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("body", JSONB),
    Column("entity_id", Uuid, nullable=False),
    _time("received_at"),
    _time("claimed_until"),
    Column("attempts", Integer, nullable=False, server_default="1"),
    _time("handled_at", nullable=True),
    CheckConstraint("body IS NOT NULL OR handled_at IS NOT NULL", name="body_until_handled"),
    Index("ix_inbox_events_received", "workspace_id", "received_at"),
    Index(
        "ix_inbox_events_unfinished",
        "workspace_id",
        "claimed_until",
        postgresql_where=text("handled_at IS NULL"),
    ),
)

__all__ = [
    "HalfVector",
    "api_tokens",
    "embedding_models",
    "handoffs",
    "idempotency_keys",
    "inbox_events",
    "metadata",
    "note_common_terms",
    "note_embeddings",
    "notes",
    "sessions",
    "spare_embeddings",
    "tasks",
]
