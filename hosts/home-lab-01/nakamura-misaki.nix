# The assistant in Slack, with backups that are tested and secrets from sops.
{
  services.nakamura-misaki = {
    enable = true;

    # In Slack by Socket Mode, which needs no public address.
    slack.enable = true;
    reminders.leadMinutes = 10;
    retention.days = 30;

    # 14 nights of dumps; the newest is restored every Sunday, as a test.
    # They lie in /var/lib/nakamura-misaki-backup: give them another disk (backup.location), or have
    # another tool carry them away.
    backup = {
      enable = true;
      verify.enable = true;
    };

    # In megabytes: a quarter of the machine's memory or so.
    database.tuning = {
      enable = true;
      memory = 2048;
    };

    # CHANGE the file's content: as it is, it holds made-up values for a key that is not your host's.
    sops = {
      enable = true;
      file = ../../secrets/nakamura-misaki.yaml;
    };
  };

  # The host decrypts with its SSH key. (Without OpenSSH: age.keyFile = "/var/lib/sops-nix/key.txt".)
  sops = {
    age.sshKeyPaths = [ "/etc/ssh/ssh_host_ed25519_key" ];
    gnupg.sshKeyPaths = [ ];
  };
}
