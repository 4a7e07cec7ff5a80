"""タスク登録: API統合テスト 期限: 明日15時 担当: @user, task: write report due: tomorrow 3pm."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from nakamura_misaki.adapters.primary.slack.intents import AddTask, Command, Incomplete, Missing
from nakamura_misaki.adapters.primary.slack.reading_markup import PERSON, to_content
from nakamura_misaki.adapters.primary.slack.reading_words import Message, command
from nakamura_misaki.application.time_expressions import FoundTime, find_time_at_end, read_time
from nakamura_misaki.application.time_expressions.folding import fold
from nakamura_misaki.domain.errors import InvalidInput

_COLON = r"[ ]{0,5}:"
_PLEASE = "(?:して(?:おいて)?(?:ください|下さい)?|しといて|お願い(?:します)?)?"
_ADD_WITH_COLON = command(
    rf"""(?:新しい|新規)?タスク(?:[のをに]?(?:登録|追加|作成){_PLEASE})?{_COLON}
    |(?:(?:add|create|new)[ ](?:a[ ])?(?:new[ ])?)?task(?:[ ](?:add|create))?{_COLON}"""
)
_ADD = command(
    rf"""(?:新しい|新規)?タスク[のをに]?(?:登録|追加|作成){_PLEASE}(?:\s|\Z)
    |(?:add|create|new)[ ](?:a[ ](?:new[ ])?task[ ]to|(?:a[ ])?(?:new[ ])?task)(?:\s|\Z)"""
)
# 明日までにレポートを出すのをタスクに入れといて: an order, to be told from 「タスクに入れた？」.
_ADD_AT_END = command(
    r"""(?:の|って)?(?:を|も)?[、, ]{0,3}タスクに(?:入れ|(?:追加|登録)?し|加え)
    (?:ておいて|といて|て)(?:ほしい(?:です)?|ください|下さい)?(?:ね|よ)?[。.!\s]{0,10}\Z"""
)
_ADD_AT_END_CHARACTERS = 60
_LABEL = command(
    rf"""(?<![^\s、。,()])(?:
        (?P<due>期限|締切り?|締め切り?|締切日|〆切り?|期日|納期|due(?:[ ](?:date|by))?|deadline|by)
        |(?P<person>担当者?|assignee|assigned[ ]to|assign(?:[ ]to)?|for)
    ){_COLON}[ ]{{0,5}}"""
)
_PERSON = re.compile(PERSON)
_SELF = ("自分", "私", "me", "myself")
_NO_TIME = ("なし", "未定", "none")

# What ends a title without a colon; matched against its last characters only.
_TAIL_CHARACTERS = 160
_PERSON_AT_END = command(
    rf"""(?<![^\s、。,(])(?:担当者?は?|assignee|assigned[ ]to|assign[ ]to|for)[ ]{{0,3}}
    {PERSON}(?:さん|様)?[ 。.]{{0,5}}\Z"""
)
_DUE_BEFORE = command(
    r"(?:期限|締切り?|締め切り?|〆切り?|期日|納期)[はを]?[ ]{0,3}\Z|(?<![^\s,(])(?:due[ ](?:by|on|at)|due|by)[ ]{1,3}\Z"
)
_UNTIL = ("までに", "まで", "迄に", "迄")
_BY_THEN = re.compile(r"([^\n]{1,60}?)(?:までに|迄に)[\s、,]{0,5}(?=\S)")
_RANGE = ("から", "より", "~", "〜", "-", "–")
_LEFT_OVER = " 　、,・をは(（"
_SEPARATORS = " 　、,"
_CLOSING = {")": "(", "）": "（"}


@dataclass(slots=True)
class _Draft:
    title: str
    due: FoundTime | None = None
    assignee: str | None = None


def read_new_task(message: Message) -> AddTask | Incomplete | None:
    """A task to add, or None if the message is none.

    Without a label such as 期限: a time is taken for the due time only at the very
    end and with まで, までに, by or due, or at the very beginning and with までに;
    otherwise it belongs to the title.
    """
    match = _ADD_WITH_COLON.match(message.text)
    if match is None and not message.is_question():
        match = _ADD.match(message.text)
    if match is None:
        start, message = 0, _ordered_at_end(message)
        if not message.text:
            return None
    else:
        start = match.end()
    draft = _labelled(message, start)
    if isinstance(draft, Incomplete):
        return draft
    _read_end(draft, message)
    if draft.due is None:
        _read_beginning(draft, message)
    if not draft.title:
        return _without(Missing.TITLE)
    return AddTask(to_content(draft.title), draft.due, draft.assignee)


def _ordered_at_end(message: Message) -> Message:
    """What is to be a task, without the words that say so at its end; empty if there are none."""
    text = message.text.rstrip()
    offset = max(len(text) - _ADD_AT_END_CHARACTERS, 0)
    match = _ADD_AT_END.search(text, offset)
    title = message.folded.cut(0, match.start()) if match and match.start() else ""
    return Message(fold(title), message.now)


def _without(what: Missing, detail: str = "") -> Incomplete:
    return Incomplete(Command.ADD_TASK, what, to_content(detail))


def _labelled(message: Message, start: int) -> _Draft | Incomplete:
    """The title and what stands after labels, each to the next label or the line's end."""
    labels = list(_LABEL.finditer(message.text, start))
    draft = _Draft("")
    parts = [_line(message, start, labels[0].start() if labels else len(message.text))]
    due = ""
    for label, (value, rest) in zip(labels, _values(message, labels), strict=True):
        parts.append(rest)
        if label["due"]:
            due = value
            if not value:
                return _without(Missing.TIME)
        elif person := _PERSON.search(value):
            draft.assignee = person[1]
        elif not value or value.lower() not in _SELF:
            return _without(Missing.PERSON, value)
    titles = [part.rstrip(_SEPARATORS + ("(（" if labels else "")) for part in parts]
    draft.title = " ".join(title for title in titles if title)
    if not due or due.lower() in _NO_TIME:
        return draft
    return _with_due(draft, due, message)


def _line(message: Message, start: int, end: int) -> str:
    return " ".join(message.folded.cut(start, end).split())


def _values(message: Message, labels: list[re.Match[str]]) -> Iterator[tuple[str, str]]:
    ends = [*(label.start() for label in labels), len(message.text)]
    for label, end in zip(labels, ends[1:], strict=True):
        line_end = message.text.find("\n", label.end(), end)
        line_end = end if line_end < 0 else line_end
        value = _line(message, label.end(), line_end).strip(_SEPARATORS + "。")
        value = value[:-1] if _closes_earlier(value) else value
        yield value, _line(message, line_end, end)


def _closes_earlier(value: str) -> bool:
    """Whether a parenthesis closes at the end that was opened before: the 15時) of (期限: 15時)."""
    opening = _CLOSING.get(value[-1:], "")
    return bool(opening) and opening not in value


def _with_due(draft: _Draft, words: str, message: Message) -> _Draft | Incomplete:
    try:
        draft.due = read_time(words, message.now)
    except InvalidInput:
        # 期限: 明日15時 API統合テスト: the title may come after it.
        first, _, title = words.partition(" ")
        if draft.title or not title:
            return _without(Missing.UNREADABLE_TIME, words)
        try:
            draft.due = read_time(first, message.now)
        except InvalidInput:
            return _without(Missing.UNREADABLE_TIME, words)
        draft.title = title
    return draft


def _read_end(draft: _Draft, message: Message) -> None:
    """Take a person and a time from the end of the title, in whichever order they stand."""
    for _ in range(2):
        if draft.assignee is None:
            _read_person(draft)
        if draft.due is None:
            _read_due(draft, message)


def _read_person(draft: _Draft) -> None:
    offset = max(len(draft.title) - _TAIL_CHARACTERS, 0)
    folded = fold(draft.title[offset:])
    if match := _PERSON_AT_END.search(folded.text):
        draft.assignee = folded.cut(*match.span(1))
        draft.title = draft.title[: offset + folded.span(*match.span())[0]].rstrip(_LEFT_OVER)


def _read_due(draft: _Draft, message: Message) -> None:
    text = draft.title.rstrip(" 　。.!！")
    is_in_parentheses = text.endswith(tuple(_CLOSING))
    text = text.rstrip("".join(_CLOSING)).rstrip() if is_in_parentheses else text
    until = next((word for word in _UNTIL if text.endswith(word)), "")
    text = text.removesuffix(until).rstrip()
    found = find_time_at_end(text, message.now)
    if found is None:
        return
    before = text[: found.start]
    label = _DUE_BEFORE.search(fold(before[-_TAIL_CHARACTERS:]).text)
    if label:
        before = before[: len(before) - len(label[0])]
    elif not until or before.rstrip().endswith(_RANGE):
        return
    if is_in_parentheses and not before.endswith(("(", "（")):
        return
    draft.due, draft.title = found, before.rstrip(_LEFT_OVER)


def _read_beginning(draft: _Draft, message: Message) -> None:
    """明日までに資料を送る: not with まで alone, which as often belongs to what it says."""
    if match := _BY_THEN.match(draft.title):
        try:
            draft.due = read_time(match[1], message.now)
        except InvalidInput:
            return
        draft.title = draft.title[match.end() :]
