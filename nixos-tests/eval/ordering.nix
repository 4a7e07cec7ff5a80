# What starts when, what stops with what, what is tried again: a table a kind of host.
{ lib, hosts, ... }:
let
  sorted = lib.sort lib.lessThan;

  # All that orders a unit or pulls it in. What is not in a table must be empty.
  relations = [
    "after"
    "before"
    "bindsTo"
    "conflicts"
    "onFailure"
    "onSuccess"
    "partOf"
    "requiredBy"
    "requires"
    "requisite"
    "upheldBy"
    "wantedBy"
    "wants"
  ];
  relationsOf =
    unit:
    lib.filterAttrs (_relation: units: units != [ ]) (
      lib.genAttrs relations (relation: sorted (unit.${relation} or [ ]))
    );
  order = host: lib.mapAttrs (_name: relationsOf) host.services;

  initDb = "nakamura-misaki-init-db.service";
  postgresql = "postgresql.target";
  online = "network-online.target";

  # Waits for the schema; with a local server (`local`) for that, and with a network (`network`) for it.
  job =
    { local, network }:
    {
      after = sorted ([ initDb ] ++ lib.optional local postgresql ++ lib.optional network online);
      requires = [ initDb ];
    }
    // lib.optionalAttrs network { wants = [ online ]; };
  onSocket = job {
    local = true;
    network = false;
  };
  onBoth = job {
    local = true;
    network = true;
  };
  onNetwork = job {
    local = false;
    network = true;
  };

  booted.wantedBy = [ "multi-user.target" ];
  api =
    usual:
    usual // booted // { after = sorted (usual.after ++ [ "nakamura-misaki-migrate.service" ]); };
  migrate = usual: usual // booted // { before = [ "nakamura-misaki-api.service" ]; };
  # Nothing wants the server: one that an operator stopped must not come back with the next timer.
  schema =
    usual:
    removeAttrs usual [ "requires" ]
    // booted
    // {
      after = lib.remove initDb usual.after;
    };

  # NixOS has these as text in some releases.
  number = value: if lib.isString value then lib.toInt value else value;

  # What is tried again, and how often.
  restarts =
    host:
    lib.mapAttrs (
      _name: unit:
      lib.filterAttrs (_option: value: value != null) {
        Type = unit.serviceConfig.Type or null;
        RemainAfterExit = unit.serviceConfig.RemainAfterExit or null;
        Restart = unit.serviceConfig.Restart or null;
        RestartMode = unit.serviceConfig.RestartMode or null;
        RestartSec = unit.serviceConfig.RestartSec or null;
        RestartSteps = unit.serviceConfig.RestartSteps or null;
        RestartMaxDelaySec = unit.serviceConfig.RestartMaxDelaySec or null;
        RestartPreventExitStatus = unit.serviceConfig.RestartPreventExitStatus or null;
        SuccessExitStatus = unit.serviceConfig.SuccessExitStatus or null;
        WatchdogSec = unit.serviceConfig.WatchdogSec or null;
        NotifyAccess = unit.serviceConfig.NotifyAccess or null;
        interval = number (unit.unitConfig.StartLimitIntervalSec or null);
        burst = number (unit.unitConfig.StartLimitBurst or null);
      }
    ) host.services;
  once.Type = "oneshot";

  timersOf =
    host:
    lib.mapAttrs (
      _name: timer:
      timer.timerConfig
      // lib.optionalAttrs (timer.wantedBy != [ "timers.target" ]) { inherit (timer) wantedBy; }
    ) host.timers;

  withTimer = lib.attrNames hosts.everything.timers;
in
{
  "with everything on" = {
    expr = order hosts.everything;
    expected = {
      init-db = schema onSocket;
      migrate = migrate onBoth;
      api = api onBoth;
      remind = onBoth;
      embed-pending = onBoth;
      prune = onSocket;
      maintain = onSocket;
      backup = onSocket;
      verify-backup = onSocket;
    };
  };

  "as it comes" = {
    expr = order hosts.minimal;
    expected = {
      init-db = schema onSocket;
      api = api onBoth;
      embed-pending = onSocket;
      prune = onSocket;
      maintain = onSocket;
    };
  };

  "with a server elsewhere" = {
    expr = order hosts.external-with-everything;
    expected = {
      init-db = schema onNetwork;
      migrate = migrate onNetwork;
      api = api onNetwork;
    }
    // lib.genAttrs [ "remind" "embed-pending" "prune" "maintain" "backup" "verify-backup" ] (
      _: onNetwork
    );
  };

  "with JSON files nothing waits for a schema" = {
    expr = order hosts.json-alone;
    expected = {
      api = {
        after = [
          "nakamura-misaki-migrate.service"
          online
        ];
        wants = [ online ];
      }
      // booted;
      prune = {
        after = [ online ];
        wants = [ online ];
      };
    };
  };

  "nothing of ours stops with PostgreSQL" = {
    expr = lib.concatLists (
      lib.mapAttrsToList (
        hostName: host:
        lib.concatLists (
          lib.mapAttrsToList (
            name: unit:
            map (found: "${hostName}: ${name}: ${found}") (
              lib.filter (lib.hasPrefix "postgresql") (
                unit.requires ++ unit.bindsTo ++ unit.partOf ++ unit.requisite
              )
            )
          ) host.services
        )
      ) hosts
    );
    expected = [ ];
  };

  "nothing in PostgreSQL's units waits for ours" = {
    expr = lib.filter (lib.hasPrefix "nakamura-misaki") (
      lib.concatMap
        (
          unit:
          lib.concatMap (relation: unit.${relation}) [
            "after"
            "requires"
            "wants"
            "bindsTo"
          ]
        )
        [
          hosts.everything.config.systemd.services.postgresql
          hosts.everything.config.systemd.services.postgresql-setup
          hosts.everything.config.systemd.targets.postgresql
        ]
    );
    expected = [ ];
  };

  "what is tried again" = {
    expr = restarts hosts.everything;
    expected = {
      init-db = once // {
        RemainAfterExit = true;
        Restart = "on-failure";
        RestartMode = "direct";
        RestartSec = "10s";
        RestartPreventExitStatus = "1 2 5 7 70";
        SuccessExitStatus = 7;
        interval = 900;
        burst = 60;
      };
      migrate = once // {
        Restart = "on-failure";
        RestartMode = "direct";
        RestartSec = "10s";
        RestartPreventExitStatus = "1 2 5 7 8 70";
        interval = 900;
        burst = 30;
      };
      api = {
        Type = "notify";
        NotifyAccess = "main";
        WatchdogSec = "20s";
        Restart = "on-failure";
        RestartSec = "2s";
        RestartSteps = 5;
        RestartMaxDelaySec = "1min";
        RestartPreventExitStatus = "5 7";
        interval = 120;
        burst = 5;
      };
    }
    // lib.genAttrs withTimer (_: once);
  };

  "each timer starts a service of ours" = {
    expr = withTimer;
    expected = lib.attrNames (
      removeAttrs hosts.everything.services [
        "init-db"
        "migrate"
        "api"
      ]
    );
  };

  "what a timer starts is started by nothing else" = {
    expr = lib.filter (
      name:
      let
        unit = hosts.everything.services.${name};
      in
      unit.wantedBy ++ unit.requiredBy ++ unit.upheldBy or [ ] != [ ]
    ) withTimer;
    expected = [ ];
  };

  "when the timers go off" = {
    expr = timersOf hosts.everything;
    expected = {
      remind = {
        OnActiveSec = "30s";
        OnUnitInactiveSec = "1min";
        AccuracySec = "1s";
      };
      embed-pending = {
        OnActiveSec = "1min";
        OnUnitInactiveSec = "5min";
        AccuracySec = "10s";
      };
      prune = {
        OnCalendar = "daily";
        Persistent = true;
        RandomizedDelaySec = "10min";
      };
      maintain = {
        OnCalendar = "03:30";
        Persistent = true;
      };
      backup = {
        OnCalendar = "02:30";
        Persistent = true;
        RandomizedDelaySec = "5min";
      };
      verify-backup = {
        OnCalendar = "Sun 04:30";
        Persistent = true;
      };
    };
  };

  # A unit that a new package leaves as it was would not be restarted by a deploy.
  "a new release changes init-db and the API, so that a deploy restarts both" = {
    expr =
      map
        (
          name:
          lib.hasPrefix "${hosts.everything.misaki.package}/bin/" (lib.last hosts.everything.runs.${name})
        )
        [
          "init-db"
          "api"
        ];
    expected = [
      true
      true
    ];
  };

  "no unit of ours is kept from restarting" = {
    expr = lib.attrNames (
      lib.filterAttrs (
        _name: unit: !unit.restartIfChanged || unit.reloadIfChanged || !unit.stopIfChanged
      ) hosts.everything.services
    );
    expected = [ ];
  };

  "what the old files' import needs is there before it" = {
    expr = {
      inherit (hosts.everything.services.migrate.unitConfig) RequiresMountsFor;
      once = lib.hasPrefix "!/var/lib/nakamura-misaki-import/imported-" hosts.everything.services.migrate.unitConfig.ConditionPathExists;
    };
    expected = {
      RequiresMountsFor = "/srv/old-data";
      once = true;
    };
  };

  "backups wait for the disk that they go to" = {
    expr = map (name: hosts.everything.services.${name}.unitConfig.RequiresMountsFor) [
      "backup"
      "verify-backup"
    ];
    expected = [
      "/var/lib/nakamura-misaki-backup"
      "/var/lib/nakamura-misaki-backup"
    ];
  };
}
