# Prometheus on loopback, with the assistant's alert rules: ssh -L 9090:127.0.0.1:9090 home-lab-01
{
  services.nakamura-misaki.monitoring.enable = true;

  services.prometheus = {
    enable = true;
    listenAddress = "127.0.0.1";
    # The alerts look back nine days at most.
    retentionTime = "90d";

    # The host itself, and its units: a timer's run that failed is seen nowhere else.
    exporters.node = {
      enable = true;
      listenAddress = "127.0.0.1";
      enabledCollectors = [ "systemd" ];
    };
    scrapeConfigs = [
      {
        job_name = "node";
        static_configs = [ { targets = [ "127.0.0.1:9100" ]; } ];
      }
    ];
  };
}
