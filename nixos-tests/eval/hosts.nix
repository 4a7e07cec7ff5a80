# Every kind of host evaluates whole, with no failed assertion and no warning.
{ lib, hosts, ... }:
let
  # The text of each of our units, as systemd will read it.
  texts =
    host:
    lib.mapAttrs (_name: unit: unit.text) (
      lib.filterAttrs (name: _unit: lib.hasPrefix "nakamura-misaki" name) host.config.systemd.units
    );
in
lib.mapAttrs (_name: host: {
  expr = {
    inherit (host) failed warnings;
    unitsAreWritten = lib.all (text: lib.hasInfix "[" text) (lib.attrValues (texts host));
    unitsAreThere = texts host ? "nakamura-misaki-api.service";
  };
  expected = {
    failed = [ ];
    warnings = [ ];
    unitsAreWritten = true;
    unitsAreThere = true;
  };
}) hosts
