# The hosts that every suite looks at: name → modules.
{
  lib,
  pkgs,
  sops,
}:
let
  misaki = settings: { services.nakamura-misaki = settings; };

  # No file is read: systemd would, at the unit's start.
  secret = name: "/run/test-secrets/${name}";

  slack = {
    enable = true;
    botTokenFile = secret "slack-bot-token";
    appTokenFile = secret "slack-app-token";
  };
  backup = {
    enable = true;
    verify.enable = true;
  };
  external = {
    createLocally = false;
    urlFile = secret "database-url";
    ownerUrlFile = secret "database-owner-url";
  };

  # PostgreSQL as another service of the host has it.
  otherService = {
    services.postgresql = {
      enable = true;
      package = pkgs.postgresql_17;
      ensureDatabases = [ "other" ];
      ensureUsers = [
        {
          name = "other";
          ensureDBOwnership = true;
        }
      ];
      authentication = "local all all scram-sha-256";
      identMap = "other root other";
      settings.shared_buffers = "1GB";
    };
  };

  withSops = [
    sops
    {
      sops.age.keyFile = "/var/lib/sops-nix/key.txt";
      services.nakamura-misaki.sops = {
        enable = true;
        file = ../../secrets/nakamura-misaki.yaml;
      };
    }
  ];
in
{
  minimal = [ ];

  everything = [
    (misaki {
      inherit slack backup;
      timeZone = "Europe/Berlin";
      workspaceId = "T01ABC123";
      settings.LOG_LEVEL = "debug";
      environmentFiles = [ "/etc/nakamura-misaki.env" ];
      embedding.apiKeyFile = secret "openai-api-key";
      api = {
        host = "0.0.0.0";
        openFirewall = true;
        tokensFile = secret "api-tokens";
      };
      database.tuning.enable = true;
      migration.legacyDataDir = "/srv/old-data";
      monitoring.enable = true;
    })
    {
      services.prometheus = {
        enable = true;
        exporters.node = {
          enable = true;
          enabledCollectors = [ "systemd" ];
        };
      };
      services.grafana = {
        enable = true;
        settings = {
          server.http_port = 3000;
          security.secret_key = "$__file{/run/test-secrets/grafana}";
        };
      };
    }
  ];

  quiet = [
    (misaki {
      retention.enable = false;
      embeddings.enable = false;
      maintenance.enable = false;
    })
  ];

  slack-socket = [ (misaki { inherit slack; }) ];

  slack-events = [
    (misaki {
      slack = {
        enable = true;
        mode = "events";
        botTokenFile = secret "slack-bot-token";
        signingSecretFile = secret "slack-signing-secret";
      };
    })
  ];

  openai-by-key = [ (misaki { embedding.apiKeyFile = secret "openai-api-key"; }) ];

  openai-by-address = [ (misaki { embedding.baseUrl = "http://localhost:11434/v1"; }) ];

  own-user = [
    (misaki {
      user = "misaki";
      group = "team";
    })
    {
      users.users.misaki = {
        isSystemUser = true;
        group = "team";
      };
      users.groups.team = { };
    }
  ];

  with-backup = [ (misaki { inherit backup; }) ];

  external = [ (misaki { database = external; }) ];

  external-with-everything = [
    (misaki {
      inherit slack backup;
      database = external // {
        adminUrlFile = secret "database-admin-url";
      };
      embedding.apiKeyFile = secret "openai-api-key";
      api.tokensFile = secret "api-tokens";
      migration.legacyDataDir = "/srv/old-data";
    })
  ];

  shared = [ otherService ];

  # The module of the other service may come first or last.
  shared-by-default = [
    { services.postgresql.enable = lib.mkDefault true; }
  ];

  postgresql-17 = [ (misaki { database.package = pkgs.postgresql_17; }) ];

  postgresql-18 = [ { services.postgresql.package = pkgs.postgresql_18; } ];

  json = [ (misaki { storage.backend = "json"; }) ];

  json-alone = [
    (misaki {
      storage.backend = "json";
      database.createLocally = false;
    })
  ];
}
// lib.optionalAttrs (sops != null) {
  with-sops = withSops;

  with-sops-and-everything = withSops ++ [
    (misaki {
      inherit backup;
      slack.enable = true;
      sops.keys = [
        "openai-api-key"
        "api-tokens"
      ];
    })
  ];

  with-sops-and-external = withSops ++ [
    (misaki {
      inherit backup;
      database.createLocally = false;
      slack = {
        enable = true;
        mode = "events";
      };
      sops.keys = [ ];
    })
  ];
}
