# The options of what keeps it running, and where each shows. One row an option.
{ lib, sops }:
let
  inherit (import ./rows.nix { inherit lib; })
    row
    environment
    api
    timer
    hasUnit
    appears
    disappears
    rules
    scrape
    ;
in
[
  {
    option = "reminders.enable";
    on = "everything";
    alone = true;
    value = false;
    shows = hasUnit "remind";
    expected = disappears;
  }
  (row "reminders.interval" "everything" "30s" (timer "remind" "OnUnitInactiveSec") "1min" "30s")
  (row "reminders.leadMinutes" "everything" 30 (environment "remind" "REMINDER_LEAD_MINUTES") "10"
    "30"
  )
  {
    option = "retention.enable";
    on = "minimal";
    value = false;
    shows = hasUnit "prune";
    expected = disappears;
  }
  (row "retention.startAt" "everything" "Sun 04:00" (timer "prune" "OnCalendar") "daily" "Sun 04:00")
  (row "retention.days" "everything" 90 (environment "prune" "SESSION_RETENTION_DAYS") "30" "90")
  {
    option = "embeddings.enable";
    on = "minimal";
    value = false;
    shows = hasUnit "embed-pending";
    expected = disappears;
  }
  (row "embeddings.interval" "everything" "1min" (timer "embed-pending" "OnUnitInactiveSec") "5min"
    "1min"
  )
  {
    option = "maintenance.enable";
    on = "minimal";
    value = false;
    shows = hasUnit "maintain";
    expected = disappears;
  }
  (row "maintenance.startAt" "everything" "Sun 05:00" (timer "maintain" "OnCalendar") "03:30"
    "Sun 05:00"
  )

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
  (row "storage.jsonDataDir" "json" "/srv/json" (api "JSON_DATA_DIR") "/var/lib/nakamura-misaki/json"
    "/srv/json"
  )
  (row "migration.legacyDataDir" "minimal" "/srv/old-data" (
    host: lib.any (lib.hasInfix "/srv/old-data") (host.runs.migrate or [ ])
  ) false true)

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
  (row "backup.startAt" "everything" "*-*-* 00/6:00" (timer "backup" "OnCalendar") "02:30"
    "*-*-* 00/6:00"
  )
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
  (row "backup.keep" "everything" 60 (environment "backup" "BACKUP_KEEP") "14" "60")
  {
    option = "backup.verify.enable";
    on = "with-backup";
    value = false;
    shows = hasUnit "verify-backup";
    expected = disappears;
  }
  (row "backup.verify.startAt" "everything" "daily" (timer "verify-backup" "OnCalendar") "Sun 04:30"
    "daily"
  )

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
  (row "monitoring.scrapeInterval" "everything" "15s" scrape [ "30s" ] [ "15s" ])
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
