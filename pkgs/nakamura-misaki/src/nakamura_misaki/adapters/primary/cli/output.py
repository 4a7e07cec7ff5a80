"""How answers are written: JSON for programs, calm lines and tables for people.

People's output has colours only on a terminal and none with NO_COLOR
(https://no-color.org); in a pipe no line is cut or wrapped. Nothing in it is of
ambiguous width (Unicode Standard Annex 11), so that columns stand straight in a
Japanese terminal, too.
"""

import json
import re
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.table import Table
    from rich.text import Text

_PIPE_WIDTH = 100_000
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_WHITESPACE = re.compile(r"\s+")


def print_json(value: Any) -> None:
    """Write one JSON value to stdout, unescaped where the encoding can hold all of Unicode."""
    is_unicode = (sys.stdout.encoding or "").lower().replace("-", "").startswith("utf")
    sys.stdout.write(json.dumps(value, ensure_ascii=not is_unicode, indent=2) + "\n")


def console(*, stderr: bool = False) -> "Console":
    """A rich console that takes text as it is: no markup, no emoji codes."""
    from rich.console import Console

    file = sys.stderr if stderr else sys.stdout
    made = Console(file=file, markup=False, emoji=False, highlight=False)
    if not made.is_terminal:
        made.width = _PIPE_WIDTH
    return made


def print_human(*parts: "RenderableType") -> None:
    """Write what rich can render to stdout, without trailing blanks."""
    out = console()
    with out.capture() as captured:
        for part in parts:
            out.print(part)
    sys.stdout.write("".join(f"{line.rstrip()}\n" for line in captured.get().splitlines()))


def print_commands(commands: Iterable[str], columns: int = 0) -> None:
    """Write shell commands to stdout, each on one line however long, so that it can be copied."""
    sys.stdout.write("".join(f"{' ' * columns}{command}\n" for command in commands))


def table(*columns: str) -> "Table":
    """A table without lines; the last column wraps, the others don't."""
    from rich.table import Table

    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for position, heading in enumerate(columns):
        is_last = position == len(columns) - 1
        made.add_column(heading, no_wrap=not is_last, overflow="fold")
    return made


def fields(rows: Iterable[tuple[str, "str | Text | None"]]) -> "Table":
    """Names and values, one pair a line; those without a value are left out."""
    from rich.table import Table
    from rich.text import Text

    made = Table.grid(padding=(0, 2, 0, 0))
    made.add_column(style="dim", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in rows:
        if value is not None and value != "":
            made.add_row(name, value if isinstance(value, Text) else Text(safe(value)))
    return made


def styled(text: str, style: str = "") -> "Text":
    """One line of text in a style, made harmless."""
    from rich.text import Text

    return Text(one_line(text), style)


def blank(spaces: str = "", style: str = "") -> "Text":
    """The beginning of a line, blanks kept."""
    from rich.text import Text

    return Text("").append(spaces, style)


def indented(part: "RenderableType", columns: int) -> "RenderableType":
    """The part so many columns to the right, its wrapped lines, too."""
    from rich.padding import Padding
    from rich.text import Text

    if isinstance(part, Text) and not part.plain:
        return part  # padded, an empty line would be none
    return Padding(part, (0, 0, 0, columns), expand=False)


def paragraph(text: str) -> "Text":
    """Text of several lines, made harmless."""
    from rich.text import Text

    return Text(safe(text))


def safe(text: str) -> str:
    """The text without what could steer a terminal: controls become U+FFFD, tabs blanks."""
    return _CONTROLS.sub("\ufffd", text.replace("\r\n", "\n").expandtabs(4))


def one_line(text: str) -> str:
    """The text on one line, made harmless."""
    return safe(_WHITESPACE.sub(" ", text)).strip()


def count(number: int, singular: str, plural: str | None = None) -> str:
    """A number and its noun: 1 task, 2 tasks, 1,200 entries."""
    return f"{number:,} {singular if number == 1 else plural or f'{singular}s'}"
