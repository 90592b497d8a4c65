"""The commands as a person types them."""

from __future__ import annotations

import asyncio
import re
import signal
from datetime import datetime
from pathlib import Path

import pytest
from sqlalchemy import select

from app.runtime import Runtime
from app.settings import Settings
from connectors.sandbox import faults
from mappings.tables import DeliveryRow, SourceRow
from tests.support.clock import Clock, later
from tests.support.outages import refusing
from tests.support.processes import LONGEST, environment, environment_of, northing, started
from tests.support.runs import all_runs
from tests.support.webhook_posts import connect, post
from tests.support.world import World

COMMANDS = (
    "demo",
    "serve",
    "worker",
    "sync",
    "connect",
    "check",
    "audit",
    "replay",
    "import",
    "export",
    "db",
)


@pytest.mark.parametrize("command", [(), *((name,) for name in COMMANDS), ("db", "upgrade")], ids=" ".join)
def test_help_gives_an_example(command: tuple[str, ...], tmp_path: Path) -> None:
    shown = northing(*command, "--help", env=environment(), cwd=tmp_path, fresh=True)
    assert shown.returncode == 0
    assert "Example: " in shown.stdout
    assert f"northing {' '.join(command)}".strip() in shown.stdout.split("Example: ")[1]
    assert "\x1b" not in shown.stdout


def test_help_lists_what_there_is(tmp_path: Path) -> None:
    shown = northing("--help", env=environment(), cwd=tmp_path, fresh=True).stdout
    listed = shown.split("Commands")[1].split("Example")[0]
    # What a line begins with; the lines that go on with a description are further to the right.
    assert re.findall(r"^│ (\S+)", listed, re.MULTILINE) == list(COMMANDS)


def test_version(tmp_path: Path) -> None:
    shown = northing("--version", env=environment(), cwd=tmp_path, fresh=True)
    assert (shown.returncode, shown.stdout) == (0, "northing 0.1.0\n")


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (("walk",), "No such command 'walk'."),
        (("sync",), "Missing argument 'source'."),
        (("serve", "--fast"), "No such option: --fast"),
        (("export",), "the configuration as YAML cannot be exported yet"),
        (("import", "epics", "x.csv"), "'epics' is not one of"),
        (("import", "links", "nothing.csv"), "nothing.csv cannot be read: No such file or directory"),
        (("db",), "Usage: northing db [OPTIONS] COMMAND [ARGS]..."),
        ((), "Usage: northing [OPTIONS] COMMAND [ARGS]..."),
    ],
)
def test_wrong_usage_ends_with_two_and_says_why(wrong: tuple[str, ...], reason: str, tmp_path: Path) -> None:
    ended = northing(*wrong, env=environment(), cwd=tmp_path)
    assert ended.returncode == 2
    assert reason in ended.stdout + ended.stderr


def test_db_upgrade_may_be_repeated(settings: Settings, tmp_path: Path) -> None:
    ended = northing("db", "upgrade", env=environment_of(settings), cwd=tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.startswith("The database is at 2026_")


def test_files_go_in_and_out(settings: Settings, tmp_path: Path) -> None:
    def run(*arguments: str) -> tuple[int, str, str]:
        ended = northing(*arguments, env=environment_of(settings), cwd=tmp_path)
        return ended.returncode, ended.stdout, ended.stderr

    file = tmp_path / "goals.csv"
    file.write_bytes("Ziel;Weight\nGr\xf6\xdfer;1,5\n\x1b[31m;x\n".encode("windows-1252"))
    code, output, errors = run("import", "objectives", "goals.csv", "--map", "ziel:title")
    assert code == 1
    assert "3          weight: must be a number, and is 'x'" in output
    assert "objectives: 1 created, 0 changed, 0 same, 1 error; nothing is applied.\n" in output
    assert "--partial" in errors
    code, output, _ = run("import", "objectives", "goals.csv", "--map", "ziel:title", "--partial")
    assert (code, "; applied." in output) == (1, True)
    code, output, _ = run("export", "objectives")
    assert (code, output.splitlines()[1]) == (0, "O-1,Größer,,,,,,,1.5,internal,,active")
    assert run("export", "objectives", "--format", "xlsx", "--output", "goals.xlsx")[0] == 0
    (tmp_path / "other.csv").write_text("key,weight\nO-1,2\n")
    code, output, _ = run("import", "objectives", "other.csv", "--dry-run")
    assert (code, "2     O-1  changes weight" in output) == (0, True)
    code, output, _ = run("import", "objectives", "goals.xlsx")
    assert (code, output) == (0, "objectives: 0 created, 0 changed, 1 same, 0 error; applied.\n")
    code, _, errors = run("import", "links", "goals.csv")
    assert (code, errors.startswith("northing: file: has a column 'Ziel', which is not known here")) == (
        1,
        True,
    )


def test_an_export_that_cannot_begin_leaves_the_file_as_it_was(settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "links.csv"
    file.write_text("of yesterday")
    env = environment_of(settings) | {"NORTHING_DATABASE_URL": "postgresql://northing@127.0.0.1:9/none"}
    assert northing("export", "links", "--output", "links.csv", env=env, cwd=tmp_path).returncode == 1
    assert file.read_text() == "of yesterday"


async def sync(settings: Settings, cwd: Path, *arguments: str) -> tuple[int, str, str]:
    """Its exit code and both outputs; in a thread, for the tracker lives in this event loop."""
    ended = await asyncio.to_thread(northing, "sync", *arguments, env=environment_of(settings), cwd=cwd)
    return ended.returncode, ended.stdout, ended.stderr


async def test_sync_reads_and_writes_without_a_server(
    world: World, settings: Settings, tmp_path: Path
) -> None:
    warned = world.site.create("SHOP", "One-page checkout")
    world.site.create("SHOP", "Coupons", description="Key-Result: KR-1")
    await world.goal()
    await world.no_grace()
    await world.connect_jira(notices={"mode": "live"})
    code, output, errors = await sync(settings, tmp_path, "JIRA", "--full")
    assert (code, errors) == (0, "")
    (line,) = output.splitlines()
    assert line.startswith("jira: succeeded. Epics: 2 seen, 2 new,")
    assert "1 posted" in line
    assert len(warned.comments) == 1
    (run,) = (await world.send("GET", "/runs?source=jira"))["items"]
    assert (run["mode"], run["writes"]["posted"], run["writes"]["pending"]) == ("full", 1, 0)


async def test_sync_does_not_wait_for_what_waits_a_day(
    world: World, settings: Settings, tmp_path: Path
) -> None:
    for number in range(7):
        world.site.create("SHOP", f"Epic {number}")
    world.site.denied.add(("ADD_COMMENTS", "SHOP"))
    await world.no_grace()
    await world.connect_jira(notices={"mode": "live", "max_share": 1})
    code, output, errors = await sync(settings, tmp_path, "jira")
    assert (code, "5 failed" in output) == (0, True)
    assert errors == "2 comments have to wait; a server or worker writes them when they are due.\n"


async def test_sync_that_fails_says_what_to_do(world: World, settings: Settings, tmp_path: Path) -> None:
    world.site.create("SHOP", "One-page checkout")
    await world.connect_jira()
    world.site.revoke_credentials()
    code, output, errors = await sync(settings, tmp_path, "jira")
    assert code == 1
    assert output.startswith("jira: failed. ")
    (run,) = (await world.send("GET", "/runs?source=jira"))["items"]
    assert errors == f"{run['error']['message']} {run['error']['what_to_do']}\n"
    assert run["error"]["what_to_do"]


async def test_sync_that_is_stopped_loses_nothing(
    world: World, runtime: Runtime, settings: Settings, clock: Clock, tmp_path: Path
) -> None:
    world.site.create("SHOP", "One-page checkout")
    await world.connect_jira()
    busy = faults.answer(429, headers={"Retry-After": "3600"})
    world.jira.faults.add("*", busy, times=None)
    with started("sync", "jira", env=environment_of(settings), cwd=tmp_path) as process:
        assert process.stderr is not None
        reported = await asyncio.to_thread(process.stderr.readline)
        waiting = (await world.send("GET", "/runs?state=waiting"))["items"]
        process.send_signal(signal.SIGINT)
        output, errors = await asyncio.to_thread(process.communicate, timeout=LONGEST)
    (run,) = waiting
    until = datetime.fromisoformat(run["waiting_until"])
    assert reported.startswith("jira: Jira limits our requests")
    assert reported.endswith(f" Going on at {until:%H:%M:%S} UTC.\n")
    assert (process.returncode, output) == (1, "")
    assert errors.startswith(f"Stopped. Run {run['id']} goes on")
    assert (await world.send("GET", f"/runs/{run['id']}"))["state"] == "waiting"
    world.jira.faults.clear()
    await later(world, runtime, clock, hours=2)
    assert (await all_runs(world), await world.keys()) == (
        [(run["id"], run["mode"], "succeeded")],
        ["SHOP-1"],
    )


@pytest.mark.parametrize("command", ["sync", "check"])
async def test_an_unknown_source_fails_and_names_those_there_are(
    world: World, settings: Settings, tmp_path: Path, command: str
) -> None:
    await world.connect_jira("Jira")
    await world.connect_github(scope={"repositories": ["acme/shop"]})
    ended = await asyncio.to_thread(northing, command, "jirra", env=environment_of(settings), cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "northing: There is no source 'jirra': there are github, Jira\n"


async def test_a_source_that_is_being_disconnected_is_not_synced(
    world: World, runtime: Runtime, settings: Settings, tmp_path: Path
) -> None:
    await world.connect_jira()
    async with runtime.sessions.begin() as session:
        source = (await session.scalars(select(SourceRow))).one()
        source.disconnecting_at = await runtime.now(session)
    code, output, errors = await sync(settings, tmp_path, "jira")
    assert (code, output) == (1, "")
    assert errors.startswith("northing: jira is being disconnected since ")
    assert (await world.send("GET", "/runs"))["items"] == []


async def test_what_cannot_be_replayed(
    world: World, runtime: Runtime, settings: Settings, tmp_path: Path
) -> None:
    await world.connect_jira()
    async with runtime.sessions.begin() as session:
        source = (await session.scalars(select(SourceRow))).one()
        delivery = DeliveryRow(source_id=source.id, remote_id="1", event="x", state="done", body=None)
        delivery.received_at = await runtime.now(session)
        session.add(delivery)
    for number, reason in (
        (delivery.id, "Its body was deleted after 14 days; sync the source instead."),
        (delivery.id + 1, f"There is no delivery {delivery.id + 1}; GET /api/v1/deliveries lists them"),
    ):
        ended = await asyncio.to_thread(
            northing, "replay", str(number), env=environment_of(settings), cwd=tmp_path
        )
        assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", f"northing: {reason}\n")


async def test_a_command_says_it_in_a_line(
    world: World, settings: Settings, database_url: str, tmp_path: Path
) -> None:
    await connect(world)
    stored = (await post(world)).json()["delivery"]
    await world.drain()
    with refusing(database_url, "deliveries", "53100"):
        ended = await asyncio.to_thread(
            northing, "replay", str(stored), env=environment_of(settings), cwd=tmp_path
        )
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == "northing: the database's disk is full\n"
