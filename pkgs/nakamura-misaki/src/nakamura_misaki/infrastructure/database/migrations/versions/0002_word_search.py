"""Find notes by their words, Japanese ones too, without any extension."""

from alembic import op

from nakamura_misaki.infrastructure.database.migrations.tenancy import protect

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

HAN = r"\u3005-\u3007\u303b\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"
HIRAGANA = r"\u3041-\u3096\u309d-\u309f"
KATAKANA = r"\u30a1-\u30fa\u30fc-\u30ff\u31f0-\u31ff"
HANGUL = r"\uac00-\ud7a3"
PARTICLES = "はがをにのでともへやか"
CJK = HAN + HIRAGANA + KATAKANA + HANGUL
WORD = (
    r"0-9a-z\u00aa\u00b5\u00ba\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02af\u0300-\u036f"
    r"\u0370-\u10ff\u1200-\u1fff\u2c00-\u2dff\ua000-\uabff"
)
RUNS = f"([{CJK}]+)|([{WORD}]+)"

# Upper-case letters beyond ASCII. lower() knows them only under some collations, and the tokens
# must not depend on the collation of the server that computes them.
UPPER = "".join(
    chr(code)
    for start, end in ((0xC0, 0xD6), (0xD8, 0xDE), (0x391, 0x3A1), (0x3A3, 0x3A9), (0x410, 0x42F))
    for code in range(start, end + 1)
)

# These two are plain expressions without STRICT, so that the planner puts them in place of the
# call: a call costs more than what they do.
NORMALISE = f"""
CREATE FUNCTION nakamura_misaki_normalise(content text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
-- A tsvector holds at most 1 MiB, so only the beginning of a very long text is searchable. Of a
-- long text, long runs are broken: substr() counts from the start, which would be quadratic.
RETURN CASE
    WHEN length(content) > 1000 THEN regexp_replace(
        lower(left(normalize(left(content, 100000), NFKC), 100000) COLLATE "C"),
        '[{CJK}]{{128}}', '\\& ', 'g')
    ELSE lower(normalize(content, NFKC) COLLATE "C")
END"""

FOLD = f"""
CREATE FUNCTION nakamura_misaki_fold(word text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN CASE
    WHEN octet_length(word) = length(word) THEN left(word, 100)
    ELSE translate(left(word, 100), '{UPPER}', '{UPPER.lower()}')
END"""

# BEGIN ATOMIC binds the names in it: pg_restore fills the generated column with an empty search_path.
TOKENS = f"""
CREATE FUNCTION nakamura_misaki_tokens(content text) RETURNS tsvector
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
BEGIN ATOMIC
    -- Of a CJK run every character begins one token: a bigram, the last one a single character.
    -- So a single character is found as a prefix, wherever it stands.
    SELECT coalesce(
        array_to_tsvector(array_agg(
            CASE WHEN run[1] IS NULL THEN nakamura_misaki_fold(run[2]) ELSE substr(run[1], i, 2) END
        )),
        ''::tsvector
    )
    FROM regexp_matches(nakamura_misaki_normalise(content), '{RUNS}', 'g') AS run,
        generate_series(1, CASE WHEN run[1] IS NULL THEN 1 ELSE length(run[1]) END) AS i;
END"""

QUERY_TERMS = f"""
CREATE FUNCTION nakamura_misaki_query_terms(query text)
RETURNS TABLE (term text, is_prefix boolean, weight double precision)
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT AS $body$
    WITH piece AS (
        SELECT run[2] AS word, run[1] AS cjk
        FROM regexp_matches(nakamura_misaki_normalise(left(query, 1000)), '{RUNS}', 'g') AS run
    ), candidate AS (
        SELECT nakamura_misaki_fold(word) AS term, false AS is_prefix FROM piece WHERE cjk IS NULL
        UNION ALL
        SELECT substr(cjk, i, 2), length(cjk) = 1
        FROM piece, generate_series(1, greatest(length(cjk) - 1, 1)) AS i
        WHERE cjk IS NOT NULL
        UNION ALL
        -- A word of one character, such as 税 in 税は or 税について: no Han beside it, and then
        -- nothing or a particle, so that the stem of a verb (教えて) is not taken for one.
        SELECT single[1], true
        FROM piece,
            regexp_matches(
                cjk, '(?<![{HAN}])([{HAN}])(?=$|[{PARTICLES}])', 'g'
            ) AS single
        WHERE length(cjk) > 1
    )
    -- Kana between two words is mostly grammar (は, の, について, ください): it says little, but where
    -- two notes hold the same words, the one that joins them in the same way is the better.
    SELECT term, is_prefix,
        max(CASE
            WHEN is_prefix THEN 0.7
            WHEN term ~ '^[{HIRAGANA}]+$|[{PARTICLES}]' THEN 0.3
            WHEN term ~ '[{HIRAGANA}]' THEN 0.5
            ELSE 1.0
        END) AS weight
    FROM candidate
    GROUP BY term, is_prefix
    ORDER BY weight DESC, term
    LIMIT 32
$body$"""

SEARCH = """
CREATE FUNCTION nakamura_misaki_words(query text, only_user_id text, max_notes integer)
RETURNS TABLE (note_id uuid, score double precision)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $body$
-- Under row-level security an index may serve only operators that are marked leakproof, and @@
-- is not: the runtime role's own query would read every note. So this runs as the tables' owner,
-- is fixed, and looks at the workspace that the connection names, and at no other. The operator
-- with a schema is polymorphic: one of just these types, planted in public, would be taken first.
DECLARE
    workspace CONSTANT text := current_setting('nakamura_misaki.workspace_id', true);
    few_notes CONSTANT integer := 2000;
    look_at CONSTANT integer := 600;
    grammar CONSTANT double precision := 0.3;  -- terms of this weight find nothing by themselves
    queries tsquery[];
    weights double precision[];
    counts double precision[];  -- in how many notes of the workspace; 0: rare or unknown
    universes double precision[];  -- among how many notes it is counted; 0: those looked at
    total double precision;
    has_few boolean;
    anchors tsquery;
    others tsquery;
    passes tsquery[];
    given integer := 0;
    added integer;
BEGIN
    SELECT array_agg(q ORDER BY w > grammar DESC, n, w DESC, q::text),
        array_agg(w ORDER BY w > grammar DESC, n, w DESC, q::text),
        array_agg(n ORDER BY w > grammar DESC, n, w DESC, q::text)
    INTO queries, weights, counts
    FROM (
        SELECT (quote_literal(term) || CASE WHEN is_prefix THEN ':*' ELSE '' END)::tsquery AS q,
            weight AS w,
            coalesce(CASE
                WHEN weight <= grammar THEN 0
                WHEN is_prefix THEN (
                    SELECT sum(c.note_count) FROM note_common_terms AS c
                    WHERE c.workspace_id = workspace AND starts_with(c.term, t.term))
                ELSE (
                    SELECT c.note_count FROM note_common_terms AS c
                    WHERE c.workspace_id = workspace AND c.term = t.term)
            END, 0) AS n
        FROM nakamura_misaki_query_terms(query) AS t
    ) AS terms;
    IF queries IS NULL THEN
        RETURN;
    END IF;
    IF only_user_id IS NULL THEN
        SELECT count(*) INTO total FROM (
            SELECT FROM notes WHERE workspace_id = workspace LIMIT few_notes + 1
        ) AS counted;
    ELSE
        SELECT count(*) INTO total FROM (
            SELECT FROM notes
            WHERE workspace_id = workspace AND user_id = only_user_id LIMIT few_notes + 1
        ) AS counted;
    END IF;
    has_few := total <= few_notes;
    IF has_few THEN
        counts := array_fill(0::double precision, ARRAY[cardinality(queries)]);
    ELSE
        SELECT greatest(total, max(note_count)) INTO total FROM note_common_terms
        WHERE workspace_id = workspace AND term = '';  -- all notes of the workspace
    END IF;
    -- With few notes, every note that holds a word of the question is looked at. With many, only
    -- those that hold one of the rarest: the common ones then only decide the order.
    SELECT string_agg(q::text, ' | ') FILTER (WHERE is_anchor),
        string_agg(q::text, ' | ') FILTER (WHERE i > 1 AND w > grammar),
        array_agg(CASE WHEN is_anchor OR n > 0 THEN total ELSE 0 END ORDER BY i)
    INTO anchors, others, universes
    FROM (
        SELECT q, w, n, i,
            (w > grammar OR weights[1] <= grammar)
                AND (has_few OR i = 1 OR sum(greatest(n, 100)) OVER (ORDER BY i) <= look_at)
                AS is_anchor
        FROM unnest(queries, weights, counts) WITH ORDINALITY AS term (q, w, n, i)
    ) AS marked;

    -- Where even the rarest is common, those that hold another word beside it come first, and are
    -- mostly enough.
    passes := ARRAY[anchors];
    IF counts[1] > look_at AND others IS NOT NULL THEN
        passes := ARRAY[queries[1] && others, queries[1] && !!others];
    END IF;
    FOREACH anchors IN ARRAY passes LOOP
        -- Dynamic, so that it is planned for this user and these terms.
        RETURN QUERY EXECUTE format($query$
            WITH candidate AS MATERIALIZED (
                SELECT id, created_at, search_tokens || ''::tsvector AS tokens
                FROM notes
                WHERE workspace_id = $1 AND search_tokens @@ $2
                    AND ARRAY[workspace_id, user_id] OPERATOR(pg_catalog.@>) $3 %s
                ORDER BY created_at DESC, id DESC
                LIMIT $4
            ), hit AS (
                SELECT c.id, c.created_at, t.w, length(c.tokens) AS size,
                    CASE WHEN t.n > 0 THEN t.n ELSE count(*) OVER (PARTITION BY t.i) END AS holding,
                    CASE WHEN t.u > 0 THEN t.u ELSE (SELECT count(*) FROM candidate) END AS universe,
                    (SELECT avg(length(tokens)) FROM candidate) AS mean_size
                FROM candidate AS c
                JOIN unnest($5, $6, $7, $8) WITH ORDINALITY AS t (q, w, n, u, i) ON c.tokens @@ t.q
            )
            -- BM25 (Robertson and Zaragoza 2009) with k1 = 0.2, b = 0.75, of terms that are there or
            -- not: how often a bigram stands in a note says next to nothing.
            SELECT id,
                (sum(w * ln(1 + (greatest(universe - holding, 0) + 0.5) / (holding + 0.5)))
                    * 1.2 / (1 + 0.2 * (0.25 + 0.75 * size / mean_size)))::double precision AS points
            FROM hit
            GROUP BY id, created_at, size, mean_size
            ORDER BY points DESC, created_at DESC, id DESC
            LIMIT $9
            $query$, CASE WHEN only_user_id IS NULL THEN '' ELSE 'AND user_id = $10' END
        ) USING workspace, anchors, array_remove(ARRAY[workspace, only_user_id], NULL), few_notes,
            queries, weights, counts, universes, max_notes - given, only_user_id;
        GET DIAGNOSTICS added = ROW_COUNT;
        given := given + added;
        EXIT WHEN given >= max_notes;
    END LOOP;
END
$body$"""


def upgrade() -> None:
    op.execute(NORMALISE)
    op.execute(FOLD)
    op.execute(TOKENS)
    op.execute(QUERY_TERMS)
    op.execute(
        "ALTER TABLE notes ADD COLUMN search_tokens tsvector"
        " GENERATED ALWAYS AS (nakamura_misaki_tokens(content)) STORED"
    )
    op.execute(
        "CREATE INDEX ix_notes_search ON notes"
        " USING gin (search_tokens, (ARRAY[workspace_id, user_id]))"
    )
    op.execute("""
CREATE TABLE note_common_terms (
    workspace_id text NOT NULL,
    term text COLLATE "C" NOT NULL,
    note_count integer NOT NULL,
    CONSTRAINT pk_note_common_terms PRIMARY KEY (workspace_id, term)
)""")
    protect("note_common_terms")
    op.execute(SEARCH)
    op.execute("REVOKE EXECUTE ON FUNCTION nakamura_misaki_words FROM PUBLIC")
    # The owner's own function above needs this, or the index stays out of its reach, too.
    op.execute("""
DO $body$ BEGIN
    IF current_user = 'nakamura_misaki_owner' THEN
        CREATE POLICY owner_reads ON notes FOR SELECT TO nakamura_misaki_owner USING (true);
        CREATE POLICY owner_reads ON note_common_terms
            FOR SELECT TO nakamura_misaki_owner USING (true);
    END IF;
END $body$""")


def downgrade() -> None:
    op.execute("DROP POLICY IF EXISTS owner_reads ON notes")
    op.execute("DROP FUNCTION nakamura_misaki_words")
    op.execute("DROP TABLE note_common_terms")
    op.execute("DROP INDEX ix_notes_search")
    op.execute("ALTER TABLE notes DROP COLUMN search_tokens")
    op.execute("DROP FUNCTION nakamura_misaki_query_terms")
    op.execute("DROP FUNCTION nakamura_misaki_tokens")
    op.execute("DROP FUNCTION nakamura_misaki_fold")
    op.execute("DROP FUNCTION nakamura_misaki_normalise")
