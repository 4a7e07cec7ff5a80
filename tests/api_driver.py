"""The HTTP API for tests: on a real storage, and with every answer held against its document."""

import re
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
from fastapi import FastAPI

from nakamura_misaki.adapters.primary.api.application import create_api
from nakamura_misaki.infrastructure.di import App, compose
from nakamura_misaki.infrastructure.di.access import build_gate
from nakamura_misaki.infrastructure.settings import Settings

OURS = "T_OURS"
PROBLEM = "application/problem+json"


@dataclass
class Document:
    """The OpenAPI document, and which of the answers that it declares were seen."""

    content: dict[str, Any]
    seen: set[tuple[str, str]] = field(default_factory=set)

    def operations(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Method, path and operation of each."""
        for path, operations in self.content["paths"].items():
            for method, operation in operations.items():
                yield method.upper(), path, operation

    def check(self, response: httpx.Response) -> None:
        """Fail unless the answer is one that the document declares for its route."""
        found = self._operation(response.request.method, response.request.url.path)
        if found is None:
            if response.request.url.path == "/openapi.json":
                return
            assert response.status_code in (401, 404, 405, 413), response.text
            self._check_content(response, self._problem_schema())
            return
        status = str(response.status_code)
        assert status in found["responses"], f"{found['operationId']} declares no {status}"
        self.seen.add((found["operationId"], status))
        declared = found["responses"][status]
        for name, header in declared["headers"].items():
            assert name in response.headers or not header.get("required"), f"no {name}"
            if name in response.headers:
                schema = header["schema"]
                assert jsonschema_rs.is_valid(schema, response.headers[name]), name
        content = declared.get("content", {})
        if not content:
            assert response.content == b""
            return
        ((media_type, body),) = content.items()
        assert response.headers["content-type"] == media_type
        self._check_content(response, body["schema"])

    def _check_content(self, response: httpx.Response, schema: dict[str, Any]) -> None:
        whole = {**schema, "components": self.content["components"]}
        jsonschema_rs.validate(whole, response.json(), validate_formats=True)

    def _problem_schema(self) -> dict[str, Any]:
        return {"$ref": "#/components/schemas/Problem"}

    def _operation(self, method: str, path: str) -> dict[str, Any] | None:
        for declared_method, template, operation in sorted(
            self.operations(), key=lambda found: found[1].count("{")
        ):
            pattern = re.sub(r"\{\w+\}", "[^/]+", template)
            if declared_method == method and re.fullmatch(pattern, path):
                return operation
        return None


class Client(httpx.AsyncClient):
    """Sends to the API as the holder of one token; every answer is checked."""

    def __init__(self, api: FastAPI, document: Document, token: str | None) -> None:
        async def check(response: httpx.Response) -> None:
            await response.aread()
            document.check(response)

        super().__init__(
            transport=httpx.ASGITransport(api),
            base_url="http://test",
            headers={} if token is None else {"Authorization": f"Bearer {token}"},
            event_hooks={"response": [check]},
        )


@dataclass
class Api:
    """The API on one storage, and a way to ask it."""

    app: App
    api: FastAPI
    document: Document
    exits: AsyncExitStack
    heard: list[tuple[str, str, int, float]]

    async def token(self, user_id: str | None = None, workspace: str = OURS) -> str:
        name = f"token {len(await self.app.of(workspace).tokens.list())}"
        _, text = await self.app.of(workspace).tokens.create(name, user_id=user_id)
        return text

    async def client(self, user_id: str | None = None, workspace: str = OURS) -> Client:
        """A client with a new token: of one user, or (None) for every user."""
        return await self.with_token(await self.token(user_id, workspace))

    async def with_token(self, token: str | None) -> Client:
        client = Client(self.api, self.document, token)
        return await self.exits.enter_async_context(client)


def settings_for(storage: str | Path, **more: object) -> Settings:
    """Settings for the database of a URL, or for JSON files in a directory."""
    if isinstance(storage, Path):
        more |= {"storage_backend": "json", "json_data_dir": storage}
    else:
        more |= {"database_url": storage}
    return Settings(workspace_id=OURS, embedding_provider="hashing", **more)


@asynccontextmanager
async def served(storage: str | Path, **settings: object) -> AsyncIterator[Api]:
    """The API on that storage; at the end no connection may be in use."""
    heard: list[tuple[str, str, int, float]] = []
    async with AsyncExitStack() as exits:
        app = await exits.enter_async_context(compose(settings_for(storage, **settings)))
        api = create_api(app, build_gate(app), on_response=lambda *told: heard.append(told))
        yield Api(app, api, Document(api.openapi()), exits, heard)
        if app.manager is not None:
            assert app.manager.pool_status().in_use == 0
