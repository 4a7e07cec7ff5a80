# A host for each mistake that the module refuses, and what stands in the message (`says`: whatever the
# values are; `also`: with these).
{ lib, pkgs }:
let
  misaki = settings: { services.nakamura-misaki = settings; };
  secret = "/run/test-secrets/some-secret";
  external = {
    createLocally = false;
    urlFile = secret;
    ownerUrlFile = secret;
  };
in
{
  "a setting that has an option of its own" = {
    says = [
      "services.nakamura-misaki.settings."
      "this "
    ];
    also = [ "has an option of its own, services.nakamura-misaki.api.port" ];
    modules = [ (misaki { settings.API_PORT = 8080; }) ];
  };
  "a setting that is a secret" = {
    says = [ "services.nakamura-misaki.settings." ];
    also = [
      "OPENAI_API_KEY: this may hold a secret; give a file to services.nakamura-misaki.embedding.apiKeyFile"
    ];
    modules = [ (misaki { settings.OPENAI_API_KEY = "sk-…"; }) ];
  };
  "a setting that names a secret's file" = {
    says = [ "services.nakamura-misaki.settings." ];
    also = [
      "DATABASE_URL_FILE: this may hold a secret; give a file to services.nakamura-misaki.database.urlFile"
    ];
    modules = [ (misaki { settings.DATABASE_URL_FILE = secret; }) ];
  };
  "a setting that does not exist" = {
    says = [ "services.nakamura-misaki.settings." ];
    also = [
      "LOG_LEVLE: this is not a setting of nakamura-misaki; those are "
      "LOG_LEVEL"
    ];
    modules = [ (misaki { settings.LOG_LEVLE = "debug"; }) ];
  };
  "a user that nobody declares" = {
    says = [
      "services.nakamura-misaki.user is "
      "add users.users."
      "or leave the option out"
    ];
    modules = [ (misaki { user = "nobody-declared-me"; }) ];
  };
  "a group that nobody declares" = {
    says = [
      "services.nakamura-misaki.group is "
      "add users.groups."
      "or leave the option out"
    ];
    modules = [ (misaki { group = "nobody-declared-me"; }) ];
  };
  "the owner of the schema as the service's user" = {
    says = [
      "services.nakamura-misaki.user may not be "
      "must be able to do less"
    ];
    also = [ "nakamura-misaki-owner" ];
    modules = [ (misaki { user = "nakamura-misaki-owner"; }) ];
  };
  "root as the service's user" = {
    says = [ "services.nakamura-misaki.user may not be " ];
    also = [ "root" ];
    modules = [ (misaki { user = "root"; }) ];
  };
  "the superuser of the database as the service's user" = {
    says = [ "services.nakamura-misaki.user may not be " ];
    also = [ "postgres" ];
    modules = [ (misaki { user = "postgres"; }) ];
  };

  "a NixOS without postgresql.target" = {
    says = [
      "services.nakamura-misaki needs the postgresql.target"
      "NixOS 25.11 or newer"
    ];
    modules = [ { systemd.targets = lib.mkForce { }; } ];
  };
  "a PostgreSQL that the host turns off" = {
    says = [
      "services.postgresql.enable is false"
      "createLocally"
    ];
    modules = [ { services.postgresql.enable = lib.mkForce false; } ];
  };
  "an old PostgreSQL" = {
    says = [
      "services.nakamura-misaki needs PostgreSQL 16 or newer"
      "set services.postgresql.package"
      "docs/operations.md"
      "services.nakamura-misaki.database.urlFile"
    ];
    also = [ "this host has 15.99" ];
    modules = [
      {
        services.postgresql.package = pkgs.postgresql_16 // {
          version = "15.99";
        };
      }
    ];
  };
  "authentication that is replaced" = {
    says = [
      "services.postgresql.authentication is overridden"
      "add the line `local nakamura_misaki nakamura_misaki_owner,nakamura_misaki peer map=nakamura-misaki`"
    ];
    modules = [ { services.postgresql.authentication = lib.mkForce "local all all peer"; } ];
  };
  "a user map that is replaced" = {
    says = [
      "services.postgresql.identMap is overridden"
      "add the lines `nakamura-misaki "
    ];
    also = [
      "`nakamura-misaki nakamura-misaki nakamura_misaki`, "
      "`nakamura-misaki nakamura-misaki-owner nakamura_misaki_owner`, "
      "`nakamura-misaki nakamura-misaki-owner nakamura_misaki`"
    ];
    modules = [ { services.postgresql.identMap = lib.mkForce "postgres postgres postgres"; } ];
  };
  "a socket elsewhere" = {
    says = [
      "services.postgresql.settings.unix_socket_directories"
      "/run/postgresql"
    ];
    modules = [ { services.postgresql.settings.unix_socket_directories = "/tmp"; } ];
  };
  "more connections than the server allows" = {
    says = [
      "services.nakamura-misaki.database may open "
      "raise services.postgresql.settings.max_connections or lower the pool"
    ];
    also = [
      "90 connections"
      "allows 100"
    ];
    modules = [
      (misaki {
        database.poolSize = 50;
        database.maxOverflow = 40;
      })
    ];
  };
  "a server that allows few connections" = {
    says = [ "services.nakamura-misaki.database may open " ];
    also = [
      "30 connections"
      "allows 40"
    ];
    modules = [ { services.postgresql.settings.max_connections = 40; } ];
  };
  "a local database and the URL of another" = {
    says = [
      "services.nakamura-misaki.database names a server elsewhere"
      "createLocally is true"
      "set createLocally = false, or leave the files out"
    ];
    modules = [ (misaki { database.adminUrlFile = secret; }) ];
  };
  "an external database without a URL" = {
    says = [
      "services.nakamura-misaki.database.createLocally is false, so services.nakamura-misaki.database.urlFile must name the file"
    ];
    modules = [ (misaki { database = removeAttrs external [ "urlFile" ]; }) ];
  };
  "an external database without the owner's URL" = {
    says = [
      "services.nakamura-misaki.database.createLocally is false, so services.nakamura-misaki.database.ownerUrlFile must name the file"
    ];
    modules = [ (misaki { database = removeAttrs external [ "ownerUrlFile" ]; }) ];
  };

  "an import where nothing goes to PostgreSQL" = {
    says = [
      "services.nakamura-misaki.migration.legacyDataDir imports into PostgreSQL"
      "storage.backend is json"
      "leave one of them out"
    ];
    modules = [
      (misaki {
        storage.backend = "json";
        migration.legacyDataDir = "/srv/old-data";
      })
    ];
  };
  "backups of a database that is not in use" = {
    says = [
      "services.nakamura-misaki.backup saves the database"
      "set backup.enable = false"
    ];
    modules = [
      (misaki {
        storage.backend = "json";
        backup.enable = true;
      })
    ];
  };

  "OpenAI without a key or an address" = {
    says = [
      "services.nakamura-misaki.embedding.provider is openai"
      "set embedding.apiKeyFile"
      "or embedding.baseUrl"
    ];
    modules = [ (misaki { embedding.provider = "openai"; }) ];
  };
  "a model where there is none" = {
    says = [
      "services.nakamura-misaki.embedding.model is set, but the provider is hashing"
      "leave it out, or set embedding.apiKeyFile or embedding.baseUrl"
    ];
    modules = [ (misaki { embedding.model = "text-embedding-3-large"; }) ];
  };
  "an address that is none" = {
    says = [
      "services.nakamura-misaki.embedding.baseUrl is "
      "it must look like http://localhost:11434/v1"
    ];
    also = [ "ollama.local" ];
    modules = [ (misaki { embedding.baseUrl = "ollama.local"; }) ];
  };
  "an address with a password" = {
    says = [
      "services.nakamura-misaki.embedding.baseUrl is "
      "the key goes to embedding.apiKeyFile"
    ];
    modules = [ (misaki { embedding.baseUrl = "https://misaki:secret@ai.example.net/v1"; }) ];
  };

  "Slack without the app's token" = {
    says = [ "services.nakamura-misaki.slack.appTokenFile must name a file" ];
    also = [
      "services.nakamura-misaki.slack.enable is true"
      "its mode is socket"
    ];
    modules = [
      (misaki {
        slack.enable = true;
        slack.botTokenFile = secret;
      })
    ];
  };
  "Slack without the bot's token" = {
    says = [ "services.nakamura-misaki.slack.botTokenFile must name a file" ];
    modules = [
      (misaki {
        slack.enable = true;
        slack.appTokenFile = secret;
        reminders.enable = false;
      })
    ];
  };
  "Slack's events without the signing secret" = {
    says = [ "services.nakamura-misaki.slack.signingSecretFile must name a file" ];
    also = [ "its mode is events" ];
    modules = [
      (misaki {
        slack = {
          enable = true;
          mode = "events";
          botTokenFile = secret;
        };
      })
    ];
  };
  "Slack's events without the bot's token" = {
    says = [ "services.nakamura-misaki.slack.botTokenFile must name a file" ];
    also = [ "its mode is events" ];
    modules = [
      (misaki {
        slack = {
          enable = true;
          mode = "events";
          signingSecretFile = secret;
        };
        reminders.enable = false;
      })
    ];
  };
  "reminders without Slack" = {
    says = [
      "services.nakamura-misaki.reminders go out by Slack"
      "slack.enable"
    ];
    modules = [ (misaki { reminders.enable = true; }) ];
  };

  "an open port that listens on loopback" = {
    says = [
      "services.nakamura-misaki.api.openFirewall opens port "
      "set api.host, or leave the port closed"
    ];
    also = [ "api.host is 127.0.0.1" ];
    modules = [ (misaki { api.openFirewall = true; }) ];
  };
  "any free port" = {
    says = [
      "services.nakamura-misaki.api.port is 0"
      "give one"
    ];
    modules = [ (misaki { api.port = 0; }) ];
  };

  "tests of backups that nobody makes" = {
    says = [
      "services.nakamura-misaki.backup.verify.enable restores what backup.enable makes"
      "set it"
    ];
    modules = [ (misaki { backup.verify.enable = true; }) ];
  };
  "backups of an external database without a superuser" = {
    says = [
      "services.nakamura-misaki.backup needs a role that sees every row"
      "set database.adminUrlFile"
      "BYPASSRLS"
    ];
    modules = [
      (misaki {
        database = external;
        backup.enable = true;
      })
    ];
  };
  "backups in a directory of everybody's" = {
    says = [
      "services.nakamura-misaki.backup.location is "
      "give a directory of its own"
    ];
    also = [ "/srv:" ];
    modules = [
      (misaki {
        backup.enable = true;
        backup.location = "/srv";
      })
    ];
  };

  "sops without sops-nix" = {
    says = [
      "services.nakamura-misaki.sops.enable needs sops-nix"
      "import sops-nix.nixosModules.sops"
      "or set the file options yourself"
    ];
    modules = [ (misaki { sops.enable = true; }) ];
  };
}
