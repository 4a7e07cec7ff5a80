"""Database URLs: every usual spelling is brought into the one that the driver takes."""

import pytest
from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg
from sqlalchemy.engine import make_url

from nakamura_misaki.infrastructure.database_url import normalise_database_url, password_of


@pytest.mark.parametrize(
    ("given", "normalised"),
    [
        ("postgresql://u:p@h:5432/d", "postgresql+asyncpg://u:p@h:5432/d"),
        ("postgres://u:p@h/d", "postgresql+asyncpg://u:p@h/d"),
        ("postgresql+asyncpg://u:p%40x@h/d", "postgresql+asyncpg://u:p%40x@h/d"),
        ("postgresql://u:a/b?c@h/d", "postgresql+asyncpg://u:a/b?c@h/d"),
        ("POSTGRESQL://h", "postgresql+asyncpg://h"),
        ("postgresql://u@[::1]:5433/d", "postgresql+asyncpg://u@[::1]:5433/d"),
        (
            "postgresql:///d?host=/run/postgresql",
            "postgresql+asyncpg:///d?host=/run/postgresql",
        ),
        (
            "postgres://u@/d?host=/run/postgresql&sslmode=disable&user=x%20y",
            "postgresql+asyncpg://u@/d?host=/run/postgresql&ssl=disable&user=x+y",
        ),
        ("postgres://h/d?sslmode=verify-full", "postgresql+asyncpg://h/d?ssl=verify-full"),
        ("postgres://h/d?ssl=require", "postgresql+asyncpg://h/d?ssl=require"),
    ],
)
def test_database_urls_are_brought_into_one_form(given: str, normalised: str) -> None:
    assert normalise_database_url(given) == normalised


def test_normalised_urls_mean_the_same_to_the_driver() -> None:
    url = make_url(
        normalise_database_url("postgres://u:p%40:x@/d?host=/run/postgresql&sslmode=require")
    )
    _, options = PGDialect_asyncpg().create_connect_args(url)
    assert options == {
        "user": "u",
        "password": "p@:x",
        "database": "d",
        "host": "/run/postgresql",
        "ssl": "require",
    }


@pytest.mark.parametrize(
    ("url", "passwords"),
    [
        ("postgresql+asyncpg://u:p%40x@h/d", ["p%40x", "p@x"]),
        ("postgresql+asyncpg:///d?host=/run/postgresql&password=a%20b", ["a b"]),
        ("postgresql+asyncpg://u@h/d", []),
    ],
)
def test_passwords_are_found_in_every_place(url: str, passwords: list[str]) -> None:
    assert list(password_of(url)) == passwords
