"""What belongs to a database beside its content: owner, locale, rights, settings.

``pg_dump`` leaves these to whoever creates the database. They stand in catalogs
of the whole server, so that they can be read while the database itself can't be.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

from asyncpg.exceptions import PostgresError

from nakamura_misaki.infrastructure.backup.server import identifier, literal

_PROVIDERS = {"c": "libc", "i": "icu", "b": "builtin"}
_RIGHTS = frozenset({"CONNECT", "CREATE", "TEMPORARY"})

# Of PostgreSQL's src/bin/pg_dump/dumputils.c (variable_is_guc_list_quote): one literal would make
# one name of the whole list.
_LISTS = frozenset(
    {
        "local_preload_libraries",
        "search_path",
        "session_preload_libraries",
        "shared_preload_libraries",
        "temp_tablespaces",
        "unix_socket_directories",
    }
)

_READ = """
SELECT (to_jsonb(d) || jsonb_build_object(
    'owner', pg_get_userbyid(datdba),
    'encoding', pg_encoding_to_char(encoding),
    'tablespace', (SELECT spcname FROM pg_tablespace AS t WHERE t.oid = dattablespace),
    'grants', CASE WHEN datacl IS NOT NULL THEN (
        SELECT coalesce(jsonb_agg(jsonb_build_array(
            pg_get_userbyid(nullif(grantee, 0)), privilege_type, is_grantable)), '[]')
        FROM aclexplode(datacl)) END,
    'settings', (
        SELECT coalesce(jsonb_agg(jsonb_build_array(pg_get_userbyid(nullif(setrole, 0)), setting)), '[]')
        FROM pg_db_role_setting, unnest(setconfig) AS setting WHERE setdatabase = d.oid)
))::text FROM pg_database AS d WHERE datname = $1"""


class Grant(NamedTuple):
    """A right on the database; ``role`` None: everybody's."""

    role: str | None
    privilege: str
    may_pass_on: bool


class Setting(NamedTuple):
    """What ALTER DATABASE (``role`` None) or ALTER ROLE … IN DATABASE has set."""

    role: str | None
    assignment: str
    """``name=value``"""


@dataclass(frozen=True, slots=True)
class DatabaseProperties:
    """All that CREATE DATABASE, GRANT and ALTER DATABASE said of one database."""

    owner: str
    encoding: str
    provider: str
    """``libc``, ``icu`` or ``builtin``"""
    collate: str
    ctype: str
    locale: str | None
    """Of the providers icu and builtin."""
    icu_rules: str | None
    tablespace: str
    connection_limit: int
    grants: tuple[Grant, ...] | None
    """None: nobody has changed the rights, and PostgreSQL's defaults are in force."""
    settings: tuple[Setting, ...]

    @classmethod
    async def read(cls, driver: Any, database: str) -> Self | None:
        """Those of a database of this server; None if there is no such database."""
        found = await driver.fetchval(_READ, database)
        if found is None:
            return None
        row = json.loads(found)
        return cls.of_json(
            {
                **row,
                "provider": _PROVIDERS[row["datlocprovider"]],
                "collate": row["datcollate"],
                "ctype": row["datctype"],
                # Renamed in PostgreSQL 17.
                "locale": row.get("datlocale") or row.get("daticulocale"),
                "icu_rules": row.get("daticurules"),
                "connection_limit": row["datconnlimit"],
            }
        )

    @classmethod
    def of_json(cls, noted: Mapping[str, Any]) -> Self:
        """Those that ``as_json`` gave. Raises KeyError, TypeError, ValueError for anything else."""
        grants = noted["grants"]
        if grants is not None:
            grants = tuple(Grant(*each) for each in grants)
        # The words that are not quoted in SQL: the file may have been tampered with.
        privileges = {grant.privilege for grant in grants or ()}
        if noted["provider"] not in _PROVIDERS.values() or not privileges <= _RIGHTS:
            raise ValueError("no provider, or no right, that PostgreSQL knows")
        return cls(
            owner=str(noted["owner"]),
            encoding=str(noted["encoding"]),
            provider=str(noted["provider"]),
            collate=str(noted["collate"]),
            ctype=str(noted["ctype"]),
            locale=noted["locale"],
            icu_rules=noted["icu_rules"],
            tablespace=str(noted["tablespace"]),
            connection_limit=int(noted["connection_limit"]),
            grants=grants,
            settings=tuple(Setting(*each) for each in noted["settings"]),
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "owner": self.owner,
            "encoding": self.encoding,
            "provider": self.provider,
            "collate": self.collate,
            "ctype": self.ctype,
            "locale": self.locale,
            "icu_rules": self.icu_rules,
            "tablespace": self.tablespace,
            "connection_limit": self.connection_limit,
            "grants": None if self.grants is None else [list(each) for each in self.grants],
            "settings": [list(each) for each in self.settings],
        }

    async def create(self, driver: Any, database: str) -> None:
        """Create an empty database of this kind, with no rights or settings of its own yet."""
        words = [
            f"CREATE DATABASE {identifier(database)} TEMPLATE template0",
            f"ENCODING {literal(self.encoding)} LOCALE_PROVIDER {self.provider}",
            f"LC_COLLATE {literal(self.collate)} LC_CTYPE {literal(self.ctype)}",
        ]
        if self.locale:
            words.append(f"{self.provider.upper()}_LOCALE {literal(self.locale)}")
        if self.icu_rules:
            words.append(f"ICU_RULES {literal(self.icu_rules)}")
        if await _has(driver, "pg_roles", "rolname", self.owner):
            words.append(f"OWNER {identifier(self.owner)}")
        if await _has(driver, "pg_tablespace", "spcname", self.tablespace):
            words.append(f"TABLESPACE {identifier(self.tablespace)}")
        await driver.execute(" ".join(words))

    async def apply(self, driver: Any, database: str) -> list[str]:
        """Give a database that ``create`` made the rights and settings.

        What concerns roles that this server does not have is left out; so is what the
        server refuses, such as a setting of an older PostgreSQL, and that is returned.
        """
        name = identifier(database)
        rows = await driver.fetch("SELECT rolname FROM pg_roles")
        known = {row[0] for row in rows}
        left_out = []
        async with driver.transaction():
            if self.connection_limit >= 0:
                limit = f"ALTER DATABASE {name} CONNECTION LIMIT {self.connection_limit}"
                await driver.execute(limit)
            for statement in self._grant_statements(name, known):
                await driver.execute(statement)
            for setting in self.settings:
                if setting.role is not None and setting.role not in known:
                    continue
                try:
                    await _set(driver, name, setting)
                except PostgresError as error:
                    left_out.append(f"the setting {setting.assignment} ({error.args[0]})")
        return left_out

    def _grant_statements(self, name: str, known: set[str]) -> Iterator[str]:
        if self.grants is None:
            return
        yield f"REVOKE ALL ON DATABASE {name} FROM PUBLIC"
        if self.owner in known:
            yield f"REVOKE ALL ON DATABASE {name} FROM {identifier(self.owner)}"
        for role, privilege, may_pass_on in self.grants:
            if role is None or role in known:
                whom = "PUBLIC" if role is None else identifier(role)
                option = " WITH GRANT OPTION" if may_pass_on else ""
                yield f"GRANT {privilege} ON DATABASE {name} TO {whom}{option}"


async def _set(driver: Any, database: str, setting: Setting) -> None:
    variable, _, value = setting.assignment.partition("=")
    if setting.role is None:
        whose = f"DATABASE {database}"
    else:
        whose = f"ROLE {identifier(setting.role)} IN DATABASE {database}"
    dotted = ".".join(map(identifier, variable.split(".")))
    async with driver.transaction():
        if variable in _LISTS:
            await driver.execute("SELECT set_config($1, $2, true)", variable, value)
            await driver.execute(f"ALTER {whose} SET {dotted} FROM CURRENT")
        else:
            await driver.execute(f"ALTER {whose} SET {dotted} TO {literal(value)}")


async def _has(driver: Any, catalog: str, column: str, name: str) -> bool:
    found: bool = await driver.fetchval(
        f"SELECT EXISTS (SELECT FROM {catalog} WHERE {column} = $1)", name
    )
    return found
