"""Tasks and handoffs in Slack: added, listed, changed by words and by buttons, and by whom."""

from datetime import timedelta

import pytest

from nakamura_misaki.application.lookup import short_id
from nakamura_misaki.domain.task import Task, TaskStatus
from nakamura_misaki.infrastructure.di.notifier import build_notifier
from slack_server import (
    EMMA,
    RESPONSE,
    SATO,
    SUZUKI,
    TANAKA,
    Message,
    button_click,
)
from slack_stage import NOW, Stage, shown


async def task_of(stage: Stage, user: str, title: str = "議事録") -> Task:
    return await stage.app.tasks.add(title=title, assignee_user_id=user, creator_user_id=user)


async def press(stage: Stage, user: str, action: str, message: Message) -> None:
    """Press a button and wait until that was answered."""
    done = sum(call.method == RESPONSE for call in stage.slack.calls)
    stage.slack.send_interaction(button_click(user, action, message=message))
    await stage.slack.wait_for(RESPONSE, done + 1)


async def test_a_task_is_added_with_its_time_repeated(stage: Stage) -> None:
    answer = await stage.ask(SATO, "タスク登録: API統合テスト 期限: 明日15時")

    (task,) = await stage.app.tasks.list_for(SATO)
    assert task.due_at == NOW.replace(day=17, hour=15, minute=0)
    assert (task.title, task.creator_user_id) == ("API統合テスト", SATO)
    assert "*API統合テスト*\n期限: *明日 10月17日(木) 15:00*" in shown(answer)


async def test_a_task_for_somebody_else_names_the_person(stage: Stage) -> None:
    answer = await stage.ask(SATO, f"task: write the minutes for: <@{SUZUKI}> due: today")

    (task,) = await stage.app.tasks.list_for(SUZUKI)
    # A day without a time of day lasts until its end.
    assert task.due_at == NOW.replace(hour=23, minute=59)
    assert "due: *today, Wed, Oct 16, 23:59*" in shown(answer)
    assert f"Assignee: @{SUZUKI}" in shown(answer)


async def test_a_time_that_is_past_is_said_to_be(stage: Stage) -> None:
    assert "もう過ぎています" in shown(await stage.ask(SATO, "タスク登録: 報告 期限: 昨日"))


async def test_tasks_are_listed_all_or_those_of_today(stage: Stage) -> None:
    for title, days in (("昨日まで", -1), ("今日まで", 0), ("明日まで", 1)):
        await stage.app.tasks.add(
            title=title,
            assignee_user_id=SATO,
            creator_user_id=SATO,
            due_at=NOW + timedelta(days=days, hours=1),
        )
    undated = await task_of(stage, SATO, "いつでも")

    today = shown(await stage.ask(SATO, "今日のタスクは？"))
    every = shown(await stage.ask(SATO, "タスク一覧"))
    english = shown(await stage.ask(SATO, "tasks"))

    assert today.startswith(
        "# 今日のタスク 2件\n昨日まで\n未着手 ・ 期限切れ 10月15日(火) 11:30 ・ "
    )
    assert "今日まで\n未着手 ・ 期限 今日 10月16日(水) 11:30" in today
    assert "明日まで" not in today
    assert every.startswith("# タスク 4件\n")
    assert every.endswith(f"いつでも\n未着手 ・ 期限なし ・ {short_id(undated.id)}  [着手]")
    assert english.startswith("# 4 tasks\n")


async def test_tasks_of_tomorrow_and_of_this_week(stage: Stage) -> None:
    """It is a Wednesday: the week ends on the fourth day after."""
    for title, days in (("昨日", -1), ("今日", 0), ("明日", 1), ("日曜", 4), ("月曜", 5)):
        await stage.app.tasks.add(
            title=title,
            assignee_user_id=SATO,
            creator_user_id=SATO,
            due_at=NOW + timedelta(days=days, hours=1),
        )

    tomorrow = shown(await stage.ask(SATO, "明日のタスクは？"))
    week = shown(await stage.ask(SATO, "今週のタスクは？"))
    english = shown(await stage.ask(SATO, "what's due this week?"))
    none = shown(await stage.ask(SUZUKI, "明日のタスクは？"))

    assert tomorrow.startswith("# 明日のタスク 1件\n明日\n")
    assert week.startswith("# 今週のタスク 3件\n今日\n")
    assert "日曜\n" in week
    assert "月曜\n" not in week
    assert english.startswith("# 3 tasks for this week\n")
    assert none == "期限が明日のタスクはありません。"


async def test_a_long_list_is_cut_and_says_how_much_is_missing(stage: Stage) -> None:
    for number in range(33):
        await task_of(stage, SATO, f"仕事{number}" + "長" * 490)

    listed = await stage.ask(SATO, "タスク一覧")

    assert shown(listed).endswith("(ほか 3 件)")
    assert len(listed.blocks) == 32


@pytest.mark.parametrize(
    ("text", "before", "after", "answer"),
    [
        ("タスク {} を進行中に", TaskStatus.PENDING, TaskStatus.IN_PROGRESS, "✅ タスクを進行中にしました"),
        ("タスク {} 完了", TaskStatus.PENDING, TaskStatus.COMPLETED, "✅ タスクを完了にしました"),
        ("task {} done", TaskStatus.IN_PROGRESS, TaskStatus.COMPLETED, "✅ Task completed"),
        ("start task {}", TaskStatus.COMPLETED, TaskStatus.COMPLETED, "This task is completed, so it can't be"),
        ("タスク {} を進行中に", TaskStatus.CANCELLED, TaskStatus.CANCELLED, "このタスクはいま「取りやめ」なので"),
    ],
)  # fmt: skip
async def test_a_task_changes_or_it_is_said_why_not(
    stage: Stage, text: str, before: TaskStatus, after: TaskStatus, answer: str
) -> None:
    task = await task_of(stage, SATO)
    if before is not TaskStatus.PENDING:
        move = {
            TaskStatus.IN_PROGRESS: stage.app.tasks.start,
            TaskStatus.COMPLETED: stage.app.tasks.complete,
            TaskStatus.CANCELLED: stage.app.tasks.cancel,
        }[before]
        await move(task.id)

    told = await stage.ask(SATO, text.format(short_id(task.id)))

    assert shown(told).startswith(answer)
    assert (await stage.app.tasks.show(task.id)).status is after


async def test_nobody_changes_what_is_another_persons(stage: Stage) -> None:
    task = await task_of(stage, SUZUKI)
    handoff = await stage.app.handoffs.add(
        from_user_id=SUZUKI, to_user_id=TANAKA, progress_note="秘密", handoff_at=NOW
    )

    for text in ("タスク {} 完了", "タスク {} を削除"):
        told = shown(await stage.ask(SATO, text.format(short_id(task.id))))
        assert told == f"タスク {short_id(task.id)} を変えられるのは、担当者と登録した人だけです。"
    told = shown(await stage.ask(SATO, f"ハンドオフ {short_id(handoff.id)} 完了"))
    assert "渡す人と受け取る人だけです" in told
    assert "「秘密」" not in told
    assert (await stage.app.tasks.show(task.id)).status is TaskStatus.PENDING
    assert (await stage.app.handoffs.show(handoff.id)).completed_at is None


async def test_a_task_is_deleted_once_the_asker_confirms_it(stage: Stage) -> None:
    task = await task_of(stage, SATO)
    asked = await stage.mention(SATO, f"タスク {short_id(task.id)} を削除")
    assert shown(asked) == (
        "タスク「議事録」を削除しますか？ このタスクの引き継ぎも消えます。\n[削除する] [やめる]"
    )
    assert asked.buttons["task_delete"]["style"] == "danger"

    await press(stage, SUZUKI, "task_delete", asked)
    assert await stage.app.own.task_repository.get(task.id) is not None
    (refusal,) = stage.slack.ephemerals
    assert refusal.only_for == SUZUKI
    assert shown(refusal) == "このボタンを押せるのは、削除を頼んだ人だけです。"

    await press(stage, SATO, "task_delete", asked)
    assert await stage.app.own.task_repository.get(task.id) is None
    assert shown(asked) == "タスクを削除しました: 議事録"


async def test_a_task_stays_when_the_asker_thinks_better_of_it(stage: Stage) -> None:
    task = await task_of(stage, EMMA, "write the report")
    asked = await stage.ask(EMMA, f"delete task {short_id(task.id)}")

    await press(stage, EMMA, "task_keep", asked)

    assert shown(asked) == "The task stays: write the report"
    assert await stage.app.own.task_repository.get(task.id) is not None


async def test_the_question_whether_to_delete_expires(stage: Stage) -> None:
    task = await task_of(stage, SATO)
    asked = await stage.ask(SATO, f"タスク {short_id(task.id)} を削除")
    stage.now = NOW + timedelta(hours=1, seconds=1)

    await press(stage, SATO, "task_delete", asked)

    assert shown(asked).startswith("確認の期限が切れました。")
    assert await stage.app.own.task_repository.get(task.id) is not None


async def test_the_buttons_of_a_list_change_the_task_and_the_list(stage: Stage) -> None:
    task = await task_of(stage, SATO)
    listed = await stage.ask(SATO, "タスク一覧")

    await press(stage, SATO, "task_start", listed)
    assert shown(listed).endswith(f"進行中 ・ 期限なし ・ {short_id(task.id)}  [完了]")
    await press(stage, SATO, "task_complete", listed)
    assert shown(listed) == "終わっていないタスクはありません。"
    assert (await stage.app.tasks.show(task.id)).status is TaskStatus.COMPLETED


async def test_a_handoff_is_given_listed_and_completed(stage: Stage) -> None:
    task = await task_of(stage, SATO)
    given = await stage.ask(
        SATO,
        f"「APIテストは8割完了」を <@{SUZUKI}> に明日9時から引き継ぎ タスク: {short_id(task.id)} 次: 残りを確認",
    )
    (handoff,) = await stage.app.handoffs.list_to(SUZUKI)

    assert (handoff.progress_note, handoff.next_steps) == ("APIテストは8割完了", "残りを確認")
    assert (handoff.task_id, handoff.handoff_at) == (task.id, NOW.replace(day=17, hour=9, minute=0))
    assert f"受け取る人: @{SUZUKI}\n日時: *明日 10月17日(木) 09:00*\n次の手順: 残りを確認" in shown(
        given
    )
    assert "(10分前に受け取る人へお知らせします。)" in shown(given)

    listed = await stage.ask(SUZUKI, "引き継ぎ一覧")
    assert shown(listed) == (
        "# あなたへの引き継ぎ 1件\n*明日 10月17日(木) 09:00*\n"
        f"渡す人: @{SATO}\nAPIテストは8割完了\n次の手順: 残りを確認\n[完了 {short_id(handoff.id)}]"
    )

    done = await stage.ask(SUZUKI, f"ハンドオフ {short_id(handoff.id)} 完了")
    assert shown(done).startswith("✅ 引き継ぎを完了にしました\nAPIテストは8割完了")
    again = await stage.ask(SUZUKI, f"handoff {short_id(handoff.id)} done")
    assert shown(again) == f"Handoff {short_id(handoff.id)} was completed before."
    await press(stage, SUZUKI, "handoff_complete", listed)
    assert shown(listed) == "あなたへの引き継ぎはありません。"


async def test_the_button_of_a_reminder_completes_the_handoff(stage: Stage) -> None:
    notifier = build_notifier(stage.app.settings)
    messages = []
    for note, user in (("8割完了", SUZUKI), ("80% done", EMMA)):
        handoff = await stage.app.handoffs.add(
            from_user_id=SATO, to_user_id=user, progress_note=note, handoff_at=NOW
        )
        await notifier.remind(handoff)
        messages.append(stage.slack.messages_in(user)[-1])
    await notifier.close()
    japanese, english = messages

    await press(stage, TANAKA, "handoff_complete", japanese)
    (refusal,) = stage.slack.ephemerals
    assert refusal.only_for == TANAKA
    assert "渡す人と受け取る人だけです" in shown(refusal)
    assert len(await stage.app.handoffs.list_to(SUZUKI)) == 1

    await press(stage, SUZUKI, "handoff_complete", japanese)
    assert shown(japanese).startswith("✅ 引き継ぎを完了にしました\n8割完了")
    assert await stage.app.handoffs.list_to(SUZUKI) == []

    (handoff,) = await stage.app.handoffs.list_to(EMMA)
    await stage.app.handoffs.complete(handoff.id)
    await press(stage, EMMA, "handoff_complete", english)
    assert shown(english).startswith("✅ Handoff completed\n80% done")


async def test_handing_over_in_english(stage: Stage) -> None:
    given = await stage.ask(EMMA, f'hand off "80% done" to <@{SATO}> tomorrow at 9am')
    listed = await stage.ask(SATO, "handoffs")

    assert f"To: @{SATO}\nAt: *tomorrow, Thu, Oct 17, 09:00*" in shown(given)
    assert shown(listed).startswith("# 1 handoff to you\n*tomorrow, Thu, Oct 17, 09:00*\nFrom: @")
