"""Tasks, handoffs, sessions and notes, each row of one workspace."""

from alembic import op

from nakamura_misaki.infrastructure.database.migrations.tenancy import protect

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TABLES = ("tasks", "handoffs", "sessions", "notes")


def upgrade() -> None:
    op.execute(r"""
CREATE TABLE tasks (
    workspace_id text NOT NULL,
    id uuid NOT NULL,
    title text NOT NULL,
    description text NOT NULL DEFAULT '',
    assignee_user_id text NOT NULL,
    creator_user_id text NOT NULL,
    status text NOT NULL,
    due_at timestamptz,
    completed_at timestamptz,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT pk_tasks PRIMARY KEY (workspace_id, id),
    CONSTRAINT ck_tasks_title_not_blank CHECK (title ~ '\S'),
    CONSTRAINT ck_tasks_status_known
        CHECK (status IN ('pending', 'in_progress', 'completed', 'cancelled')),
    CONSTRAINT ck_tasks_completed_at_when_completed
        CHECK ((status = 'completed') = (completed_at IS NOT NULL))
)""")
    op.execute(
        "CREATE INDEX ix_tasks_assignee ON tasks (workspace_id, assignee_user_id, due_at, id)"
    )
    op.execute(r"""
CREATE TABLE handoffs (
    workspace_id text NOT NULL,
    id uuid NOT NULL,
    task_id uuid,
    from_user_id text NOT NULL,
    to_user_id text NOT NULL,
    progress_note text NOT NULL,
    next_steps text NOT NULL DEFAULT '',
    handoff_at timestamptz NOT NULL,
    reminded_at timestamptz,
    completed_at timestamptz,
    created_at timestamptz NOT NULL,
    CONSTRAINT pk_handoffs PRIMARY KEY (workspace_id, id),
    CONSTRAINT fk_handoffs_tasks FOREIGN KEY (workspace_id, task_id)
        REFERENCES tasks (workspace_id, id) ON DELETE CASCADE,
    CONSTRAINT ck_handoffs_two_people CHECK (from_user_id <> to_user_id),
    CONSTRAINT ck_handoffs_progress_note_not_blank CHECK (progress_note ~ '\S')
)""")
    op.execute(
        "CREATE INDEX ix_handoffs_to_user ON handoffs (workspace_id, to_user_id, handoff_at, id)"
    )
    op.execute(
        "CREATE INDEX ix_handoffs_task ON handoffs (workspace_id, task_id) WHERE task_id IS NOT NULL"
    )
    op.execute(
        "CREATE INDEX ix_handoffs_pending_reminder ON handoffs (workspace_id, handoff_at)"
        " WHERE reminded_at IS NULL AND completed_at IS NULL"
    )
    op.execute("""
CREATE TABLE sessions (
    workspace_id text NOT NULL,
    id text NOT NULL,
    user_id text NOT NULL,
    title text NOT NULL DEFAULT '',
    workspace_path text,
    message_count integer NOT NULL DEFAULT 0,
    is_active boolean NOT NULL DEFAULT true,
    metadata jsonb NOT NULL DEFAULT '{}'::jsonb,
    last_active_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL,
    CONSTRAINT pk_sessions PRIMARY KEY (workspace_id, id),
    CONSTRAINT ck_sessions_message_count_not_negative CHECK (message_count >= 0)
)""")
    op.execute("CREATE INDEX ix_sessions_user ON sessions (workspace_id, user_id, last_active_at)")
    op.execute("CREATE INDEX ix_sessions_last_active ON sessions (workspace_id, last_active_at)")
    op.execute(r"""
CREATE TABLE notes (
    workspace_id text NOT NULL,
    id uuid NOT NULL,
    session_id text,
    user_id text NOT NULL,
    category text,
    content text NOT NULL,
    metadata jsonb NOT NULL DEFAULT '{}'::jsonb,
    source_key text,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CONSTRAINT pk_notes PRIMARY KEY (workspace_id, id),
    CONSTRAINT uq_notes_workspace_id_source_key UNIQUE (workspace_id, source_key),
    CONSTRAINT ck_notes_content_not_blank CHECK (content ~ '\S')
)""")
    op.execute(
        "CREATE INDEX ix_notes_user ON notes (workspace_id, user_id, created_at DESC, id DESC)"
    )
    op.execute(
        "CREATE INDEX ix_notes_session ON notes (workspace_id, session_id, created_at)"
        " WHERE session_id IS NOT NULL"
    )
    for table in TABLES:
        protect(table)


def downgrade() -> None:
    for table in reversed(TABLES):
        op.execute(f"DROP TABLE {table}")
