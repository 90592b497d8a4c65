"""A disputed finding: silent until an editor decides it, listed for editors, upheld or dismissed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from app.jobs.sweep import sweep
from app.runtime import Runtime
from tests.support.clock import Clock
from tests.support.disputes import DISPUTER, dispute
from tests.support.tracker_drivers import TrackerDriver, both, on_either
from tests.support.world import World

pytestmark = pytest.mark.database

MISSING = "Which key result does this epic serve?"
WAITING = "Disputed; waiting for a decision."
WHY = "It is an office move"
NOON = datetime(2026, 11, 16, 12, tzinfo=UTC)


@pytest.fixture(autouse=True)
def noon(clock: Clock) -> None:
    clock.now = NOON


def _z(at: datetime) -> str:
    return at.isoformat().replace("+00:00", "Z")


@both
async def test_it_is_silent_until_an_editor_upholds_it(
    driver: TrackerDriver, world: World, runtime: Runtime, clock: Clock
) -> None:
    key = driver.add()
    await driver.sync()
    ids = driver.comment_ids(key)
    assert await dispute(runtime, key, WHY, clock()) == "open"
    await world.drain()
    assert driver.comments(key) == [WAITING]
    edits = driver.tracker.log.count(driver.edits)
    for text in ("Key-Result: KR-99", "Words."):
        clock.advance(days=30)
        driver.describe(key, text)
        await driver.sync()
        await sweep(runtime)
    assert (driver.comments(key), driver.comment_ids(key)) == ([WAITING], ids)
    assert driver.tracker.log.count(driver.edits) == edits

    (found,) = (await world.send("GET", "/findings?state=disputed"))["items"]
    assert (found["by"], found["changed_at"], found["reason"]) == (DISPUTER, _z(NOON), WHY)
    upheld = await world.send("POST", f"/findings/{found['id']}/uphold")
    assert (upheld["state"], upheld["by"], upheld["changed_at"], upheld["reason"]) == ("open", *[None] * 3)
    assert (await driver.epic(key))["findings"] == [upheld], "evaluated before the answer"
    await world.drain()
    assert MISSING in driver.comments(key)[0]
    assert driver.comment_ids(key) == ids
    (entry,) = (await world.send("GET", "/audit-log?limit=1"))["items"]
    assert (entry["who"], entry["what"]) == ("admin token", "finding")
    assert (entry["before"], entry["after"]) == (
        {"state": "disputed", "reason": WHY},
        {"state": "open", "reason": None},
    )


@both
async def test_dismissed_it_is_waived_for_366_days_and_comes_back_by_itself(
    driver: TrackerDriver, world: World, runtime: Runtime, clock: Clock
) -> None:
    key = driver.add()
    await driver.sync()
    ids = driver.comment_ids(key)
    await dispute(runtime, key, WHY, clock())
    (found,) = (await world.send("GET", "/findings?state=disputed"))["items"]
    clock.advance(hours=1)
    path, reason = f"/findings/{found['id']}/dismiss", "No key result measures the office"
    dismissed = await world.send("POST", path, {"reason": reason})
    end = datetime(2027, 11, 18, tzinfo=UTC)
    assert dismissed == {
        **found,
        "state": "waived",
        "until": _z(end),
        "reason": reason,
        "by": "admin token",
        "changed_at": _z(clock()),
    }
    epic = await driver.epic(key)
    assert (epic["alignment"], epic["findings"]) == ("waived", [dismissed])
    await world.drain()
    words = [f"Waived until 2027-11-17: {reason}."]
    assert driver.comments(key) == words

    clock.now = end - timedelta(seconds=1)
    await sweep(runtime)
    await world.drain()
    assert driver.comments(key) == words
    clock.now = end
    await sweep(runtime)
    await world.drain()
    assert MISSING in driver.comments(key)[0]
    assert driver.comment_ids(key) == ids
    (again,) = (await driver.epic(key))["findings"]
    assert again == {**found, "state": "open", **dict.fromkeys(("until", "reason", "by", "changed_at"))}


@on_either("jira")
async def test_before_there_is_a_comment_none_is_made(
    driver: TrackerDriver, world: World, runtime: Runtime, clock: Clock
) -> None:
    await world.send("PATCH", "/policy", {"grace": "P5D"})
    key = driver.add()
    await driver.sync()
    await dispute(runtime, key, WHY, clock())
    for _ in range(2):
        clock.advance(days=30)
        await sweep(runtime)
        await driver.sync()
    notice = await driver.notice(key)
    assert (driver.comments(key), notice["state"], notice["reason"]) == ([], "held", "disputed")
    (found,) = (await world.send("GET", "/findings?state=disputed"))["items"]
    await world.send("POST", f"/findings/{found['id']}/uphold")
    await world.drain()
    assert MISSING in driver.comments(key)[0]


@on_either("github")
async def test_what_else_ends_it_and_what_is_refused(
    driver: TrackerDriver, world: World, runtime: Runtime, clock: Clock
) -> None:
    key = driver.add()
    await driver.sync()
    (found,) = (await driver.epic(key))["findings"]
    path = f"/findings/{found['id']}"
    bodies = {"uphold": None, "dismiss": {"reason": "No"}}
    for verb, body in bodies.items():
        problem = await world.send("POST", f"{path}/{verb}", body, expect=409)
        assert problem["detail"] == "The finding is open, not disputed; there is nothing to decide."
        await world.send("POST", f"/findings/{found['id'] + 1}/{verb}", body, expect=404)
    await dispute(runtime, key, WHY, clock())
    for wrong in ({}, {"reason": " "}, {"reason": "a\nb"}, {"reason": "x" * 501}):
        assert (await world.refused("POST", f"{path}/dismiss", wrong)).keys() == {"reason"}, wrong
    clock.advance(hours=1)
    assert await dispute(runtime, key, "Again", clock()) == "disputed"
    (still,) = (await driver.epic(key))["findings"]
    assert (still["reason"], still["changed_at"]) == (WHY, _z(NOON)), "it waits for an editor"

    waived = await world.send("POST", f"{path}/waive", {"reason": "Law", "until": "2026-12-31"})
    assert waived["state"] == "waived", "an editor may decide it so too"
    assert await dispute(runtime, key, "Again", clock()) == "waived"
    driver.describe(key, "Key-Result: KR-1")
    await driver.sync()
    assert driver.comments(key) == ["Aligned with KR-1 (Checkout conversion). Thank you."]
    (resolved,) = (await driver.epic(key))["findings"]
    assert (resolved["state"], resolved["reason"], resolved["by"]) == ("resolved", None, None)
    for verb, body in bodies.items():
        problem = await world.send("POST", f"{path}/{verb}", body, expect=409)
        assert "resolved" in problem["detail"]


@on_either("jira")
async def test_why_says_who_decides(
    driver: TrackerDriver, world: World, runtime: Runtime, clock: Clock
) -> None:
    key = driver.add()
    await driver.sync()
    await dispute(runtime, key, WHY, clock())
    why = {(reason["kind"], reason["name"]): reason["says"] for reason in (await driver.epic(key))["why"]}
    assert why["check", "no-key-result"] == (
        "No key result is linked. Disputed at 2026-11-16 12:00 UTC (It is an office move),"
        " found at 2026-11-16 12:00 UTC. An editor decides."
    )
    assert why["change", "dispute"].startswith("An editor decides the dispute: upheld,")
    (found,) = (await driver.epic(key))["findings"]
    await world.send("POST", f"/findings/{found['id']}/dismiss", {"reason": "Law"})
    why = {(reason["kind"], reason["name"]): reason["says"] for reason in (await driver.epic(key))["why"]}
    assert why["result", "waived"] == "Waived until 2027-11-18 00:00 UTC (Law)."
    assert ("change", "dispute") not in why
