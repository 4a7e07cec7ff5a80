# Tasks, handoffs, notes and sessions on a host as it is installed: made, changed, kept through
# restarts, reboots and power cuts, and closed to everybody else on the host.
{
  lib,
  newestRevision,
  package,
  prelude,
  ...
}:
{
  name = "nakamura-misaki-crud";

  nodes.machine = {
    services.nakamura-misaki = {
      enable = true;
      backup = {
        enable = true;
        verify.enable = true;
      };
    };
    # Somebody with an account on the host, and nothing to do with the service.
    users.users.stranger.isNormalUser = true;
  };

  testScript =
    prelude
    # python
    + ''
      from collections import Counter

      PROGRAM = "${lib.getExe package}"
      NEWEST = "${newestRevision}"
      API = "nakamura-misaki-api.service"
      HANAKO, KENJI = "U0HANAKO01", "U0KENJI001"
      CONTENT = "決定: 「髙橋」さんの見積もりは①四半期ごと ②¥1,200,000まで 🍣\n理由: がぎぐ（結合文字）も崩れない — naïve"


      def usec(unit: str, when: str) -> int:
          return int(properties(machine, unit, when)[when])


      def main_pid() -> str:
          return properties(machine, API, "MainPID")["MainPID"]


      def restarts() -> int:
          return int(properties(machine, API, "NRestarts")["NRestarts"])


      def as_user(user: str, *arguments: str) -> tuple[int, str]:
          """Run the program itself with the service's environment, without root's help."""
          environment = shlex.split(properties(machine, API, "Environment")["Environment"])
          command = shlex.join(["runuser", "-u", user, "--", "env", *environment, PROGRAM, *arguments])
          status, output = machine.execute(f"cd /; {command} 2>&1", timeout=120)
          return status, output


      def as_role(user: str, role: str, statement: str) -> tuple[int, str]:
          """Run SQL over PostgreSQL's socket."""
          psql = ["psql", "--no-psqlrc", "-h", "/run/postgresql", "-U", role, "-Atqc", statement]
          command = shlex.join(["runuser", "-u", user, "--", *psql, "nakamura_misaki"])
          status, output = machine.execute(f"cd /; {command} 2>&1")
          return status, output


      def wait_until_ready() -> None:
          machine.wait_for_unit("multi-user.target")
          machine.wait_for_unit(API)
          machine.wait_until_succeeds("curl -sf http://127.0.0.1:10000/health/ready", timeout=60)


      def everything() -> dict[str, Any]:
          """All that the team has, as the operator sees it."""
          return {
              f"{kind} of {user}": misaki_json(machine, *words, user=user)
              for user in (HANAKO, KENJI)
              for kind, words in {
                  "tasks": ["task", "list", "--all"],
                  "handoffs": ["handoff", "list", "--all"],
                  "notes": ["note", "list"],
                  "sessions": ["session", "list"],
              }.items()
          }


      def check_order() -> None:
          """Each unit began after the one before it had ended."""
          setup = usec("postgresql-setup.service", "ExecMainExitTimestampMonotonic")
          began = usec("nakamura-misaki-init-db.service", "ExecMainStartTimestampMonotonic")
          ended = usec("nakamura-misaki-init-db.service", "ExecMainExitTimestampMonotonic")
          api = usec(API, "ExecMainStartTimestampMonotonic")
          assert 0 < setup <= began < ended <= api, (setup, began, ended, api)
          proved(
              f"init-db began {(began - setup) / 1000:.0f} ms after postgresql-setup had ended,"
              f" the service {(api - ended) / 1000:.0f} ms after init-db"
          )


      machine.start()
      wait_until_ready()

      with subtest("the schema is there, and each unit waited for the one before"):
          revision = sql(machine, "SELECT version_num FROM alembic_version")
          assert revision == NEWEST, revision
          assert misaki_json(machine, "init-db", "--check") == {"current": True, "pending": []}
          checks = misaki_json(machine, "doctor")
          assert all(check["ok"] for check in checks), checks
          server, extension = checks[0]["detail"], checks[1]["detail"]
          assert server.startswith("PostgreSQL 16.") and "UTF8" in server, server
          proved(f"{server}, {extension}, schema {NEWEST}, {len(checks)} checks of doctor are well")
          check_order()

      with subtest("the operator works by the command line"):
          task = misaki_json(
              machine, "task", "add", "見積もりを送る", "--due", "2027-01-15 15:00", "--description", CONTENT
          )
          assert task["due_at"] == "2027-01-15T15:00:00+09:00" and task["description"] == CONTENT
          gone = misaki_json(machine, "task", "add", "消すもの")
          handoff = misaki_json(
              machine, "handoff", "add", "半分まで終わった", "--to", KENJI, "--at", "2027-01-16 09:00",
              "--task", task["id"], "--next", "残りは認証まわり",
          )
          lost = misaki_json(
              machine, "handoff", "add", "道連れ", "--to", KENJI, "--at", "2027-01-17 09:00", "--task", gone["id"]
          )
          note = misaki_json(machine, "note", "add", CONTENT, "--category", "decisions", "--session", "sess_asakai")
          assert note["content"] == CONTENT

          assert misaki_json(machine, "task", "start", task["id"])["status"] == "in_progress"
          assert misaki_json(machine, "task", "done", task["id"])["status"] == "completed"
          assert misaki_json(machine, "task", "show", task["id"])["completed_at"] is not None
          assert misaki_json(machine, "handoff", "done", handoff["id"])["completed_at"] is not None
          assert misaki_json(machine, "task", "list") == [gone]
          misaki(machine, "task", "delete", gone["id"])
          misaki_fails(machine, "task", "show", gone["id"], code=3)
          misaki_fails(machine, "handoff", "show", lost["id"], code=3)
          shown = misaki_json(machine, "note", "show", note["id"])
          assert shown["content"] == CONTENT and shown["session_id"] == "sess_asakai"
          found = misaki_json(machine, "note", "search", "髙橋さんの見積もりはいくらまで？")
          assert found["notes"][0]["id"] == note["id"] and found["legs"] == ["vector", "words"], found
          proved(f"made, read, changed, deleted by the command line; {len(CONTENT)} characters unchanged")

      with subtest("programs work over HTTP, with a token"):
          token = misaki(machine, "token", "create", "日報", "--quiet").strip()
          assert http(machine, "/v1/tasks", query={"user_id": HANAKO})[0] == 401
          status, made = http(
              machine, "/v1/tasks", token=token, body={"title": "週報", "creator_user_id": KENJI}
          )
          assert status == 201, made
          path = f"/v1/tasks/{made['id']}"
          changed = {"title": "週報（第3週）", "status": "in_progress", "due_at": "2027-02-01T09:00:00+09:00"}
          status, patched = http(machine, path, token=token, body=changed, method="PATCH")
          assert (status, patched["title"], patched["status"]) == (200, "週報（第3週）", "in_progress"), patched
          assert misaki_json(machine, "task", "show", made["id"])["due_at"] == changed["due_at"]
          status, other = http(machine, "/v1/tasks", token=token, body={"title": "不要", "creator_user_id": KENJI})
          assert http(machine, f"/v1/tasks/{other['id']}", token=token, method="DELETE")[0] == 204
          assert http(machine, f"/v1/tasks/{other['id']}", token=token)[0] == 404

          for name in ("sess_asakai", "sess_furui"):
              status, session = http(
                  machine, "/v1/sessions", token=token, body={"id": name, "user_id": HANAKO, "title": "朝会"}
              )
              assert status == 201, session
          status, old = http(
              machine, "/v1/notes", token=token,
              body={"user_id": HANAKO, "content": "古い会話の学び", "session_id": "sess_furui"},
          )
          assert status == 201, old
          status, page = http(machine, "/v1/notes", token=token, query={"user_id": HANAKO})
          assert [each["content"] for each in page["items"]] == ["古い会話の学び", CONTENT], page
          status, answer = http(machine, "/v1/notes/search", token=token, query={"q": "四半期", "limit": 1})
          assert answer["results"][0]["content"] == CONTENT, answer
          proved("tasks, sessions, notes made, read, changed, deleted and found over HTTP")

      with subtest("the timer's job deletes a session that nobody has continued, and keeps its notes"):
          sql(machine, "UPDATE sessions SET last_active_at = now() - interval '40 days' WHERE id = 'sess_furui'")
          machine.succeed("systemctl start nakamura-misaki-prune.service")
          assert [each["id"] for each in misaki_json(machine, "session", "list")] == ["sess_asakai"]
          assert misaki_json(machine, "note", "show", old["id"])["content"] == "古い会話の学び"
          assert "Deleted 1 session" in journal(machine, "nakamura-misaki-prune")
          proved("prune deleted 1 of 2 sessions; the deleted one's note is still there")

      with subtest("the service's user works by itself, and may no more than it must"):
          status, output = as_user("nakamura-misaki", "note", "add", "直に書いた", "--user", KENJI, "--json")
          assert status == 0 and json.loads(output)["content"] == "直に書いた", output
          status, output = as_user("nakamura-misaki", "task", "list", "--user", KENJI)
          assert status == 0 and "週報（第3週）" in output, output
          status, output = as_role("nakamura-misaki", "nakamura_misaki_owner", "SELECT 1")
          assert status != 0 and "Peer authentication failed" in output, output
          status, output = as_role("nakamura-misaki", "postgres", "SELECT 1")
          assert status != 0 and "Peer authentication failed" in output, output
          for statement in (
              "CREATE TABLE public.stolen (i int)",
              "DROP TABLE notes",
              "ALTER TABLE notes DISABLE ROW LEVEL SECURITY",
              "SET ROLE nakamura_misaki_owner",
          ):
              status, output = as_role("nakamura-misaki", "nakamura_misaki", statement)
              assert status != 0 and ("permission denied" in output or "must be owner" in output), output
          assert as_role("nakamura-misaki", "nakamura_misaki", "SELECT count(*) FROM notes") == (0, "0\n")
          status, output = as_role("nakamura-misaki-owner", "nakamura_misaki_owner", "SELECT 1")
          assert (status, output) == (0, "1\n"), output
          proved("the service's user is not let in as owner or superuser, and can't change the schema")

      with subtest("nobody else on the host gets in"):
          for role in ("nakamura_misaki", "nakamura_misaki_owner", "postgres"):
              status, output = as_role("stranger", role, "SELECT 1")
              assert status != 0 and "Peer authentication failed" in output, output
          status, output = as_user("stranger", "note", "list", "--user", HANAKO)
          assert status == 5 and "refuses" in output and CONTENT[:5] not in output, output
          status, output = machine.execute("runuser -u stranger -- nakamura-misaki note list 2>&1")
          assert status == 5 and "only root may" in output, output
          machine.succeed("runuser -u stranger -- nakamura-misaki note --help | grep -q 'Write a note down'")
          machine.fail("runuser -u stranger -- ls /var/lib/nakamura-misaki")
          proved("another user of the host is refused by PostgreSQL and by the operator's command")

      with subtest("a reboot keeps everything"):
          before = everything()
          assert [len(before[f"{kind} of {HANAKO}"]) for kind in ("tasks", "notes", "sessions")] == [1, 2, 1]
          assert [len(before[f"{kind} of {KENJI}"]) for kind in ("tasks", "handoffs", "notes")] == [1, 1, 1]
          machine.shutdown()
          machine.start()
          wait_until_ready()
          assert everything() == before
          assert f"already at revision {NEWEST}" in journal(machine, "nakamura-misaki-init-db")
          status, page = http(machine, "/v1/notes", token=token, query={"user_id": HANAKO})
          assert page["items"][1]["content"] == CONTENT, page
          check_order()
          nothing_failed(machine)
          proved("after a reboot every entry and the token are as they were")

      with subtest("a power cut keeps what was answered"):
          last = misaki_json(machine, "note", "add", "停電の直前に書いた")
          before = everything()
          machine.crash()
          machine.start()
          wait_until_ready()
          assert everything() == before
          assert misaki_json(machine, "note", "show", last["id"])["content"] == "停電の直前に書いた"
          check_order()
          proved("after a power cut every entry is as it was, the last one, too")

      with subtest("PostgreSQL is restarted below the service"):
          pid, starts = main_pid(), restarts()
          probe = (
              "while sleep 0.1; do curl -s -o /dev/null -w '%{http_code}\\n' --max-time 5"
              f" -H 'Authorization: Bearer {token}' 'http://127.0.0.1:10000/v1/tasks?user_id={HANAKO}'; done"
          )
          machine.succeed(
              'systemd-run --unit=probe --property=StandardOutput=append:/run/probe --setenv=PATH="$PATH"'
              f' "$(type -P bash)" -c {shlex.quote(probe)}'
          )
          machine.wait_until_succeeds("grep -q 200 /run/probe", timeout=30)
          machine.succeed("systemctl restart postgresql.service")
          machine.sleep(2)
          machine.succeed("systemctl stop postgresql.service")
          machine.wait_until_succeeds("grep -q 503 /run/probe", timeout=30)
          status, answer = http(machine, "/health/ready")
          assert (status, answer["reason"]) == (503, "database"), answer
          assert http(machine, "/health/live")[0] == 200
          machine.succeed("systemctl start postgresql.target")
          machine.wait_until_succeeds("test \"$(tail -n 5 /run/probe | sort -u)\" = 200", timeout=30)
          answers = Counter(machine.succeed("cat /run/probe").split())
          assert set(answers) == {"200", "503"}, answers
          machine.succeed("systemctl stop probe.service")
          assert (main_pid(), restarts()) == (pid, starts)
          for unit in ("nakamura-misaki-init-db.service", "postgresql-setup.service"):
              assert properties(machine, unit, "ActiveState")["ActiveState"] == "active"
          assert everything() == before
          proved(f"the same process went on through PostgreSQL's restarts: {dict(answers)}")

      with subtest("a service that dies is started again"):
          machine.succeed(f"systemctl kill --kill-whom=main --signal=KILL {API}")
          retry(lambda _: restarts() == starts + 1 and main_pid() not in ("0", pid), 60)
          wait_until_ready()
          assert everything() == before
          proved("after kill -9 it runs again, as another process")

      with subtest("a service that hangs is started again"):
          assert properties(machine, API, "WatchdogUSec")["WatchdogUSec"] == "20s"
          machine.succeed(f"systemctl kill --kill-whom=main --signal=STOP {API}")
          retry(lambda _: restarts() == starts + 2, 120)
          wait_until_ready()
          assert "Watchdog timeout" in journal(machine, API)
          assert http(machine, "/v1/tasks", token=token, query={"user_id": HANAKO})[0] == 200
          proved("a process that stood still was killed by the watchdog and runs again")

      with subtest("all is well at the end"):
          proved(f"{well_confined(machine)} units have an exposure level of 1.5 or less")
          assert "Traceback" not in journal(machine, "nakamura-misaki-*")
          nothing_failed(machine)
    '';
}
