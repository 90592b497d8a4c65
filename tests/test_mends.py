"""What was mended once and must not break again: visibility, refusals, racing callers, lost comments."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.runtime import Runtime
from connectors.sandbox import faults
from mappings.runs.queue import open_run
from tests.support.clock import Clock
from tests.support.locks import holding
from tests.support.queries import all_of
from tests.support.tracker_drivers import GitHubDriver, JiraDriver, driver_of, either
from tests.support.world import World

GOAL = "Checkout conversion"


async def test_a_repository_made_public_hides_what_its_readers_may_not_see(
    world: World, clock: Clock
) -> None:
    """And one made private again shows it; the tickets themselves did not change."""
    driver = GitHubDriver(world)
    await world.goal("KR-1", GOAL, visibility="internal")
    await world.send("PATCH", "/key-results/KR-1", {"state": "missed"})
    await driver.connect()
    warned, aligned = driver.add(description="Key-Result: KR-1"), driver.add(description="Key-Result: KR-2")
    await driver.sync()
    await world.goal("KR-2", GOAL, visibility="internal")
    await world.drain()
    assert f"KR-1 ({GOAL}): it is missed" in driver.comments(warned)[0]
    assert driver.comments(aligned) == [f"Aligned with KR-2 ({GOAL}). Thank you."]
    repository = driver.host.repository("acme/shop")
    for private in (False, True):
        repository.private = private
        clock.advance(minutes=1)
        run = await driver.sync()
        assert run["updated"] == 0
        assert (GOAL in driver.comments(warned)[0]) == private
        # A line that says too little is left: only one that says too much is set right.
        assert driver.comments(aligned) == ["Aligned with KR-2. Thank you."]


@pytest.mark.parametrize("kind", either("github"))
async def test_a_refused_write_shows_in_the_sources_health(world: World, clock: Clock, kind: str) -> None:
    driver = driver_of(world, kind)
    await driver.connect()
    key = driver.add()
    driver.forbid()
    assert (await driver.sync())["writes"]["failed"] == 1
    shown = await world.health(kind)
    assert (shown["state"], shown["message"].startswith(f"{key}: ")) == ("degraded", True)
    assert shown["what_to_do"]
    driver.allow()
    clock.advance(hours=1)
    assert (await driver.sync())["writes"]["posted"] == 1
    assert (await world.health(kind))["state"] == "ok"


@pytest.mark.parametrize(
    ("first", "second", "mode"),
    [
        ("incremental", "incremental", "incremental"),
        ("incremental", "full", "full"),
        ("full", "incremental", "full"),
    ],
)
async def test_two_who_ask_for_a_reading_run_at_once_get_one(
    world: World, runtime: Runtime, clock: Clock, database_url: str, first: str, second: str, mode: str
) -> None:
    await world.connect_jira()
    ((source_id,),) = await all_of(runtime, "SELECT id FROM sources")

    async def ask(mode: str) -> int:
        async with runtime.sessions.begin() as session:
            return (await open_run(session, source_id, mode, clock())).id

    async with holding(database_url) as holder, runtime.sessions.begin() as session:
        opened = (await open_run(session, source_id, first, clock())).id
        asking = asyncio.create_task(ask(second))
        await holder.until_waiting(1)
        await session.commit()
        assert await asking == opened
    assert await all_of(runtime, "SELECT id, mode FROM runs") == [(opened, mode)]


def _lost(driver: JiraDriver) -> faults.Action:
    return faults.lose_answer()


def _never_arrived(driver: JiraDriver) -> faults.Action:
    return faults.drop()


@pytest.mark.parametrize("trouble", [_lost, _never_arrived])
async def test_a_write_without_an_answer_counts_as_a_comment_that_stands(
    world: World, runtime: Runtime, trouble: Any
) -> None:
    """Whether it arrived nobody knows, so the source does not go without a word."""
    driver = JiraDriver(world)
    await driver.connect()
    key = driver.add()
    driver.tracker.faults.add(driver.creates, trouble(driver))
    await driver.sync()
    assert await all_of(runtime, "SELECT remote_id, write_unconfirmed_at IS NULL FROM notices") == [
        (None, False)
    ]
    problem = await world.send("DELETE", "/sources/jira", expect=409)
    assert "?comments=leave" in problem["detail"]
    await world.send("DELETE", "/sources/jira?comments=leave")
    assert len(driver.comments(key)) == (1 if trouble is _lost else 0)


async def test_a_source_whose_writes_were_all_refused_goes_at_once(world: World) -> None:
    driver = JiraDriver(world)
    await driver.connect()
    driver.add()
    driver.forbid()
    await driver.sync()
    await world.send("DELETE", "/sources/jira")
