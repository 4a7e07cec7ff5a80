"""今日のタスクは？, タスク一覧, my handoffs, ヘルプ: messages that are one fixed phrase."""

import re

from nakamura_misaki.adapters.primary.slack.intents import Help, ListHandoffs, ListTasks, Span
from nakamura_misaki.adapters.primary.slack.reading_words import HANDOFF, Message, command

_LONGEST = 60
_END = r"[ ]?(?:please)?[?!。.\s]{0,10}\Z"
_SHOW = "(?:の?(?:一覧|リスト)(?:を?(?:お願い(?:します)?|ください|下さい|ちょうだい))?)?(?:は(?:何)?|(?:は|って)?(?:ある|あります)か?|(?:を)?(?:見せて|教えて|表示(?:して)?|出して)(?:ください|下さい)?)?"


def _of(words_ja: str, words_en: str) -> re.Pattern[str]:
    """Asking for the tasks of a span of time, which has these names."""
    return command(
        rf"""(?:
            (?:私の|自分の)?(?:{words_ja})(?:期限|締切|まで)?の?(?:私の|自分の)?(?:タスク|やること|todo){_SHOW}
            |(?:{words_ja})(?:は)?(?:やること(?:は|ある)?|何をする|何をすればいい)
            |(?:show[ ](?:me[ ])?|list[ ])?(?:my[ ])?(?:(?:{words_en})'s[ ]tasks?|tasks?[ ](?:for[ ])?(?:{words_en}))
            |what(?:'s|[ ]is|[ ]are)?[ ](?:my[ ])?(?:tasks?[ ](?:for[ ])?(?:{words_en})|(?:{words_en})'s[ ]tasks?)
            |what(?:'s|[ ]is)[ ]due[ ](?:{words_en})|what[ ]do[ ]i[ ](?:have[ ](?:to[ ]do[ ])?|do[ ])(?:{words_en})
        ){_END}"""
    )


_OF_SPAN = {
    Span.TODAY: _of("今日|本日|きょう", "today"),
    Span.TOMORROW: _of("明日|あした|あす", "tomorrow"),
    Span.WEEK: _of("今週|今週中", "this[ ]week"),
}
_TASKS = command(
    rf"""(?:
        (?:私の|自分の)?タスク{_SHOW}|やること(?:一覧|リスト){_SHOW}
        |(?:show[ ](?:me[ ])?|list[ ])?(?:all[ ])?(?:my[ ])?(?:open[ ])?tasks|(?:my[ ])?task[ ]list
        |list[ ]tasks|what(?:'s|[ ]is|[ ]are)[ ]my[ ](?:open[ ])?tasks?
    ){_END}"""
)
_HANDOFFS = command(
    rf"""(?:
        (?:私への|自分への|私の|自分の)?{HANDOFF}{_SHOW}
        |(?:show[ ](?:me[ ])?|list[ ])?(?:my[ ])?hand-?offs?|(?:my[ ])?hand-?off[ ]list
        |what(?:'s|[ ]is|[ ]are)[ ]my[ ]hand-?offs?
    ){_END}"""
)
_HELP = command(
    rf"""(?:
        ヘルプ|へるぷ|(?:使い方|つかいかた)(?:は|を?教えて(?:ください|下さい)?)?|何ができる(?:の)?
        |help(?:[ ]me)?|how[ ]do[ ]i[ ]use[ ](?:you|this)|what[ ]can[ ]you[ ]do
    ){_END}|[?!。.\s]{{0,10}}\Z"""
)


def read_phrase(message: Message) -> ListTasks | ListHandoffs | Help | None:
    """What a fixed phrase asks for, or None if the message is none of them."""
    if len(message.text) > _LONGEST:
        return None
    for span, pattern in _OF_SPAN.items():
        if _says(pattern, message):
            return ListTasks(span)
    if _says(_TASKS, message):
        return ListTasks()
    if _says(_HANDOFFS, message):
        return ListHandoffs()
    return Help() if _says(_HELP, message) else None


def _says(pattern: re.Pattern[str], message: Message) -> bool:
    return pattern.match(message.text) is not None
