# Metrics for Prometheus, alerts on them, a dashboard for Grafana.
{
  config,
  lib,
  pkgs,
  ...
}:
let
  inherit (lib) mkOption types;
  cfg = config.services.nakamura-misaki;
  inherit (cfg) monitoring;
  inherit (config.services) grafana prometheus;

  # Where this host reaches the API: an address that stands for all of them is no destination.
  host =
    {
      "0.0.0.0" = "127.0.0.1";
      "::" = "::1";
    }
    .${cfg.api.host} or cfg.api.host;
  target = "${if lib.hasInfix ":" host then "[${host}]" else host}:${toString cfg.api.port}";

  hasUnitMetrics =
    prometheus.exporters.node.enable && lib.elem "systemd" prometheus.exporters.node.enabledCollectors;
in
{
  options.services.nakamura-misaki.monitoring = {
    enable = lib.mkEnableOption ''
      being watched by what this host runs: {option}`services.prometheus` scrapes the API's
      `/metrics` as the job `nakamura-misaki` and gets the alert rules, {option}`services.grafana`
      gets the dashboard. (Where they run elsewhere, give them
      {option}`services.nakamura-misaki.monitoring.rulesFile` and
      {option}`services.nakamura-misaki.monitoring.dashboardFile`, which need no `enable`.)
      `/metrics` asks for no token, and tells no name, address or content'';

    scrapeInterval = mkOption {
      type = types.strMatching "[1-9][0-9]*(s|m)";
      default = "30s";
      example = "15s";
      description = "How often Prometheus asks. The alerts want two answers in five minutes at least.";
    };

    backupMaxAge = mkOption {
      type = types.ints.positive;
      default = 36;
      example = 12;
      description = ''
        How many hours old the newest backup may become: more than lies between two of
        {option}`services.nakamura-misaki.backup.startAt`, and less than Prometheus keeps.
      '';
    };

    verificationMaxAge = mkOption {
      type = types.ints.positive;
      default = 9;
      example = 2;
      description = ''
        After how many days the last test of a backup that succeeded is too long ago: more than
        lie between two of {option}`services.nakamura-misaki.backup.verify.startAt`, and fewer
        than Prometheus keeps.
      '';
    };

    remindersMaxAge = mkOption {
      type = types.ints.positive;
      default = 15;
      example = 60;
      description = ''
        After how many minutes without a run reminders are late: more than
        {option}`services.nakamura-misaki.reminders.interval`.
      '';
    };

    slowSearchSeconds = mkOption {
      type = types.numbers.between 0.001 9;
      default = 1;
      example = 0.2;
      description = ''
        How long one search in twenty may take. (Beyond ten seconds the metric does not tell one
        time from another.) It includes the embedding of the question, up to three seconds.
      '';
    };

    errorPercent = mkOption {
      type = types.numbers.between 0 99;
      default = 2;
      example = 0.5;
      description = "How many of a hundred answers may be errors of the service's own (5xx).";
    };

    unitAlerts = mkOption {
      type = types.bool;
      default = hasUnitMetrics;
      defaultText = lib.literalMD "whether {option}`services.prometheus.exporters.node` is enabled with the collector `systemd`";
      example = true;
      description = ''
        Whether there are alerts on failed units and late reminders. What timers run are processes
        of their own, seen only through `node_exporter` with its collector `systemd` on this host,
        which your Prometheus must scrape.
      '';
    };

    runbook = mkOption {
      type = types.nonEmptyStr;
      default = "docs/operations.md";
      example = "https://git.example.org/nakamura-misaki/src/docs/operations.md";
      description = "Where the team reads docs/operations.md; each alert links to its section there.";
    };

    rules = mkOption {
      type = types.raw;
      default = import ./alerts.nix { inherit lib; } cfg;
      defaultText = lib.literalMD "those of alerts.json for what is turned on, with the thresholds above";
      example = lib.literalExpression ''{ groups = [ { name = "nakamura-misaki"; rules = [ … ]; } ]; }'';
      readOnly = true;
      description = ''
        The alert rules as data, for a Prometheus on another host. They want the API scraped there
        as the job `nakamura-misaki`.
      '';
    };

    rulesFile = mkOption {
      type = types.package;
      # JSON is YAML, and needs no program to be written.
      default = pkgs.writeText "nakamura-misaki.rules.json" (builtins.toJSON monitoring.rules);
      defaultText = lib.literalMD "a file with {option}`services.nakamura-misaki.monitoring.rules`";
      example = lib.literalExpression ''"/nix/store/…-nakamura-misaki.rules.json"'';
      readOnly = true;
      description = "The same as a file, for {option}`services.prometheus.ruleFiles`.";
    };

    dashboardFile = mkOption {
      type = types.path;
      default = ./dashboard.json;
      defaultText = lib.literalExpression "./dashboard.json";
      example = lib.literalExpression ''"/nix/store/…-dashboard.json"'';
      readOnly = true;
      description = "A Grafana dashboard, which asks for its data source and can be imported by hand, too.";
    };
  };

  config = lib.mkIf (cfg.enable && monitoring.enable) {
    services.prometheus = lib.mkIf prometheus.enable {
      scrapeConfigs = [
        {
          job_name = "nakamura-misaki";
          scrape_interval = monitoring.scrapeInterval;
          static_configs = [ { targets = [ target ]; } ];
        }
      ];
      ruleFiles = [ monitoring.rulesFile ];
    };

    services.grafana.provision = lib.mkIf grafana.enable {
      enable = lib.mkDefault true;
      # Grafana takes its providers from here or from a path of the host's own, not from both.
      dashboards.settings = lib.mkIf (grafana.provision.dashboards.path == null) {
        providers = [
          {
            name = "nakamura-misaki";
            options.path = pkgs.linkFarm "nakamura-misaki-dashboards" [
              {
                name = "nakamura-misaki.json";
                path = monitoring.dashboardFile;
              }
            ];
          }
        ];
      };
    };

    warnings =
      lib.optional (grafana.enable && grafana.provision.dashboards.path != null)
        "services.nakamura-misaki.monitoring leaves its dashboard out of Grafana, since services.grafana.provision.dashboards.path is set: put services.nakamura-misaki.monitoring.dashboardFile there, or use provision.dashboards.settings.";
  };
}
