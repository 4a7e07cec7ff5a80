"""What the team writes and what it is answered, over a real socket and a real database."""

import re
from pathlib import Path

import pytest

from nakamura_misaki.application.lookup import short_id
from nakamura_misaki.domain.task import TaskStatus
from openai_server import Fault as EmbeddingFault
from openai_server import OpenAIServer
from slack_server import (
    BOT_USER_ID,
    EMMA,
    GENERAL,
    RESPONSE,
    SATO,
    SUZUKI,
    TANAKA,
    SlackServer,
    app_mention,
    button_click,
    channel_message,
    direct_message,
    dm,
    message_shortcut,
    slash_command,
)
from slack_stage import NOW, Stage, on_stage, shown, slack_settings, transcript


async def test_the_decision_is_found_by_asking_for_it(stage: Stage) -> None:
    kept = await stage.ask(
        SATO, "メモ(決定): DB移行の決定事項\n10月末にPostgreSQL 16へ移す\n切り戻しは&lt;JSON&gt;で"
    )
    await stage.ask(SATO, "メモ: 昼はカレー")
    await stage.ask(SUZUKI, "メモ: DB移行の決定事項は誰にも言わない")

    found = await stage.ask(SATO, "DB移行の決定事項は？")

    (note_id,) = re.findall(r"ID (\w{8})", shown(kept))
    header, about, passage, *_ = shown(found).split("\n(")
    assert header == "# メモが2件見つかりました"
    assert about.split("\n", 1) == [
        f"2024-10-16 ・ 決定 ・ よく合う ・ {note_id})",
        "*DB**移行の決定事項*\n10月末にPostgreSQL 16へ移す\n切り戻しは<JSON>で",
    ]
    assert "昼はカレー" in passage
    assert "誰にも" not in shown(found)
    assert "誰にも" not in found.text


async def test_a_question_that_no_note_answers_is_told_how_to_ask_otherwise(stage: Stage) -> None:
    japanese, english = (
        await stage.ask(SATO, "DB移行は？"),
        await stage.ask(EMMA, "which database?"),
    )

    assert shown(japanese).startswith("「DB移行は？」に答えるメモは見つかりませんでした。\n(")
    assert "短い言葉ひとつ" in shown(japanese)
    assert shown(english).startswith("No note of yours answers “which database?”.\n(")
    assert "one short word" in shown(english)


async def test_a_note_is_kept_as_written_with_where_it_was_said(stage: Stage) -> None:
    answer = await stage.ask(EMMA, "note [decisions]: we release on *Friday* &amp; not before")

    (note,) = await stage.app.notes.list_for(EMMA)
    assert (note.content, note.category) == ("we release on *Friday* & not before", "decisions")
    assert note.metadata["slack"]["channel"] == dm(EMMA)
    assert note.created_at == NOW
    assert shown(answer) == (
        f"📝 Noted\nwe release on *Friday* & not before\n(decision ・ ID {short_id(note.id)})"
    )


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("タスク登録:", "タスクの名前がありません。例: タスク登録: API統合テスト 期限: 明日15時"),
        ("タスク 1234abcd 完了", "1234abcd というタスクはありません。「タスク一覧」でIDを確認してください。"),
        ("task 1234abcd done", 'There is no task 1234abcd; "tasks" lists yours with their ids.'),
        ("タスク登録: " + "長" * 501, "タスクの名前が長すぎます。500文字までにしてください。"),
        (f"「報告」を <@{SATO}> に明日引き継ぎ", "自分には引き継げません。別の人を「@名前」で書いてください。"),
    ],
)  # fmt: skip
async def test_what_can_not_be_done_is_said_in_one_sentence(
    stage: Stage, text: str, answer: str
) -> None:
    told = await stage.ask(SATO, text)
    assert shown(told) == answer


async def test_a_command_is_answered_to_its_user_alone(stage: Stage) -> None:
    envelope = stage.slack.send_slash_command(slash_command(SATO, "メモ: 昼はカレー"))
    await stage.slack.wait_for(RESPONSE)
    assert (await stage.slack.wait_for_ack(envelope)).payload in (None, {})
    stage.slack.send_slash_command(slash_command(EMMA, "", channel=GENERAL))
    await stage.slack.wait_for(RESPONSE, 2)

    noted, helped = stage.slack.ephemerals
    assert shown(noted).startswith("📝 メモしました\n昼はカレー")
    assert (helped.only_for, helped.channel) == (EMMA, GENERAL)
    assert shown(helped).startswith("*Find and keep notes*")
    assert stage.slack.messages == []


async def test_the_shortcut_keeps_another_persons_message_as_a_note(stage: Stage) -> None:
    said = channel_message(SUZUKI, f"<@{TANAKA}> リリースは&lt;金曜&gt;")
    stage.slack.send_interaction(message_shortcut(SATO, "save_note", said))
    await stage.slack.wait_for(RESPONSE)

    (note,) = await stage.app.notes.list_for(SATO)
    assert note.content == f"<@{TANAKA}> リリースは<金曜>"
    assert note.metadata["slack"] == {"channel": GENERAL, "ts": said["ts"], "author": SUZUKI}
    assert shown(stage.slack.ephemerals[0]).startswith("📝 メモしました")


async def test_the_home_tab_shows_what_is_due_and_its_buttons_work(stage: Stage) -> None:
    task = await stage.app.tasks.add(
        title="議事録", assignee_user_id=SATO, creator_user_id=SATO, due_at=NOW
    )
    stage.slack.send_event(
        {"type": "app_home_opened", "user": SATO, "tab": "home", "event_ts": "1"}
    )
    await stage.slack.wait_for("views.publish")
    (view,) = stage.slack.views
    assert view["user_id"] == SATO
    assert transcript(view["blocks"]).startswith("# 今日のタスク 1件\n議事録\n未着手")

    pressed = button_click(SATO, "task_start", value=view["blocks"][1]["accessory"]["value"])
    del pressed["response_url"], pressed["message"], pressed["channel"]
    stage.slack.send_interaction(pressed)
    await stage.slack.wait_for("views.publish", 2)

    assert "進行中" in transcript(stage.slack.views[1]["blocks"])
    assert (await stage.app.tasks.show(task.id)).status is TaskStatus.IN_PROGRESS


async def test_answers_stand_in_the_thread_of_what_they_answer(stage: Stage) -> None:
    mention = app_mention(SATO, "ヘルプ", ts="1700000001.000100")
    inside = app_mention(SATO, "help", thread_ts="1700000001.000100")
    direct = direct_message(SATO, "ヘルプ")
    in_thread = direct_message(SATO, "ヘルプ", thread_ts="1700000002.000100")
    for event in (mention, inside, direct, in_thread):
        stage.slack.send_event(event)
        await stage.wait_for_outcome("message", "answered", len(stage.outcomes) + 1)

    assert [(m.channel, m.thread_ts) for m in stage.slack.messages] == [
        (GENERAL, "1700000001.000100"),
        (GENERAL, "1700000001.000100"),
        (dm(SATO), None),
        (dm(SATO), "1700000002.000100"),
    ]


async def test_words_alone_answer_while_the_embedder_is_down_and_the_answer_says_so(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with SlackServer() as slack, OpenAIServer() as embeddings:
        settings = slack_settings(
            slack,
            database_url,
            tmp_path,
            embedding_provider="openai",
            openai_api_key=embeddings.key,
            openai_base_url=embeddings.base_url,
            embedding_timeout=0.5,
            embedding_query_timeout=0.5,
        )
        async with on_stage(slack, settings) as stage:
            await stage.ask(SATO, "メモ: リリースは金曜")
            embeddings.always = EmbeddingFault.unauthorized()
            await stage.ask(SATO, "メモ: リリースの担当は佐藤")
            found = await stage.ask(SATO, "リリース")

    assert shown(found).startswith("# メモが2件見つかりました")
    assert "・ よく合う ・" in shown(found)
    assert "(意味での検索がいま使えないため、言葉の一致だけで探しました。" in shown(found)


async def test_the_assistant_works_on_json_files_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    async with SlackServer() as slack:
        settings = slack_settings(
            slack,
            "postgresql://unused/unused",
            tmp_path,
            storage_backend="json",
            json_data_dir=tmp_path / "json",
        )
        async with on_stage(slack, settings) as stage:
            await stage.ask(SATO, "メモ: リリースは金曜")
            found = await stage.ask(SATO, "リリース")
            await stage.ask(SATO, "タスク登録: 議事録")
            listed = await stage.ask(SATO, f"<@{BOT_USER_ID}> タスク一覧")

    assert "*リリース*は金曜" in shown(found)
    assert "この保存先では意味での検索ができない" in shown(found)
    assert shown(listed).startswith("# タスク 1件\n議事録")
