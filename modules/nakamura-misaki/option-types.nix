# Types that several concerns use.
{ lib }:
{
  # A string and never a Nix path, which an interpolation would copy to the store for everybody to read.
  secretFile = lib.types.nullOr (
    lib.types.pathWith {
      inStore = false;
      absolute = true;
    }
  );

  directory = lib.types.pathWith {
    inStore = false;
    absolute = true;
  };

  # As systemd.time(7) writes a calendar event or a span; systemd checks it when the unit is loaded.
  time = lib.types.nonEmptyStr;
}
