# What each unit may do, held against a table of its own: a line that is lost from hardening.nix is a failure here.
{ lib, hosts, ... }:
let
  common = {
    AmbientCapabilities = "";
    CapabilityBoundingSet = "";
    DevicePolicy = "closed";
    KeyringMode = "private";
    LockPersonality = true;
    MemoryDenyWriteExecute = true;
    NoNewPrivileges = true;
    PrivateDevices = true;
    PrivateMounts = true;
    PrivateTmp = true;
    PrivateUsers = true;
    ProcSubset = "pid";
    ProtectClock = true;
    ProtectControlGroups = true;
    ProtectHome = true;
    ProtectHostname = true;
    ProtectKernelLogs = true;
    ProtectKernelModules = true;
    ProtectKernelTunables = true;
    ProtectProc = "invisible";
    ProtectSystem = "strict";
    RemoveIPC = true;
    RestrictNamespaces = true;
    RestrictRealtime = true;
    RestrictSUIDSGID = true;
    SystemCallArchitectures = "native";
    SystemCallErrorNumber = "EPERM";
    SystemCallFilter = [
      "@system-service"
      "~@privileged @resources"
    ];
    UMask = "0077";
  };
  socketOnly = common // {
    RestrictAddressFamilies = [ "AF_UNIX" ];
    PrivateNetwork = true;
    IPAddressDeny = "any";
  };
  network = common // {
    RestrictAddressFamilies = [
      "AF_UNIX"
      "AF_INET"
      "AF_INET6"
    ];
  };
  names = lib.attrNames (socketOnly // network);

  # Who reaches the network where the database is local, and OpenAI and Slack are in use.
  onNetwork = [
    "api"
    "embed-pending"
    "migrate"
    "remind"
  ];

  confinement =
    host:
    lib.mapAttrs (
      _name: unit: lib.intersectAttrs (lib.genAttrs names (_: null)) unit.serviceConfig
    ) host.services;
  who =
    host:
    lib.mapAttrs (_name: unit: "${unit.serviceConfig.User}:${unit.serviceConfig.Group}") host.services;
  writable =
    host:
    lib.mapAttrs (
      _name: unit: lib.remove "" (lib.toList (unit.serviceConfig.ReadWritePaths or [ ]))
    ) host.services;

  # Unit → user:group, with a value for each unit that is not an exception.
  users =
    usual: group: exceptions:
    {
      api = usual;
      remind = usual;
      prune = usual;
      embed-pending = usual;
      init-db = "nakamura-misaki-owner:${group}";
      migrate = "nakamura-misaki-owner:${group}";
      maintain = "nakamura-misaki-owner:${group}";
    }
    // exceptions;
in
{
  "only what reaches Slack or the embedding server has a network" = {
    expr = confinement hosts.everything;
    expected = lib.mapAttrs (
      name: _unit: if lib.elem name onNetwork then network else socketOnly
    ) hosts.everything.services;
  };

  "without OpenAI and Slack only the API has a network" = {
    expr = confinement hosts.with-backup;
    expected = lib.mapAttrs (
      name: _unit: if name == "api" then network else socketOnly
    ) hosts.with-backup.services;
  };

  "with a server elsewhere all reach it" = {
    expr = confinement hosts.external-with-everything;
    expected = lib.mapAttrs (_name: _unit: network) hosts.external-with-everything.services;
  };

  "JSON files need no other rights" = {
    expr = confinement hosts.json;
    expected = lib.mapAttrs (
      name: _unit: if name == "api" then network else socketOnly
    ) hosts.json.services;
  };

  "each unit runs as the user that may do just its work" = {
    expr = who hosts.everything;
    expected = users "nakamura-misaki:nakamura-misaki" "nakamura-misaki" {
      backup = "postgres:postgres";
      verify-backup = "postgres:postgres";
    };
  };

  "with a server elsewhere nothing runs as postgres" = {
    expr = who hosts.external-with-everything;
    expected = users "nakamura-misaki:nakamura-misaki" "nakamura-misaki" {
      backup = "nakamura-misaki-owner:nakamura-misaki";
      verify-backup = "nakamura-misaki-owner:nakamura-misaki";
    };
  };

  "a user of one's own" = {
    expr = who hosts.own-user;
    expected = removeAttrs (users "misaki:team" "team" { }) [
      "migrate"
      "remind"
    ];
  };

  "only backups write outside of their unit's own directories" = {
    expr = lib.filterAttrs (_name: paths: paths != [ ]) (writable hosts.everything);
    expected = lib.genAttrs [ "backup" "verify-backup" ] (_: [
      "/var/lib/nakamura-misaki-backup"
      "/var/lib/nakamura-misaki-status"
    ]);
  };

  "nothing of ours runs as root, but for the copy of the old files" = {
    expr = lib.mapAttrs (_name: unit: {
      user = unit.serviceConfig.User != "root" && unit.serviceConfig.User != "";
      privileged = lib.attrNames (
        lib.filterAttrs (
          option: value:
          lib.hasPrefix "Exec" option
          && lib.any (command: lib.hasPrefix "+" command || lib.hasPrefix "!" command) (lib.toList value)
        ) unit.serviceConfig
      );
    }) hosts.everything.services;
    expected = lib.mapAttrs (name: _unit: {
      user = true;
      privileged = lib.optional (name == "migrate") "ExecStart";
    }) hosts.everything.services;
  };
}
