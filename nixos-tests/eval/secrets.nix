# No secret and no secret's path in the store, in an environment or on a command line; each unit gets what it needs.
{
  lib,
  pkgs,
  evaluate,
  topologies,
  hosts,
  ...
}:
let
  optionsOf = prefix: lib.attrByPath prefix { } hosts.minimal.options.services.nakamura-misaki;
  option = path: lib.getAttrFromPath path hosts.minimal.options.services.nakamura-misaki;

  # All that end in File and can be set: they name secrets.
  secretFiles = lib.filter (path: lib.hasSuffix "File" (lib.last path)) (
    map (found: lib.drop 2 found.loc) (
      lib.filter (found: lib.isOption found && !found.readOnly or false) (
        lib.collect lib.isOption (optionsOf [ ])
      )
    )
  );
  directories = [
    [
      "backup"
      "location"
    ]
    [
      "migration"
      "legacyDataDir"
    ]
    [
      "storage"
      "jsonDataDir"
    ]
  ];

  # Whether an option takes a value, as the module system decides it.
  takes =
    path: value:
    let
      merged =
        (lib.mergeDefinitions path (option path).type [
          {
            file = "a test";
            inherit value;
          }
        ]).mergedValue;
    in
    (builtins.tryEval (builtins.deepSeq merged merged)).success;

  inStore = "${pkgs.writeText "secret" "xoxb-…"}";
  values = {
    "a file outside of the store" = "/run/secrets/x";
    "a path of the store" = inStore;
    "a file below a path of the store" = "${inStore}/token";
    "a Nix path" = ../../secrets/nakamura-misaki.yaml;
    "a derivation" = pkgs.writeText "secret" "xoxb-…";
    "a relative path" = "secrets/token";
    "nothing" = "";
  };
  taken = path: lib.attrNames (lib.filterAttrs (_name: takes path) values);

  dotted = lib.concatStringsSep ".";

  # Everything about our units but where they get their credentials from.
  withoutCredentials =
    host:
    lib.mapAttrs (
      _name: unit:
      builtins.toJSON (unit.environment // removeAttrs unit.serviceConfig [ "LoadCredential" ])
    ) host.services;
  secretPaths = host: lib.attrValues host.misaki.credentials;

  # Unit: what names a secret's file where it should not.
  betrayals =
    host:
    lib.concatLists (
      lib.mapAttrsToList (
        name: text:
        map (path: "${name}: ${path}") (lib.filter (path: lib.hasInfix path text) (secretPaths host))
      ) (withoutCredentials host)
    );

  # In our shell scripts only systemd-run's LoadCredential may name one.
  linesWithSecrets =
    host:
    lib.filter (
      line:
      lib.any (path: lib.hasInfix path line) (secretPaths host)
      && !lib.hasPrefix "--property=LoadCredential=" (lib.removePrefix "'" (lib.trim line))
    ) (lib.concatMap (lib.splitString "\n") (lib.attrValues host.commands));

  # Who needs what where the server is elsewhere, Slack is by socket, and OpenAI by key.
  remote = {
    runtime = [ "database-url" ];
    owner = [
      "database-owner-url"
      "database-url"
    ];
    admin = [
      "database-admin-url"
      "database-owner-url"
      "database-url"
    ];
  };

  # Of each role, the variables that hold a database's address.
  addresses =
    host:
    lib.mapAttrs (
      _name: unit: lib.filterAttrs (name: _value: lib.hasInfix "URL" name) unit.environment
    ) host.services;
  socketUrl = role: "postgresql://${role}@/nakamura_misaki?host=/run/postgresql&port=5432";
  local = rec {
    runtime.DATABASE_URL = socketUrl "nakamura_misaki";
    owner = runtime // {
      DATABASE_OWNER_URL = socketUrl "nakamura_misaki_owner";
    };
    admin = owner // {
      DATABASE_ADMIN_URL = socketUrl "postgres";
    };
  };
in
lib.listToAttrs (
  map (
    path:
    lib.nameValuePair "${dotted path} takes no file that everybody can read" {
      expr = taken path;
      expected = [ "a file outside of the store" ];
    }
  ) (secretFiles ++ directories)
)
// {
  "the options that name secrets" = {
    expr = map dotted secretFiles;
    expected = [
      "api.tokensFile"
      "database.adminUrlFile"
      "database.ownerUrlFile"
      "database.urlFile"
      "embedding.apiKeyFile"
      "slack.appTokenFile"
      "slack.botTokenFile"
      "slack.signingSecretFile"
    ];
  };

  "environmentFiles takes no file of the store" = {
    expr = lib.attrNames (
      lib.filterAttrs (_name: value: takes [ "environmentFiles" ] [ value ]) values
    );
    expected = [ "a file outside of the store" ];
  };

  # The same from a host's side: an error, and no unit.
  "a host with a secret in the store does not evaluate" = {
    expr =
      map
        (
          file:
          (builtins.tryEval
            (evaluate [ { services.nakamura-misaki.embedding.apiKeyFile = file; } ])
            .services.api.serviceConfig.LoadCredential
          ).success
        )
        [
          inStore
          ../../secrets/nakamura-misaki.yaml
          "/run/secrets/x"
        ];
    expected = [
      false
      false
      true
    ];
  };

  "each unit's credentials, with everything on and a local server" = {
    expr = hosts.everything.credentials;
    expected = {
      init-db = [ ];
      migrate = [ "openai-api-key" ];
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

  "each unit's credentials, with everything on and a server elsewhere" = {
    expr = hosts.external-with-everything.credentials;
    expected = {
      init-db = remote.owner;
      migrate = remote.owner ++ [ "openai-api-key" ];
      api = [
        "api-tokens"
      ]
      ++ remote.runtime
      ++ [
        "openai-api-key"
        "slack-app-token"
        "slack-bot-token"
      ];
      remind = remote.runtime ++ [ "slack-bot-token" ];
      embed-pending = remote.runtime ++ [ "openai-api-key" ];
      prune = remote.runtime;
      maintain = remote.owner;
      backup = remote.admin;
      verify-backup = remote.admin;
    };
  };

  "Slack's events need other credentials" = {
    expr = lib.filterAttrs (_name: names: names != [ ]) hosts.slack-events.credentials;
    expected = {
      api = [
        "slack-bot-token"
        "slack-signing-secret"
      ];
      remind = [ "slack-bot-token" ];
    };
  };

  "as it comes there are no secrets" = {
    expr = {
      inherit (hosts.minimal.misaki) credentials;
      units = lib.filterAttrs (_name: names: names != [ ]) hosts.minimal.credentials;
    };
    expected = {
      credentials = { };
      units = { };
    };
  };

  "without Slack its tokens are nobody's" = {
    expr =
      (evaluate [
        {
          services.nakamura-misaki.slack = {
            botTokenFile = "/run/secrets/bot";
            appTokenFile = "/run/secrets/app";
            signingSecretFile = "/run/secrets/signing";
          };
        }
      ]).misaki.credentials;
    expected = { };
  };

  "a credential is the file that its option names" = {
    expr = lib.filter (entry: entry != null) (
      map
        (
          entry:
          let
            parts = lib.splitString ":" entry;
          in
          if lib.last parts == "/run/test-secrets/${lib.head parts}" then null else entry
        )
        (
          lib.concatMap (unit: unit.serviceConfig.LoadCredential) (
            lib.attrValues hosts.external-with-everything.services
          )
        )
    );
    expected = [ ];
  };

  "nothing but LoadCredential names a secret's file" = {
    expr = lib.concatMap betrayals [
      hosts.everything
      hosts.external-with-everything
      hosts.slack-events
    ];
    expected = [ ];
  };

  "the commands name secrets' files for LoadCredential only" = {
    expr = lib.concatMap linesWithSecrets [
      hosts.everything
      hosts.external-with-everything
    ];
    expected = [ ];
  };

  # Else the case above would hold of commands that were not looked at.
  "the commands are there, and hand over each credential" = {
    expr = {
      names = lib.attrNames hosts.external-with-everything.commands;
      lacking = lib.filter (
        name:
        !lib.hasInfix "--property=LoadCredential=${name}:" hosts.external-with-everything.commands.nakamura-misaki
      ) (lib.attrNames hosts.external-with-everything.misaki.credentials);
    };
    expected = {
      names = [
        "nakamura-misaki"
        "nakamura-misaki-restore"
      ];
      lacking = [ ];
    };
  };

  "no other way for a secret to reach a unit" = {
    expr = lib.concatMap (
      unit:
      lib.attrNames (
        lib.intersectAttrs {
          SetCredential = null;
          SetCredentialEncrypted = null;
          LoadCredentialEncrypted = null;
          ImportCredential = null;
          PassEnvironment = null;
        } unit.serviceConfig
      )
    ) (lib.attrValues hosts.external-with-everything.services);
    expected = [ ];
  };

  "no setting of the environment is a secret" = {
    expr = lib.concatMap (
      host:
      lib.concatMap (
        unit:
        lib.filter (
          name:
          lib.any (word: lib.hasInfix word name) [
            "KEY"
            "TOKEN"
            "SECRET"
            "PASSWORD"
            "_FILE"
          ]
        ) (lib.attrNames (removeAttrs unit.environment [ "BACKUP_STATUS_FILE" ]))
      ) (lib.attrValues host.services)
    ) (lib.attrValues hosts);
    expected = [ ];
  };

  "over the local socket no address has a password, and each unit has those of its role" = {
    expr = addresses hosts.everything;
    expected = {
      init-db = local.owner;
      migrate = local.owner;
      api = local.runtime;
      remind = local.runtime;
      embed-pending = local.runtime;
      prune = local.runtime;
      maintain = local.owner;
      backup = local.admin;
      verify-backup = local.admin;
    };
  };

  "the address of a server elsewhere is in no environment" = {
    expr = addresses hosts.external-with-everything;
    expected = lib.mapAttrs (_name: _unit: { }) hosts.external-with-everything.services;
  };

  "the local server's port is the host's" = {
    expr =
      (evaluate (topologies.minimal ++ [ { services.postgresql.settings.port = 5433; } ]))
      .services.api.environment.DATABASE_URL;
    expected = "postgresql://nakamura_misaki@/nakamura_misaki?host=/run/postgresql&port=5433";
  };

  "directories of ours are closed to others" = {
    expr = {
      service = hosts.everything.services.api.serviceConfig.StateDirectoryMode;
      imported = [
        hosts.everything.services.migrate.serviceConfig.StateDirectoryMode
        hosts.everything.services.migrate.serviceConfig.RuntimeDirectoryMode
      ];
      backups =
        hosts.everything.config.systemd.tmpfiles.settings."10-nakamura-misaki-backup"."/var/lib/nakamura-misaki-backup".d.mode;
    };
    expected = {
      service = "0700";
      imported = [
        "0700"
        "0700"
      ];
      backups = "0700";
    };
  };
}
