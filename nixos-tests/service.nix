# The service as a team uses it: HTTP, Slack by Socket Mode, reminders by the timer, and Prometheus
# that watches it. Slack is a local server which takes the tokens of secrets/ and no others.
{
  prelude,
  sops,
  testServer,
  ...
}:
{
  name = "nakamura-misaki-service";

  nodes.machine =
    { config, ... }:
    {
      imports = [
        (import ./sops-test-key.nix { inherit sops; })
        (testServer {
          name = "slack";
          script = "slack_server.py";
          arguments = [
            "--port"
            "8090"
            # A line of standard input is a direct message of 佐藤's to the app.
            "--chat"
          ];
        })
      ];

      systemd.sockets.slack = {
        wantedBy = [ "sockets.target" ];
        socketConfig.ListenFIFO = "/run/slack/sato-says";
      };
      systemd.services.slack.serviceConfig = {
        StandardInput = "socket";
        StandardOutput = "journal";
      };

      services.nakamura-misaki = {
        enable = true;
        sops = {
          enable = true;
          file = ../secrets/nakamura-misaki.yaml;
          keys = [ "api-tokens" ];
        };
        slack.enable = true;
        settings.SLACK_API_URL = "http://127.0.0.1:8090/api";
        reminders.interval = "5s";
        backup = {
          enable = true;
          verify.enable = true;
        };
        monitoring = {
          enable = true;
          scrapeInterval = "1s";
        };
      };

      services.prometheus = {
        enable = true;
        globalConfig.evaluation_interval = "1s";
        exporters.node = {
          enable = true;
          enabledCollectors = [ "systemd" ];
        };
        scrapeConfigs = [
          {
            job_name = "node";
            scrape_interval = "1s";
            static_configs = [ { targets = [ "127.0.0.1:9100" ]; } ];
          }
        ];
      };

      environment.etc."expected-rules.json".source = config.services.nakamura-misaki.monitoring.rulesFile;
    };

  testScript =
    prelude
    # python
    + ''
      from collections.abc import Iterator

      API = "nakamura-misaki-api.service"
      REMIND = "nakamura-misaki-remind.service"
      TOKEN = "test-token-0000-that-opens-no-door-anywhere"
      BOT_TOKEN = "xoxb-test-bot-token-of-no-workspace"
      SATO, SUZUKI = "U0SATO0001", "U0SUZUKI01"


      def conversation(user: str) -> list[Any]:
          """What the app and somebody wrote to each other, oldest first, as Slack tells it."""
          address = f"http://127.0.0.1:8090/api/conversations.history?channel=D{user[1:]}"
          answer = json.loads(machine.succeed(f"curl -sf -H 'Authorization: Bearer {BOT_TOKEN}' '{address}'"))
          assert answer["ok"], answer
          return list(reversed(answer["messages"]))


      def texts(node: Any) -> Iterator[str]:
          """What a reader sees of a message's blocks."""
          if isinstance(node, dict):
              shown = node.get("text", node.get("user_id"))
              yield from [shown] if isinstance(shown, str) else []
          for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else []:
              yield from texts(child)


      def words(message: Any) -> str:
          return " ".join(texts(message.get("blocks") or message)).replace("\n", " ")


      def from_app(user: str) -> list[str]:
          return [words(message) for message in conversation(user) if "bot_id" in message]


      def ask(text: str) -> str:
          """The app's answer to 佐藤."""
          before = len(from_app(SATO))
          machine.succeed(f"echo {shlex.quote(text)} > /run/slack/sato-says")

          def answered(_: bool) -> bool:
              return len(from_app(SATO)) > before

          retry(answered, 30)
          answers = from_app(SATO)[before:]
          assert len(answers) == 1, answers
          print(f"sato> {text}\n      {answers[0]}")
          return answers[0]


      def metric(name: str) -> float:
          """The sum of a metric's samples."""
          text = machine.succeed("curl -sf http://127.0.0.1:10000/metrics")
          lines = [line for line in text.splitlines() if line.startswith((f"{name} ", f"{name}" "{"))]
          return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


      def prometheus(path: str, **parameters: str) -> Any:
          given = " ".join(f"--data-urlencode {shlex.quote(f'{key}={value}')}" for key, value in parameters.items())
          answer = json.loads(machine.succeed(f"curl -sfG {given} http://127.0.0.1:9090/api/v1/{path}"))
          assert answer["status"] == "success", answer
          return answer["data"]


      def value(query: str) -> float | None:
          result = prometheus("query", query=query)["result"]
          return float(result[0]["value"][1]) if result else None


      def alerts(state: str) -> set[str]:
          return {alert["labels"]["alertname"] for alert in prometheus("alerts")["alerts"] if alert["state"] == state}


      machine.start()
      machine.wait_for_unit("multi-user.target")
      machine.wait_for_unit(API)
      machine.wait_until_succeeds("curl -sf http://127.0.0.1:10000/health/ready", timeout=60)

      with subtest("notes and tasks over HTTP"):
          notes = {
              "決定: 税は四半期ごとに締める": "税の締め",
              "バックアップは毎晩02:30に取り、14本残す": "バックアップはいつ？",
              "The release train leaves every Friday": "release friday",
          }
          for content in notes:
              created, note = http(machine, "/v1/notes", token=TOKEN, body={"content": content, "user_id": SATO})
              assert created == 201, (created, note)
          for content, question in notes.items():
              answered, found = http(machine, "/v1/notes/search", token=TOKEN, query={"q": question, "user_id": SATO, "limit": 1})
              assert answered == 200 and found["results"][0]["content"] == content, (question, found)
          refused, problem = http(machine, "/v1/notes", body={"content": "x", "user_id": SATO})
          assert refused == 401, problem
          assert http(machine, "/v1/notes/search", token=TOKEN, query={"q": "税の締め", "user_id": SUZUKI})[1]["results"] == []
          proved(f"{len(notes)} notes written over HTTP and each found by its question, with the token of the secret; none without a token, none for somebody else")

      with subtest("the assistant in Slack, by Socket Mode"):
          noted = ask("メモ(決定): 全社会議は毎週火曜の10時")
          assert "メモしました" in noted and "全社会議は毎週火曜の10時" in noted, noted
          assert sql(machine, "SELECT user_id, category FROM notes WHERE content LIKE '全社会議%'").startswith(f"{SATO}|"), "not saved"
          answer = ask("全社会議はいつ？")
          assert "全社会議は 毎週火曜の10時" in answer, answer
          task = ask("タスク登録: 見積もりを送る 期限: 明日15時")
          assert "タスクを登録しました" in task and "見積もりを送る" in task, task
          assert sql(machine, "SELECT title, status FROM tasks") == "見積もりを送る|pending"
          proved("メモ, a question and a task in Japanese came in over a websocket, were kept in PostgreSQL and answered in Japanese")

      with subtest("a handoff that is due is told its receiver once"):
          given = ask(f"「見積もりは8割できた」を <@{SUZUKI}> に5分後に引き継ぎ")
          assert "引き継ぎを登録しました" in given, given
          machine.wait_until_succeeds("journalctl -u nakamura-misaki-remind --output=cat | grep -q 'Sent 1 reminder'", timeout=90)
          (reminder,) = from_app(SUZUKI)
          assert "見積もりは8割できた" in reminder and SATO in reminder, reminder
          print(f"to suzuki: {reminder}")
          sent = sql(machine, "SELECT count(*) FROM handoffs WHERE reminded_at IS NOT NULL")
          assert sent == "1", sent
          # Twice by hand, twice more by the timer, and once beside the unit at the same time.
          for _ in range(2):
              machine.succeed(f"systemctl start {REMIND}")
          misaki(machine, "remind")
          runs = int(machine.succeed(f"journalctl -u {REMIND} --output=cat | grep -c '^Finished'"))

          def ran_twice_more(_: bool) -> bool:
              return int(machine.succeed(f"journalctl -u {REMIND} --output=cat | grep -c '^Finished'")) >= runs + 2

          retry(ran_twice_more, 60)
          assert len(from_app(SUZUKI)) == 1, from_app(SUZUKI)
          proved(f"the timer sent one reminder for the handoff in five minutes, and no second one in {runs + 2} runs")

      with subtest("Slack goes away and comes back"):
          machine.succeed("systemctl restart slack.service")
          machine.wait_for_open_port(8090)
          answer = ask("全社会議はいつ？")
          assert "火曜の10時" in answer, answer
          machine.require_unit_state(API)
          assert properties(machine, API, "NRestarts")["NRestarts"] == "0"
          proved("after a restart of Slack the service connected anew by itself and answered")

      with subtest("Prometheus watches it"):
          machine.wait_for_unit("prometheus.service")
          machine.wait_until_succeeds("curl -sf http://127.0.0.1:9090/-/ready", timeout=60)
          retry(lambda _: value('up{job="nakamura-misaki"}') == 1, 60)
          retry(lambda _: value("nakamura_misaki_database_up") == 1, 30)
          events = metric("nakamura_misaki_slack_events_total")
          assert events >= 4, events
          retry(lambda _: value("sum(nakamura_misaki_slack_events_total)") == events, 30)
          proved(f'up{{job="nakamura-misaki"}} == 1, database_up == 1, {events:.0f} events of Slack\'s counted, here and there')

          groups = prometheus("rules")["groups"]
          loaded = {rule["name"] for group in groups for rule in group["rules"]}
          expected = json.loads(machine.succeed("cat /etc/expected-rules.json"))
          wanted = {rule.get("alert") or rule["record"] for group in expected["groups"] for rule in group["rules"]}
          assert loaded == wanted and len(wanted) > 5, (loaded, wanted)

          def evaluated(_: bool) -> bool:
              now = [rule for group in prometheus("rules")["groups"] for rule in group["rules"]]
              return all(rule["health"] == "ok" for rule in now)

          retry(evaluated, 60)
          assert alerts("firing") == set(), alerts("firing")
          proved(f"{len(loaded)} rules loaded, all evaluate, none fires: {', '.join(sorted(loaded))}")

          machine.succeed(f"systemctl stop {API}")
          retry(lambda _: value('up{job="nakamura-misaki"}') == 0, 30)
          retry(lambda _: bool(alerts("pending") | alerts("firing")), 30)
          raised = alerts("pending") | alerts("firing")
          machine.succeed(f"systemctl start {API}")
          retry(lambda _: value('up{job="nakamura-misaki"}') == 1, 30)
          retry(lambda _: not (raised & (alerts("pending") | alerts("firing"))), 60)
          proved(f"with the service stopped up == 0 and {', '.join(sorted(raised))} is raised; with it back that goes away")

      with subtest("an outage of the database is seen, and outlived"):
          run = properties(machine, API, "InvocationID")
          machine.succeed("systemctl stop postgresql.service")
          machine.fail("systemctl start nakamura-misaki-maintain.service")
          retry(lambda _: value("nakamura_misaki_database_up") == 0, 30)
          # (UnitFailed looks five minutes back.)
          retry(lambda _: {"NakamuraMisakiDatabaseDown", "NakamuraMisakiUnitFailed"} <= alerts("pending"), 60)
          # A timer may have run another one meanwhile.
          failed = {
              alert["labels"]["name"]
              for alert in prometheus("alerts")["alerts"]
              if alert["labels"]["alertname"] == "NakamuraMisakiUnitFailed"
          }
          assert "nakamura-misaki-maintain.service" in failed, failed
          # The jobs of the timers do not bring back what an operator has stopped.
          assert properties(machine, "postgresql.service", "ActiveState")["ActiveState"] == "inactive"
          unready, why = http(machine, "/health/ready")
          assert unready == 503 and "database" in json.dumps(why), why
          machine.succeed("systemctl start postgresql.target")
          machine.wait_until_succeeds("curl -sf http://127.0.0.1:10000/health/ready", timeout=60)
          machine.succeed("systemctl start nakamura-misaki-maintain.service")
          retry(lambda _: "NakamuraMisakiDatabaseDown" not in alerts("pending"), 30)
          assert properties(machine, API, "InvocationID") == run
          # The timers' next runs mend them.
          machine.succeed("systemctl start nakamura-misaki-embed-pending.service")
          machine.wait_until_fails(f"systemctl is-failed {REMIND}", timeout=60)
          assert "火曜の10時" in ask("全社会議はいつ？")
          proved("PostgreSQL stopped: database_up == 0, DatabaseDown and UnitFailed are raised, ready says 503; started: ready by itself, without a restart of the service")

      nothing_failed(machine)
    '';
}
