{
  description = "nakamura-misaki: a team assistant's tasks, handoffs, notes and sessions in PostgreSQL 16 with pgvector";

  inputs = {
    nixpkgs.url = "github:nixos/nixpkgs/nixos-unstable";

    sops-nix = {
      url = "github:Mic92/sops-nix";
      inputs.nixpkgs.follows = "nixpkgs";
    };

    pyproject-nix = {
      url = "github:pyproject-nix/pyproject.nix";
      inputs.nixpkgs.follows = "nixpkgs";
    };

    uv2nix = {
      url = "github:pyproject-nix/uv2nix";
      inputs = {
        nixpkgs.follows = "nixpkgs";
        pyproject-nix.follows = "pyproject-nix";
      };
    };

    pyproject-build-systems = {
      url = "github:pyproject-nix/build-system-pkgs";
      inputs = {
        nixpkgs.follows = "nixpkgs";
        pyproject-nix.follows = "pyproject-nix";
        uv2nix.follows = "uv2nix";
      };
    };

    treefmt-nix = {
      url = "github:numtide/treefmt-nix";
      inputs.nixpkgs.follows = "nixpkgs";
    };
  };

  outputs =
    {
      self,
      nixpkgs,
      sops-nix,
      pyproject-nix,
      uv2nix,
      pyproject-build-systems,
      treefmt-nix,
    }:
    let
      inherit (nixpkgs) lib;

      forAllSystems =
        outputsOf:
        lib.genAttrs [ "x86_64-linux" "aarch64-linux" ] (
          system:
          outputsOf {
            inherit system;
            pkgs = nixpkgs.legacyPackages.${system};
            package = self.packages.${system}.default;
          }
        );

      treefmt = forAllSystems (
        { pkgs, package, ... }:
        treefmt-nix.lib.evalModule pkgs (import ./treefmt.nix { inherit (package.pythonSet) ruff; })
      );
    in
    {
      overlays.default = final: _prev: {
        nakamura-misaki = final.callPackage ./pkgs/nakamura-misaki/package.nix {
          inherit pyproject-nix uv2nix pyproject-build-systems;
        };
      };

      packages = forAllSystems (
        { pkgs, ... }:
        rec {
          inherit (self.overlays.default pkgs pkgs) nakamura-misaki;
          default = nakamura-misaki;
        }
      );

      nixosModules = rec {
        nakamura-misaki =
          { lib, pkgs, ... }:
          {
            imports = [ ./modules/nakamura-misaki ];
            services.nakamura-misaki.package =
              lib.mkDefault
                self.packages.${pkgs.stdenv.hostPlatform.system}.default;
          };
        default = nakamura-misaki;
      };

      nixosConfigurations.home-lab-01 = lib.nixosSystem {
        modules = [
          ./hosts/home-lab-01
          self.nixosModules.default
          sops-nix.nixosModules.sops
        ];
      };

      apps = forAllSystems ({ pkgs, package, ... }: import ./nix/apps.nix { inherit lib pkgs package; });

      devShells = forAllSystems (
        {
          system,
          pkgs,
          package,
        }:
        {
          default = import ./nix/dev-shell.nix {
            inherit lib pkgs package;
            formatter = self.formatter.${system};
          };
        }
      );

      formatter = lib.mapAttrs (_system: evaluated: evaluated.config.build.wrapper) treefmt;

      checks = forAllSystems (
        {
          system,
          pkgs,
          package,
        }:
        import ./nix/checks.nix {
          inherit
            lib
            pkgs
            self
            package
            ;
          inherit (lib) nixosSystem;
          formatting = treefmt.${system}.config.build.check self;
          module = self.nixosModules.default;
          inherit (sops-nix.nixosModules) sops;
        }
      );
    };
}
