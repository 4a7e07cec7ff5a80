# What the tests have in common: the hosts' settings, and the module arguments
# - prelude: Python that a test script begins with;
# - newestRevision: that of the schema;
# - testServer: a NixOS module that runs one of the servers in tests/ as a unit.
{
  lib,
  module,
  package,
  ...
}:
let
  # The servers stand alone in a directory, so that a change of another test rebuilds no host.
  servers = lib.fileset.toSource {
    root = ../tests;
    fileset = lib.fileset.fileFilter (
      file:
      file.hasExt "py"
      && (lib.hasPrefix "openai_server" file.name || lib.hasPrefix "slack_server" file.name)
    ) ../tests;
  };

  versions = ../pkgs/nakamura-misaki/src/nakamura_misaki/infrastructure/database/migrations/versions;

  # They import the package and what it depends on.
  python = "${package.pythonEnv or package}/bin/python";
in
{
  _module.args = {
    prelude = builtins.readFile ./prelude.py;

    # 0006_filtered_search.py → 0006; they are listed in order.
    newestRevision = lib.last (
      lib.concatMap (lib.match "([0-9]{4})_.*") (
        lib.filter (name: lib.match "[0-9]{4}_.*" name != null) (lib.attrNames (builtins.readDir versions))
      )
    );

    testServer =
      {
        name,
        script,
        arguments ? [ ],
      }:
      { utils, ... }:
      {
        systemd.services.${name} = {
          description = "${script}, a server for tests";
          wantedBy = [ "multi-user.target" ];
          after = [ "network.target" ];
          environment.PYTHONDONTWRITEBYTECODE = "1";
          serviceConfig = {
            ExecStart = utils.escapeSystemdExecArgs (
              [
                python
                "-u"
                "${servers}/${script}"
              ]
              ++ arguments
            );
            DynamicUser = true;
          };
        };
      };
  };

  # A host that has the module and does nothing with it yet: each test enables what it is about.
  defaults =
    { pkgs, ... }:
    {
      imports = [ module ];

      services.nakamura-misaki.package = package;

      environment.systemPackages = [
        pkgs.curl
        pkgs.jq
      ];
      time.timeZone = "Asia/Tokyo";
      virtualisation.memorySize = lib.mkDefault 2048;
      system.stateVersion = "25.11";
    };
}
