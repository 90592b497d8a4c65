"""A second connection that holds a row, so that a test decides who comes first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import psycopg

PATIENCE = 30.0


@dataclass
class Holder:
    """`hold` takes locks until the block ends or `let_go`; `waiting` counts the connections that wait."""

    connection: psycopg.AsyncConnection[Any]
    observer: psycopg.AsyncConnection[Any]

    async def hold(self, statement: str, *values: Any) -> None:
        await self.connection.execute(statement, values)

    async def let_go(self) -> None:
        await self.connection.commit()

    async def until_waiting(self, count: int, *, for_: str | None = None) -> None:
        """Until `count` connections to this database wait for a lock; `for_`: for one of this kind, as
        `wait_event` names it."""
        async with asyncio.timeout(PATIENCE):
            while await self.waiting(for_) < count:
                await asyncio.sleep(0)

    async def waiting(self, for_: str | None = None) -> int:
        found = await self.observer.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
            " AND coalesce(wait_event = %s::text, true)",
            (for_,),
        )
        row = await found.fetchone()
        assert row is not None
        return int(row[0])


@asynccontextmanager
async def holding(database_url: str) -> AsyncIterator[Holder]:
    async with (
        await psycopg.AsyncConnection.connect(database_url) as connection,
        await psycopg.AsyncConnection.connect(database_url, autocommit=True) as observer,
    ):
        yield Holder(connection, observer)
