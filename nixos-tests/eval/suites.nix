# All cases, by suite, and the reference of the options.
{
  lib,
  pkgs,
  module,
  # null leaves out what needs sops-nix.
  sops,
  package,
  nixosSystem,
}:
let
  evaluate = import ./evaluate.nix {
    inherit
      lib
      pkgs
      module
      package
      nixosSystem
      ;
  };
  topologies = import ./topologies.nix { inherit lib pkgs sops; };
  hosts = lib.mapAttrs (_name: evaluate) topologies;

  reference = import ./reference.nix {
    inherit lib;
    options = hosts.minimal.options.services.nakamura-misaki;
  };

  suite =
    file:
    import file {
      inherit
        lib
        pkgs
        sops
        evaluate
        topologies
        hosts
        reference
        ;
    };
in
{
  reference = reference.text;

  cases = {
    assertions = suite ./assertions.nix;
    hardening = suite ./hardening.nix;
    hosts = suite ./hosts.nix;
    options = suite ./options.nix;
    ordering = suite ./ordering.nix;
    postgresql = suite ./postgresql.nix;
    rendering = suite ./rendering.nix;
    secrets = suite ./secrets.nix;
  }
  // lib.optionalAttrs (sops != null) { sops = suite ./sops.nix; };
}
