# Who may come in: the operator by SSH with a key, the team's machines by Tailscale.
{
  users.users.hanako = {
    # CHANGE the name, and the key to the one in your ~/.ssh/id_ed25519.pub: nobody has the key to this one.
    isNormalUser = true;
    extraGroups = [ "wheel" ];
    openssh.authorizedKeys.keys = [
      "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPLACEHOLDERPLACEHOLDERPLACEHOLDERPLACEHOLDERPL CHANGE"
    ];
  };
  # Logging in needs a key, so that there is no password that sudo could ask for.
  security.sudo.wheelNeedsPassword = false;

  services.openssh = {
    enable = true;
    settings = {
      PasswordAuthentication = false;
      KbdInteractiveAuthentication = false;
      PermitRootLogin = "no";
    };
  };

  # Once: `sudo tailscale up`, and `sudo tailscale serve --bg 10000` for the API on https://HOST.TAILNET.ts.net.
  # Tailscale remembers both. The API listens on loopback only, so that a port of Tailscale's is never taken.
  services.tailscale = {
    enable = true;
    openFirewall = true;
  };

  # SSH, and Tailscale's UDP port: both say so themselves. The API, Prometheus and PostgreSQL stay inside.
  networking.firewall.enable = true;
}
