# The frame of every unit: who runs it, in which environment, with which credentials, how confined.
{
  config,
  lib,
  utils,
}:
let
  cfg = config.services.nakamura-misaki;
  hardening = import ./hardening.nix { inherit lib; };

  roles = {
    runtime = {
      inherit (cfg) user;
      credentials = [ "database-url" ];
      environment = cfg.database.urls.runtime;
    };
    owner = {
      user = "nakamura-misaki-owner";
      credentials = [
        "database-url"
        "database-owner-url"
      ];
      environment = cfg.database.urls.runtime // cfg.database.urls.owner;
    };
    admin = {
      user = if cfg.database.createLocally then "postgres" else "nakamura-misaki-owner";
      credentials = [
        "database-url"
        "database-owner-url"
        "database-admin-url"
      ];
      environment = cfg.database.urls.runtime // cfg.database.urls.owner // cfg.database.urls.admin;
    };
  };
in
rec {
  inherit roles;

  # Those of the wanted credentials that there are, as systemd writes them.
  loadCredentials =
    wanted:
    lib.mapAttrsToList (name: path: "${name}:${path}") (
      lib.filterAttrs (name: _: lib.elem name wanted) cfg.credentials
    );

  environmentOf = role: cfg.environment // roles.${role}.environment;

  service =
    # What systemd.services takes, and:
    {
      # Arguments of nakamura-misaki.
      command,
      # runtime, owner or admin: see above.
      role ? "runtime",
      # Beside those of the database.
      credentials ? [ ],
      # Whether it talks to anything but the database.
      network ? false,
      # Whether it waits for init-db.
      afterSchema ? true,
      ...
    }@unit:
    let
      online = lib.optional needsNetwork "network-online.target";
      needsNetwork = network || !cfg.database.createLocally;
      schema = lib.optional (
        afterSchema && cfg.storage.backend == "postgresql"
      ) "nakamura-misaki-init-db.service";
      local = lib.optional cfg.database.createLocally "postgresql.target";
    in
    removeAttrs unit [
      "command"
      "role"
      "credentials"
      "network"
      "afterSchema"
    ]
    // {
      # Nothing requires PostgreSQL: when it is restarted, nothing of ours stops. And nothing wants it,
      # not even init-db: a job that requires init-db would have systemd start what that one wants,
      # and a server that an operator stopped would come back with the next timer.
      after = online ++ local ++ schema ++ (unit.after or [ ]);
      wants = online ++ (unit.wants or [ ]);
      requires = schema ++ (unit.requires or [ ]);
      # A % begins one of systemd's specifiers.
      environment = lib.mapAttrs (_: lib.replaceStrings [ "%" ] [ "%%" ]) (
        environmentOf role // (unit.environment or { })
      );
      serviceConfig = lib.mkMerge [
        (hardening { network = needsNetwork; })
        {
          User = roles.${role}.user;
          Group = if roles.${role}.user == "postgres" then "postgres" else cfg.group;
          ExecStart = utils.escapeSystemdExecArgs ([ (lib.getExe cfg.package) ] ++ command);
          LoadCredential = loadCredentials (roles.${role}.credentials ++ credentials);
          EnvironmentFile = cfg.environmentFiles;
          # Settings may also come from a .env in the working directory; here there is none.
          WorkingDirectory = "/";
        }
        # The files of the backend `json`, which the service and what timers run write to.
        (lib.mkIf (cfg.storage.backend == "json" && role == "runtime") {
          StateDirectory = "nakamura-misaki";
          StateDirectoryMode = "0700";
          ReadWritePaths = lib.optional (
            !lib.hasPrefix "/var/lib/nakamura-misaki/" cfg.storage.jsonDataDir
          ) cfg.storage.jsonDataDir;
        })
        (unit.serviceConfig or { })
      ];
    };

  # A unit that a timer starts, and the timer.
  timer =
    { description, ... }@timer:
    {
      description = "timer: ${description}";
      wantedBy = [ "timers.target" ];
      timerConfig = removeAttrs timer [ "description" ];
    };
}
