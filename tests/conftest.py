"""What the tests share: one real PostgreSQL, an empty database for each test, a clock they set."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
import uvloop
from cryptography.fernet import Fernet
from fastapi import FastAPI
from hypothesis import settings as hypothesis_settings
from psycopg import sql
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine
from sqlalchemy.pool import QueuePool

from app import logs
from app.api.files import FileUploads
from app.auth.authenticator import Authenticator
from app.auth.rate_limit import Visits
from app.database import engine_for, libpq_url, migrate, sessions_for, sqlalchemy_url
from app.demo_company.loader import DemoCompany
from app.embedded import acquire, handles
from app.jobs.queue import queue_for, run_worker_until_idle
from app.runtime import Runtime
from app.secrets import cipher_for
from app.server.application import create_app, provider_sessions
from app.server.bootstrap import prepare_installation
from app.settings import Settings
from app.webhooks.door import Intake
from connectors.sandbox.github.host import GitHubHost
from connectors.sandbox.github.tracker import GitHubTracker
from connectors.sandbox.jira.site import JiraSite
from connectors.sandbox.jira.tracker import JiraTracker
from connectors.sandbox.server import serve
from mappings.access.operations import token_hash
from mappings.leases import ALWAYS_DUE
from tests.support.clock import Clock
from tests.support.databases import Databases
from tests.support.lasting_connections import LastingPool, count_idle, end_idle
from tests.support.tracker_drivers import ALL, TrackerDriver, driver_of
from tests.support.world import ADMIN_TOKEN, World

pytest_plugins = ["tests.support.browser", "tests.support.jira_answers"]

PREFIX = "northing-suite-"
ROOMY = 2 * 1024**3
KEPT_CONNECTIONS = 5  # of the ten that the pool keeps itself

# Timings are the bench's business, and a busy machine must not fail a property.
hypothesis_settings.register_profile("northing", deadline=None, max_examples=100 if ALL else 50)
hypothesis_settings.load_profile("northing")
logs.configure("json")
if importlib.util.find_spec("sniffio") is None:
    # httpcore asks for it at each request, and what is not there is looked for in every folder each time.
    sys.modules["sniffio"] = None  # type: ignore[assignment]  # as the import system lets one say so


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """The loop that costs least, and that uvicorn takes in production."""
    return {"uvloop": uvloop.new_event_loop}


def pytest_collection_finish() -> None:
    """What is there by now stays to the end, and need not be looked through again and again. SQLAlchemy makes
    and drops so many objects for a statement that the usual 700 would be reached with nearly each."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000)


REAL_PROCESSES = {
    "test_workers",
    "test_listening",
    "test_server",
    "test_demo",
    "test_stopping",
    "test_log_following",
    "test_nothing_left",
    "test_key_rotation",
    "test_embedded",
    "test_crashes",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, which have time limits of their own, then those that wait for real processes: one of
    them last would keep all waiting.

    xdist gives each worker a stretch of the same length. Two of the workers begin with such tests: one alone
    would be longer at them than the others at all the rest, and with all four the cores would stand idle.
    """
    slow: list[pytest.Item] = []
    quick: list[pytest.Item] = []
    for item in items:
        waits = item.get_closest_marker("timeout") is not None or item.path.stem in REAL_PROCESSES
        (slow if waits else quick).append(item)
    slow.sort(key=lambda item: item.get_closest_marker("timeout") is None)
    workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    first, second = (slow[::2], slow[1::2]) if workers > 2 else (slow, [])
    rest = max(0, len(items) // workers - len(first))  # of the first worker's stretch
    items[:] = [*first, *quick[:rest], *second, *quick[rest:]]


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Callable[[str], str]]:
    """From a database's name to its URL, on the embedded server or the one in NORTHING_TEST_DATABASE_URL."""
    given = os.environ.get("NORTHING_TEST_DATABASE_URL")
    if given:
        yield lambda name: libpq_url(given).rsplit("/", 1)[0] + f"/{name}"
        return
    # Not pytest's folder: as root the server runs as another user, who has to get there.
    place = _quick_place()
    _remove_abandoned(place)
    folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
    folder.chmod(0o755)
    with acquire(folder, durable=False) as server:
        yield server.url
    shutil.rmtree(folder, ignore_errors=True)  # the next session may remove it at the same time


def _quick_place() -> Path:
    """Memory, where there is plenty: each test has a database of its own, a thousand files to be made."""
    memory = Path("/dev/shm")
    there = memory.is_dir() and os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > ROOMY
    return memory if there else Path(tempfile.gettempdir())


def _remove_abandoned(place: Path) -> None:
    """Remove the databases of killed sessions. Their servers have stopped by themselves."""
    for folder in place.glob(f"{PREFIX}*/postgresql"):
        with suppress(FileNotFoundError):  # another session does the same
            mine = folder.stat().st_uid == os.geteuid()
            if mine and (folder / "lock").exists():  # it was joined already
                with handles.locked_if_free(folder / "lock") as held:
                    if held and not handles.any_live_on(folder / "users"):
                        shutil.rmtree(folder.parent, ignore_errors=True)


@pytest.fixture(scope="session")
def server(postgresql: Callable[[str], str]) -> Iterator[psycopg.Connection]:
    """The one connection that makes and drops databases."""
    with psycopg.connect(postgresql("postgres"), autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def template(postgresql: Callable[[str], str], server: psycopg.Connection) -> Iterator[str]:
    """The name of a migrated, empty database to copy from."""
    name = f"template_{uuid4().hex}"
    server.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    migrate(postgresql(name))
    yield name
    server.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="session")
def databases(
    postgresql: Callable[[str], str], server: psycopg.Connection, template: str
) -> Iterator[Databases]:
    made = Databases(server, postgresql, template)
    yield made
    end_idle()
    made.close()


@pytest.fixture
def database_url(
    postgresql: Callable[[str], str], databases: Databases, lasting_engine: AsyncEngine
) -> Iterator[str]:
    """A migrated database of this test's own."""
    name = databases.lend()
    yield postgresql(name)
    if not databases.take_back(name, idle=_pool(lasting_engine).checkedin() + count_idle()):
        end_idle()


@pytest.fixture
def clock() -> Clock:
    return Clock(datetime.now(UTC))


@pytest.fixture
def settings(database_url: str, tmp_path: Path) -> Settings:
    return Settings(
        _env_file=None,
        database_url=database_url,
        secret_key=Fernet.generate_key().decode(),
        admin_token=ADMIN_TOKEN,
        data_dir=tmp_path,
        public_url="http://127.0.0.1:8000",
        log_format="json",
    )


@pytest.fixture(scope="session")
def lasting_engine(postgresql: Callable[[str], str]) -> AsyncEngine:
    """One engine for the databases of all tests, one after the other: what SQLAlchemy makes of a statement
    it keeps by engine, and to make it anew in each test takes a fifth of the suite's time."""
    engine = engine_for(postgresql("postgres"))

    def go_to_its_url(_dialect: object, _record: object, _args: object, parameters: dict[str, Any]) -> None:
        parameters["dbname"] = engine.url.database

    event.listen(engine.sync_engine, "do_connect", go_to_its_url)
    return engine


@pytest.fixture
async def engine(lasting_engine: AsyncEngine, database_url: str) -> AsyncIterator[AsyncEngine]:
    """An engine on this test's database. Connections to it are kept for the next test, if that gets the same
    one: what a connection knows of the tables, PostgreSQL finds out anew for each."""
    url = sqlalchemy_url(database_url)
    if lasting_engine.sync_engine.url != url:
        await lasting_engine.dispose()
        lasting_engine.sync_engine.url = url
    yield lasting_engine
    pool = _pool(lasting_engine)
    # One that is still out is of a task that goes on. And a test may have waited for one where all were out,
    # which binds the pool to that test's event loop.
    if pool.checkedout() or pool.checkedin() > KEPT_CONNECTIONS:
        await lasting_engine.dispose()


def _pool(engine: AsyncEngine) -> QueuePool:
    assert isinstance(engine.pool, QueuePool)
    return engine.pool


@pytest.fixture
async def runtime(
    settings: Settings, database_url: str, engine: AsyncEngine, clock: Clock
) -> AsyncIterator[Runtime]:
    """A runtime whose worker runs only when the test says so, with `drain`."""
    queue = queue_for(database_url, LastingPool)
    made = Runtime(settings, engine, sessions_for(engine), cipher_for(settings), queue, clock)
    # The clock stands still, so a claim ends only where the test moves it; a heartbeat goes by the wall's.
    made = replace(made, renew_every=timedelta(hours=1), hiccup_pauses=(0, 0, 0))
    async with queue.open_async():
        await prepare_installation(made)
        yield made


@pytest.fixture
async def intake(runtime: Runtime, database_url: str) -> AsyncIterator[Intake]:
    async with Intake(database_url, runtime.queue, runtime.clock) as opened:
        yield opened


@pytest.fixture
def drain(runtime: Runtime, intake: Intake) -> Callable[[], Awaitable[None]]:
    """Do every job that is queued, and those that they queue, on the real queue."""

    async def until_idle() -> None:
        await intake.wait_for_wake_ups()
        await run_worker_until_idle(runtime)

    return until_idle


@pytest.fixture(scope="session")
def _applications() -> list[FastAPI]:
    """The one application of the session, once it is made: making it costs more than most tests."""
    return []


@pytest.fixture
async def application(
    runtime: Runtime, intake: Intake, _applications: list[FastAPI]
) -> AsyncIterator[FastAPI]:
    """The application on this test's runtime."""
    if not _applications:
        _applications.append(create_app(runtime, intake, token_hash(ADMIN_TOKEN)))
    (made,) = _applications
    made.state.runtime = runtime
    made.state.intake = intake
    made.state.authenticator = Authenticator(token_hash(ADMIN_TOKEN))  # which knows nobody yet
    made.state.visits = Visits(runtime.clock.running_from(ALWAYS_DUE))
    made.state.provider_sessions = provider_sessions(runtime)
    made.state.uploads = FileUploads()  # its turns are of one event loop
    made.state.demo_company = DemoCompany(made, lambda: runtime)
    yield made
    await made.state.demo_company.aclose()


@pytest.fixture
async def api(application: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    """The API with the admin token, called in process."""
    transport = httpx.ASGITransport(application, raise_app_exceptions=False)
    headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://northing", headers=headers) as client:
        yield client


@pytest.fixture
async def world(
    api: httpx.AsyncClient, drain: Callable[[], Awaitable[None]], clock: Clock
) -> AsyncIterator[World]:
    """Northing on two simulated trackers. Jira has a project SHOP, GitHub acme/shop, both empty."""
    jira, github = JiraTracker(JiraSite(clock)), GitHubTracker(GitHubHost(clock))
    jira.site.add_project("SHOP", "Shop")
    github.host.add_repository("acme/shop")
    async with serve(jira) as jira_url, serve(github) as github_url:
        yield World(api, drain, jira, github, jira_url, github_url)


@pytest.fixture
async def driver(request: pytest.FixtureRequest, world: World) -> TrackerDriver:
    """A live source of either kind, and one live key result, KR-1."""
    made = driver_of(world, request.param)
    await world.goal("KR-1", "Checkout conversion")
    await made.connect()
    return made
