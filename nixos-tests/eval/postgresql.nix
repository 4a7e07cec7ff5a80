# The host's PostgreSQL: what the module adds to it, and that it adds nothing else.
{
  lib,
  pkgs,
  evaluate,
  hosts,
  ...
}:
let
  # The same host with PostgreSQL and without us.
  alone = evaluate [
    {
      services.nakamura-misaki.enable = false;
      services.postgresql = {
        enable = true;
        package = pkgs.postgresql_16;
      };
    }
  ];

  major = host: lib.versions.major host.postgresql.package.version;

  # A file of PostgreSQL's as its lines.
  lines = text: lib.filter (line: line != "") (lib.splitString "\n" text);
  # Those that the first has more.
  more =
    option: host: without:
    lib.subtractLists (lines without.postgresql.${option}) (lines host.postgresql.${option});

  hbaLine = "local nakamura_misaki nakamura_misaki_owner,nakamura_misaki peer map=nakamura-misaki";
  # How many lines stand before the first that fits.
  position =
    pattern: host:
    lib.lists.findFirstIndex (line: builtins.match pattern line != null) 1000 (
      lines host.postgresql.authentication
    );
  standsFirst = pattern: host: position (lib.escapeRegex hbaLine) host < position pattern host;

  # Of the generated files only the name changes with their content.
  settings =
    host:
    removeAttrs host.postgresql.settings [
      "hba_file"
      "ident_file"
    ];

  # But for what names the generated files.
  serverUnit =
    host:
    let
      unit = host.config.systemd.services.postgresql;
    in
    {
      inherit (unit)
        after
        environment
        requires
        wants
        unitConfig
        ;
      serviceConfig = lib.filterAttrs (name: _value: !lib.hasPrefix "Exec" name) unit.serviceConfig;
    };

  tuned =
    memory: overrides:
    evaluate [
      {
        services.nakamura-misaki.database.tuning = {
          enable = true;
          inherit memory;
        };
        services.postgresql.settings = overrides;
      }
    ];
  tuning =
    host: lib.filterAttrs (name: value: (settings alone).${name} or null != value) (settings host);
in
{
  "without tuning no setting is ours" = {
    expr = settings hosts.minimal;
    expected = settings alone;
  };

  "authentication gets one line" = {
    expr = more "authentication" hosts.minimal alone;
    expected = [ hbaLine ];
  };

  "nothing of authentication is lost" = {
    expr = more "authentication" alone hosts.minimal;
    expected = [ ];
  };

  "our line stands before those for all databases" = {
    expr = map (standsFirst "local +all +all .*") [
      hosts.minimal
      hosts.shared
    ];
    expected = [
      true
      true
    ];
  };

  # PostgreSQL takes the first line that fits.
  "our line stands before those of other modules" = {
    expr =
      let
        line = "local all all scram-sha-256";
        stands = module: standsFirst line (evaluate [ module ]);
      in
      {
        # Those of one order come as the modules do.
        usual = stands { services.postgresql.authentication = line; };
        early = stands { services.postgresql.authentication = lib.mkBefore line; };
      };
    expected = {
      usual = true;
      early = true;
    };
  };

  "the map of users gets three lines" = {
    expr = more "identMap" hosts.minimal alone;
    expected = [
      "nakamura-misaki nakamura-misaki nakamura_misaki"
      "nakamura-misaki nakamura-misaki-owner nakamura_misaki_owner"
      "nakamura-misaki nakamura-misaki-owner nakamura_misaki"
    ];
  };

  "the map of users names a user of one's own" = {
    expr = lib.head (more "identMap" hosts.own-user alone);
    expected = "nakamura-misaki misaki nakamura_misaki";
  };

  "PostgreSQL 16 where only we enable it" = {
    expr = major hosts.minimal;
    expected = "16";
  };

  "the host's version where another module enables it" = {
    expr = {
      named = major hosts.shared;
      # By system.stateVersion, as without us.
      byDefault = hosts.shared-by-default.postgresql.package.version;
      ours = hosts.shared.misaki.database.package;
    };
    expected = {
      named = "17";
      byDefault =
        (evaluate [
          {
            services.nakamura-misaki.enable = false;
            services.postgresql.enable = true;
          }
        ]).postgresql.package.version;
      ours = null;
    };
  };

  "database.package counts where others enable it, and services.postgresql.package counts more" = {
    expr = map major [
      (evaluate [
        {
          services.postgresql.enable = true;
          services.nakamura-misaki.database.package = pkgs.postgresql_18;
        }
      ])
      hosts.postgresql-17
      hosts.postgresql-18
    ];
    expected = [
      "18"
      "17"
      "18"
    ];
  };

  "pgvector comes beside the host's extensions" = {
    expr = lib.sort lib.lessThan (
      (evaluate [ { services.postgresql.extensions = extensions: [ extensions.postgis ]; } ])
      .postgresql.extensions
        {
          pgvector = "/pgvector";
          postgis = "/postgis";
        }
    );
    expected = [
      "/pgvector"
      "/postgis"
    ];
  };

  "databases and roles of others are theirs" = {
    expr = {
      inherit (hosts.shared.postgresql) ensureDatabases;
      users = map (user: user.name) hosts.shared.postgresql.ensureUsers;
      inherit (hosts.shared.postgresql) initialScript enableTCPIP;
    };
    expected = {
      ensureDatabases = [ "other" ];
      users = [ "other" ];
      initialScript = null;
      enableTCPIP = false;
    };
  };

  "the server's own unit is as without us" = {
    expr = serverUnit hosts.minimal;
    expected = serverUnit alone;
  };

  "its setup gets one command, of the superuser, after the host's own" = {
    expr =
      let
        ours = hosts.minimal.config.systemd.services.postgresql-setup;
        command = lib.head ours.serviceConfig.ExecStartPost;
      in
      {
        commands = lib.length ours.serviceConfig.ExecStartPost;
        program = lib.hasPrefix "${hosts.minimal.postgresql.finalPackage}/bin/psql " command;
        file = lib.hasSuffix "setup.sql" command;
        sameScript = ours.script == alone.config.systemd.services.postgresql-setup.script;
        rest = removeAttrs ours.serviceConfig [
          "ExecStartPost"
          "ExecStart"
        ];
      };
    expected = {
      commands = 1;
      program = true;
      file = true;
      sameScript = true;
      rest = removeAttrs alone.config.systemd.services.postgresql-setup.serviceConfig [
        "ExecStartPost"
        "ExecStart"
      ];
    };
  };

  "tuning sets these and no others" = {
    expr = tuning (tuned 2048 { });
    expected = {
      shared_buffers = "512MB";
      effective_cache_size = "1536MB";
      maintenance_work_mem = "256MB";
      work_mem = "16MB";
      max_wal_size = "2GB";
      random_page_cost = 1.1;
      effective_io_concurrency = 200;
    };
  };

  "tuning of little memory keeps what sorts and index builds need" = {
    expr = lib.getAttrs [ "maintenance_work_mem" "work_mem" "shared_buffers" ] (tuning (tuned 256 { }));
    expected = {
      maintenance_work_mem = "64MB";
      work_mem = "4MB";
      shared_buffers = "64MB";
    };
  };

  "the host's own settings count more than tuning" = {
    expr = (tuned 2048 { shared_buffers = "3GB"; }).postgresql.settings.shared_buffers;
    expected = "3GB";
  };

  "with a server elsewhere there is no PostgreSQL here" = {
    expr = {
      inherit (hosts.external.postgresql) enable authentication identMap;
      units = lib.filter (lib.hasPrefix "postgresql") (
        lib.attrNames hosts.external.config.systemd.services
      );
    };
    expected = {
      enable = false;
      authentication = "";
      identMap = "";
      units = [ ];
    };
  };

  "backups use the local server's own programs" = {
    expr =
      hosts.postgresql-17.misaki.database.clientPackage.outPath
      == hosts.postgresql-17.postgresql.finalPackage.outPath;
    expected = true;
  };
}
