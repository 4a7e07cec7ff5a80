# The command `nakamura-misaki`, built by uv2nix from what uv.lock says.
{
  lib,
  callPackage,
  callPackages,
  installShellFiles,
  stdenv,
  pyproject-nix,
  uv2nix,
  pyproject-build-systems,
}:
let
  inherit (callPackage ./python-set.nix { inherit pyproject-nix uv2nix pyproject-build-systems; })
    workspace
    pythonSet
    ;
  inherit (callPackages pyproject-nix.build.util { }) mkApplication;

  # It runs itself to print its completions, and to show that it works.
  runs = stdenv.buildPlatform.canExecute stdenv.hostPlatform;

  build =
    extras:
    let
      pythonEnv = pythonSet.mkVirtualEnv "nakamura-misaki-env" { nakamura-misaki = extras; };
    in
    # Only what the package itself installs: no alembic, uvicorn, openai or python on the PATH.
    (mkApplication {
      venv = pythonEnv;
      package = pythonSet.nakamura-misaki;
    }).overrideAttrs
      (
        final: previous: {
          nativeBuildInputs = previous.nativeBuildInputs ++ [ installShellFiles ];

          postInstall = lib.optionalString runs ''
            for shell in bash zsh fish; do
              $out/bin/nakamura-misaki completion $shell > nakamura-misaki.$shell
            done
            installShellCompletion nakamura-misaki.{bash,zsh,fish}
          '';

          doInstallCheck = runs;
          installCheckPhase = ''
            runHook preInstallCheck
            [ "$(echo $out/bin/*)" = $out/bin/nakamura-misaki ]
            [ "$($out/bin/nakamura-misaki --version)" = "nakamura-misaki ${final.version}" ]
            runHook postInstallCheck
          '';

          passthru = {
            inherit pythonEnv pythonSet workspace;
            # Without a DATABASE_URL it starts a PostgreSQL 16 of its own.
            withEmbedded = build [ "embedded" ];
            tests = callPackage ./tests.nix { inherit (final.passthru) withEmbedded; };
          };

          # The description is pyproject.toml's.
          meta = previous.meta // {
            license = lib.licenses.mit;
            mainProgram = "nakamura-misaki";
            platforms = [
              "x86_64-linux"
              "aarch64-linux"
            ];
          };
        }
      );
in
build [ ]
