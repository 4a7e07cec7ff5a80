"""タスク 7c3dace1 を進行中に, task 7c3dace1 done, ハンドオフ 51c07be2 完了."""

import re
from typing import Literal

from nakamura_misaki.adapters.primary.slack.intents import (
    ChangeTask,
    Command,
    CompleteHandoff,
    DeleteTask,
    Incomplete,
    Missing,
    TaskAction,
)
from nakamura_misaki.adapters.primary.slack.reading_words import HANDOFF, ID, Message, command

_Change = TaskAction | Literal["delete"]

_JAPANESE: dict[str, _Change] = {
    "進行中|開始|着手|スタート|始め(?:た|ました|ます|る)|やります": TaskAction.START,
    "完了|終了|終わ(?:った|りました|り)|でき(?:た|ました)|済み?|done": TaskAction.COMPLETE,
    "未着手|再開|再オープン|差し戻(?:し|す)|(?:未着手に)?戻(?:して|す)|やり直し": TaskAction.REOPEN,
    "キャンセル|中止|取り?消し?|取りやめ": TaskAction.CANCEL,
    "削除|消して|消す": "delete",
}
_STATES: dict[str, _Change] = {
    "in[ -]progress|started|start|begun": TaskAction.START,
    "done|completed?|finished|finish|closed?": TaskAction.COMPLETE,
    "reopen(?:ed)?|pending|not[ ]started": TaskAction.REOPEN,
    "cancell?ed|cancel": TaskAction.CANCEL,
    "deleted?|removed?": "delete",
}
_ORDERS: dict[str, _Change] = {
    "start|begin": TaskAction.START,
    "complete|finish|close": TaskAction.COMPLETE,
    "reopen": TaskAction.REOPEN,
    "cancel": TaskAction.CANCEL,
    "delete|remove": "delete",
}

_JAPANESE_END = r"""(?:に|へ|と)?(?:して|する|します|しました|した|しといて|しておいて|です|でした|変更(?:して)?)?
    (?:お願い(?:します)?|ください|下さい)?(?:よ|ね)?[。.!〜~ー\s]{0,10}\Z"""
_ENGLISH_END = r"[ ]?(?:please)?[.!\s]{0,10}\Z"
_LINK = "(?:を|は|が|の|、)?[ ]{0,3}"
_IS = "[ ]?(?::|->|,)?[ ]?(?:(?:is|as|to)[ ])?(?:now[ ])?"
_BAD = r"(?P<bad>[^\s?]{1,80}?)"
_BAD_ENGLISH = r"(?P<bad>(?=[^\s?]{0,79}[0-9])[^\s?]{1,80})"


def _any(table: dict[str, _Change]) -> str:
    return f"(?P<verb>{'|'.join(table)})"


def _patterns(
    japanese: str, english: str
) -> tuple[tuple[re.Pattern[str], dict[str, _Change]], ...]:
    """Every shape, most definite first; those without an id or with a bad one come last."""
    verb, state, order = _any(_JAPANESE), _any(_STATES), _any(_ORDERS)
    mark, the = "(?:(?:mark|set|move)[ ])?", "(?:the[ ])?"
    shapes = (
        (rf"{japanese}[ ]{{0,3}}:?[ ]{{0,3}}{ID}[ ]{{0,3}}{_LINK}{verb}{_JAPANESE_END}", _JAPANESE),
        (rf"{mark}{the}{english}[ ]{ID}{_IS}{state}{_ENGLISH_END}", _STATES),
        (rf"(?:please[ ])?{order}[ ]{the}{english}[ ]{ID}{_ENGLISH_END}", _ORDERS),
        (rf"{japanese}を?[ ]{{0,3}}{verb}{_JAPANESE_END}", _JAPANESE),
        (rf"{mark}{the}{english}[ ](?:is[ ]|as[ ])?{state}{_ENGLISH_END}", _STATES),
        (rf"(?:please[ ])?{order}[ ]{the}{english}{_ENGLISH_END}", _ORDERS),
        (rf"{japanese}[ ]{{1,3}}{_BAD}[ ]{{0,3}}{_LINK}{verb}{_JAPANESE_END}", _JAPANESE),
        (rf"{mark}{the}{english}[ ]{_BAD_ENGLISH}{_IS}{state}{_ENGLISH_END}", _STATES),
        (rf"(?:please[ ])?{order}[ ]{the}{english}[ ]{_BAD_ENGLISH}{_ENGLISH_END}", _ORDERS),
    )
    return tuple((command(shape), table) for shape, table in shapes)


_TASK = _patterns("タスク", "task")
_HANDOFF = _patterns(HANDOFF, "hand-?off")
# Without the word for a task: only with as many digits as a short id is shown with, or a #.
_BARE = (
    (command(rf"(?=[`(]?\#|[`(<]?[0-9a-f]{{8}}){ID}[ ]{{0,3}}{_LINK}{_any(_JAPANESE)}{_JAPANESE_END}"), _JAPANESE),
    (command(rf"(?=[`(]?\#|[`(<]?[0-9a-f]{{8}}){ID}{_IS}{_any(_STATES)}{_ENGLISH_END}"), _STATES),
)  # fmt: skip


def read_task_change(message: Message) -> ChangeTask | DeleteTask | Incomplete | None:
    """A change of a task, or None if the message is none."""
    found = _read(message, (*_TASK, *_BARE))
    if found is None:
        return None
    change, match = found
    which = Command.DELETE_TASK if change == "delete" else Command.CHANGE_TASK
    id_text = _id(match, message, which)
    if isinstance(id_text, Incomplete):
        return id_text
    return DeleteTask(id_text) if change == "delete" else ChangeTask(id_text, TaskAction(change))


def read_handoff_completion(message: Message) -> CompleteHandoff | Incomplete | None:
    """A handoff that took place, or None if the message tells of none."""
    found = _read(message, _HANDOFF)
    if found is None or found[0] is not TaskAction.COMPLETE:
        return None
    id_text = _id(found[1], message, Command.COMPLETE_HANDOFF)
    return id_text if isinstance(id_text, Incomplete) else CompleteHandoff(id_text)


def _read(
    message: Message, patterns: tuple[tuple[re.Pattern[str], dict[str, _Change]], ...]
) -> tuple[_Change, re.Match[str]] | None:
    for pattern, table in patterns:
        if match := pattern.match(message.text):
            verb = match["verb"]
            for words, change in table.items():
                if re.fullmatch(words, verb, re.VERBOSE):
                    return change, match
    return None


def _id(match: re.Match[str], message: Message, which: Command) -> str | Incomplete:
    groups = match.groupdict()
    if found := groups.get("id"):
        return found
    if groups.get("bad"):
        return Incomplete(which, Missing.BAD_ID, message.content(*match.span("bad")))
    return Incomplete(which, Missing.ID)
