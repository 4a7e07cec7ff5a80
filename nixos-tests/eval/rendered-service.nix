# The options of the service itself, and where each shows. One row an option.
{ lib, pkgs }:
let
  inherit (import ./rows.nix { inherit lib; })
    row
    environment
    api
    credential
    secretFile
    users
    groups
    ;

  otherPackage = pkgs.writeShellScriptBin "nakamura-misaki" "exit 2";
  otherClient = pkgs.postgresql_18;
in
[
  {
    option = "enable";
    on = "minimal";
    alone = true;
    value = false;
    shows = host: {
      units = lib.length (lib.attrNames host.services) + lib.length (lib.attrNames host.timers) > 0;
      users =
        host.config.users.users ? nakamura-misaki || host.config.users.users ? nakamura-misaki-owner;
      commands = lib.attrNames host.commands != [ ];
      postgresql = host.postgresql.enable;
      asserts = host.asserted != [ ];
    };
    expected =
      map
        (there: {
          units = there;
          users = there;
          commands = there;
          postgresql = there;
          asserts = there;
        })
        [
          true
          false
        ];
  }
  {
    option = "package";
    on = "minimal";
    value = otherPackage;
    shows =
      host:
      lib.all (commands: lib.hasPrefix "${otherPackage}/bin/" (lib.last commands)) (
        lib.attrValues host.runs
      );
    expected = [
      false
      true
    ];
  }
  {
    option = "user";
    on = "minimal";
    value = "misaki";
    shows = host: {
      units = users host;
      map = lib.hasInfix "nakamura-misaki misaki nakamura_misaki\n" host.postgresql.identMap;
      declared = host.config.users.users ? nakamura-misaki;
    };
    expected = [
      {
        units = [
          "nakamura-misaki"
          "nakamura-misaki-owner"
        ];
        map = false;
        declared = true;
      }
      {
        units = [
          "misaki"
          "nakamura-misaki-owner"
        ];
        map = true;
        declared = false;
      }
    ];
  }
  {
    option = "group";
    on = "minimal";
    value = "team";
    shows = host: {
      units = groups host;
      owner = host.config.users.users.nakamura-misaki-owner.group;
      declared = host.config.users.groups ? nakamura-misaki;
    };
    expected = [
      {
        units = [ "nakamura-misaki" ];
        owner = "nakamura-misaki";
        declared = true;
      }
      {
        units = [ "team" ];
        owner = "team";
        declared = false;
      }
    ];
  }
  (row "timeZone" "minimal" "Europe/Berlin" (api "TIME_ZONE") "Asia/Tokyo" "Europe/Berlin")
  (row "workspaceId" "minimal" "T01ABC123" (api "WORKSPACE_ID") "default" "T01ABC123")
  {
    option = "settings";
    on = "minimal";
    value = {
      LOG_LEVEL = "debug";
      EMBEDDING_MAX_INPUT_TOKENS = 512;
    };
    shows =
      host:
      map (name: api name host) [
        "LOG_LEVEL"
        "EMBEDDING_MAX_INPUT_TOKENS"
      ];
    expected = [
      [
        null
        null
      ]
      [
        "debug"
        "512"
      ]
    ];
  }
  {
    option = "environmentFiles";
    on = "minimal";
    value = [ "/etc/misaki.env" ];
    shows = host: {
      units = lib.unique (map (unit: unit.serviceConfig.EnvironmentFile) (lib.attrValues host.services));
      command = lib.hasInfix "--property=EnvironmentFile=/etc/misaki.env" host.commands.nakamura-misaki;
    };
    expected = [
      {
        units = [ [ ] ];
        command = false;
      }
      {
        units = [ [ "/etc/misaki.env" ] ];
        command = true;
      }
    ];
  }

  {
    option = "database.createLocally";
    on = "minimal";
    alone = true;
    value = false;
    shows = host: {
      server = host.postgresql.enable;
      url = api "DATABASE_URL" host != null;
    };
    expected = [
      {
        server = true;
        url = true;
      }
      {
        server = false;
        url = false;
      }
    ];
  }
  (row "database.package" "minimal" pkgs.postgresql_17 (
    host: lib.versions.major host.postgresql.package.version
  ) "16" "17")
  (secretFile "database.urlFile" "external-with-everything" "api" "database-url")
  (secretFile "database.ownerUrlFile" "external-with-everything" "init-db" "database-owner-url")
  (secretFile "database.adminUrlFile" "external-with-everything" "backup" "database-admin-url")
  (row "database.clientPackage" "external-with-everything" otherClient (
    host: environment "backup" "POSTGRESQL_PROGRAMS" host == "${otherClient}/bin"
  ) false true)
  (row "database.poolSize" "minimal" 7 (api "POOL_SIZE") "10" "7")
  (row "database.maxOverflow" "minimal" 0 (api "MAX_OVERFLOW") "20" "0")
  (row "database.tuning.enable" "minimal" true (
    host: host.postgresql.settings.shared_buffers or null
  ) null "512MB")
  (row "database.tuning.memory" "everything" 4096 (
    host: host.postgresql.settings.shared_buffers
  ) "512MB" "1024MB")

  (row "embedding.provider" "openai-by-key" "hashing" (api "EMBEDDING_PROVIDER") "openai" "hashing")
  (row "embedding.model" "openai-by-key" "text-embedding-3-large" (api "EMBEDDING_MODEL") null
    "text-embedding-3-large"
  )
  (row "embedding.dimensions" "openai-by-key" 512 (api "EMBEDDING_DIMENSIONS") null "512")
  {
    option = "embedding.baseUrl";
    on = "minimal";
    alone = true;
    value = "http://localhost:11434/v1";
    shows = host: [
      (api "OPENAI_BASE_URL" host)
      (api "EMBEDDING_PROVIDER" host)
    ];
    expected = [
      [
        null
        "hashing"
      ]
      [
        "http://localhost:11434/v1"
        "openai"
      ]
    ];
  }
  {
    option = "embedding.apiKeyFile";
    on = "minimal";
    alone = true;
    value = "/run/other-secrets/openai-api-key";
    shows = host: {
      files = map (unit: credential unit "openai-api-key" host) [
        "api"
        "embed-pending"
        "prune"
      ];
      provider = api "EMBEDDING_PROVIDER" host;
    };
    expected = [
      {
        files = [
          null
          null
          null
        ];
        provider = "hashing";
      }
      {
        files = [
          "/run/other-secrets/openai-api-key"
          "/run/other-secrets/openai-api-key"
          null
        ];
        provider = "openai";
      }
    ];
  }

  {
    option = "slack.enable";
    on = "slack-socket";
    alone = true;
    value = false;
    shows = host: {
      mode = api "SLACK_MODE" host;
      credentials = host.credentials.api;
      reminders = host.services ? remind;
    };
    expected = [
      {
        mode = "socket";
        credentials = [
          "slack-app-token"
          "slack-bot-token"
        ];
        reminders = true;
      }
      {
        mode = "off";
        credentials = [ ];
        reminders = false;
      }
    ];
  }
  (row "slack.mode" "slack-socket" "events" (api "SLACK_MODE") "socket" "events")
  (secretFile "slack.botTokenFile" "slack-socket" "remind" "slack-bot-token")
  (secretFile "slack.appTokenFile" "slack-socket" "api" "slack-app-token")
  (secretFile "slack.signingSecretFile" "slack-events" "api" "slack-signing-secret")

  (row "api.host" "minimal" "192.0.2.1" (api "API_HOST") "127.0.0.1" "192.0.2.1")
  (row "api.port" "minimal" 8080 (api "API_PORT") "10000" "8080")
  # The port that the row above sets.
  (row "api.openFirewall" "minimal" true (host: host.config.networking.firewall.allowedTCPPorts)
    [ ]
    [ 8080 ]
  )
  (secretFile "api.tokensFile" "everything" "api" "api-tokens")
]
