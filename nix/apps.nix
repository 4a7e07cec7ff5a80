# `nix run .#NAME -- ARGUMENTS`: the command line and those of its commands that begin or end a journey.
#
# Like `pip install "…[embedded]"` they bring a PostgreSQL of their own, which serves where no
# DATABASE_URL is set; `nix run .#demo` always uses it.
{
  lib,
  pkgs,
  package,
}:
let
  command = lib.getExe package.withEmbedded;

  app = program: description: {
    type = "app";
    inherit program;
    meta = { inherit description; };
  };

  subcommand =
    name:
    app (toString (pkgs.writeShellScript "nakamura-misaki-${name}" ''exec ${command} ${name} "$@"''));
in
{
  default = app command "The command line nakamura-misaki";
}
// lib.mapAttrs subcommand {
  demo = "Start a PostgreSQL of your own, import a team's old notes and ask three questions";
  doctor = "Say what is wrong with the database, the settings and the service";
  export = "Write everything as JSON files: export DIR";
  init-db = "Make the schema, or bring it up to date";
  migrate = "Import a directory of JSON files: migrate DIR";
}
