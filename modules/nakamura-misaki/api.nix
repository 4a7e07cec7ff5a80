# The service: HTTP API and Slack in one process.
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

  loopback = [
    "127.0.0.1"
    "::1"
    "localhost"
  ];
in
{
  options.services.nakamura-misaki.api = {
    host = mkOption {
      type = types.nonEmptyStr;
      default = "127.0.0.1";
      example = "0.0.0.0";
      description = ''
        Where the API listens. On loopback `tailscale serve` or a proxy can pass it on, with TLS.
        A local PostgreSQL and this address are all that a host without Slack talks to.
      '';
    };

    port = mkOption {
      type = types.port;
      default = 10000;
      example = 8080;
      description = "On which port.";
    };

    openFirewall = mkOption {
      type = types.bool;
      default = false;
      example = true;
      description = "Whether other machines may reach that port.";
    };

    tokensFile = mkOption {
      type = optionTypes.secretFile;
      default = null;
      example = "/run/secrets/nakamura-misaki/api-tokens";
      description = ''
        A file with bearer tokens, one `NAME SECRET [WORKSPACE [USER]]` a line (docs/api.md), beside those that
        `nakamura-misaki token create` makes.
      '';
    };
  };

  config = lib.mkIf cfg.enable {
    services.nakamura-misaki = {
      environment = {
        API_HOST = cfg.api.host;
        API_PORT = toString cfg.api.port;
      };
      credentials = lib.optionalAttrs (cfg.api.tokensFile != null) {
        api-tokens = cfg.api.tokensFile;
      };
    };

    networking.firewall.allowedTCPPorts = lib.mkIf cfg.api.openFirewall [ cfg.api.port ];

    systemd.services.nakamura-misaki-api = unit.service {
      description = "nakamura-misaki: HTTP API and Slack";
      command = [ "serve" ];
      credentials = [
        "openai-api-key"
        "slack-bot-token"
        "slack-app-token"
        "slack-signing-secret"
        "api-tokens"
      ];
      # It listens on TCP, and calls Slack and the embedding server.
      network = true;
      wantedBy = [ "multi-user.target" ];
      after = [ "nakamura-misaki-migrate.service" ];
      # Five crashes in two minutes end it. A database that stays away does not: each wait is longer.
      startLimitIntervalSec = 120;
      startLimitBurst = 5;
      serviceConfig = {
        Type = "notify";
        NotifyAccess = "main";
        WatchdogSec = "20s";
        TimeoutStopSec = "15s";
        Restart = "on-failure";
        RestartSec = "2s";
        RestartSteps = 5;
        RestartMaxDelaySec = "1min";
        # A wrong setting, or a schema that init-db has not brought up: waiting does not mend these.
        RestartPreventExitStatus = "5 7";
        StateDirectory = "nakamura-misaki";
        StateDirectoryMode = "0700";
      };
    };

    assertions = [
      {
        assertion = cfg.api.openFirewall -> !lib.elem cfg.api.host loopback;
        message = "services.nakamura-misaki.api.openFirewall opens port ${toString cfg.api.port}, but api.host is ${cfg.api.host}, where no other machine can reach it: set api.host, or leave the port closed.";
      }
      {
        assertion = cfg.api.port != 0;
        message = "services.nakamura-misaki.api.port is 0: others must know the port, so give one.";
      }
    ];
  };
}
