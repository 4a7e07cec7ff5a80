# A list of modules → the host that they make together with ours, as the tests look at it.
{
  lib,
  pkgs,
  module,
  package,
  nixosSystem,
}:
let
  prefix = "nakamura-misaki-";

  # Ours of a set of units, by the rest of their names.
  ours =
    units:
    lib.mapAttrs' (name: lib.nameValuePair (lib.removePrefix prefix name)) (
      lib.filterAttrs (name: _: lib.hasPrefix prefix name) units
    );

  base = {
    nixpkgs.pkgs = lib.mkDefault pkgs;
    # No disks, no boot loader.
    boot.isContainer = true;
    system.stateVersion = "25.11";
    services.nakamura-misaki = {
      enable = lib.mkDefault true;
      package = lib.mkOverride 900 package;
    };
  };
in
modules:
let
  inherit
    (nixosSystem {
      # Ours last: a host's own modules often stand before those that it imports.
      modules = [ base ] ++ modules ++ [ module ];
    })
    config
    options
    ;

  messages = map (assertion: assertion.message);
  own = lib.concatMap (
    definition:
    lib.optionals (lib.hasInfix "/modules/nakamura-misaki/" definition.file) definition.value
  ) options.assertions.definitionsWithLocations;
in
rec {
  inherit config options;
  inherit (config) warnings;
  inherit (config.services) postgresql;
  misaki = config.services.nakamura-misaki;

  services = ours config.systemd.services;
  timers = ours config.systemd.timers;

  # Unit → the commands that it runs, without systemd's quotes.
  runs = lib.mapAttrs (
    _name: unit: map (lib.replaceStrings [ "\"" ] [ "" ]) (lib.toList unit.serviceConfig.ExecStart)
  ) services;
  # Unit → the names of its credentials.
  credentials = lib.mapAttrs (
    _name: unit: map (entry: lib.head (lib.splitString ":" entry)) unit.serviceConfig.LoadCredential
  ) services;

  failed = messages (lib.filter (assertion: !assertion.assertion) config.assertions);
  # The same of the module's own assertions, and all of them, whether they hold or not.
  mistakes = messages (lib.filter (assertion: !assertion.assertion) own);
  asserted = messages own;

  # Our two commands, by name, as shell scripts.
  commands = lib.listToAttrs (
    map (command: lib.nameValuePair command.name command.drvAttrs.text) (
      lib.filter (
        command:
        lib.hasPrefix "nakamura-misaki" (command.name or "")
        && command.outPath != misaki.package.outPath
        && command.drvAttrs ? text
      ) config.environment.systemPackages
    )
  );
}
