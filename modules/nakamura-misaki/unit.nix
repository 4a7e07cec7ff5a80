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
      # PostgreSQL is wanted and not required: when it is restarted, nothing of ours stops.
      after = online ++ local ++ schema ++ (unit.after or [ ]);
      wants = online ++ local ++ (unit.wants or [ ]);
      requires = schema ++ (unit.requires or [ ]);
      environment = environmentOf role // (unit.environment or { });
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
