# Each option does what it says: without it and with it, at the place where it must show.
{
  lib,
  pkgs,
  sops,
  evaluate,
  topologies,
  hosts,
  reference,
  ...
}:
let
  # On a host of topologies.nix the option is set to `value`, with the others of the same host. What `shows` sees was
  # the first of `expected`, and becomes the second. `alone`: where a value changes what the others show.
  rows =
    import ./rendered-service.nix { inherit lib pkgs; }
    ++ import ./rendered-operations.nix { inherit lib sops; };

  set = row: {
    services.nakamura-misaki = lib.setAttrByPath (lib.splitString "." row.option) (
      lib.mkForce row.value
    );
  };
  changed = lib.mapAttrs (name: rowsOfHost: evaluate (topologies.${name} ++ map set rowsOfHost)) (
    lib.groupBy (row: row.on) (lib.filter (row: !row.alone or false) rows)
  );
  after =
    row:
    if row.alone or false then evaluate (topologies.${row.on} ++ [ (set row) ]) else changed.${row.on};

  documented = map (option: lib.removePrefix "services.nakamura-misaki." option.name) (
    lib.filter (
      option: !option.readOnly && (sops != null || !lib.hasInfix ".sops." option.name)
    ) reference.listed
  );
  covered = map (row: row.option) rows;

  inherit (hosts) everything;
in
lib.listToAttrs (
  map (
    row:
    lib.nameValuePair row.option {
      expr =
        if lib.head row.expected == lib.last row.expected then
          throw "this case would hold of an option that does nothing"
        else
          map row.shows [
            hosts.${row.on}
            (after row)
          ];
      inherit (row) expected;
    }
  ) rows
)
// {
  "each option has a case" = {
    expr = lib.subtractLists covered documented;
    expected = [ ];
  };
  "each case is of an option" = {
    expr = lib.subtractLists documented covered;
    expected = [ ];
  };

  "the host's time zone, where it has one" = {
    expr = (evaluate [ { time.timeZone = "Europe/London"; } ]).services.api.environment.TIME_ZONE;
    expected = "Europe/London";
  };

  # All that is common to the units of a role, whole: nothing comes in by the way.
  "the API's environment, with everything on" = {
    expr = removeAttrs everything.services.api.environment (
      lib.attrNames
        (evaluate [ { systemd.services.plain.script = ""; } ]).config.systemd.services.plain.environment
    );
    expected = {
      API_HOST = "0.0.0.0";
      API_PORT = "10000";
      BACKUP_DIR = "/var/lib/nakamura-misaki-backup";
      BACKUP_KEEP = "14";
      BACKUP_STATUS_FILE = "/var/lib/nakamura-misaki-status/backup.json";
      DATABASE_URL = "postgresql://nakamura_misaki@/nakamura_misaki?host=/run/postgresql&port=5432";
      EMBEDDING_PROVIDER = "openai";
      LOG_LEVEL = "debug";
      MAX_OVERFLOW = "20";
      POOL_SIZE = "10";
      REMINDER_LEAD_MINUTES = "10";
      SESSION_RETENTION_DAYS = "30";
      SLACK_MODE = "socket";
      STORAGE_BACKEND = "postgresql";
      TIME_ZONE = "Europe/Berlin";
      WORKSPACE_ID = "T01ABC123";
    };
  };

  "each unit has the same settings, and those of its role" = {
    expr = lib.filter (
      name:
      lib.intersectAttrs everything.misaki.environment everything.services.${name}.environment
      != everything.misaki.environment
    ) (lib.attrNames everything.services);
    expected = [ ];
  };

  "the command line has the service's settings" = {
    expr = lib.filter (
      name:
      !lib.hasInfix "--setenv=${name}=${everything.misaki.environment.${name}}" everything.commands.nakamura-misaki
    ) (lib.attrNames everything.misaki.environment);
    expected = [ ];
  };

  "what each unit runs" = {
    expr = lib.mapAttrs (
      _name: commands: lib.removePrefix "${lib.getExe everything.misaki.package} " (lib.last commands)
    ) everything.runs;
    expected = {
      api = "serve";
      backup = "backup";
      embed-pending = "embed-pending";
      init-db = "init-db";
      maintain = "maintain";
      migrate = "migrate /run/nakamura-misaki-import/data --verify";
      prune = "prune";
      remind = "remind";
      verify-backup = "verify-backup";
    };
  };

  "numbers and truth values become text that the program reads" = {
    expr =
      lib.getAttrs [ "EMBEDDING_TIMEOUT" "STARTUP_TIMEOUT" ]
        (evaluate [
          {
            services.nakamura-misaki.settings = {
              EMBEDDING_TIMEOUT = 2.5;
              STARTUP_TIMEOUT = 30;
            };
          }
        ]).services.api.environment;
    expected = {
      EMBEDDING_TIMEOUT = "2.500000";
      STARTUP_TIMEOUT = "30";
    };
  };

  # systemd takes %-signs in units for specifiers, and systemd-run does not.
  "a per cent sign in a value is one for the program" = {
    expr =
      let
        host = evaluate [ { services.nakamura-misaki.embedding.baseUrl = "http://localhost/a%20b"; } ];
      in
      {
        unit = host.services.api.environment.OPENAI_BASE_URL;
        command = lib.hasInfix "--setenv=OPENAI_BASE_URL=http://localhost/a%20b" host.commands.nakamura-misaki;
      };
    expected = {
      unit = "http://localhost/a%%20b";
      command = true;
    };
  };

  "a restore stops all that may write, and starts it again" = {
    expr = lib.filter (unit: !lib.hasInfix unit everything.commands.nakamura-misaki-restore) (
      map (name: "nakamura-misaki-${name}.service") (lib.attrNames everything.services)
      ++ map (name: "nakamura-misaki-${name}.timer") (lib.attrNames everything.timers)
    );
    expected = [ ];
  };

  "another directory of old files is another import" = {
    expr =
      let
        mark = host: host.services.migrate.unitConfig.ConditionPathExists;
      in
      mark everything
      == mark (evaluate [ { services.nakamura-misaki.migration.legacyDataDir = "/srv/other-data"; } ]);
    expected = false;
  };

  "JSON files are writable for all that writes them, and nothing else is" = {
    expr = lib.genAttrs [ "/var/lib/nakamura-misaki/json" "/srv/json" ] (
      directory:
      lib.mapAttrs
        (
          _name: unit:
          lib.intersectAttrs (lib.genAttrs [ "StateDirectory" "StateDirectoryMode" "ReadWritePaths" ] (
            _: null
          )) unit.serviceConfig
        )
        (evaluate [
          {
            services.nakamura-misaki.storage = {
              backend = "json";
              jsonDataDir = directory;
            };
          }
        ]).services
    );
    expected =
      lib.mapAttrs
        (
          _directory: paths:
          lib.genAttrs [ "api" "prune" ] (_: {
            StateDirectory = "nakamura-misaki";
            StateDirectoryMode = "0700";
            ReadWritePaths = paths;
          })
        )
        {
          "/var/lib/nakamura-misaki/json" = [ ];
          "/srv/json" = [ "/srv/json" ];
        };
  };

  "JSON files have no jobs for the database" = {
    expr = lib.attrNames hosts.json.services;
    expected = [
      "api"
      "prune"
    ];
  };

  "the alert rules are those of what is turned on" = {
    expr = {
      file =
        builtins.unsafeDiscardStringContext everything.misaki.monitoring.rulesFile.drvAttrs.text
        == builtins.toJSON everything.misaki.monitoring.rules;
      loaded =
        everything.config.services.prometheus.ruleFiles == [ everything.misaki.monitoring.rulesFile ];
      fewer =
        lib.length hosts.quiet.misaki.monitoring.rules.groups
        < lib.length everything.misaki.monitoring.rules.groups;
      unfilled =
        builtins.match ".*@[a-zA-Z]+@.*" (builtins.toJSON everything.misaki.monitoring.rules) != null;
    };
    expected = {
      file = true;
      loaded = true;
      fewer = true;
      unfilled = false;
    };
  };

  "the dashboard is JSON" = {
    expr =
      let
        file = everything.misaki.monitoring.dashboardFile;
      in
      builtins.pathExists file && lib.isAttrs (lib.importJSON file);
    expected = true;
  };
}
