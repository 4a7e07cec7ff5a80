"""The two roles: one owns and migrates, one runs; and what each may do.

Where the connecting role may create roles (the embedded server, a superuser),
``prepare`` creates what is missing. Elsewhere the operator or the NixOS module
has created them. Where neither role exists and none can be created, the
connecting role owns everything and runs it, too: row-level security is forced
on the owner, so that isolation holds there as well.
"""

from typing import Any

OWNER_ROLE = "nakamura_misaki_owner"
RUNTIME_ROLE = "nakamura_misaki"

RUNTIME_TABLES = (
    "tasks",
    "handoffs",
    "sessions",
    "notes",
    "note_embeddings",
    "embedding_models",
    "spare_embeddings",
    "note_common_terms",
    "api_tokens",
    "idempotency_keys",
    "inbox_events",
)


RUNTIME_FUNCTIONS = (
    "nakamura_misaki_words(text, text, integer)",
    "nakamura_misaki_matching(text, jsonb, integer)",
    "nakamura_misaki_words_among(text, text, integer, jsonb, uuid[])",
)
"""Functions that read as the tables' owner, and so are not everybody's."""


def create_roles_sql() -> list[str]:
    """Statements that create both roles; only a superuser or a CREATEROLE may run them."""
    return [
        f"CREATE ROLE {OWNER_ROLE} NOLOGIN",
        f"CREATE ROLE {RUNTIME_ROLE} LOGIN",
    ]


def schema_rights_sql() -> list[str]:
    """What both roles need of the schema; only its owner or a superuser may give it."""
    return [
        f"GRANT CREATE, USAGE ON SCHEMA public TO {OWNER_ROLE}",
        f"GRANT USAGE ON SCHEMA public TO {RUNTIME_ROLE}",
    ]


def grants_sql() -> list[str]:
    """What the runtime role may do: read and write rows, and nothing to the tables."""
    return [
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON {', '.join(RUNTIME_TABLES)} TO {RUNTIME_ROLE}",
        f"GRANT SELECT ON alembic_version TO {RUNTIME_ROLE}",
        f"GRANT EXECUTE ON FUNCTION {', '.join(RUNTIME_FUNCTIONS)} TO {RUNTIME_ROLE}",
    ]


async def role_exists(connection: Any, name: str) -> bool:
    found: bool = await connection.fetchval(
        "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", name
    )
    return found
