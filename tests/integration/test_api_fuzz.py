"""Whatever is sent to the API, its answer is one that the OpenAPI document declares.

schemathesis makes requests of the document, valid ones and broken ones, and sends
them through real sockets to a real database. FUZZ_EXAMPLES says how many; all of
them: ``FUZZ_EXAMPLES=5000 pytest tests/integration/test_api_fuzz.py -s``.
"""

import math
import os
import random
from collections import Counter
from collections.abc import Iterator
from uuid import uuid4

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import CHECKS
from schemathesis.generation import GenerationMode

from api_driver import settings_for
from api_server import Served, api_server
from database_server import Server
from nakamura_misaki.adapters.primary.api.application import create_api
from nakamura_misaki.application.access import Gate
from nakamura_misaki.infrastructure.database.roles import RUNTIME_ROLE
from nakamura_misaki.infrastructure.di import App

QUICK = 400
EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", QUICK))

# Without the one check that whatever fits the schema is accepted: the domain has rules beyond.
LEFT_OUT = ("positive_data_acceptance", "missing_required_header")


def _document() -> dict[str, object]:
    """The document, which is the same whatever the API stands on."""
    app = App(settings_for("postgresql+asyncpg://nobody@nowhere/nothing"), None)
    return create_api(app, Gate(lambda workspace: app.of(workspace).token_repository)).openapi()


schema = schemathesis.openapi.from_dict(_document())
OPERATIONS = schema.statistic.operations.total
EACH = math.ceil(EXAMPLES / OPERATIONS)

examples: Counter[str] = Counter()


@pytest.fixture(scope="module")
def service(server: Server, template: str) -> Iterator[Served]:
    name = server.create_database(template)
    try:
        with api_server(server.url(name, RUNTIME_ROLE)) as served:
            yield served
            _report(served)
    finally:
        server.drop_database(name)


@pytest.fixture(scope="module")
def session() -> Iterator[requests.Session]:
    with requests.Session() as made:
        yield made


@pytest.fixture(scope="module")
def known(service: Served) -> dict[str, str]:
    """Ids of entries that are there, by the name of the parameter that takes them."""
    at = "2026-10-15T09:00:00Z"
    bodies = {
        "task_id": ("tasks", {"title": "x", "creator_user_id": "U1"}),
        "handoff_id": (
            "handoffs",
            {"from_user_id": "U1", "to_user_id": "U2", "progress_note": "x", "handoff_at": at},
        ),
        "note_id": ("notes", {"user_id": "U1", "content": "x", "session_id": "s1"}),
        "session_id": ("sessions", {"id": "s1", "user_id": "U1"}),
    }
    headers = {"Authorization": f"Bearer {service.token}"}
    with httpx.Client(base_url=service.url, headers=headers) as client:
        return {
            name: client.post(f"/v1/{kind}", json=body).raise_for_status().json()["id"]
            for name, (kind, body) in bodies.items()
        }


@schema.parametrize()
@settings(
    max_examples=EACH,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    database=None,
    derandomize=EXAMPLES <= QUICK,  # the same every time where nobody looks for something new
)
def test_every_answer_is_declared(
    case: schemathesis.Case, service: Served, session: requests.Session, known: dict[str, str]
) -> None:
    positive = case.meta is not None and case.meta.generation.mode == GenerationMode.POSITIVE
    chance = random.Random(f"{case.operation.label} {case.path_parameters} {case.body!r}")
    if positive and case.path_parameters and chance.random() < 0.7:
        for name in case.path_parameters:
            case.path_parameters[name] = known[name]
    token = chance.choice([service.token, service.own_token])
    examples[case.operation.label] += 1
    case.call_and_validate(
        base_url=service.url,
        session=session,
        headers={"Authorization": f"Bearer {token}", "X-Request-ID": uuid4().hex},
        excluded_checks=[CHECKS.get_one(name) for name in LEFT_OUT],
        timeout=20,
    )


def _report(served: Served) -> None:
    statuses = Counter(status for _, _, status, _ in served.api.heard)
    print(f"\n{examples.total():,} examples, {statuses.total():,} requests in all, answered by:")
    print(dict(sorted(statuses.items())))
    if EXAMPLES <= QUICK:
        print("all of them: FUZZ_EXAMPLES=5000 pytest tests/integration/test_api_fuzz.py -s")
