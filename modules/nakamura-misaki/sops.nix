# The secrets by sops-nix: declared here, decrypted on the host, handed to the units as credentials.
{
  config,
  lib,
  options,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.services.nakamura-misaki;
  hasSopsNix = options ? sops;

  # Key in the file → the option that takes the decrypted file, and whether it is turned on.
  secrets = {
    database-url = {
      option = "database.urlFile";
      wanted = !cfg.database.createLocally;
    };
    database-owner-url = {
      option = "database.ownerUrlFile";
      wanted = !cfg.database.createLocally;
    };
    database-admin-url = {
      option = "database.adminUrlFile";
      wanted = !cfg.database.createLocally && cfg.backup.enable;
    };
    openai-api-key = {
      option = "embedding.apiKeyFile";
      wanted = lib.elem "openai-api-key" cfg.sops.keys;
    };
    api-tokens = {
      option = "api.tokensFile";
      wanted = lib.elem "api-tokens" cfg.sops.keys;
    };
    slack-bot-token = {
      option = "slack.botTokenFile";
      wanted = cfg.slack.enable;
    };
    slack-app-token = {
      option = "slack.appTokenFile";
      wanted = cfg.slack.enable && cfg.slack.mode == "socket";
    };
    slack-signing-secret = {
      option = "slack.signingSecretFile";
      wanted = cfg.slack.enable && cfg.slack.mode == "events";
    };
  };

  secret = key: "nakamura-misaki/${key}";
in
{
  options.services.nakamura-misaki.sops = {
    enable = lib.mkEnableOption ''
      declaring the secrets of what is turned on with sops-nix, whose module must be imported.
      A key `slack-bot-token` stands under `nakamura-misaki` in the file; one that changes
      restarts the service. An option that names a file itself counts more'';

    file = mkOption {
      type = types.nullOr types.path;
      default = null;
      example = lib.literalExpression "./secrets/nakamura-misaki.yaml";
      description = ''
        The encrypted file; it may be in the store. `null` is
        {option}`sops.defaultSopsFile`.
      '';
    };

    keys = mkOption {
      type = types.listOf (
        types.enum [
          "openai-api-key"
          "api-tokens"
        ]
      );
      default = [ "openai-api-key" ];
      example = [
        "openai-api-key"
        "api-tokens"
      ];
      description = ''
        Which of the keys that nothing else turns on are in the file. (Those of Slack and of a
        server elsewhere are taken where that is turned on.)
      '';
    };
  };

  config = lib.mkIf (cfg.enable && cfg.sops.enable) (
    {
      assertions = [
        {
          assertion = hasSopsNix;
          message = "services.nakamura-misaki.sops.enable needs sops-nix: import sops-nix.nixosModules.sops, or set the file options yourself and leave sops.enable out.";
        }
      ];
    }
    // lib.optionalAttrs hasSopsNix {
      services.nakamura-misaki = lib.mkMerge (
        lib.mapAttrsToList (
          key:
          { option, wanted }:
          lib.setAttrByPath (lib.splitString "." option) (
            lib.mkIf wanted (lib.mkDefault config.sops.secrets.${secret key}.path)
          )
        ) secrets
      );

      # systemd reads them as root for LoadCredential, so nobody else needs to.
      sops.secrets = lib.mkMerge (
        lib.mapAttrsToList (
          key:
          { wanted, ... }:
          lib.mkIf wanted {
            ${secret key} = {
              restartUnits = [ "nakamura-misaki-api.service" ];
              sopsFile = lib.mkIf (cfg.sops.file != null) cfg.sops.file;
            };
          }
        ) secrets
      );
    }
  );
}
