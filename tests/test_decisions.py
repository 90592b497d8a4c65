"""Decisions on epics: what each changes at once, and that undone everything is as it was."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from app.runtime import Runtime
from tests.support.clock import Clock, later
from tests.support.disputes import dispute
from tests.support.governance import Committee, without_times
from tests.support.tracker_drivers import TrackerDriver, both, on_either
from tests.support.world import World

pytestmark = pytest.mark.database

NOON = datetime(2026, 11, 16, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def noon(clock: Clock) -> None:
    clock.now = NOON


@pytest.fixture
async def committee(driver: TrackerDriver, world: World) -> Committee:
    return await Committee.of(driver, world)


@both
async def test_a_stopped_epic_is_waived_until_the_decision_is_undone(
    driver: TrackerDriver, world: World, committee: Committee, clock: Clock
) -> None:
    key = driver.add()
    await driver.sync()
    before, comments = await driver.epic(key), driver.comments(key)
    clock.advance(hours=1)
    decided = await committee.decide(key, "stop", reason="No customer asked for it")
    epic = await driver.epic(key)
    assert epic["alignment"] == "waived"
    assert epic["set_aside"] == {"decision": decided["id"], "kind": "stop", "until": None}
    assert epic["why"][0]["says"] == (
        "Waived: stopped by the review of 16 November 2026: No customer asked for it."
    )
    (found,) = epic["findings"]
    assert (found["state"], found["until"], found["reason"]) == ("waived", None, "No customer asked for it")
    await world.drain()
    assert driver.comments(key) == ["Waived: No customer asked for it."]
    driver.describe(key, "Key-Result: KR-1")
    await driver.sync()
    assert (await driver.epic(key))["alignment"] == "waived", "whatever its links"
    assert driver.comments(key) == ["Waived: No customer asked for it."]
    driver.describe(key, "")
    await driver.sync()
    (found,) = (await driver.epic(key))["findings"]
    assert found["state"] == "waived", "the gap that came back too"
    undone = await committee.undo(decided["id"])
    assert (undone["undone_by"], undone["left"]) == ("admin token", [])
    await world.drain()
    after = await driver.epic(key)
    assert (after["alignment"], after["set_aside"]) == ("unaligned", None)
    assert without_times(after) == without_times(before)
    assert without_times(driver.comments(key)) == without_times(comments)


@both
@pytest.mark.parametrize("kind", ["stop", "defer"])
@pytest.mark.parametrize("state", ["open", "snoozed", "waived", "disputed"])
async def test_undone_after_a_sync_everything_is_as_before(
    driver: TrackerDriver,
    world: World,
    committee: Committee,
    runtime: Runtime,
    clock: Clock,
    kind: str,
    state: str,
) -> None:
    key = driver.add()
    await driver.sync()
    await committee.answer_finding(runtime, key, state, clock())
    await world.drain()
    before, comments = await driver.epic(key), driver.comments(key)
    clock.advance(days=1)
    decided = await committee.decide(key, kind, by="2027-01-15")
    await world.drain()
    assert (await driver.epic(key))["alignment"] == "waived"
    clock.advance(days=1)
    await driver.sync("full")
    await committee.undo(decided["id"])
    await world.drain()
    await driver.sync("full")
    after = await driver.epic(key)
    assert after["findings"] == before["findings"]
    assert without_times(after) == without_times(before)
    assert without_times(driver.comments(key)) == without_times(comments)
