"""「…」を @user に明日9時から引き継ぎ, hand off "…" to @user tomorrow at 9am."""

import re
from dataclasses import dataclass

from nakamura_misaki.adapters.primary.slack.intents import (
    AddHandoff,
    Command,
    Incomplete,
    Missing,
)
from nakamura_misaki.adapters.primary.slack.reading_markup import PERSON
from nakamura_misaki.adapters.primary.slack.reading_words import (
    HANDOFF,
    ID,
    Message,
    command,
    trimmed,
)
from nakamura_misaki.application.time_expressions import FoundTime, find_time_at_end, read_time
from nakamura_misaki.domain.errors import InvalidInput

_BEGIN_WITH_COLON = command(
    rf"""(?:{HANDOFF}(?:の?(?:登録|追加|作成))?(?:して)?|(?:please[ ])?hand[ -]?(?:off|over))[ ]{{0,5}}:[ ]{{0,5}}"""
)
_BEGIN = command(r"(?:please[ ])?hand[ -]?(?:off|over)[ ]{1,5}(?!:)")
_VERB = command(
    r"""(?:引き?継ぎ(?:ます|たい(?:です)?|を?お願い(?:します)?|を?登録|して|する|します)?|引き?継ぐ|引き?継いで
        |ハンドオフ(?:お願い(?:します)?|して|する|します)?)(?:ほしい|ください|下さい)?[ 。.!\n]{0,10}\Z"""
)
_VERB_CHARACTERS = 40
_FIELD = command(
    r"""(?<![^\s、。,」』")])(?:(?P<next>次の?(?:手順|ステップ|作業)?|next(?:[ ]steps?)?)|(?P<task>タスク|task))
    [ ]{0,5}:[ ]{0,5}"""
)
_ID = command(rf"{ID}[\s、。,.]*\Z")
_TASK = command(rf"(?:タスク|task)[ ]{{0,3}}{ID}\Z")
_PERSON = re.compile(PERSON)
_QUOTES = {"「": "」", "『": "』", '"': '"'}
_OPENING = re.compile('[「『"]')
# What may follow the quoted progress note; other words mean that the quotes are part of it.
_AFTER_QUOTE = re.compile(r"\Z|[\s、,をはと\ufdd0]|に(?!つ)|の?件")

_PARTICLES_BEFORE = re.compile(r"(?:[\s、。,:]|さん|様|くん|君|ちゃん|の件|[をにへはとが]|to\b)*")
_PARTICLES_AFTER = (*"をにへではと、。,. \n", "から", "まで", " to", "さん")
_NOTE_BEFORE = re.compile(r"[\s、,:]*")
_NOTE_AFTER = (*"を、, \n", " to")


@dataclass(frozen=True, slots=True)
class _Fields:
    """The labelled parts after the sentence, and where the sentence ends."""

    end: int
    next_steps: str = ""
    task_id: str | None = None
    bad_id: str | None = None


def read_new_handoff(message: Message) -> AddHandoff | Incomplete | None:
    """Work to hand over, or None if the message speaks of none.

    A sentence without a colon must name a person or quote the progress note, and is
    no question.
    """
    text = message.text
    begin = _BEGIN_WITH_COLON.match(text)
    has_colon = begin is not None
    begin = begin or _BEGIN.match(text)
    start = begin.end() if begin else 0
    quote = _quote(text, start)
    fields = _fields(message, quote[1] if quote else start)
    end = fields.end
    offset = max(end - _VERB_CHARACTERS, start)
    if verb := _VERB.search(text[offset:end].rstrip()):
        end = offset + verb.start()
    if not (begin or verb):
        return None
    people = [match for match in _PERSON.finditer(text, start, end) if not _within(match, quote)]
    if not has_colon and (not (people or quote) or text[:end].rstrip().endswith("?")):
        return None
    if not people:
        return _without(Missing.PERSON)
    if fields.bad_id is not None:
        return _without(Missing.BAD_ID if fields.bad_id else Missing.ID, fields.bad_id)
    return _put_together(message, (start, end), people[-1], quote, fields)


def _without(what: Missing, detail: str = "") -> Incomplete:
    return Incomplete(Command.ADD_HANDOFF, what, detail)


def _within(match: re.Match[str], quote: tuple[int, int] | None) -> bool:
    return quote is not None and quote[0] <= match.start() < quote[1]


def _quote(text: str, start: int) -> tuple[int, int] | None:
    """From the first opening quote to behind the one that closes it, or None."""
    opening = _OPENING.search(text, start)
    if opening is None:
        return None
    opens, closes = opening[0], _QUOTES[opening[0]]
    depth, at = 1, opening.end()
    for mark in re.compile(f"[{opens}{closes}]").finditer(text, at):
        depth += 1 if mark[0] == opens != closes else -1
        if depth == 0:
            found = (opening.start(), mark.end())
            return found if _AFTER_QUOTE.match(text, mark.end()) else None
    return None


def _fields(message: Message, start: int) -> _Fields:
    labels = list(_FIELD.finditer(message.text, start))
    if not labels:
        return _Fields(len(message.text))
    next_steps, task_id, bad_id = "", None, None
    for label, end in zip(labels, [*(each.start() for each in labels[1:]), None], strict=True):
        value = message.content(label.end(), end)
        if label["next"]:
            next_steps = value
        elif match := _ID.match(message.text, label.end(), end or len(message.text)):
            task_id = match["id"]
        else:
            bad_id = value
    return _Fields(labels[0].start(), next_steps, task_id, bad_id)


def _put_together(
    message: Message,
    body: tuple[int, int],
    person: re.Match[str],
    quote: tuple[int, int] | None,
    fields: _Fields,
) -> AddHandoff | Incomplete:
    if quote:
        note = message.content(quote[0] + 1, quote[1] - 1)
        at = _time_around(message, body, person, quote)
        task_id = fields.task_id
    else:
        note_start, note_end = body[0], person.start()
        at = _time_in(message, [(person.end(), body[1])])
        if at is None:
            at, note_end = _time_before(message, note_start, note_end)
        span = trimmed(message.text, note_start, note_end, _NOTE_BEFORE, _NOTE_AFTER)
        note = message.content(*span)
        named = _TASK.match(message.text, *span)
        task_id = fields.task_id or (named["id"] if named else None)
    if not note:
        return _without(Missing.CONTENT)
    if isinstance(at, Incomplete):
        return at
    if at is None:
        return _without(Missing.TIME)
    user_id = message.folded.cut(*person.span(1))
    return AddHandoff(note, user_id, at, task_id, fields.next_steps)


def _time_around(
    message: Message, body: tuple[int, int], person: re.Match[str], quote: tuple[int, int]
) -> FoundTime | Incomplete | None:
    """The time in what is neither the quote nor the person."""
    first, second = sorted([quote, person.span()])
    return _time_in(message, [(body[0], first[0]), (first[1], second[0]), (second[1], body[1])])


def _time_in(message: Message, spans: list[tuple[int, int]]) -> FoundTime | Incomplete | None:
    """The time that these parts are, particles aside; None if there is nothing else."""
    cut = [trimmed(message.text, *span, _PARTICLES_BEFORE, _PARTICLES_AFTER) for span in spans]
    words = " ".join(message.text[start:end] for start, end in cut if start < end)
    if not words:
        return None
    try:
        return read_time(words, message.now)
    except InvalidInput:
        written = " ".join(message.content(start, end) for start, end in cut if start < end)
        return _without(Missing.UNREADABLE_TIME, written)


def _time_before(message: Message, start: int, end: int) -> tuple[FoundTime | None, int]:
    """The time that the words before the person end with, and where the note ends."""
    nothing = re.compile("")
    _, stripped = trimmed(message.text, start, end, nothing, _PARTICLES_AFTER)
    found = find_time_at_end(message.text[start:stripped], message.now)
    return (found, start + found.start) if found else (None, end)
