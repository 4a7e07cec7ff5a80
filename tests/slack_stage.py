"""The assistant on a test's database and against ``slack_server``, as ``serve`` composes it."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import uvicorn
from pydantic import SecretStr

from nakamura_misaki.adapters.primary.api.application import create_api
from nakamura_misaki.adapters.primary.slack.assistant import SlackAssistant
from nakamura_misaki.infrastructure.di import App, compose
from nakamura_misaki.infrastructure.di.access import build_gate
from nakamura_misaki.infrastructure.settings import Settings, load_settings
from slack_server import (
    APP_TOKEN,
    BOT_TOKEN,
    GENERAL,
    SIGNING_SECRET,
    Message,
    SlackServer,
    app_mention,
    direct_message,
    dm,
)

NOW = datetime(2024, 10, 16, 10, 30, tzinfo=ZoneInfo("Asia/Tokyo"))
"""A Wednesday; long past, so that what Slack's timestamps say is never taken for the time."""


@dataclass
class Stage:
    """An assistant at work. ``outcomes`` are what it told of each event, in order."""

    slack: SlackServer
    app: App
    assistant: SlackAssistant
    outcomes: list[tuple[str, str]] = field(default_factory=list)
    now: datetime = NOW

    def heard(self, kind: str, outcome: str) -> None:
        self.outcomes.append((kind, outcome))
        self.slack.changes.happened()

    async def wait_for_outcome(self, kind: str, outcome: str, count: int = 1) -> None:
        await self.slack.wait_until(lambda: self.outcomes.count((kind, outcome)) >= count)

    async def ask(self, user: str, text: str) -> Message:
        """What is answered to a direct message."""
        before = len(self.slack.messages_in(user))
        self.slack.send_event(direct_message(user, text))
        return (await self.slack.wait_for_messages(before + 1, dm(user)))[before]

    async def mention(self, user: str, text: str) -> Message:
        """What is answered to a mention in a channel."""
        before = len(self.slack.messages_in(GENERAL))
        self.slack.send_event(app_mention(user, text))
        return (await self.slack.wait_for_messages(before + 1, GENERAL))[before]


def slack_settings(slack: SlackServer, database_url: str, tmp_path: Path, **more: Any) -> Settings:
    given: dict[str, Any] = {
        "database_url": SecretStr(database_url),
        "embedding_provider": "hashing",
        "data_dir": tmp_path / "no-server-here",
        "slack_mode": "socket",
        "slack_bot_token": SecretStr(BOT_TOKEN),
        "slack_app_token": SecretStr(APP_TOKEN),
        "slack_signing_secret": SecretStr(SIGNING_SECRET),
        "slack_api_url": slack.api_url,
        "time_zone": "Asia/Tokyo",
        "pool_size": 4,
    }
    return Settings(**{**given, **more})


@asynccontextmanager
async def on_stage(
    slack: SlackServer, settings: Settings, *, ping_interval: float = 1.0
) -> AsyncIterator[Stage]:
    """An assistant that was started; in Socket Mode it is connected."""
    async with compose(settings) as app:
        outcomes: list[tuple[str, str]] = []
        stage: Stage

        def heard(kind: str, outcome: str) -> None:
            stage.heard(kind, outcome)

        assistant = SlackAssistant(
            app, clock=lambda: stage.now, on_event=heard, ping_interval=ping_interval
        )
        stage = Stage(slack, app, assistant, outcomes)
        already = len(slack.connections)
        await assistant.start()
        try:
            if settings.effective_slack_mode == "socket":
                await slack.wait_for_connections(already + 1)
            yield stage
        finally:
            await assistant.stop(5)


@asynccontextmanager
async def served(stage: Stage) -> AsyncIterator[str]:
    """The assistant's route as a part of the API, behind a real HTTP server; its address."""
    api = create_api(stage.app, build_gate(stage.app), routers=[stage.assistant.router])
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    config = uvicorn.Config(api, log_level="error", lifespan="off", timeout_graceful_shutdown=5)
    server = uvicorn.Server(config)
    # Not serve(), which would take over the process's signals.
    serving = asyncio.create_task(server._serve([listening]))
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/slack/events"
    finally:
        server.should_exit = True
        await serving


def transcript(blocks: Iterable[dict[str, Any]]) -> str:
    """What a reader sees of blocks, as text: *set off*, `code`, [button]."""
    return "\n".join(filter(None, map(_shown, blocks)))


def shown(message: Message) -> str:
    """What a reader sees of a message."""
    return transcript(message.blocks)


def _shown(block: dict[str, Any]) -> str:
    match block["type"]:
        case "header":
            return f"# {block['text']['text']}"
        case "section":
            accessory = block.get("accessory")
            return block["text"]["text"] + ("" if accessory is None else f"  {_button(accessory)}")
        case "context":
            return " ".join(f"({part['text']})" for part in block["elements"])
        case "actions":
            return " ".join(map(_button, block["elements"]))
        case "rich_text":
            return "".join(_rich(part) for part in block["elements"][0]["elements"])
    raise AssertionError(f"no answer has a {block['type']}")


def _button(part: dict[str, Any]) -> str:
    return f"[{part['text']['text']}]"


def _rich(part: dict[str, Any]) -> str:
    if part["type"] == "user":
        return f"@{part['user_id']}"
    style = part.get("style", {})
    mark = "*" if style.get("bold") else "`" if style.get("code") else ""
    return f"{mark}{part['text']}{mark}"


async def _work_until_killed() -> None:
    async with compose(load_settings()) as app:
        assistant = SlackAssistant(app)
        await assistant.start()
        await asyncio.Event().wait()


if __name__ == "__main__":  # a process of its own, with the settings of its environment
    asyncio.run(_work_until_killed())
