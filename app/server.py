"""The server process: HTTP, worker and timetable around one runtime, started and stopped as one."""

from __future__ import annotations

import asyncio
import errno
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
import structlog
import uvicorn
from sqlalchemy import update
from sqlalchemy.exc import SQLAlchemyError

from app.database import DatabaseNotReady, engine_for, libpq_url, migrate, newest_revision, sessions_for
from app.embedded import Server as EmbeddedServer
from app.embedded import acquire
from app.embedded.watch import watched
from app.installation import prepare
from app.intake import Intake
from app.jobs import queue_on
from app.process import Failed
from app.runtime import Runtime
from app.settings import Settings, WrongSetting
from app.sweeper import working
from app.timetable import ticking
from app.vault import vault_for
from mappings import claims, inbox
from mappings.tables import Run

if TYPE_CHECKING:
    from fastapi import FastAPI

log = structlog.get_logger()

DATABASE = "northing"
BACKLOG = 2048
# For requests to end by themselves. A stop takes ten seconds at most: five for these and, side by side, for
# jobs (`sweeper`), and what follows is short, or cut short.
STOP_SECONDS = 5
GIVE_BACK_SECONDS = 1.5

T = TypeVar("T")


class CannotListen(Failed):
    """The address is not to be had."""


class BrokeDown(Failed):
    """A part of the server ended by itself; the log says why."""


# --- the address --------------------------------------------------------------------------------


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens from now on, so that a port in use is known before anything else is started.

    Port 0 is any free one. Raises `CannotListen`, or `WrongSetting` where the host is not this machine.
    """
    try:
        found = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError):
        raise WrongSetting(f"NORTHING_HOST {host!r} is not an address of this machine") from None
    # `localhost` has two: everybody tries 127.0.0.1, not everybody ::1.
    family, kind, protocol, _, address = min(found, key=lambda info: info[0] != socket.AF_INET)
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise _not_to_be_had(error, host, port) from None
    listener.setblocking(False)
    return listener


def _not_to_be_had(error: OSError, host: str, port: int) -> Exception:
    if error.errno == errno.EADDRINUSE:
        return CannotListen(f"Port {port} on {host} is in use; end what uses it, or set NORTHING_PORT")
    if error.errno == errno.EACCES:
        return CannotListen(f"Port {port} is closed to this user; set NORTHING_PORT to 1024 or above")
    if error.errno == errno.EADDRNOTAVAIL:
        return WrongSetting(f"NORTHING_HOST {host!r} is not an address of this machine")
    return CannotListen(f"Cannot listen on {host} port {port}: {error.strerror}")


# --- the database and the runtime on it -----------------------------------------------------------


@asynccontextmanager
async def embedded(settings: Settings) -> AsyncIterator[EmbeddedServer]:
    """A handle on the data folder's PostgreSQL. Raises `EmbeddedDatabaseError`."""
    starting = asyncio.ensure_future(asyncio.to_thread(acquire, settings.data_dir))
    try:
        server = await asyncio.shield(starting)
    except asyncio.CancelledError:
        # A thread cannot be stopped on its way, and what it starts must not outlive us.
        await asyncio.to_thread((await starting).release)
        raise
    try:
        async with watched(server):
            yield server
    finally:
        await asyncio.to_thread(server.release)


@asynccontextmanager
async def database(settings: Settings) -> AsyncIterator[str]:
    """The URL of the database in force: the one of the settings, else Northing's own in the data folder."""
    if settings.database_url is not None:
        yield settings.database_url.get_secret_value()
        return
    async with embedded(settings) as server:
        await asyncio.to_thread(server.create_database, DATABASE)
        yield server.url(DATABASE)


@asynccontextmanager
async def opened(
    settings: Settings, url: str, *, ready: Callable[[str], Awaitable[None]] | None = None
) -> AsyncIterator[Runtime]:
    """A runtime on the database at `url`, which is migrated first; or `ready` sees to it that it is.

    Raises `DatabaseNotReady`, `WrongSetting`.
    """
    vault = vault_for(settings)
    await (asyncio.to_thread(migrate, url) if ready is None else ready(url))
    listen_url = url
    if settings.listen_url is not None:
        listen_url = settings.listen_url.get_secret_value()
        await asyncio.to_thread(_check_listen_url, listen_url, url)
    async with AsyncExitStack() as exits:
        engine, queue = engine_for(url), queue_on(listen_url)
        exits.push_async_callback(engine.dispose)
        await exits.enter_async_context(queue.open_async())
        intake = await exits.enter_async_context(Intake(url, queue))
        runtime = Runtime(settings, engine, sessions_for(engine), vault, queue, intake)
        exits.push_async_callback(_give_back_runs, runtime)
        yield runtime


def _check_listen_url(listen_url: str, url: str) -> None:
    """Both have to lead to one database, for jobs are fetched where they are listened for."""
    try:
        direct = psycopg.connect(libpq_url(listen_url), connect_timeout=10)
    except psycopg.OperationalError as error:
        reason = " ".join(str(error).split())
        raise DatabaseNotReady(f"NORTHING_LISTEN_URL leads to no database we may use: {reason}") from None
    # Advisory locks belong to a database, and anybody may take them, through any pooler.
    lock, key = "SELECT pg_try_advisory_xact_lock(%s)", (secrets.randbits(62),)
    with closing(direct), psycopg.connect(libpq_url(url), connect_timeout=10) as ordinary:
        ordinary.execute(lock, key)
        if direct.execute(lock, key).fetchone() == (True,):
            raise DatabaseNotReady(
                "NORTHING_LISTEN_URL leads to another database than NORTHING_DATABASE_URL; "
                "set it to a direct connection to the same one"
            )


async def _give_back_runs(runtime: Runtime) -> None:
    """What our stop cuts short is anybody's at once, not only when its lease ends."""
    mine = Run.claimed_by.startswith(runtime.worker, autoescape=True)
    ours = update(Run).where(mine, Run.finished_at.is_(None))
    try:
        async with asyncio.timeout(GIVE_BACK_SECONDS), runtime.sessions.begin() as session:
            await session.execute(ours.values(claimed_by=None, claimed_until=None))
            await inbox.give_back(session, runtime.worker)
            await claims.give_back_all(session, runtime.worker, runtime.clock())
    except (SQLAlchemyError, TimeoutError) as error:
        log.warning("nothing given back, the leases have to end", reason=type(error).__name__)


# --- everything together --------------------------------------------------------------------------


@dataclass(frozen=True)
class Northing:
    """A server that runs. `made_token` is the admin token if this start made it, to be shown once."""

    url: str
    made_token: str | None
    parts: Collection[asyncio.Task[None]]


@asynccontextmanager
async def running(
    settings: Settings, url: str, listener: socket.socket, *, worker: bool = True
) -> AsyncIterator[Northing]:
    """Northing on the database at `url`, answering on `listener`, until the block ends.

    Without `worker` it answers and keeps the timetable, and leaves every job to other processes. Errors are
    those of `opened`.
    """
    from app.application import create_app  # half a second to import, which no other command has to pay

    host, port = listener.getsockname()[:2]
    settings = settings.model_copy(update={"port": port})
    async with opened(settings, url) as runtime:
        token_hash, made = await prepare(runtime)
        web = Web(create_app(runtime, token_hash))
        async with AsyncExitStack() as stopping:
            parts = [await stopping.enter_async_context(web.serving(listener))]
            parts.append(await stopping.enter_async_context(ticking(runtime)))
            if worker:
                parts.append(await stopping.enter_async_context(working(runtime)))
            # Runs first of all: the last requests and the last jobs end side by side.
            stopping.callback(web.stop)
            yield Northing(f"http://{f'[{host}]' if ':' in host else host}:{port}", made, parts)


class Web(uvicorn.Server):
    """uvicorn that leaves signals to us and says when it is ready."""

    def __init__(self, app: FastAPI) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http="httptools",
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                backlog=BACKLOG,
                timeout_graceful_shutdown=STOP_SECONDS,
            )
        )
        self._ready = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready.set()

    def stop(self) -> None:
        self.should_exit = True

    @asynccontextmanager
    async def serving(self, listener: socket.socket) -> AsyncIterator[asyncio.Task[None]]:
        task = asyncio.create_task(self.serve(sockets=[listener]), name="web server")
        try:
            await attend([task], self._ready.wait())
            yield task
        finally:
            self.stop()
            await asyncio.wait({task})


async def attend(parts: Collection[asyncio.Task[None]], work: Coroutine[Any, Any, T]) -> T:
    """Do `work` while every part lives. Raises `BrokeDown` as soon as one ends, which none should."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task, *parts}, return_when=asyncio.FIRST_COMPLETED)
        for part in parts:
            if part.done():
                log.error("a part of the server ended", part=part.get_name(), exc_info=part.exception())
                raise BrokeDown(f"The {part.get_name()} broke down; the log says why")
        return await task
    finally:
        task.cancel()
        await asyncio.wait({task})


async def serve(settings: Settings, say: Callable[[str], None], *, worker: bool = True) -> None:
    """`northing serve`, until cancelled. `say` gets what is for the person at the terminal."""
    listener = listen(settings.host, settings.port)
    with closing(listener):
        async with database(settings) as url, running(settings, url, listener, worker=worker) as northing:
            if northing.made_token is not None:
                say(f"Admin token, shown this once: {northing.made_token}")
            say(f"Northing serves {northing.url}, its API is described at {northing.url}/docs")
            await attend(northing.parts, asyncio.Event().wait())


async def upgrade(settings: Settings, say: Callable[[str], None]) -> int:
    """`northing db upgrade`."""
    async with database(settings) as url:
        await asyncio.to_thread(migrate, url)
    say(f"The database is at {newest_revision()}.")
    return 0
