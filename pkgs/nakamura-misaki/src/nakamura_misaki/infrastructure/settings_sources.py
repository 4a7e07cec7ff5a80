"""Where settings come from: variables, the files that they name, systemd's credentials."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from nakamura_misaki.domain.errors import ConfigurationError

_OTHER_NAMES = {"data_dir": "NAKAMURA_MISAKI_DATA_DIR"}


def environment_name(field: str) -> str:
    """The variable that sets a field."""
    return _OTHER_NAMES.get(field, field.upper())


class EnvironmentSource(PydanticBaseSettingsSource):
    """Settings from variables: NAME holds the value, or NAME_FILE the name of a file with it.

    ``origin`` says in an error where the variables stand. Calling it raises
    ConfigurationError when both are set, or when the file can't be read or is empty.
    """

    def __init__(
        self, settings_cls: type[BaseSettings], variables: Mapping[str, str | None], origin: str
    ) -> None:
        super().__init__(settings_cls)
        self._variables = variables
        self._origin = origin

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        name = environment_name(field_name)
        value = self._variables.get(name) or None
        file = self._variables.get(f"{name}_FILE") or None
        if value is not None and file is not None:
            raise ConfigurationError(
                f"{name} and {name}_FILE are both set in {self._origin}; remove one of them."
            )
        if file is not None:
            value = _read(Path(file), f"{name}_FILE")
            if not value:
                raise ConfigurationError(f"{name}_FILE names {file}, which is empty.")
        return value, field_name, False

    def __call__(self) -> dict[str, Any]:
        return _present(self)


class CredentialsSource(PydanticBaseSettingsSource):
    """Settings from the files of a directory, each named like its variable in lower case.

    Words may be joined by ``-`` or ``_``: ``openai-api-key`` or ``openai_api_key``.
    See https://systemd.io/CREDENTIALS/. An empty file is as good as none.
    """

    def __init__(self, settings_cls: type[BaseSettings], directory: str | None) -> None:
        super().__init__(settings_cls)
        self._directory = Path(directory) if directory else None

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        name = environment_name(field_name).lower()
        if self._directory is not None:
            for file_name in (name.replace("_", "-"), name):
                path = self._directory / file_name
                if path.exists():
                    return _read(path, f"the credential {file_name}") or None, field_name, False
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        return _present(self)


def dotenv(path: Path) -> dict[str, str | None]:
    """The variables of a ``.env`` file, ``$`` in them left alone; none if there is no such file.

    Raises ConfigurationError if it can't be read.
    """
    if not path.is_file():
        return {}
    try:
        return dotenv_values(path, interpolate=False, encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = _reason(error)
    raise ConfigurationError(f"{path} can't be read: {reason}.")


def _present(source: PydanticBaseSettingsSource) -> dict[str, Any]:
    values = {}
    for name, field in source.settings_cls.model_fields.items():
        value, _, _ = source.get_field_value(field, name)
        if value is not None:
            values[name] = value
    return values


def _read(path: Path, named_by: str) -> str:
    """The text of a file without the line ends after it."""
    try:
        return path.expanduser().read_text("utf-8").rstrip("\r\n")
    except (OSError, RuntimeError, ValueError) as error:
        reason = _reason(error)
    raise ConfigurationError(f"{named_by} names {path}, which can't be read: {reason}.")


def _reason(error: Exception) -> str:
    """Why a file can't be read; of its content nothing."""
    if isinstance(error, OSError):
        return (error.strerror or type(error).__name__).lower()
    return "it is not text in UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)
