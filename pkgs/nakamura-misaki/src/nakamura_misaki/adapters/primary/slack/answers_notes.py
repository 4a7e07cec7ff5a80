"""What the assistant answers about notes: kept ones, and those that a search found."""

from contextlib import suppress
from datetime import datetime
from typing import NamedTuple, cast

from nakamura_misaki.adapters.primary.slack.answers import Answers
from nakamura_misaki.adapters.primary.slack.blocks import (
    Answer,
    Block,
    Bold,
    Piece,
    answer,
    context,
    cut,
    header,
    plain,
    rich,
)
from nakamura_misaki.adapters.primary.slack.wording import Match
from nakamura_misaki.application.lookup import short_id
from nakamura_misaki.application.passage import Line, coverage, passage
from nakamura_misaki.domain.note import FoundNote, Leg, Note, SearchAnswer

_SHOWN_NOTE = 300
_MOST = 0.5


def note_saved(answers: Answers, note: Note) -> Answer:
    words = answers.words
    category = "" if note.category is None else words.category(note.category)
    return answer(
        f"{words.note_saved}: {note.content}",
        plain(f"📝 {words.note_saved}"),
        rich([cut(note.content, _SHOWN_NOTE)]),
        context(cut(category, 100), f"ID {short_id(note.id)}"),
    )


def found_notes(answers: Answers, question: str, found: SearchAnswer) -> Answer:
    """The notes with the passages that answer, and what was not tried."""
    words = answers.words
    skipped = [context(words.skipped[why]) for why in found.skipped.values()]
    if not found:
        text = words.not_found(question)
        return answer(text, plain(text), context(words.ask_otherwise), *skipped)
    shown = [_Shown.of(cast(FoundNote, note), question) for note in found]
    blocks = [block for each in shown for block in each.blocks(answers)]
    first = next((line.text for line in shown[0].lines), "")
    if all(each.match is Match.NEAR for each in shown):
        title = words.only_near
        blocks.append(context(words.ask_otherwise))
    else:
        title = words.found(len(found))
    return answer(f"{title} {first}", header(title), *blocks, *skipped)


class _Shown(NamedTuple):
    note: FoundNote
    lines: list[Line]
    match: Match

    @classmethod
    def of(cls, note: FoundNote, question: str) -> "_Shown":
        lines = passage(note.content, question)
        if coverage(lines, question) >= _MOST:
            return cls(note, lines, Match.GOOD)
        return cls(note, lines, Match.WORDS if Leg.WORDS in note.legs else Match.NEAR)

    def blocks(self, answers: Answers) -> list[Block]:
        words, category = answers.words, self.note.category
        about = context(
            _day(self.note.created_at, answers.now),
            "" if category is None else cut(words.category(category), 100),
            words.matches[self.match],
            short_id(self.note.id),
        )
        return [about, rich(*map(_pieces, self.lines))]


def _day(at: datetime, now: datetime) -> str:
    with suppress(OverflowError):  # at the very ends of the calendar
        at = at.astimezone(now.tzinfo)
    return at.date().isoformat()


def _pieces(line: Line) -> list[Piece]:
    pieces: list[Piece] = []
    at = 0
    for start, end in line.spans:
        if start < end:
            pieces += [line.text[at:start], Bold(line.text[start:end])]
            at = end
    return [*pieces, line.text[at:]]
