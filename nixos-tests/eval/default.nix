# Tests of the module that need no virtual machine: what Nix makes of a configuration. Of the flake:
#   nix build .#checks.x86_64-linux.eval-ordering
# A derivation for each suite, which fails with a sentence for each case that does not hold.
# Without a flake: see run.nix.
{
  lib,
  pkgs,
  # The module of the service, of sops-nix, and the service's package.
  module,
  sops,
  package,
  nixosSystem ? lib.nixosSystem,
}:
let
  inherit (import ./report.nix { inherit lib; }) failuresOf;
  inherit
    (import ./suites.nix {
      inherit
        lib
        pkgs
        module
        sops
        package
        nixosSystem
        ;
    })
    cases
    ;
in
lib.mapAttrs (
  suite: suiteCases:
  let
    failures = failuresOf suiteCases;
  in
  pkgs.runCommand "nakamura-misaki-eval-${suite}"
    {
      passthru = {
        inherit failures;
        cases = suiteCases;
      };
    }
    (
      if failures == [ ] then
        "echo ${toString (lib.length (lib.attrNames suiteCases))} cases > $out"
      else
        ''
          printf '%s\n' ${lib.escapeShellArgs failures} >&2
          exit 1
        ''
    )
) cases
