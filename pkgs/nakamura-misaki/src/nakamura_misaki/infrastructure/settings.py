"""What the operator sets: read once, checked as a whole, shown without its secrets."""

import os
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from nakamura_misaki.domain.errors import ConfigurationError
from nakamura_misaki.domain.rules import require_line
from nakamura_misaki.infrastructure.database.vector_codec import MAX_DIMENSIONS
from nakamura_misaki.infrastructure.database_url import normalise_database_url, password_of
from nakamura_misaki.infrastructure.logging import default_format, register_secret
from nakamura_misaki.infrastructure.settings_sources import (
    CredentialsSource,
    EnvironmentSource,
    dotenv,
    environment_name,
)


def _database_url(value: SecretStr) -> SecretStr:
    return SecretStr(normalise_database_url(value.get_secret_value()))


def _server_url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("it must be an address such as http://localhost:11434/v1")
    if parts.username is not None:
        raise ValueError("it must hold no user or password; the key goes to OPENAI_API_KEY")
    return value.rstrip("/")


def _path(value: Path) -> Path:
    try:
        return value.expanduser().absolute()
    except RuntimeError:
        raise ValueError("the home directory that its ~ stands for is not known") from None


def _zone(value: object) -> ZoneInfo:
    if isinstance(value, ZoneInfo):
        return value
    try:
        return ZoneInfo(str(value))
    except (LookupError, ValueError, OSError):
        raise ValueError(
            f"there is no time zone {str(value)!r} here; use a name such as Asia/Tokyo,"
            " and install tzdata if that is missing"
        ) from None


def _workspace(value: str) -> str:
    require_line(value, "a workspace's id")
    return value


def _default_data_dir() -> Path:
    if os.geteuid() == 0:
        return Path("/var/lib/nakamura-misaki")
    from platformdirs import user_data_path

    return user_data_path("nakamura-misaki")


DatabaseUrl = Annotated[SecretStr, AfterValidator(_database_url)]
FilePath = Annotated[Path, AfterValidator(_path)]
Seconds = Annotated[float, Field(gt=0, le=3600, allow_inf_nan=False)]
LowerCase = BeforeValidator(lambda value: value.lower() if isinstance(value, str) else value)


class Settings(BaseSettings):
    """Every setting, under its name in lower case (``data_dir``: NAKAMURA_MISAKI_DATA_DIR).

    What counts, first to last: arguments, the environment (NAME, or NAME_FILE that
    names a file with the value), files in ``$CREDENTIALS_DIRECTORY`` named like the
    setting (systemd's LoadCredential), ``.env`` in the working directory (NAME or
    NAME_FILE), the default. An empty value is as good as none. Other names in the
    environment and in ``.env`` are not looked at.

    Use ``load_settings``, which turns every mistake into one sentence.
    """

    model_config = SettingsConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    database_url: DatabaseUrl | None = None
    """``postgresql+asyncpg://``; None: the embedded server in ``data_dir``."""
    database_owner_url: DatabaseUrl | None = None
    """For schema changes; None: ``database_url``."""
    database_admin_url: DatabaseUrl | None = None
    """For backups: a role from which no row is hidden, and which may create databases."""
    storage_backend: Literal["postgresql", "json"] = "postgresql"
    json_data_dir: FilePath | None = None
    data_dir: FilePath = Field(default_factory=_default_data_dir)
    """Where the embedded server keeps its data."""
    workspace_id: Annotated[str, AfterValidator(_workspace)] = "default"
    time_zone: Annotated[ZoneInfo, BeforeValidator(_zone)] = Field(
        default="Asia/Tokyo", validate_default=True
    )

    pool_size: Annotated[int, Field(ge=1, le=1000)] = 10
    max_overflow: Annotated[int, Field(ge=0, le=1000)] = 20
    pool_timeout: Seconds = 5.0

    embedding_provider: Literal["openai", "hashing"] | None = None
    """None: see ``effective_embedding_provider``."""
    embedding_model: str = "text-embedding-3-small"
    """Of the provider ``openai``."""
    embedding_dimensions: Annotated[int, Field(ge=1, le=MAX_DIMENSIONS)] | None = None
    """None: what the embedder has by itself."""
    embedding_timeout: Seconds = 10.0
    embedding_query_timeout: Seconds = 3.0
    """How long a search waits for its question's vector before words alone answer."""
    embedding_max_input_tokens: Annotated[int, Field(ge=16)] = 8191
    """Lower it for a model that takes less than OpenAI's."""
    openai_base_url: Annotated[str, AfterValidator(_server_url)] | None = None
    openai_api_key: SecretStr | None = None

    api_host: str = "127.0.0.1"
    api_port: Annotated[int, Field(ge=0, le=65535)] = 10000
    """0: any that is free."""
    api_tokens: SecretStr | None = None
    """Tokens beside those in the database, one a line: see ``application.fixed_tokens``."""
    api_max_body_bytes: Annotated[int, Field(ge=1024, le=64 * 1024 * 1024)] = 1024 * 1024

    slack_mode: Annotated[Literal["off", "socket", "events"], LowerCase] | None = None
    """None: see ``effective_slack_mode``."""
    slack_bot_token: SecretStr | None = None
    """A bot's token (xoxb-) or a user's (xoxp-)."""
    slack_app_token: SecretStr | None = None
    """For Socket Mode (xapp-)."""
    slack_signing_secret: SecretStr | None = None
    """For the Events API."""
    slack_api_url: Annotated[str, AfterValidator(_server_url)] = "https://slack.com/api"

    reminder_lead_minutes: Annotated[int, Field(ge=0, le=7 * 24 * 60)] = 10
    session_retention_days: Annotated[int, Field(ge=1, le=36500)] = 30

    backup_dir: FilePath | None = None
    """None: see ``effective_backup_dir``."""
    backup_keep: Annotated[int, Field(ge=1, le=100_000)] = 14
    backup_status_file: FilePath | None = None
    """Where backups note how they went, for the metrics of ``serve``."""
    postgresql_programs: FilePath | None = None
    """The directory of pg_dump and pg_restore; None: the PATH, or the embedded server's own."""

    startup_timeout: Seconds = 60.0
    """How long ``serve`` waits for the database before it gives up."""
    slow_query_seconds: Seconds = 0.5

    log_level: Annotated[Literal["debug", "info", "warning", "error", "critical"], LowerCase] = (
        "info"
    )
    log_format: Annotated[Literal["plain", "journald", "json"], LowerCase] = Field(
        default_factory=default_format
    )

    @property
    def effective_backup_dir(self) -> Path:
        """The directory that is set; else ``backups`` in ``data_dir``."""
        return self.backup_dir or self.data_dir / "backups"

    @property
    def effective_embedding_provider(self) -> Literal["openai", "hashing"]:
        """The provider that is set; else ``openai`` if a key or a server's address is, else ``hashing``."""
        if self.embedding_provider is not None:
            return self.embedding_provider
        return "openai" if self.openai_api_key or self.openai_base_url else "hashing"

    @property
    def effective_slack_mode(self) -> Literal["off", "socket", "events"]:
        """The mode that is set; else what the secrets are for: an app token, or a signing secret."""
        if self.slack_mode is not None:
            return self.slack_mode
        if self.slack_bot_token is None:
            return "off"
        if self.slack_app_token is not None:
            return "socket"
        return "events" if self.slack_signing_secret is not None else "off"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (
            init_settings,
            EnvironmentSource(settings_cls, os.environ, "the environment"),
            CredentialsSource(settings_cls, os.environ.get("CREDENTIALS_DIRECTORY")),
            EnvironmentSource(settings_cls, dotenv(Path(".env")), ".env"),
        )


def load_settings(**arguments: Any) -> Settings:
    """The settings; ``arguments`` count more than every other source.

    Their secrets are masked in the log from now on. Raises ConfigurationError with
    one sentence that names the variable and never shows a secret.
    """
    try:
        settings = Settings(**arguments)
    except ValidationError as error:
        reason = _sentence(error)
    else:
        _register_secrets(settings)
        return settings
    # Outside of the except block, so that the values tried do not hang on the error.
    raise ConfigurationError(reason)


def _sentence(error: ValidationError) -> str:
    reasons: dict[str, str] = {}
    for mistake in error.errors(include_url=False, include_input=False, include_context=False):
        name = environment_name(str(mistake["loc"][0])) if mistake["loc"] else "the settings"
        words = mistake["msg"].removeprefix("Value error, ").rstrip(".")
        reasons.setdefault(name, f"{name} is not valid: {words[:1].lower()}{words[1:]}")
    return "; ".join(reasons.values()) + "."


def _register_secrets(settings: Settings) -> None:
    for value in (
        settings.openai_api_key,
        settings.slack_bot_token,
        settings.slack_app_token,
        settings.slack_signing_secret,
    ):
        if value is not None:
            register_secret(value.get_secret_value())
    for url in (settings.database_url, settings.database_owner_url, settings.database_admin_url):
        if url is not None:
            for secret in password_of(url.get_secret_value()):
                register_secret(secret)
