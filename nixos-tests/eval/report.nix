# Cases { expr, expected } (the form of lib.runTests), and words for those that do not hold.
{ lib }:
let
  show = lib.generators.toPretty { multiline = false; };

  # Where two values differ, one sentence a place.
  differences =
    place: actual: expected:
    let
      at = lib.optionalString (place != "") "${place}: ";
      lacking = lib.subtractLists actual expected;
      surplus = lib.subtractLists expected actual;
    in
    if actual == expected then
      [ ]
    else if lib.isAttrs actual && lib.isAttrs expected then
      lib.concatMap (
        name:
        let
          here = if place == "" then name else "${place}.${name}";
        in
        if !actual ? ${name} then
          [ "${here} is missing; it should be ${show expected.${name}}" ]
        else if !expected ? ${name} then
          [ "${here} should not be there; it is ${show actual.${name}}" ]
        else
          differences here actual.${name} expected.${name}
      ) (lib.attrNames (actual // expected))
    else if
      lib.isList actual
      && lib.isList expected
      && lib.length actual == lib.length expected
      && !lib.all lib.isString (actual ++ expected)
    then
      lib.concatLists (
        lib.imap0 (index: differences "${place}[${toString index}]" (lib.elemAt actual index)) expected
      )
    else if lib.isList actual && lib.isList expected && lacking ++ surplus != [ ] then
      lib.optional (lacking != [ ]) "${at}lacks ${show lacking}"
      ++ lib.optional (surplus != [ ]) "${at}should not have ${show surplus}"
    else
      [ "${at}is ${show actual}; it should be ${show expected}" ];

  # Words must not make a check depend on what they mention.
  words =
    text:
    let
      line = lib.replaceStrings [ "\n" ] [ " " ] (builtins.unsafeDiscardStringContext text);
    in
    if lib.stringLength line > 2000 then "${builtins.substring 0 2000 line} …" else line;

  # true, or what is wrong.
  result =
    { expr, expected }:
    let
      tried = builtins.tryEval (builtins.deepSeq expr expr);
    in
    if !tried.success then
      "cannot be evaluated (run.nix says how to see why)"
    else if tried.value == expected then
      true
    else
      words (lib.concatStringsSep "; " (differences "" tried.value expected));
in
{
  # A line for each case that does not hold.
  failuresOf =
    cases:
    lib.concatLists (
      lib.mapAttrsToList (
        name: case:
        let
          outcome = result case;
        in
        lib.optional (outcome != true) "${name}: ${outcome}"
      ) cases
    );
}
