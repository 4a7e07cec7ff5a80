"""What the PostgreSQL repositories share: their workspace, writes that may run twice, paging."""

import contextlib
import json
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar
from uuid import UUID

import orjson
from asyncpg.exceptions import UniqueViolationError

from nakamura_misaki.domain.errors import AlreadyExists
from nakamura_misaki.infrastructure.database.manager import (
    Connection,
    DatabaseManager,
    Operation,
    T,
)

PAGE = 1000
"""Rows fetched at once when a whole table is read."""


NAMED = 5
"""How many ids of those that share their digits are worth naming."""


class Entry(Protocol):
    @property
    def id(self) -> Any: ...


E = TypeVar("E", bound=Entry)


class PostgreSQLRepository:
    """A repository of one workspace (default: the manager's)."""

    def __init__(self, manager: DatabaseManager, workspace_id: str | None) -> None:
        self._manager = manager
        self._workspace_id = workspace_id or manager.workspace_id

    async def _run(self, operation: Operation[T], name: str | None = None) -> T:
        return await self._manager.run(operation, workspace_id=self._workspace_id, name=name)

    async def _insert(self, insert: str, get: str, row: Sequence[Any], what: str) -> None:
        """Insert one row, its id first. Raises AlreadyExists if the id is taken.

        ``get`` fetches a row by workspace and id, columns in the order of ``row``.
        """
        attempts = 0

        async def once(connection: Connection) -> None:
            nonlocal attempts
            attempts += 1
            try:
                await connection.execute(insert, self._workspace_id, *row)
            except UniqueViolationError:
                if attempts > 1:  # perhaps the first attempt's commit, whose answer was lost
                    stored = await connection.fetchrow(get, self._workspace_id, row[0])
                    if stored is not None and tuple(stored) == tuple(row):
                        return
                raise AlreadyExists(f"There is a {what} {row[0]} already.") from None

        await self._run(once, f"{what}.create")

    async def _merge(
        self,
        table: str,
        columns: Sequence[str],
        rows: Sequence[Sequence[Any]],
        merge: str,
        condition: str = "true",
    ) -> tuple[int, int]:
        """Stage the rows, no two of one id, and merge them in one transaction; new and updated.

        ``merge`` is of ``merge_statement``, as is ``condition``.
        """
        if not rows:
            return 0, 0

        async def staged(connection: Connection) -> tuple[int, int]:
            async with connection.transaction():
                await stage(connection, table, columns, rows)
                with contextlib.suppress(UniqueViolationError):  # another writer was faster
                    async with connection.transaction():
                        if new := await _insert_staged(
                            connection, table, columns, condition, self._workspace_id
                        ):
                            return new, 0
                new, updated = await connection.fetchrow(merge, self._workspace_id)
                return new, updated

        return await self._run(staged, f"{table}.merge")

    async def _find_ids(self, table: str, digits: str) -> list[UUID]:
        rows = await self._run(
            lambda c: c.fetch(
                f"SELECT id FROM {table}, replace(id::text, '-', '') AS digits"
                " WHERE workspace_id = $1 AND (starts_with(digits, $2)"
                " OR right(digits, length($2)) = $2 OR starts_with(right(digits, 8), $2)) ORDER BY id LIMIT $3",
                self._workspace_id,
                digits,
                NAMED,
            ),
            f"{table}.find_ids",
        )
        return [row["id"] for row in rows]

    async def _pages(
        self, statement: str, columns: Sequence[str], *start: Any
    ) -> AsyncIterator[Any]:
        """Every row of ``statement``, a page at a time.

        It takes the workspace, the values of ``columns`` after which to begin,
        and a limit.
        """
        after = start
        while True:
            arguments = (self._workspace_id, *after, PAGE)
            page = await self._run(lambda c, a=arguments: c.fetch(statement, *a))  # type: ignore[misc]  # a lambda has no types
            for row in page:
                yield row
            if len(page) < PAGE:
                return
            after = tuple(page[-1][column] for column in columns)


def restored(
    entity: type[E], columns: Sequence[str], **conversions: Callable[[Any], Any]
) -> Callable[[Iterable[Any]], E]:
    """What makes an entity of a stored row, whose columns are fields of it.

    Without the entity's rules: every row has passed them on its way in, the
    table repeats those that matter, and checking again would cost as much as
    fetching. ``conversions`` are for columns whose field is of another type.
    """
    setters = [getattr(entity, column).__set__ for column in columns]
    for column, convert in conversions.items():
        place = columns.index(column)
        setters[place] = _converting(setters[place], convert)
    new = object.__new__

    def restore(row: Iterable[Any]) -> E:
        entry = new(entity)
        for set_field, value in zip(setters, row, strict=True):
            set_field(entry, value)
        return entry

    return restore


def _converting(
    set_field: Callable[[Any, Any], None], convert: Callable[[Any], Any]
) -> Callable[[Any, Any], None]:
    return lambda entry, value: set_field(entry, convert(value))


def newest(entries: Iterable[E], is_newer: Callable[[E, E], bool]) -> tuple[list[E], int]:
    """One entry of each id, the newest, and how many were given."""
    given = list(entries)
    kept = {entry.id: entry for entry in given}
    if len(kept) < len(given):
        kept.clear()
        for entry in given:
            known = kept.get(entry.id)
            if known is None or is_newer(entry, known):
                kept[entry.id] = entry
    return list(kept.values()), len(given)


def json_text(value: Any) -> str:
    """A JSON object as the text that the driver's jsonb codec takes (it gives back objects)."""
    if not value:
        return "{}"
    try:
        return orjson.dumps(dict(value)).decode()
    except TypeError:  # a whole number of more than 64 bits, which jsonb can hold
        return json.dumps(dict(value), ensure_ascii=False)


async def stage(
    connection: Connection,
    table: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    plain: Sequence[str] = (),
) -> str:
    """Binary-COPY the rows into a temporary table shaped like ``table``; its name.

    COPY straight into the table is not allowed under row-level security, and
    could not skip what is known. The staging table is the connection's own, has
    no index and no WAL, and is emptied at the end of the transaction. ``plain``
    names columns whose values fit into a page and are not to be kept apart.
    """
    name = f"staging_{table}"
    if await connection.fetchval("SELECT to_regclass($1) IS NULL", f"pg_temp.{name}"):
        await connection.execute(
            f"CREATE TEMPORARY TABLE {name} ON COMMIT DELETE ROWS AS"
            f" SELECT {', '.join(columns)} FROM {table} WITH NO DATA"
        )
        for column in plain:
            await connection.execute(f"ALTER TABLE {name} ALTER COLUMN {column} SET STORAGE PLAIN")
    else:
        await connection.execute(f"DELETE FROM {name}")  # of an earlier call in this transaction
    await connection.copy_records_to_table(name, records=rows, columns=columns)
    return name


async def _insert_staged(
    connection: Connection, table: str, columns: Sequence[str], condition: str, workspace_id: str
) -> int:
    """Insert the staged rows if none of them is known yet; how many, or 0 if one is.

    The usual case of an import, and it spares each row the check for a conflict,
    which costs as much as a third of the insert. Raises UniqueViolationError if
    another writer brings one of them meanwhile.
    """
    if await connection.fetchval(
        f"SELECT EXISTS (SELECT FROM staging_{table} AS staged"
        f" JOIN {table} AS known ON known.workspace_id = $1 AND known.id = staged.id)",
        workspace_id,
    ):
        return 0
    names = ", ".join(columns)
    status = await connection.execute(
        f"INSERT INTO {table} (workspace_id, {names})"
        f" SELECT $1, {names} FROM staging_{table} AS staged WHERE {condition}",
        workspace_id,
    )
    return int(status.split()[-1])


def merge_statement(
    table: str,
    columns: Sequence[str],
    *,
    newer: str,
    condition: str = "true",
) -> str:
    """The statement that takes staged rows into ``table``, whose key is (workspace_id, id).

    A row known already is replaced where ``newer`` (an SQL condition on
    ``known`` and ``excluded``) says so; ``condition`` (on ``staged``) chooses
    what is taken at all. It takes the workspace and gives the numbers of rows
    new and replaced.
    """
    names = ", ".join(columns)
    new_values = ", ".join(f"{c} = excluded.{c}" for c in columns if c != "id")
    return f"""
WITH merged AS (
    INSERT INTO {table} AS known (workspace_id, {names})
    SELECT $1, {names} FROM staging_{table} AS staged WHERE {condition}
    ON CONFLICT (workspace_id, id) DO UPDATE SET {new_values} WHERE {newer}
    RETURNING xmax = 0 AS is_new
)
SELECT count(*) FILTER (WHERE is_new) AS new, count(*) FILTER (WHERE NOT is_new) AS updated
FROM merged"""
