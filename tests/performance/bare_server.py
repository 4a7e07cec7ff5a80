"""What the service is measured against: FastAPI and uvicorn alone, giving fixed bytes.

Reads the two bodies from stdin, each after its length in eight bytes; prints its address.
"""

import socket
import sys

import uvicorn
from fastapi import FastAPI, Response


def body() -> bytes:
    return sys.stdin.buffer.read(int.from_bytes(sys.stdin.buffer.read(8), "big"))


def main() -> None:
    tasks, search = body(), body()
    api = FastAPI()

    @api.get("/v1/tasks")
    async def get_tasks(user_id: str, limit: int = 50) -> Response:
        return Response(tasks, media_type="application/json")

    @api.get("/v1/notes/search")
    async def get_search(q: str, user_id: str, limit: int = 10) -> Response:
        return Response(search, media_type="application/json")

    with socket.create_server(("127.0.0.1", 0), backlog=2048) as listening:
        host, port = listening.getsockname()
        print(f"http://{host}:{port}", flush=True)
        config = uvicorn.Config(api, lifespan="off", access_log=False, log_level="warning")
        uvicorn.Server(config).run([listening])


if __name__ == "__main__":
    main()
