"""Find notes by meaning: vectors of any model beside the notes, exact or by HNSW."""

from alembic import op

from nakamura_misaki.infrastructure.database.migrations.tenancy import protect

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

INDEX_NAME = """
CREATE FUNCTION nakamura_misaki_index_name(workspace text, model text, only_user_id text)
RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $body$
    SELECT 'ix_note_embeddings_hnsw_'
        || left(md5(jsonb_build_array(workspace, model, only_user_id)::text), 16)
$body$"""

NEAREST = """
CREATE FUNCTION nakamura_misaki_nearest(
    only_user_id text, of_model text, target halfvec, max_notes integer
)
RETURNS TABLE (note_id uuid, distance double precision)
LANGUAGE plpgsql STABLE
SET hnsw.ef_search = 200 SET hnsw.iterative_scan = 'strict_order' AS $body$
#variable_conflict use_column
-- Where there is an HNSW index for just this user (or for everybody): by it over the rows that it
-- holds, exact over the rest. Elsewhere exact over all, which is fast for a few thousand rows.
DECLARE
    workspace CONSTANT text := current_setting('nakamura_misaki.workspace_id', true);
    whose CONSTANT text :=
        CASE WHEN only_user_id IS NULL THEN '' ELSE format('AND user_id = %L', only_user_id) END;
    ids uuid[];
    distances double precision[];
BEGIN
    -- A process that still has the model from before a switch must hear of it, not find nothing.
    IF NOT EXISTS (
        SELECT FROM embedding_models
        WHERE workspace_id = workspace AND model = of_model AND is_active
    ) THEN
        RAISE EXCEPTION 'the embedding model % is not in use', of_model USING ERRCODE = 'NM001';
    END IF;
    IF EXISTS (
        SELECT FROM pg_index
        WHERE indexrelid =
                to_regclass(nakamura_misaki_index_name(workspace, of_model, only_user_id))
            AND indisvalid
    ) THEN
        -- Literals, since a partial index can't be chosen by what a parameter will hold.
        EXECUTE format($query$
            SELECT array_agg(note_id ORDER BY distance, note_id), array_agg(distance ORDER BY distance, note_id)
            FROM (
                SELECT * FROM (
                    (SELECT note_id, embedding::halfvec(%1$s) <=> $1 AS distance
                    FROM note_embeddings
                    WHERE workspace_id = %2$L AND model = %3$L AND is_indexed %4$s
                    ORDER BY embedding::halfvec(%1$s) <=> $1 LIMIT $2)
                    UNION ALL
                    (SELECT note_id, embedding <=> $1
                    FROM note_embeddings
                    WHERE workspace_id = %2$L AND model = %3$L AND NOT is_indexed %4$s
                    ORDER BY embedding <=> $1 LIMIT $2)
                ) AS either
                ORDER BY distance, note_id LIMIT $2
            ) AS nearest
            $query$, vector_dims(target), workspace, of_model, whose
        ) INTO ids, distances USING target, max_notes;
        IF cardinality(ids) >= max_notes THEN
            RETURN QUERY SELECT * FROM unnest(ids, distances);
            RETURN;
        END IF;
        -- An approximate index may lose rows; never give fewer than there are.
    END IF;
    IF only_user_id IS NULL THEN
        RETURN QUERY
        SELECT e.note_id, e.embedding <=> target AS d FROM note_embeddings AS e
        WHERE e.workspace_id = workspace AND e.model = of_model
        ORDER BY d, e.note_id LIMIT max_notes;
    ELSE
        RETURN QUERY
        SELECT e.note_id, e.embedding <=> target AS d FROM note_embeddings AS e
        WHERE e.workspace_id = workspace AND e.model = of_model AND e.user_id = only_user_id
        ORDER BY d, e.note_id LIMIT max_notes;
    END IF;
END
$body$"""


def upgrade() -> None:
    op.execute("""
CREATE TABLE embedding_models (
    workspace_id text NOT NULL,
    model text NOT NULL,
    dimensions integer NOT NULL,
    is_active boolean NOT NULL,
    CONSTRAINT pk_embedding_models PRIMARY KEY (workspace_id, model),
    CONSTRAINT ck_embedding_models_dimensions_fit_a_page CHECK (dimensions BETWEEN 1 AND 3900)
)""")
    op.execute(
        "CREATE UNIQUE INDEX uq_embedding_models_active ON embedding_models (workspace_id)"
        " WHERE is_active"
    )
    op.execute("""
CREATE TABLE note_embeddings (
    workspace_id text NOT NULL,
    note_id uuid NOT NULL,
    model text NOT NULL,
    user_id text NOT NULL,
    is_indexed boolean NOT NULL DEFAULT false,
    embedding halfvec NOT NULL,
    CONSTRAINT pk_note_embeddings PRIMARY KEY (workspace_id, note_id, model),
    CONSTRAINT fk_note_embeddings_notes FOREIGN KEY (workspace_id, note_id)
        REFERENCES notes (workspace_id, id) ON DELETE CASCADE
)""")
    # Out of line, as pgvector's type asks for by default, an exact scan costs 4-9 times as much.
    op.execute("ALTER TABLE note_embeddings ALTER COLUMN embedding SET STORAGE PLAIN")
    op.execute(
        "CREATE INDEX ix_note_embeddings_scan"
        " ON note_embeddings (workspace_id, model, user_id, is_indexed)"
    )
    protect("embedding_models")
    protect("note_embeddings")
    op.execute(INDEX_NAME)
    # Loads the extension's library: without it, hnsw.* below are no settings yet.
    op.execute("SELECT '[1]'::halfvec")
    op.execute(NEAREST)


def downgrade() -> None:
    op.execute("DROP FUNCTION nakamura_misaki_nearest")
    op.execute("DROP FUNCTION nakamura_misaki_index_name")
    op.execute("DROP TABLE note_embeddings")
    op.execute("DROP TABLE embedding_models")
