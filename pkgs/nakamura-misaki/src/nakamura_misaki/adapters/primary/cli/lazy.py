"""A click group that imports a command's module only when the command is asked for."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import click


class LazyGroup(click.Group):
    """A group whose commands are named in ``sections`` and loaded on demand.

    ``sections`` maps a heading of the help page to its commands, each as
    ``name: "module:attribute"``.
    """

    def __init__(
        self, *args: Any, sections: Mapping[str, Mapping[str, str]] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._sections = dict(sections or {})
        self._places = {
            name: place for section in self._sections.values() for name, place in section.items()
        }

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self._places)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        place = self._places.get(cmd_name)
        if place is None:
            return None
        module, _, attribute = place.partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        width = max(map(len, self._places))
        for heading, names in self._sections.items():
            rows = [
                (f"{name:<{width}}", command.get_short_help_str(limit=formatter.width - width - 6))
                for name in names
                if (command := self.get_command(ctx, name)) is not None
            ]
            with formatter.section(heading):
                formatter.write_dl(rows)
