"""``task``, ``handoff``, ``note`` and ``session`` against a real database."""

from datetime import datetime, timedelta
from pathlib import Path
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest

from cli_driver import USER, CommandLine

TOKYO = ZoneInfo("Asia/Tokyo")


@pytest.fixture
def cli(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    database_url: str,
) -> CommandLine:
    return CommandLine(monkeypatch, capsys, tmp_path, database_url)


def test_cli_task_goes_through_its_whole_life(cli: CommandLine) -> None:
    added = cli("task", "add", "見積もりを送る", "--due", "2026-10-15 15:00", "--json").json
    assert added["title"] == "見積もりを送る"
    assert added["due_at"] == "2026-10-15T15:00:00+09:00"
    assert added["assignee_user_id"] == added["creator_user_id"] == USER
    short = added["id"][-8:]

    assert cli("task", "start", short, "--json").json["status"] == "in_progress"
    assert cli("task", "reopen", short, "--json").json["status"] == "pending"
    done = cli("task", "done", added["id"], "--json").json
    assert done["status"] == "completed"
    assert datetime.fromisoformat(done["completed_at"]).utcoffset() == timedelta(hours=9)
    assert cli("task", "list", "--json").json == []
    assert cli("task", "list", "--all", "--json").json == [done]
    assert cli("task", "list", "--status", "completed", "--json").json == [done]
    assert cli("task", "show", short, "--json").json == done
    assert cli("task", "delete", short).out.startswith(f"Deleted {short}")
    assert cli("task", "show", added["id"]).code == 3


def test_cli_task_in_a_status_that_forbids_the_step_exits_2(cli: CommandLine) -> None:
    task_id = cli("task", "add", "x", "--json").json["id"]
    assert cli("task", "cancel", task_id).code == 0
    again = cli("task", "start", task_id, "--json")
    assert again.code == 2
    assert again.error["kind"] == "illegal_transition"
    assert "cancelled" in again.error["error"]


@pytest.mark.parametrize("command", ["show", "start", "done", "cancel", "reopen", "delete"])
def test_cli_task_that_is_not_there_exits_3(cli: CommandLine, command: str) -> None:
    outcome = cli("task", command, str(UUID(int=7)), "--json")
    assert (outcome.code, outcome.out, outcome.error["kind"]) == (3, "", "not_found")


def test_cli_task_list_of_somebody_else_and_of_today(cli: CommandLine) -> None:
    today = datetime.now(TOKYO).date()
    cli("task", "add", "今日の分", "--due", today.isoformat(), "--for", "U02")
    cli("task", "add", "来週の分", "--due", (today + timedelta(days=7)).isoformat(), "--for", "U02")
    assert cli("task", "list").out == f"{USER} has no tasks to be done.\n"
    assert [each["title"] for each in cli("task", "list", "--user", "U02", "--json").json] == [
        "今日の分",
        "来週の分",
    ]
    (due,) = cli("task", "list", "--user", "U02", "--today", "--json").json
    assert due["due_at"] == f"{today}T23:59:00+09:00"
    assert "today 23:59" in cli("task", "list", "--user", "U02", "--today").out


def test_cli_short_id_that_fits_several_names_them(cli: CommandLine) -> None:
    ids = [cli("task", "add", f"t{number}", "--json").json["id"] for number in range(2)]
    outcome = cli("task", "show", ids[0].replace("-", "")[:6])
    assert outcome.code == 2
    assert all(each in outcome.err for each in ids)


@pytest.mark.parametrize("text", ["abc", "xyzw", "", "0" * 33])
def test_cli_text_that_is_no_id_exits_2(cli: CommandLine, text: str) -> None:
    outcome = cli("task", "show", text)
    assert outcome.code == 2
    assert "is no task id" in outcome.err


def test_cli_time_zone_of_the_settings_is_read_and_shown(cli: CommandLine) -> None:
    cli.set(TIME_ZONE="America/New_York")
    added = cli("task", "add", "x", "--due", "2026-03-07T09:00", "--json").json
    assert added["due_at"] == "2026-03-07T09:00:00-05:00"
    gap = cli("task", "add", "x", "--due", "2026-03-08 02:30")
    assert gap.code == 2
    assert "clocks were put forward" in gap.err


@pytest.mark.parametrize("time", ["いつか", "2026-13-01", "15:99", "9999-12-31T23:59-12:00", ""])
def test_cli_time_that_is_none_exits_2_with_one_sentence(cli: CommandLine, time: str) -> None:
    outcome = cli("task", "add", "x", "--due", time)
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)


def test_cli_time_in_words_is_of_the_teams_zone(cli: CommandLine) -> None:
    tomorrow = datetime.now(TOKYO).date() + timedelta(days=1)
    for words, local in (("明日15時", "15:00"), ("明日", "23:59"), ("tomorrow 3pm", "15:00")):
        added = cli("task", "add", "x", "--due", words, "--json").json
        assert added["due_at"] == f"{tomorrow}T{local}:00+09:00"
    day = cli("handoff", "add", "半分", "--to", "U2", "--at", "明日")
    assert (day.code, day.err) == (
        2,
        "Error: '明日' is a day; give the time, too, like 明日 15:00.\n",
    )


def test_cli_title_from_standard_input_loses_only_its_last_line_break(cli: CommandLine) -> None:
    content = "\ufeff一行目\n二行目\n".encode()
    assert cli("note", "add", "-", "--json", stdin=content).json["content"] == "一行目\n二行目"


@pytest.mark.parametrize(
    ("stdin", "said"),
    [
        ("見積もり".encode("shift_jis"), "not UTF-8"),
        (b"a\x00b", "NUL"),
        (b"x" * (8 * 1024 * 1024 + 2), "longer"),
        (b" \n", "blank"),
    ],
)
def test_cli_standard_input_that_is_no_text_exits_2(
    cli: CommandLine, stdin: bytes, said: str
) -> None:
    outcome = cli("note", "add", "-", stdin=stdin)
    assert outcome.code == 2
    assert said in outcome.err
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("task", "add", "\udc93\udcfa"),
        ("task", "list", "--user", "\udcff"),
        ("note", "search", "\udcff"),
        ("handoff", "add", "x", "--to", "\udcff", "--at", "2026-10-15T10:00"),
        ("task", "show", "\udcff"),
    ],
)
def test_cli_argument_that_is_not_utf8_exits_2(
    cli: CommandLine, arguments: tuple[str, ...]
) -> None:
    outcome = cli(*arguments)
    assert outcome.code == 2
    assert "not UTF-8" in outcome.err


def test_cli_sql_in_a_title_is_text(cli: CommandLine) -> None:
    title = "'; DROP TABLE tasks; -- %s $1 :x"
    cli("task", "add", title)
    assert [each["title"] for each in cli("task", "list", "--json").json] == [title]


def test_cli_handoff_from_giving_to_confirming(cli: CommandLine) -> None:
    task_id = cli("task", "add", "x", "--json").json["id"]
    added = cli(
        *("handoff", "add", "レビューまで完了", "--to", "U02", "--at", "2026-10-15 18:00"),
        *("--task", task_id[-6:], "--next", "本番へ", "--json"),
    ).json
    assert added["task_id"] == task_id
    assert (added["from_user_id"], added["to_user_id"]) == (USER, "U02")
    assert added["handoff_at"] == "2026-10-15T18:00:00+09:00"
    short = added["id"][-8:]
    assert cli("handoff", "list", "--user", "U02", "--json").json == [added]
    assert cli("handoff", "list").out == f"Nothing is handed over to {USER}.\n"
    assert cli("handoff", "show", short, "--json").json == added
    assert cli("handoff", "done", short, "--json").json["completed_at"] is not None
    assert cli("handoff", "done", short).code == 2
    assert cli("handoff", "done", str(UUID(int=7))).code == 3
    assert cli("handoff", "list", "--user", "U02", "--json").json == []
    assert len(cli("handoff", "list", "--user", "U02", "--all", "--json").json) == 1


def test_cli_handoff_refuses_a_day_without_a_time_and_a_task_that_is_not_there(
    cli: CommandLine,
) -> None:
    assert cli("handoff", "add", "x", "--to", "U02", "--at", "2026-10-15").code == 2
    assert cli("handoff", "add", "x", "--to", USER, "--at", "2026-10-15T10:00").code == 2
    missing = ("--at", "2026-10-15T10:00", "--task", str(UUID(int=7)))
    assert cli("handoff", "add", "x", "--to", "U02", *missing).code == 3


def test_cli_note_search_finds_sets_off_and_says_how(cli: CommandLine) -> None:
    content = "決定: PostgreSQL 16を採用\n理由: pgvectorでベクトル検索まで一つで済む"
    added = cli("note", "add", content, "--category", "decisions", "--json").json
    cli("note", "add", "昼食は蕎麦")

    found = cli("note", "search", "PostgreSQLの決定事項は？", "--json").json
    assert found["notes"][0]["id"] == added["id"]
    assert found["notes"][0]["rank"] == 1
    assert set(found["notes"][0]["legs"]) == {"vector", "words"}
    assert (found["legs"], found["skipped"]) == (["vector", "words"], {})

    human = cli("note", "search", "PostgreSQLの決定事項は？", "--limit", "1").out
    assert human.startswith(" 1. ")
    assert added["id"][-8:] in human
    assert "    決定: PostgreSQL 16を採用\n" in human
    assert human.endswith("1 note, looked for by vector and by words.\n")
    assert "\x1b" not in human

    cli.set(FORCE_COLOR="1")
    assert "\x1b[1;4;33m決定" in cli("note", "search", "決定").out
    cli.set(NO_COLOR="1")
    assert "\x1b[1;4m決定" in cli("note", "search", "決定").out


def test_cli_note_search_of_one_user_and_of_nothing(cli: CommandLine) -> None:
    cli("note", "add", "売上は好調", "--user", "U02")
    assert len(cli("note", "search", "売上", "--json").json["notes"]) == 1
    assert cli("note", "search", "売上", "--mine", "--json").json["notes"] == []
    nothing = cli("note", "search", "売上", "--mine")
    assert nothing.code == 0
    assert "No note of U01ABC123 answers 売上" in nothing.out
    assert "leave out --user and --mine" in nothing.out
    assert cli("note", "search", " ").code == 2
    assert cli("note", "search", "x", "--limit", "0").code == 2
    assert cli("note", "search", "x", "--mine", "--user", "U02").code == 2


def test_cli_note_list_and_show(cli: CommandLine) -> None:
    first = cli("note", "add", "一つ目", "--session", "s1", "--json").json
    second = cli("note", "add", "二つ目", "--category", "todos", "--json").json
    assert cli("note", "list", "--json").json == [second, first]
    assert cli("note", "list", "--category", "todos", "--json").json == [second]
    assert cli("note", "list", "--session", "s1", "--json").json == [first]
    assert cli("note", "list", "--user", "U09").out == "U09 has no notes.\n"
    assert cli("note", "show", second["id"][-8:], "--json").json == second
    assert cli("note", "show", second["id"][-8:]).out.endswith("\n\n二つ目\n")


def test_cli_control_characters_of_a_note_never_reach_the_terminal(cli: CommandLine) -> None:
    cli("note", "add", "evil \x1b]0;title\x07 \x1b[2J [red]name[/red] :smile: text")
    for arguments in (("note", "list"), ("note", "search", "evil")):
        out = cli(*arguments).out
        assert "\x1b" not in out
        assert "[red]name[/red] :smile: text" in out


def test_cli_wide_characters_stand_in_straight_columns(cli: CommandLine) -> None:
    cli("task", "add", "日本語の長い題名", "--due", "2020-01-01T10:00")
    cli("task", "add", "ascii")
    lines = cli("task", "list").out.splitlines()
    assert [line.rstrip() for line in lines] == lines
    columns = {
        line.index(title) for line, title in zip(lines[1:], ["日本語", "ascii"], strict=True)
    }
    assert columns == {lines[0].index("TITLE")}


def test_cli_sessions_that_nobody_continued_are_pruned(cli: CommandLine) -> None:
    assert cli("session", "list").out == f"{USER} has no sessions.\n"
    assert cli("session", "list", "--json").json == []
    assert cli("session", "prune", "--json").json == {"deleted": 0, "days": 30}
    assert cli("session", "prune", "--days", "0").code == 2


def test_cli_embed_pending_says_how_many(cli: CommandLine) -> None:
    assert cli("embed-pending").out == "No note lacks a vector.\n"
    assert cli("embed-pending", "--json").json["embedded"] == 0
