"""The HNSW indexes of one workspace's vectors: which are worth it, built and filled beside the work.

One for each large user and one for everybody together, of each model by itself:
those of a model that is to be put to use are built while another one answers.
"""

import json
from collections.abc import Callable
from typing import Any, NamedTuple

from asyncpg.exceptions import InsufficientResourcesError

MOST_INDEXES = 64
"""Each index costs the planner and every row that maintenance files; the largest users get one."""
FILE_AT_ONCE = 500
VACUUM_AFTER = 20_000

Say = Callable[[str], None]


class _Index(NamedTuple):
    name: str
    user_id: str | None


class VectorIndexes:
    """Indexes of a workspace, seen by a driver connection of the tables' owner.

    ``from_rows``: from how many vectors an index is worth it. ``say`` hears of
    each step before it begins, ``actions`` are what was done.
    """

    def __init__(self, driver: Any, workspace_id: str, *, from_rows: int, say: Say) -> None:
        self._driver = driver
        self._workspace_id = workspace_id
        self._from_rows = from_rows
        self._say = say
        self.actions: list[str] = []

    async def build_active(self) -> None:
        """Build what the model in use is worth, and drop what no registered model is."""
        model = await self._driver.fetchval(
            "SELECT model FROM embedding_models WHERE workspace_id = $1 AND is_active",
            self._workspace_id,
        )
        if model is not None:
            await self._drop_unwanted(model)
            await self.build(model)

    async def build(self, model: str) -> None:
        """Build and fill the indexes of a registered model."""
        dimensions = await self._driver.fetchval(
            "SELECT dimensions FROM embedding_models WHERE workspace_id = $1 AND model = $2",
            self._workspace_id,
            model,
        )
        wanted = await self._wanted(model)
        if dimensions is None or not wanted:
            return
        valid = await self._driver.fetch(
            "SELECT c.relname, obj_description(c.oid) IS NOT NULL"
            " FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid"
            " WHERE i.indisvalid AND c.relname = ANY($1)",
            [index.name for index in wanted],
        )
        is_described = dict(valid)
        if not valid:
            # With no index to be kept up, filing rows first costs little, and the build that
            # follows does them all at once, in parallel. Until it is done every search stays exact.
            await self._file_rows(model, vacuum_after=VACUUM_AFTER)
        for index in wanted:
            if index.name not in is_described:
                whose = "everybody" if index.user_id is None else index.user_id
                self._say(f"building the vector index of {whose}")
                await self._create(index, model, dimensions)
                self.actions.append(f"vector index of {whose} built")
            elif not is_described[index.name]:  # killed before it said whose it is
                await self._describe(index, model)
        await self._file_rows(model)

    async def _wanted(self, model: str) -> list[_Index]:
        rows = await self._driver.fetch(
            "SELECT nakamura_misaki_index_name($1, $2, user_id), user_id, count(*)"
            " FROM note_embeddings WHERE workspace_id = $1 AND model = $2"
            " GROUP BY GROUPING SETS ((), (user_id)) HAVING count(*) >= $3"
            " ORDER BY count(*) DESC, user_id NULLS FIRST LIMIT $4",
            self._workspace_id,
            model,
            self._from_rows,
            MOST_INDEXES,
        )
        return [_Index(name, user_id) for name, user_id, _ in rows]

    async def _create(self, index: _Index, model: str, dimensions: int) -> None:
        # An invalid one, of a build that was broken off.
        await self._driver.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {index.name}")
        create = await self._driver.fetchval(
            "SELECT format('CREATE INDEX CONCURRENTLY %I ON note_embeddings"
            " USING hnsw ((embedding::halfvec(%s)) halfvec_cosine_ops)"
            " WHERE workspace_id = %L AND model = %L AND is_indexed', $1::text, $2::int, $3::text,"
            " $4::text) || CASE WHEN $5::text IS NULL THEN ''"
            " ELSE format(' AND user_id = %L', $5) END",
            index.name,
            dimensions,
            self._workspace_id,
            model,
            index.user_id,
        )
        try:
            await self._driver.execute(create)
        except InsufficientResourcesError:
            # Workers that build together share their memory, of which a container may have little.
            await self._driver.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {index.name}")
            await self._driver.execute("SET max_parallel_maintenance_workers = 0")
            await self._driver.execute(create)
        await self._describe(index, model)

    async def _describe(self, index: _Index, model: str) -> None:
        whose = {"workspace": self._workspace_id, "model": model, "user": index.user_id}
        comment = await self._driver.fetchval(
            "SELECT format('COMMENT ON INDEX %I IS %L', $1::text, $2::text)",
            index.name,
            json.dumps(whose, ensure_ascii=False),
        )
        await self._driver.execute(comment)

    async def _drop_unwanted(self, active: str) -> None:
        wanted = {index.name for index in await self._wanted(active)}
        others = {
            model
            for (model,) in await self._driver.fetch(
                "SELECT model FROM embedding_models WHERE workspace_id = $1 AND NOT is_active",
                self._workspace_id,
            )
        }
        indexes = await self._driver.fetch(
            "SELECT c.relname, d.description FROM pg_index AS i"
            " JOIN pg_class AS c ON c.oid = i.indexrelid"
            " LEFT JOIN pg_description AS d ON d.objoid = c.oid AND d.objsubid = 0"
            " WHERE i.indrelid = 'note_embeddings'::regclass"
            r" AND c.relname LIKE 'ix\_note\_embeddings\_hnsw\_%'"
        )
        for name, comment in indexes:
            if name not in wanted and self._is_ours_to_drop(comment, others):
                await self._driver.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
                self.actions.append(f"vector index {name} dropped")

    def _is_ours_to_drop(self, comment: str | None, others: set[str]) -> bool:
        if comment is None:
            # Of a build that was killed in its last moment, of any workspace; who wants it builds
            # it again.
            return True
        whose = json.loads(comment)
        # A model that is to come, or that may come back, keeps its indexes.
        return whose["workspace"] == self._workspace_id and whose["model"] not in others

    async def _file_rows(self, model: str, *, vacuum_after: int | None = None) -> None:
        """Put the rows that no vector index holds into the indexes, a few hundred at a time.

        Each is written anew; with ``vacuum_after`` rows the space of the old ones is
        made free for the next, or the table would end at twice its size.
        """
        filed = 0
        since_vacuum = 0
        while True:
            status = await self._driver.execute(
                "UPDATE note_embeddings SET is_indexed = true WHERE ctid = ANY (ARRAY("
                " SELECT ctid FROM note_embeddings"
                " WHERE workspace_id = $1 AND model = $2 AND NOT is_indexed"
                " LIMIT $3 FOR UPDATE SKIP LOCKED))",
                self._workspace_id,
                model,
                FILE_AT_ONCE,
            )
            count = int(status.split()[-1])
            filed += count
            since_vacuum += count
            if vacuum_after is not None and since_vacuum >= vacuum_after:
                await self._driver.execute("VACUUM note_embeddings")
                since_vacuum = 0
            if count == 0:
                break
            self._say(f"filing vectors: {filed:,}")
        if filed:
            self.actions.append(f"{filed:,} vectors filed")
