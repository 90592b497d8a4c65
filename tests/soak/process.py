"""What runs in the processes that are killed: `northing serve --no-worker` and `northing worker`.

They are put together of the same parts as the commands, and go by a faster clock, which the pipeline takes as
a value. What waits by the wall's clock, the sweep, the timetable and the heartbeat, is done here so much more
often.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import psycopg
import structlog
from procrastinate.exceptions import ConnectorException
from sqlalchemy.exc import SQLAlchemyError

from app import logs
from app.database import DatabaseNotReady
from app.jobs.listen import notifications_checked
from app.jobs.schedule import due_moment
from app.jobs.scheduler import open_scheduled_run, read_entries, scheduler_running
from app.jobs.sweep import SWEEP_SECONDS, sweep
from app.jobs.worker import worker_running
from app.runtime import Runtime
from app.server.application import create_app
from app.server.bootstrap import open_secrets, prepare_installation
from app.server.server import WebServer, open_listener, open_runtime, run_until_exit
from app.server.signals import run_command
from app.server.worker_process import wait_until_ready
from app.settings import Settings
from app.webhooks.door import Intake
from mappings.leases import RENEW_EVERY
from tests.soak.clock import Clock

log = structlog.get_logger()

TICK_SECONDS = 15


@dataclass(frozen=True)
class Given:
    """What a process is started with; `name` is also that of its log in `folder`."""

    name: str
    settings: Settings
    folder: Path
    clock: Path
    speed: float

    @property
    def url(self) -> str:
        assert self.settings.database_url is not None
        return self.settings.database_url.get_secret_value()


def serve(given: Given, ready: Connection) -> None:
    _live(given, _serve(given, ready))


def work(given: Given, ready: Connection) -> None:
    _live(given, _work(given, ready))


def _live(given: Given, main: Awaitable[int]) -> None:
    log_file = os.open(given.folder / f"{given.name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for stream in (1, 2):
        os.dup2(log_file, stream)
    os.chdir(given.folder)  # where no .env is
    sys.stdout, sys.stderr = os.fdopen(1, "w", 1), os.fdopen(2, "w", 1)
    logs.configure("json")

    async def until_told() -> int:
        # Whoever started us may be killed too, and nobody else would ever stop us.
        parent = multiprocessing.parent_process()
        assert parent is not None
        asyncio.get_running_loop().add_reader(parent.sentinel, os._exit, 1)
        try:
            return await main
        except DatabaseNotReady as error:
            log.warning("not started", reason=str(error))
            return 1

    run_command(until_told())


async def _serve(given: Given, ready: Connection) -> int:
    with closing(open_listener(given.settings.host, given.settings.port)) as listener:
        async with (
            open_runtime(given.settings, given.url) as opened_runtime,
            Intake(given.url, opened_runtime.queue, opened_runtime.clock) as intake,
            AsyncExitStack() as parts,
        ):
            runtime = _hurried(opened_runtime, given)
            token_hash, _ = await prepare_installation(runtime)
            web = WebServer(create_app(runtime, intake, token_hash))
            tasks = [
                await parts.enter_async_context(web.serving(listener)),
                await parts.enter_async_context(scheduler_running(runtime)),
                await parts.enter_async_context(_again(TICK_SECONDS / given.speed, partial(_tick, runtime))),
            ]
            parts.callback(web.stop)
            ready.send(True)
            await run_until_exit(tasks, asyncio.Event().wait())
    return 0


async def _work(given: Given, ready: Connection) -> int:
    print_line = partial(log.info, "said")
    waits = partial(wait_until_ready, print_line=lambda words: print_line(words=words))
    async with open_runtime(given.settings, given.url, ready=waits) as opened_runtime:
        runtime = _hurried(opened_runtime, given)
        await open_secrets(runtime)
        sweeping = _again(SWEEP_SECONDS / given.speed, partial(sweep, runtime))
        async with notifications_checked(runtime), worker_running(runtime) as worker, sweeping as sweeper:
            ready.send(True)
            await run_until_exit([worker, sweeper], asyncio.Event().wait())
    return 0


def _hurried(runtime: Runtime, given: Given) -> Runtime:
    return replace(runtime, clock=Clock(given.clock), renew_every=RENEW_EVERY / given.speed)


async def _tick(runtime: Runtime) -> None:
    """What the timetable does at its moments."""
    async with runtime.sessions() as session:
        entries = await read_entries(session)
        now = await runtime.now(session)
    for entry, done in entries.items():
        moment = due_moment(entry.line, done, now)
        if moment is not None and moment <= now:
            await open_scheduled_run(runtime, entry, moment)


@asynccontextmanager
async def _again(every: float, work: Callable[[], Awaitable[None]]) -> AsyncIterator[asyncio.Task[None]]:
    """Do it again and again while the block lasts, whatever becomes of the database."""

    async def go_on() -> None:
        while True:
            await asyncio.sleep(every)
            try:
                await work()
            except (SQLAlchemyError, ConnectorException, psycopg.Error, OSError) as error:
                log.warning("left to the next time", reason=f"{error} {error.__cause__}"[:300])

    task = asyncio.create_task(go_on(), name="hurry")
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.wait({task})
