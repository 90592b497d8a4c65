"""Decisions on epics of both trackers: undone after a sync, everything is as it was, on the ticket too."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from app.runtime import Runtime
from tests.support.clock import Clock, later
from tests.support.disputes import dispute
from tests.support.governance import METRIC, Committee, without_times
from tests.support.tracker_drivers import TrackerDriver, both, on_either, on_github
from tests.support.world import World

pytestmark = pytest.mark.database

NOON = datetime(2026, 11, 16, 12, tzinfo=UTC)
WHY = "No customer asked for it"


@pytest.fixture(autouse=True)
def noon(clock: Clock) -> None:
    clock.now = NOON


@pytest.fixture
async def committee(driver: TrackerDriver, world: World) -> Committee:
    return await Committee.of(world.api, driver.kind)


async def _answered(driver: TrackerDriver, world: World, runtime: Runtime, key: str, state: str) -> None:
    """A person has the finding of the epic in this state."""
    (found,) = (await driver.epic(key))["findings"]
    if state == "disputed":
        await dispute(runtime, key, "It is an office move", NOON)
    elif state != "open":
        act = {"snoozed": "snooze", "waived": "waive"}[state]
        body = {"until": "2027-03-01", "reason": "Law"}
        await world.send("POST", f"/findings/{found['id']}/{act}", body)
    await world.drain()


@both
async def test_a_stopped_epic_is_waived_whatever_its_links_until_it_is_undone(
    driver: TrackerDriver, world: World, committee: Committee, clock: Clock
) -> None:
    key = driver.add()
    await driver.sync()
    before, comments = await driver.epic(key), driver.comments(key)
    clock.advance(hours=1)
    decided = await committee.decide("stop", key, reason=WHY)
    epic = await driver.epic(key)
    assert epic["alignment"] == "waived"
    assert epic["set_aside"] == {"decision": decided["id"], "kind": "stop", "until": None}
    assert epic["why"][0]["says"] == f"Waived: stopped by the review of 16 November 2026: {WHY}."
    (found,) = epic["findings"]
    assert (found["state"], found["until"], found["reason"]) == ("waived", None, WHY)
    await world.drain()
    line = f"Waived: {WHY}."
    assert driver.comments(key) == [line]
    for text, state in (("Key-Result: KR-1", "resolved"), ("", "waived")):
        driver.describe(key, text)
        await driver.sync()
        epic = await driver.epic(key)
        assert (epic["alignment"], epic["findings"][0]["state"]) == ("waived", state)
        assert driver.comments(key) == [line], "also for the gap that came back"
    undone = await committee.undo(decided["id"])
    assert (undone["undone_by"], undone["left"]) == ("admin token", [])
    await world.drain()
    assert without_times(await driver.epic(key)) == without_times(before)
    assert without_times(driver.comments(key)) == without_times(comments)


@pytest.mark.parametrize(
    ("driver", "kind", "state"),
    [
        ("jira", "stop", "disputed"),
        ("github", "stop", "snoozed"),
        ("jira", "defer", "waived"),
        ("github", "defer", "disputed"),
        ("github", "keep", "disputed"),
    ],
    indirect=["driver"],
)
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
    await _answered(driver, world, runtime, key, state)
    before, comments = await driver.epic(key), driver.comments(key)
    clock.advance(days=1)
    decided = await committee.decide(kind, key, by="2027-01-15", reason=WHY)
    await world.drain()
    changed = state != "waived"  # what a person waived stays as it is
    assert (await driver.epic(key))["findings"][0]["reason"] == (WHY if changed else "Law")
    assert driver.comments(key) == [
        f"Waived until 2027-01-15: {WHY}." if changed else "Waived until 2027-03-01: Law."
    ]
    clock.advance(days=1)
    await driver.sync("full")
    await committee.undo(decided["id"])
    await world.drain()
    await driver.sync("full")
    after = await driver.epic(key)
    assert after["findings"] == before["findings"]
    assert without_times(after) == without_times(before)
    assert without_times(driver.comments(key)) == without_times(comments)


@both
async def test_a_remap_is_undone_with_its_links_and_the_dispute(
    driver: TrackerDriver, world: World, committee: Committee, runtime: Runtime, clock: Clock
) -> None:
    key = driver.add(description="Key-Result: KR-1")
    for other in ("KR-2", "KR-3", "KR-4"):
        await world.goal(other, f"Goal {other}")
    await driver.sync()
    await committee.link("KR-2", key, weight=2)
    await committee.link("KR-3", key, weight=3, primary=True)
    for closed in ("KR-1", "KR-2", "KR-3"):
        await world.send("PATCH", f"/key-results/{closed}", {"state": "missed"})
    await world.drain()
    await dispute(runtime, key, "They are over", clock())
    await world.drain()
    before, comments = await driver.epic(key), driver.comments(key)
    clock.advance(days=1)
    decided = await committee.decide("remap", key, key_result="KR-4")
    assert decided["effects"] == [
        "Its links to KR-2, KR-3 taken back.",
        "Linked to KR-4, as its primary key result.",
        "Its link to KR-1, made by the ticket, stays.",
    ]
    epic = await driver.epic(key)
    links = [(link["key_result"], link["origin"], link["primary"]) for link in epic["links"]]
    assert links == [("KR-1", "ticket", False), ("KR-4", "manual", True)]
    assert (epic["alignment"], epic["findings"][0]["state"]) == ("aligned", "resolved")
    await world.drain()
    assert driver.comments(key) == ["Aligned with KR-4 (Goal KR-4). Thank you."]
    clock.advance(days=1)
    await driver.sync("full")
    await committee.undo(decided["id"])
    await world.drain()
    await driver.sync("full")
    assert without_times(await driver.epic(key)) == without_times(before)
    assert driver.comments(key) == comments == ["Disputed; waiting for a decision."]


@on_either("jira")
async def test_a_deferred_epic_is_evaluated_as_usual_from_its_day_on(
    driver: TrackerDriver, world: World, committee: Committee, runtime: Runtime, clock: Clock
) -> None:
    """Its day is the last of a month, and it is decided half an hour before midnight, UTC."""
    key = driver.add()
    await driver.sync()
    clock.now = datetime(2026, 11, 30, 23, 30, tzinfo=UTC)
    await committee.decide("defer", key, by="2026-11-30", reason="First the audit")
    await world.drain()
    assert driver.comments(key) == ["Waived until 2026-11-30: First the audit."]
    await later(world, runtime, clock, minutes=29)
    assert (await driver.epic(key))["alignment"] == "waived"
    await later(world, runtime, clock, minutes=1)
    epic = await driver.epic(key)
    assert (epic["alignment"], epic["set_aside"], epic["findings"][0]["state"]) == ("unaligned", None, "open")
    assert "Which key result does this epic serve?" in driver.comments(key)[0]


@on_github
async def test_what_a_committee_keeps_goes_with_a_transferred_epic(
    driver: TrackerDriver, world: World, committee: Committee, clock: Clock
) -> None:
    world.host.add_repository("acme/core")
    await world.send("PATCH", "/sources/github", {"scope": {"repositories": ["acme/shop", "acme/core"]}})
    await world.send("PATCH", "/key-results/KR-1", {"metric": METRIC})
    key = driver.add()
    await driver.sync()
    before = await driver.epic(key)
    conflict = {"epic": {"source": "github", "key": key}, "technical": "A", "business": "B"}
    raised = await world.send("POST", "/conflicts", conflict)
    await committee.stage(key, {"stage": "pilot", "measure": "KR-1", "by": "2026-12-31"})
    decided = await committee.decide("stop", key, conflict=raised["id"])
    clock.advance(hours=1)
    world.host.transfer(key, "acme/core")
    await driver.sync()
    moved = await driver.epic("acme/core#1")
    assert (moved["alignment"], moved["set_aside"]["decision"]) == ("waived", decided["id"])
    assert (await committee.stage("acme/core#1"))["stage"] == "pilot"
    (one,) = (await world.send("GET", "/decisions?epic_source=github&epic_key=acme%2Fcore%231"))["items"]
    assert (one["epic"]["key"], one["epic_now"]["key"]) == (key, "acme/core#1")
    await committee.undo(decided["id"])
    after = await driver.epic("acme/core#1")
    assert (after["alignment"], after["set_aside"]) == (before["alignment"], None)
    assert [found["state"] for found in after["findings"]] == [found["state"] for found in before["findings"]]
    assert (await world.send("GET", f"/conflicts/{raised['id']}"))["decision"] is None
