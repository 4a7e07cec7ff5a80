# The secrets on a host with sops-nix, really decrypted: who can read them, where they are not, and
# what a deploy with rotated ones restarts.
{
  config,
  lib,
  prelude,
  sops,
  ...
}:
{
  name = "nakamura-misaki-secrets";

  nodes.machine = {
    imports = [ (import ./sops-test-key.nix { inherit sops; }) ];

    services.nakamura-misaki = {
      enable = true;
      sops = {
        enable = true;
        file = ../secrets/nakamura-misaki.yaml;
        keys = [
          "openai-api-key"
          "api-tokens"
        ];
      };
      slack.enable = true;
      # Nobody answers there: what the service says about a request that failed must hold no secret either.
      embedding.baseUrl = "http://127.0.0.1:9/v1";
      settings = {
        SLACK_API_URL = "http://127.0.0.1:9/api";
        LOG_LEVEL = "debug";
      };
    };

    users.users.stranger.isNormalUser = true;

    # What the search for leaks has to find in the store.
    environment.etc.canary.text = "canary-of-the-leak-test";

    system.switch.enable = true;
    specialisation.rotated.configuration = {
      services.nakamura-misaki.sops.file = lib.mkForce ./keys/rotated.yaml;
    };
  };

  testScript =
    { nodes, ... }:
    let
      closure = config.hostPkgs.runCommand "closure-of-the-machine" {
        exportReferencesGraph = [
          "graph"
          nodes.machine.system.build.toplevel
        ];
      } "grep ^/nix/store graph | sort -u > $out";
    in
    prelude
    # python
    + ''
      import re

      API = "nakamura-misaki-api.service"
      CANARY = "canary-of-the-leak-test"
      TOKEN, ROTATED = (f"test-token-{n}-that-opens-no-door-anywhere" for n in ("0000", "rotated"))
      HANAKOS = "test-token-0001-that-opens-no-door-anywhere"
      SECRETS = {"api-tokens", "openai-api-key", "slack-app-token", "slack-bot-token"}


      def status(token: str | None, user: str | None = "U0HANAKO01") -> int:
          return http(machine, "/v1/tasks", token=token, query={"user_id": user} if user else None)[0]


      def wait_until_ready() -> None:
          machine.wait_for_unit(API)
          machine.wait_until_succeeds("curl -sf http://127.0.0.1:10000/health/live", timeout=60)


      def invocations() -> dict[str, str]:
          """Which run of each unit this is: another after a restart."""
          units = (API, "nakamura-misaki-init-db.service", "postgresql.service", "nakamura-misaki-remind.timer")
          return {unit: properties(machine, unit, "InvocationID")["InvocationID"] for unit in units}


      def changed(before: dict[str, str]) -> set[str]:
          return {unit for unit, run in invocations().items() if run != before[unit]}


      def found(where: str) -> set[str]:
          """The secrets, and the canary, that a command prints or that are in the files after `grep`."""
          pattern = "grep -raohFf /run/leak-patterns"
          if where.startswith("files "):
              command = f"{pattern} {where.removeprefix('files ')}"
          else:
              command = f"{where} | {pattern} -"
          return set(machine.succeed(f"{{ {command} || true; }} 2>/dev/null").split())


      machine.start()
      wait_until_ready()

      with subtest("what is turned on is decrypted, and nothing else"):
          listed = machine.succeed("ls /run/secrets/nakamura-misaki").split()
          assert set(listed) == SECRETS, listed
          secrets = {name: machine.succeed(f"cat /run/secrets/nakamura-misaki/{name}") for name in SECRETS}
          assert secrets["slack-bot-token"] == "xoxb-test-bot-token-of-no-workspace", secrets
          assert secrets["slack-app-token"] == "xapp-test-app-token-of-no-workspace", secrets
          assert secrets["openai-api-key"] == "sk-test-0000-key-of-no-account", secrets
          assert f"ci {TOKEN}\n" in secrets["api-tokens"], secrets
          proved(f"sops-install-secrets decrypted {', '.join(sorted(SECRETS))}")

      with subtest("the service runs with them as credentials"):
          for name, value in secrets.items():
              assert machine.succeed(f"cat /run/credentials/{API}/{name}") == value, name
          # The second one acts as a user, and so may not name another.
          let_in = [status(TOKEN), status(HANAKOS, None), status(HANAKOS)]
          assert let_in == [200, 200, 404], let_in
          refused = [status(TOKEN[:-1]), status(None)]
          assert refused == [401, 401], refused
          proved("both tokens of the secret api-tokens are let in, another (401) and none (401) are not")
          created, task = http(machine, "/v1/tasks", token=TOKEN, body={"title": "鍵を替える", "assignee_user_id": "U0HANAKO01", "creator_user_id": "U0HANAKO01"})
          assert created == 201, (created, task)
          # systemctl show does not tell them.
          given = {
              job: re.findall(r"^LoadCredential=([^:]+):", machine.succeed(f"systemctl cat nakamura-misaki-{job}"), re.MULTILINE)
              for job in ("remind", "embed-pending", "init-db", "maintain", "prune")
          }
          assert given == {"remind": ["slack-bot-token"], "embed-pending": ["openai-api-key"], "init-db": [], "maintain": [], "prune": []}, given
          proved(f"each job has the secrets it needs: {given}")

      with subtest("no secret can be seen from outside"):
          # Requests that fail, to Slack and to the embedding server, and jobs.
          http(machine, "/v1/notes", token=TOKEN, body={"content": "決定: 鍵は毎年替える", "user_id": "U0HANAKO01"})
          http(machine, "/v1/notes/search", token=TOKEN, query={"q": "鍵", "user_id": "U0HANAKO01"})
          machine.execute("systemctl start nakamura-misaki-remind nakamura-misaki-prune nakamura-misaki-embed-pending")
          misaki(machine, "doctor")
          words = sorted({word for value in secrets.values() for word in value.split() if len(word) >= 20})
          assert len(words) == 5, words
          machine.succeed(f"printf '%s\n' {' '.join([*words, CANARY])} > /run/leak-patterns")
          machine.copy_from_host("${closure}", "/run/closure")
          # The search itself is tested: it finds what it has to, once in each place.
          machine.succeed(f"systemd-run --unit=canary --setenv=CANARY={CANARY} sh -c 'echo \"$CANARY\"; sleep 600 {CANARY} || sleep 600'")
          machine.succeed(f"echo {CANARY} > /var/lib/canary")
          assert found("cat /run/secrets/nakamura-misaki/*") == set(words)

          places = {
              "systemctl show of every unit": "systemctl show --all '*'",
              "every process's environment": "cat /proc/[0-9]*/environ",
              "every process's arguments": "cat /proc/[0-9]*/cmdline",
              "the journal": "journalctl --no-pager --output=export",
              "files in /etc, /var, /home, /root and /tmp": "files /etc /var /home /root /tmp",
              "the store paths of the system": "xargs -a /run/closure grep -raohFf /run/leak-patterns",
          }
          for place, where in places.items():
              seen = found(where)
              assert seen == {CANARY}, f"{place}: {seen}"
          paths = int(machine.succeed("wc -l < /run/closure"))
          lines = int(machine.succeed("journalctl --no-pager | wc -l"))
          debug = machine.succeed(f"journalctl -u {API} --output=cat --no-pager")
          assert "slack" in debug.lower() and "embed" in debug.lower(), debug
          proved(f"none of {len(words)} secrets in {', '.join(places)} ({paths} paths, {lines} lines of journal); the canary was found in each")
          machine.succeed("systemctl stop canary.service")

      with subtest("only root and the unit itself can read the files"):
          directories = "/run/secrets /run/secrets.d /run/credentials"
          readable = f"find -L {directories} -type f -readable 2>/dev/null || true"
          everything = machine.succeed(readable).split()
          assert len([path for path in everything if path.startswith("/run/secrets/")]) == len(SECRETS), everything
          assert len([path for path in everything if path.startswith(f"/run/credentials/{API}/")]) == len(SECRETS), everything
          for user in ("stranger", "postgres", "nakamura-misaki-owner"):
              opened = machine.succeed(f"runuser -u {user} -- bash -c '{readable}'").split()
              assert opened == [], f"{user} can read {opened}"
              machine.fail(f"runuser -u {user} -- cat /run/secrets/nakamura-misaki/slack-bot-token")
              machine.fail(f"runuser -u {user} -- cat /run/credentials/{API}/slack-bot-token")
              machine.fail(f"runuser -u {user} -- cat /var/lib/sops-nix/key.txt")
          own = machine.succeed(f"runuser -u nakamura-misaki -- bash -c '{readable}'").split()
          assert all(path.startswith("/run/credentials/nakamura-misaki-") for path in own), own
          modes = set(machine.succeed("stat -c '%a %U %G' /run/secrets.d/*/nakamura-misaki/*").splitlines())
          assert modes == {"400 root root"}, modes
          # sops-nix's copy of the key.
          assert machine.succeed("stat -c '%a %U' /run/secrets.d/age-keys.txt") == "600 root\n"
          owner, mode = machine.succeed(f"stat -c '%U %a' /run/credentials/{API}").split()
          proved(f"{len(everything)} files are read by root; none of them by stranger, postgres or nakamura-misaki-owner; by the service's user {len(own)}, its own credentials; modes 400 root root, the credentials' directory {mode} {owner}")

      with subtest("a deploy with rotated secrets restarts the service and nothing else"):
          before = invocations()
          rotated = "/run/booted-system/specialisation/rotated"
          switchable = machine.execute(f"test -x {rotated}/bin/switch-to-configuration")[0] == 0
          if switchable:
              would = machine.succeed(f"{rotated}/bin/switch-to-configuration dry-activate 2>&1")
              (line,) = [line for line in would.splitlines() if line.startswith("would restart the following units:")]
              assert line.endswith(f": {API}"), would
              assert changed(before) == set() and status(TOKEN) == 200
              did = machine.succeed(f"{rotated}/bin/switch-to-configuration test 2>&1")
              (line,) = [line for line in did.splitlines() if line.startswith("restarting the following units:")]
              assert line.endswith(f": {API}"), did
              proved("switch-to-configuration said beforehand (dry-activate) and then did: restart " + API)
          else:
              print("switch-to-configuration is not there: what it does is done step by step")
              machine.succeed("mkdir -p /run/nixos && rm -f /run/nixos/activation-restart-list")
              machine.succeed(f"NIXOS_ACTION=test {rotated}/activate 2>&1")
              # One line for each secret that changed.
              listed = machine.succeed("cat /run/nixos/activation-restart-list").split()
              assert listed == [API, API], listed
              machine.succeed(f"rm /run/nixos/activation-restart-list && systemctl restart {API}")
              proved("the activation listed, for switch-to-configuration to restart: " + ", ".join(listed))
          wait_until_ready()
          assert changed(before) == {API}, changed(before)
          assert machine.succeed(f"cat /run/credentials/{API}/openai-api-key") == "sk-test-rotated-key-of-no-account"
          assert status(ROTATED) == 200 and status(TOKEN) == 401
          assert http(machine, f"/v1/tasks/{task['id']}", token=ROTATED)[1]["title"] == "鍵を替える"
          generations = machine.succeed("ls -d /run/secrets.d/[0-9]*").split()
          assert len(generations) == 1, generations
          proved("the rotated token is let in, the old one is not (401), the data is there, PostgreSQL, init-db and the timer ran on, the old generation is gone")

      with subtest("a deploy without a new secret restarts nothing"):
          before = invocations()
          if switchable:
              did = machine.succeed(f"{rotated}/bin/switch-to-configuration test 2>&1")
              assert "restarting the following units" not in did, did
          else:
              machine.succeed(f"NIXOS_ACTION=test {rotated}/activate 2>&1")
              machine.fail("test -e /run/nixos/activation-restart-list")
          assert changed(before) == set(), changed(before)
          proved("the same configuration once more: nothing restarted")

      with subtest("the rollback brings the old secrets back"):
          if switchable:
              machine.succeed("/run/booted-system/bin/switch-to-configuration test 2>&1")
          else:
              machine.succeed(f"NIXOS_ACTION=test /run/booted-system/activate 2>&1 && systemctl restart {API}")
          wait_until_ready()
          assert status(TOKEN) == 200 and status(ROTATED) == 401
          proved("after the rollback the old token is let in and the rotated one is not")

      with subtest("a secret that is missing fails the unit in clear words, and nothing else"):
          kept = machine.succeed("readlink -f /run/secrets").strip()
          machine.succeed(f"mv {kept}/nakamura-misaki/slack-bot-token /run/taken-away")
          before = invocations()
          machine.fail(f"systemctl restart {API}")
          assert properties(machine, API, "ExecMainStatus")["ExecMainStatus"] == "243", "not 243/CREDENTIALS"
          said = [line for line in journal(machine, API).splitlines() if "Failed to set up credentials" in line]
          assert said
          # The operator's command wants all secrets, and says which is missing.
          told = misaki_fails(machine, "doctor", code=5)
          assert "There is no file /run/secrets/nakamura-misaki/slack-bot-token" in told, told
          assert changed(before) <= {API}
          for unit in ("postgresql.service", "nakamura-misaki-init-db.service", "nakamura-misaki-prune.timer"):
              machine.require_unit_state(unit)
          machine.succeed("systemctl start nakamura-misaki-prune.service")
          assert sql(machine, "SELECT count(*) FROM tasks") == "1"
          proved(f"without its file: 243/CREDENTIALS, '{said[0]}'; the database, init-db and jobs without that secret go on")
          machine.succeed(f"mv /run/taken-away {kept}/nakamura-misaki/slack-bot-token")
          machine.wait_until_succeeds(f"systemctl is-active {API}", timeout=90)
          wait_until_ready()
          assert status(TOKEN) == 200
          proved("with the file back it starts by itself")
    '';
}
