"""Row-level security of a table that begins with workspace_id.

Part of the migrations' vocabulary: revisions that are out in the world call it,
so what it does for them must not change.
"""

from alembic import op


def protect(table: str) -> None:
    """Let a role see and write only rows of the workspace that its connection names.

    No setting, no rows. FORCE puts the table's owner under the policy, too, for
    installations in which one role both owns and runs.
    """
    op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
    op.execute(f"ALTER TABLE {table} FORCE ROW LEVEL SECURITY")
    same_workspace = "workspace_id = current_setting('nakamura_misaki.workspace_id', true)"
    op.execute(
        f"CREATE POLICY workspace ON {table} USING ({same_workspace}) WITH CHECK ({same_workspace})"
    )
