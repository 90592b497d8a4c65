"""Trackers that are not broken and yet not as one expects: late, elsewhere in time, with odd last pages."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app import pipeline
from app.runtime import Runtime
from connectors.base import Project, Unavailable
from connectors.sandbox import faults
from connectors.sandbox.limits import limit
from connectors.sandbox.vendor_faults import empty_last_page, in_zone
from connectors.timeouts import Timeouts
from tests.support.clock import Clock, ClockOf
from tests.support.connector_calls import target
from tests.support.fault_bench import MISSING, Bench
from tests.support.tracker_drivers import ALL, KINDS, JiraDriver, TrackerDriver, driver_of
from tests.support.world import World

FAR = "Pacific/Kiritimati"  # 14 hours ahead of UTC


@pytest.fixture(params=KINDS)
async def bench(request: pytest.FixtureRequest, world: World, runtime: Runtime, clock: Clock) -> Bench:
    made = Bench(world, runtime, clock, driver_of(world, request.param))
    await made.begin()
    return made


on_jira = pytest.mark.parametrize("bench", ["jira"], indirect=True)
on_github = pytest.mark.parametrize("bench", ["github"], indirect=True)


def listing(driver: TrackerDriver) -> str:
    return "POST */search/jql" if driver.kind == "jira" else "GET */issues"


# --- pages ----------------------------------------------------------------------------------------


async def test_a_last_page_with_nothing_on_it_ends_the_list(bench: Bench) -> None:
    made = [bench.add() for _ in range(3)]
    bench.tracker.faults.clear()
    odd = bench.tracker.faults.add(listing(bench.driver), empty_last_page(), times=None)
    run = await bench.driver.sync("full")
    assert (run["state"], run["seen"], odd.struck >= 2) == ("succeeded", 3, True)
    assert (run["deleted"], sorted(await bench.world.keys(bench.driver.kind))) == (0, sorted(made))
    await bench.truth()


async def test_a_next_page_that_repeats_itself_is_an_error_and_loses_nothing(bench: Bench) -> None:
    for _ in range(3):
        bench.add()
    await bench.driver.sync()
    bench.clock.advance(hours=1)
    born = bench.add()
    bench.tracker.faults.clear()
    odd = bench.tracker.faults.add(listing(bench.driver), faults.repeat_token(), times=None)
    run = await bench.driver.sync("full")
    assert (run["state"], run["error"]["code"], run["deleted"]) == ("partial", "unread", 0)
    # Asked for again, each time up to the page that comes twice; Jira refuses the token of another search.
    struck = {"jira": 4, "github": 8}[bench.driver.kind]
    assert (odd.struck, (await bench.health())["state"]) == (struck, "degraded")
    # Of what was not read to its end nobody is told.
    assert bench.driver.comments(born) == []
    bench.tracker.faults.clear()
    assert (await bench.driver.sync("full"))["state"] == "succeeded"
    await bench.truth()


# --- time ---------------------------------------------------------------------------------------


@on_jira
async def test_the_search_index_lags_behind_what_was_written(bench: Bench) -> None:
    """What it does not show yet is read once it does; what it shows still is not believed against newer."""
    driver = bench.driver
    assert isinstance(driver, JiraDriver)
    fixed, gone = bench.add(), bench.add()
    await driver.sync()
    bench.clock.advance(minutes=10)
    driver.site.freeze_index()
    late = bench.add()
    driver.describe(fixed, "Key-Result: KR-1")
    driver.delete(gone)
    run = await driver.sync("full")
    assert (run["state"], run["deleted"]) == ("succeeded", 0)
    # Another epic is up to date in the index, and the cursor goes on with it.
    bench.clock.advance(minutes=4)
    driver.site.unfreeze_index()
    bench.add()
    run = await driver.sync()
    assert (run["state"], run["created"]) == ("succeeded", 2)
    assert [MISSING in text for text in driver.comments(late)] == [True]
    assert "Aligned with KR-1" in driver.comments(fixed)[0]
    assert (await driver.sync("full"))["deleted"] == 1
    await bench.truth()


@on_jira
async def test_the_index_still_shows_what_was_fixed_before_the_comment(bench: Bench) -> None:
    """The ticket itself is fetched before it is written, past the index."""
    driver = bench.driver
    assert isinstance(driver, JiraDriver)
    key = bench.add()
    driver.site.freeze_index()
    driver.describe(key, "Key-Result: KR-1")
    run = await driver.sync()
    assert (run["state"], run["created"], driver.comments(key)) == ("succeeded", 1, [])
    driver.site.unfreeze_index()
    await driver.sync()
    bench.quiet.add(key)
    await bench.truth()


@on_jira
async def test_a_user_far_from_utc_misses_nothing(bench: Bench) -> None:
    """JQL reads a date in the zone of who asks, and Jira shows times in it."""
    driver = bench.driver
    assert isinstance(driver, JiraDriver)
    driver.site.bot = replace(driver.site.bot, time_zone=FAR)
    driver.site.restore_credentials()
    shown = [bench.tracker.faults.add(call, in_zone(FAR), times=None) for call in ("*search*", "*fetch")]
    driver.site.page_cap = 100
    first = bench.add()
    await driver.sync()
    before = (await driver.epic(first))["updated_at"]
    for hours in (1, 13, 15):
        bench.clock.advance(hours=hours)
        bench.add()
        run = await driver.sync()
        assert (run["state"], run["created"]) == ("succeeded", 1)
        assert run["seen"] <= 2, "everything was read again"
    assert all(one.struck for one in shown)
    assert abs(driver.site.issue(first).created - bench.clock()) > timedelta(hours=28)
    assert (await driver.epic(first))["updated_at"] >= before
    await bench.truth()


@pytest.mark.parametrize(
    ("bench", "hours"),
    [(kind, hours) for kind in KINDS for hours in (-7, 7) if ALL or (hours < 0) == (kind == "jira")],
    indirect=["bench"],
)
async def test_a_tracker_whose_clock_is_hours_from_ours(bench: Bench, hours: int) -> None:
    """Nothing is missed, nothing read again for ever, and a limit lasts as long as was meant."""
    driver = bench.driver
    site: Any = driver.site if isinstance(driver, JiraDriver) else bench.world.host
    site.now = lambda: bench.clock() + timedelta(hours=hours)
    key = bench.add()
    await driver.sync()
    driver.describe(key, "Key-Result: KR-1")
    for _ in range(2):
        bench.clock.advance(minutes=30)
        bench.add()
        assert (await driver.sync())["created"] == 1
    form = "jira_date" if driver.kind == "jira" else "github_primary"
    bench.tracker.faults.clear()
    fault = bench.tracker.faults.add(listing(driver), limit(form, 600, bench.tracker.clock))
    bench.clock.advance(minutes=30)
    bench.add()
    run = await driver.sync("full")
    assert (run["state"], fault.struck) == ("waiting", 1)
    shown = await bench.health()
    assert f"{abs(hours) * 60} minutes" in str(shown), shown
    await bench.later(seconds=590)
    assert (await bench.world.send("GET", f"/runs/{run['id']}"))["state"] == "waiting"
    await bench.later(seconds=15)
    assert (await bench.world.send("GET", f"/runs/{run['id']}"))["state"] == "succeeded"
    await bench.later(minutes=2)
    await bench.truth()


@pytest.mark.parametrize("hours", [-3, 3])
@on_github
async def test_replicas_whose_clocks_are_hours_apart_write_one_comment(bench: Bench, hours: int) -> None:
    """One sends a comment and its answer is lost; the other, hours from it, looks before it writes."""
    driver = bench.driver
    key = bench.add()
    driver.tracker.faults.add(driver.creates, faults.lose_answer())
    await driver.sync()
    other = replace(
        bench.runtime, clock=ClockOf(lambda: bench.clock() + timedelta(hours=hours)), worker="other"
    )
    source_id = 1
    for _ in range(2):
        await asyncio.gather(
            pipeline.write_tickets(other, source_id), pipeline.write_tickets(bench.runtime, source_id)
        )
        bench.clock.advance(minutes=2)
    bench.clock.advance(hours=abs(hours))
    await bench.later(minutes=2)
    assert (len(driver.comments(key)), driver.tracker.log.count(driver.creates)) == (1, 1)
    assert (await driver.notice(key))["state"] == "posted"
    bench.posts_are_not_repeated_blindly()
    await bench.truth()


# --- our patience -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_a_tracker_that_drips_for_ever_holds_nobody(kind: str) -> None:
    """The connector closes at once; the library's own time limit would start anew with every byte."""
    async with target(kind, Timeouts(connect=5, read=5, total=0.5)) as on:
        on.tracker.faults.add("*", faults.drip(), times=None)
        pages = on.connector.changed_since(Project(on.project), None)
        with pytest.raises(Unavailable):
            await asyncio.wait_for(anext(pages), 10)
        async with asyncio.timeout(4):
            await on.connector.aclose()
