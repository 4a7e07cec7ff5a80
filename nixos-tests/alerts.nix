# The alert rules, read and run by promtool: each fires when it should (alerts.test.yaml), and only then.
{ lib, pkgs }:
let
  # A host that has everything turned on, so that all rules are there. Short ages keep the tests quick.
  rules = import ../modules/nakamura-misaki/alerts.nix { inherit lib; } {
    storage.backend = "postgresql";
    embedding.provider = "openai";
    slack.enable = true;
    reminders.enable = true;
    backup = {
      enable = true;
      verify.enable = true;
    };
    monitoring = {
      unitAlerts = true;
      backupMaxAge = 6;
      verificationMaxAge = 1;
      remindersMaxAge = 15;
      slowSearchSeconds = 1;
      errorPercent = 2;
      runbook = "docs/operations.md";
    };
  };
in
pkgs.runCommand "nakamura-misaki-alerts" { nativeBuildInputs = [ pkgs.prometheus.cli ]; } ''
  cp ${pkgs.writeText "rules.json" (builtins.toJSON rules)} rules.json
  cp ${./alerts.test.yaml} alerts.test.yaml
  promtool check rules rules.json
  promtool test rules alerts.test.yaml
  touch $out
''
