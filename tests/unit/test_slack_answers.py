"""Every answer is one that Slack takes, whatever people wrote, and says what it should in both languages."""

import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, get_args
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nakamura_misaki.adapters.primary.slack import intents
from nakamura_misaki.adapters.primary.slack.answers import Answers
from nakamura_misaki.adapters.primary.slack.answers_notes import found_notes, note_saved
from nakamura_misaki.adapters.primary.slack.blocks import Answer, Bold, Person, cut, rich, sentence
from nakamura_misaki.adapters.primary.slack.buttons import Carried, read_carried
from nakamura_misaki.adapters.primary.slack.conversation import words_of
from nakamura_misaki.adapters.primary.slack.intents import (
    Command,
    Incomplete,
    Language,
    Missing,
    Span,
    TaskAction,
)
from nakamura_misaki.adapters.primary.slack.reading import read_message
from nakamura_misaki.adapters.primary.slack.wording import (
    EXAMPLES_EN,
    EXAMPLES_JA,
    Match,
    Trouble,
    Wording,
)
from nakamura_misaki.domain.handoff import Handoff
from nakamura_misaki.domain.note import FoundNote, Leg, LegSkipped, Note, SearchAnswer
from nakamura_misaki.domain.task import Task, TaskStatus
from slack_server import SATO, SUZUKI
from slack_server_blocks import problems, too_much_text
from slack_stage import NOW, transcript

LANGUAGES = get_args(Language)
ID = UUID("0192f0c1-2345-7abc-8def-0123456789ab")

_HOSTILE = st.sampled_from(
    [
        "<!channel> <@U0SATO0001> &amp; *太字* `code` :warning:",
        "\u200b\u2060\ufeff",
        "\u3000\n\n\t",
        "😀" * 3000,
        "長" * 20_000,
        "a\n" * 5_000,
        "\U0010ffff\u202e",
        "決定" * 3000,
    ]
)
_TEXT = (st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")) | _HOSTILE).filter(lambda text: text.strip())  # fmt: skip
_LINES = _TEXT.map(lambda text: text[:500]).filter(lambda text: text.strip())
_TIMES = st.datetimes(
    datetime(1900, 1, 1),  # noqa: DTZ001  (the strategy adds the zone)
    datetime(9998, 1, 1),  # noqa: DTZ001  (the strategy adds the zone)
    timezones=st.just(NOW.tzinfo),
)


def is_taken(answer: Answer, most: int = 50) -> None:
    """Raise AssertionError unless Slack takes it."""
    assert problems(answer.blocks, most=most) == []
    assert not too_much_text(answer.blocks)
    assert answer.text.strip()
    assert not set("<>") & set(answer.text)
    for text in _texts(answer.blocks):
        assert text


def _texts(part: Any) -> Iterator[str]:
    if isinstance(part, list):
        for each in part:
            yield from _texts(each)
    elif isinstance(part, Mapping):
        for key, each in part.items():
            if key == "text" and isinstance(each, str):
                yield each
            else:
                yield from _texts(each)


@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(LANGUAGES),
    st.lists(st.tuples(_TEXT, st.none() | _LINES.map(lambda t: t[:255]), _TIMES), max_size=5),
    _TEXT,
    st.sampled_from([{}, *({Leg.VECTOR: why} for why in LegSkipped)]),
)
def test_found_notes_are_taken_whatever_they_hold(
    language: Language,
    notes: list[tuple[str, str | None, datetime]],
    question: str,
    skipped: dict[Leg, LegSkipped],
) -> None:
    found = SearchAnswer(
        (
            FoundNote(
                id=ID,
                user_id=SATO,
                content=content,
                category=category,
                created_at=at,
                score=1.0,
                legs=(Leg.WORDS,) if skipped else (Leg.VECTOR, Leg.WORDS),
            )
            for content, category, at in notes
            if category is None or category.strip()
        ),
        legs=(Leg.WORDS,),
        skipped=skipped,
    )
    answers = Answers(words_of(language), NOW)

    is_taken(found_notes(answers, question, found))
    for note in found:
        is_taken(note_saved(answers, note))


@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from(LANGUAGES),
    st.lists(st.tuples(_LINES, st.none() | _TIMES, st.sampled_from(TaskStatus)), max_size=3),
    st.integers(0, 40),
    _TEXT,
    _TIMES,
)
def test_tasks_and_handoffs_are_taken_whatever_they_hold(
    language: Language,
    given_tasks: list[tuple[str, datetime | None, TaskStatus]],
    repeated: int,
    text: str,
    at: datetime,
) -> None:
    answers = Answers(words_of(language), NOW)
    tasks = [
        Task(
            id=ID,
            title=title,
            assignee_user_id=SUZUKI,
            creator_user_id=SATO,
            due_at=due_at,
            status=status,
            completed_at=NOW if status is TaskStatus.COMPLETED else None,
        )
        for title, due_at, status in given_tasks
    ]
    handoff = Handoff(
        id=ID,
        from_user_id=SATO,
        to_user_id=SUZUKI,
        progress_note=text,
        next_steps=text,
        handoff_at=at,
    )

    for span in Span:
        is_taken(answers.tasks(tasks * repeated, SATO, span))
    is_taken(answers.handoffs([handoff] * repeated, SATO))
    is_taken(answers.handoff_completed(handoff))
    for task in tasks:
        is_taken(answers.task_added(task, SATO))
        is_taken(answers.task_changed(task, TaskAction.CANCEL))
        is_taken(answers.confirm_deletion(task, SATO))
        is_taken(answers.task_deleted(task.title))
        is_taken(answers.task_kept(task.title))
        is_taken(answers.handoff_added(handoff, task, timedelta(minutes=10)))


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_longest_lists_and_the_help_are_taken(language: Language) -> None:
    answers = Answers(words_of(language), NOW)
    task = Task(id=ID, title="😀" * 500, assignee_user_id=SATO, creator_user_id=SATO, due_at=NOW)
    handoff = Handoff(
        id=ID, from_user_id=SATO, to_user_id=SUZUKI, progress_note="長" * 9000, next_steps="長" * 9000, handoff_at=NOW
    )  # fmt: skip

    listed = answers.tasks([task] * 1000, SATO, Span.TODAY)
    is_taken(listed)
    is_taken(answers.handoffs([handoff] * 1000, SATO))
    is_taken(answers.help())
    # In the Home tab both stand together.
    home = Answer(listed.text, [*listed.blocks, *answers.help().blocks])
    is_taken(home, most=100)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_word_of_every_vocabulary_is_there(language: Language) -> None:
    words = words_of(language)
    vocabularies: list[tuple[type[StrEnum], Mapping[Any, str]]] = [
        (TaskStatus, words.statuses),
        (Match, words.matches),
        (LegSkipped, words.skipped),
        (TaskAction, words.labels),
    ]
    for vocabulary, spoken in vocabularies:
        assert set(vocabulary) == spoken.keys()
        assert len(set(spoken.values())) == len(spoken)
    for trouble in Trouble:
        told = words.trouble(trouble, "7c3dace1")
        assert "{" not in told
        is_taken(sentence(told))
    for action in TaskAction:
        assert words.changed(action)
        for status in TaskStatus:
            assert words.statuses[status] in words.cant_become(status, action)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("command", Command)
@pytest.mark.parametrize("what", Missing)
def test_what_is_missing_is_said_with_an_example_that_is_understood(
    language: Language, command: Command, what: Missing
) -> None:
    words = words_of(language)
    told = words.incomplete(Incomplete(command, what, "あした<ごろ>"))
    example = (EXAMPLES_JA if language == "ja" else EXAMPLES_EN)[command]

    assert told.endswith(example)
    is_taken(sentence(told))
    assert isinstance(read(example), _INTENT_OF[command])


def read(example: str) -> object:
    """What an example means when the name in it is completed, as Slack does."""
    for name in ("@佐藤", "@sato"):
        example = example.replace(name, f"<@{SUZUKI}>")
    return read_message(example, NOW).intent


_INTENT_OF = {
    Command.ADD_NOTE: intents.AddNote,
    Command.ADD_TASK: intents.AddTask,
    Command.CHANGE_TASK: intents.ChangeTask,
    Command.DELETE_TASK: intents.DeleteTask,
    Command.ADD_HANDOFF: intents.AddHandoff,
    Command.COMPLETE_HANDOFF: intents.CompleteHandoff,
}


@pytest.mark.parametrize("words", [words_of(language) for language in LANGUAGES])
def test_what_the_help_shows_is_understood(words: Wording) -> None:
    examples = [example for _, entries in words.help for _, example in entries]
    meant = [{type(read(part)) for part in example.split(" / ")[:1]} for example in examples]
    assert meant == [
        {intents.Ask},
        {intents.AddNote},
        {intents.AddNote},
        {intents.AddTask},
        {intents.AddTask},
        {intents.ListTasks},
        {intents.ChangeTask},
        {intents.AddHandoff},
        {intents.ListHandoffs},
        {intents.CompleteHandoff},
    ]


def test_matched_words_are_set_off_and_the_rest_is_shown_letter_by_letter() -> None:
    note = FoundNote(
        id=ID,
        user_id=SATO,
        content="*DB移行*の<決定>は & PostgreSQL 16",
        category="decisions",
        created_at=NOW,
        score=1.0,
        legs=(Leg.VECTOR,),
    )
    answer = found_notes(
        Answers(words_of("en"), NOW), "DB", SearchAnswer([note], legs=(Leg.VECTOR, Leg.WORDS))
    )

    _, about, passage = answer.blocks
    assert transcript([about]) == "(2024-10-16 ・ decision ・ good match ・ 456789ab)"
    assert passage["elements"][0]["elements"] == [
        {"type": "text", "text": "*"},
        {"type": "text", "text": "DB", "style": {"bold": True}},
        {"type": "text", "text": "移行*の<決定>は & PostgreSQL 16"},
    ]
    assert answer.text == "I found 1 note *DB移行*の&lt;決定&gt;は &amp; PostgreSQL 16"


@pytest.mark.parametrize(
    ("content", "legs", "title", "match"),
    [
        ("DB移行の決定事項: 金曜", (Leg.WORDS, Leg.VECTOR), "メモが1件見つかりました", "よく合う"),
        ("移行リハーサルの結果", (Leg.WORDS, Leg.VECTOR), "メモが1件見つかりました", "一部の言葉が一致"),
        ("昼はカレー", (Leg.VECTOR,), "同じ言葉を含むメモはありません。近いかもしれないもの:", "関連があるかも"),
    ],
)  # fmt: skip
def test_an_answer_claims_no_more_than_is_known_of_it(
    content: str, legs: tuple[Leg, ...], title: str, match: str
) -> None:
    note = FoundNote(id=ID, user_id=SATO, content=content, created_at=NOW, score=1.0, legs=legs)
    found = SearchAnswer([note], legs=(Leg.VECTOR, Leg.WORDS))
    answer = found_notes(Answers(words_of("ja"), NOW), "DB移行の決定事項は？", found)

    shown = transcript(answer.blocks)
    assert shown.startswith(f"# {title}\n(2024-10-16 ・ {match} ・ ")
    assert ("別の言い方で聞いて" in shown) == (legs == (Leg.VECTOR,))


def test_a_saved_note_names_its_category_in_the_language() -> None:
    note = Note(id=ID, user_id=SATO, content="金曜", category="decisions")
    ours = note_saved(Answers(words_of("ja"), NOW), note)
    assert transcript(ours.blocks) == "📝 メモしました\n金曜\n(決定 ・ ID 456789ab)"


@pytest.mark.parametrize(
    ("text", "most", "expected"),
    [
        ("abc", 3, "abc"),
        ("abcd", 3, "ab…"),
        ("😀😀", 4, "😀😀"),
        ("😀😀😀", 4, "😀…"),
        ("a😀😀", 4, "a😀…"),
        ("長" * 10, 5, "長長長長…"),
    ],
)
def test_text_is_cut_as_slack_counts(text: str, most: int, expected: str) -> None:
    assert cut(text, most) == expected


def test_nothing_is_shown_as_something() -> None:
    is_taken(Answer("-", [rich(), rich([]), rich(["", Bold("")])]))
    is_taken(sentence(" "))


@pytest.mark.parametrize(
    "value", ["", "{}", "[]", "null", "5", '{"id":1}', '{"id":"x"}', "\ud800", "[" * 2000]
)
def test_a_button_of_another_release_is_none_of_ours(value: str) -> None:
    assert read_carried(value) is None


def test_a_button_brings_back_what_it_carried() -> None:
    carried = Carried(ID, SATO, "en", Span.WEEK, asked_at=5)
    assert read_carried(json.dumps(carried.to_json())) == carried


def test_somebody_who_is_none_of_slacks_users_is_named_by_the_id() -> None:
    (section,) = rich(["a: ", Person(SATO), Person("tanaka <@U1>"), Person("x" * 200)])["elements"]
    assert [element["type"] for element in section["elements"]] == ["text", "user", "text", "text"]
    assert section["elements"][2]["text"] == "tanaka <@U1>"
    assert len(section["elements"][3]["text"]) < 100
