# The JSON files of the old system, imported once before the service starts.
{
  config,
  lib,
  pkgs,
  utils,
  ...
}:
let
  cfg = config.services.nakamura-misaki;
  source = cfg.migration.legacyDataDir;
  optionTypes = import ./option-types.nix { inherit lib; };
  unit = import ./unit.nix { inherit config lib utils; };

  # In the unit's state directory; another directory is another import.
  mark = "imported-${builtins.substring 0 16 (builtins.hashString "sha256" source)}";
  state = "/var/lib/nakamura-misaki-import";
  copy = "/run/nakamura-misaki-import/data";

  # The old files may belong to anybody, so root copies them to where the unit can read them: times
  # and links as they are, since an entry without a time gets its file's.
  fetch = pkgs.writeShellScript "nakamura-misaki-fetch-legacy-data" ''
    set -euo pipefail
    export PATH=${lib.makeBinPath [ pkgs.coreutils ]}
    # Exit code 1 is the import's, and ends it for good.
    trap 'exit 2' ERR
    source=$1 copy=$2 owner=$3
    if ! [ -d "$source" ]; then
      echo "There is no directory $source, which services.nakamura-misaki.migration.legacyDataDir names; nothing was imported." >&2
      exit 2
    fi
    rm -rf "$copy"
    cp -a "$source" "$copy"
    chown -Rh "$owner" "$copy"
    chmod -R u+rwX,go= "$copy"
  '';

  # Entries that could not be read (exit code 1) are named in the journal and fail the unit; all
  # others are in. Both end the import: another run would bring back what was deleted since.
  finish = pkgs.writeShellScript "nakamura-misaki-finish-import" ''
    set -euo pipefail
    export PATH=${lib.makeBinPath [ pkgs.coreutils ]}
    if [ "$EXIT_CODE" = exited ] && { [ "$EXIT_STATUS" = 0 ] || [ "$EXIT_STATUS" = 1 ]; }; then
      date --utc --iso-8601=seconds > "$STATE_DIRECTORY/$1"
    fi
  '';
in
{
  options.services.nakamura-misaki.migration.legacyDataDir = lib.mkOption {
    type = lib.types.nullOr optionTypes.directory;
    default = null;
    example = "/home/misaki/nakamura-misaki/data";
    description = ''
      The data directory of the old system. It is imported once, before the service starts, and
      left as it is. What can't be read is listed in the journal of
      `nakamura-misaki-migrate.service`, which has then failed; the service starts all the same.
      Newer entries of the database are never replaced by older ones of a file.
    '';
  };

  config = lib.mkIf (cfg.enable && source != null && cfg.storage.backend == "postgresql") {
    systemd.services.nakamura-misaki-migrate = unit.service {
      description = "import of nakamura-misaki's old JSON files";
      command = [
        "migrate"
        copy
        "--verify"
      ];
      role = "owner";
      credentials = [ "openai-api-key" ];
      network = cfg.embedding.provider == "openai"; # the embedding server
      wantedBy = [ "multi-user.target" ];
      before = [ "nakamura-misaki-api.service" ];
      unitConfig = {
        ConditionPathExists = "!${state}/${mark}";
        RequiresMountsFor = source;
      };
      serviceConfig = {
        Type = "oneshot";
        # A command of ExecStart and no ExecStartPre, of which RestartPreventExitStatus knows nothing.
        ExecStart = lib.mkBefore [
          "+${
            utils.escapeSystemdExecArgs [
              fetch
              source
              copy
              unit.roles.owner.user
            ]
          }"
        ];
        ExecStopPost = "${finish} ${mark}";
        StateDirectory = "nakamura-misaki-import";
        StateDirectoryMode = "0700";
        RuntimeDirectory = "nakamura-misaki-import";
        RuntimeDirectoryMode = "0700";
        TimeoutStartSec = "6h";
        Restart = "on-failure";
        RestartMode = "direct";
        RestartSec = "10s";
        # Only a database that went away (6) is worth another try.
        RestartPreventExitStatus = "1 2 5 7 8 70";
      };
      startLimitIntervalSec = 900;
      startLimitBurst = 30;
    };
  };
}
