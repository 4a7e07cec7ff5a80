"""What the service keeps: its tokens, the requests and events it has seen, claims of reminders."""

from alembic import op

from nakamura_misaki.infrastructure.database.migrations.tenancy import protect

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TABLES = ("api_tokens", "idempotency_keys", "inbox_events")


def upgrade() -> None:
    op.execute("""
CREATE TABLE api_tokens (
    workspace_id text NOT NULL,
    id uuid NOT NULL,
    name text NOT NULL,
    secret_hash bytea NOT NULL,
    user_id text,
    created_at timestamptz NOT NULL,
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz,
    CONSTRAINT pk_api_tokens PRIMARY KEY (workspace_id, id),
    CONSTRAINT ck_api_tokens_secret_hash_is_sha256 CHECK (length(secret_hash) = 32)
)""")
    op.execute(
        "CREATE UNIQUE INDEX uq_api_tokens_name ON api_tokens (workspace_id, name)"
        " WHERE revoked_at IS NULL"
    )
    op.execute("""
CREATE TABLE idempotency_keys (
    workspace_id text NOT NULL,
    scope text NOT NULL,
    key text NOT NULL,
    fingerprint bytea NOT NULL,
    entity_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    status integer,
    body bytea,
    location text,
    CONSTRAINT pk_idempotency_keys PRIMARY KEY (workspace_id, scope, key),
    CONSTRAINT ck_idempotency_keys_status_with_body CHECK ((status IS NULL) = (body IS NULL))
)""")
    op.execute(
        "CREATE INDEX ix_idempotency_keys_created ON idempotency_keys (workspace_id, created_at)"
    )
    op.execute("""
CREATE TABLE inbox_events (
    workspace_id text NOT NULL,
    id text NOT NULL,
    body jsonb,
    entity_id uuid NOT NULL,
    received_at timestamptz NOT NULL,
    claimed_until timestamptz NOT NULL,
    attempts integer NOT NULL DEFAULT 1,
    handled_at timestamptz,
    CONSTRAINT pk_inbox_events PRIMARY KEY (workspace_id, id),
    CONSTRAINT ck_inbox_events_body_until_handled CHECK (body IS NOT NULL OR handled_at IS NOT NULL)
)""")
    op.execute("CREATE INDEX ix_inbox_events_received ON inbox_events (workspace_id, received_at)")
    op.execute(
        "CREATE INDEX ix_inbox_events_unfinished ON inbox_events (workspace_id, claimed_until)"
        " WHERE handled_at IS NULL"
    )
    for table in TABLES:
        protect(table)
    op.execute("ALTER TABLE handoffs ADD COLUMN reminder_claimed_until timestamptz")
    op.execute("ALTER TABLE handoffs ADD COLUMN reminder_attempts integer NOT NULL DEFAULT 0")


def downgrade() -> None:
    op.execute("ALTER TABLE handoffs DROP COLUMN reminder_attempts")
    op.execute("ALTER TABLE handoffs DROP COLUMN reminder_claimed_until")
    for table in reversed(TABLES):
        op.execute(f"DROP TABLE {table}")
