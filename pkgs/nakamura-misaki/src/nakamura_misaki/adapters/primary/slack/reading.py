"""Reading what people write to the assistant: from the text of a Slack message to an intent.

Commands have a colon or one exact shape; everything else is a question. So
「タスクの期限はどう決めた？」 is searched for, and 「タスク登録: 期限を決める」 is a task.
"""

import re
from datetime import datetime

from nakamura_misaki.adapters.primary.slack.intents import Ask, Intent, Language, Reading
from nakamura_misaki.adapters.primary.slack.reading_changes import (
    read_handoff_completion,
    read_task_change,
)
from nakamura_misaki.adapters.primary.slack.reading_handoffs import read_new_handoff
from nakamura_misaki.adapters.primary.slack.reading_lists import read_phrase
from nakamura_misaki.adapters.primary.slack.reading_markup import PERSON, plain_text, to_content
from nakamura_misaki.adapters.primary.slack.reading_notes import read_note
from nakamura_misaki.adapters.primary.slack.reading_tasks import read_new_task
from nakamura_misaki.adapters.primary.slack.reading_words import Message
from nakamura_misaki.application.time_expressions.folding import fold

# The first that knows what to make of the message counts.
_READERS = (
    read_phrase,
    read_note,
    read_task_change,
    read_new_task,
    read_handoff_completion,
    read_new_handoff,
)
_JAPANESE = re.compile("[ぁ-ゖァ-ヺー々〆〇ｦ-ﾟ㐀-鿿豈-﫿𠀀-𯿿]")
_PERSON = re.compile(PERSON)


def read_message(text: str, now: datetime, *, self_id: str | None = None) -> Reading:
    """What a message asks for. Never raises, whatever the text.

    ``text`` is the message as Slack sends it, with its markup; ``now`` is aware, in
    the team's time zone; ``self_id`` is the assistant's own user id, whose mention at
    the beginning or the end is left out. What is to be stored is kept as written, people as
    ``<@U1>`` and the markup of links and channels resolved.
    """
    plain = plain_text(text, self_id)
    return Reading(_intent(plain, now), language_of(plain))


def _intent(plain: str, now: datetime) -> Intent:
    message = Message(fold(plain), now)
    for read in _READERS:
        intent = read(message)
        if intent is not None:
            return intent
    return Ask(to_content(plain))


def language_of(plain: str) -> Language:
    """Japanese if there is any kana or kanji."""
    return "ja" if _JAPANESE.search(_PERSON.sub("", plain)) else "en"
