"""A database that is full, gone or only reads: 503 with the reason, nothing half stored, and on it goes."""

from __future__ import annotations

import asyncio
import errno

import psycopg
import pytest
from psycopg_pool import PoolTimeout
from sqlalchemy.exc import OperationalError, TimeoutError as NoFreeConnection
from structlog.testing import capture_logs

from app.database import engine_for, libpq_url
from app.outages import LOG_SECONDS, REMEMBERED_SECONDS, Outages, reason_in_words
from app.runtime import Runtime
from app.server.server import open_listener, run_server
from app.settings import Settings
from mappings.tables import DeliveryRow, RunRow
from tests.support.clock import Clock, later
from tests.support.outages import only_reading, refusing
from tests.support.queries import number_of
from tests.support.webhook_posts import connect, delivery, post
from tests.support.world import World

pytestmark = pytest.mark.database

# --- its words ----------------------------------------------------------------------------------

FULL = psycopg.errors.DiskFull("could not extend file")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (FULL, "the database's disk is full"),
        (OperationalError("INSERT", {}, FULL), "the database's disk is full"),
        (ExceptionGroup("several", [FULL]), "the database's disk is full"),
        (psycopg.errors.OutOfMemory(), "the database has no memory left"),
        (psycopg.errors.TooManyConnections(), "the database takes no more connections"),
        (psycopg.errors.ConfigurationLimitExceeded(), "the database is short of resources"),
        (psycopg.errors.ReadOnlySqlTransaction(), "the database only reads"),
        (psycopg.errors.AdminShutdown(), "the database is stopping or starting"),
        (psycopg.errors.CannotConnectNow(), "the database is stopping or starting"),
        (psycopg.errors.QueryCanceled(), "the database took too long"),
        (psycopg.errors.DeadlockDetected(), "another change of the same rows was in the way"),
        (psycopg.errors.IoError(), "the database's disk fails"),
        (psycopg.OperationalError("connection refused"), "the database does not answer"),
        (PoolTimeout(), "no connection to the database is free or can be made"),
        (NoFreeConnection(), "no connection to the database is free or can be made"),
        (OSError(errno.ENOSPC, "No space left"), "the disk of Northing's own files is full"),
        (OSError(errno.EMFILE, "Too many open files"), "Northing has no file descriptor left"),
        (OSError(errno.ENOENT, "No such file"), None),
        (psycopg.errors.UniqueViolation(), None),
        (psycopg.errors.NumericValueOutOfRange(), None),
        (LookupError(), None),
        (None, None),
    ],
)
def test_the_trouble_is_told_in_words(error: BaseException | None, words: str | None) -> None:
    assert reason_in_words(error) == words


def test_it_is_logged_once_a_minute_and_not_for_each_request() -> None:
    seconds = 0.0
    outages = Outages(lambda: seconds)
    with capture_logs() as lines:
        for _ in range(3):
            outages.record(FULL)
            outages.record(psycopg.errors.ReadOnlySqlTransaction())
        seconds = LOG_SECONDS
        outages.record(FULL)
    assert [line["reason"] for line in lines] == [
        "the database's disk is full",
        "the database only reads",
        "the database's disk is full",
    ]


# --- a database that takes no writes --------------------------------------------------------------


CODES = {
    "53100": "the database's disk is full",
    "53200": "the database has no memory left",
    "25006": "the database only reads",
    "57P01": "the database is stopping or starting",
}


@pytest.mark.parametrize("code", CODES)
async def test_what_cannot_be_stored_is_503_with_the_reason_and_leaves_nothing(
    world: World, runtime: Runtime, database_url: str, code: str
) -> None:
    await connect(world)
    before = await number_of(runtime, RunRow)
    with capture_logs() as lines:
        for refused in ("deliveries", "audit_log"):
            with refusing(database_url, refused, code):
                if refused == "deliveries":
                    answers = [await post(world, x_github_delivery=str(number)) for number in range(3)]
                else:
                    objective = {"title": "More of it"}
                    answers = [await world.api.post("/api/v1/objectives", json=objective)]
                    answers += [await world.api.post("/api/v1/sources/github/sync")]
                    answers += [await world.api.patch("/api/v1/sources/github", json={"name": "other"})]
                for answer in answers:
                    assert (answer.status_code, answer.headers["retry-after"]) == (503, "30"), answer.text
                    assert answer.headers["content-type"] == "application/problem+json"
                    assert CODES[code] in answer.json()["detail"]
                ready = await world.api.get("/readyz")
                assert (ready.status_code, CODES[code] in ready.text) == (503, True), ready.text
                assert (await world.api.get("/healthz")).status_code == 200
    assert len([line for line in lines if line["event"] == "nothing can be stored"]) == 1
    assert not [line for line in lines if line["log_level"] == "error"]
    assert await number_of(runtime, DeliveryRow) == 0
    assert await number_of(runtime, RunRow) == before
    assert (await world.send("GET", "/objectives"))["items"] == []
    assert (await post(world)).status_code == 202
    await world.send("POST", "/sources/github/sync")


async def test_a_server_that_only_reads_is_found_before_anybody_writes(
    world: World, runtime: Runtime, clock: Clock, database_url: str
) -> None:
    await connect(world)
    first = await post(world)
    with only_reading(database_url):
        ready = await world.api.get("/readyz")
        assert (ready.status_code, "the database only reads" in ready.text) == (503, True), ready.text
        assert (await post(world, x_github_delivery="other")).status_code == 503
    while (await delivery(world, first))["state"] == "received":
        await later(world, runtime, clock, seconds=1)
    assert (await delivery(world, first))["state"] == "ignored"


async def test_a_full_disk_is_found_by_trying_to_write(world: World, database_url: str) -> None:
    """That no temporary file may be made stands for the disk, on which none can."""
    assert (await world.api.get("/readyz")).status_code == 200
    with psycopg.connect(libpq_url(database_url), autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(f'ALTER DATABASE "{name}" SET temp_file_limit = 0')
    engine = engine_for(database_url)
    try:
        outages = Outages()
        assert await outages.why_no_writes(engine) == "the database is short of resources"
    finally:
        await engine.dispose()
        with psycopg.connect(libpq_url(database_url), autocommit=True) as connection:
            connection.execute(f'ALTER DATABASE "{name}" RESET temp_file_limit')


async def test_what_was_met_is_remembered_for_half_a_minute() -> None:
    seconds = 0.0
    outages = Outages(lambda: seconds)
    away = engine_for("postgresql://nobody@127.0.0.1:1/nothing")
    outages.record(FULL)
    assert await outages.why_no_writes(away) == "the database's disk is full"
    seconds = REMEMBERED_SECONDS
    assert await outages.why_no_writes(away) == "the database does not answer"
    await away.dispose()


async def test_all_goes_on_once_the_database_takes_writes_again(
    world: World, settings: Settings, database_url: str
) -> None:
    """The worker and its queues, the sweep, the timetable, the intake, and what listens."""
    world.site.create("SHOP", "One-page checkout")
    await world.connect_jira()
    async with run_server(settings, database_url, open_listener("127.0.0.1", 0)) as server:
        with capture_logs() as logs:
            with only_reading(database_url):
                while not [line for line in logs if "starts again" in line["event"]]:
                    await asyncio.sleep(0.02)
                assert (await world.api.post("/api/v1/sources/jira/sync")).status_code == 503
            run = await world.send("POST", "/sources/jira/sync")
            while (await world.send("GET", f"/runs/{run['id']}"))["finished_at"] is None:
                await asyncio.sleep(0.05)
        assert not [task for task in server.tasks if task.done()]
    assert (await world.send("GET", f"/runs/{run['id']}"))["state"] == "succeeded"
