"""Notifications arrive, are waited for again after a loss, and where they do not arrive that is said."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import psycopg
import pytest
from pydantic import SecretStr
from sqlalchemy import make_url
from structlog.testing import capture_logs

from app.database import DatabaseNotReady, engine_for, libpq_url, sessions_for
from app.jobs.listen import listen, notifications_checked
from app.runtime import Runtime
from app.server.server import open_runtime
from app.settings import Settings
from app.webhooks.connections import intake_pool
from tests.support.processes import data_folder, environment_of, started, wait_for_output
from tests.support.world import ADMIN_TOKEN, OFF, World

CHANNEL = "northing_test"
PGBOUNCER = shutil.which("pgbouncer", path=os.environ.get("PATH", "") + ":/usr/sbin")


class Heard:
    """A callback that counts."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self) -> None:
        self.times += 1

    async def until(self, times: int) -> None:
        async with asyncio.timeout(30):
            while self.times < times:
                await asyncio.sleep(0.01)


@asynccontextmanager
async def listening(runtime: Runtime) -> AsyncIterator[Heard]:
    heard = Heard()
    task = asyncio.create_task(listen(runtime, {CHANNEL: heard}))
    try:
        yield heard
        assert not task.done()
    finally:
        task.cancel()
        await asyncio.wait({task})


async def execute(url: str, statement: str) -> None:
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute(statement)


async def warned(logs: list[Any], words: str) -> None:
    async with asyncio.timeout(30):
        while not [entry for entry in logs if words in entry["event"]]:
            await asyncio.sleep(0.01)


@asynccontextmanager
async def on(runtime: Runtime, url: str, listen_url: str | None) -> AsyncIterator[Runtime]:
    """The same runtime with another way to the database."""
    engine = engine_for(url)
    given = None if listen_url is None else SecretStr(listen_url)
    settings = runtime.settings.model_copy(update={"listen_url": given})
    yield replace(runtime, settings=settings, engine=engine, sessions=sessions_for(engine))
    await engine.dispose()


# --- with the database itself -------------------------------------------------------------------


async def test_each_notification_calls_back(runtime: Runtime, database_url: str) -> None:
    with capture_logs() as logs:
        async with listening(runtime) as heard:
            await heard.until(1)  # for what came before
            for times in (2, 3):
                await execute(database_url, f"NOTIFY {CHANNEL}")
                await heard.until(times)
            await execute(database_url, "NOTIFY northing_elsewhere")
            await execute(database_url, f"NOTIFY {CHANNEL}")
            await heard.until(4)
            assert heard.times == 4
    assert logs == []


async def test_a_lost_connection_is_made_again(runtime: Runtime, database_url: str) -> None:
    end = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE application_name = 'northing listens' AND datname = current_database()"
    )
    with capture_logs() as logs:
        async with listening(runtime) as heard:
            for round_ in range(2):
                await heard.until(1 + 2 * round_)
                await execute(database_url, f"NOTIFY {CHANNEL}")
                await heard.until(2 + 2 * round_)
                await execute(database_url, end)
            await heard.until(5)
    # It grows only while tries fail one after the other.
    assert [entry["next_try_in"] for entry in logs] == [1, 1]


async def test_pauses_grow_while_there_is_no_database(runtime: Runtime, database_url: str) -> None:
    nowhere = "postgresql://northing@127.0.0.1:1/northing"
    with capture_logs() as logs:
        async with on(runtime, database_url, nowhere) as deaf, listening(deaf):
            async with asyncio.timeout(30):
                while len(logs) < 3:
                    await asyncio.sleep(0.01)
    assert [entry["next_try_in"] for entry in logs] == [1, 2, 5]


async def test_where_notifications_never_arrive_one_line_says_what_to_do(
    runtime: Runtime, database_url: str, postgresql: Callable[[str], str]
) -> None:
    with capture_logs() as logs:
        async with on(runtime, database_url, postgresql("postgres")) as deaf:
            async with listening(deaf) as heard:
                await warned(logs, "NORTHING_LISTEN_URL")
                assert heard.times == 0
            async with notifications_checked(deaf):
                while len(logs) < 2:
                    await asyncio.sleep(0.01)
    first, second = logs
    assert first == second
    assert first["log_level"] == "warning"
    for words in ("do not arrive", "pooler", "up to 1 s late", "within 30 s", "direct connection"):
        assert words in first["event"]


async def test_a_check_that_is_heard_says_nothing(runtime: Runtime) -> None:
    with capture_logs() as logs:
        async with notifications_checked(runtime):
            others = asyncio.all_tasks() - {asyncio.current_task()}
            (check,) = [task for task in others if task.get_name() == "check of notifications"]
            await asyncio.wait({check}, timeout=30)
            assert check.done()
    assert logs == []


async def test_to_listen_elsewhere_is_refused_at_the_start(
    settings: Settings, database_url: str, postgresql: Callable[[str], str]
) -> None:
    """Its jobs would be another database's."""
    same = settings.model_copy(update={"listen_url": SecretStr(database_url)})
    async with open_runtime(same, database_url):
        pass
    other = settings.model_copy(update={"listen_url": SecretStr(postgresql("postgres"))})
    with pytest.raises(DatabaseNotReady, match="NORTHING_LISTEN_URL leads to another database"):
        async with open_runtime(other, database_url):
            pass


# --- through a pooler ---------------------------------------------------------------------------


@pytest.fixture
def pooler(database_url: str, unused_tcp_port: int) -> Iterator[str]:
    """The URL of the test's database through pgbouncer, one transaction at a time."""
    if PGBOUNCER is None:
        pytest.skip("pgbouncer is not installed (Debian package pgbouncer)")
    place = make_url(database_url)
    host, port = place.query.get("host", place.host), place.query.get("port", place.port or 5432)
    with data_folder() as folder:
        config = folder / "pgbouncer.ini"
        password = f" password={unquote(place.password)}" if place.password else ""
        config.write_text(
            f"[databases]\n* = host={host} port={port} user={place.username}{password}\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {unused_tcp_port}\nunix_socket_dir =\n"
            "auth_type = any\npool_mode = transaction\nmax_client_conn = 200\n"
            "server_login_retry = 1\n"
        )
        command = [PGBOUNCER, str(config)]
        if os.geteuid() == 0:  # which it refuses to be
            command[1:1] = ["-u", _somebody_else(database_url, str(host))]
        with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
            try:
                url = f"postgresql://northing@127.0.0.1:{unused_tcp_port}/{place.database}"
                _until_it_answers(url, process)
                yield url
            finally:
                process.terminate()


def _somebody_else(database_url: str, host: str) -> str:
    """A user who may log in: on the embedded server that has to be said first."""
    if not host.startswith("/"):
        return "nobody"
    user = pwd.getpwuid(Path(host).stat().st_uid).pw_name
    with psycopg.connect(database_url, autocommit=True) as connection:
        (path,) = connection.execute("SHOW ident_file").fetchone() or ("",)
        line = f'northing "{user}" northing\n'
        if line not in Path(path).read_text():
            with Path(path).open("a") as file:
                file.write(line)
        connection.execute("SELECT pg_reload_conf()")
    return user


def _until_it_answers(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline, reason = time.monotonic() + 30, ""
    while process.poll() is None and time.monotonic() < deadline:
        try:
            psycopg.connect(url, connect_timeout=5).close()
            return
        except psycopg.OperationalError as error:
            reason = str(error)
    raise AssertionError(f"no way through pgbouncer ({process.returncode}): {reason}")


async def test_through_a_pooler_a_direct_url_is_what_helps(
    runtime: Runtime, pooler: str, database_url: str
) -> None:
    with capture_logs() as logs:
        async with on(runtime, pooler, None) as deaf, listening(deaf) as heard:
            await warned(logs, "NORTHING_LISTEN_URL")
            assert heard.times == 0
    with capture_logs() as logs:
        async with (
            on(runtime, pooler, database_url) as accepts_commands,
            listening(accepts_commands) as heard,
        ):
            await heard.until(1)
            await execute(pooler, f"NOTIFY {CHANNEL}")
            await heard.until(2)
    assert logs == []


async def test_through_a_pooler_the_intake_prepares_nothing(pooler: str, database_url: str) -> None:
    """A statement that one connection prepares is unknown to the next one that the pooler picks."""
    for url, threshold in ((pooler, None), (database_url, 0)):
        async with intake_pool(url, 5) as pool, pool.connection() as connection:
            await connection.renew_plans()
            assert connection.prepare_threshold == threshold


async def test_through_a_pooler_everything_still_works(
    world: World, settings: Settings, pooler: str, tmp_path: Path
) -> None:
    """Jobs are found by looking, schedules by reading them again."""
    world.site.create("SHOP", "One-page checkout")
    pooled = settings.model_copy(update={"database_url": SecretStr(pooler)})
    with started("serve", env=environment_of(pooled, port="0"), cwd=tmp_path) as process:
        url = (
            (await asyncio.to_thread(wait_for_output, process, "serves http://"))[-1]
            .split("serves ")[1]
            .split(",")[0]
        )
        headers = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
        async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as client:
            world.api = client
            await world.connect_jira(schedule={"every": "PT1S"}, notices=OFF)
            async with asyncio.timeout(90):
                while not [run for run in await _ended(world) if run["mode"] == "incremental"]:
                    await asyncio.sleep(0.1)
            assert {run["state"] for run in await _ended(world)} == {"succeeded"}
            assert (await client.get("/readyz")).status_code == 200
        process.terminate()
        _, log = await asyncio.to_thread(process.communicate, timeout=30)
        assert process.returncode == 0, log
    assert len([line for line in log.splitlines() if "NORTHING_LISTEN_URL" in line]) == 1
    with psycopg.connect(libpq_url(pooler)) as connection:
        found = connection.execute("SELECT count(*) FROM procrastinate_jobs WHERE status = 'failed'")
        assert found.fetchone() == (0,)


async def _ended(world: World) -> list[dict[str, Any]]:
    listed = (await world.send("GET", "/runs"))["items"]
    return [run for run in listed if run["finished_at"] is not None]
