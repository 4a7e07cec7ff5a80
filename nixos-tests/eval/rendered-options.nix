# What rendering.nix sets, and where it shows. One row an option.
{
  lib,
  pkgs,
  sops,
}:
let
  otherPackage = pkgs.writeShellScriptBin "nakamura-misaki" "exit 2";
  otherClient = pkgs.postgresql_18;

  environment =
    unit: name: host:
    host.services.${unit}.environment.${name} or null;
  api = environment "api";
  timer =
    name: option: host:
    host.timers.${name}.timerConfig.${option};
  hasUnit = name: host: [
    (host.services ? ${name})
    (host.timers ? ${name})
  ];
  appears = [
    [
      false
      false
    ]
    [
      true
      true
    ]
  ];
  disappears = lib.reverseList appears;

  # Where a unit takes a credential from.
  credential =
    unit: name: host:
    let
      found = lib.filter (lib.hasPrefix "${name}:") host.services.${unit}.serviceConfig.LoadCredential;
    in
    if found == [ ] then null else lib.removePrefix "${name}:" (lib.head found);
  secretFile = option: on: unit: name: {
    inherit option on;
    value = "/run/other-secrets/${name}";
    shows = credential unit name;
    expected = [
      "/run/test-secrets/${name}"
      "/run/other-secrets/${name}"
    ];
  };

  users = host: lib.unique (map (unit: unit.serviceConfig.User) (lib.attrValues host.services));
  groups = host: lib.unique (map (unit: unit.serviceConfig.Group) (lib.attrValues host.services));

  # What stands in the alert rules, as text.
  rules = words: host: lib.hasInfix words (builtins.toJSON host.misaki.monitoring.rules);
  scrape =
    host:
    map (job: job.scrape_interval) (
      lib.filter (job: job.job_name == "nakamura-misaki") host.config.services.prometheus.scrapeConfigs
    );
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
  {
    option = "timeZone";
    on = "minimal";
    value = "Europe/Berlin";
    shows = api "TIME_ZONE";
    expected = [
      "Asia/Tokyo"
      "Europe/Berlin"
    ];
  }
  {
    option = "workspaceId";
    on = "minimal";
    value = "T01ABC123";
    shows = api "WORKSPACE_ID";
    expected = [
      "default"
      "T01ABC123"
    ];
  }
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
  {
    option = "database.package";
    on = "minimal";
    value = pkgs.postgresql_17;
    shows = host: lib.versions.major host.postgresql.package.version;
    expected = [
      "16"
      "17"
    ];
  }
  (secretFile "database.urlFile" "external-with-everything" "api" "database-url")
  (secretFile "database.ownerUrlFile" "external-with-everything" "init-db" "database-owner-url")
  (secretFile "database.adminUrlFile" "external-with-everything" "backup" "database-admin-url")
  {
    option = "database.clientPackage";
    on = "external-with-everything";
    value = otherClient;
    shows = host: environment "backup" "POSTGRESQL_PROGRAMS" host == "${otherClient}/bin";
    expected = [
      false
      true
    ];
  }
  {
    option = "database.poolSize";
    on = "minimal";
    value = 7;
    shows = api "POOL_SIZE";
    expected = [
      "10"
      "7"
    ];
  }
  {
    option = "database.maxOverflow";
    on = "minimal";
    value = 0;
    shows = api "MAX_OVERFLOW";
    expected = [
      "20"
      "0"
    ];
  }
  {
    option = "database.tuning.enable";
    on = "minimal";
    value = true;
    shows = host: host.postgresql.settings.shared_buffers or null;
    expected = [
      null
      "512MB"
    ];
  }
  {
    option = "database.tuning.memory";
    on = "everything";
    value = 4096;
    shows = host: host.postgresql.settings.shared_buffers;
    expected = [
      "512MB"
      "1024MB"
    ];
  }

  {
    option = "embedding.provider";
    on = "openai-by-key";
    value = "hashing";
    shows = api "EMBEDDING_PROVIDER";
    expected = [
      "openai"
      "hashing"
    ];
  }
  {
    option = "embedding.model";
    on = "openai-by-key";
    value = "text-embedding-3-large";
    shows = api "EMBEDDING_MODEL";
    expected = [
      null
      "text-embedding-3-large"
    ];
  }
  {
    option = "embedding.dimensions";
    on = "openai-by-key";
    value = 512;
    shows = api "EMBEDDING_DIMENSIONS";
    expected = [
      null
      "512"
    ];
  }
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
  {
    option = "slack.mode";
    on = "slack-socket";
    value = "events";
    shows = api "SLACK_MODE";
    expected = [
      "socket"
      "events"
    ];
  }
  (secretFile "slack.botTokenFile" "slack-socket" "remind" "slack-bot-token")
  (secretFile "slack.appTokenFile" "slack-socket" "api" "slack-app-token")
  (secretFile "slack.signingSecretFile" "slack-events" "api" "slack-signing-secret")

  {
    option = "api.host";
    on = "minimal";
    value = "192.0.2.1";
    shows = api "API_HOST";
    expected = [
      "127.0.0.1"
      "192.0.2.1"
    ];
  }
  {
    option = "api.port";
    on = "minimal";
    value = 8080;
    shows = api "API_PORT";
    expected = [
      "10000"
      "8080"
    ];
  }
  {
    option = "api.openFirewall";
    on = "minimal";
    value = true;
    shows = host: host.config.networking.firewall.allowedTCPPorts;
    # The port that the row above sets.
    expected = [
      [ ]
      [ 8080 ]
    ];
  }
  (secretFile "api.tokensFile" "everything" "api" "api-tokens")

  {
    option = "reminders.enable";
    on = "everything";
    alone = true;
    value = false;
    shows = hasUnit "remind";
    expected = disappears;
  }
  {
    option = "reminders.interval";
    on = "everything";
    value = "30s";
    shows = timer "remind" "OnUnitInactiveSec";
    expected = [
      "1min"
      "30s"
    ];
  }
  {
    option = "reminders.leadMinutes";
    on = "everything";
    value = 30;
    shows = environment "remind" "REMINDER_LEAD_MINUTES";
    expected = [
      "10"
      "30"
    ];
  }
  {
    option = "retention.enable";
    on = "minimal";
    value = false;
    shows = hasUnit "prune";
    expected = disappears;
  }
  {
    option = "retention.startAt";
    on = "everything";
    value = "Sun 04:00";
    shows = timer "prune" "OnCalendar";
    expected = [
      "daily"
      "Sun 04:00"
    ];
  }
  {
    option = "retention.days";
    on = "everything";
    value = 90;
    shows = environment "prune" "SESSION_RETENTION_DAYS";
    expected = [
      "30"
      "90"
    ];
  }
  {
    option = "embeddings.enable";
    on = "minimal";
    value = false;
    shows = hasUnit "embed-pending";
    expected = disappears;
  }
  {
    option = "embeddings.interval";
    on = "everything";
    value = "1min";
    shows = timer "embed-pending" "OnUnitInactiveSec";
    expected = [
      "5min"
      "1min"
    ];
  }
  {
    option = "maintenance.enable";
    on = "minimal";
    value = false;
    shows = hasUnit "maintain";
    expected = disappears;
  }
  {
    option = "maintenance.startAt";
    on = "everything";
    value = "Sun 05:00";
    shows = timer "maintain" "OnCalendar";
    expected = [
      "03:30"
      "Sun 05:00"
    ];
  }

  {
    option = "storage.backend";
    on = "minimal";
    alone = true;
    value = "json";
    shows = host: {
      backend = api "STORAGE_BACKEND" host;
      directory = api "JSON_DATA_DIR" host;
      schema = host.services ? init-db;
    };
    expected = [
      {
        backend = "postgresql";
        directory = null;
        schema = true;
      }
      {
        backend = "json";
        directory = "/var/lib/nakamura-misaki/json";
        schema = false;
      }
    ];
  }
  {
    option = "storage.jsonDataDir";
    on = "json";
    value = "/srv/json";
    shows = api "JSON_DATA_DIR";
    expected = [
      "/var/lib/nakamura-misaki/json"
      "/srv/json"
    ];
  }
  {
    option = "migration.legacyDataDir";
    on = "minimal";
    value = "/srv/old-data";
    shows = host: lib.any (lib.hasInfix "/srv/old-data") (host.runs.migrate or [ ]);
    expected = [
      false
      true
    ];
  }

  {
    option = "backup.enable";
    on = "minimal";
    alone = true;
    value = true;
    shows = host: {
      units = hasUnit "backup" host;
      verified = hasUnit "verify-backup" host;
      restore = host.commands ? nakamura-misaki-restore;
      status = api "BACKUP_STATUS_FILE" host;
    };
    expected = [
      {
        units = lib.head appears;
        verified = lib.head appears;
        restore = false;
        status = null;
      }
      {
        units = lib.last appears;
        verified = lib.head appears;
        restore = true;
        status = "/var/lib/nakamura-misaki-status/backup.json";
      }
    ];
  }
  {
    option = "backup.startAt";
    on = "everything";
    value = "*-*-* 00/6:00";
    shows = timer "backup" "OnCalendar";
    expected = [
      "02:30"
      "*-*-* 00/6:00"
    ];
  }
  {
    option = "backup.location";
    on = "everything";
    value = "/mnt/backup";
    shows = host: {
      told = environment "backup" "BACKUP_DIR" host;
      made = host.config.systemd.tmpfiles.settings."10-nakamura-misaki-backup" ? "/mnt/backup";
      writable = map (unit: lib.elem "/mnt/backup" host.services.${unit}.serviceConfig.ReadWritePaths) [
        "backup"
        "verify-backup"
      ];
    };
    expected = [
      {
        told = "/var/lib/nakamura-misaki-backup";
        made = false;
        writable = [
          false
          false
        ];
      }
      {
        told = "/mnt/backup";
        made = true;
        writable = [
          true
          true
        ];
      }
    ];
  }
  {
    option = "backup.keep";
    on = "everything";
    value = 60;
    shows = environment "backup" "BACKUP_KEEP";
    expected = [
      "14"
      "60"
    ];
  }
  {
    option = "backup.verify.enable";
    on = "with-backup";
    value = false;
    shows = hasUnit "verify-backup";
    expected = disappears;
  }
  {
    option = "backup.verify.startAt";
    on = "everything";
    value = "daily";
    shows = timer "verify-backup" "OnCalendar";
    expected = [
      "Sun 04:30"
      "daily"
    ];
  }

  {
    option = "monitoring.enable";
    on = "everything";
    alone = true;
    value = false;
    shows = host: {
      scraped = scrape host;
      rules = lib.length host.config.services.prometheus.ruleFiles;
      dashboards = lib.length (
        host.config.services.grafana.provision.dashboards.settings.providers or [ ]
      );
    };
    expected = [
      {
        scraped = [ "30s" ];
        rules = 1;
        dashboards = 1;
      }
      {
        scraped = [ ];
        rules = 0;
        dashboards = 0;
      }
    ];
  }
  {
    option = "monitoring.scrapeInterval";
    on = "everything";
    value = "15s";
    shows = scrape;
    expected = [
      [ "30s" ]
      [ "15s" ]
    ];
  }
]
++
  lib.mapAttrsToList
    (name: { value, words }: {
      option = "monitoring.${name}";
      on = "everything";
      inherit value;
      shows = rules words;
      expected = [
        false
        true
      ];
    })
    {
      backupMaxAge = {
        value = 711;
        words = "711";
      };
      verificationMaxAge = {
        value = 712;
        words = "712";
      };
      remindersMaxAge = {
        value = 713;
        words = "713";
      };
      slowSearchSeconds = {
        value = 7.125;
        words = "7.125";
      };
      errorPercent = {
        value = 77.125;
        words = "77.125";
      };
      runbook = {
        value = "https://git.example.org/operations.md";
        words = "https://git.example.org/operations.md#";
      };
    }
++ [
  {
    option = "monitoring.unitAlerts";
    on = "everything";
    alone = true;
    value = false;
    shows =
      host: lib.any (group: group.name == "nakamura-misaki-units") host.misaki.monitoring.rules.groups;
    expected = [
      true
      false
    ];
  }
]
++ lib.optionals (sops != null) [
  {
    option = "sops.enable";
    on = "with-sops";
    alone = true;
    value = false;
    shows = host: lib.attrNames host.config.sops.secrets;
    expected = [
      [ "nakamura-misaki/openai-api-key" ]
      [ ]
    ];
  }
  {
    option = "sops.file";
    on = "with-sops";
    value = ../../nixos-tests/keys/rotated.yaml;
    shows =
      host:
      lib.hasSuffix "rotated.yaml" "${toString
        host.config.sops.secrets."nakamura-misaki/openai-api-key".sopsFile
      }";
    expected = [
      false
      true
    ];
  }
  {
    option = "sops.keys";
    on = "with-sops";
    alone = true;
    value = [ "api-tokens" ];
    shows = host: lib.attrNames host.config.sops.secrets;
    expected = [
      [ "nakamura-misaki/openai-api-key" ]
      [ "nakamura-misaki/api-tokens" ]
    ];
  }
]
