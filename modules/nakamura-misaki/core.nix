# What everything else builds on: the package, the users, the settings common to all units.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.services.nakamura-misaki;
  names = import ./setting-names.nix;
  defaultUser = "nakamura-misaki";

  settingValue = value: if lib.isBool value then lib.boolToString value else toString value;

  # Why services.nakamura-misaki.settings may not hold a name; null if it may.
  objection =
    name:
    if lib.elem name names.free then
      null
    else if names.dedicated ? ${name} then
      "has an option of its own, services.nakamura-misaki.${names.dedicated.${name}}"
    else
      let
        secret = lib.removeSuffix "_FILE" name;
      in
      if names.secret ? ${secret} then
        "may hold a secret; give a file to services.nakamura-misaki.${names.secret.${secret}}"
      else
        "is not a setting of nakamura-misaki; those are ${lib.concatStringsSep ", " names.free}";
in
{
  options.services.nakamura-misaki = {
    enable = lib.mkEnableOption ''
      nakamura-misaki, a team assistant in Slack that keeps tasks, handoffs, notes and sessions
      in PostgreSQL with pgvector'';

    package = lib.mkPackageOption pkgs "nakamura-misaki" {
      example = "inputs.nakamura-misaki.packages.\${pkgs.stdenv.hostPlatform.system}.default";
    };

    user = mkOption {
      type = types.str;
      default = defaultUser;
      example = "misaki";
      description = ''
        The system user of the service and its timers. It may read and write rows and nothing
        more. A user of another name must be declared by you. Changes of the schema run as
        `nakamura-misaki-owner`, backups of the local database as `postgres`.
      '';
    };

    group = mkOption {
      type = types.str;
      default = defaultUser;
      example = "misaki";
      description = "The group of both users. One of another name must be declared by you.";
    };

    timeZone = mkOption {
      type = types.nonEmptyStr;
      default = if config.time.timeZone != null then config.time.timeZone else "Asia/Tokyo";
      defaultText = lib.literalExpression ''if config.time.timeZone != null then config.time.timeZone else "Asia/Tokyo"'';
      example = "Europe/Berlin";
      description = "The time zone in which the team says a time, and in which times are shown to it.";
    };

    workspaceId = mkOption {
      type = types.nonEmptyStr;
      default = "default";
      example = "T01ABC123";
      description = ''
        The workspace that the service, the timers and the command line work on: the id of the
        Slack team, or any name. Rows of other workspaces in the database stay invisible.
      '';
    };

    settings = mkOption {
      type = types.attrsOf (
        types.oneOf [
          types.str
          types.int
          types.float
          types.bool
        ]
      );
      default = { };
      example = {
        LOG_LEVEL = "debug";
        SLOW_QUERY_SECONDS = 0.2;
      };
      description = ''
        Further settings, by their name in the environment (README.md lists them). Names that
        have an option of their own, secrets and unknown names are refused.
      '';
    };

    environmentFiles = mkOption {
      type = types.listOf (
        types.pathWith {
          inStore = false;
          absolute = true;
        }
      );
      default = [ ];
      example = [ "/etc/nakamura-misaki.env" ];
      description = ''
        Files with `NAME=value` lines that all units read (systemd's `EnvironmentFile=`). They
        count more than options. Not for secrets: an environment can be read by every process
        of the same user, and ends up in dumps.
      '';
    };

    environment = mkOption {
      type = types.attrsOf types.str;
      default = { };
      internal = true;
      description = "What all units have in their environment; each concern adds its own.";
    };

    credentials = mkOption {
      type = types.attrsOf types.str;
      default = { };
      internal = true;
      description = "Credential name → file, of all secrets there are; each unit takes those it needs.";
    };
  };

  config = lib.mkIf cfg.enable {
    assertions =
      lib.mapAttrsToList (name: _: {
        assertion = objection name == null;
        message = "services.nakamura-misaki.settings.${name}: this ${toString (objection name)}.";
      }) cfg.settings
      ++ [
        {
          assertion = config.users.users ? ${cfg.user};
          message = ''services.nakamura-misaki.user is "${cfg.user}", and this host declares no such user: add users.users."${cfg.user}", or leave the option out.'';
        }
        {
          assertion = config.users.groups ? ${cfg.group};
          message = ''services.nakamura-misaki.group is "${cfg.group}", and this host declares no such group: add users.groups."${cfg.group}", or leave the option out.'';
        }
        {
          assertion =
            !lib.elem cfg.user [
              "root"
              "postgres"
              "nakamura-misaki-owner"
            ];
          message = ''services.nakamura-misaki.user may not be "${cfg.user}": the service must be able to do less than that user.'';
        }
      ];

    users.users = {
      nakamura-misaki-owner = {
        isSystemUser = true;
        inherit (cfg) group;
        description = "changes the schema of nakamura-misaki's database";
      };
    }
    // lib.optionalAttrs (cfg.user == defaultUser) {
      ${defaultUser} = {
        isSystemUser = true;
        inherit (cfg) group;
        description = "nakamura-misaki";
      };
    };
    users.groups = lib.optionalAttrs (cfg.group == defaultUser) { ${defaultUser} = { }; };

    services.nakamura-misaki.environment = {
      TIME_ZONE = cfg.timeZone;
      WORKSPACE_ID = cfg.workspaceId;
    }
    // lib.mapAttrs (_: settingValue) (
      lib.filterAttrs (name: _: lib.elem name names.free) cfg.settings
    );
  };
}
