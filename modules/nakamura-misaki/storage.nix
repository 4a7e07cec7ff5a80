# Where the data is: PostgreSQL, or after a rollback the JSON files that an export wrote.
{
  config,
  lib,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.services.nakamura-misaki;
  optionTypes = import ./option-types.nix { inherit lib; };
in
{
  options.services.nakamura-misaki.storage = {
    backend = mkOption {
      type = types.enum [
        "postgresql"
        "json"
      ];
      default = "postgresql";
      example = "json";
      description = ''
        `json` serves from {option}`services.nakamura-misaki.storage.jsonDataDir`: the way back
        that docs/migration.md describes. The database stays as it is.
      '';
    };

    jsonDataDir = mkOption {
      type = optionTypes.directory;
      default = "/var/lib/nakamura-misaki/json";
      example = "/srv/nakamura-misaki/json";
      description = "The directory of the backend `json`, which the service's user must be able to write.";
    };
  };

  config = lib.mkIf cfg.enable {
    services.nakamura-misaki.environment = {
      STORAGE_BACKEND = cfg.storage.backend;
    }
    // lib.optionalAttrs (cfg.storage.backend == "json") { JSON_DATA_DIR = cfg.storage.jsonDataDir; };

    assertions = [
      {
        assertion = cfg.storage.backend == "postgresql" || cfg.migration.legacyDataDir == null;
        message = "services.nakamura-misaki.migration.legacyDataDir imports into PostgreSQL, but storage.backend is json: leave one of them out.";
      }
      {
        assertion = cfg.storage.backend == "postgresql" || !cfg.backup.enable;
        message = "services.nakamura-misaki.backup saves the database, but storage.backend is json and nothing new is in it: set backup.enable = false, and save ${cfg.storage.jsonDataDir} as you save other files.";
      }
    ];
  };
}
