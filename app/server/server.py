"""The server process: HTTP, worker and timetable around one runtime, started and stopped as one."""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
import socket
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
import structlog
import uvicorn
from sqlalchemy.exc import SQLAlchemyError

from app.database import DatabaseNotReady, engine_for, libpq_url, migrate, newest_revision, sessions_for
from app.embedded import Server as EmbeddedServer, acquire
from app.embedded.watch import restarting_if_down
from app.heartbeat import release_claims
from app.jobs.queue import queue_for
from app.jobs.scheduler import scheduler_running
from app.jobs.worker import worker_running
from app.runtime import Runtime
from app.secrets import SecretCipher, cipher_for, holds_secrets, lacks_key, missing_key
from app.server.bootstrap import after_start, prepare_installation
from app.server.connections import LIMITS, BoundedProtocol, ConnectionLimits, Connections, connection_limits
from app.server.signals import CommandFailed
from app.settings import Settings, WrongSetting
from app.webhooks.door import Intake
from connectors.addresses import is_loopback
from connectors.network import WrongCertificates, read_network

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Iterator

    from fastapi import FastAPI

    from app.demo_company.loader import DemoCompany
    from connectors.network import Network

log = structlog.get_logger()

DATABASE = "northing"
BACKLOG = 2048
# How long open requests may take to end. A whole stop takes ten seconds at most: five for requests and, at
# the same time, for jobs (`app.jobs.worker`); every later step is short or has a time limit.
STOP_SECONDS = 5
RELEASE_SECONDS = 1.5

T = TypeVar("T")


class CannotListen(CommandFailed):
    """The server cannot listen on its address."""


class TaskEnded(CommandFailed):
    """A task of the server ended by itself; the log says why."""


# --- the address --------------------------------------------------------------------------------


def open_listener(host: str, port: int) -> socket.socket:
    """A listening socket. It is opened first, so that a port in use is found before anything else starts.

    Port 0 means any free port. Raises `CannotListen`, or `WrongSetting` where the host is not this machine.
    """
    try:
        found = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP, flags=socket.AI_PASSIVE
        )
    except (OSError, UnicodeError):
        raise WrongSetting(f"NORTHING_HOST {host!r} is not an address of this machine") from None
    # `localhost` has two addresses: every client tries 127.0.0.1, but some never try ::1.
    family, kind, protocol, _, address = min(found, key=lambda info: info[0] != socket.AF_INET)
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise _listen_error(error, host, port) from None
    listener.setblocking(False)
    return listener


def _listen_error(error: OSError, host: str, port: int) -> Exception:
    if error.errno == errno.EADDRINUSE:
        return CannotListen(
            f"Port {port} on {host} is in use; stop the program that uses it, or set NORTHING_PORT"
        )
    if error.errno == errno.EACCES:
        return CannotListen(f"This user may not listen on port {port}; set NORTHING_PORT to 1024 or above")
    if error.errno == errno.EADDRNOTAVAIL:
        return WrongSetting(f"NORTHING_HOST {host!r} is not an address of this machine")
    return CannotListen(f"Cannot listen on {host} port {port}: {error.strerror}")


# --- the database and the runtime on it -----------------------------------------------------------


@asynccontextmanager
async def embedded_server(settings: Settings) -> AsyncIterator[EmbeddedServer]:
    """A handle on the data folder's PostgreSQL. Raises `EmbeddedDatabaseError`."""
    starting = asyncio.ensure_future(asyncio.to_thread(acquire, settings.data_dir))
    try:
        server = await asyncio.shield(starting)
    except asyncio.CancelledError:
        # A running thread cannot be stopped, and the server that it starts must not outlive this process.
        await asyncio.to_thread((await starting).release)
        raise
    try:
        async with restarting_if_down(server):
            yield server
    finally:
        await asyncio.to_thread(server.release)


@asynccontextmanager
async def database_url(settings: Settings) -> AsyncIterator[str]:
    """The URL of the database to use: the one of the settings, else the embedded one in the data folder."""
    if settings.database_url is not None:
        yield settings.database_url.get_secret_value()
        return
    async with embedded_server(settings) as server:
        await asyncio.to_thread(server.create_database, DATABASE)
        yield server.url(DATABASE)


@asynccontextmanager
async def open_runtime(
    settings: Settings,
    url: str,
    *,
    ready: Callable[[str], Awaitable[None]] | None = None,
    cipher: SecretCipher | None = None,
) -> AsyncIterator[Runtime]:
    """A runtime on the database at `url`, which is migrated first; `ready`, if given, replaces the migration.

    Without `cipher` the keys are those of the settings, and a missing one is made where the database holds
    nothing that a key has to open. Raises `DatabaseNotReady`, `WrongSetting`.
    """
    network = _network(settings)
    if cipher is None and not lacks_key(settings):
        cipher = cipher_for(settings)
    await (asyncio.to_thread(migrate, url) if ready is None else ready(url))
    listen_url = url
    if settings.listen_url is not None:
        listen_url = settings.listen_url.get_secret_value()
        await asyncio.to_thread(_check_listen_url, listen_url, url)
    async with AsyncExitStack() as exits:
        engine, queue = engine_for(url), queue_for(listen_url)
        exits.push_async_callback(engine.dispose)
        if cipher is None:
            async with sessions_for(engine)() as session:
                # In this order: another process makes the key before it stores what the key opens.
                if await holds_secrets(session) and lacks_key(settings):
                    raise missing_key(settings)
            cipher = cipher_for(settings)
        await exits.enter_async_context(queue.open_async())
        runtime = Runtime(settings, engine, sessions_for(engine), cipher, queue, network=network)
        exits.push_async_callback(_release_claims, runtime)
        yield runtime


def _network(settings: Settings) -> Network:
    """How this process calls trackers. Raises `WrongSetting` where a file of certificates cannot be used."""
    try:
        network = read_network(os.environ, settings.ca_bundle)
    except WrongCertificates as error:
        raise WrongSetting(str(error)) from None
    if network.wrong_proxy is not None:
        log.warning("no tracker beyond this machine can be called", reason=str(network.wrong_proxy))
    return network


def _check_listen_url(listen_url: str, url: str) -> None:
    """Both URLs must lead to the same database: the queue listens and fetches its jobs over `listen_url`."""
    try:
        direct = psycopg.connect(libpq_url(listen_url), connect_timeout=10)
    except psycopg.OperationalError as error:
        reason = " ".join(str(error).split())
        raise DatabaseNotReady(f"NORTHING_LISTEN_URL leads to no database we may use: {reason}") from None
    # An advisory lock belongs to one database, needs no privilege, and works through any pooler.
    lock, key = "SELECT pg_try_advisory_xact_lock(%s)", (secrets.randbits(62),)
    with closing(direct), psycopg.connect(libpq_url(url), connect_timeout=10) as ordinary:
        ordinary.execute(lock, key)
        if direct.execute(lock, key).fetchone() == (True,):
            raise DatabaseNotReady(
                "NORTHING_LISTEN_URL leads to another database than NORTHING_DATABASE_URL; "
                "set it to a direct connection to the same one"
            )


async def _release_claims(runtime: Runtime) -> None:
    """Release this process's claims, so that other workers need not wait until the leases end."""
    try:
        async with asyncio.timeout(RELEASE_SECONDS), runtime.sessions.begin() as session:
            await release_claims(runtime, session)
    except (SQLAlchemyError, TimeoutError) as error:
        log.warning("claims not released, they end with their leases", reason=type(error).__name__)


# --- everything together --------------------------------------------------------------------------


@dataclass(frozen=True)
class RunningServer:
    """A running server. `made_token` is the admin token if this start made it, to be shown once."""

    url: str
    made_token: str | None
    tasks: Collection[asyncio.Task[None]]


@asynccontextmanager
async def run_server(
    settings: Settings,
    url: str,
    listener: socket.socket,
    *,
    worker: bool = True,
    limits: ConnectionLimits = LIMITS,
) -> AsyncIterator[RunningServer]:
    """Serve the database at `url` on `listener` until the block ends.

    Without `worker` the server answers requests and keeps the timetable, and leaves every job to other
    processes. Raises what `open_runtime` raises.
    """
    from app.server.application import create_app

    host, port = listener.getsockname()[:2]
    settings = settings.model_copy(update={"port": port})
    async with open_runtime(settings, url) as runtime, Intake(url, runtime.queue, runtime.clock) as intake:
        token_hash, made = await prepare_installation(runtime)
        app = create_app(runtime, intake, token_hash)
        web = WebServer(app, limits)
        async with AsyncExitStack() as stopping:
            demo_company: DemoCompany = app.state.demo_company
            demo_company.address, demo_company.has_worker = _local_address(host, port), worker
            stopping.push_async_callback(demo_company.aclose)
            tasks = [await stopping.enter_async_context(web.serving(listener))]
            tasks.append(await stopping.enter_async_context(scheduler_running(runtime)))
            if worker:
                tasks.append(await stopping.enter_async_context(worker_running(runtime)))
            # This callback runs first, so that the last requests and the last jobs end at the same time.
            stopping.callback(web.stop)
            yield RunningServer(f"http://{f'[{host}]' if ':' in host else host}:{port}", made, tasks)


def _local_address(host: str, port: int) -> str | None:
    """Where this machine's own programs reach a server that listens there; None where they do not by
    loopback."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # compared, not listened on
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    return url if is_loopback(url) else None


class WebServer(uvicorn.Server):
    """uvicorn with bounded connections, without its signal handling, with an event for its being ready."""

    def __init__(self, app: FastAPI, limits: ConnectionLimits = LIMITS) -> None:
        self.connections = Connections(limits)
        super().__init__(
            uvicorn.Config(
                app,
                http=partial(BoundedProtocol, self.connections),  # type: ignore[arg-type]  # it is only called
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

    async def on_tick(self, counter: int) -> bool:
        self.connections.end_late()
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await super().shutdown(sockets)
        self.connections.abort_all()

    def stop(self) -> None:
        self.should_exit = True

    @asynccontextmanager
    async def serving(self, listener: socket.socket) -> AsyncIterator[asyncio.Task[None]]:
        task = asyncio.create_task(self.serve(sockets=[listener]), name="web server")
        try:
            await run_until_exit([task], self._ready.wait())
            yield task
        finally:
            self.stop()
            await asyncio.wait({task})


async def run_until_exit(tasks: Collection[asyncio.Task[None]], work: Coroutine[Any, Any, T]) -> T:
    """Await `work` while all `tasks` run. Raises `TaskEnded` as soon as one of them ends; none should."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        for ended in tasks:
            if ended.done():
                log.error("a task of the server ended", ended=ended.get_name(), exc_info=ended.exception())
                raise TaskEnded(f"The {ended.get_name()} ended unexpectedly; the log says why")
        return await task
    finally:
        task.cancel()
        await asyncio.wait({task})


async def serve(settings: Settings, print_line: Callable[[str], None], *, worker: bool = True) -> None:
    """`northing serve`, until cancelled. `print_line` prints for the person at the terminal."""
    limits = connection_limits()
    listener = open_listener(settings.host, settings.port)
    with closing(listener):
        async with (
            database_url(settings) as url,
            run_server(settings, url, listener, worker=worker, limits=limits) as northing,
        ):
            if northing.made_token is not None:
                print_line(f"Admin token, shown this once: {northing.made_token}")
            print_line(f"Northing serves {northing.url}, its API is described at {northing.url}/docs")
            with after_start():
                await run_until_exit(northing.tasks, asyncio.Event().wait())


async def upgrade(settings: Settings, print_line: Callable[[str], None]) -> int:
    """`northing db upgrade`."""
    async with database_url(settings) as url:
        await asyncio.to_thread(migrate, url)
    print_line(f"The database is at {newest_revision()}.")
    return 0
