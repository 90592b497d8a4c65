"""`northing serve` as a process: it starts in order, says what is wrong in a line, and stops in time."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from app.database import DatabaseNotReady, applied_revision, libpq_url, migrate, newest_revision
from app.jobs.queue import QUEUES
from app.server.bootstrap import YOUNG_OBJECTS, after_start
from app.server.server import (
    CannotListen,
    TaskEnded,
    database_url,
    open_listener,
    open_runtime,
    run_server,
    run_until_exit,
)
from app.server.signals import CommandFailed
from app.settings import Settings, WrongSetting
from tests.support.processes import (
    data_folder,
    environment,
    environment_of,
    northing,
    started,
    wait_for_output,
)
from tests.support.world import ADMIN_TOKEN, World

STOP_SECONDS = 20  # ten are promised; a busy machine gets twice as many, and the silent tracker has more


def url_in(line: str) -> str:
    return line.split("serves ")[1].split(",")[0]


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def until(holds: Callable[[], Any], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not holds():
            await asyncio.sleep(0.02)


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        yield taken.getsockname()[1]


# --- the whole process --------------------------------------------------------------------------


def test_serves_on_its_own_database_and_leaves_nothing_running(tmp_path: Path) -> None:
    with data_folder() as folder:
        env = environment(data_dir=str(folder), port="0")
        with started("serve", env=env, cwd=tmp_path, fresh=True) as process:
            *before, line = wait_for_output(process, "serves http://")
            (token,) = [text.split(": ")[1] for text in before if text.startswith("Admin token")]
            assert httpx.get(f"{url_in(line)}/readyz").status_code == 200
            listed = httpx.get(f"{url_in(line)}/api/v1/sources", headers=bearer(token))
            assert listed.json() == {"items": [], "next": None}
            assert (folder / "postgresql/cluster/postmaster.pid").exists()
            process.send_signal(signal.SIGTERM)
            output, log = process.communicate(timeout=STOP_SECONDS)
            assert process.returncode == 0, log
        assert token not in output + log
        assert not (folder / "postgresql/cluster/postmaster.pid").exists()

        with started("serve", env=env, cwd=tmp_path) as again:
            lines = wait_for_output(again, "serves http://")
            assert not [text for text in lines if "token" in text]
            answer = httpx.get(f"{url_in(lines[-1])}/api/v1/sources", headers=bearer(token))
            assert answer.status_code == 200
            again.send_signal(signal.SIGINT)
            assert again.wait(STOP_SECONDS) == 0
        assert not (folder / "postgresql/cluster/postmaster.pid").exists()


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"port": "eighty"}, "NORTHING_PORT"),
        ({"admin_token": "short-secret"}, "NORTHING_ADMIN_TOKEN"),
        ({"database_url": "postgresql://me:short-secret@127.0.0.1/x"}, "NORTHING_SECRET_KEY"),
    ],
)
def test_a_wrong_setting_is_one_line(tmp_path: Path, wrong: dict[str, str], named: str) -> None:
    ended = northing("serve", env=environment(data_dir=str(tmp_path / "data"), **wrong), cwd=tmp_path)
    assert ended.returncode == 2
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    assert named in line
    assert "short-secret" not in line
    assert not (tmp_path / "data").exists()


def test_a_port_in_use_is_one_line_before_anything_is_started(tmp_path: Path, taken_port: int) -> None:
    env = environment(data_dir=str(tmp_path / "data"), port=str(taken_port))
    ended = northing("serve", env=env, cwd=tmp_path)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert str(taken_port) in line
    assert "NORTHING_PORT" in line
    assert not (tmp_path / "data").exists()


async def test_stops_in_time_while_a_tracker_is_silent_and_the_run_goes_on(
    tmp_path: Path, world: World, settings: Settings
) -> None:
    """What was begun is nobody's at once, so whoever comes next need not wait for a lease to end."""
    world.site.create("SHOP", "One-page checkout")
    await world.connect_jira()
    world.jira.latency = 29  # still within the connector's patience
    env = environment_of(settings, port="0")
    with started("serve", env=env, cwd=tmp_path) as process:
        line = (await asyncio.to_thread(wait_for_output, process, "serves http://"))[-1]
        async with httpx.AsyncClient(base_url=url_in(line), headers=bearer(ADMIN_TOKEN)) as client:
            run = (await client.post("/api/v1/sources/jira/sync")).json()
        await until(world.jira.log.count)
        process.send_signal(signal.SIGTERM)
        _, log = await asyncio.to_thread(process.communicate, timeout=STOP_SECONDS)
        assert process.returncode == 0, log
    left = await world.send("GET", f"/runs/{run['id']}")
    assert (left["state"], left["finished_at"]) == ("running", None)

    world.jira.latency = 0
    ended = await asyncio.to_thread(northing, "sync", "jira", env=env, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    done = await world.send("GET", f"/runs/{run['id']}")
    assert (done["state"], done["seen"]) == ("succeeded", 1)


# --- its parts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["database_url", "listen_url"])
async def test_a_database_that_is_not_there_is_named(settings: Settings, name: str) -> None:
    nowhere = SecretStr("postgresql://northing:short-secret@127.0.0.1:1/northing")
    changed = settings.model_copy(update={name: nowhere})
    with pytest.raises(DatabaseNotReady) as refused:
        async with database_url(changed) as url, open_runtime(changed, url):
            pass
    assert f"NORTHING_{name.upper()}" in str(refused.value)
    assert "short-secret" not in str(refused.value)
    assert "\n" not in str(refused.value)


async def test_without_a_worker_it_does_no_jobs(world: World, settings: Settings, database_url: str) -> None:
    world.site.create("SHOP", "One-page checkout")
    await world.connect_jira()
    async with (
        run_server(settings, database_url, open_listener("127.0.0.1", 0), worker=False) as only_api,
        httpx.AsyncClient(base_url=only_api.url, headers=bearer(ADMIN_TOKEN)) as client,
    ):
        run = (await client.post("/api/v1/sources/jira/sync")).json()
        assert [part.get_name() for part in only_api.tasks] == ["web server", "timetable"]
    assert (await world.send("GET", f"/runs/{run['id']}"))["state"] == "queued"

    async with run_server(settings, database_url, open_listener("127.0.0.1", 0)) as whole:

        async def ended() -> str:
            while (found := await world.send("GET", f"/runs/{run['id']}"))["finished_at"] is None:
                await asyncio.sleep(0.02)
            return str(found["state"])

        async with asyncio.timeout(30):
            assert await run_until_exit(whole.tasks, ended()) == "succeeded"


async def test_a_worker_that_breaks_down_takes_the_server_with_it(
    world: World, settings: Settings, database_url: str
) -> None:
    await world.connect_jira()
    async with run_server(settings, database_url, open_listener("127.0.0.1", 0)) as northing:
        with psycopg.connect(libpq_url(database_url), autocommit=True) as connection:
            connection.execute("ALTER TABLE procrastinate_workers RENAME TO somewhere_else")
            connection.execute("ALTER TABLE procrastinate_jobs RENAME COLUMN worker_id TO nobody")
        await world.send("POST", "/sources/jira/sync")
        with pytest.raises(TaskEnded, match="worker"):
            async with asyncio.timeout(30):
                await run_until_exit(northing.tasks, asyncio.Event().wait())


@pytest.mark.timeout(240)  # most of it is waiting for connection pools to give up
async def test_a_database_that_was_away_is_worked_on_again(
    world: World, settings: Settings, database_url: str, postgresql: Callable[[str], str]
) -> None:
    world.site.create("SHOP", "One-page checkout")
    await world.connect_jira()
    name = database_url.rsplit("/")[-1].split("?")[0]
    listeners = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND query LIKE 'LISTEN %%'"
    cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
    async with run_server(settings, database_url, open_listener("127.0.0.1", 0)) as northing:
        with psycopg.connect(postgresql("postgres"), autocommit=True) as server, capture_logs() as logs:
            # Each of the worker's queues listens, and the timetable.
            await until(lambda: server.execute(listeners, (name,)).fetchone() == (len(QUEUES) + 1,))
            server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
            server.execute(cut, (name,))
            await until(lambda: [entry for entry in logs if "starts again" in entry["event"]], 80)
            server.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')
        assert not [part for part in northing.tasks if part.done()]
        run = await world.send("POST", "/sources/jira/sync")

        async def ended() -> str:
            while (found := await world.send("GET", f"/runs/{run['id']}"))["finished_at"] is None:
                await asyncio.sleep(0.05)
            return str(found["state"])

        async with asyncio.timeout(60):
            assert await run_until_exit(northing.tasks, ended()) == "succeeded"


async def test_two_databases_are_migrated_at_once_in_one_process(postgresql: Callable[[str], str]) -> None:
    names = [f"empty_{uuid4().hex}" for _ in range(2)]
    with psycopg.connect(postgresql("postgres"), autocommit=True) as connection:
        for name in names:
            connection.execute(f'CREATE DATABASE "{name}"')
        urls = [postgresql(name) for name in names]
        await asyncio.gather(*(asyncio.to_thread(migrate, url) for url in urls))
        assert {applied_revision(url) for url in urls} == {newest_revision()}
        for name in names:
            connection.execute(f'DROP DATABASE "{name}"')


def test_what_a_process_made_to_start_is_left_out_of_collections() -> None:
    before = gc.get_threshold()
    gc.unfreeze()  # what the tests themselves leave out
    try:
        with after_start():
            assert gc.get_freeze_count() > 1000
            assert gc.get_threshold() == (YOUNG_OBJECTS, *before[1:])
        assert gc.get_freeze_count() == 0
        assert gc.get_threshold() == before
    finally:
        gc.freeze()


async def test_attend_gives_what_the_work_gives() -> None:
    part = asyncio.create_task(_forever(), name="part")
    assert await run_until_exit([part], asyncio.sleep(0, "done")) == "done"
    with pytest.raises(LookupError):
        await run_until_exit([part], _fails())
    part.cancel()


async def _forever() -> None:
    await asyncio.Event().wait()


async def _fails() -> None:
    raise LookupError


@pytest.mark.parametrize(("host", "family"), [("127.0.0.1", socket.AF_INET), ("localhost", socket.AF_INET)])
def test_listens_where_it_is_told(host: str, family: int) -> None:
    with open_listener(host, 0) as listener:
        assert listener.family == family
        address = listener.getsockname()
        with socket.create_connection(address[:2]), pytest.raises(CannotListen, match=str(address[1])):
            open_listener(host, address[1])


@pytest.mark.parametrize("host", ["192.0.2.1", "no such host", "x" * 300])
def test_a_host_that_is_not_this_machine(host: str) -> None:
    with pytest.raises(WrongSetting, match="NORTHING_HOST"):
        open_listener(host, 0)


def test_failures_are_what_the_command_line_shows() -> None:
    assert issubclass(CannotListen, CommandFailed)
    assert issubclass(TaskEnded, CommandFailed)
