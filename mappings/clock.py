"""The time that decisions are made by: the database's, so that all processes share one clock."""

from __future__ import annotations

import time
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

# Counts on while the machine sleeps, where the system has such a clock.
_SINCE_BOOT: int = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
_DATABASE_TIME = "clock_timestamp()"
_READ = text(f"SELECT {_DATABASE_TIME}")


class Clock(Protocol):
    """Where the time comes from. Tests have one of their own."""

    async def read(self, database: AsyncSession | AsyncConnection) -> datetime:
        """The time now, UTC. It is read once a request, claim or slice of work and passed on as `now`."""
        ...

    def running_from(self, now: datetime) -> Callable[[], datetime]:
        """The time as it goes on from `now`, for what happens between two statements: it counts seconds and
        does not follow a machine's clock that is set."""
        ...

    def in_sql(self) -> str:
        """The time now as an SQL expression, for a statement that may not cost a second one."""
        ...


class DatabaseClock:
    """The database's clock; see `Clock`."""

    async def read(self, database: AsyncSession | AsyncConnection) -> datetime:
        now: datetime = (await database.execute(_READ)).scalar_one()
        return now

    def running_from(self, now: datetime) -> Callable[[], datetime]:
        begun = time.clock_gettime(_SINCE_BOOT)
        return lambda: now + timedelta(seconds=time.clock_gettime(_SINCE_BOOT) - begun)

    def in_sql(self) -> str:
        return _DATABASE_TIME


# The moments of jobs and the heartbeats of the job queue are the database's own, whatever clock decides.
QUEUE_CLOCK = DatabaseClock()
