"""What systemd hears, on real datagram sockets."""

import asyncio
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from nakamura_misaki.infrastructure.systemd import ServiceManager


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as made:
        made.settimeout(5)
        yield made


@pytest.fixture
def address(listener: socket.socket, tmp_path: Path) -> str:
    path = str(tmp_path / "notify")
    listener.bind(path)
    return path


def test_every_message_is_one_datagram_of_lines(listener: socket.socket, address: str) -> None:
    manager = ServiceManager(address)
    manager.status("waiting\nfor the database")
    manager.starts_longer(2.5)
    manager.ready("listening")
    manager.stopping("finishing")
    manager.close()

    assert [listener.recv(1000) for _ in range(4)] == [
        b"STATUS=waiting for the database",
        b"EXTEND_TIMEOUT_USEC=2500000",
        b"READY=1\nSTATUS=listening",
        b"STOPPING=1\nSTATUS=finishing",
    ]


def test_abstract_socket_is_reached_by_its_name_with_an_at_sign(listener: socket.socket) -> None:
    name = f"nakamura-misaki-test-{os.getpid()}"
    listener.bind(f"\0{name}")
    manager = ServiceManager(f"@{name}")
    manager.ready("up")
    manager.close()

    assert listener.recv(1000) == b"READY=1\nSTATUS=up"


def test_variables_are_taken_out_of_the_environment(address: str) -> None:
    environment = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "20000000", "PATH": "/bin"}
    manager = ServiceManager.of_environment(environment)

    assert environment == {"PATH": "/bin"}
    assert manager.listens
    assert manager.watchdog == 20.0


@pytest.mark.parametrize(
    ("variables", "seconds"),
    [
        ({"WATCHDOG_USEC": "500000"}, 0.5),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": str(os.getpid())}, 0.5),
        ({"WATCHDOG_USEC": "500000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_watchdog_counts_for_the_process_that_it_names(
    variables: dict[str, str], seconds: float | None
) -> None:
    assert ServiceManager.of_environment(dict(variables)).watchdog == seconds


@pytest.mark.parametrize("variables", [{}, {"NOTIFY_SOCKET": ""}])
async def test_outside_of_systemd_nothing_happens(variables: dict[str, str]) -> None:
    manager = ServiceManager.of_environment(dict(variables))

    assert not manager.listens
    manager.ready("up")
    await manager.keep_watched()
    manager.close()


@pytest.mark.parametrize("gone", ["/nowhere/notify", "vsock:2:1234", "x" * 200])
def test_nobody_listening_is_no_error(gone: str, caplog: pytest.LogCaptureFixture) -> None:
    manager = ServiceManager(gone)
    with caplog.at_level(logging.DEBUG):
        manager.ready("up")
    manager.close()

    assert caplog.messages[0].startswith("systemd can't be told READY=1")


def test_a_reader_that_does_not_read_holds_nothing_up(
    listener: socket.socket, address: str
) -> None:
    manager = ServiceManager(address)
    for number in range(5000):
        manager.status(f"{number:1000}")
    manager.close()

    assert listener.recv(2000).endswith(b"0")


async def test_signs_of_life_come_twice_an_interval_and_stop_with_the_loop(
    listener: socket.socket, address: str
) -> None:
    manager = ServiceManager(address, watchdog=0.05)
    listener.setblocking(False)
    loop = asyncio.get_running_loop()
    watched = asyncio.create_task(manager.keep_watched())
    began = loop.time()
    for _ in range(5):
        assert await loop.sock_recv(listener, 100) == b"WATCHDOG=1"
    # The first at once, four more after half an interval each.
    assert loop.time() - began >= 4 * 0.025 - 0.01
    watched.cancel()
    manager.close()
