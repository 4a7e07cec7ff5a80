# What the rows of rendered-*.nix are made of.
{ lib }:
rec {
  # An option, the host of topologies.nix on which it is set, and the value; what shows it, before and after.
  row = option: on: value: shows: before: after: {
    inherit
      option
      on
      value
      shows
      ;
    expected = [
      before
      after
    ];
  };

  environment =
    unit: name: host:
    host.services.${unit}.environment.${name} or null;
  api = environment "api";
  timer =
    name: option: host:
    host.timers.${name}.timerConfig.${option};
  hasUnit = name: host: [
    (host.services ? ${name})
    (host.timers ? ${name})
  ];
  appears = [
    [
      false
      false
    ]
    [
      true
      true
    ]
  ];
  disappears = lib.reverseList appears;

  # Where a unit takes a credential from.
  credential =
    unit: name: host:
    let
      found = lib.filter (lib.hasPrefix "${name}:") host.services.${unit}.serviceConfig.LoadCredential;
    in
    if found == [ ] then null else lib.removePrefix "${name}:" (lib.head found);
  secretFile =
    option: on: unit: name:
    row option on "/run/other-secrets/${name}" (credential unit name) "/run/test-secrets/${name}"
      "/run/other-secrets/${name}";

  users = host: lib.unique (map (unit: unit.serviceConfig.User) (lib.attrValues host.services));
  groups = host: lib.unique (map (unit: unit.serviceConfig.Group) (lib.attrValues host.services));

  # What stands in the alert rules, as text.
  rules = words: host: lib.hasInfix words (builtins.toJSON host.misaki.monitoring.rules);
  scrape =
    host:
    map (job: job.scrape_interval) (
      lib.filter (job: job.job_name == "nakamura-misaki") host.config.services.prometheus.scrapeConfigs
    );
}
