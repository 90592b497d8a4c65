"""Counts a connector's requests while it is used and stores its tracker's rate limit, so that the calls of
every process are counted and each process knows how many are left."""

from __future__ import annotations

from contextlib import aclosing, asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog
from sqlalchemy.exc import SQLAlchemyError

from app.heartbeat import heartbeat
from mappings import counters

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from app.runtime import Runtime
    from connectors.base import Connector

log = structlog.get_logger()

# A process that is killed loses the counts of this interval.
RECORD_EVERY = timedelta(seconds=10)


@asynccontextmanager
async def track_usage(runtime: Runtime, source_id: int, connector: Connector) -> AsyncIterator[Connector]:
    """Yield the connector, count its requests, store its tracker's rate limit, and close it at the end.

    The connector starts with the rate limit that any process stored last.
    """
    counted = uncounted = 0

    async def note() -> None:
        nonlocal counted, uncounted
        before, counted = counted, connector.requests
        uncounted_before, uncounted = uncounted, connector.uncounted_requests
        if counted > before:
            async with runtime.sessions.begin() as session:
                await counters.store_rate_limit(
                    session, source_id, connector.response_meta, await runtime.now(session)
                )
                await counters.add_count(session, source_id, "request", count=counted - before)
        if uncounted > uncounted_before:  # its own transaction: each locks one row of that table
            async with runtime.sessions.begin() as session:
                await counters.add_count(session, source_id, "uncounted", count=uncounted - uncounted_before)

    async with aclosing(connector):
        async with runtime.sessions() as session:
            known = await counters.load_rate_limit(session, source_id)
        if known is not None:
            connector.restore_budget(*known)
        try:
            async with heartbeat(note, RECORD_EVERY):
                yield connector
        finally:
            try:
                await note()
            except SQLAlchemyError as error:  # must not fail the work; the source may be deleted by now
                log.warning("requests not counted", reason=type(error).__name__)
