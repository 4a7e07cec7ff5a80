# What is done from time to time: reminders, retention, vectors that are missing, indexes.
{
  config,
  lib,
  utils,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.services.nakamura-misaki;
  optionTypes = import ./option-types.nix { inherit lib; };
  unit = import ./unit.nix { inherit config lib utils; };
  inPostgresql = cfg.storage.backend == "postgresql";

  enabledByDefault =
    description:
    mkOption {
      type = types.bool;
      default = true;
      example = false;
      inherit description;
    };

  timeOption =
    default: example: description:
    mkOption {
      type = optionTypes.time;
      inherit default example description;
    };
in
{
  options.services.nakamura-misaki = {
    reminders = {
      enable = mkOption {
        type = types.bool;
        default = cfg.slack.enable;
        defaultText = lib.literalExpression "config.services.nakamura-misaki.slack.enable";
        example = false;
        description = "Whether the receiver of a handoff is reminded of it, in Slack.";
      };
      interval =
        timeOption "1min" "30s"
          "How often due handoffs are looked for: a span of systemd.time(7).";
      leadMinutes = mkOption {
        type = types.ints.between 0 10080;
        default = 10;
        example = 30;
        description = "How many minutes before the appointed time.";
      };
    };

    retention = {
      enable = enabledByDefault "Whether sessions without activity are deleted (their notes stay), and ids of handled events.";
      startAt = timeOption "daily" "Sun 04:00" "When: a calendar event of systemd.time(7).";
      days = mkOption {
        type = types.ints.between 1 36500;
        default = 30;
        example = 90;
        description = "After how many days without activity.";
      };
    };

    embeddings = {
      enable = enabledByDefault "Whether notes that have no vector (the embedding server was away) get theirs.";
      interval = timeOption "5min" "1min" "How often they are looked for: a span of systemd.time(7).";
    };

    maintenance = {
      enable = enabledByDefault "Whether vector indexes are built for those with many notes. Searches are right without, and slower.";
      startAt = timeOption "03:30" "Sun 05:00" "When: a calendar event of systemd.time(7).";
    };
  };

  config = lib.mkIf cfg.enable {
    services.nakamura-misaki.environment = {
      REMINDER_LEAD_MINUTES = toString cfg.reminders.leadMinutes;
      SESSION_RETENTION_DAYS = toString cfg.retention.days;
    };

    systemd.services = lib.mkMerge [
      (lib.mkIf cfg.reminders.enable {
        nakamura-misaki-remind = unit.service {
          description = "nakamura-misaki: reminders of handoffs";
          command = [ "remind" ];
          credentials = [ "slack-bot-token" ];
          network = true; # Slack
          serviceConfig = {
            Type = "oneshot";
            # It ends what is under way when it is asked to stop.
            TimeoutStartSec = "10min";
            TimeoutStopSec = "30s";
          };
        };
      })
      (lib.mkIf cfg.retention.enable {
        nakamura-misaki-prune = unit.service {
          description = "nakamura-misaki: retention";
          command = [ "prune" ];
          serviceConfig = {
            Type = "oneshot";
            TimeoutStartSec = "1h";
          };
        };
      })
      (lib.mkIf (cfg.embeddings.enable && inPostgresql) {
        nakamura-misaki-embed-pending = unit.service {
          description = "nakamura-misaki: vectors that are missing";
          command = [ "embed-pending" ];
          credentials = [ "openai-api-key" ];
          network = cfg.embedding.provider == "openai"; # the embedding server
          serviceConfig = {
            Type = "oneshot";
            TimeoutStartSec = "6h";
          };
        };
      })
      (lib.mkIf (cfg.maintenance.enable && inPostgresql) {
        nakamura-misaki-maintain = unit.service {
          description = "nakamura-misaki: vector indexes";
          command = [ "maintain" ];
          role = "owner";
          serviceConfig = {
            Type = "oneshot";
            TimeoutStartSec = "6h";
          };
        };
      })
    ];

    systemd.timers = lib.mkMerge [
      (lib.mkIf cfg.reminders.enable {
        nakamura-misaki-remind = unit.timer {
          description = "reminders of handoffs";
          OnActiveSec = "30s";
          OnUnitInactiveSec = cfg.reminders.interval;
          AccuracySec = "1s";
        };
      })
      (lib.mkIf cfg.retention.enable {
        nakamura-misaki-prune = unit.timer {
          description = "retention";
          OnCalendar = cfg.retention.startAt;
          Persistent = true;
          RandomizedDelaySec = "10min";
        };
      })
      (lib.mkIf (cfg.embeddings.enable && inPostgresql) {
        nakamura-misaki-embed-pending = unit.timer {
          description = "vectors that are missing";
          OnActiveSec = "1min";
          OnUnitInactiveSec = cfg.embeddings.interval;
          AccuracySec = "10s";
        };
      })
      (lib.mkIf (cfg.maintenance.enable && inPostgresql) {
        nakamura-misaki-maintain = unit.timer {
          description = "vector indexes";
          OnCalendar = cfg.maintenance.startAt;
          Persistent = true;
        };
      })
    ];

    assertions = [
      {
        assertion = cfg.reminders.enable -> cfg.slack.enable;
        message = "services.nakamura-misaki.reminders go out by Slack, and slack.enable is false: enable it, or set reminders.enable = false.";
      }
    ];
  };
}
