"""What the assistant does when something breaks: no event is lost, and none is answered twice."""

import asyncio
import os
import sys
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import asyncpg
import pytest

import slack_stage
from nakamura_misaki.adapters.primary.slack.incoming import Identity, read_incoming, to_body
from nakamura_misaki.application.inbox import MAX_ATTEMPTS, Event
from nakamura_misaki.application.lookup import short_id
from nakamura_misaki.domain.task import TaskStatus
from slack_server import (
    APP_TOKEN,
    BOT_ID,
    BOT_TOKEN,
    BOT_USER_ID,
    GENERAL,
    RESPONSE,
    SATO,
    SUZUKI,
    TEAM_ID,
    Fault,
    SlackServer,
    app_mention,
    button_click,
    direct_message,
    dm,
)
from slack_stage import NOW, Stage, on_stage, slack_settings, transcript

ME = Identity(TEAM_ID, BOT_USER_ID, BOT_ID)


def left_behind(slack: SlackServer, body: dict[str, object]) -> Event:
    """An event as the inbox keeps it."""
    incoming = read_incoming(body, ME)
    return Event(incoming.key, to_body(incoming), uuid4(), NOW)


async def test_what_a_dead_process_left_is_answered_at_the_next_start(
    slack: SlackServer, database_url: str, tmp_path: Path
) -> None:
    settings = slack_settings(slack, database_url, tmp_path)
    async with on_stage(slack, settings) as first:
        event = left_behind(slack, slack.callback(direct_message(SATO, "タスク登録: 議事録")))
        await first.app.own.inbox.receive(event, timedelta())

    async with on_stage(slack, settings) as second:
        await second.wait_for_outcome("message", "answered")
        (task,) = await second.app.tasks.list_for(SATO)
        assert (task.id, task.created_at) == (event.entity_id, NOW)
        assert await second.app.own.inbox.take_up(10) == []
    (answer,) = slack.messages
    assert transcript(answer.blocks).startswith("✅ タスクを登録しました")


async def test_a_process_that_died_after_it_answered_is_not_repeated(stage: Stage) -> None:
    message = stage.slack.callback(direct_message(SATO, "タスク登録: 議事録"))
    stage.slack.sockets.send("events_api", message, None)
    await stage.wait_for_outcome("message", "answered")
    # As if the process had died just before it marked the event.
    await unfinish(stage, left_behind(stage.slack, message))

    assert await stage.assistant._worker.take_up() == 1
    await stage.wait_for_outcome("message", "answered", 2)

    assert len(stage.slack.messages) == 1


async def test_in_a_thread_too_it_looks_for_its_answer(stage: Stage) -> None:
    message = stage.slack.callback(app_mention(SATO, "ヘルプ"))
    stage.slack.sockets.send("events_api", message, None)
    await stage.wait_for_outcome("message", "answered")
    await unfinish(stage, left_behind(stage.slack, message))

    await stage.assistant._worker.take_up()
    await stage.wait_for_outcome("message", "answered", 2)

    assert len(stage.slack.messages_in(GENERAL)) == 1


async def test_where_it_may_not_look_it_answers_again_and_creates_nothing_again(
    stage: Stage,
) -> None:
    message = stage.slack.callback(direct_message(SATO, "タスク登録: 議事録"))
    stage.slack.sockets.send("events_api", message, None)
    await stage.wait_for_outcome("message", "answered")
    (task,) = await stage.app.tasks.list_for(SATO)
    stage.slack.always("conversations.history", Fault.refused("missing_scope"))
    event = left_behind(stage.slack, message)
    await unfinish(stage, Event(event.id, event.body, task.id, NOW))

    await stage.assistant._worker.take_up()
    await stage.wait_for_outcome("message", "answered", 2)

    first, second = stage.slack.messages
    assert transcript(first.blocks) == transcript(second.blocks)
    assert await stage.app.tasks.list_for(SATO) == [task]


async def unfinish(stage: Stage, event: Event) -> None:
    """Put the event back into the inbox as one that nobody holds."""
    await stage.app.own.inbox.forget(NOW + timedelta(seconds=1))
    assert await stage.app.own.inbox.receive(event, timedelta())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("タスク {task} を完了", "✅ タスクを完了にしました"),
        ("ハンドオフ {handoff} 完了", "✅ 引き継ぎを完了にしました"),
    ],
)
async def test_what_was_done_before_the_answer_was_lost_is_told_as_done(
    stage: Stage, text: str, told: str
) -> None:
    task = await stage.app.tasks.add(title="議事録", assignee_user_id=SATO, creator_user_id=SATO)
    handoff = await stage.app.handoffs.add(
        from_user_id=SUZUKI, to_user_id=SATO, progress_note="8割", handoff_at=NOW
    )
    await stage.app.tasks.complete(task.id)
    await stage.app.handoffs.complete(handoff.id)
    said = text.format(task=short_id(task.id), handoff=short_id(handoff.id))
    await stage.app.own.inbox.receive(
        left_behind(stage.slack, stage.slack.callback(direct_message(SATO, said))), timedelta()
    )

    await stage.assistant._worker.take_up()
    (answer,) = await stage.slack.wait_for_messages()

    assert transcript(answer.blocks).startswith(told)


async def test_a_deletion_that_was_done_is_told_as_done(stage: Stage) -> None:
    task = await stage.app.tasks.add(title="議事録", assignee_user_id=SATO, creator_user_id=SATO)
    asked = await stage.ask(SATO, f"タスク {short_id(task.id)} を削除")
    await stage.app.tasks.delete(task.id)
    click = stage.slack.prepared(button_click(SATO, "task_delete", message=asked))
    await stage.app.own.inbox.receive(left_behind(stage.slack, click), timedelta())

    await stage.assistant._worker.take_up()
    await stage.slack.wait_for(RESPONSE)

    assert transcript(asked.blocks) == f"タスクを削除しました: {short_id(task.id)}"


async def test_two_assistants_and_two_connections_answer_one_event_once(
    slack: SlackServer, database_url: str, tmp_path: Path
) -> None:
    settings = slack_settings(slack, database_url, tmp_path)
    async with AsyncExitStack() as stack:
        stages = [await stack.enter_async_context(on_stage(slack, settings)) for _ in range(2)]
        for number in range(5):
            envelopes = slack.send_event_to_all(direct_message(SATO, f"タスク登録: 仕事{number}"))
            assert len(envelopes) == 2
            for envelope in envelopes:
                await slack.wait_for_ack(envelope)
        await slack.wait_for_messages(5)
        outcomes = [each for stage in stages for each in stage.outcomes]
        assert outcomes.count(("message", "duplicate")) == 5
        assert len(await stages[0].app.tasks.list_for(SATO)) == 5
    assert len(slack.messages) == 5


async def test_when_slack_stays_away_the_event_is_kept_for_later(stage: Stage) -> None:
    stage.slack.always("chat.postMessage", Fault.refused("service_unavailable"))
    stage.slack.send_event(direct_message(SATO, "タスク登録: 議事録"))
    await stage.wait_for_outcome("message", "postponed")
    stage.slack.always("chat.postMessage", None)
    assert stage.slack.messages == []
    assert await stage.assistant._worker.take_up() == 0  # its time has not come

    tried = await stage.slack.wait_for("chat.postMessage")
    event_id = tried[0].arguments["metadata"]["event_payload"]["event"]
    await stage.app.own.inbox.release(event_id, NOW)
    assert await stage.assistant._worker.take_up() == 1
    await stage.slack.wait_for_messages()
    await stage.wait_for_outcome("message", "answered")

    assert len(await stage.app.tasks.list_for(SATO)) == 1


async def test_in_the_end_an_event_is_given_up(stage: Stage) -> None:
    stage.slack.always("chat.postMessage", Fault.refused("service_unavailable"))
    event = left_behind(stage.slack, stage.slack.callback(direct_message(SATO, "ヘルプ")))
    inbox = stage.app.own.inbox
    await inbox.receive(event, timedelta())
    for _ in range(MAX_ATTEMPTS - 2):
        assert len(await inbox.take_up(1, timedelta())) == 1

    assert await stage.assistant._worker.take_up() == 1
    await stage.wait_for_outcome("message", "given_up")

    await inbox.release(event.id, NOW)
    assert await inbox.take_up(10) == []


async def test_stopping_finishes_what_is_under_way_and_gives_back_what_takes_too_long(
    slack: SlackServer, database_url: str, tmp_path: Path
) -> None:
    settings = slack_settings(slack, database_url, tmp_path)
    async with on_stage(slack, settings) as stage:
        slack.script("chat.postMessage", Fault.late(0.3))
        envelope = slack.send_event(direct_message(SATO, "ヘルプ"))
        await slack.wait_for_ack(envelope)
        await stage.assistant.stop(5)
        assert len(slack.messages) == 1
        assert slack.connections == [] or await slack.wait_for_connections(0) == []

    async with on_stage(slack, settings) as stage:
        slack.script("chat.postMessage", Fault.late(60))
        envelope = slack.send_event(direct_message(SUZUKI, "タスク登録: 議事録"))
        await slack.wait_until(lambda: slack.calls[-1].method == "chat.postMessage")
        await stage.assistant.stop(0.1)
        assert stage.outcomes[-1] == ("message", "postponed")

    async with on_stage(slack, settings) as stage:
        await stage.wait_for_outcome("message", "answered")
        assert len(await stage.app.tasks.list_for(SUZUKI)) == 1
    assert len(slack.messages_in(SUZUKI)) == 1


async def test_an_unforeseen_error_is_apologised_for_with_its_number(
    stage: Stage, owner_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    owner = await asyncpg.connect(owner_url.replace("+asyncpg", ""))
    try:
        await owner.execute("ALTER TABLE tasks RENAME TO away")
        answer = await stage.ask(SATO, "タスク一覧")
    finally:
        await owner.close()

    told = transcript(answer.blocks)
    assert told.startswith("すみません、うまく処理できませんでした。")
    assert "UndefinedTable" not in told
    assert any(record.exc_info for record in caplog.records if "met an error" in record.message)


async def test_a_late_event_means_the_day_on_which_it_was_written(stage: Stage) -> None:
    stage.now = NOW.replace(day=17, hour=0, minute=10)
    written = f"{NOW.replace(day=16, hour=23, minute=50).timestamp():.6f}"
    stage.slack.send_event(direct_message(SATO, "タスク登録: 議事録 期限: 明日15時", ts=written))
    await stage.slack.wait_for_messages(1, dm(SATO))

    (task,) = await stage.app.tasks.list_for(SATO)
    assert task.due_at == NOW.replace(day=17, hour=15, minute=0)
    assert task.status is TaskStatus.PENDING


@pytest.mark.parametrize("fault", [Fault.late(60), Fault.late_answer(60)])
async def test_a_process_killed_while_it_answers_is_taken_over_from(
    slack: SlackServer, database_url: str, tmp_path: Path, fault: Fault
) -> None:
    """Killed before the answer stood there, or just after and before that could be noted."""
    settings = slack_settings(slack, database_url, tmp_path)
    environment = {
        "PATH": os.environ["PATH"],
        "DATABASE_URL": database_url,
        "EMBEDDING_PROVIDER": "hashing",
        "SLACK_BOT_TOKEN": BOT_TOKEN,
        "SLACK_APP_TOKEN": APP_TOKEN,
        "SLACK_API_URL": slack.api_url,
    }
    program = Path(slack_stage.__file__)
    process = await asyncio.create_subprocess_exec(sys.executable, str(program), env=environment)
    try:
        await slack.wait_for_connections(1, 30)
        slack.script("chat.postMessage", fault)
        event = direct_message(SATO, "タスク登録: 議事録")
        await slack.wait_for_ack(slack.send_event(event))
        await slack.wait_until(lambda: slack.calls[-1].method == "chat.postMessage")
        was_posted = fault.answer_delay > 0
        if was_posted:
            await slack.wait_for_messages()
    finally:
        process.kill()
        await process.wait()
    assert len(slack.messages) == was_posted
    await slack.wait_for_connections(0)

    async with on_stage(slack, settings) as stage:
        # Its lease would end by itself.
        await stage.app.own.inbox.release(f"message:{dm(SATO)}:{event['ts']}", NOW)
        assert await stage.assistant._worker.take_up() == 1
        await stage.wait_for_outcome("message", "answered")
        assert len(await stage.app.tasks.list_for(SATO)) == 1
    assert len(slack.messages) == 1
