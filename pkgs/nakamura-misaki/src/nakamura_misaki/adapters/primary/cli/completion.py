"""``completion``: what a shell needs to complete this command's words."""

import sys

import click

from nakamura_misaki.adapters.primary.cli import output
from nakamura_misaki.adapters.primary.cli.context import Invocation
from nakamura_misaki.adapters.primary.cli.options import json_option


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@json_option
@click.pass_obj
def completion(call: Invocation, shell: str) -> None:
    """Print the completion script of a shell.

    \b
    Examples:
      echo 'eval "$(nakamura-misaki completion bash)"' >> ~/.bashrc
      echo 'eval "$(nakamura-misaki completion zsh)"' >> ~/.zshrc
      nakamura-misaki completion fish > ~/.config/fish/completions/nakamura-misaki.fish

    Exits with 2 for another shell.
    """
    from click.shell_completion import get_completion_class

    from nakamura_misaki.adapters.primary.cli.main import COMPLETE_VARIABLE, PROGRAM, cli

    completer = get_completion_class(shell)
    if completer is None:
        raise click.UsageError(f"click has no completion for {shell}.")
    source = completer(cli, {}, PROGRAM, COMPLETE_VARIABLE)
    # click's source() of bash runs bash to learn its version, which a script on its way to
    # a file has no need of.
    script = source.source_template % source.source_vars()
    if call.as_json:
        output.print_json({"shell": shell, "script": script})
    else:
        sys.stdout.write(script + "\n")
