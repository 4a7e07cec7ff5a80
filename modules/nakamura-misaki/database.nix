# A local PostgreSQL 16 with pgvector over its unix socket, or a server elsewhere; and the schema.
{
  config,
  lib,
  options,
  pkgs,
  utils,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.services.nakamura-misaki;
  db = cfg.database;
  postgresql = config.services.postgresql;
  optionTypes = import ./option-types.nix { inherit lib; };
  unit = import ./unit.nix { inherit config lib utils; };

  database = "nakamura_misaki";
  owner = "nakamura_misaki_owner";
  runtime = "nakamura_misaki";

  # No password and no address: the server asks the kernel who is at the other end of the socket.
  socketUrl =
    role:
    "postgresql://${role}@/${database}?host=/run/postgresql&port=${toString postgresql.settings.port}";

  # Whether anything but this file turns PostgreSQL on. Its version is then not ours to choose.
  isShared = lib.any (
    definition: definition.value && definition.file != toString ./database.nix
  ) options.services.postgresql.enable.definitionsWithLocations;

  # Of services.postgresql.authentication: who the kernel says it is, against who it may be.
  hbaLine = "local ${database} ${owner},${runtime} peer map=nakamura-misaki";
  identMap = ''
    nakamura-misaki ${cfg.user} ${runtime}
    nakamura-misaki nakamura-misaki-owner ${owner}
    nakamura-misaki nakamura-misaki-owner ${runtime}
  '';

  connections = db.poolSize + db.maxOverflow;
  # Beside the service: the timers' jobs, the command line and what PostgreSQL keeps for superusers.
  spare = 15;
  allowed = lib.toInt (toString (postgresql.settings.max_connections or 100));

  memory = db.tuning.memory;
  megabytes = n: "${toString n}MB";

  remoteFiles = [
    "urlFile"
    "ownerUrlFile"
  ];
in
{
  options.services.nakamura-misaki.database = {
    createLocally = mkOption {
      type = types.bool;
      default = true;
      example = false;
      description = ''
        Whether PostgreSQL runs on this host, with the database `nakamura_misaki`, the roles
        `nakamura_misaki_owner` and `nakamura_misaki`, the extension `vector`, and peer
        authentication over its unix socket: no password anywhere. Otherwise the server is the
        one that {option}`services.nakamura-misaki.database.urlFile` names, prepared as
        docs/operations.md says.
      '';
    };

    package = mkOption {
      type = types.nullOr types.package;
      default = if isShared then null else pkgs.postgresql_16;
      defaultText = lib.literalMD "`pkgs.postgresql_16`; `null` where something else on the host enables PostgreSQL";
      example = lib.literalExpression "pkgs.postgresql_17";
      description = ''
        The PostgreSQL of the local server, 16 or newer. `null` leaves
        {option}`services.postgresql.package` alone. Another major version has another data
        directory: see "PostgreSQL major upgrade" in docs/operations.md first.
      '';
    };

    urlFile = mkOption {
      type = optionTypes.secretFile;
      default = null;
      example = "/run/secrets/nakamura-misaki/database-url";
      description = ''
        A file with the URL of a server elsewhere, for the role that reads and writes rows:
        `postgresql://nakamura_misaki:…@db.example.net/nakamura_misaki?sslmode=verify-full`.
      '';
    };

    ownerUrlFile = mkOption {
      type = optionTypes.secretFile;
      default = null;
      example = "/run/secrets/nakamura-misaki/database-owner-url";
      description = "The same for the role `nakamura_misaki_owner`, which changes the schema.";
    };

    adminUrlFile = mkOption {
      type = optionTypes.secretFile;
      default = null;
      example = "/run/secrets/nakamura-misaki/database-admin-url";
      description = ''
        The same for backups: a superuser, or a role with `BYPASSRLS` that may create databases.
        Needed only for {option}`services.nakamura-misaki.backup.enable` with a server elsewhere.
      '';
    };

    clientPackage = mkOption {
      type = types.package;
      default = if db.createLocally then postgresql.finalPackage else pkgs.postgresql_16;
      defaultText = lib.literalMD "that of the local server, or `pkgs.postgresql_16`";
      example = lib.literalExpression "pkgs.postgresql_18";
      description = "Where backups take `pg_dump` and `pg_restore` from: no older than the server.";
    };

    poolSize = mkOption {
      type = types.ints.between 1 1000;
      default = 10;
      example = 20;
      description = "How many connections the service keeps open.";
    };

    maxOverflow = mkOption {
      type = types.ints.between 0 1000;
      default = 20;
      example = 0;
      description = "How many more it opens when those are all in use.";
    };

    tuning = {
      enable = lib.mkEnableOption ''
        settings for PostgreSQL that suit this database (memory, parallel index builds, SSDs).
        They hold for the whole server, so other databases on the host feel them, too; values
        of your own in {option}`services.postgresql.settings` count more'';

      memory = mkOption {
        type = types.ints.between 256 1048576;
        default = 2048;
        example = 8192;
        description = "How much memory PostgreSQL may count on, in megabytes.";
      };
    };

    urls = mkOption {
      type = types.attrsOf (types.attrsOf types.str);
      default = { };
      internal = true;
      description = "By role, the variables that hold a URL without a secret in it.";
    };
  };

  config = lib.mkIf cfg.enable (
    lib.mkMerge [
      {
        services.nakamura-misaki = {
          environment = {
            POOL_SIZE = toString db.poolSize;
            MAX_OVERFLOW = toString db.maxOverflow;
          };
          database.urls = {
            runtime = lib.optionalAttrs db.createLocally { DATABASE_URL = socketUrl runtime; };
            owner = lib.optionalAttrs db.createLocally { DATABASE_OWNER_URL = socketUrl owner; };
            admin = {
              POSTGRESQL_PROGRAMS = "${db.clientPackage}/bin";
            }
            // lib.optionalAttrs db.createLocally { DATABASE_ADMIN_URL = socketUrl "postgres"; };
          };
        };

        systemd.services.nakamura-misaki-init-db = lib.mkIf (cfg.storage.backend == "postgresql") (
          unit.service {
            description = "schema of nakamura-misaki's database";
            command = [ "init-db" ];
            role = "owner";
            afterSchema = false;
            wantedBy = [ "multi-user.target" ];
            # A server elsewhere may come up after this host.
            startLimitIntervalSec = 900;
            startLimitBurst = 60;
            serviceConfig = {
              Type = "oneshot";
              RemainAfterExit = true;
              Restart = "on-failure";
              RestartMode = "direct";
              RestartSec = "10s";
              # The rest is not mended by waiting: a setting, rights, a schema of a newer release.
              RestartPreventExitStatus = "1 2 5 7 70";
              # A newer release's schema, after a rollback: it stays, and the service works on it.
              SuccessExitStatus = 7;
              TimeoutStartSec = "1h";
            };
          }
        );
      }

      (lib.mkIf db.createLocally {
        services.postgresql = {
          # Weaker than anything another module says, so that what it says is seen (see isShared).
          enable = lib.mkOverride 1100 true;
          # Stronger than the default that system.stateVersion makes, weaker than yours.
          package = lib.mkIf (db.package != null) (lib.mkOverride 900 db.package);
          extensions = extensions: [ extensions.pgvector ];
          # The first line that fits counts: ours goes before those for all databases, also early ones.
          authentication = lib.mkOrder 400 hbaLine;
          inherit identMap;
          settings = lib.mkIf db.tuning.enable (
            lib.mapAttrs (_: lib.mkDefault) {
              shared_buffers = megabytes (memory / 4);
              effective_cache_size = megabytes (memory * 3 / 4);
              # An HNSW index that fits is built many times faster.
              maintenance_work_mem = megabytes (lib.max 64 (memory / 8));
              work_mem = megabytes (lib.max 4 (memory / 128));
              max_wal_size = "2GB";
              random_page_cost = 1.1;
              effective_io_concurrency = 200;
            }
          );
        };

        systemd.services.postgresql-setup.serviceConfig.ExecStartPost = [
          "${lib.getExe' postgresql.finalPackage "psql"} --no-psqlrc --quiet --dbname=postgres --file=${./setup.sql}"
        ];

        assertions = [
          {
            assertion = postgresql.enable -> config.systemd.targets ? postgresql;
            message = "services.nakamura-misaki needs the postgresql.target of NixOS 25.11 or newer.";
          }
          {
            assertion = postgresql.enable;
            message = "services.postgresql.enable is false on this host, but services.nakamura-misaki.database.createLocally needs the server: leave it on, or use a server elsewhere by createLocally = false.";
          }
          {
            assertion = lib.elem "/run/postgresql" (
              map lib.trim (
                lib.splitString "," (postgresql.settings.unix_socket_directories or "/run/postgresql")
              )
            );
            message = "services.postgresql.settings.unix_socket_directories leaves out /run/postgresql, where nakamura-misaki looks for the server: add it.";
          }
          {
            assertion = lib.versionAtLeast postgresql.package.version "16";
            message = "services.nakamura-misaki needs PostgreSQL 16 or newer, and this host has ${postgresql.package.version}: upgrade it (docs/operations.md, \"PostgreSQL major upgrade\") and set services.postgresql.package, or use a server elsewhere by services.nakamura-misaki.database.urlFile.";
          }
          {
            assertion = lib.hasInfix hbaLine postgresql.authentication;
            message = "services.postgresql.authentication is overridden on this host, so that nakamura-misaki could not log in: add the line `${hbaLine}` to it, before others for all databases.";
          }
          {
            assertion = lib.hasInfix identMap postgresql.identMap;
            message = "services.postgresql.identMap is overridden on this host, so that nakamura-misaki could not log in: add the lines ${
              lib.concatMapStringsSep ", " (line: "`${line}`") (lib.splitString "\n" (lib.trim identMap))
            } to it.";
          }
          {
            assertion = connections + spare <= allowed;
            message = "services.nakamura-misaki.database may open ${toString connections} connections (poolSize + maxOverflow), and ${toString spare} more are for its timers and the command line, but the server allows ${toString allowed}: raise services.postgresql.settings.max_connections or lower the pool.";
          }
          {
            assertion = lib.all (name: db.${name} == null) (remoteFiles ++ [ "adminUrlFile" ]);
            message = "services.nakamura-misaki.database names a server elsewhere (urlFile, ownerUrlFile or adminUrlFile), but createLocally is true: set createLocally = false, or leave the files out.";
          }
        ];
      })

      (lib.mkIf (!db.createLocally) {
        services.nakamura-misaki.credentials =
          lib.optionalAttrs (db.urlFile != null) { database-url = db.urlFile; }
          // lib.optionalAttrs (db.ownerUrlFile != null) { database-owner-url = db.ownerUrlFile; }
          // lib.optionalAttrs (db.adminUrlFile != null) { database-admin-url = db.adminUrlFile; };
        assertions = map (name: {
          assertion = cfg.storage.backend == "json" || db.${name} != null;
          message = "services.nakamura-misaki.database.createLocally is false, so services.nakamura-misaki.database.${name} must name the file with the URL of your server.";
        }) remoteFiles;
      })
    ]
  );
}
