# sops-nix with the key of the tests: put where a host's own key would be, before sops-nix looks for it.
{ sops }:
{ config, lib, ... }:
{
  imports = [ sops ];

  sops = {
    age.keyFile = "/var/lib/sops-nix/key.txt";
    age.sshKeyPaths = [ ];
    gnupg.sshKeyPaths = [ ];
  };

  system.activationScripts = {
    sopsTestKey = ''
      mkdir -m 0700 -p /var/lib/sops-nix
      cp ${./keys/age-test-key.txt} ${config.sops.age.keyFile}
      chmod 0400 ${config.sops.age.keyFile}
    '';
    # Where sops-nix decrypts in a unit of its own, that comes later by itself.
    setupSecrets = lib.mkIf (!config.sops.useSystemdActivation) { deps = [ "sopsTestKey" ]; };
  };
}
