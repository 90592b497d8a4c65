"""The bare minimum of a door: a FastAPI route that commits the body in one row, and nothing else.

A program: `python -m tests.bench.bare_route URL` on a database of its own prints its address. The web server,
the pool and their settings are those of Northing.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import closing

from fastapi import FastAPI, Request
from psycopg_pool import AsyncConnectionPool
from pydantic import BaseModel

from app.server.server import WebServer, open_listener, run_until_exit
from app.server.signals import run_command
from app.webhooks.connections import PlanningConnection, intake_pool
from app.webhooks.door import CONNECTION_SECONDS

TABLE = """
    CREATE TABLE bare (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body bytea NOT NULL,
        received_at timestamptz NOT NULL DEFAULT now()
    )
"""
_STORE = "INSERT INTO bare (body) VALUES (%s) RETURNING id"


class Accepted(BaseModel):
    delivery: int


def _application(pool: AsyncConnectionPool[PlanningConnection]) -> FastAPI:
    app = FastAPI()

    @app.post("/bare", status_code=202)
    async def receive(request: Request) -> Accepted:
        body = await request.body()
        async with pool.connection() as connection:
            row = await (await connection.execute(_STORE, [body])).fetchone()
        assert row is not None
        return Accepted(delivery=row[0])

    return app


async def _serve(url: str) -> int:
    pool = intake_pool(url, CONNECTION_SECONDS)
    with closing(open_listener("127.0.0.1", 0)) as listener:
        async with pool:
            async with pool.connection() as connection:
                await connection.execute(TABLE)
            async with WebServer(_application(pool)).serving(listener) as web:
                sys.stdout.write(f"http://127.0.0.1:{listener.getsockname()[1]}\n")
                sys.stdout.flush()
                await run_until_exit([web], asyncio.Event().wait())
    return 0


if __name__ == "__main__":
    run_command(_serve(sys.argv[1]))
