"""A local Slack, and an assistant that is connected to it."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from slack_server import SlackServer
from slack_stage import Stage, on_stage, slack_settings


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
async def slack() -> AsyncIterator[SlackServer]:
    async with SlackServer() as server:
        yield server


@pytest.fixture
async def stage(slack: SlackServer, database_url: str, tmp_path: Path) -> AsyncIterator[Stage]:
    """An assistant in Socket Mode."""
    async with on_stage(slack, slack_settings(slack, database_url, tmp_path)) as made:
        yield made
