# What a unit of ours may do: next to nothing. `systemd-analyze security` gives each at most 1.5.
{ lib }:
{
  # Sockets beyond the local database's: the API listens, Slack and the embedding server are elsewhere.
  network,
}:
{
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
  # Only the unit's user exists inside. Peer authentication still sees the real one.
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
  # PostgreSQL's socket, systemd's notification socket, the journal.
  RestrictAddressFamilies = [
    "AF_UNIX"
  ]
  ++ lib.optionals network [
    "AF_INET"
    "AF_INET6"
  ];
}
// lib.optionalAttrs (!network) {
  PrivateNetwork = true;
  IPAddressDeny = "any";
}
