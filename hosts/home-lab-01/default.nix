# home-lab-01: a small host with nakamura-misaki, to be made yours (docs/deployment.md).
# `grep -rn CHANGE hosts/home-lab-01` shows what is not yours yet.
{
  imports = [
    ./hardware-configuration.nix
    ./system.nix
    ./access.nix
    ./nakamura-misaki.nix
    ./monitoring.nix
  ];

  networking.hostName = "home-lab-01";

  # The release of the first installation. It stays, also when nixpkgs gets newer.
  system.stateVersion = "25.11";
}
