# What `nix flake check` builds.
{
  lib,
  pkgs,
  self,
  package,
  formatting,
  module,
  sops,
  nixosSystem,
}:
let
  inherit (package) pythonSet workspace;

  # Everything that uv.lock has: the dependency group `dev`, and the extra `embedded`, which is
  # nixpkgs' PostgreSQL 16 with pgvector (see embedded-postgresql.nix).
  development = pythonSet.mkVirtualEnv "nakamura-misaki-dev-env" workspace.deps.all;

  # Runs a script in a copy of the repository that may be written to.
  inRepository =
    name: tools: script:
    pkgs.runCommand "nakamura-misaki-${name}" { nativeBuildInputs = tools; } ''
      cp -r ${self} repository
      chmod -R u+w repository
      cd repository
      export HOME=$TMPDIR
      ${script}
      touch $out
    '';

  # A name for each test of a set, as `nix build .#checks.SYSTEM.vm-crud` wants it.
  prefixed = prefix: lib.mapAttrs' (name: lib.nameValuePair "${prefix}-${name}");

  evaluationTests = import ../nixos-tests/eval {
    inherit
      lib
      pkgs
      module
      sops
      package
      nixosSystem
      ;
  };

  virtualMachineTests = import ../nixos-tests {
    inherit
      pkgs
      module
      sops
      package
      ;
  };
in
{
  inherit package formatting;
  inherit (package.tests) demo;

  # The deselected test wants the package apart from what it depends on, as in a checkout.
  # With sops, the secrets of the example are decrypted (by the key of the tests), too.
  unit-tests = inRepository "unit-tests" [ development pkgs.sops ] ''
    pytest -n "$NIX_BUILD_CORES" -p no:cacheprovider tests/unit \
      --deselect tests/unit/embedded/test_embedded_server.py::test_attaching_needs_no_embedded_extra_and_starting_says_what_to_do
  '';

  integration-tests = inRepository "integration-tests" [ development ] ''
    pytest -n "$NIX_BUILD_CORES" -p no:cacheprovider tests/integration
  '';

  ruff = inRepository "ruff" [ development ] "ruff check --no-cache";

  mypy = inRepository "mypy" [ development ] ''
    cd pkgs/nakamura-misaki
    mypy --cache-dir=/dev/null
  '';

  statix = inRepository "statix" [ pkgs.statix ] "statix check .";

  # Each alert fires when it should, and keeps still when it should.
  alerts = import ../nixos-tests/alerts.nix { inherit lib pkgs; };

  deadnix = inRepository "deadnix" [ pkgs.deadnix ] "deadnix --fail .";
}
// prefixed "eval" evaluationTests
// prefixed "vm" virtualMachineTests
