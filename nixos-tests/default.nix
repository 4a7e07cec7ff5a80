# Tests of whole hosts, each booted in virtual machines. Of the flake:
#   nix build .#checks.x86_64-linux.vm-crud
{
  pkgs,
  # The module of the service, of sops-nix, and the service's package.
  module,
  sops,
  package,
}:
let
  test =
    name: settings:
    pkgs.testers.runNixOSTest {
      imports = [
        ./common.nix
        (./. + "/${name}.nix")
        settings
      ];
      _module.args = { inherit module sops package; };
    };
in
pkgs.lib.genAttrs [
  "backup-restore"
  "crud"
  "external-database"
  "migrate"
  "secrets"
  "service"
  "upgrade"
  "vector-search"
] (name: test name { })
// {
  # The same without a network between them.
  external-database-on-one-machine = test "external-database" { onOneMachine = true; };
}
