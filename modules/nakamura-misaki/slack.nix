# The team's side: Slack by Socket Mode, or by the Events API over HTTP.
{
  config,
  lib,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.services.nakamura-misaki;
  optionTypes = import ./option-types.nix { inherit lib; };

  needed = {
    socket = [
      "botTokenFile"
      "appTokenFile"
    ];
    events = [
      "botTokenFile"
      "signingSecretFile"
    ];
  };
in
{
  options.services.nakamura-misaki.slack = {
    enable = lib.mkEnableOption "the assistant in Slack (docs/slack.md says how to make the app)";

    mode = mkOption {
      type = types.enum [
        "socket"
        "events"
      ];
      default = "socket";
      example = "events";
      description = ''
        `socket` needs no public address. `events` has Slack call `/slack/events`, which a proxy
        of yours or Tailscale Funnel must pass on from a public https address.
      '';
    };

    botTokenFile = mkOption {
      type = optionTypes.secretFile;
      default = null;
      example = "/run/secrets/nakamura-misaki/slack-bot-token";
      description = "A file with a bot's (`xoxb-`) or a user's token (`xoxp-`).";
    };

    appTokenFile = mkOption {
      type = optionTypes.secretFile;
      default = null;
      example = "/run/secrets/nakamura-misaki/slack-app-token";
      description = "A file with the app-level token (`xapp-`), for the mode `socket`.";
    };

    signingSecretFile = mkOption {
      type = optionTypes.secretFile;
      default = null;
      example = "/run/secrets/nakamura-misaki/slack-signing-secret";
      description = "A file with the signing secret, for the mode `events`.";
    };
  };

  config = lib.mkIf cfg.enable {
    services.nakamura-misaki = {
      environment.SLACK_MODE = if cfg.slack.enable then cfg.slack.mode else "off";
      credentials = lib.optionalAttrs cfg.slack.enable (
        lib.filterAttrs (_: file: file != null) {
          slack-bot-token = cfg.slack.botTokenFile;
          slack-app-token = cfg.slack.appTokenFile;
          slack-signing-secret = cfg.slack.signingSecretFile;
        }
      );
    };

    assertions = lib.optionals cfg.slack.enable (
      map (name: {
        assertion = cfg.slack.${name} != null;
        message = "services.nakamura-misaki.slack.enable is true and its mode is ${cfg.slack.mode}, so services.nakamura-misaki.slack.${name} must name a file.";
      }) needed.${cfg.slack.mode}
    );
  };
}
