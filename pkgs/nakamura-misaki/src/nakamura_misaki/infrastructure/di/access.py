"""What lets requests in: the tokens of every workspace's store, and those of the settings."""

from typing import TYPE_CHECKING

from nakamura_misaki.application.access import Gate, TokenRepository
from nakamura_misaki.application.fixed_tokens import SETTING, FixedToken, read_fixed_tokens
from nakamura_misaki.domain.errors import ConfigurationError, NotFound
from nakamura_misaki.infrastructure.di.repositories import build_token_repository
from nakamura_misaki.infrastructure.logging import register_secret

if TYPE_CHECKING:
    from nakamura_misaki.infrastructure.di.application import App


def build_gate(app: "App") -> Gate:
    """The gate before the API. Raises ConfigurationError for what API_TOKENS can't hold.

    The secrets of API_TOKENS are masked in the log from now on.
    """

    def tokens_of(workspace_id: str) -> TokenRepository:
        if workspace_id == app.settings.workspace_id:
            return app.own.token_repository
        if app.manager is None:
            raise NotFound(f"the JSON files hold no workspace {workspace_id}.")
        # Not app.of(), which keeps what it made: anybody may name any workspace here.
        return build_token_repository(app.settings, app.manager, workspace_id)

    return Gate(tokens_of, fixed=_fixed_tokens(app))


def _fixed_tokens(app: "App") -> list[FixedToken]:
    setting, own = app.settings.api_tokens, app.settings.workspace_id
    if setting is None:
        return []
    tokens = read_fixed_tokens(
        setting.get_secret_value(), workspace_id=own, on_secret=register_secret
    )
    for _, principal in tokens:
        if app.manager is None and principal.workspace_id != own:
            raise ConfigurationError(
                f"{SETTING} gives {principal.token_name} the workspace {principal.workspace_id},"
                f" but the JSON files hold only {own}."
            )
    return tokens
