"""What a search found, as a person reads it and as JSON."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

from nakamura_misaki.adapters.primary.cli.output import (
    blank,
    count,
    indented,
    one_line,
    safe,
    styled,
)
from nakamura_misaki.adapters.primary.cli.render import Times, found_note_json
from nakamura_misaki.application.lookup import short_id
from nakamura_misaki.application.passage import passage
from nakamura_misaki.domain.note import FoundNote, Leg, LegSkipped, SearchAnswer

if TYPE_CHECKING:
    from rich.console import RenderableType

_RAN = {Leg.VECTOR: "vector", Leg.WORDS: "words"}
_WHY_NOT = {
    LegSkipped.EMBEDDING_FAILED: "the embedder gave no vector for the question",
    LegSkipped.MODEL_REPLACED: "the configured model is not the one in use any more",
    LegSkipped.NO_EMBEDDER: "no embedder is configured",
    LegSkipped.NOT_STORED: "this storage keeps no vectors",
}
_INDENT = 4


def answer_json(
    query: str, user_id: str | None, answer: SearchAnswer, times: Times
) -> dict[str, Any]:
    return {
        "query": query,
        "user_id": user_id,
        "notes": [
            found_note_json(rank, cast(FoundNote, note), times)
            for rank, note in enumerate(answer, start=1)
        ],
        "legs": [str(leg) for leg in answer.legs],
        "skipped": {str(leg): str(why) for leg, why in answer.skipped.items()},
    }


def answer_parts(
    query: str, user_id: str | None, answer: SearchAnswer, times: Times
) -> Iterator["RenderableType"]:
    """The notes with their passages, then one line on how they were looked for."""
    for rank, note in enumerate(answer, start=1):
        yield from found_note_parts(rank, cast(FoundNote, note), query, times)
        yield blank()
    if not answer:
        whose = "" if user_id is None else f" of {user_id}"
        yield styled(f"No note{whose} answers {query}")
        yield styled("Try a single word of it, or another word for the same thing", "dim").append(
            "." if user_id is None else ", or ask everybody's notes: leave out --user and --mine."
        )
    yield styled(f"{count(len(answer), 'note')}, {how(answer)}", "dim")


def found_note_parts(
    rank: int, note: FoundNote, query: str, times: Times
) -> Iterator["RenderableType"]:
    """A line about the note, then the lines that answer, with the matched words set off."""
    head = blank(f"{rank:>2}. ", "bold").append(times.day(note.created_at))
    if note.category:
        head.append(f"  {one_line(note.category)}", "cyan")
    found_by = " + ".join(_RAN[leg] for leg in note.legs)
    yield head.append(f"  {one_line(note.user_id)}  {short_id(note.id)}  {found_by}", "dim")
    for text, spans in passage(safe(note.content), query):
        line = blank(text)
        for start, end in spans:
            line.stylize("bold yellow underline", start, end)
        yield indented(line, _INDENT)


def how(answer: SearchAnswer) -> str:
    """Which searches ran, and why one did not: looked for by vector and by words."""
    ran = " and ".join(f"by {_RAN[leg]}" for leg in answer.legs) or "by nothing"
    missed = "".join(
        f"; not by {_RAN[leg]}: {_WHY_NOT[why]}" for leg, why in answer.skipped.items()
    )
    return f"looked for {ran}{missed}."
