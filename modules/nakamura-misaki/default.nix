# services.nakamura-misaki: PostgreSQL 16 with pgvector, the service, its timers, its secrets.
# One file a concern; unit.nix and hardening.nix hold what all units share.
{
  imports = [
    ./core.nix
    ./database.nix
    ./storage.nix
    ./embedding.nix
    ./slack.nix
    ./api.nix
    ./timers.nix
    ./migration.nix
    ./backup.nix
    ./restore.nix
    ./monitoring.nix
    ./sops.nix
    ./cli.nix
  ];
}
