# Dumps of the database, and the proof that they restore.
{
  config,
  lib,
  utils,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.services.nakamura-misaki;
  inherit (cfg) backup;
  optionTypes = import ./option-types.nix { inherit lib; };
  unit = import ./unit.nix { inherit config lib utils; };

  inherit (unit.roles.admin) user;
  group = if user == "postgres" then "postgres" else cfg.group;
  statusDirectory = "/var/lib/nakamura-misaki-status";

  service =
    { description, command }:
    unit.service {
      inherit description command;
      role = "admin";
      unitConfig.RequiresMountsFor = backup.location;
      serviceConfig = {
        Type = "oneshot";
        TimeoutStartSec = "6h";
        ReadWritePaths = [
          backup.location
          statusDirectory
        ];
        IOSchedulingClass = "idle";
        Nice = 10;
      };
    };
in
{
  options.services.nakamura-misaki.backup = {
    enable = lib.mkEnableOption "dumps of the database, each complete or not there at all";

    startAt = mkOption {
      type = optionTypes.time;
      default = "02:30";
      example = "*-*-* 00/6:00";
      description = "When: a calendar event of systemd.time(7). A time that was missed is made up for.";
    };

    location = mkOption {
      type = optionTypes.directory;
      default = "/var/lib/nakamura-misaki-backup";
      example = "/mnt/backup/nakamura-misaki";
      description = ''
        Where: a directory of its own, which only the backup's user may enter. Put it on another
        disk than the database, or have another tool carry it away.
      '';
    };

    keep = mkOption {
      type = types.ints.positive;
      default = 14;
      example = 60;
      description = "How many are kept. Older ones go only after a newer one is complete.";
    };

    verify = {
      enable = lib.mkEnableOption ''
        a timer that restores the newest dump into a scratch database, compares every table's
        row count and runs a search; a difference fails the unit and shows in the metrics'';

      startAt = mkOption {
        type = optionTypes.time;
        default = "Sun 04:30";
        example = "daily";
        description = "When: a calendar event of systemd.time(7).";
      };
    };
  };

  config = lib.mkIf cfg.enable (
    lib.mkMerge [
      {
        assertions = [
          {
            assertion = backup.verify.enable -> backup.enable;
            message = "services.nakamura-misaki.backup.verify.enable restores what backup.enable makes, which is false: set it, too.";
          }
          {
            assertion = backup.enable -> cfg.database.createLocally || cfg.database.adminUrlFile != null;
            message = "services.nakamura-misaki.backup needs a role that sees every row: with a server elsewhere set database.adminUrlFile to the file with a superuser's URL, or with one that has BYPASSRLS and CREATEDB.";
          }
          {
            assertion =
              !lib.elem backup.location [
                "/"
                "/var"
                "/var/lib"
                "/home"
                "/root"
                "/tmp"
                "/srv"
                "/mnt"
              ];
            message = "services.nakamura-misaki.backup.location is ${backup.location}: give a directory of its own, since only the backup's user will be able to enter it.";
          }
        ];
      }
      (lib.mkIf backup.enable {
        services.nakamura-misaki.environment = {
          BACKUP_DIR = backup.location;
          BACKUP_KEEP = toString backup.keep;
          BACKUP_STATUS_FILE = "${statusDirectory}/backup.json";
        };

        systemd = {
          tmpfiles.settings."10-nakamura-misaki-backup" = {
            ${backup.location}.d = {
              inherit user group;
              mode = "0700";
            };
            # What the service tells Prometheus of backups; it may read it.
            ${statusDirectory}.d = {
              inherit user group;
              mode = "0755";
            };
          };

          services.nakamura-misaki-backup = service {
            description = "nakamura-misaki: backup";
            command = [ "backup" ];
          };
          timers.nakamura-misaki-backup = unit.timer {
            description = "backup of nakamura-misaki's database";
            OnCalendar = backup.startAt;
            Persistent = true;
            RandomizedDelaySec = "5min";
          };
        };
      })
      (lib.mkIf (backup.enable && backup.verify.enable) {
        systemd = {
          services.nakamura-misaki-verify-backup = service {
            description = "nakamura-misaki: restore of the newest backup, as a test";
            command = [ "verify-backup" ];
          };
          timers.nakamura-misaki-verify-backup = unit.timer {
            description = "test of nakamura-misaki's newest backup";
            OnCalendar = backup.verify.startAt;
            Persistent = true;
          };
        };
      })
    ]
  );
}
