# `nakamura-misaki` for the operator: the program with the service's own settings and credentials.
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

  # What systemd-run is told for a role, one argument a line.
  properties =
    role:
    let
      inherit (unit.roles.${role}) user credentials;
    in
    [
      "--property=User=${user}"
      "--property=Group=${if user == "postgres" then "postgres" else cfg.group}"
      "--property=UMask=0077"
      "--property=NoNewPrivileges=yes"
    ]
    ++ lib.mapAttrsToList (name: value: "--setenv=${name}=${value}") (unit.environmentOf role)
    ++ map (credential: "--property=LoadCredential=${credential}") (
      unit.loadCredentials (
        credentials
        ++ [
          "openai-api-key"
          "slack-bot-token"
          "slack-app-token"
          "slack-signing-secret"
          "api-tokens"
        ]
      )
    )
    ++ map (file: "--property=EnvironmentFile=${file}") cfg.environmentFiles
    ++ lib.optionals (role == "runtime") [
      "--property=StateDirectory=nakamura-misaki"
      "--property=StateDirectoryMode=0700"
    ];

  command = pkgs.writeShellApplication {
    name = "nakamura-misaki";
    runtimeInputs = [
      pkgs.coreutils
      pkgs.util-linux
      config.systemd.package
    ];
    text = ''
      subcommand="" help="" role="runtime"
      for argument in "$@"; do
        case $argument in
          -h | --help | --version) help=yes ;;
          -*) ;;
          *) [ -n "$subcommand" ] || subcommand=$argument ;;
        esac
      done
      case $subcommand in
        init-db | maintain | migrate | reembed) role="owner" ;;
        backup | verify-backup | restore) role="admin" ;;
      esac
      # These need no settings, and no root.
      if [ -n "$help" ] || [ -z "$subcommand" ] || [ "$subcommand" = completion ] || [ -n "''${_NAKAMURA_MISAKI_COMPLETE:-}" ]; then
        exec ${lib.getExe cfg.package} "$@"
      fi
      if [ "$(id -u)" != 0 ]; then
        echo "nakamura-misaki uses the service's settings and secrets here, which only root may: sudo nakamura-misaki $*" >&2
        exit 5
      fi

      # An import of somebody's home, which only root and that person can enter.
      if [ "$subcommand" = migrate ]; then
        for argument in "$@"; do
          if [ -d "$argument" ] && ! runuser -u ${unit.roles.owner.user} -- test -r "$argument" -a -x "$argument"; then
            echo "The user ${unit.roles.owner.user}, who imports, can't read $argument: name it in services.nakamura-misaki.migration.legacyDataDir, or copy it to where that user can read it." >&2
            exit 2
          fi
        done
      fi

      if [ -t 0 ] && [ -t 1 ] && [ -t 2 ]; then
        attached=(--pty)
      else
        attached=(--pipe)
      fi
      for name in TERM COLORTERM NO_COLOR LANG COLUMNS NAKAMURA_MISAKI_USER; do
        if [ -n "''${!name:-}" ]; then
          attached+=("--setenv=$name")
        fi
      done
      case $role in
        ${lib.concatMapStringsSep "\n  " (role: ''
          ${role})
            properties=(
              ${lib.concatMapStringsSep "\n      " lib.escapeShellArg (properties role)}
            )
            ;;'') (lib.attrNames unit.roles)}
      esac
      # systemd would say that it could not set up credentials, and not which.
      for property in "''${properties[@]}"; do
        case $property in
          --property=LoadCredential=*)
            file=''${property#*:}
            if ! [ -e "$file" ]; then
              echo "There is no file $file, which holds a secret: see \"When a unit fails\" in docs/operations.md." >&2
              exit 5
            fi
            ;;
        esac
      done
      # With systemd-run alone Ctrl-C would end, and the unit work on by itself.
      unit="run-nakamura-misaki-$$"
      trap 'systemctl stop "$unit.service" 2>/dev/null || true; exit 130' INT TERM HUP
      run=(
        systemd-run --quiet --wait --collect --expand-environment=no --unit="$unit"
        --property="WorkingDirectory=-$PWD" --description="nakamura-misaki $subcommand"
        "''${attached[@]}" "''${properties[@]}" ${lib.getExe cfg.package} "$@"
      )
      if [ "''${attached[0]}" = --pty ]; then
        "''${run[@]}"
      else
        # bash hears a signal at once only while it waits.
        "''${run[@]}" <&0 &
        wait "$!"
      fi
    '';
  };
in
{
  options.services.nakamura-misaki.commandLine = lib.mkOption {
    type = lib.types.package;
    internal = true;
    readOnly = true;
    description = "The operator's command.";
  };

  config = lib.mkIf cfg.enable {
    services.nakamura-misaki.commandLine = command;
    environment.systemPackages = [
      (lib.hiPrio command)
      # For its completions.
      cfg.package
    ];
  };
}
