"""Several processes on one database: replicas that keep one timetable, workers that share the jobs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from cryptography.fernet import Fernet
from pydantic import SecretStr
from sqlalchemy import select, text

from app.database import DatabaseNotReady, migrate
from app.runtime import Runtime
from app.server.worker_process import wait_until_ready
from app.settings import Settings
from connectors.sandbox.company.bulk import add_epics
from mappings.tables import READING_MODES, RunRow
from tests.support.clock import Clock
from tests.support.processes import (
    data_folder,
    environment,
    environment_of,
    northing,
    started,
    wait_for_output,
)
from tests.support.queries import all_of
from tests.support.servers import Process, api_of, running, stopped, until
from tests.support.world import OFF, World

EPICS, PROMISED_SECONDS = 1500, 60


async def moments(runtime: Runtime, *, after: datetime | None = None) -> list[datetime]:
    """When the ticks were that made the incremental runs which have ended; oldest first."""
    ended = select(RunRow.due_at).where(RunRow.mode == "incremental", RunRow.finished_at.is_not(None))
    async with runtime.sessions() as session:
        found = list(await session.scalars(ended.order_by(RunRow.due_at, RunRow.id)))
    return [moment for moment in found if after is None or moment > after]


async def kill(process: Process) -> None:
    process.kill()
    await asyncio.to_thread(process.wait)


# --- the timetable ------------------------------------------------------------------------------


async def test_three_replicas_over_ten_ticks_make_ten_runs(
    world: World, runtime: Runtime, settings: Settings, tmp_path: Path
) -> None:
    """The source is added on one of them, and every one of them ticks it, whoever else is there."""
    world.site.create("SHOP", "One-page checkout")
    env = environment_of(settings, port="0")
    async with running(3, "serves http://", "serve", env=env, cwd=tmp_path) as replicas:
        async with api_of(replicas[0][1]) as world.api:
            await world.connect_jira(schedule={"every": "PT2S"}, notices=OFF)
            first = (await until(lambda: moments(runtime)))[0]
            expected = [first + timedelta(seconds=2 * number) for number in range(10)]

            async def over() -> bool:
                found = await moments(runtime)
                return bool(found) and found[-1] >= expected[-1]

            await until(over)
        found = await moments(runtime)
        own = [moment for moment in found if moment <= expected[-1]]
        assert sorted({*own, *expected}) == expected, "no tick makes two runs, and none another moment's"
        for moment in set(expected) - set(own):
            # On a busy machine the run of an earlier tick may not have ended, and is this tick's too.
            reading = RunRow.mode.in_(READING_MODES), RunRow.due_at < moment, RunRow.finished_at > moment
            async with runtime.sessions() as session:
                assert await session.scalar(select(RunRow.id).where(*reading)), (moment, found)
        assert len(own) == len(set(own)) > 1
        assert {moment.microsecond + moment.second % 2 for moment in found} == {0}

        for process, _ in replicas[:2]:
            await kill(process)
            killed_at = datetime.now(UTC)
            await until(lambda killed_at=killed_at: moments(runtime, after=killed_at))  # type: ignore[misc]
        await stopped(replicas[2][0])
    found = await moments(runtime)
    assert len(found) == len(set(found))


async def test_a_schedule_changed_on_one_replica_counts_on_another(
    world: World, runtime: Runtime, settings: Settings, tmp_path: Path
) -> None:
    world.site.create("SHOP", "One-page checkout")
    await world.connect_jira(schedule={"every": "PT24H"}, notices=OFF)
    env = environment_of(settings, port="0")
    async with (
        running(1, "serves http://", "serve", "--no-worker", env=env, cwd=tmp_path) as [(changed, line)],
        running(1, "serves http://", "serve", env=env, cwd=tmp_path) as [(other, _)],
    ):
        async with api_of(line) as world.api:
            await world.send("PATCH", "/sources/jira", {"schedule": {"every": "PT1S"}})
            await kill(changed)  # so that all that follows is the other's doing
        killed_at = datetime.now(UTC)
        assert len(await until(lambda: moments(runtime, after=killed_at))) >= 1
        ticks = [entry for entry in await stopped(other) if entry["event"] == "tick"]
        assert {(entry["source"], entry["mode"]) for entry in ticks} == {("jira", "incremental")}


async def test_without_a_worker_the_timetable_is_kept_all_the_same(
    world: World, settings: Settings, clock: Clock, tmp_path: Path
) -> None:
    world.site.create("SHOP", "One-page checkout")
    await world.connect_jira(schedule={"every": "PT1S"}, notices=OFF)
    await world.drain()
    env = environment_of(settings, port="0")
    async with running(1, "serves http://", "serve", "--no-worker", env=env, cwd=tmp_path):

        async def queued() -> Any:
            return (await world.send("GET", "/runs?state=queued"))["items"]

        (run,) = await until(queued)
    assert run["mode"] == "incremental"
    clock.now = datetime.now(UTC)
    await world.drain()
    assert (await world.send("GET", f"/runs/{run['id']}"))["state"] == "succeeded"


# --- workers ------------------------------------------------------------------------------------


async def test_two_workers_share_the_runs_and_do_each_once(
    world: World, settings: Settings, tmp_path: Path
) -> None:
    env = environment_of(settings)
    async with running(2, "does jobs on", "worker", env=env, cwd=tmp_path) as workers:
        assert len({line.split(" as ")[1] for _, line in workers}) == 2
        world.jira.latency = 0.5  # so that neither of them is done before the other has heard
        for number in range(8):
            project = f"TEAM{number}"
            world.site.add_project(project, project)
            world.site.create(project, "One-page checkout")
            await world.connect_jira(f"source-{number}", scope={"projects": [project]}, notices=OFF)
        runs = [await world.send("POST", f"/sources/source-{number}/sync") for number in range(8)]

        async def done() -> bool:
            listed = (await world.send("GET", "/runs?state=succeeded"))["items"]
            return len(listed) == len(runs)

        await until(done)
        ended = [
            [entry["run"] for entry in await stopped(process) if entry["event"] == "run ended"]
            for process, _ in workers
        ]
    assert sorted(ended[0] + ended[1]) == sorted(run["id"] for run in runs)
    assert all(ended), ended


async def test_what_a_killed_worker_had_begun_is_taken_up_by_another(
    world: World, runtime: Runtime, settings: Settings, tmp_path: Path
) -> None:
    world.site.create("SHOP", "One-page checkout")
    await world.connect_jira(notices=OFF)
    world.jira.latency = 25  # still within the connector's patience
    env = environment_of(settings)
    async with running(1, "does jobs on", "worker", env=env, cwd=tmp_path) as [(killed, _)]:
        run = await world.send("POST", "/sources/jira/sync")

        async def asked() -> int:
            return world.jira.log.count()

        await until(asked)
        await kill(killed)
    world.jira.latency = 0
    left = await world.send("GET", f"/runs/{run['id']}")
    assert (left["state"], left["finished_at"]) == ("running", None)

    async with running(1, "does jobs on", "worker", env=env, cwd=tmp_path) as [(other, _)]:
        # Its sweep finds the run only when the lease of the dead is over: here, now.
        async with runtime.sessions.begin() as session:
            await session.execute(text("UPDATE runs SET claimed_until = now()"))

        async def ended() -> Any:
            found = await world.send("GET", f"/runs/{run['id']}")
            return found if found["finished_at"] else None

        assert (await until(ended))["state"] == "succeeded"
        await stopped(other)


@pytest.mark.timeout(300)  # it takes 60 s, and a busy machine more
async def test_a_server_killed_three_times_while_it_reads_has_read_all_within_a_minute(
    world: World, runtime: Runtime, settings: Settings, tmp_path: Path
) -> None:
    """No person and no other process helps. Only the last claim of a dead server ends by itself: the two
    before are ended here, for the test would wait three times."""
    add_epics(world.site, "CROWD", EPICS)
    await world.connect_jira(notices=OFF, scope={"projects": ["CROWD"]})
    run = await world.send("POST", "/sources/jira/sync", {"mode": "full"})
    world.jira.latency = 0.3  # for each page of a hundred
    env = environment_of(settings, port="0")

    async def stored(count: int) -> bool:
        return await all_of(runtime, f"SELECT count(*) >= {count} FROM epics") == [(True,)]

    for count in (200, 500, 800):
        async with runtime.sessions.begin() as session:
            await session.execute(text("UPDATE runs SET claimed_until = now() WHERE claimed_by IS NOT NULL"))
        async with running(1, "serves http://", "serve", env=env, cwd=tmp_path) as [(server, _)]:
            await until(partial(stored, count))
            await kill(server)
        assert not await stored(EPICS)
    begun = time.monotonic()
    async with running(1, "serves http://", "serve", env=env, cwd=tmp_path) as [(server, _)]:
        await until(partial(stored, EPICS))
        assert time.monotonic() - begun < PROMISED_SECONDS
        await until(lambda: all_of(runtime, "SELECT 1 FROM runs WHERE state = 'succeeded'"))
        await stopped(server)
    shown = await world.send("GET", f"/runs/{run['id']}")
    assert (shown["created"], shown["updated"], shown["deleted"]) == (EPICS, 0, 0)


async def test_a_worker_stops_in_time_and_gives_back_what_it_has_begun(
    world: World, runtime: Runtime, settings: Settings, tmp_path: Path
) -> None:
    world.site.create("SHOP", "One-page checkout")
    await world.connect_jira(notices=OFF)
    world.jira.latency = 25
    async with running(1, "does jobs on", "worker", env=environment_of(settings), cwd=tmp_path) as [(one, _)]:
        run = await world.send("POST", "/sources/jira/sync")

        async def asked() -> int:
            return world.jira.log.count()

        await until(asked)
        await stopped(one)
    async with runtime.sessions() as session:
        row = await session.get_one(RunRow, run["id"])
    assert (row.state, row.claimed_by, row.claimed_until) == ("running", None, None)


# --- the start of a worker ----------------------------------------------------------------------


@pytest.fixture
def empty_database(postgresql: Callable[[str], str]) -> str:
    """Nobody has migrated it. Left to the server's end, for the process may still be on it."""
    name = f"empty_{uuid4().hex}"
    with psycopg.connect(postgresql("postgres"), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return postgresql(name)


async def test_a_worker_waits_for_the_server_that_migrates(
    empty_database: str, settings: Settings, tmp_path: Path
) -> None:
    fresh = settings.model_copy(update={"database_url": SecretStr(empty_database)})
    with started("worker", env=environment_of(fresh), cwd=tmp_path) as process:
        await asyncio.to_thread(wait_for_output, process, "Waiting for the database: ")
        await asyncio.to_thread(migrate, empty_database)
        await asyncio.to_thread(wait_for_output, process, "does jobs on")
        await stopped(process)


async def test_a_worker_gives_up_in_words(empty_database: str) -> None:
    lines: list[str] = []
    with pytest.raises(DatabaseNotReady, match=r"After 1 s still .* start `northing serve`"):
        await wait_until_ready(empty_database, lines.append, seconds=1)
    assert len(lines) == 1
    with pytest.raises(DatabaseNotReady, match="does not answer"):
        await wait_until_ready("postgresql://northing@127.0.0.1:1/northing", lines.append, seconds=0)


async def test_a_worker_with_the_wrong_key_does_not_start(
    world: World, settings: Settings, tmp_path: Path
) -> None:
    await world.connect_jira()
    env = environment_of(settings) | {"NORTHING_SECRET_KEY": Fernet.generate_key().decode()}
    ended = await asyncio.to_thread(northing, "worker", env=env, cwd=tmp_path)
    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert "NORTHING_SECRET_KEY" in line


async def test_workers_share_the_embedded_database(tmp_path: Path) -> None:
    with data_folder() as folder:
        env = environment(data_dir=str(folder), port="0", log_format="json")
        with started("worker", env=env, cwd=tmp_path) as worker:
            await asyncio.to_thread(wait_for_output, worker, "Waiting for the database: ")
            with started("serve", "--no-worker", env=env, cwd=tmp_path) as server:
                await asyncio.to_thread(wait_for_output, server, "serves http://")
                await asyncio.to_thread(wait_for_output, worker, "does jobs on")
                await stopped(server)
            assert (folder / "postgresql/cluster/postmaster.pid").exists()
            await stopped(worker)
        assert not (folder / "postgresql/cluster/postmaster.pid").exists()
