"""What the test scripts of the VM tests begin with."""

import json
import shlex
from typing import Any
from urllib.parse import urlencode


def proved(text: str) -> None:
    """Say in the log what the lines before have shown."""
    print(f"proved: {text}", flush=True)


def misaki(machine: Any, *arguments: str, user: str = "U0HANAKO01") -> str:
    """What the operator's command prints, run as root in the name of one of the team."""
    command = shlex.join(["nakamura-misaki", *arguments])
    return str(machine.succeed(f"NAKAMURA_MISAKI_USER={user} {command}"))


def misaki_json(machine: Any, *arguments: str, user: str = "U0HANAKO01") -> Any:
    """The same for programs."""
    return json.loads(misaki(machine, *arguments, "--json", user=user))


def misaki_fails(machine: Any, *arguments: str, code: int, user: str = "U0HANAKO01") -> str:
    """What it says to its end with this exit code."""
    command = shlex.join(["nakamura-misaki", *arguments])
    status, output = machine.execute(f"NAKAMURA_MISAKI_USER={user} {command} 2>&1")
    assert status == code, f"exit code {status}, not {code}, of: {command}\n{output}"
    return str(output)


def http(
    machine: Any,
    path: str,
    *,
    token: str | None = None,
    query: dict[str, Any] | None = None,
    body: Any = None,
    method: str | None = None,
    port: int = 10000,
) -> tuple[int, Any]:
    """Ask the service: the answer's status (0 if there is none) and its body."""
    if query is not None:
        path += "?" + urlencode(query, doseq=True)
    words = ["curl", "--silent", "--max-time", "30", "--write-out", "\n%{http_code}"]
    if token is not None:
        words += ["--header", f"Authorization: Bearer {token}"]
    if body is not None:
        words += ["--json", json.dumps(body, ensure_ascii=False)]
    if method is not None:
        words += ["--request", method]
    _, output = machine.execute(shlex.join([*words, f"http://127.0.0.1:{port}{path}"]))
    text, _, status = output.rpartition("\n")
    try:
        return int(status), json.loads(text)
    except ValueError:
        return int(status or 0), text


def sql(machine: Any, statement: str, database: str = "nakamura_misaki") -> str:
    """What PostgreSQL answers its superuser, columns divided by a bar."""
    psql = shlex.join(
        ["psql", "--no-psqlrc", "-v", "ON_ERROR_STOP=1", "-Atqc", statement, database]
    )
    return str(machine.succeed(f"runuser -u postgres -- {psql}")).strip()


def journal(machine: Any, unit: str) -> str:
    """What a unit has said since the boot."""
    return str(
        machine.succeed(f"journalctl --boot --no-pager --output=cat --unit={shlex.quote(unit)}")
    )


def properties(machine: Any, unit: str, *names: str) -> dict[str, str]:
    """What systemd knows of a unit."""
    wanted = ",".join(names)
    shown = machine.succeed(f"systemctl show --property={wanted} {unit}")
    return dict(line.split("=", 1) for line in shown.splitlines() if line)


def nothing_failed(machine: Any) -> None:
    """Every unit of the host is well."""
    failed = machine.succeed("systemctl --failed --no-legend --plain").strip()
    assert not failed, f"failed units: {failed}"


def well_confined(machine: Any) -> int:
    """Every unit of ours scores 1.5 or less; answers how many there are."""
    listed = machine.succeed(
        "systemctl list-unit-files --no-legend --plain 'nakamura-misaki-*.service'"
    )
    units = [line.split()[0] for line in listed.splitlines()]
    assert units
    for unit in units:
        # A score of 15 is 1.5; above it the exit code is 1.
        machine.succeed(f"systemd-analyze security --no-pager --threshold=15 {unit}")
    return len(units)
