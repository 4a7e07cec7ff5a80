"""How this program was called, so that a command printed for a person works as printed."""

import os
import shlex
import shutil
import sys
from pathlib import Path

PROGRAM = "nakamura-misaki"
DATA_DIR_VARIABLE = "NAKAMURA_MISAKI_DATA_DIR"


def command_line(*arguments: str) -> str:
    """A shell command that calls this program again, from here, on the same data directory."""
    words = [*_program(), *arguments]
    setting = os.environ.get(DATA_DIR_VARIABLE)
    prefix = f"{DATA_DIR_VARIABLE}={shlex.quote(setting)} " if setting else ""
    return prefix + " ".join(map(_quoted, words))


def _program() -> list[str]:
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        called = Path(sys.executable).with_name(PROGRAM)
        if not called.exists():
            return [_shortest(Path(sys.executable)), "-m", "nakamura_misaki"]
    on_path = shutil.which(PROGRAM)
    if on_path is not None and os.path.realpath(on_path) == os.path.realpath(called):
        return [PROGRAM]
    return [_shortest(called)]


def _shortest(program: Path) -> str:
    absolute = os.path.abspath(program)  # noqa: PTH100  (a virtual environment's link must stay)
    relative = os.path.relpath(absolute)
    if relative.startswith("../../"):
        return absolute
    return relative if os.sep in relative else f"./{relative}"


def _quoted(word: str) -> str:
    """The word for a shell; in double quotes, which read more calmly, where they are enough."""
    if word and not set(word) - _PLAIN and word.isascii():
        return word
    return shlex.quote(word) if set(word) & set('"$`\\!') else f'"{word}"'


_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-")
