"""The words leg of a search among some notes, as revision 0006 makes it.

Revisions that are out in the world build it from here, so it must not change.
"""

WORDS = """
CREATE FUNCTION nakamura_misaki_words_among(
    question text, only_user_id text, max_notes integer, which jsonb, ids uuid[]
)
RETURNS TABLE (note_id uuid, score double precision)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = public, pg_temp AS $body$
-- As the tables' owner, for the workspace that the connection names and no other: see
-- nakamura_misaki_words, which this stands in for. ``which`` NULL: among all notes; else among those
-- that the filter lets through, and ``ids`` are all of them, where they are few.
DECLARE
    workspace CONSTANT text := current_setting('nakamura_misaki.workspace_id', true);
    few_notes CONSTANT integer := 2000;
    look_at CONSTANT integer := 600;
    read_again CONSTANT integer := 50;
    grammar double precision := 0.1;  -- terms of this weight find nothing by themselves
    queries tsquery[];
    terms text[];
    patterns text[];  -- of short Latin words, which are no part of another; else null
    weights double precision[];
    counts double precision[];  -- in how many notes of the workspace; 0: rare or unknown
    universes double precision[];  -- among how many notes it is counted; 0: those looked at
    phrases text[];
    total double precision;
    has_few boolean;
    anchors tsquery;
    others tsquery;
    rest tsquery;
    passes tsquery[];
    given integer := 0;
    added integer;
BEGIN
    IF ids IS NOT NULL THEN
        total := cardinality(ids);
    ELSIF which IS NOT NULL THEN
        total := few_notes + 1;
    ELSIF only_user_id IS NULL THEN
        SELECT count(*) INTO total FROM (
            SELECT FROM notes AS n WHERE n.workspace_id = workspace LIMIT few_notes + 1
        ) AS counted;
    ELSE
        SELECT count(*) INTO total FROM (
            SELECT FROM notes AS n
            WHERE n.workspace_id = workspace AND n.user_id = only_user_id LIMIT few_notes + 1
        ) AS counted;
    END IF;
    has_few := total <= few_notes;
    IF NOT has_few THEN
        -- Among many, verbs and the joints of words would find thousands.
        grammar := 0.3;
        SELECT greatest(total, max(note_count)) INTO total FROM note_common_terms
        WHERE workspace_id = workspace AND term = '';  -- all notes of the workspace
    END IF;

    SELECT array_agg(q ORDER BY w > grammar DESC, n, w DESC, q::text),
        array_agg(t ORDER BY w > grammar DESC, n, w DESC, q::text),
        array_agg(w ORDER BY w > grammar DESC, n, w DESC, q::text),
        array_agg(n ORDER BY w > grammar DESC, n, w DESC, q::text),
        array_agg(CASE WHEN t ~ '^[0-9a-z]{1,3}$'
            THEN '(?<![0-9a-z])' || t || '(?![0-9a-z])' END
            ORDER BY w > grammar DESC, n, w DESC, q::text)
    INTO queries, terms, weights, counts, patterns
    FROM (
        SELECT (quote_literal(term) || CASE WHEN is_prefix THEN ':*' ELSE '' END)::tsquery AS q,
            term AS t,
            weight AS w,
            coalesce(CASE
                WHEN has_few OR weight <= grammar THEN 0
                WHEN is_prefix THEN (
                    SELECT sum(c.note_count) FROM note_common_terms AS c
                    WHERE c.workspace_id = workspace AND starts_with(c.term, t.term))
                ELSE (
                    SELECT c.note_count FROM note_common_terms AS c
                    WHERE c.workspace_id = workspace AND c.term = t.term)
            END, 0) AS n
        FROM nakamura_misaki_subject_terms(question) AS t
    ) AS found;
    IF queries IS NULL OR total = 0 THEN
        RETURN;
    END IF;
    -- Pieces of the question that stand between kana and marks, if they are more than one word's
    -- pairs can tell: PostgreSQL 16, DB移行.
    SELECT array_agg(DISTINCT replace(piece[1], ' ', '')) INTO phrases
    FROM regexp_matches(
        nakamura_misaki_subject(question),
        '([{PIECE}]([ _./:-]?[{PIECE}])+)', 'g') AS piece
    WHERE length(piece[1]) > 2;

    -- With few notes, every note that holds a word of the question is looked at. With many, only
    -- those that hold one of the rarest: the common ones then only decide the order.
    SELECT string_agg(q::text, ' | ') FILTER (WHERE is_anchor),
        string_agg(q::text, ' | ') FILTER (WHERE i > 1 AND w > grammar),
        string_agg(q::text, ' | ') FILTER (WHERE NOT is_anchor AND w > grammar),
        array_agg(CASE WHEN has_few OR is_anchor OR n > 0 THEN total ELSE 0 END ORDER BY i)
    INTO anchors, others, rest, universes
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
    IF which IS NOT NULL AND rest IS NOT NULL THEN
        -- A filter may let few of those through, and others that hold a common word.
        passes := passes || (rest && !!anchors);
    END IF;
    FOREACH anchors IN ARRAY passes LOOP
        -- Dynamic, so that it is planned for this user, these terms and this filter.
        RETURN QUERY EXECUTE format($query$
            WITH candidate AS MATERIALIZED (
                SELECT n.id, n.created_at, n.search_tokens || ''::tsvector AS tokens
                FROM notes AS n
                WHERE n.workspace_id = $1 AND n.search_tokens @@ $2 %1$s %2$s
                ORDER BY n.created_at DESC, n.id DESC
                LIMIT $4
            ), hit AS MATERIALIZED (
                SELECT id, created_at, i, t AS term, p AS pattern,
                    w * ln(1 + (greatest(u - n, 0) + 0.5) / (n + 0.5)) AS worth, size, mean_size
                FROM (
                    SELECT c.id, c.created_at, t.t, t.p, t.i, t.w, length(c.tokens) AS size,
                        CASE WHEN t.n > 0 THEN t.n
                            ELSE count(*) OVER (PARTITION BY t.i) END AS n,
                        CASE WHEN t.u > 0 THEN t.u
                            ELSE (SELECT count(*) FROM candidate) END AS u,
                        (SELECT avg(length(tokens)) FROM candidate) AS mean_size
                    FROM candidate AS c
                    JOIN unnest($5, $6, $15, $7, $8, $9)
                        WITH ORDINALITY AS t (q, t, p, w, n, u, i)
                        ON c.tokens @@ t.q
                ) AS held
            ), best AS MATERIALIZED (
                -- BM25 (Robertson and Zaragoza 2009) with k1 = 0.2, b = 0.75, of terms that are
                -- there or not: which notes are worth reading.
                SELECT id, created_at, size, mean_size
                FROM hit
                GROUP BY id, created_at, size, mean_size
                ORDER BY sum(worth) / (1 + 0.2 * (0.25 + 0.75 * size / mean_size)) DESC,
                    created_at DESC, id DESC
                LIMIT greatest($10, $12)
            ), body AS MATERIALIZED (
                SELECT b.*, nakamura_misaki_normalise(left(n.content, 4000)) COLLATE "C" AS text
                FROM best AS b JOIN notes AS n ON n.workspace_id = $1 AND n.id = b.id
            ), counted AS (
                -- How often a term stands in a note.
                SELECT b.id, b.created_at, b.text, h.worth,
                    greatest(1, CASE
                        WHEN h.pattern IS NOT NULL THEN regexp_count(b.text, h.pattern)
                        ELSE (octet_length(b.text) - octet_length(replace(b.text, h.term, '')))
                            / octet_length(h.term)
                    END) AS often,
                    -- In short notes, how often says next to nothing; in long ones it does.
                    least(1.2, greatest(0.2, b.mean_size / 250)) AS k1,
                    0.1 + 0.9 * b.size / b.mean_size AS relative
                FROM body AS b JOIN hit AS h ON h.id = b.id
            )
            SELECT id,
                round((sum(worth * often * (k1 + 1) / (often + k1 * relative))
                    * (1 + 0.1 * coalesce((
                        SELECT avg((strpos(replace(text, ' ', ''), phrase) > 0)::integer)
                        FROM pg_catalog.unnest($11) AS phrase), 0)))::numeric, 6)::double precision AS points
            FROM counted
            GROUP BY id, created_at, text
            ORDER BY points DESC, created_at DESC, id DESC
            LIMIT $10
            $query$,
            -- The GIN index narrows by users, too; a filter with few notes by these notes.
            'AND ARRAY[n.workspace_id, n.user_id] OPERATOR(pg_catalog.@>) $3'
                || CASE WHEN only_user_id IS NULL THEN '' ELSE ' AND n.user_id = $13' END,
            CASE WHEN ids IS NOT NULL THEN 'AND n.id = ANY ($14)'
                WHEN which IS NOT NULL THEN nakamura_misaki_condition(which) ELSE '' END
        ) USING workspace, anchors, array_remove(ARRAY[workspace, only_user_id], NULL), few_notes,
            queries, terms, weights, counts, universes, max_notes - given, phrases, read_again,
            only_user_id, ids, patterns;
        GET DIAGNOSTICS added = ROW_COUNT;
        given := given + added;
        EXIT WHEN given >= max_notes;
    END LOOP;
END
$body$"""
