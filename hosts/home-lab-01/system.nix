# What every host of this kind needs: boot loader, clock, Nix.
{
  boot.loader = {
    systemd-boot = {
      enable = true;
      # What there is to go back to at the boot menu; /boot is small.
      configurationLimit = 20;
    };
    efi.canTouchEfiVariables = true;
  };

  # The team's: the calendar of the timers, and how times without an offset are read.
  time.timeZone = "Asia/Tokyo";

  nix = {
    settings = {
      experimental-features = [
        "nix-command"
        "flakes"
      ];
      # Those who may become root anyway may send a closure, too: a deploy from another machine does.
      trusted-users = [ "@wheel" ];
    };
    # Generations of the last month stay, to go back to.
    gc = {
      automatic = true;
      dates = "weekly";
      options = "--delete-older-than 30d";
    };
    optimise.automatic = true;
  };
}
