# Each assertion and warning of the module fires, alone, with words that name the option and the remedy.
{
  lib,
  pkgs,
  evaluate,
  topologies,
  hosts,
  ...
}:
let
  mistakes = import ./mistakes.nix { inherit lib pkgs; };

  # A whole host is large: only its messages are kept.
  messagesOf =
    host:
    let
      messages = { inherit (host) mistakes asserted; };
    in
    builtins.deepSeq messages messages;
  wrongHosts = lib.mapAttrs (_name: mistake: messagesOf (evaluate mistake.modules)) mistakes;

  has = message: lib.all (words: lib.hasInfix words message);
  isOf = mistake: message: has message (mistake.says ++ mistake.also or [ ]);

  asserted = lib.unique (
    lib.concatMap (host: host.asserted) (
      map messagesOf (lib.attrValues hosts) ++ lib.attrValues wrongHosts
    )
  );

  # A host of Grafana's that has its dashboards elsewhere.
  dashboards = evaluate (
    topologies.everything ++ [ { services.grafana.provision.dashboards.path = "/etc/dashboards"; } ]
  );
in
lib.mapAttrs (
  name: mistake:
  let
    failed = wrongHosts.${name}.mistakes;
  in
  {
    expr = failed;
    expected =
      if lib.length failed == 1 && isOf mistake (lib.head failed) then
        failed
      else
        [ "one message with: ${lib.concatStringsSep " … " (mistake.says ++ mistake.also or [ ])}" ];
  }
) mistakes
// {
  "every assertion has a case here" = {
    expr = lib.filter (
      message: !lib.any (mistake: has message mistake.says) (lib.attrValues mistakes)
    ) asserted;
    expected = [ ];
  };

  "every message begins with the option and ends with a full stop" = {
    expr = lib.filter (
      message: !(lib.hasPrefix "services." message && lib.hasSuffix "." message)
    ) asserted;
    expected = [ ];
  };

  "a dashboard that cannot be put beside others is a warning" = {
    expr = map (
      warning:
      has warning [
        "services.nakamura-misaki.monitoring leaves its dashboard out of Grafana"
        "put services.nakamura-misaki.monitoring.dashboardFile there, or use provision.dashboards.settings"
      ]
    ) dashboards.warnings;
    expected = [ true ];
  };
}
