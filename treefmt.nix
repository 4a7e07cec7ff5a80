# What `nix fmt` does: `nixfmt`, and for Python the same as `make format`, by the ruff of uv.lock.
{ ruff }:
{
  projectRootFile = "flake.nix";

  programs.nixfmt.enable = true;

  settings = {
    # Prose, SQL and shell scripts are formatted by hand.
    on-unmatched = "debug";

    formatter = {
      ruff-check = {
        command = "${ruff}/bin/ruff";
        options = [
          "check"
          "--fix"
        ];
        includes = [ "*.py" ];
        priority = 1;
      };

      ruff-format = {
        command = "${ruff}/bin/ruff";
        options = [ "format" ];
        includes = [ "*.py" ];
        priority = 2;
      };
    };
  };
}
