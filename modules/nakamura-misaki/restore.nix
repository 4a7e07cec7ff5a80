# `nakamura-misaki-restore FILE`: stops what writes, puts a dump in the database's place, starts it again.
{
  config,
  lib,
  pkgs,
  utils,
  ...
}:
let
  cfg = config.services.nakamura-misaki;
  unit = import ./unit.nix { inherit config lib utils; };
  inherit (unit.roles.admin) user;

  # All that may hold a connection or make one while the database is exchanged.
  timers = lib.filter (lib.hasPrefix "nakamura-misaki-") (lib.attrNames config.systemd.timers);
  stopped =
    map (name: "${name}.timer") timers
    ++ map (name: "${name}.service") timers
    ++ [ "nakamura-misaki-api.service" ]
    # systemctl fails over a unit that this host has not.
    ++ lib.optional (
      config.systemd.services ? nakamura-misaki-migrate
    ) "nakamura-misaki-migrate.service";
  started = [
    "nakamura-misaki-api.service"
  ]
  ++ map (name: "${name}.timer") timers;

  command = pkgs.writeShellApplication {
    name = "nakamura-misaki-restore";
    runtimeInputs = [
      pkgs.coreutils
      pkgs.util-linux
      config.systemd.package
      cfg.commandLine
    ];
    text = ''
      usage() {
        cat <<'USAGE'
      Usage: nakamura-misaki-restore FILE [OPTIONS]

        Put a backup in the place of the database: stops the service and its timers,
        restores FILE beside the present database, checks it, exchanges the two, and
        starts everything again, also when something went wrong.

        The present database is kept under another name, which is printed.

        Examples:
          nakamura-misaki-restore ${cfg.backup.location}/nakamura-misaki-20261125T023000Z.dump
          ls ${cfg.backup.location}

      OPTIONS are those of `nakamura-misaki restore --help`.
      USAGE
      }
      case ''${1:-} in
        -h | --help) usage; exit 0 ;;
        "" | -*) usage >&2; exit 2 ;;
      esac
      if [ "$(id -u)" != 0 ]; then
        echo "Only root may stop the service and exchange its database: sudo nakamura-misaki-restore $*" >&2
        exit 5
      fi
      if ! [ -f "$1" ]; then
        echo "There is no file $1; the backups are in ${cfg.backup.location}." >&2
        exit 2
      fi
      if ! runuser -u ${user} -- test -r "$1"; then
        echo "The user ${user}, who restores, can't read $1: copy it with its .json to ${cfg.backup.location} and give it to that user." >&2
        exit 2
      fi

      start_again() {
        status=$?
        # Ctrl-C, or a connection that is lost, must not leave the service down.
        trap "" INT TERM HUP
        echo "Starting the service again ..." >&2
        # A restart asked for by a person is no crash: it must not meet the limit of those.
        systemctl reset-failed nakamura-misaki-init-db.service nakamura-misaki-api.service || true
        if ! { systemctl restart nakamura-misaki-init-db.service && systemctl start ${lib.escapeShellArgs started}; }; then
          echo "The service did not start: journalctl -u nakamura-misaki-init-db -u nakamura-misaki-api" >&2
          [ "$status" != 0 ] || status=1
        fi
        exit "$status"
      }
      trap start_again EXIT
      trap 'exit 130' INT TERM HUP
      echo "Stopping the service and its timers ..." >&2
      systemctl stop ${lib.escapeShellArgs stopped}
      nakamura-misaki restore "$@"
    '';
  };
in
{
  config = lib.mkIf (cfg.enable && cfg.backup.enable) {
    environment.systemPackages = [ command ];
  };
}
