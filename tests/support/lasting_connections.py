"""Connections that outlive the pool that opened them, for the next test on the same database.

What a connection knows of the tables and functions PostgreSQL finds out anew for each. For the job queue that
is more work than all the jobs of a test.
"""

from __future__ import annotations

from contextlib import suppress
from functools import partial
from typing import Any, ClassVar, Self

import psycopg
from psycopg.pq import TransactionStatus
from psycopg_pool import AsyncConnectionPool

MOST = 2  # of a kind; one serves nearly every test


class LastingConnection(psycopg.AsyncConnection[Any]):
    """Its pool closes it, and the next pool that would open one like it gets it again."""

    idle: ClassVar[dict[str, list[LastingConnection]]] = {}
    opened_by = ""

    @classmethod
    async def connect(cls, conninfo: str = "", **options: Any) -> Self:
        opened_by = repr((conninfo, options))
        kept = cls.idle.get(opened_by, [])
        while kept:
            found = kept.pop()
            with suppress(psycopg.OperationalError):  # a test may have ended it from the server's side
                await AsyncConnectionPool.check_connection(found)
                return found  # type: ignore[return-value]  # there is no subclass
            found.pgconn.finish()
        made = await super().connect(conninfo, **options)
        made.opened_by = opened_by
        return made

    async def close(self) -> None:
        kept = self.idle.setdefault(self.opened_by, [])
        at_rest = not self.closed and self.pgconn.transaction_status == TransactionStatus.IDLE
        if at_rest and len(kept) < MOST:
            kept.append(self)
        else:
            await super().close()


LastingPool = partial(AsyncConnectionPool, connection_class=LastingConnection)


def count_idle() -> int:
    return sum(map(len, LastingConnection.idle.values()))


def end_idle() -> None:
    """End them all, as those of a database that is no more."""
    for kept in LastingConnection.idle.values():
        for connection in kept:
            connection.pgconn.finish()
    LastingConnection.idle.clear()
