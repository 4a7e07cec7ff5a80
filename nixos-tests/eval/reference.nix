# docs/options.md, made of the options themselves. After a change of one:
#   nix --extra-experimental-features nix-command eval --raw -I nixpkgs=DIR \
#     -f nixos-tests/eval/run.nix reference > docs/options.md
{ lib, options }:
let
  listed = lib.sortOn (option: option.name) (
    lib.filter (option: option.visible && !option.internal) (lib.optionAttrSetToDocList options)
  );

  # NixOS' own markup for names of options is not Markdown.
  markdown = text: lib.replaceStrings [ "{option}`" ] [ "`" ] (lib.trim text);

  # A value as code, in the line or below it.
  value =
    label: rendered:
    if rendered == null then
      ""
    else if rendered._type or "" == "literalMD" then
      "- ${label}: ${markdown rendered.text}\n"
    else if lib.hasInfix "\n" rendered.text then
      "- ${label}:\n\n  ```nix\n${
        lib.concatMapStrings (line: "  ${line}\n") (lib.splitString "\n" (lib.trim rendered.text))
      }  ```\n"
    else
      "- ${label}: `${rendered.text}`\n";

  section = option: ''
    ## `${lib.removePrefix "services.nakamura-misaki." option.name}`

    ${markdown option.description}

    - Type: ${option.type}${lib.optionalString option.readOnly ", read only"}
    ${value "Default" (option.default or null)}${value "Example" (option.example or null)}'';
in
{
  inherit listed;

  text = ''
    # Options of the NixOS module

    What `services.nakamura-misaki` takes, in alphabetical order. How they go together: [deployment.md](deployment.md).
    (This page is made of the module's own descriptions: nixos-tests/eval/reference.nix says how.)

    ${lib.concatMapStringsSep "\n" section listed}'';
}
