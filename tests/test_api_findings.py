"""Findings through the API: waived, snoozed, reopened by a person, and evaluated before the answer."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.support.clock import Clock
from tests.support.world import World

UNTIL = "2027-03-31"


@pytest.fixture
def clock() -> Clock:
    return Clock(datetime(2026, 11, 16, 12, tzinfo=UTC))


async def _finding(world: World, **members: Any) -> Any:
    """The finding of SHOP-1, which nobody has linked."""
    world.site.create("SHOP", "An epic")
    await world.goal("KR-1")
    await world.connect_jira(**members)
    await world.sync("jira")
    (found,) = (await world.send("GET", "/findings"))["items"]
    return found


async def test_a_finding_says_what_and_since_when(world: World, clock: Clock) -> None:
    found = await _finding(world)
    assert found == {
        "id": found["id"],
        "check": "no-key-result",
        "state": "open",
        "severity": "warning",
        "epic": {"source": "jira", "key": "SHOP-1"},
        "goal": None,
        "source": None,
        "detail": "No key result is linked.",
        "opened_at": clock().isoformat().replace("+00:00", "Z"),
        "resolved_at": None,
        "until": None,
        "reason": None,
        "by": None,
        "changed_at": None,
    }
    assert (await world.epic("jira", "SHOP-1"))["findings"] == [found]


async def test_a_waiver_holds_until_the_end_of_its_day(world: World, clock: Clock) -> None:
    found = await _finding(world)
    path = f"/findings/{found['id']}/waive"
    waived = await world.send("POST", path, {"reason": "Agreed with the committee", "until": UNTIL})
    assert waived == {
        **found,
        "state": "waived",
        "until": "2027-04-01T00:00:00Z",
        "reason": "Agreed with the committee",
        "by": "admin token",
        "changed_at": clock().isoformat().replace("+00:00", "Z"),
    }
    epic = await world.epic("jira", "SHOP-1")
    assert (epic["alignment"], epic["findings"], epic["notice"]) == ("waived", [waived], None)

    clock.now = datetime(2027, 3, 31, 23, 59, tzinfo=UTC)
    await world.sync("jira")
    assert (await world.epic("jira", "SHOP-1"))["alignment"] == "waived"
    clock.advance(minutes=1)
    await world.sync("jira")
    epic = await world.epic("jira", "SHOP-1")
    assert (epic["alignment"], epic["findings"]) == ("unaligned", [found])


async def test_a_snooze_silences_and_leaves_the_alignment(world: World) -> None:
    found = await _finding(world, notices={"mode": "live"})
    await world.send("POST", f"/findings/{found['id']}/snooze", {"until": "2026-11-20T09:00:00+01:00"})
    epic = await world.epic("jira", "SHOP-1")
    assert (epic["alignment"], epic["notice"]) == ("unaligned", None)
    assert (epic["findings"][0]["state"], epic["findings"][0]["until"]) == ("snoozed", "2026-11-20T08:00:00Z")
    reopened = await world.send("POST", f"/findings/{found['id']}/reopen")
    assert reopened == found
    assert (await world.epic("jira", "SHOP-1"))["notice"]["state"] == "held"


async def test_one_word_takes_the_place_of_another(world: World) -> None:
    found = await _finding(world)
    path = f"/findings/{found['id']}"
    await world.send("POST", f"{path}/waive", {"reason": "First", "until": UNTIL})
    snoozed = await world.send("POST", f"{path}/snooze", {"until": UNTIL, "reason": "Later"})
    assert (snoozed["state"], snoozed["reason"]) == ("snoozed", "Later")
    waived = await world.send("POST", f"{path}/waive", {"reason": "Second", "until": "2026-12-31"})
    assert (waived["state"], waived["reason"], waived["until"]) == (
        "waived",
        "Second",
        "2027-01-01T00:00:00Z",
    )


# From now to 366 days ahead, and what they mean: a day ends with its last moment.
ENDS = [
    ("2026-11-16", "2026-11-17T00:00:00Z"),
    ("2026-11-16T12:00:01Z", "2026-11-16T12:00:01Z"),
    ("2027-11-17", "2027-11-18T00:00:00Z"),
    ("2027-11-17T12:00:00Z", "2027-11-17T12:00:00Z"),
]
WRONG: list[tuple[str, dict[str, Any], str, str]] = [
    ("waive", {"until": UNTIL}, "reason", "required"),
    ("waive", {"until": UNTIL, "reason": " "}, "reason", "at least 1"),
    ("waive", {"until": UNTIL, "reason": "x" * 501}, "reason", "at most 500"),
    ("waive", {"until": UNTIL, "reason": "a\0b"}, "reason", "U+0000"),
    ("waive", {"until": UNTIL, "reason": "a\nb"}, "reason", "must be one line"),
    ("snooze", {"until": UNTIL, "reason": "a\nb"}, "reason", "must be one line"),
    ("waive", {"reason": "Agreed"}, "until", "required"),
    ("snooze", {}, "until", "required"),
    ("snooze", {"until": None}, "until", "string"),
    ("snooze", {"until": "2026-11-15"}, "until", "is past"),
    ("snooze", {"until": "2026-11-16T12:00:00Z"}, "until", "is past"),
    ("snooze", {"until": "2027-11-18"}, "until", "more than 366 days ahead"),
    ("snooze", {"until": "2027-11-17T12:00:01Z"}, "until", "more than 366 days ahead"),
    ("snooze", {"until": "2026-11-31"}, "until", "must be a date"),
    ("snooze", {"until": "tomorrow"}, "until", "must be a date"),
    ("snooze", {"until": "2026-12-01T12:00:00"}, "until", "must be a date such as"),
    ("snooze", {"until": UNTIL, "state": "waived"}, "state", "is not known here"),
]


async def test_wrong_words_name_the_field_and_change_nothing_and_right_ones_are_taken(world: World) -> None:
    found = await _finding(world)
    for verb, body, field, message in WRONG:
        errors = await world.refused("POST", f"/findings/{found['id']}/{verb}", body)
        assert errors.keys() == {field}, (body, errors)
        assert message in errors[field], (body, errors)
    assert (await world.send("GET", "/findings"))["items"] == [found]
    for until, shown in ENDS:
        snoozed = await world.send("POST", f"/findings/{found['id']}/snooze", {"until": until})
        assert snoozed["until"] == shown


async def test_a_resolved_finding_is_left_alone(world: World, clock: Clock) -> None:
    found = await _finding(world)
    clock.advance(hours=1)
    resolved_at = clock().isoformat().replace("+00:00", "Z")
    await world.send("POST", "/links", {"epic": found["epic"], "key_result": "KR-1"})
    clock.advance(hours=1)
    await world.send("PATCH", "/policy", {"grace": "P1D"})  # evaluates the epic again
    await world.drain()
    bodies = {"waive": {"reason": "Agreed", "until": UNTIL}, "snooze": {"until": UNTIL}, "reopen": None}
    for verb, body in bodies.items():
        problem = await world.send("POST", f"/findings/{found['id']}/{verb}", body, expect=409)
        assert "resolved" in problem["detail"]
        await world.refused("POST", f"/findings/{found['id'] + 1}/{verb}", body, status=404)
    (after,) = (await world.send("GET", "/findings"))["items"]
    assert (after["state"], after["until"], after["reason"]) == ("resolved", None, None)
    assert after["resolved_at"] == resolved_at


async def test_a_gap_that_returns_reopens_the_same_finding(world: World, clock: Clock) -> None:
    found = await _finding(world)
    made = await world.send("POST", "/links", {"epic": found["epic"], "key_result": "KR-1"})
    clock.advance(hours=1)
    await world.send("DELETE", f"/links/{made['id']}")
    (again,) = (await world.send("GET", "/findings"))["items"]
    moment = clock().isoformat().replace("+00:00", "Z")
    assert again == {**found, "opened_at": moment}


async def test_a_word_during_a_run_is_not_undone_by_it(world: World, clock: Clock) -> None:
    found = await _finding(world)
    clock.advance(minutes=1)
    world.site.edit("SHOP-1", summary="Renamed")
    reading, waived = asyncio.Event(), asyncio.Event()

    async def wait(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        reading.set()
        await waived.wait()
        await app(scope, receive, send)

    world.jira.faults.add("POST */search/jql", wait)
    syncing = asyncio.create_task(world.sync("jira"))
    await reading.wait()
    await world.send("POST", f"/findings/{found['id']}/waive", {"reason": "Agreed", "until": UNTIL})
    waived.set()
    run = await syncing
    assert (run["state"], run["updated"]) == ("succeeded", 1)
    assert (await world.epic("jira", "SHOP-1"))["alignment"] == "waived"


async def test_lists_hold_what_fits_all_filters(world: World) -> None:
    first = await _finding(world)
    world.site.create("SHOP", "Another", description="Key-Result: KR-2")
    await world.goal("KR-2")
    await world.send("PATCH", "/key-results/KR-2", {"state": "missed"})
    await world.sync("jira")
    await world.send("POST", f"/findings/{first['id']}/snooze", {"until": UNTIL})
    for query, keys in (
        ("", ["SHOP-1", "SHOP-2"]),
        ("check=no-key-result", ["SHOP-1"]),
        ("check=closed-goal", ["SHOP-2"]),
        ("state=snoozed", ["SHOP-1"]),
        ("state=open&source=JIRA", ["SHOP-2"]),
        ("state=waived", []),
    ):
        page = await world.send("GET", f"/findings?{query}")
        assert [one["epic"]["key"] for one in page["items"]] == keys, query
    page = await world.send("GET", "/findings?limit=1")
    rest = await world.send("GET", f"/findings?limit=1&cursor={page['next']}")
    assert [one["epic"]["key"] for one in page["items"] + rest["items"]] == ["SHOP-1", "SHOP-2"]
