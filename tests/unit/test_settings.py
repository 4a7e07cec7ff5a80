"""Settings: where they come from, what counts more, and that no mistake shows a secret."""

import os
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from nakamura_misaki.domain.errors import ConfigurationError
from nakamura_misaki.infrastructure import logging as log
from nakamura_misaki.infrastructure.settings import Settings, load_settings
from nakamura_misaki.infrastructure.settings_sources import environment_name

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def bare_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings but those of the test: another working directory, no variables."""
    for field in Settings.model_fields:
        monkeypatch.delenv(environment_name(field), raising=False)
        monkeypatch.delenv(environment_name(field) + "_FILE", raising=False)
    for name in ("CREDENTIALS_DIRECTORY", "JOURNAL_STREAM"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(log, "_secrets", set())
    monkeypatch.setattr(log, "_secrets_pattern", None)


@pytest.fixture
def credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "credentials"
    directory.mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(directory))
    return directory


def secret(settings: Settings) -> str | None:
    return settings.openai_api_key and settings.openai_api_key.get_secret_value()


def test_defaults_need_nothing_to_be_set() -> None:
    settings = load_settings()
    assert settings.database_url is None
    assert settings.storage_backend == "postgresql"
    assert settings.workspace_id == "default"
    assert settings.time_zone == ZoneInfo("Asia/Tokyo")
    assert (settings.pool_size, settings.max_overflow, settings.pool_timeout) == (10, 20, 5.0)
    assert settings.effective_embedding_provider == "hashing"
    assert (settings.log_level, settings.log_format) == ("info", "plain")


def test_every_setting_can_be_set_by_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    values = {
        "DATABASE_URL": "postgresql+asyncpg://u:p@h/d",
        "DATABASE_OWNER_URL": "postgresql+asyncpg://o:p@h/d",
        "DATABASE_ADMIN_URL": "postgresql+asyncpg://a:p@h/d",
        "STORAGE_BACKEND": "json",
        "JSON_DATA_DIR": "/srv/json",
        "NAKAMURA_MISAKI_DATA_DIR": "/srv/data",
        "WORKSPACE_ID": "T01",
        "TIME_ZONE": "Europe/Berlin",
        "POOL_SIZE": "3",
        "MAX_OVERFLOW": "0",
        "POOL_TIMEOUT": "1.5",
        "EMBEDDING_PROVIDER": "openai",
        "EMBEDDING_MODEL": "bge-m3",
        "EMBEDDING_DIMENSIONS": "1024",
        "EMBEDDING_TIMEOUT": "2",
        "EMBEDDING_QUERY_TIMEOUT": "0.5",
        "EMBEDDING_MAX_INPUT_TOKENS": "512",
        "OPENAI_BASE_URL": "http://localhost:11434/v1/",
        "OPENAI_API_KEY": "sk-test",
        "API_HOST": "::1",
        "API_PORT": "8080",
        "API_TOKENS": "ci 0123456789abcdef0123456789abcdef",
        "API_MAX_BODY_BYTES": "65536",
        "SLACK_MODE": "Events",
        "SLACK_BOT_TOKEN": "xoxb-test",
        "SLACK_APP_TOKEN": "xapp-test",
        "SLACK_SIGNING_SECRET": "secret",
        "SLACK_API_URL": "http://localhost:9000/api/",
        "REMINDER_LEAD_MINUTES": "15",
        "SESSION_RETENTION_DAYS": "7",
        "BACKUP_DIR": "~/backups",
        "BACKUP_KEEP": "30",
        "BACKUP_STATUS_FILE": "/srv/status/backup.json",
        "POSTGRESQL_PROGRAMS": "/usr/lib/postgresql/16/bin",
        "STARTUP_TIMEOUT": "5",
        "SLOW_QUERY_SECONDS": "0.1",
        "LOG_LEVEL": "DEBUG",
        "LOG_FORMAT": "json",
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    settings = load_settings()
    assert {environment_name(field) for field in Settings.model_fields} == set(values)
    assert settings.model_fields_set == set(Settings.model_fields)
    assert settings.data_dir == Path("/srv/data")
    assert settings.effective_backup_dir == Path("~/backups").expanduser()
    assert settings.openai_base_url == "http://localhost:11434/v1"
    assert settings.log_level == "debug"
    assert settings.slack_mode == "events"


def test_backups_lie_in_the_data_directory_unless_told_otherwise(
    credentials: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAKAMURA_MISAKI_DATA_DIR", "/srv/data")
    url = "postgresql://admin:hunter2secret@h/d"
    (credentials / "database-admin-url").write_text(f"{url}\n")
    settings = load_settings()
    assert settings.effective_backup_dir == Path("/srv/data/backups")
    assert (settings.backup_keep, settings.backup_status_file) == (14, None)
    assert settings.database_admin_url is not None
    assert settings.database_admin_url.get_secret_value().startswith("postgresql+asyncpg://admin:")
    assert "hunter2secret" not in f"{settings!r}"
    assert log.redact("password authentication: hunter2secret") == "password authentication: ***"
    monkeypatch.setenv("BACKUP_KEEP", "0")
    with pytest.raises(ConfigurationError, match="BACKUP_KEEP is not valid"):
        load_settings()


def test_each_source_counts_more_than_the_next(
    tmp_path: Path, credentials: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("OPENAI_API_KEY=from-dotenv\n")
    assert secret(load_settings()) == "from-dotenv"
    (credentials / "openai-api-key").write_text("from-credential\n")
    assert secret(load_settings()) == "from-credential"
    (tmp_path / "key").write_text("from-file\n")
    monkeypatch.setenv("OPENAI_API_KEY_FILE", str(tmp_path / "key"))
    assert secret(load_settings()) == "from-file"
    monkeypatch.delenv("OPENAI_API_KEY_FILE")
    monkeypatch.setenv("OPENAI_API_KEY", "from-environment")
    assert secret(load_settings()) == "from-environment"
    assert secret(load_settings(openai_api_key="from-argument")) == "from-argument"


@pytest.mark.parametrize("name", ["database-url", "database_url"])
def test_credentials_are_named_like_the_setting(credentials: Path, name: str) -> None:
    (credentials / name).write_text("postgresql:///db?host=/run/postgresql")
    url = load_settings().database_url
    assert url is not None
    assert url.get_secret_value() == "postgresql+asyncpg:///db?host=/run/postgresql"


def test_a_variable_and_its_file_together_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_text("one")
    monkeypatch.setenv("OPENAI_API_KEY", "two")
    monkeypatch.setenv("OPENAI_API_KEY_FILE", str(tmp_path / "key"))
    with pytest.raises(ConfigurationError, match="OPENAI_API_KEY and OPENAI_API_KEY_FILE"):
        load_settings()


def test_a_variable_counts_more_than_a_file_named_in_dotenv(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "key").write_text("from-file")
    (tmp_path / ".env").write_text(f"OPENAI_API_KEY_FILE={tmp_path / 'key'}\n")
    assert secret(load_settings()) == "from-file"
    monkeypatch.setenv("OPENAI_API_KEY", "from-environment")
    assert secret(load_settings()) == "from-environment"


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: None, "no such file or directory"),
        (lambda path: path.mkdir(), "is a directory"),
        (lambda path: path.write_bytes(b"\xff\xfe\x00"), "not text in UTF-8"),
        (lambda path: path.write_bytes(b"\n"), "is empty"),
    ],
    ids=["absent", "directory", "binary", "empty"],
)
def test_a_file_without_a_readable_value_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Callable[[Path], object], reason: str
) -> None:
    path = tmp_path / "secret"
    make(path)
    monkeypatch.setenv("OPENAI_API_KEY_FILE", str(path))
    with pytest.raises(ConfigurationError, match=f"OPENAI_API_KEY_FILE names .*secret, .*{reason}"):
        load_settings()


def test_line_ends_after_a_value_in_a_file_are_dropped_and_spaces_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "model").write_bytes(b"a model \r\n\n")
    monkeypatch.setenv("EMBEDDING_MODEL_FILE", str(tmp_path / "model"))
    assert load_settings().embedding_model == "a model "


def test_empty_values_are_as_good_as_none(
    credentials: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (credentials / "time-zone").write_text("")
    for name in ("DATABASE_URL", "OPENAI_API_KEY", "POOL_SIZE", "OPENAI_API_KEY_FILE"):
        monkeypatch.setenv(name, "")
    settings = load_settings()
    assert settings.database_url is None
    assert settings.openai_api_key is None
    assert settings.pool_size == 10


def test_dotenv_is_read_literally_and_unknown_names_in_it_are_ignored(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(
        b"\xef\xbb\xbfWORKSPACE_ID=T${HOME}1\nSOMETHING_ELSE=1\nexport POOL_SIZE='4' # four\n"
    )
    settings = load_settings()
    assert settings.workspace_id == "T${HOME}1"
    assert settings.pool_size == 4


def test_a_dotenv_that_is_not_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"POOL_SIZE=\xff\n")
    with pytest.raises(ConfigurationError, match=r"\.env can't be read: it is not text in UTF-8"):
        load_settings()


def test_the_example_is_a_valid_dotenv_that_shows_every_setting(tmp_path: Path) -> None:
    example = (ROOT / ".env.example").read_text("utf-8")
    (tmp_path / ".env").write_text(example)
    settings = load_settings()
    assert settings.database_url is not None
    assert (
        settings.database_url.get_secret_value()
        == "postgresql+asyncpg://nakamura_misaki:password@localhost:5432/nakamura_misaki"
    )
    assert settings.openai_api_key is None
    for field in Settings.model_fields:
        assert f"{environment_name(field)}=" in example


def test_the_example_stays_valid_with_every_line_uncommented(tmp_path: Path) -> None:
    lines = (ROOT / ".env.example").read_text("utf-8").splitlines()
    (tmp_path / ".env").write_text("\n".join(line.removeprefix("#") for line in lines))
    settings = load_settings()
    assert settings.model_fields_set == set(Settings.model_fields) - {"openai_api_key"}
    for field in settings.model_fields_set - {
        "database_url",
        "database_owner_url",
        "database_admin_url",
        "json_data_dir",
        "data_dir",
    }:
        default = Settings.model_fields[field].get_default(call_default_factory=True)
        if default is not None:
            assert str(getattr(settings, field)) in (
                str(default),
                f"{default:g}" if isinstance(default, float) else "",
            )


@pytest.mark.parametrize(
    "url",
    [
        "mysql://u:hunter2secret@h/d",
        "postgresql+psycopg://u:hunter2secret@h/d",
        "hunter2secret",
        "postgresql:/u:hunter2secret@h/d",
        "postgresql://u:hunter2secret@rest@h/d",
        "postgresql://u:hunter2secret@h:port/d",
        "postgresql://u:hunter2secret@h/d?sslmode=hunter2secret",
        "postgresql://u:hunter2secret@h/d?sslmode=require&ssl=require",
        "postgresql://u:hunter2secret@h/d?connect_timeout=5",
        "postgresql://u:hunter2secret@h/d\nx",
        "postgresql://u:hunter2secret@[h/d",
    ],
)
def test_other_urls_are_refused_without_showing_the_password(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    with pytest.raises(ConfigurationError, match=r"^DATABASE_URL is not valid: ") as failure:
        load_settings()
    shown = "".join(traceback.format_exception(failure.value))
    assert "hunter2secret" not in shown + repr(failure.value)
    assert failure.value.__context__ is None
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("POOL_SIZE", "0", "greater than or equal to 1"),
        ("POOL_SIZE", "ten", "valid integer"),
        ("MAX_OVERFLOW", "-1", "greater than or equal to 0"),
        ("POOL_TIMEOUT", "0", "greater than 0"),
        ("POOL_TIMEOUT", "nan", "finite number"),
        ("EMBEDDING_TIMEOUT", "inf", "finite number"),
        ("EMBEDDING_DIMENSIONS", "3901", "less than or equal to 3900"),
        ("EMBEDDING_PROVIDER", "cohere", "'openai' or 'hashing'"),
        ("STORAGE_BACKEND", "sqlite", "'postgresql' or 'json'"),
        ("WORKSPACE_ID", "   ", "must not be blank"),
        ("TIME_ZONE", "Mars/Olympus", "no time zone 'Mars/Olympus'"),
        ("TIME_ZONE", "../../etc/passwd", "no time zone"),
        ("TIME_ZONE", "America", "no time zone"),
        ("OPENAI_BASE_URL", "localhost:11434", "an address such as"),
        ("OPENAI_BASE_URL", "http://u:hunter2secret@h/v1", "no user or password"),
        ("OPENAI_BASE_URL", "http://[h/v1", "invalid"),
        ("LOG_LEVEL", "loud", "'debug', 'info'"),
        ("LOG_FORMAT", "xml", "'plain', 'journald' or 'json'"),
        ("JSON_DATA_DIR", "~nobody-of-that-name/x", "home directory"),
    ],
)
def test_a_wrong_value_gives_one_sentence_with_the_variables_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, words: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError) as failure:
        load_settings()
    sentence = str(failure.value)
    assert sentence.startswith(f"{name} is not valid: ")
    assert words in sentence.lower() or words in sentence
    assert sentence.endswith(".")
    assert "hunter2secret" not in sentence
    assert "\n" not in sentence


def test_all_wrong_values_are_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("POOL_SIZE", "0")
    monkeypatch.setenv("LOG_LEVEL", "loud")
    with pytest.raises(ConfigurationError, match=r"POOL_SIZE is not valid: .*; LOG_LEVEL"):
        load_settings()


def test_an_argument_that_is_no_setting_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="DATABASE_ULR is not valid"):
        load_settings(database_ulr="postgresql:///d")


def test_secrets_are_in_no_repr_and_masked_in_the_log() -> None:
    settings = load_settings(
        database_url="postgresql://u:hunter2%40secret@h/d?password=other-secret",
        database_owner_url="postgresql://o:owner-secret@h/d",
        openai_api_key="opaque-api-key",
    )
    shown = (
        repr(settings) + str(settings) + repr(settings.model_dump()) + settings.model_dump_json()
    )
    for secret in (
        "hunter2%40secret",
        "hunter2@secret",
        "other-secret",
        "owner-secret",
        "opaque-api-key",
    ):
        assert secret not in shown
        assert log.redact(f"<{secret}>") == "<***>"


def test_even_the_librarys_own_error_shows_no_value() -> None:
    with pytest.raises(ValidationError) as failure:
        Settings(database_url="mysql://u:hunter2secret@h/d")
    assert "hunter2secret" not in str(failure.value)


@pytest.mark.parametrize(
    ("values", "provider"),
    [
        ({}, "hashing"),
        ({"openai_api_key": "k"}, "openai"),
        ({"openai_base_url": "http://localhost:1/v1"}, "openai"),
        ({"openai_api_key": "k", "embedding_provider": "hashing"}, "hashing"),
        ({"embedding_provider": "openai"}, "openai"),
    ],
)
def test_the_provider_follows_from_what_is_set(values: dict[str, str], provider: str) -> None:
    assert load_settings(**values).effective_embedding_provider == provider


@pytest.mark.parametrize("uid", [0, 1000])
def test_data_lies_where_the_user_may_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uid: int
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "share"))
    expected = tmp_path / "share/nakamura-misaki" if uid else Path("/var/lib/nakamura-misaki")
    assert load_settings().data_dir == expected


def test_directories_are_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/misaki")
    assert load_settings(data_dir="here").data_dir == tmp_path / "here"
    assert load_settings(json_data_dir="~/data").json_data_dir == Path("/home/misaki/data")


def test_loading_settings_needs_neither_sqlalchemy_nor_openai() -> None:
    code = (
        "import sys\n"
        "from nakamura_misaki.infrastructure.settings import load_settings\n"
        "load_settings()\n"
        "assert not {'sqlalchemy', 'openai', 'asyncpg'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
