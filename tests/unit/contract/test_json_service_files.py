"""The service's JSON files: who may read them, damage, and that they are no legacy data."""

import json
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

import pytest

from nakamura_misaki.adapters.secondary.json_event_inbox import JsonEventInbox
from nakamura_misaki.adapters.secondary.json_idempotency_store import JsonIdempotencyStore
from nakamura_misaki.adapters.secondary.json_task_repository import JsonTaskRepository
from nakamura_misaki.adapters.secondary.json_token_repository import JsonTokenRepository
from nakamura_misaki.adapters.secondary.legacy_layout import (
    REMINDER_CLAIMS_FILE,
    SERVICE_FILES,
)
from nakamura_misaki.application.access import TokenService
from nakamura_misaki.application.idempotency import Reservation, Response
from nakamura_misaki.application.inbox import Event
from nakamura_misaki.domain.errors import AlreadyExists, StorageUnavailable
from repository_backend import task
from unit.legacy_stores import note_entry, scan, tree, write

NOW = datetime(2026, 10, 7, 3, tzinfo=UTC)


async def fill(directory: Path) -> str:
    """Write all the service's files; the text of the token."""
    tokens = JsonTokenRepository(directory)
    service = TokenService(tokens, workspace_id="default", new_id=uuid4)
    _, text = await service.create("ci")
    keys = JsonIdempotencyStore(directory)
    await keys.reserve("s", "k", Reservation(uuid4(), datetime.now(UTC), b"f"))
    await keys.finish("s", "k", Response(201, b"{}", "/v1/tasks/1"))
    await JsonEventInbox(directory).receive(Event("Ev1", {"text": "メモ"}, uuid4(), NOW))
    return text


async def test_token_file_is_its_owners_and_holds_no_secret(tmp_path: Path) -> None:
    text = await fill(tmp_path)
    file = tmp_path / "api_tokens.json"
    assert file.stat().st_mode & 0o777 == 0o600
    assert text.rpartition(".")[2] not in file.read_text()
    tokens = JsonTokenRepository(tmp_path)
    (created,) = await tokens.list()
    await tokens.note_use(created.id, NOW)
    assert file.stat().st_mode & 0o777 == 0o600


async def test_service_files_are_no_legacy_data(tmp_path: Path) -> None:
    await JsonTaskRepository(tmp_path / "data").create(created := task())
    await fill(tmp_path / "data")
    write(tmp_path, f"data/{REMINDER_CLAIMS_FILE}", {})  # is only there while there are claims
    assert set(tree(tmp_path / "data")) == {"tasks.json", *SERVICE_FILES}
    entries, rejections, ignored = scan(tmp_path)
    assert (entries, rejections) == ([created], [])
    assert {f"data/{name}" for name in SERVICE_FILES} <= set(ignored)


def test_legacy_data_under_such_a_name_is_still_read(tmp_path: Path) -> None:
    write(tmp_path, "notes/api_tokens.json", [note_entry("a note about tokens")])
    write(tmp_path, "inbox_events.json", {"user_id": "U1", "content": "single"})
    entries, rejections, _ = scan(tmp_path)
    assert {each.content for each in entries} == {"a note about tokens", "single"}
    assert rejections == []


@pytest.mark.parametrize("name", sorted(SERVICE_FILES - {REMINDER_CLAIMS_FILE}))
@pytest.mark.parametrize(
    "content",
    [b'{"broken', b"[]", b'{"x": 1}', b'{"x": {}}', b'{"x": null}', b""],
)
async def test_damaged_file_is_one_sentence_and_stays_as_it_is(
    tmp_path: Path, name: str, content: bytes
) -> None:
    write(tmp_path, name, content)
    operation = {
        "api_tokens.json": lambda: JsonTokenRepository(tmp_path).note_use(uuid4(), NOW),
        "idempotency_keys.json": lambda: JsonIdempotencyStore(tmp_path).forget(NOW),
        "inbox_events.json": lambda: JsonEventInbox(tmp_path).take_up(1),
    }[name]
    with pytest.raises(StorageUnavailable, match=rf"{name}.* Repair it or move it away\.$"):
        await operation()
    assert (tmp_path / name).read_bytes() == content


async def test_time_without_a_zone_is_damage(tmp_path: Path) -> None:
    await fill(tmp_path)
    file = tmp_path / "api_tokens.json"
    tokens = json.loads(file.read_text())
    for each in tokens.values():
        each["created_at"] = "2026-10-07T12:00:00"
    file.write_text(json.dumps(tokens))
    with pytest.raises(StorageUnavailable, match="does not hold what it should"):
        await JsonTokenRepository(tmp_path).list()


async def test_refused_token_changes_no_file(tmp_path: Path) -> None:
    await fill(tmp_path)
    before = tree(tmp_path)
    tokens = JsonTokenRepository(tmp_path)
    (created,) = await tokens.list()
    with pytest.raises(AlreadyExists):
        await tokens.create(replace(created, id=uuid4()))
    assert await tokens.revoke(uuid4(), NOW) is False
    assert tree(tmp_path) == before
