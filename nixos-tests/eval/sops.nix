# The secrets by sops-nix: declared for what is on, from the right file, and no more than a default.
{
  lib,
  evaluate,
  topologies,
  hosts,
  ...
}:
let
  prefix = "nakamura-misaki/";
  declared = host: map (lib.removePrefix prefix) (lib.attrNames host.config.sops.secrets);
  secrets = host: lib.attrValues host.config.sops.secrets;

  # Unit → the credentials it takes, and that each is where sops-nix puts it.
  misplaced =
    host:
    lib.filter (
      entry:
      let
        parts = lib.splitString ":" entry;
      in
      lib.last parts != "/run/secrets/${prefix}${lib.head parts}"
    ) (lib.concatMap (unit: unit.serviceConfig.LoadCredential) (lib.attrValues host.services));
in
{
  "declared as it comes" = {
    expr = declared hosts.with-sops;
    expected = [ "openai-api-key" ];
  };

  "declared with Slack by socket, tokens and a local server" = {
    expr = declared hosts.with-sops-and-everything;
    expected = [
      "api-tokens"
      "openai-api-key"
      "slack-app-token"
      "slack-bot-token"
    ];
  };

  "declared with Slack's events, backups and a server elsewhere" = {
    expr = declared hosts.with-sops-and-external;
    expected = [
      "database-admin-url"
      "database-owner-url"
      "database-url"
      "slack-bot-token"
      "slack-signing-secret"
    ];
  };

  "a superuser's URL only for backups" = {
    expr = declared (
      evaluate (
        topologies.with-sops-and-external
        ++ [
          {
            services.nakamura-misaki.backup = lib.mkForce { enable = false; };
          }
        ]
      )
    );
    expected = [
      "database-owner-url"
      "database-url"
      "slack-bot-token"
      "slack-signing-secret"
    ];
  };

  "each unit gets them from where sops-nix puts them" = {
    expr = lib.concatMap misplaced [
      hosts.with-sops
      hosts.with-sops-and-everything
      hosts.with-sops-and-external
    ];
    expected = [ ];
  };

  "each unit gets what it gets of files" = {
    expr = hosts.with-sops-and-everything.credentials;
    expected = {
      init-db = [ ];
      api = [
        "api-tokens"
        "openai-api-key"
        "slack-app-token"
        "slack-bot-token"
      ];
      remind = [ "slack-bot-token" ];
      embed-pending = [ "openai-api-key" ];
      prune = [ ];
      maintain = [ ];
      backup = [ ];
      verify-backup = [ ];
    };
  };

  "a changed secret restarts the service" = {
    expr = lib.unique (
      map (secret: secret.restartUnits) (
        lib.concatMap secrets [
          hosts.with-sops-and-everything
          hosts.with-sops-and-external
        ]
      )
    );
    expected = [ [ "nakamura-misaki-api.service" ] ];
  };

  "only root reads them" = {
    expr = lib.unique (
      map
        (secret: {
          inherit (secret)
            mode
            owner
            uid
            gid
            ;
        })
        (
          lib.concatMap secrets [
            hosts.with-sops-and-everything
            hosts.with-sops-and-external
          ]
        )
    );
    expected = [
      {
        mode = "0400";
        owner = null;
        uid = 0;
        gid = 0;
      }
    ];
  };

  "from the file that is named" = {
    expr = lib.unique (
      map (secret: baseNameOf (toString secret.sopsFile)) (secrets hosts.with-sops-and-everything)
    );
    expected = [ "nakamura-misaki.yaml" ];
  };

  "from the host's own file where none is" = {
    expr = map (secret: baseNameOf (toString secret.sopsFile)) (
      secrets (
        evaluate (
          topologies.with-sops
          ++ [
            {
              sops.defaultSopsFile = ../keys/rotated.yaml;
              services.nakamura-misaki.sops.file = lib.mkForce null;
            }
          ]
        )
      )
    );
    expected = [ "rotated.yaml" ];
  };

  "an option that names a file itself counts more" = {
    expr =
      let
        host = evaluate (
          topologies.with-sops ++ [ { services.nakamura-misaki.embedding.apiKeyFile = "/etc/keys/openai"; } ]
        );
      in
      host.services.api.serviceConfig.LoadCredential;
    expected = [ "openai-api-key:/etc/keys/openai" ];
  };

  "imported and not asked for, it declares nothing" = {
    expr = declared (evaluate [ (lib.head topologies.with-sops) ]);
    expected = [ ];
  };

  "each key that can be declared is in secrets/nakamura-misaki.yaml" = {
    expr =
      let
        file = builtins.readFile ../../secrets/nakamura-misaki.yaml;
      in
      lib.filter (key: !lib.hasInfix "\n    ${key}: ENC[" file) (
        lib.unique (
          lib.concatMap declared [
            hosts.with-sops-and-everything
            hosts.with-sops-and-external
          ]
        )
      );
    expected = [ ];
  };
}
