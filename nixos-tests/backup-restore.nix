# Backups by the timer's unit, the proof that they restore, a lost database brought back by the
# operator's command, and what happens when a backup can't be made or is damaged.
{ prelude, ... }:
let
  location = "/var/lib/nakamura-misaki-backup";
in
{
  name = "nakamura-misaki-backup-restore";

  nodes.machine = {
    services.nakamura-misaki = {
      enable = true;
      backup = {
        enable = true;
        keep = 2;
        verify.enable = true;
      };
    };
    users.users.stranger.isNormalUser = true;
  };

  testScript =
    prelude
    # python
    + ''
      import re

      API = "nakamura-misaki-api.service"
      BACKUP, VERIFY = "nakamura-misaki-backup.service", "nakamura-misaki-verify-backup.service"
      LOCATION = "${location}"
      HANAKO = "U0HANAKO01"
      NOTES = (
          "決定: 税は四半期ごとに締める",
          "DB移行の決定事項: 10月末にPostgreSQL 16へ移す",
          "The release train leaves every Friday",
      )


      def run_backup() -> bool:
          """Run the timer's unit, more often than systemd lets a unit start in ten seconds."""
          machine.execute(f"systemctl reset-failed {BACKUP} 2>&1")
          return machine.execute(f"systemctl start {BACKUP} 2>&1")[0] == 0


      def back_up() -> str:
          """The dump that the timer's unit made."""
          assert run_backup(), journal(machine, BACKUP)
          return dumps()[-1]


      def dumps() -> list[str]:
          return machine.succeed(f"find {LOCATION} -name '*.dump' | sort").split()


      def sums() -> str:
          return machine.succeed(f"sha256sum {LOCATION}/*.dump {LOCATION}/*.json")


      def metric(name: str) -> float:
          text = machine.succeed("curl -sf http://127.0.0.1:10000/metrics")
          (line,) = [line for line in text.splitlines() if line.startswith(f"nakamura_misaki_backup_{name} ")]
          return float(line.rsplit(" ", 1)[1])


      def notes() -> set[str]:
          return set(sql(machine, "SELECT content FROM notes").splitlines())


      def databases() -> list[str]:
          return sql(machine, "SELECT datname FROM pg_database WHERE NOT datistemplate ORDER BY 1", database="postgres").split()


      def counts(database: str = "nakamura_misaki") -> dict[str, int]:
          """The rows of every table, as a superuser counts them."""
          tables = sql(machine, "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1", database).split()
          return {table: int(sql(machine, f"SELECT count(*) FROM {table}", database)) for table in tables}


      def drop_kept() -> None:
          """Drop the databases of before."""
          for name in databases():
              if name.startswith("nakamura_misaki_before_"):
                  sql(machine, f"DROP DATABASE {name}", database="postgres")

      def restore(file: str) -> tuple[int, str]:
          status, output = machine.execute(f"nakamura-misaki-restore {file} --yes 2>&1")
          print(output)
          return status, output


      def is_well() -> None:
          """The service answers, its timers wait, and nothing is wrong."""
          machine.wait_until_succeeds("curl -sf http://127.0.0.1:10000/health/ready", timeout=60)
          for job in ("backup", "verify-backup", "prune", "maintain", "embed-pending"):
              machine.require_unit_state(f"nakamura-misaki-{job}.timer")
          checked = misaki(machine, "doctor")
          assert "WRONG" not in checked, checked
          nothing_failed(machine)


      machine.start()
      machine.wait_for_unit("multi-user.target")
      machine.wait_for_unit(API)
      is_well()

      for content in NOTES:
          misaki(machine, "note", "add", content, user=HANAKO)
      task = misaki_json(machine, "task", "add", "見積もりを送る", user=HANAKO)
      misaki(machine, "handoff", "add", "半分できた", "--to", "U0KENJI001", "--at", "2030-01-16 09:00", "--task", task["id"], user=HANAKO)
      token = misaki(machine, "token", "create", "ci", "--quiet").strip()
      saved = counts()

      with subtest("a backup by the timer's unit"):
          assert metric("last_success_timestamp_seconds") == 0
          first = back_up()
          shown = machine.succeed(f"stat -c '%a %U:%G %n' {LOCATION} {first} {first.removesuffix('dump')}json")
          print(shown)
          assert [line.split()[:2] for line in shown.splitlines()] == [["700", "postgres:postgres"], *[["600", "postgres:postgres"]] * 2], shown
          machine.fail(f"runuser -u stranger -- ls {LOCATION}", f"runuser -u nakamura-misaki -- ls {LOCATION}")
          manifest = json.loads(machine.succeed(f"cat {first.removesuffix('dump')}json"))
          assert manifest["sha256"] == machine.succeed(f"sha256sum {first}").split()[0]
          assert {table: manifest["rows"][table] for table in saved} == saved, (manifest["rows"], saved)
          size = int(machine.succeed(f"stat -c %s {first}"))
          assert metric("size_bytes") == manifest["size_bytes"] == size
          assert metric("last_success_timestamp_seconds") > metric("last_failure_timestamp_seconds") == 0
          timers = machine.succeed("systemctl list-timers --no-legend nakamura-misaki-backup.timer nakamura-misaki-verify-backup.timer")
          assert len(timers.splitlines()) == 2, timers
          proved(f"{first}: {size} bytes, {sum(saved.values())} rows in {len(saved)} tables as its manifest says; modes 700 and 600, closed to others and to the service; told in /metrics")

      with subtest("the proof that it restores"):
          machine.succeed(f"systemctl start {VERIFY}")
          found = [line for line in journal(machine, VERIFY).splitlines() if "is found again" in line]
          assert len(found) == 1 and "its vector" in found[0] and "its words" in found[0], found
          assert metric("verified_timestamp_seconds") > 0 and metric("verification_failed") == 0
          assert databases() == ["nakamura_misaki", "postgres"], databases()
          proved(f"{found[0]} The scratch database is gone")

      with subtest("a lost database is brought back"):
          later = "決定: あとから書いたメモ"
          misaki(machine, "note", "add", later, user=HANAKO)
          assert notes() == {*NOTES, later}
          machine.succeed(f"systemctl stop {API} 'nakamura-misaki-*.timer'")
          sql(machine, "DROP DATABASE nakamura_misaki", database="postgres")
          assert databases() == ["postgres"]
          machine.fail("nakamura-misaki doctor")
          status, output = restore(first)
          assert status == 0, output
          is_well()
          assert counts() == saved, (counts(), saved)
          assert notes() == set(NOTES)
          for question, content in (("税の締めはいつ？", NOTES[0]), ("DB移行の決定事項は？", NOTES[1]), ("release train", NOTES[2])):
              answer = misaki_json(machine, "note", "search", question, user=HANAKO)
              best = answer["notes"][0]
              assert best["content"] == content and set(best["legs"]) == {"vector", "words"}, answer
          assert http(machine, f"/v1/tasks/{task['id']}", token=token)[1]["title"] == "見積もりを送る"
          created, _ = http(machine, "/v1/notes", token=token, body={"content": "復元のあと", "user_id": HANAKO})
          assert created == 201
          owner = sql(machine, "SELECT pg_get_userbyid(datdba), datcollate FROM pg_database WHERE datname = 'nakamura_misaki'")
          assert owner == "nakamura_misaki_owner|C.UTF-8", owner
          machine.fail("runuser -u stranger -- psql -h /run/postgresql -U nakamura_misaki nakamura_misaki -c 'SELECT 1'")
          proved(f"after DROP DATABASE nakamura-misaki-restore brought back all {sum(saved.values())} rows of the dump; questions are answered by words and vectors, the token of before is let in, writing goes on, the timers wait again")

      with subtest("the present database is kept under another name"):
          status, output = restore(first)
          assert status == 0, output
          (kept,) = [name for name in databases() if name.startswith("nakamura_misaki_before_")]
          assert f"DROP DATABASE {kept};" in output, output
          assert notes() == set(NOTES)
          assert "復元のあと" in sql(machine, "SELECT content FROM notes", database=kept)
          is_well()
          # The way back of docs/operations.md.
          machine.succeed(f"systemctl stop {API} 'nakamura-misaki-*.timer'")
          sql(machine, "ALTER DATABASE nakamura_misaki RENAME TO nakamura_misaki_restored", database="postgres")
          sql(machine, f"ALTER DATABASE {kept} RENAME TO nakamura_misaki", database="postgres")
          machine.succeed(f"systemctl reset-failed {API}; systemctl start {API} timers.target")
          is_well()
          assert notes() == {*NOTES, "復元のあと"}
          sql(machine, "DROP DATABASE nakamura_misaki_restored", database="postgres")
          proved(f"kept as {kept} with what was written since, and exchanged back by two renames")

      with subtest("a service that has crashed too often is started again, too"):
          for _ in range(6):
              machine.execute(f"systemctl restart {API} 2>&1")
          assert properties(machine, API, "Result")["Result"] == "start-limit-hit"
          status, output = restore(first)
          assert status == 0, output
          is_well()
          (kept,) = [name for name in databases() if name.startswith("nakamura_misaki_before_")]
          sql(machine, f"DROP DATABASE {kept}", database="postgres")
          proved("restored after start-limit-hit, and the service runs")

      with subtest("a service that does not start is no success"):
          broken = "/run/systemd/system/nakamura-misaki-api.service.d"
          machine.succeed(
              f"mkdir -p {broken}",
              f"printf '[Service]\\nRestart=no\\nExecStartPre=/run/current-system/sw/bin/false\\n' > {broken}/broken.conf",
              "systemctl daemon-reload",
          )
          status, output = restore(first)
          assert status == 1 and "The service did not start" in output, (status, output)
          machine.succeed(f"rm -r {broken}", f"systemctl daemon-reload; systemctl reset-failed {API}; systemctl start {API}")
          is_well()
          drop_kept()
          proved("restored, but the service did not start: exit code 1 and where to look")

      with subtest("Ctrl-C at any moment leaves the service running, and no restore behind it"):
          for seconds in (0.3, 0.7, 1.2, 2.0, 3.0):
              machine.execute(f"timeout --signal=INT {seconds} nakamura-misaki-restore {first} --yes")
              machine.fail("systemctl list-units --no-legend 'run-nakamura-misaki-*' | grep .")
              machine.require_unit_state(API)
              machine.require_unit_state("nakamura-misaki-backup.timer")
              assert http(machine, "/health/ready")[0] == 200
          drop_kept()
          proved("interrupted after 0.3 to 3 s the service and its timers run each time")

      with subtest("two are kept"):
          made = [back_up() for _ in range(3)]
          assert len(set(made)) == 3
          assert dumps() == made[1:], (dumps(), made)
          manifests = machine.succeed(f"ls {LOCATION} | grep -c json").strip()
          assert manifests == "2", machine.succeed(f"ls -la {LOCATION}")
          proved(f"of four backups the newest two and their manifests are left: {', '.join(path.rsplit('/', 1)[1] for path in made[1:])}")

      with subtest("a damaged dump is found, and not restored"):
          newest = dumps()[-1]
          machine.succeed(f"cp -a {newest} /root/undamaged")
          middle = int(machine.succeed(f"stat -c %s {newest}")) // 2
          machine.succeed(f"printf '\\xff\\x00\\xff\\x00' | dd of={newest} bs=1 seek={middle} conv=notrunc status=none")
          machine.fail(f"systemctl start {VERIFY}")
          assert VERIFY in machine.succeed("systemctl --failed --no-legend --plain")
          (said,) = [line for line in journal(machine, VERIFY).splitlines() if "damaged" in line]
          assert metric("verification_failed") == 1
          before = counts()
          status, output = restore(newest)
          assert status == 1 and "is damaged" in output, (status, output)
          machine.wait_until_succeeds("curl -sf http://127.0.0.1:10000/health/ready", timeout=60)
          assert counts() == before and databases() == ["nakamura_misaki", "postgres"], (counts(), databases())
          machine.succeed(f"mv /root/undamaged {newest}")
          machine.succeed(f"systemctl start {VERIFY}")
          assert metric("verification_failed") == 0
          is_well()
          proved(f"verify-backup failed ({said}), failed unit and verification_failed 1; restore refused it, the database untouched and the service up again; with the right bytes both are well")

      with subtest("a full disk"):
          before_files, success = sums(), metric("last_success_timestamp_seconds")
          # The same backups on a disk with room for a tenth of another one.
          used = int(machine.succeed(f"du -sk {LOCATION}").split()[0])
          machine.succeed(
              f"mkdir /root/aside && cp -a {LOCATION}/. /root/aside",
              f"mount -t tmpfs -o size={used + 8}k,mode=0700,uid=$(id -u postgres),gid=$(id -g postgres) tmpfs {LOCATION}",
              f"cp -a /root/aside/. {LOCATION}",
          )
          assert not run_backup()
          reason = [line for line in journal(machine, BACKUP).splitlines() if "No space left" in line]
          assert reason, journal(machine, BACKUP)
          assert sums() == before_files
          hidden = machine.succeed(f"find {LOCATION} -name '*partial*'")
          assert hidden == "", hidden
          assert metric("last_failure_timestamp_seconds") > metric("last_success_timestamp_seconds") == success
          machine.succeed(f"umount {LOCATION}")
          proved(f"failed unit ({reason[-1]}), the two backups of before are as they were, no half one is left, the failure is in /metrics")

      with subtest("the database is away"):
          machine.succeed("systemctl stop postgresql.service")
          assert not run_backup()
          code = properties(machine, BACKUP, "ExecMainStatus")["ExecMainStatus"]
          assert code == "6", code
          assert properties(machine, "postgresql.service", "ActiveState")["ActiveState"] == "inactive"
          assert sums() == before_files
          machine.succeed("systemctl start postgresql.target")
          machine.wait_until_succeeds("curl -sf http://127.0.0.1:10000/health/ready", timeout=60)
          newest = back_up()
          assert metric("last_success_timestamp_seconds") > metric("last_failure_timestamp_seconds")
          assert dumps()[-1] == newest and len(dumps()) == 2
          machine.succeed(f"systemctl start {VERIFY}")
          is_well()
          proved("exit code 6, PostgreSQL stays stopped, the backups of before untouched; with the database back the next one succeeds and is verified")

      with subtest("what the command says to mistakes"):
          for arguments, wanted, words in (
              ("", 2, "Usage: nakamura-misaki-restore FILE"),
              (f"{LOCATION}/nakamura-misaki-19990101T000000Z.dump", 2, "There is no file"),
          ):
              status, output = machine.execute(f"nakamura-misaki-restore {arguments} 2>&1")
              assert status == wanted and words in output, (arguments, status, output)
          machine.succeed(f"cp {newest} /root/closed.dump && chmod 0600 /root/closed.dump")
          status, output = machine.execute("nakamura-misaki-restore /root/closed.dump --yes 2>&1")
          assert status == 2 and re.search("postgres, who restores, can't read", output), output
          status, output = machine.execute(f"runuser -u stranger -- nakamura-misaki-restore {newest} 2>&1")
          assert status == 5 and "sudo" in output, output
          run = properties(machine, API, "InvocationID")
          assert run["InvocationID"] and properties(machine, API, "ActiveState")["ActiveState"] == "active"
          proved("no file, a file that postgres can't read, nobody but root: one sentence each, and the service runs on")
    '';
}
