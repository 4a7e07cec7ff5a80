# The alert rules of a configuration, as data: alerts.json without what it has turned off, with its thresholds.
{ lib }:
cfg:
let
  inherit (cfg) monitoring;

  # The groups of alerts.json. An alert on what is turned off could never fire.
  groups = {
    nakamura-misaki = true;
    nakamura-misaki-database = cfg.storage.backend == "postgresql";
    nakamura-misaki-embedding = cfg.embedding.provider == "openai";
    nakamura-misaki-slack = cfg.slack.enable;
    nakamura-misaki-backup = cfg.backup.enable;
    nakamura-misaki-verification = cfg.backup.enable && cfg.backup.verify.enable;
    # remind is a process of its own, which Prometheus does not ask: only its unit can be seen.
    nakamura-misaki-reminders = cfg.reminders.enable && monitoring.unitAlerts;
    nakamura-misaki-units = monitoring.unitAlerts;
  };

  # What `@name@` stands for in an expression or a text.
  values = lib.getAttrs [
    "backupMaxAge"
    "verificationMaxAge"
    "remindersMaxAge"
    "slowSearchSeconds"
    "errorPercent"
    "runbook"
  ] monitoring;
  fill = lib.replaceStrings (map (name: "@${name}@") (lib.attrNames values)) (
    map toString (lib.attrValues values)
  );

  filled =
    rule:
    rule
    // {
      expr = fill rule.expr;
      annotations = lib.mapAttrs (_: fill) rule.annotations;
    };
in
{
  groups = map (group: group // { rules = map filled group.rules; }) (
    lib.filter ({ name, ... }: groups.${name}) (lib.importJSON ./alerts.json).groups
  );
}
