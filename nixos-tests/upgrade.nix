# A database as the first release left it, brought up to date by a deploy; and one of a later release,
# met after a rollback.
{
  newestRevision,
  prelude,
  ...
}:
{
  name = "nakamura-misaki-upgrade";

  nodes.machine.services.nakamura-misaki.enable = true;

  testScript =
    prelude
    # python
    + ''
      API, INIT = "nakamura-misaki-api.service", "nakamura-misaki-init-db.service"
      NEWEST = "${newestRevision}"
      DUMP = "${./fixtures/revision-0003.sql.gz}"
      TEAM = ["U0HANAKO01", "U0KENJI001", "U0YUKI0001"]
      TABLES = ["embedding_models", "handoffs", "note_embeddings", "notes", "sessions", "tasks"]


      def wait_until_ready() -> None:
          machine.wait_for_unit("multi-user.target")
          machine.wait_for_unit(API)
          machine.wait_until_succeeds("curl -sf http://127.0.0.1:10000/health/ready", timeout=60)


      def revision() -> str:
          return sql(machine, "SELECT version_num FROM alembic_version")


      def restore_first_release() -> None:
          """Put the old database in the place of the present one, below a stopped service."""
          machine.succeed(f"systemctl stop {API} 'nakamura-misaki-*.timer'")
          sql(machine, "DROP DATABASE nakamura_misaki WITH (FORCE)", "postgres")
          machine.succeed("systemctl restart postgresql-setup.service")
          machine.succeed(
              f"zcat {DUMP} | runuser -u postgres -- psql --no-psqlrc --quiet -v ON_ERROR_STOP=1"
              " --output=/dev/null nakamura_misaki"
          )
          assert revision() == "0003"


      def columns(table: str) -> str:
          """Those that were written, not computed."""
          return sql(
              machine,
              "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute"
              f" WHERE attrelid = '{table}'::regclass AND attnum > 0 AND NOT attisdropped"
              " AND attgenerated = '''",
          )


      def content(table: str, of_columns: str) -> str:
          """How many rows there are, and a digest of all that is in these columns."""
          return sql(
              machine,
              "SELECT count(*) || ' ' || md5(string_agg(line, chr(10) ORDER BY line))"
              f" FROM (SELECT (ROW({of_columns}))::text COLLATE \"C\" AS line FROM {table}) AS lines",
          )


      def everything(of_columns: dict[str, str]) -> dict[str, str]:
          return {table: content(table, of_columns[table]) for table in TABLES}


      def unit(name: str) -> dict[str, str]:
          return properties(machine, name, "ActiveState", "ExecMainStatus", "NRestarts")


      machine.start()
      wait_until_ready()
      assert revision() == NEWEST

      with subtest("the service refuses the first release's schema, and is not started again and again"):
          restore_first_release()
          old_columns = {table: columns(table) for table in TABLES}
          before = everything(old_columns)
          rows = {table: int(text.split()[0]) for table, text in before.items()}
          assert rows == {
              "embedding_models": 2,
              "handoffs": 40,
              "note_embeddings": 60,
              "notes": 60,
              "sessions": 35,
              "tasks": 45,
          }, rows
          # init-db has run at the boot, so that starting the service does not run it again.
          machine.fail(f"systemctl start {API}")
          machine.sleep(10)
          assert unit(API) == {"ActiveState": "failed", "ExecMainStatus": "7", "NRestarts": "0"}, unit(API)
          said = journal(machine, API)
          sentence = (
              f"Error: The database's schema is at revision 0003, this release needs {NEWEST};"
              " run: nakamura-misaki init-db"
          )
          assert said.count(sentence) == 1, said
          assert "0004" in misaki_fails(machine, "init-db", "--check", code=1)
          proved("on schema 0003 the service ended once, with 7 and: " + sentence)

      with subtest("a deploy brings the schema up to date and keeps every row"):
          machine.succeed(f"systemctl restart {INIT}", f"systemctl start {API}")
          wait_until_ready()
          assert revision() == NEWEST
          assert f"The schema is now at revision {NEWEST}." in journal(machine, INIT)
          after = everything(old_columns)
          assert after == before, (before, after)
          proved(f"schema 0003 → {NEWEST} with every value as it was: {rows}")

      with subtest("all of it is there for the team"):
          checks = misaki_json(machine, "doctor")
          assert all(check["ok"] for check in checks), checks
          details = {check["name"]: check["detail"] for check in checks}
          assert details["embeddings"] == "hashing-v1@1024; none pending", details
          # Rows of the other workspace stay out of sight.
          seen = {
              "notes": [misaki_json(machine, "note", "list", user=user) for user in TEAM],
              "tasks": [misaki_json(machine, "task", "list", "--all", user=user) for user in TEAM],
              "handoffs": [misaki_json(machine, "handoff", "list", "--all", user=user) for user in TEAM],
              "sessions": [misaki_json(machine, "session", "list", user=user) for user in TEAM],
          }
          numbers = {kind: sum(map(len, lists)) for kind, lists in seen.items()}
          assert numbers["notes"] == 48 and numbers["sessions"] == 28, numbers
          assert numbers["handoffs"] == 32 and numbers["tasks"] >= 36, numbers
          texts = {note["content"] for notes in seen["notes"] for note in notes}
          expected = "踏み台サーバーでタイムアウトした\n原因: 接続数の上限"
          assert expected in texts and "料金表の件、来週までに返事をする 📮" in texts, texts
          token = misaki(machine, "token", "create", "test", "--quiet").strip()

          def search(question: str) -> Any:
              status, answer = http(
                  machine, "/v1/notes/search", token=token, query={"q": question, "limit": 1}
              )
              assert status == 200, answer
              return answer

          answer = search("踏み台サーバーでタイムアウトした原因は？")
          assert answer["legs"] == ["vector", "words"] and answer["skipped"] == {}, answer
          assert answer["results"][0]["content"] == expected, answer
          assert answer["results"][0]["legs"] == ["vector", "words"], answer
          # Spelled differently, so that the old notes' vectors have a say.
          answer = search("わすれるとこまる")
          best = answer["results"][0]
          assert "vector" in best["legs"] and "を忘れると翌月に困る" in best["content"], answer
          proved(f"doctor is content; {numbers} are listed; old notes are found by words and by vector")

      with subtest("the upgraded database takes new entries"):
          note = misaki_json(machine, "note", "add", "更新のあとに書いた", "--category", "decisions")
          found = misaki_json(machine, "note", "search", "更新のあとに書いたのは？")
          assert found["notes"][0]["id"] == note["id"], found
          assert found["notes"][0]["legs"] == ["vector", "words"], found
          proved("a new note is saved with its vector and found")

      with subtest("a boot brings it up to date, too"):
          restore_first_release()
          machine.shutdown()
          machine.start()
          wait_until_ready()
          assert revision() == NEWEST
          assert everything(old_columns) == before
          nothing_failed(machine)
          proved("the first boot with the old database in place migrated it before the service started")

      with subtest("after a rollback the release before works on the later one's schema, and leaves it"):
          sql(machine, "UPDATE alembic_version SET version_num = '9999'")
          sentence = (
              "The database is at schema revision 9999, which this release does not know: it was made"
              " by a newer one. Use that release."
          )
          for way in ("restart", "boot"):
              if way == "boot":
                  machine.shutdown()
                  machine.start()
              else:
                  machine.succeed(f"systemctl restart {INIT}", f"systemctl start {API}")
              wait_until_ready()
              # It ended with 7 and was not tried again, which counts as done.
              assert unit(INIT) == {"ActiveState": "active", "ExecMainStatus": "7", "NRestarts": "0"}, unit(INIT)
              assert journal(machine, INIT).count(sentence) == 1, journal(machine, INIT)
              assert revision() == "9999"
              note = misaki_json(machine, "note", "add", f"戻したあとの{way}", user=TEAM[1])
              assert misaki_json(machine, "note", "show", note["id"])["content"] == f"戻したあとの{way}"
              sql(machine, f"DELETE FROM notes WHERE id = '{note['id']}'")
              assert everything(old_columns) == before
              nothing_failed(machine)
          misaki_fails(machine, "init-db", code=7)
          proved("init-db ends with 7 and changes nothing, the service runs; the journal says: " + sentence)

      with subtest("a schema that can't be brought up to date keeps the service from starting"):
          restore_first_release()
          # In the way of revision 0005; 0004 has nothing to stop it.
          sql(machine, "CREATE TABLE spare_embeddings (in_the_way int)")
          machine.fail(f"systemctl restart {INIT}")
          machine.fail(f"systemctl start {API}")
          machine.sleep(12)
          ended = unit(INIT)
          assert (ended["ActiveState"], ended["NRestarts"]) == ("failed", "0"), ended
          assert unit(API)["ActiveState"] == "inactive", unit(API)
          assert revision() == "0003" and everything(old_columns) == before
          assert sql(machine, "SELECT to_regclass('api_tokens') IS NULL") == "t"
          assert "DuplicateTableError" in journal(machine, INIT), journal(machine, INIT)
          proved(f"init-db ended once, with {ended['ExecMainStatus']}; the database is as it was, the service did not start")
          sql(machine, "DROP TABLE spare_embeddings")
          machine.succeed(f"systemctl start {API}")
          wait_until_ready()
          assert revision() == NEWEST and everything(old_columns) == before
          nothing_failed(machine)
          proved("with the obstacle gone, starting the service ran init-db first, and all is well")
    '';
}
