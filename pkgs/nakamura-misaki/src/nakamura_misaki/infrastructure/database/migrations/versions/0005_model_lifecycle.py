"""Vectors of several models side by side, each of a known text, and kept when the text goes."""

from alembic import op

from nakamura_misaki.infrastructure.database.migrations.tenancy import protect

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TEXT_HASH = """
CREATE FUNCTION nakamura_misaki_text_hash(content text) RETURNS uuid
LANGUAGE sql STABLE PARALLEL SAFE STRICT
-- The first half of SHA-256. Of type uuid because that has a fixed length of 16 bytes.
RETURN encode(substr(sha256(convert_to(content, 'UTF8')), 1, 16), 'hex')::uuid"""

FORGET_VECTORS = """
CREATE FUNCTION nakamura_misaki_forget_vectors() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $body$
-- A changed text makes every stored vector of it a lie. A statement in here sees what was committed
-- while the update waited for the row, so no vector that was stored meanwhile escapes.
BEGIN
    DELETE FROM note_embeddings WHERE workspace_id = NEW.workspace_id AND note_id = NEW.id;
    RETURN NULL;
END
$body$"""

KEEP_VECTOR = """
CREATE FUNCTION nakamura_misaki_keep_vector() RETURNS trigger
LANGUAGE plpgsql SET search_path = public, pg_temp AS $body$
-- For the same text, should it come back; not of a model that has been given up.
BEGIN
    INSERT INTO spare_embeddings (workspace_id, model, text_hash, embedding, kept_at)
    SELECT OLD.workspace_id, OLD.model, OLD.text_hash, OLD.embedding, now()
    FROM embedding_models AS m
    WHERE m.workspace_id = OLD.workspace_id AND m.model = OLD.model
    ON CONFLICT (workspace_id, model, text_hash) DO UPDATE SET kept_at = excluded.kept_at;
    RETURN NULL;
END
$body$"""


def upgrade() -> None:
    op.execute("ALTER TABLE embedding_models ADD COLUMN replaced_at timestamptz")
    op.execute(TEXT_HASH)
    # Null in older rows: their texts would all have to be read, and the table written anew.
    op.execute("ALTER TABLE note_embeddings ADD COLUMN text_hash uuid")
    op.execute(
        "CREATE INDEX ix_note_embeddings_text ON note_embeddings (workspace_id, text_hash)"
        " WHERE text_hash IS NOT NULL"
    )
    op.execute("""
CREATE TABLE spare_embeddings (
    workspace_id text NOT NULL,
    model text NOT NULL,
    text_hash uuid NOT NULL,
    embedding halfvec NOT NULL,
    kept_at timestamptz NOT NULL,
    CONSTRAINT pk_spare_embeddings PRIMARY KEY (workspace_id, model, text_hash)
)""")
    op.execute("ALTER TABLE spare_embeddings ALTER COLUMN embedding SET STORAGE PLAIN")
    protect("spare_embeddings")
    op.execute(FORGET_VECTORS)
    op.execute(
        "CREATE TRIGGER forget_vectors AFTER UPDATE OF content ON notes FOR EACH ROW"
        " WHEN (OLD.content IS DISTINCT FROM NEW.content)"
        " EXECUTE FUNCTION nakamura_misaki_forget_vectors()"
    )
    op.execute(KEEP_VECTOR)
    op.execute(
        "CREATE TRIGGER keep_vector AFTER DELETE ON note_embeddings FOR EACH ROW"
        " WHEN (OLD.text_hash IS NOT NULL) EXECUTE FUNCTION nakamura_misaki_keep_vector()"
    )


def downgrade() -> None:
    op.execute("DROP TRIGGER keep_vector ON note_embeddings")
    op.execute("DROP FUNCTION nakamura_misaki_keep_vector")
    op.execute("DROP TRIGGER forget_vectors ON notes")
    op.execute("DROP FUNCTION nakamura_misaki_forget_vectors")
    op.execute("DROP TABLE spare_embeddings")
    op.execute("DROP INDEX ix_note_embeddings_text")
    op.execute("ALTER TABLE note_embeddings DROP COLUMN text_hash")
    op.execute("DROP FUNCTION nakamura_misaki_text_hash")
    op.execute("ALTER TABLE embedding_models DROP COLUMN replaced_at")
