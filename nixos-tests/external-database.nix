# The service with a PostgreSQL elsewhere: passwords over TCP, by sops-nix, with the roles that
# docs/operations.md has made by hand. The database comes up after the host that needs it.
{
  config,
  lib,
  prelude,
  sops,
  ...
}:
let
  # The SQL of docs/operations.md as it stands there, with passwords.
  roles =
    let
      blocks = map (block: lib.head (lib.splitString "```" block)) (
        lib.tail (lib.splitString "```sql" (builtins.readFile ../docs/operations.md))
      );
      documented = lib.findFirst (lib.hasInfix "CREATE ROLE nakamura_misaki_owner") (throw ''
        docs/operations.md no longer says how to make the roles of a database of one's own.
      '') blocks;
    in
    lib.replaceStrings
      [
        "ROLE nakamura_misaki_owner LOGIN PASSWORD '…'"
        "ROLE nakamura_misaki LOGIN PASSWORD '…'"
      ]
      [
        "ROLE nakamura_misaki_owner LOGIN PASSWORD 'test-password-of-the-owner'"
        "ROLE nakamura_misaki LOGIN PASSWORD 'test-password-of-the-service'"
      ]
      documented
    + "ALTER ROLE postgres PASSWORD 'test-password-of-the-admin';\n";

  db =
    { pkgs, ... }:
    {
      services.postgresql = {
        enable = true;
        package = pkgs.postgresql_16;
        extensions = extensions: [ extensions.pgvector ];
        enableTCPIP = true;
        initdbArgs = [
          "--encoding=UTF8"
          "--locale=C.UTF-8"
        ];
        settings.password_encryption = "scram-sha-256";
        authentication = ''
          host nakamura_misaki nakamura_misaki,nakamura_misaki_owner samenet scram-sha-256
          host all postgres samenet scram-sha-256
        '';
        initialScript = pkgs.writeText "roles.sql" roles;
      };
      networking.firewall.allowedTCPPorts = [ 5432 ];
    };

  app = {
    imports = [ (import ./sops-test-key.nix { inherit sops; }) ];

    services.nakamura-misaki = {
      enable = true;
      database.createLocally = false;
      sops = {
        enable = true;
        file = ../secrets/nakamura-misaki.yaml;
        keys = [ "api-tokens" ];
      };
      backup = {
        enable = true;
        verify.enable = true;
      };
    };
  };

  # Both on one machine, where the database does not start by itself.
  both = {
    imports = [
      app
      db
    ];
    networking.hosts."127.0.0.1" = [ "db" ];
    systemd.targets.postgresql.wantedBy = lib.mkForce [ ];
    systemd.services.postgresql.wantedBy = lib.mkForce [ ];
  };
in
{
  options.onOneMachine = lib.mkOption {
    type = lib.types.bool;
    default = false;
    description = "For where only one machine can be booted: database and service both on it.";
  };

  config = {
    name = "nakamura-misaki-external-database";

    nodes = if config.onOneMachine then { app = both; } else { inherit app db; };

    testScript =
      prelude
      + lib.optionalString config.onOneMachine "db = app\n"
      # python
      + ''
        API, INIT_DB = "nakamura-misaki-api.service", "nakamura-misaki-init-db.service"
        TOKEN = "test-token-0000-that-opens-no-door-anywhere"
        HANAKO = "U0HANAKO01"


        def start_database() -> None:
            if db is not app:
                db.start()
                db.wait_for_unit("multi-user.target")
            db.succeed("systemctl start postgresql.target")


        def clients() -> set[str]:
            """Who is connected, and how: role, and whether over TCP."""
            return set(sql(db, "SELECT DISTINCT usename || CASE WHEN client_addr IS NULL THEN ' by socket' ELSE ' by TCP' END FROM pg_stat_activity WHERE usename LIKE 'nakamura%'").splitlines())


        app.start()

        with subtest("the host comes up before its database, and waits"):
            app.wait_until_succeeds(f"[ $(systemctl show -P NRestarts {INIT_DB}) -ge 2 ]", timeout=120)
            waiting = properties(app, INIT_DB, "ActiveState", "NRestarts")
            assert waiting["ActiveState"] == "activating", waiting
            assert properties(app, API, "ActiveState")["ActiveState"] == "inactive"
            said = journal(app, INIT_DB)
            assert "can't be reached" in said and "test-password" not in said, said
            print([line for line in said.splitlines() if "reached" in line][0])
            nothing_failed(app)
            start_database()
            app.wait_for_unit(INIT_DB, timeout=120)
            app.wait_for_unit(API, timeout=120)
            app.wait_until_succeeds("curl -sf http://127.0.0.1:10000/health/ready", timeout=60)
            tries = properties(app, INIT_DB, "NRestarts")["NRestarts"]
            assert "schema brought from nothing" in journal(app, INIT_DB), journal(app, INIT_DB)
            proved(f"init-db failed {tries} times while there was no database, then made the schema; the service started after it, nothing had to be done by hand")

        with subtest("passwords over TCP, and what the roles may do"):
            if db is not app:
                app.fail("systemctl cat postgresql.service")
            hashes = sql(db, "SELECT rolname, left(rolpassword, 13) FROM pg_authid WHERE rolname LIKE 'nakamura%' ORDER BY 1").splitlines()
            assert hashes == ["nakamura_misaki|SCRAM-SHA-256", "nakamura_misaki_owner|SCRAM-SHA-256"], hashes
            assert clients() == {"nakamura_misaki by TCP"}, clients()
            owners = sql(db, "SELECT DISTINCT tableowner FROM pg_tables WHERE schemaname = 'public'")
            assert owners == "nakamura_misaki_owner", owners
            checked = misaki(app, "doctor")
            print(checked)
            assert "WRONG" not in checked and "nakamura_misaki, which may read and write rows only" in checked, checked
            proved("SCRAM passwords out of the sops file, the service over TCP as nakamura_misaki, the tables nakamura_misaki_owner's, doctor finds nothing wrong")

        with subtest("notes, tasks, and the jobs of the timers"):
            created, note = http(app, "/v1/notes", token=TOKEN, body={"content": "決定: 税は四半期ごとに締める", "user_id": HANAKO})
            assert created == 201, note
            misaki(app, "task", "add", "見積もりを送る")
            found = misaki_json(app, "note", "search", "税の締め")
            assert "税は四半期ごとに締める" in json.dumps(found, ensure_ascii=False), found
            for job in ("prune", "embed-pending", "maintain"):
                app.succeed(f"systemctl start nakamura-misaki-{job}.service")
            assert sql(db, "SELECT count(*) FROM notes JOIN note_embeddings ON note_embeddings.note_id = notes.id") == "1"
            proved("written over HTTP and by the command line, found again; prune, embed-pending and maintain ran")

        with subtest("a backup of it, and the proof that it restores"):
            app.succeed("systemctl start nakamura-misaki-backup.service")
            (dump,) = app.succeed("ls /var/lib/nakamura-misaki-backup/*.dump").split()
            owner = app.succeed(f"stat -c '%U %a' {dump}").strip()
            assert owner == "nakamura-misaki-owner 600", owner
            app.succeed("systemctl start nakamura-misaki-verify-backup.service")
            verified = journal(app, "nakamura-misaki-verify-backup.service")
            assert "is found again" in verified, verified
            left = sql(db, "SELECT datname FROM pg_database WHERE NOT datistemplate ORDER BY 1").split()
            assert left == ["nakamura_misaki", "postgres"], left
            proved(f"{dump} ({owner}) was made over TCP, restored there into a scratch database and compared; no database is left over")

        with subtest("an outage of the database"):
            run = properties(app, API, "InvocationID")
            db.succeed("systemctl stop postgresql.service")
            app.wait_until_fails("curl -sf http://127.0.0.1:10000/health/ready", timeout=30)
            assert http(app, "/health/live")[0] == 200
            answered, problem = http(app, f"/v1/notes/{note['id']}", token=TOKEN)
            assert answered == 503, (answered, problem)
            db.succeed("systemctl start postgresql.target")
            app.wait_until_succeeds("curl -sf http://127.0.0.1:10000/health/ready", timeout=60)
            assert http(app, f"/v1/notes/{note['id']}", token=TOKEN)[1]["content"] == note["content"]
            assert properties(app, API, "InvocationID") == run
            proved("503 while it was away, 200 when it was back, by the same process")

        with subtest("a password that is wrong is said at once, and not tried for ever"):
            # A job that needs the schema would start init-db once more.
            app.succeed("systemctl stop 'nakamura-misaki-*.timer'")
            sql(db, "ALTER ROLE nakamura_misaki_owner PASSWORD 'another'")
            before = int(properties(app, INIT_DB, "NRestarts")["NRestarts"])
            app.fail(f"systemctl restart {INIT_DB}")
            ended = properties(app, INIT_DB, "ActiveState", "ExecMainStatus", "NRestarts")
            assert ended["ActiveState"] == "failed" and int(ended["NRestarts"]) <= before, ended
            (last,) = app.succeed(f"journalctl -u {INIT_DB} --output=cat --no-pager | grep Error: | tail -1").splitlines()
            assert "password" in last and "another" not in last and "test-password" not in last, last
            sql(db, "ALTER ROLE nakamura_misaki_owner PASSWORD 'test-password-of-the-owner'")
            app.succeed(f"systemctl restart {INIT_DB}", f"systemctl start {API} timers.target")
            app.wait_until_succeeds("curl -sf http://127.0.0.1:10000/health/ready", timeout=60)
            proved(f"exit code {ended['ExecMainStatus']}, no second try: {last}")
        nothing_failed(app)
      '';
  };
}
