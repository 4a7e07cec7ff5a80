# The evaluation tests from a checkout of nixpkgs, without a flake:
#   nix-instantiate --eval --strict nixos-tests/eval/run.nix -A check -I nixpkgs=DIR [--argstr sops-nix DIR]
# prints how many cases hold, or ends with an error that has a line for each that does not.
#   … -A failures.SUITE                           those of one suite, as a list
#   … -A 'cases.SUITE."NAME".expr' --show-trace   why a case cannot be evaluated
{
  nixpkgs ? <nixpkgs>,
  # A checkout of sops-nix; without one its cases are left out.
  sops-nix ? null,
}:
let
  pkgs = import nixpkgs {
    system = "x86_64-linux";
    config = { };
    overlays = [ ];
  };
  inherit (pkgs) lib;

  suites = import ./suites.nix {
    inherit lib pkgs;
    nixosSystem =
      arguments: import (nixpkgs + "/nixos/lib/eval-config.nix") ({ system = null; } // arguments);
    module = ../../modules/nakamura-misaki;
    sops = if sops-nix == null then null else sops-nix + "/modules/sops";
    # Nothing is built or run, so that a name is enough.
    package = pkgs.writeShellScriptBin "nakamura-misaki" "exit 1";
  };
  inherit (import ./report.nix { inherit lib; }) failuresOf;
in
rec {
  inherit (suites) cases reference;

  # Suite → a line for each case that does not hold.
  failures = lib.mapAttrs (_suite: failuresOf) cases;

  report = {
    cases = lib.length (lib.concatMap lib.attrNames (lib.attrValues cases));
    skipped = lib.optional (sops-nix == null) "those of sops-nix, of which no checkout was given";
    failures = lib.concatLists (lib.mapAttrsToList (suite: map (words: "${suite}: ${words}")) failures);
  };

  check =
    if report.failures == [ ] then
      lib.concatStringsSep "; skipped: " (
        [ "${toString report.cases} evaluation tests hold" ] ++ report.skipped
      )
    else
      throw ''
        ${toString (lib.length report.failures)} of ${toString report.cases} evaluation tests do not hold:
        ${lib.concatLines report.failures}'';
}
