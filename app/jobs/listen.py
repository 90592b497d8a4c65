"""LISTEN on a connection of its own: a process learns at once what another process has done.

A notification only saves waiting: without it the same change is found some seconds later.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg
import structlog
from psycopg import sql
from sqlalchemy import func, select
from sqlalchemy.exc import SQLAlchemyError

from app.database import libpq_url

if TYPE_CHECKING:
    from app.runtime import Runtime

log = structlog.get_logger()

Callbacks = Mapping[str, Callable[[], object]]

PROBE_CHANNEL = "northing_hello"
PROBE_ANSWER_SECONDS = 5.0
RECONNECT_PAUSES = (1, 2, 5, 10, 30)  # seconds before the next try, by the number of failed tries
NOT_ARRIVING_PAUSE = 300  # seconds; a person has to change a setting first
PROBE_SECONDS = 30
NOT_ARRIVING = (
    "notifications do not arrive; a pooler seems to block them. Jobs start up to 1 s late, changed "
    "timetables take effect within 30 s. Set NORTHING_LISTEN_URL to a direct connection to the same database"
)


async def listen(runtime: Runtime, callbacks: Callbacks) -> None:
    """Call a channel's callback at each notification on it, until cancelled.

    Every callback is also called once after each new connection, as notifications may have been missed. A
    lost connection is opened again, after pauses that grow to half a minute. If notifications do not arrive
    at all, one warning says so and what to do.
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
    """Check while the block runs whether notifications arrive, and warn as `listen` does. This is for a
    process that does not call `listen`, where only the job queue listens."""

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
    """Whether this connection receives a NOTIFY that is sent over the runtime's own engine."""
    token = uuid4().hex
    async with runtime.engine.begin() as ordinary:
        await ordinary.execute(select(func.pg_notify(PROBE_CHANNEL, token)))
    # A generator that is not closed would keep the connection locked.
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
        # A connection that a firewall dropped silently fails only when a statement uses it.
        await connection.execute("SELECT 1")
