# Notes found by what they mean, with vectors of an embedding server that comes and goes.
{ prelude, testServer, ... }:
let
  port = 8090;
  key = "sk-test-9c1f0a7be2d84c55";
  keyFile = "/var/lib/test-keys/openai-api-key";
in
{
  name = "nakamura-misaki-vector-search";

  nodes.machine = {
    imports = [
      (testServer {
        name = "openai-server";
        script = "openai_server.py";
        arguments = [
          "--port"
          (toString port)
          "--key"
          key
          # For this server both words of a pair mean the same.
          "--synonym"
          "バカンス=有給"
          "--synonym"
          "パソコン=PC"
        ];
      })
    ];

    # The file holds what an administrator would have put there, and can be rewritten.
    systemd.tmpfiles.settings."10-test-keys" = {
      ${dirOf keyFile}.d.mode = "0700";
      ${keyFile}.f = {
        mode = "0400";
        argument = key;
      };
    };

    services.nakamura-misaki = {
      enable = true;
      embedding = {
        baseUrl = "http://127.0.0.1:${toString port}/v1";
        apiKeyFile = keyFile;
      };
      embeddings.interval = "20s";
    };
  };

  testScript =
    prelude
    # python
    + ''
      import time

      API = "nakamura-misaki-api.service"
      EMBED = "nakamura-misaki-embed-pending"
      KEY, KEY_FILE = "${key}", "${keyFile}"
      WRONG_KEY = "sk-test-wrong-77e1d0c3b5a94f26"
      HANAKO = "U0HANAKO01"
      LEAVE = "有給は前の週までに総務へ届ける"
      NOTES = [
          LEAVE,
          "決定: PostgreSQL 16を採用する",
          "月曜の朝会は九時半に始まる",
          "請求書の締め日は二十五日",
      ]
      # It shares no word with the note, only what is meant.
      QUESTION = "バカンスを取得したい"


      def wait_until_ready() -> None:
          machine.wait_for_unit("multi-user.target")
          machine.wait_for_unit(API)
          machine.wait_until_succeeds("curl -sf http://127.0.0.1:10000/health/ready", timeout=60)


      def wait_for_server() -> None:
          machine.wait_until_succeeds("curl -sf http://127.0.0.1:${toString port}/health", timeout=60)


      def search(question: str) -> Any:
          status, answer = http(
              machine, "/v1/notes/search", token=token, query={"q": question, "limit": 3}
          )
          assert status == 200, answer
          return answer


      def add(content: str) -> str:
          body = {"user_id": HANAKO, "content": content}
          status, note = http(machine, "/v1/notes", token=token, body=body)
          assert status == 201, note
          return str(note["id"])


      def without_vector() -> int:
          return int(
              sql(
                  machine,
                  "SELECT count(*) FROM notes n WHERE NOT EXISTS (SELECT FROM note_embeddings e"
                  " WHERE (e.workspace_id, e.note_id) = (n.workspace_id, n.id))",
              )
          )


      def found_by_vector(question: str, content: str) -> None:
          answer = search(question)
          assert answer["legs"] == ["vector", "words"] and answer["skipped"] == {}, answer
          best = answer["results"][0]
          assert (best["content"], best["legs"]) == (content, ["vector"]), answer


      def answers_by_words(question: str, content: str) -> float:
          began = time.monotonic()
          answer = search(question)
          seconds = time.monotonic() - began
          assert answer["legs"] == ["words"], answer
          assert answer["skipped"] == {"vector": "embedding_failed"}, answer
          assert [each["content"] for each in answer["results"]] == [content], answer
          assert seconds < 5, f"{seconds:.1f} s"
          return seconds


      def write_key(key: str) -> None:
          machine.succeed(f"printf %s {key} > {KEY_FILE}")


      machine.start()
      wait_until_ready()
      wait_for_server()
      token = misaki(machine, "token", "create", "test", "--quiet").strip()

      with subtest("a note is found by what it means"):
          for content in NOTES[:-1]:
              add(content)
          misaki(machine, "note", "add", NOTES[-1])
          models = sql(machine, "SELECT model, count(*) FROM note_embeddings GROUP BY model")
          assert models == "text-embedding-3-small@1536|4", models
          found_by_vector(QUESTION, LEAVE)
          found = misaki_json(machine, "note", "search", QUESTION)
          assert found["notes"][0]["content"] == LEAVE, found
          assert found["notes"][0]["legs"] == ["vector"], found
          proved(f"{QUESTION!r} finds {LEAVE!r}, by vector alone, by HTTP and by the command line")

      with subtest("the embedding server hangs"):
          machine.succeed("systemctl kill --signal=STOP openai-server.service")
          seconds = answers_by_words("請求書の締め日は？", NOTES[3])
          machine.succeed("systemctl kill --signal=CONT openai-server.service")
          wait_for_server()
          proved(f"a server that does not answer costs a search {seconds:.1f} s, and words answer")

      with subtest("the embedding server is away"):
          machine.succeed("systemctl stop openai-server.service")
          seconds = answers_by_words("請求書の締め日は？", NOTES[3])
          began = time.monotonic()
          printed = misaki_json(machine, "note", "search", "請求書の締め日は？")
          assert printed["skipped"] == {"vector": "embedding_failed"}, printed
          assert "請求書" in printed["notes"][0]["content"], printed
          by_hand = time.monotonic() - began
          assert by_hand < 15, by_hand
          proved(f"words answer after {seconds:.2f} s, by the command line after {by_hand:.1f} s")

          new = "新しいPCは情報システム部で受け取る"
          began = time.monotonic()
          add(new)
          proved(f"a new note is saved after {time.monotonic() - began:.1f} s")
          assert without_vector() == 1
          assert "1 pending" in next(
              check["detail"] for check in misaki_json(machine, "doctor") if check["name"] == "embeddings"
          )
          answers_by_words("情報システム部はどこ？", new)
          machine.fail(f"systemctl start {EMBED}.service")
          ended = properties(machine, f"{EMBED}.service", "ExecMainStatus", "ActiveState")
          assert ended == {"ExecMainStatus": "8", "ActiveState": "failed"}, ended
          said = journal(machine, EMBED)
          assert "the embedding server at 127.0.0.1 can't be reached" in said, said
          assert without_vector() == 1
          proved("it is found by words, waits for its vector, and the job that can't make one fails (8)")

      with subtest("the embedding server is back"):
          machine.succeed("systemctl start openai-server.service")
          wait_for_server()
          machine.succeed(f"systemctl start {EMBED}.service")
          assert without_vector() == 0
          # After several failures the service leaves it alone for a while.
          retry(lambda _: not search(QUESTION)["skipped"], 90)
          found_by_vector("パソコンを貸してほしい", new)
          proved("the job gave the note its vector, and the question finds it by what it means")

      with subtest("the timer does it by itself"):
          timer = properties(machine, f"{EMBED}.timer", "ActiveState", "UnitFileState", "LastTriggerUSec")
          assert timer["ActiveState"] == "active" and timer["UnitFileState"] == "enabled", timer
          machine.succeed("systemctl stop openai-server.service")
          last = "年末調整の書類は十二月に配る"
          add(last)
          assert without_vector() == 1
          machine.succeed("systemctl start openai-server.service")
          wait_for_server()
          began = time.monotonic()
          retry(lambda _: without_vector() == 0, 120)
          proved(f"the timer's run gave a note its vector {time.monotonic() - began:.0f} s after the server came back")
          retry(lambda _: properties(machine, f"{EMBED}.timer", "SubState")["SubState"] == "waiting", 60)
          armed = properties(machine, f"{EMBED}.timer", "NextElapseUSecMonotonic", "LastTriggerUSec")
          assert armed["LastTriggerUSec"] and armed["NextElapseUSecMonotonic"] != "infinity", armed
          proved(f"the timer is armed: it last ran at {armed['LastTriggerUSec']}")

      with subtest("a wrong key is told of, and not shown"):
          write_key(WRONG_KEY)
          machine.succeed(f"systemctl restart {API}")
          wait_until_ready()
          answers_by_words("請求書の締め日は？", NOTES[3])
          add("鍵が違っても書ける")
          assert without_vector() == 1
          machine.fail(f"systemctl start {EMBED}.service")
          said = journal(machine, "nakamura-misaki-*")
          sentences = {line for line in said.splitlines() if "embedding server" in line and "key" in line}
          assert sentences, said[-3000:]
          for sentence in sorted(sentences):
              print(sentence)
          shown = machine.succeed("systemctl show 'nakamura-misaki-*'", "ps axeww -o args")
          for secret in (KEY, WRONG_KEY):
              for part in (secret, secret.removeprefix("sk-test-")):
                  assert part not in said
          assert WRONG_KEY not in shown
          proved("the journal names the refused key's server, in words, without the key")
          write_key(KEY)
          machine.succeed(f"systemctl restart {API}", f"systemctl start {EMBED}.service")
          wait_until_ready()
          assert without_vector() == 0
          found_by_vector(QUESTION, LEAVE)
          proved("with the right key again all notes have their vectors")

      with subtest("all is well at the end"):
          proved(f"{well_confined(machine)} units have an exposure level of 1.5 or less")
          assert "Traceback" not in journal(machine, "nakamura-misaki-*")
          nothing_failed(machine)
    '';
}
