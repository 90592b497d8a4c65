"""What a repository's settings change: archived, it takes no comments."""

from __future__ import annotations

import pytest

from app.runtime import Runtime
from tests.support.clock import Clock, later
from tests.support.tracker_drivers import GitHubDriver
from tests.support.world import World

WHY = "The repository is archived."


@pytest.fixture
async def driver(world: World) -> GitHubDriver:
    """One epic of which a comment stands on the ticket."""
    made = GitHubDriver(world)
    await made.connect(scope={"repositories": ["acme/shop"]})
    await world.goal("KR-1")
    made.add("With a comment")
    await made.sync()
    assert len(made.comments("acme/shop#1")) == 1
    return made


def writes(driver: GitHubDriver) -> int:
    return sum(seen.method != "GET" for seen in driver.tracker.log.entries)


@pytest.mark.parametrize("mode", ["incremental", "full"])
async def test_an_archived_one_is_read_and_nothing_is_tried_there_until_it_is_open_again(
    world: World, driver: GitHubDriver, runtime: Runtime, clock: Clock, mode: str
) -> None:
    world.host.repository("acme/shop").archived = True
    before = writes(driver)
    new = driver.add("New")
    driver.describe("acme/shop#1", "Key-Result: KR-1")
    for _ in range(2):
        clock.advance(hours=20)
        run = await driver.sync(mode)
        assert (run["state"], run["error"], run["writes"]["failed"]) == ("succeeded", None, 0)
    assert sorted(await world.keys("github")) == ["acme/shop#1", new]
    assert (await driver.epic("acme/shop#1"))["alignment"] == "aligned"
    assert (writes(driver) - before, driver.comments(new)) == (0, [])
    shown = await world.health("github")
    assert (shown["state"], WHY in shown["message"]) == ("degraded", True)
    assert "acme/shop" in shown["message"]
    world.host.repository("acme/shop").archived = False
    clock.advance(minutes=1)
    await driver.sync(mode)
    await later(world, runtime, clock, minutes=1)
    assert "Aligned with KR-1" in driver.comments("acme/shop#1")[0]
    assert len(driver.comments(new)) == 1
    assert (await world.health("github"))["state"] == "ok"


async def test_a_stop_of_another_kind_outlasts_the_listing(
    world: World, driver: GitHubDriver, clock: Clock
) -> None:
    """That a repository is not archived does not say that its tickets take comments."""
    for _ in range(6):
        world.host.lock(driver.add())
    for _ in range(2):
        clock.advance(minutes=1)
        await driver.sync()
        assert "is locked" in (await world.health("github"))["message"]
    assert writes(driver) == 1 + 5
