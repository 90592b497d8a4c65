"""Notices through the API: listed by what they are and whose, and taken back one by one."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from app.runtime import Runtime
from tests.support.clock import Clock, later
from tests.support.tracker_drivers import TrackerDriver, both, driver_of, on_jira
from tests.support.world import World


async def test_lists_hold_what_fits_all_filters(world: World, clock: Clock) -> None:
    clock.now = datetime(2026, 11, 16, 12, tzinfo=UTC)
    world.site.create("SHOP", "An epic")
    await world.connect_jira()
    await world.sync("jira")
    clock.advance(minutes=1)
    world.host.create("acme/shop", "Another", labels=["epic"])
    await world.connect_github(scope={"repositories": ["acme/shop"]}, notices={"mode": "live"})
    await world.sync("github")
    for query, keys in (
        ("", ["SHOP-1", "acme/shop#1"]),
        ("state=shadow", ["SHOP-1"]),
        ("state=held", ["acme/shop#1"]),
        ("source=GITHUB", ["acme/shop#1"]),
        ("source=GITHUB&state=shadow", []),
        ("state=posted", []),
    ):
        page = await world.send("GET", f"/notices?{query}")
        assert [one["epic"]["key"] for one in page["items"]] == keys, query
    (held,) = (await world.send("GET", "/notices?state=held"))["items"]
    assert (held["reason"], held["pending"], held["url"]) == ("grace", False, None)
    assert held["detail"] == "Grace ends at 2026-11-23 12:01 UTC."
    assert held == (await world.epic("github", "acme/shop#1"))["notice"]
    first = await world.send("GET", "/notices?limit=1")
    rest = await world.send("GET", f"/notices?limit=1&cursor={first['next']}")
    assert [one["epic"]["key"] for one in first["items"] + rest["items"]] == ["SHOP-1", "acme/shop#1"]
    assert rest["next"] is None


@both
async def test_one_is_taken_back_and_the_others_stay(
    driver: TrackerDriver, world: World, runtime: Runtime, clock: Clock
) -> None:
    """Unsent it never comes, and on the ticket it is one line, until the gap opens again."""
    await driver.connect(notices={"per_run": 1})
    held, let_go = driver.add(), driver.add()
    await driver.sync()
    ids = [(await driver.notice(key))["id"] for key in (held, let_go)]
    done = await world.send("POST", "/notices/withdraw", {"ids": [ids[0], 99]}, expect=202)
    assert (done["withdrawn"], done["runs"]) == (1, [])
    assert done["skipped"] == [{"id": 99, "reason": "There is no such notice."}]
    notice = await driver.notice(held)
    assert (notice["state"], notice["reason"]) == ("withdrawn", "withdrawn")
    assert notice["detail"] == "A person took it back before it was written."
    again = await world.send("POST", "/notices/withdraw", {"ids": [ids[0]]})
    assert [one["reason"] for one in again["skipped"]] == ["It is withdrawn already."]

    await world.send("POST", "/notices/approve", {"ids": ids})
    await world.drain()
    assert (len(driver.comments(held)), len(driver.comments(let_go))) == (0, 1)
    done = await world.send("POST", "/notices/withdraw", {"ids": [ids[1]]})
    (run,) = done["runs"]
    await world.drain()
    assert driver.comments(let_go) == ["Withdrawn. Sorry for the noise."]
    notice = await driver.notice(let_go)
    assert (notice["state"], notice["reason"], notice["run"]) == ("withdrawn", "withdrawn", run)
    shown = await world.send("GET", f"/runs/{run}")
    assert (shown["mode"], shown["writes"]["withdrawn"]) == ("withdraw", 1)

    await later(world, runtime, clock, days=8)
    await driver.sync("full")
    assert driver.comments(held) == []
    for labels in (["kr:KR-1"], []):
        driver.label(held, *labels)
        await driver.sync()
    assert len(driver.comments(held)) == 1


@on_jira
async def test_what_there_is_nothing_of_to_take_back_is_named(driver: TrackerDriver, world: World) -> None:
    await driver.connect("shadow")
    key, other = driver.add(), driver.add()
    await driver.sync()
    notices = [(await driver.notice(one))["id"] for one in (key, other)]
    assert (await world.send("POST", "/notices/withdraw", {"ids": notices[:1]}))["withdrawn"] == 1
    await driver.set_mode("live")
    assert (driver.comments(key), len(driver.comments(other))) == ([], 1)
    driver.label(other, "kr:KR-1")
    await driver.sync()
    done = await world.send("POST", "/notices/withdraw", {"ids": notices[1:]})
    assert [one["reason"] for one in done["skipped"]] == ["It is resolved; its comment is one line already."]
    assert set(await world.refused("POST", "/notices/withdraw", {"ids": []})) == {"ids"}


@on_jira
async def test_taken_back_before_its_queued_write_it_is_never_written(
    driver: TrackerDriver, world: World
) -> None:
    await driver.connect(notices={"per_run": 0})
    key = driver.add()
    await driver.sync()
    id = (await driver.notice(key))["id"]
    await world.send("POST", "/notices/approve", {"ids": [id]})
    await world.send("POST", "/notices/withdraw", {"ids": [id]})
    await world.drain()
    assert (driver.comments(key), (await driver.notice(key))["state"]) == ([], "withdrawn")


@pytest.fixture
async def driver(request: pytest.FixtureRequest, world: World) -> TrackerDriver:
    """A tracker of either kind, not connected yet, and one live key result, KR-1."""
    await world.goal("KR-1", "Checkout conversion")
    return driver_of(world, request.param)
