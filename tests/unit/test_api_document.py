"""The OpenAPI document: the same every time, whole, and one that a client can be made of."""

import json
from typing import Any

import jsonschema_rs
import pytest

from api_driver import settings_for
from nakamura_misaki.adapters.primary.api.application import create_api
from nakamura_misaki.adapters.primary.api.problems import Problem, ProblemType
from nakamura_misaki.application.access import Gate
from nakamura_misaki.infrastructure.di import App

OPERATIONS = {
    "create_task": (201, 400, 401, 404, 409, 413, 415, 422, 500, 503),
    "list_tasks": (200, 400, 401, 404, 422, 500, 503),
    "get_task": (200, 401, 404, 422, 500, 503),
    "change_task": (200, 400, 401, 404, 409, 413, 415, 422, 500, 503),
    "delete_task": (204, 401, 404, 422, 500, 503),
    "create_handoff": (201, 400, 401, 404, 409, 413, 415, 422, 500, 503),
    "list_handoffs": (200, 400, 401, 404, 422, 500, 503),
    "get_handoff": (200, 401, 404, 422, 500, 503),
    "complete_handoff": (200, 401, 404, 409, 422, 500, 503),
    "create_note": (201, 400, 401, 404, 409, 413, 415, 422, 500, 503),
    "list_notes": (200, 400, 401, 404, 422, 500, 503),
    "search_notes": (200, 401, 404, 422, 500, 503),
    "get_note": (200, 401, 404, 422, 500, 503),
    "create_session": (201, 400, 401, 404, 409, 413, 415, 422, 500, 503),
    "list_sessions": (200, 400, 401, 404, 422, 500, 503),
    "get_session": (200, 401, 404, 422, 500, 503),
    "touch_session": (200, 401, 404, 422, 500, 503),
    "list_session_notes": (200, 400, 401, 404, 422, 500, 503),
}


def made() -> dict[str, Any]:
    app = App(settings_for("postgresql+asyncpg://nobody@nowhere/nothing"), None)
    document: dict[str, Any] = create_api(
        app, Gate(lambda name: app.own.token_repository)
    ).openapi()
    return document


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return made()


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        operation["operationId"]: operation
        for methods in document["paths"].values()
        for operation in methods.values()
    }


def references(value: Any) -> set[str]:
    if isinstance(value, list):
        return set().union(*map(references, value))
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*map(references, value.values()))
    return set()


def test_document_is_the_same_every_time(document: dict[str, Any]) -> None:
    assert json.dumps(made()) == json.dumps(document)


def test_every_operation_declares_its_answers(document: dict[str, Any]) -> None:
    found = operations(document)
    assert {
        name: tuple(sorted(map(int, operation["responses"]))) for name, operation in found.items()
    } == OPERATIONS
    for name, operation in found.items():
        assert operation["summary"], name
        assert operation["tags"][0] in {tag["name"] for tag in document["tags"]}
        assert operation["security"] == [{"token": []}]
        for status, response in operation["responses"].items():
            assert response["description"]
            assert "X-Request-ID" in response["headers"]
            kind = "application/problem+json" if status >= "400" else "application/json"
            assert list(response.get("content", {})) == ([] if status == "204" else [kind])
    assert document["openapi"].startswith("3.1.")
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"


def test_every_schema_is_there_and_is_one(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    named = {reference.removeprefix("#/components/schemas/") for reference in references(document)}
    assert named == set(schemas)
    for name, schema in schemas.items():
        jsonschema_rs.meta.validate(
            {**schema, "$schema": "https://json-schema.org/draft/2020-12/schema"}
        )
        assert schema["description"], name
    for name in ("NewTask", "TaskPatch", "NewHandoff", "NewNote", "NewSession"):
        assert schemas[name]["additionalProperties"] is False
    assert "required" not in schemas["TaskPatch"]
    assert not any("default" in field for field in schemas["TaskPatch"]["properties"].values())


def test_bounds_of_values_are_told(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    title = schemas["NewTask"]["properties"]["title"]
    assert (title["minLength"], title["maxLength"]) == (1, 500)
    for name, operation in operations(document).items():
        for parameter in operation.get("parameters", []):
            assert "null" not in json.dumps(parameter["schema"]), (name, parameter)
            if parameter["name"] == "limit":
                schema = parameter["schema"]
                assert (schema["minimum"], schema["maximum"]) == (1, 200)
    assert schemas["Leg"]["enum"] == ["vector", "words"]
    assert schemas["LegSkipped"]["enum"] == [
        "embedding_failed",
        "model_replaced",
        "no_embedder",
        "not_stored",
    ]
    assert schemas["ProblemType"]["enum"] == [str(kind) for kind in ProblemType]
    assert schemas["Problem"]["required"] == list(Problem.model_fields)[:-1]
