"""What a message to the assistant is taken for; read on a Wednesday morning in Tokyo."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from nakamura_misaki.adapters.primary.slack.intents import (
    AddNote,
    AddTask,
    Ask,
    ChangeTask,
    Command,
    CompleteHandoff,
    DeleteTask,
    Help,
    Incomplete,
    Intent,
    ListHandoffs,
    ListTasks,
    Missing,
    Span,
    TaskAction,
)
from nakamura_misaki.adapters.primary.slack.reading import read_message

NOW = datetime(2026, 10, 14, 10, 30, tzinfo=ZoneInfo("Asia/Tokyo"))
BOT = "U0MISAKI"
UUID_TEXT = "0199c3a2-7b1e-7c3d-ace1-0123456789ab"


def intent(text: str) -> Intent:
    return read_message(text, NOW, self_id=BOT).intent


def lacks(command: Command, what: Missing, detail: str = "") -> Incomplete:
    return Incomplete(command, what, detail)


QUESTIONS = [
    *("DB移行の決定事項は？", "タスクの期限はどう決めた？", "引き継ぎのやり方は？", "メモの書き方は？", "メモは？"),
    *("タスク登録の方法は？", "タスク登録はどうやる？", "タスク追加 どうやるの？", "タスク一覧の見方は？", "DB移行のタスクは？"),
    *("タスク 7c3dace1 を完了したのは誰？", "タスク 7c3dace1 完了？", "タスク管理ツールの移行を完了", "引き継ぎました"),
    *("DB移行の引き継ぎ", "「引き継ぎ」とは？", "「A」を <@U2> に明日引き継ぎ？", "引き継ぎ一覧はどこで見る？", "ハンドオフとは"),
    *("how do tasks get assigned?", "what did we decide about tasks", "add tasks to the board?", "add task how?"),
    *("hand off checklist", "handoff process?", "hand off \"x\" to <@U2> tomorrow?", "cancel task manager", "task force"),
    *("notes on the migration", "remember the milk", "note that it fails", "help with the migration", "today's plan"),
    *("タスクに入れた？", "それはタスクに入れてください？", "タスクに入れて", "覚えておいて"),
    *("エラー: 接続できない", "TODO: 確認", "決定はいつ？", "使い方を決めたのは誰", "deadbeef", "2026 完了", "1234 done"),
]  # fmt: skip


@pytest.mark.parametrize("text", QUESTIONS)
def test_what_is_no_command_is_searched_for(text: str) -> None:
    assert intent(text) == Ask(text)


def test_the_assistants_name_is_not_searched_for() -> None:
    assert intent(f"DB移行の件どうなった？　<@{BOT}>") == Ask("DB移行の件どうなった？")
    assert intent(f"<@{BOT}>さんの決定は？") == Ask("さんの決定は？")
    assert intent(f"<@{BOT}> <@U2> の件 <@U2>") == Ask("<@U2> の件 <@U2>")


NOTES = [
    ("メモ: DB移行は金曜", AddNote("DB移行は金曜")),
    ("メモ：DB移行は金曜", AddNote("DB移行は金曜")),
    ("ﾒﾓ:　DB移行は金曜", AddNote("DB移行は金曜")),
    ("ノート: x", AddNote("x")),
    ("メモして DB移行は金曜", AddNote("DB移行は金曜")),
    ("メモしてください: DB移行は金曜", AddNote("DB移行は金曜")),
    ("`メモ: DB移行は金曜`", AddNote("DB移行は金曜")),
    ("メモ: `a` と `b`", AddNote("`a` と `b`")),
    ("メモっといて DB移行は金曜", AddNote("DB移行は金曜")),
    ("メモ取って: DB移行は金曜", AddNote("DB移行は金曜")),
    ("覚えておいて：DB移行は金曜", AddNote("DB移行は金曜")),
    (f"メモ: DB移行は金曜 <@{BOT}>", AddNote("DB移行は金曜")),
    ("note: it works", AddNote("it works")),
    ("Note : it works", AddNote("it works")),
    ("remember: it works", AddNote("it works")),
    ("メモ: 一行目\n\n  二行目　\n", AddNote("一行目\n\n  二行目")),
    ("メモ:\n```\nif a &lt; b &amp;&amp; c:\n```", AddNote("```\nif a < b && c:\n```")),
    ("メモ: ＡＢＣ　“引用” ①\u200b", AddNote("ＡＢＣ　“引用” ①\u200b")),  # kept as written
    ("メモ: &amp;lt; は &lt; の書き方", AddNote("&lt; は < の書き方")),
    ("メモ: <https://x.jp/?a=1&amp;b=2>", AddNote("https://x.jp/?a=1&b=2")),
    ("メモ: <https://x.jp|資料> <http://x.jp|x.jp>", AddNote("資料 (https://x.jp) http://x.jp")),
    ("メモ: <mailto:a@x.jp|a@x.jp>", AddNote("a@x.jp")),
    ("メモ: <#C1|general> <#C2> <!here> <!channel>", AddNote("#general #C2 @here @channel")),
    ("メモ: <!subteam^S1|@dev> <!subteam^S1>", AddNote("@dev @subteam")),
    ("メモ: <!date^1392734382^{date}|Feb 18>", AddNote("Feb 18")),
    ("メモ: <@unknown|someone> <@unknown>", AddNote("@someone @unknown")),
    ("メモ: <@U2> と <@U3|bob> に", AddNote("<@U2> と <@U3> に")),
    ("メモ(決定): PostgreSQL 16", AddNote("PostgreSQL 16", "decisions")),
    ("メモ（エラー）：落ちた", AddNote("落ちた", "errors")),
    ("メモ【学び】: 速い", AddNote("速い", "learnings")),
    ("メモ(コード変更): x", AddNote("x", "code_changes")),
    ("メモ(TODO): x", AddNote("x", "todos")),
    ("メモ(ＡＢ議事録): x", AddNote("x", "ＡＢ議事録")),
    ("note [decisions]: use pg", AddNote("use pg", "decisions")),
    ("note (Retro): good", AddNote("good", "Retro")),
    ("決定: pgvectorを使う", AddNote("pgvectorを使う", "decisions")),
    ("学び：索引は後で作る", AddNote("索引は後で作る", "learnings")),
    ("メモ: タスク登録: x", AddNote("タスク登録: x")),
    ("メモ", lacks(Command.ADD_NOTE, Missing.CONTENT)),
    ("メモ: ", lacks(Command.ADD_NOTE, Missing.CONTENT)),
    ("メモ: \u200b\n", lacks(Command.ADD_NOTE, Missing.CONTENT)),
    ("メモして", lacks(Command.ADD_NOTE, Missing.CONTENT)),
    ("note:", lacks(Command.ADD_NOTE, Missing.CONTENT)),
]


@pytest.mark.parametrize(("text", "expected"), NOTES)
def test_note_is_kept_as_written(text: str, expected: Intent) -> None:
    assert intent(text) == expected


# Title, due time (a date alone: no time of day was named) and assignee.
TASKS: list[tuple[str, str, str | None, str | None]] = [
    ("タスク登録: API統合テスト 期限: 明日15時", "API統合テスト", "2026-10-15 15:00", None),
    (
        "タスク登録：API統合テスト　期限：明日１５時　担当：<@U2>",
        "API統合テスト",
        "2026-10-15 15:00",
        "U2",
    ),
    ("タスク登録: API統合テスト、締切: 来週月曜", "API統合テスト", "2026-10-19", None),
    (
        "タスク登録\nAPI統合テスト\n〆切: 10/20\n担当: <@U2>さん",
        "API統合テスト",
        "2026-10-20",
        "U2",
    ),
    ("タスク登録: X\n期限: 明日\n詳細は資料に", "X 詳細は資料に", "2026-10-15", None),
    ("タスク登録: 期限: 明日15時 APIテスト", "APIテスト", "2026-10-15 15:00", None),
    ("タスク登録: X 期限: 今日中まで", "X", "2026-10-14", None),
    ("タスク登録: X 期限: なし 担当: 自分", "X", None, None),
    ("タスク追加 レビュー依頼", "レビュー依頼", None, None),
    ("タスクを追加: レビュー依頼", "レビュー依頼", None, None),
    ("タスク: レビューのタスク", "レビューのタスク", None, None),
    ("タスク登録 レビュー 期限 10/20", "レビュー", "2026-10-20", None),
    ("タスク登録: レビュー 締切は来週月曜", "レビュー", "2026-10-19", None),
    ("タスク登録: レポート提出 明日まで", "レポート提出", "2026-10-15", None),
    ("タスク登録: レポートを明日15時までに", "レポート", "2026-10-15 15:00", None),
    ("タスク登録: レポート 担当 <@U2> 明日まで", "レポート", "2026-10-15", "U2"),
    ("タスク登録: 明日までにレポートを書く", "レポートを書く", "2026-10-15", None),
    ("タスク登録: 来週月曜15時までに、見積もりを送る", "見積もりを送る", "2026-10-19 15:00", None),
    ("タスク登録: 明日まで有効なクーポンを配る", "明日まで有効なクーポンを配る", None, None),
    ("タスク登録: お昼までに何とかする会の準備", "何とかする会の準備", "2026-10-14 12:00", None),
    ("タスク登録: それまでに終える", "それまでに終える", None, None),
    ("タスク登録: 明日の会議の資料", "明日の会議の資料", None, None),
    ("タスク登録: 会議は明日", "会議は明日", None, None),
    ("タスク登録: 月曜から金曜までの予定", "月曜から金曜までの予定", None, None),
    ("タスク登録: 出張は月曜から金曜まで", "出張は月曜から金曜まで", None, None),
    ("タスク登録: 駅まで", "駅まで", None, None),
    ("タスク登録: <@U3> に聞く &lt;急ぎ&gt; 担当: <@U2>", "<@U3> に聞く <急ぎ>", None, "U2"),
    ("task: write report due: tomorrow 3pm", "write report", "2026-10-15 15:00", None),
    ("Task: write report assignee: <@U2> deadline: Oct 20", "write report", "2026-10-20", "U2"),
    ("add task write report by friday", "write report", "2026-10-16", None),
    ("add task write report for <@U2> by friday 3pm", "write report", "2026-10-16 15:00", "U2"),
    ("add task write report by friday for <@U2|bob>", "write report", "2026-10-16", "U2"),
    ("add a task: write report due in 3 days", "write report", "2026-10-17", None),
    ("new task clean up the sat archive", "clean up the sat archive", None, None),
    ("add task stand by me", "stand by me", None, None),
    ("add task plan Friday", "plan Friday", None, None),
    ("task: write for <@U2> a report", "write for <@U2> a report", None, None),
    ("add a task to write the report by friday", "write the report", "2026-10-16", None),
    ("add task to do list", "to do list", None, None),
    ("タスク: 請求書を送る（10/20まで）", "請求書を送る", "2026-10-20", None),
    ("タスク: 請求書を送る（期限：10/20）", "請求書を送る", "2026-10-20", None),
    ("タスク: 請求書 (担当: <@U2>, 期限: 明日)", "請求書", "2026-10-15", "U2"),
    ("タスク: 請求書（A社 10/20まで）", "請求書（A社 10/20まで）", None, None),
    ("タスク: f(x) を直す 期限: 10/20（火）", "f(x) を直す", "2026-10-20", None),
    ("タスク: 会議（10/20）", "会議（10/20）", None, None),
    ("タスク: 予算案 10月まで", "予算案", "2026-10-31", None),
    ("タスク: 予算案 期限: 明日（木）15時", "予算案", "2026-10-15 15:00", None),
    ("タスクに追加: 請求書を送る", "請求書を送る", None, None),
    ("タスク追加お願いします：見積もり 期限：今週中", "見積もり", "2026-10-16", None),
    (
        "明日の15時までにレポート出すのタスクに入れといて",
        "レポート出す",
        "2026-10-15 15:00",
        None,
    ),
    ("議事録をタスクに追加してください。", "議事録", None, None),
    ("<@U3> に聞くのをタスクに登録して", "<@U3> に聞く", None, None),
    # The assistant as an assignee is named, not called.
    (f"タスク: 議事録 担当: <@{BOT}>", "議事録", None, BOT),
    (f"task: minutes for <@{BOT}>", "minutes", None, BOT),
]


@pytest.mark.parametrize(("text", "title", "due", "assignee"), TASKS)
def test_task_has_title_due_time_and_assignee(
    text: str, title: str, due: str | None, assignee: str | None
) -> None:
    read = intent(text)
    assert isinstance(read, AddTask)
    assert (read.title, read.assignee_user_id) == (title, assignee)
    written = None
    if read.due is not None:
        written = (
            f"{read.due.at:%Y-%m-%d %H:%M}" if read.due.has_time else f"{read.due.at:%Y-%m-%d}"
        )
    assert written == due


@pytest.mark.parametrize(
    ("text", "what", "detail"),
    [
        ("タスク登録", Missing.TITLE, ""),
        ("タスク登録: ", Missing.TITLE, ""),
        ("タスク登録: 明日まで", Missing.TITLE, ""),
        ("タスク登録: 期限: 明日", Missing.TITLE, ""),
        ("add task", Missing.TITLE, ""),
        ("task:", Missing.TITLE, ""),
        ("タスク登録: テスト 期限: いつか", Missing.UNREADABLE_TIME, "いつか"),
        ("タスク登録: テスト 期限: 2月30日", Missing.UNREADABLE_TIME, "2月30日"),
        ("task: test due: someday soon", Missing.UNREADABLE_TIME, "someday soon"),
        ("タスク登録: テスト 期限:", Missing.TIME, ""),
        ("タスク登録: 期限: いつか APIテスト", Missing.UNREADABLE_TIME, "いつか APIテスト"),
        ("タスク登録: テスト 担当: 田中さん", Missing.PERSON, "田中さん"),
        ("タスク登録: テスト 担当: &lt;@U2&gt;", Missing.PERSON, "<@U2>"),  # typed, no mention
        ("task: test for:", Missing.PERSON, ""),
    ],
)
def test_task_that_lacks_something(text: str, what: Missing, detail: str) -> None:
    assert intent(text) == lacks(Command.ADD_TASK, what, detail)


CHANGES = [
    ("タスク 7c3dace1 を進行中に", ChangeTask("7c3dace1", TaskAction.START)),
    ("タスク 7c3dace1 開始します", ChangeTask("7c3dace1", TaskAction.START)),
    ("タスク　７Ｃ３ＤＡＣＥ１　完了。", ChangeTask("7c3dace1", TaskAction.COMPLETE)),
    ("タスク `7c3dace1` を完了にして", ChangeTask("7c3dace1", TaskAction.COMPLETE)),
    ("タスク #7C3D を完了しました！", ChangeTask("7c3d", TaskAction.COMPLETE)),
    (f"タスク {UUID_TEXT.upper()} 終わりました", ChangeTask(UUID_TEXT, TaskAction.COMPLETE)),
    (
        "タスク &lt;7c3dace1&gt; を未着手に戻して",
        ChangeTask("7c3dace1", TaskAction.REOPEN),
    ),
    ("タスク &lt;7c3dace1&gt; を未着手に", ChangeTask("7c3dace1", TaskAction.REOPEN)),
    ("タスク 7c3dace1 をキャンセルして", ChangeTask("7c3dace1", TaskAction.CANCEL)),
    ("タスク 7c3dace1 終わった〜", ChangeTask("7c3dace1", TaskAction.COMPLETE)),
    ("タスク 7c3dace1 完了したよ！", ChangeTask("7c3dace1", TaskAction.COMPLETE)),
    ("タスク 7c3dace1 を削除", DeleteTask("7c3dace1")),
    ("タスク 7c3dace1 を消してください", DeleteTask("7c3dace1")),
    ("7c3dace1 終わった", ChangeTask("7c3dace1", TaskAction.COMPLETE)),
    ("#7c3d done", ChangeTask("7c3d", TaskAction.COMPLETE)),
    ("task 7c3dace1 done", ChangeTask("7c3dace1", TaskAction.COMPLETE)),
    ("Task 7c3dace1 is in progress.", ChangeTask("7c3dace1", TaskAction.START)),
    ("mark task 7c3dace1 as done", ChangeTask("7c3dace1", TaskAction.COMPLETE)),
    ("start task 7c3dace1", ChangeTask("7c3dace1", TaskAction.START)),
    ("reopen the task 7c3dace1 please", ChangeTask("7c3dace1", TaskAction.REOPEN)),
    ("cancel task 7c3dace1", ChangeTask("7c3dace1", TaskAction.CANCEL)),
    ("delete task 7c3dace1", DeleteTask("7c3dace1")),
    ("タスク完了", lacks(Command.CHANGE_TASK, Missing.ID)),
    ("タスクを削除", lacks(Command.DELETE_TASK, Missing.ID)),
    ("start task", lacks(Command.CHANGE_TASK, Missing.ID)),
    ("タスク abc 完了", lacks(Command.CHANGE_TASK, Missing.BAD_ID, "abc")),
    ("タスク APIテスト を完了", lacks(Command.CHANGE_TASK, Missing.BAD_ID, "APIテスト")),
    ("delete task zz9", lacks(Command.DELETE_TASK, Missing.BAD_ID, "zz9")),
    ("ハンドオフ 51c07be2 完了", CompleteHandoff("51c07be2")),
    ("引き継ぎ 51c07be2 を完了", CompleteHandoff("51c07be2")),
    ("引継ぎ `51c07be2` 完了しました", CompleteHandoff("51c07be2")),
    ("handoff 51c07be2 done", CompleteHandoff("51c07be2")),
    ("complete handoff 51c07be2", CompleteHandoff("51c07be2")),
    ("ハンドオフ完了", lacks(Command.COMPLETE_HANDOFF, Missing.ID)),
    ("ハンドオフ xyz 完了", lacks(Command.COMPLETE_HANDOFF, Missing.BAD_ID, "xyz")),
]


@pytest.mark.parametrize(("text", "expected"), CHANGES)
def test_entry_is_named_by_its_id(text: str, expected: Intent) -> None:
    assert intent(text) == expected


LISTS: list[tuple[Intent, tuple[str, ...]]] = [
    (ListTasks(), ("タスク一覧", "タスク", "タスクは？", "私のタスク", "my tasks", "Tasks", "what are my tasks?", "list tasks")),
    (ListTasks(Span.TODAY), ("今日のタスクは？", "今日やることは？", "本日のタスク一覧", "what are my tasks today?", "today's tasks")),
    (ListHandoffs(), ("引き継ぎ一覧", "引継ぎ一覧", "ハンドオフ一覧", "引き継ぎは？", "handoffs", "my handoffs", "show my hand-offs")),
    (ListTasks(), ("タスク一覧お願いします", "タスクある？", f"タスク一覧 <@{BOT}>", f"<@{BOT}>さん、タスク一覧", f"<@{BOT}> タスク一覧 <@{BOT}>")),
    (ListTasks(), ("`タスク一覧`", f"<@{BOT}> `タスク一覧`")),
    (ListTasks(Span.TOMORROW), ("明日のタスクは？", "明日やることある？", "what's due tomorrow?", "my tasks for tomorrow")),
    (ListTasks(Span.WEEK), ("今週のタスクは？", "今週期限のタスク一覧", "tasks this week", "what do I have this week?")),
    (ListTasks(Span.TODAY), (f"今日のタスクは？ <@{BOT}>", "今日のタスクはありますか？")),
    (ListHandoffs(), ("引き継ぎある？", "引き継ぎ一覧ください")),
    (Help(), ("ヘルプ", "使い方", "使い方を教えて", "?", "？", "help", "Help!", "", "  ", f"<@{BOT}>", f"<@{BOT}> ヘルプ")),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"), [(text, expected) for expected, texts in LISTS for text in texts]
)
def test_fixed_phrase(text: str, expected: Intent) -> None:
    assert intent(text) == expected
