"""Hearing at once what another process has done: LISTEN, on a connection of its own.

What is heard only saves waiting; everything is looked up without it too, some seconds later.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any
from uuid import uuid4

import psycopg
import structlog
from psycopg import sql
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from app.database import libpq_url
from app.runtime import Runtime

log = structlog.get_logger()

Callbacks = Mapping[str, Callable[[], object]]

PROBE_CHANNEL = "northing_hello"
PROBE_ANSWER_SECONDS = 5.0
RECONNECT_PAUSES = (1, 2, 5, 10, 30)  # seconds before the next try, by how many have failed
NOT_ARRIVING_PAUSE = 300  # where nothing gets through, somebody has to change a setting first
PROBE_SECONDS = 30
NOT_ARRIVING = (
    "notifications do not arrive; a pooler seems to stand between. Jobs start up to 1 s late, changed "
    "timetables count within 30 s. Set NORTHING_LISTEN_URL to a direct connection to the same database"
)


async def listen(runtime: Runtime, callbacks: Callbacks) -> None:
    """Call back at each notification on a channel, until cancelled.

    Everyone is also called once after each time of deafness, for something may have been missed. A
    connection that is lost is made again, after pauses that grow to half a minute; where notifications
    do not arrive at all, one warning says so and what to do.
    """
    failed, warned = 0, False
    while True:
        pause = NOT_ARRIVING_PAUSE
        try:
            async with _listening_connection(runtime, callbacks) as connection:
                if await _notifications_arrive(runtime, connection):
                    failed, warned = 0, False
                    await _dispatch(connection, callbacks)
                elif not warned:
                    log.warning(NOT_ARRIVING)
                    warned = True
        except (psycopg.Error, SQLAlchemyError, OSError) as error:
            pause = RECONNECT_PAUSES[min(failed, len(RECONNECT_PAUSES) - 1)]
            failed += 1
            log.warning("not listening", reason=type(error).__name__, next_try_in=pause)
        await asyncio.sleep(pause)


@asynccontextmanager
async def notifications_checked(runtime: Runtime) -> AsyncIterator[None]:
    """Find out beside the block whether notifications arrive, for a process whose jobs listen by
    themselves, and warn as `listen` does."""

    async def check() -> None:
        try:
            async with _listening_connection(runtime, {}) as connection:
                if not await _notifications_arrive(runtime, connection):
                    log.warning(NOT_ARRIVING)
        except (psycopg.Error, SQLAlchemyError, OSError) as error:
            log.warning("not listening", reason=type(error).__name__)

    checking = asyncio.create_task(check(), name="check of notifications")
    try:
        yield
    finally:
        checking.cancel()
        with suppress(asyncio.CancelledError):
            await checking


def listen_url(runtime: Runtime) -> str:
    """Where to listen, in libpq's spelling: NORTHING_LISTEN_URL, else the database in use."""
    given = runtime.settings.listen_url
    if given is not None:
        return libpq_url(given.get_secret_value())
    return libpq_url(runtime.engine.url.render_as_string(hide_password=False))


@asynccontextmanager
async def _listening_connection(
    runtime: Runtime, callbacks: Callbacks
) -> AsyncIterator[psycopg.AsyncConnection[tuple[Any, ...]]]:
    connection = await psycopg.AsyncConnection.connect(
        listen_url(runtime),
        autocommit=True,
        prepare_threshold=None,
        connect_timeout=10,
        application_name="northing listens",
    )
    async with connection:
        for channel in (PROBE_CHANNEL, *callbacks):
            await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
        yield connection


async def _notifications_arrive(runtime: Runtime, connection: psycopg.AsyncConnection[Any]) -> bool:
    """Whether a NOTIFY sent the ordinary way is heard on this connection."""
    token = uuid4().hex
    async with runtime.engine.begin() as ordinary:
        await ordinary.execute(select(func.pg_notify(PROBE_CHANNEL, token)))
    # An async generator left half-way would keep the connection to itself.
    async with aclosing(connection.notifies(timeout=PROBE_ANSWER_SECONDS)) as notifications:
        async for notification in notifications:
            if (notification.channel, notification.payload) == (PROBE_CHANNEL, token):
                return True
    return False


async def _dispatch(connection: psycopg.AsyncConnection[Any], callbacks: Callbacks) -> None:
    for call in callbacks.values():
        call()
    while True:
        async with aclosing(connection.notifies(timeout=PROBE_SECONDS)) as notifications:
            async for notification in notifications:
                if notification.channel in callbacks:
                    callbacks[notification.channel]()
        # A connection that a firewall dropped in silence says so only when asked.
        await connection.execute("SELECT 1")
