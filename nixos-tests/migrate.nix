# The JSON files of the old system, of another user and in a home directory, imported once.
{ prelude, ... }:
let
  source = "/home/yamada/nakamura-misaki/data";
in
{
  name = "nakamura-misaki-migrate";

  nodes.machine =
    { pkgs, ... }:
    let
      # Content, owner, mode, size and time of everything in a directory.
      describe = pkgs.writeShellApplication {
        name = "describe-files";
        runtimeInputs = [
          pkgs.coreutils
          pkgs.findutils
        ];
        text = ''
          cd "$1"
          find . -printf '%p %y %m %u %g %s %T@\n' | LC_ALL=C sort
          find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
        '';
      };
    in
    {
      environment.systemPackages = [ describe ];
      users.users.yamada.isNormalUser = true;

      # The old system's files, as it left them: nobody but its user may enter.
      systemd.services.old-system = {
        description = "The old system's files";
        wantedBy = [ "multi-user.target" ];
        before = [ "nakamura-misaki-init-db.service" ];
        unitConfig.ConditionPathExists = "!${source}";
        serviceConfig.Type = "oneshot";
        path = [ describe ];
        script = ''
          mkdir -p ${source}
          cp -r ${./fixtures/legacy}/. ${source}
          chown -R yamada:users /home/yamada/nakamura-misaki
          chmod -R u=rwX,go= /home/yamada/nakamura-misaki
          touch -d 2025-10-05T12:00:00+09:00 ${source}/notes/note_without_time.json
          describe-files ${source} > /root/before-import
        '';
      };

      services.nakamura-misaki = {
        enable = true;
        migration.legacyDataDir = source;
      };
    };

  testScript =
    prelude
    # python
    + ''
      API, MIGRATE = "nakamura-misaki-api.service", "nakamura-misaki-migrate.service"
      SOURCE = "${source}"
      HANAKO, KENJI = "U0HANAKO01", "U0KENJI001"


      def wait_until_ready() -> None:
          machine.wait_for_unit("multi-user.target")
          machine.wait_for_unit(API)
          machine.wait_until_succeeds("curl -sf http://127.0.0.1:10000/health/ready", timeout=60)


      def usec(unit: str, when: str) -> int:
          return int(properties(machine, unit, when)[when])


      def source_as_it_is() -> str:
          return str(machine.succeed(f"describe-files {SOURCE}"))


      def counts() -> dict[str, int]:
          return {
              table: int(sql(machine, f"SELECT count(*) FROM {table}"))
              for table in ("notes", "note_embeddings", "sessions")
          }


      machine.start()
      wait_until_ready()

      with subtest("everything was imported before the service started"):
          began = usec("nakamura-misaki-init-db.service", "ExecMainExitTimestampMonotonic")
          imported = usec(MIGRATE, "ExecMainStartTimestampMonotonic")
          ended = usec(MIGRATE, "ExecMainExitTimestampMonotonic")
          api = usec(API, "ExecMainStartTimestampMonotonic")
          assert 0 < began <= imported < ended <= api, (began, imported, ended, api)
          said = journal(machine, MIGRATE)
          for line in (
              "9 files read: 4 sessions, 11 notes",
              "14 new, 0 updated, 1 known before, 0 rejected",
              "Verified: the store holds every entry as the source does",
              "11 notes given a vector",
          ):
              assert line in said, said
          assert counts() == {"notes": 11, "note_embeddings": 11, "sessions": 3}, counts()
          proved(
              f"11 notes with vectors and 3 sessions of 9 files were in {(api - ended) / 1000:.0f} ms"
              " before the service started"
          )

      with subtest("the files are as they were"):
          files = source_as_it_is()
          assert files.count("note_without_time.json f 600 yamada users") == 1, files
          assert "./notes/decisions.json f 600 yamada users" in files, files
          assert files == machine.succeed("cat /root/before-import")
          machine.fail("ls /run/nakamura-misaki-import")
          proved("9 files have the content, owner, mode and time that they had; the unit's copy is gone")

      with subtest("times, names, texts and what has no column came through"):
          sessions = misaki_json(machine, "session", "list", user=HANAKO)
          assert [each["id"] for each in sessions] == [
              "3f0c0a52-5a7e-4a39-9a41-0d6f2f3b8f11",
              "sess_teirei",
          ], sessions
          # Local times of the old host; the newer of two files counts.
          assert sessions[0]["created_at"] == "2025-09-30T18:22:41.120394+09:00", sessions
          [review] = misaki_json(machine, "session", "list", user=KENJI)
          assert (review["message_count"], review["last_active_at"]) == (12, "2025-10-04T11:00:00+09:00")
          notes = misaki_json(machine, "note", "list", user=HANAKO)
          by_content = {note["content"]: note for note in notes}
          todo = by_content["「髙橋」さんに見積もり（①サーバー ②保守）を送る"]
          # Notes were stamped in UTC.
          assert (todo["category"], todo["created_at"]) == ("todos", "2025-10-01T09:30:00.120000+09:00"), todo
          assert by_content["時刻のないメモ"]["created_at"] == "2025-10-05T12:00:00+09:00", notes
          of_kenji = misaki_json(machine, "note", "list", user=KENJI)
          twice = [note for note in of_kenji if note["content"] == "決定: 定例は木曜の午後"]
          assert len(of_kenji) == 7 and len(twice) == 2, of_kenji
          [kept] = [note for note in of_kenji if note["session_id"] == "sess_review"]
          assert kept["id"] == "7b0c6a1e-3c52-4f0e-9a6d-2f1f0c9d5e11", kept
          assert kept["metadata"] == {"pull_request": 128, "legacy": {"mood": "反省"}}, kept
          found = misaki_json(machine, "note", "search", "採用したデータベースは？")
          assert found["notes"][0]["content"].startswith("決定: PostgreSQL 16を採用\n理由: "), found
          proved("two equal notes are two; local and UTC times, ids and unknown fields are kept")

      with subtest("importing by hand again changes nothing"):
          machine.succeed(
              f"cp -a {SOURCE} /var/tmp/data",
              "chown -R nakamura-misaki-owner /var/tmp/data",
          )
          report = misaki(machine, "migrate", "/var/tmp/data", "--verify")
          assert "0 new, 0 updated, 15 known before, 0 rejected" in report, report
          assert "Verified: the store holds every entry as the source does" in report, report
          assert counts() == {"notes": 11, "note_embeddings": 11, "sessions": 3}, counts()
          proved("by hand: 0 new, 15 known before")
          # The command does not read as root: a directory that its user may not enter is refused.
          refusal = misaki_fails(machine, "migrate", SOURCE, code=2)
          assert "nakamura-misaki-owner, who imports, can't read" in refusal, refusal

      with subtest("another boot imports nothing, and brings nothing deleted back"):
          deleted = "税率の端数は切り捨てで計算する"
          sql(machine, f"DELETE FROM notes WHERE content = '{deleted}'")
          assert counts() == {"notes": 10, "note_embeddings": 10, "sessions": 3}, counts()
          machine.shutdown()
          machine.start()
          wait_until_ready()
          unit = properties(machine, MIGRATE, "ConditionResult", "ExecMainStartTimestampMonotonic")
          assert unit == {"ConditionResult": "no", "ExecMainStartTimestampMonotonic": "0"}, unit
          assert counts() == {"notes": 10, "note_embeddings": 10, "sessions": 3}, counts()
          assert source_as_it_is() == files
          assert deleted not in misaki(machine, "note", "list", user=HANAKO)
          nothing_failed(machine)
          proved("the import did not run again; a note deleted meanwhile is gone")

      with subtest("what can't be read is named, and keeps nothing else out"):
          # As on a host where the import has not run yet, with a file that a crash cut off.
          machine.succeed(
              "rm /var/lib/nakamura-misaki-import/imported-*",
              f"cd {SOURCE}/notes; head -c 300 decisions.json > crash.json;"
              """ echo '[{"user_id": "U0HANAKO01", "content": "あとから足した"}]' > todos_new.json;"""
              " chown yamada *; chmod 600 *",
          )
          files = source_as_it_is()
          machine.shutdown()
          machine.start()
          wait_until_ready()
          unit = properties(machine, MIGRATE, "ActiveState", "ExecMainStatus", "NRestarts")
          assert unit == {"ActiveState": "failed", "ExecMainStatus": "1", "NRestarts": "0"}, unit
          said = journal(machine, MIGRATE)
          assert "11 files read" in said and "1 rejected" in said, said
          assert "notes/crash.json" in said and "not valid JSON" in said, said
          assert usec(MIGRATE, "ExecMainExitTimestampMonotonic") <= usec(API, "ExecMainStartTimestampMonotonic")
          # The one that was deleted comes back, because the mark of the first import is gone.
          assert counts() == {"notes": 12, "note_embeddings": 12, "sessions": 3}, counts()
          assert misaki_json(machine, "note", "search", "あとから足した")["notes"][0]["content"] == "あとから足した"
          assert source_as_it_is() == files
          proved("the unit failed and names notes/crash.json; all others are in, and the service runs")

      with subtest("such an import is not tried again and again"):
          machine.shutdown()
          machine.start()
          wait_until_ready()
          assert properties(machine, MIGRATE, "ConditionResult")["ConditionResult"] == "no"
          assert counts() == {"notes": 12, "note_embeddings": 12, "sessions": 3}, counts()
          nothing_failed(machine)
          proved(f"the next boot leaves it alone; {well_confined(machine)} units score 1.5 or less")
    '';
}
