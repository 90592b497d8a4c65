"""The connections of the intake, which keep its few statements parsed and planned.

To plan the statement that stores webhooks takes PostgreSQL as long as to carry it out.
"""

from __future__ import annotations

import time

from psycopg import AsyncConnection
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool

from app.database import libpq_url

CONNECTIONS = 8
# A plan holds for a table as large as it was, and a storm fills an empty one.
PLAN_SECONDS = 1.0


class PlanningConnection(AsyncConnection[TupleRow]):
    """A connection that prepares each statement once, and plans it once in `PLAN_SECONDS`.

    It does so only where it leads to PostgreSQL itself: behind a pooler the next statement may reach a
    process that knows nothing of it. A pooler that shares connections gives its clients process ids of its
    own, by which it knows what they cancel; so another process answers than the one that was named.
    """

    planned_at = float("-inf")

    async def prepare_if_direct(self) -> None:
        """For a new connection, before its first statement."""
        row = await (await self.execute("SELECT pg_backend_pid()")).fetchone()
        if row is not None and row[0] == self.info.backend_pid:
            # PostgreSQL would plan anew for each length of the lists, for plans that do not differ.
            await self.execute("SET plan_cache_mode = force_generic_plan")
            self.prepare_threshold = 0

    async def renew_plans(self) -> None:
        """Let the next statements be planned for the tables as they are now, where that is due."""
        now = time.monotonic()
        if self.prepare_threshold is not None and now - self.planned_at >= PLAN_SECONDS:
            self.planned_at = now
            await self.execute("DISCARD PLANS", prepare=False)


def intake_pool(url: str, seconds: float) -> AsyncConnectionPool[PlanningConnection]:
    """Connections to the database at `url` that commit each statement by itself, for one of which a webhook
    waits for `seconds` at most. The pool is not open yet."""
    return AsyncConnectionPool(
        libpq_url(url),
        connection_class=PlanningConnection,
        configure=PlanningConnection.prepare_if_direct,
        open=False,
        min_size=0,
        max_size=CONNECTIONS,
        timeout=seconds,
        kwargs={
            "autocommit": True,
            "connect_timeout": 5,
            "prepare_threshold": None,
            "application_name": "northing intake",
        },
    )
