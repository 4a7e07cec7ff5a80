# Each option says what it is, and docs/options.md says the same.
{
  lib,
  hosts,
  reference,
  ...
}:
let
  inherit (reference) listed;
  settingNames = import ../../modules/nakamura-misaki/setting-names.nix;
  option = documented: lib.getAttrFromPath documented.loc hosts.minimal.options;
  names = which: map (documented: documented.name) (lib.filter which listed);

  # An example as a value, where it is not code or prose.
  hasValue = documented: (option documented) ? example && !((option documented).example ? _type);

  # How a type is described is nixpkgs' business, and changes with it.
  withoutTypes = text: lib.filter (line: !lib.hasPrefix "- Type: " line) (lib.splitString "\n" text);
  page = ../../docs/options.md;
  onPage = withoutTypes (lib.optionalString (builtins.pathExists page) (builtins.readFile page));
  ofModule = withoutTypes reference.text;
  differing = lib.filter (pair: pair.fst != pair.snd) (lib.zipLists onPage ofModule);
in
{
  "each has a type" = {
    expr = names (
      documented: documented.type == "unspecified" || documented.type == "unspecified value"
    );
    expected = [ ];
  };
  "each has a default" = {
    expr = names (documented: !documented ? default);
    expected = [ ];
  };
  "each has an example" = {
    expr = names (documented: !documented ? example);
    expected = [ ];
  };
  "each has a description, which ends like a sentence" = {
    expr = names (
      documented:
      documented.description == null
      ||
        builtins.match ".*[.)]" (lib.replaceStrings [ "\n" ] [ " " ] (lib.trim documented.description))
        == null
    );
    expected = [ ];
  };
  "each example is of the option's type" = {
    expr = names (
      documented: hasValue documented && !(option documented).type.check (option documented).example
    );
    expected = [ ];
  };
  "each example differs from the default" = {
    expr = names (
      documented:
      hasValue documented
      && !(option documented) ? defaultText
      && (option documented).example == (option documented).default
    );
    expected = [ ];
  };
  "what is internal is for the module's own files" = {
    expr = map (documented: documented.name) (
      lib.filter (documented: documented.internal) (
        lib.optionAttrSetToDocList hosts.minimal.options.services.nakamura-misaki
      )
    );
    expected = [
      "services.nakamura-misaki.commandLine"
      "services.nakamura-misaki.credentials"
      "services.nakamura-misaki.database.urls"
      "services.nakamura-misaki.environment"
    ];
  };

  "the options that setting-names.nix sends people to are there" = {
    expr = lib.filter (
      name: !lib.hasAttrByPath (lib.splitString "." name) hosts.minimal.options.services.nakamura-misaki
    ) (lib.attrValues (settingNames.dedicated // settingNames.secret));
    expected = [ ];
  };

  # reference.nix says how to make it again.
  "docs/options.md says what the options say" = {
    expr = {
      lines = lib.length onPage;
      firstOther = lib.take 1 differing;
    };
    expected = {
      lines = lib.length ofModule;
      firstOther = [ ];
    };
  };
}
