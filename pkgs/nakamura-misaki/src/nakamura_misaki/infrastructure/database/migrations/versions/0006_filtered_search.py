"""Search among some of the notes only, and rank by what a question asks rather than how."""

from alembic import op

from nakamura_misaki.infrastructure.database.migrations.words_among import WORDS

revision = "0006"
down_revision = "0005"
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

# How a question ends without saying what it is about: について教えてください, って何でしたっけ, を知りたい.
ASKING = (
    "((に(ついて|関して|つき))?[のをがはも]*(こと[をが]?)?(詳しく|くわしく|もう一度)?"
    "(教えて|おしえて|知りたい|しりたい|説明して|見せて|探して|調べて|まとめて|聞きたい|確認したい"
    "|お願い(します|いたします)?)(下さい|ください|くれますか|くれる|もらえますか|もらえる"
    "|いただけますか|いただけませんか|ほしい|欲しい|です|のですが|んですが|んだけど|ね|よ)*"
    "|(とは|って|は|が|を|に|の|という(もの|の)は|のは)?"
    "(何|なん|なに|誰|だれ|どこ|いつ|なぜ|どう|どれ|どんな|どういう|どのように|いくつ|いくら)"
    "(だった|でしたっけ|でした|でしょう|だっ|だ|です|なの|なん|したら|すれば|やって|やる|したい"
    "|します|する|しましょう|いう|いい|よい|良い|もの|こと|の)*(か|っけ|かな|ね)?)"
)

# Two ways to write one sound; each is looked for where the question has the other.
KATAKANA_VARIANTS = (
    ("ウィ", "ウイ"),
    ("ウェ", "ウエ"),
    ("ウォ", "ウオ"),
    ("ヴァ", "バ"),
    ("ヴィ", "ビ"),
    ("ヴェ", "ベ"),
    ("ヴォ", "ボ"),
    ("ェー", "ェイ"),
)


def _variant(column: str, pairs: tuple[tuple[str, str], ...]) -> str:
    for old, new in pairs:
        column = f"replace({column}, '{old}', '{new}')"
    return column


SMALL = _variant("text", KATAKANA_VARIANTS)
LARGE = _variant("text", tuple((new, old) for old, new in KATAKANA_VARIANTS))

SUBJECT = f"""
CREATE FUNCTION nakamura_misaki_subject(question text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE STRICT
-- What a question is about, normalised: without the words that only ask. Nothing but such words is
-- taken as it is.
RETURN coalesce(
    (SELECT CASE WHEN stripped ~ '[{CJK}{WORD}]' THEN stripped ELSE said END
    FROM (
        SELECT said, regexp_replace(
            regexp_replace(said, '{ASKING}[?。!\\s]*$', ''), '{ASKING}[?。!\\s]*$', '') AS stripped
        FROM (SELECT nakamura_misaki_normalise(left(question, 1000)) AS said) AS normalised
    ) AS asked),
    '')"""

TERMS = f"""
CREATE FUNCTION nakamura_misaki_subject_terms(question text)
RETURNS TABLE (term text, is_prefix boolean, weight double precision)
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE STRICT AS $body$
#variable_conflict use_column
BEGIN
    -- In PL/pgSQL because that keeps its plan: planning takes three times as long as the rest.
    RETURN QUERY
    WITH piece AS (
        SELECT run[2] AS word, run[1] AS cjk
        FROM regexp_matches(nakamura_misaki_subject(question), '{RUNS}', 'g') AS run
    ), segment AS (
        -- A run where the script does not change: a word, or several of one script in a row.
        SELECT found[1] AS text, found[1] ~ '[{KATAKANA}]' AS is_katakana
        FROM piece, regexp_matches(cjk, '[{KATAKANA}]+|[{HAN}]+|[{HANGUL}]+', 'g') AS found
        WHERE length(found[1]) > 1
    ), candidate AS (
        SELECT nakamura_misaki_fold(word) AS term, false AS is_prefix, 1.3 AS weight
        FROM piece WHERE cjk IS NULL
        UNION ALL
        -- A longer word has more pairs, and is not worth as much more.
        SELECT substr(text, i, 2), false, 1 / sqrt(length(text) - 1)
        FROM segment, generate_series(1, length(text) - 1) AS i
        UNION ALL
        SELECT substr(variant, i, 2), false, 0.3 / sqrt(length(variant) - 1)
        FROM segment, unnest(ARRAY[{SMALL}, {LARGE}]) AS variant,
            generate_series(1, length(variant) - 1) AS i
        WHERE is_katakana AND variant <> text
        UNION ALL
        -- Where the script changes, a pair joins two words. Kana between two words is mostly grammar
        -- (は, の, ください): of two notes with the same words, the one that joins them alike is better.
        SELECT substr(cjk, i, 2), false,
            CASE WHEN substr(cjk, i, 2) ~ '^[{HIRAGANA}]+$|[{PARTICLES}]' THEN 0.1 ELSE 0.3 END
        FROM piece, generate_series(1, length(cjk) - 1) AS i
        UNION ALL
        -- A word of one character: 税 in 税は or 税について. Before other kana it may be a verb's
        -- stem (使う, 使い, 使って).
        SELECT single[1], true, CASE WHEN single[2] ~ '^[^{PARTICLES}]' THEN 0.3 ELSE 0.7 END
        FROM piece,
            regexp_matches(cjk, '(?<![{HAN}])([{HAN}])($|[{HIRAGANA}])', 'g') AS single
        UNION ALL
        SELECT cjk, true, CASE WHEN cjk ~ '[{HIRAGANA}]' THEN 0.1 ELSE 0.7 END
        FROM piece WHERE length(cjk) = 1
    ), best AS (
        SELECT term, is_prefix, max(weight) AS weight, bool_and(term ~ '[何誰私]') AS only_asks
        FROM candidate GROUP BY term, is_prefix
    )
    SELECT best.term, best.is_prefix, best.weight::double precision
    FROM best
    WHERE NOT only_asks OR NOT EXISTS (SELECT FROM best WHERE NOT only_asks)
    ORDER BY weight DESC, term
    LIMIT 32;
END
$body$"""

# The same for both legs: notes among which is searched. Values, not names, so that one statement is
# planned for what is asked for.
CONDITION = """
CREATE FUNCTION nakamura_misaki_condition(which jsonb) RETURNS text
LANGUAGE sql STABLE PARALLEL SAFE AS $body$
    -- SQL over the columns of the table alias n. Each part of the filter that is there narrows.
    SELECT concat(
        ' AND n.category = ANY (' || quote_literal(
            (SELECT array_agg(c) FROM jsonb_array_elements_text(which -> 'categories') AS c)::text
        ) || '::text[])',
        ' AND n.session_id = ' || quote_literal(which ->> 'session_id'),
        ' AND n.created_at >= ' || quote_literal((which ->> 'since')::timestamptz) || '::timestamptz',
        ' AND n.created_at < ' || quote_literal((which ->> 'until')::timestamptz) || '::timestamptz',
        ' AND n.metadata @> ' || quote_literal((which -> 'metadata')::text) || '::jsonb'
    )
$body$"""

MATCHING = """
CREATE FUNCTION nakamura_misaki_matching(only_user_id text, which jsonb, most integer)
RETURNS uuid[]
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $body$
-- The notes that a filter lets through; NULL where they are more than ``most``. As the tables' owner
-- for the same reason as nakamura_misaki_words: jsonb's @> is not leakproof.
DECLARE
    ids uuid[];
BEGIN
    EXECUTE format($query$
        SELECT array_agg(id) FROM (
            SELECT n.id FROM notes AS n WHERE n.workspace_id = %L %s %s LIMIT %s
        ) AS matching
        $query$,
        current_setting('nakamura_misaki.workspace_id', true),
        CASE WHEN only_user_id IS NULL THEN '' ELSE format('AND n.user_id = %L', only_user_id) END,
        nakamura_misaki_condition(which), most + 1
    ) INTO ids;
    RETURN CASE WHEN cardinality(ids) > most THEN NULL ELSE coalesce(ids, '{}') END;
END
$body$"""

NEAREST = """
CREATE FUNCTION nakamura_misaki_nearest_among(
    only_user_id text, of_model text, target halfvec, max_notes integer, which jsonb, ids uuid[]
)
RETURNS TABLE (note_id uuid, distance double precision)
LANGUAGE plpgsql STABLE
SET hnsw.ef_search = 400 SET hnsw.iterative_scan = 'relaxed_order' SET hnsw.max_scan_tuples = 40000
AS $body$
#variable_conflict use_column
-- nakamura_misaki_nearest among the notes that the filter ``which`` lets through. ``ids``: all of
-- them, where they are few; they are compared one by one. Where they are many, the index of vectors
-- gives the nearest, and those that the filter does not let through are left out until there are
-- enough.
DECLARE
    workspace CONSTANT text := current_setting('nakamura_misaki.workspace_id', true);
    whose CONSTANT text :=
        CASE WHEN only_user_id IS NULL THEN '' ELSE format('AND e.user_id = %L', only_user_id) END;
    found_ids uuid[];
    distances double precision[];
BEGIN
    IF NOT EXISTS (
        SELECT FROM embedding_models
        WHERE workspace_id = workspace AND model = of_model AND is_active
    ) THEN
        RAISE EXCEPTION 'the embedding model % is not in use', of_model USING ERRCODE = 'NM001';
    END IF;
    IF ids IS NOT NULL THEN
        RETURN QUERY
        SELECT e.note_id, e.embedding <=> target AS d
        FROM unnest(ids) AS wanted (id)
        JOIN note_embeddings AS e
            ON e.workspace_id = workspace AND e.note_id = wanted.id AND e.model = of_model
        ORDER BY d, e.note_id LIMIT max_notes;
        RETURN;
    END IF;
    IF EXISTS (
        SELECT FROM pg_index
        WHERE indexrelid =
                to_regclass(nakamura_misaki_index_name(workspace, of_model, only_user_id))
            AND indisvalid
    ) THEN
        -- The index does not give exactly the nearest; of five times as many the best are.
        EXECUTE format($query$
            SELECT array_agg(note_id ORDER BY distance, note_id),
                array_agg(distance ORDER BY distance, note_id)
            FROM (
                SELECT * FROM (
                    (SELECT e.note_id, e.embedding::halfvec(%1$s) <=> $1 AS distance
                    FROM note_embeddings AS e, LATERAL (
                        SELECT FROM notes AS n
                        WHERE n.workspace_id = e.workspace_id AND n.id = e.note_id %5$s OFFSET 0
                    ) AS n
                    WHERE e.workspace_id = %2$L AND e.model = %3$L AND e.is_indexed %4$s
                    ORDER BY e.embedding::halfvec(%1$s) <=> $1 LIMIT 5 * $2)
                    UNION ALL
                    (SELECT e.note_id, e.embedding <=> $1 AS distance
                    FROM note_embeddings AS e
                    JOIN notes AS n ON n.workspace_id = e.workspace_id AND n.id = e.note_id
                    WHERE e.workspace_id = %2$L AND e.model = %3$L AND NOT e.is_indexed %4$s %5$s
                    ORDER BY distance LIMIT $2)
                ) AS either
                ORDER BY distance, note_id LIMIT $2
            ) AS nearest
            $query$, vector_dims(target), workspace, of_model, whose, nakamura_misaki_condition(which)
        ) INTO found_ids, distances USING target, max_notes;
        IF cardinality(found_ids) >= max_notes THEN
            RETURN QUERY SELECT * FROM unnest(found_ids, distances);
            RETURN;
        END IF;
    END IF;
    RETURN QUERY EXECUTE format($query$
        SELECT e.note_id, e.embedding <=> $1 AS distance
        FROM note_embeddings AS e
        JOIN notes AS n ON n.workspace_id = e.workspace_id AND n.id = e.note_id
        WHERE e.workspace_id = %L AND e.model = %L %s %s
        ORDER BY distance, e.note_id LIMIT $2
        $query$, workspace, of_model, whose, nakamura_misaki_condition(which)
    ) USING target, max_notes;
END
$body$"""

OWNED = ("nakamura_misaki_matching", "nakamura_misaki_words_among")


INDEXES = {
    "ix_notes_category": "btree (workspace_id, category, created_at) WHERE category IS NOT NULL",
    "ix_notes_created": "btree (workspace_id, created_at)",
    "ix_notes_metadata": "gin (metadata jsonb_path_ops)",
}


def upgrade() -> None:
    op.execute(SUBJECT)
    op.execute(TERMS)
    op.execute(CONDITION)
    op.execute(MATCHING)
    for name, what in INDEXES.items():
        op.execute(f"CREATE INDEX {name} ON notes USING {what}")
    op.execute("SELECT '[1]'::halfvec")  # loads the library, and with it the settings hnsw.*
    op.execute(NEAREST)
    op.execute(WORDS.replace("{PIECE}", HAN + KATAKANA + HANGUL + WORD))
    for function in OWNED:
        op.execute(f"REVOKE EXECUTE ON FUNCTION {function} FROM PUBLIC")


def downgrade() -> None:
    for function in ("words_among", "nearest_among", "matching", "condition"):
        op.execute(f"DROP FUNCTION nakamura_misaki_{function}")
    op.execute("DROP FUNCTION nakamura_misaki_subject_terms")
    op.execute("DROP FUNCTION nakamura_misaki_subject")
    for name in INDEXES:
        op.execute(f"DROP INDEX {name}")
