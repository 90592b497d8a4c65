"""Whatever is decided about an epic: undone in reverse, with syncs between, everything is as it was.

That holds for the ticket too."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from typing import Any

import pytest

from app.runtime import Runtime
from tests.support.clock import Clock
from tests.support.disputes import dispute
from tests.support.governance import METRIC, Committee, without_times
from tests.support.tracker_drivers import ALL, TrackerDriver, on_either
from tests.support.world import World

pytestmark = pytest.mark.database

NOON = datetime(2026, 11, 16, 12, tzinfo=UTC)
KINDS = ("keep", "remap", "stop", "defer", "pilot", "scale")
STARTS = ("waived", "disputed", "two", "named", "exempt", "helped", "over", "inherits", "pilot")
MORE_STARTS = ("open", "snoozed", "linked", "answered", "refused") if ALL else ()
ROUNDS = 3 if ALL else 2


@pytest.fixture(autouse=True)
def noon(clock: Clock) -> None:
    clock.now = NOON


@pytest.fixture
async def committee(driver: TrackerDriver, world: World) -> Committee:
    made = await Committee.of(world.api, driver.kind)
    for number in (1, 2, 3, 4):
        if number > 1:
            await world.goal(f"KR-{number}", f"Goal {number}")
        await world.send("PATCH", f"/key-results/KR-{number}", {"metric": METRIC})
    await world.send("PATCH", "/policy", {"exempt": {"labels": ["ktlo"]}})
    return made


async def _begin(  # noqa: C901  # a table of beginnings
    start: str,
    driver: TrackerDriver,
    world: World,
    committee: Committee,
    runtime: Runtime,
    key: str,
    above: str,
) -> None:
    """Let the epic, which has its comment, stand so."""
    found = next(iter((await driver.epic(key))["findings"]), None)
    until = {"until": "2027-03-01", "reason": "Law"}
    match start:
        case "snoozed" | "waived":
            assert found is not None
            act = {"snoozed": "snooze", "waived": "waive"}[start]
            await world.send("POST", f"/findings/{found['id']}/{act}", until)
        case "disputed":
            await dispute(runtime, key, "It is an office move", NOON)
        case "linked":
            await committee.link("KR-1", key)
        case "two":
            await committee.link("KR-1", key, weight=2)
            await committee.link("KR-2", key, weight=3, primary=True)
        case "named":
            driver.describe(key, "Key-Result: KR-3")
        case "exempt":
            driver.label(key, "ktlo")
        case "helped":
            driver.say(key, "/northing help")
        case "answered":
            driver.say(key, "/northing link KR-99")
        case "refused":
            driver.say(key, "/northing snooze 14d", outsider=True)
        case "over":
            await committee.link("KR-4", key)
        case "inherits":
            driver.put_below(key, above)
        case "pilot":
            await committee.stage(key, {"stage": "pilot", "measure": "KR-1", "by": "2027-01-31"})


async def _all(driver: TrackerDriver, committee: Committee, key: str) -> Any:
    epic = await driver.epic(key)
    links = [{name: value for name, value in link.items() if name != "id"} for link in epic.pop("links")]
    stage = await committee.stage(key)
    return (
        {**without_times(epic), "links": links, "findings": epic["findings"]},
        stage,
        without_times(driver.comments(key)),
    )


@on_either("jira")
@pytest.mark.timeout(900)
async def test_undone_in_reverse_everything_is_as_it_was(
    driver: TrackerDriver, world: World, committee: Committee, runtime: Runtime, clock: Clock
) -> None:
    dice = random.Random(20_261_116)
    above = driver.add("Above")
    keys = {start: driver.add(f"Work {start}") for start in (*STARTS, *MORE_STARTS)}
    await driver.sync()
    await committee.link("KR-2", above)
    for start, key in keys.items():
        await _begin(start, driver, world, committee, runtime, key, above)
    clock.advance(hours=1)
    await driver.sync()
    await world.send("PATCH", "/key-results/KR-4", {"state": "missed"})
    await world.drain()
    await driver.sync("full")
    before = {key: await _all(driver, committee, key) for key in keys.values()}
    taken: dict[str, list[int]] = {key: [] for key in keys.values()}
    for _ in range(ROUNDS):
        clock.advance(hours=1)
        await world.send("POST", "/key-results/KR-1/check-ins", {"value": 1.5, "confidence": 0.5})
        for key in keys.values():
            kind = dice.choice(KINDS)
            if kind == "scale" and (await committee.stage(key))["stage"] != "pilot":
                kind = "pilot"
            members: Any = {
                "keep": dice.choice([{}, {"by": "2027-02-01"}]),
                "remap": {"key_result": dice.choice(["KR-1", "KR-2", "KR-3"])},
                "stop": dice.choice([{}, {"by": "2027-02-01"}]),
                "defer": {"by": "2027-01-15"},
                "pilot": {"measure": "KR-1", "by": "2027-01-01"},
                "scale": {},
            }[kind]
            taken[key].append((await committee.decide(kind, key, **members))["id"])
        await world.drain()
        clock.advance(hours=1)
        await driver.sync(dice.choice(["incremental", "full"]))
    for _ in range(ROUNDS):
        clock.advance(hours=1)
        for key in keys.values():
            undone = await committee.undo(taken[key].pop())
            assert undone["left"] == []
        await world.drain()
    await driver.sync("full")
    after = {key: await _all(driver, committee, key) for key in keys.values()}
    assert [start for start, key in keys.items() if after[key] != before[key]] == []
    assert after == before
