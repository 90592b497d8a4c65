"""A change of goals has evaluated again what it affects, and only that, in runs that the answer names."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select

from app.runtime import Runtime
from mappings.tables import EpicRow, RunRow
from tests.support.clock import Clock
from tests.support.world import World


async def _evaluated_at(runtime: Runtime, moment: datetime) -> set[str]:
    """The keys of the epics that were last evaluated at this moment."""
    async with runtime.sessions() as session:
        return set(await session.scalars(select(EpicRow.key).where(EpicRow.evaluated_at == moment)))


async def _runs(runtime: Runtime) -> dict[str, str]:
    async with runtime.sessions() as session:
        return {str(run.id): run.mode for run in await session.scalars(select(RunRow))}


async def _three_epics(world: World) -> None:
    """SHOP-1 names KR-1 of O-1, SHOP-2 names KR-2 of O-2, SHOP-3 names KR-9, which is not there."""
    for number, key in ((1, "KR-1"), (2, "KR-2"), (3, "kr-9")):
        assert world.site.create("SHOP", f"Epic {number}", description=f"Key-Result: {key}")
    await world.goal("KR-1", "Alpha")
    await world.goal("KR-2", "Beta")
    await world.connect_jira()
    await world.sync("jira", "full")
    await world.drain()


def _cycle(**members: Any) -> dict[str, Any]:
    return {
        "key": "Q",
        "title": "Q",
        "starts": "2026-10-01",
        "ends": "2090-12-31",
        "review": "monthly",
        **members,
    }


CHANGES: list[tuple[str, str, Any, set[str]]] = [
    ("PATCH", "/objectives/O-1", {"title": "T", "description": "D", "owner": "ann", "weight": 2}, set()),
    ("PATCH", "/objectives/O-1", {"visibility": "public"}, {"SHOP-1"}),
    ("PATCH", "/objectives/O-1", {"visibility": "public"}, set()),
    ("PATCH", "/objectives/O-1", {"public_label": "Quality"}, {"SHOP-1"}),
    ("POST", "/cycles", _cycle(), set()),
    ("PATCH", "/objectives/O-1", {"cycle": "q"}, {"SHOP-1"}),
    ("PATCH", "/objectives/O-1", {"cycle": "Q"}, set()),
    ("PATCH", "/cycles/Q", {"title": "Quarter", "review": "quarterly"}, set()),
    ("PATCH", "/cycles/Q", {"ends": "2091-01-31"}, {"SHOP-1"}),
    ("PATCH", "/objectives/O-2", {"parent": "O-1"}, set()),
    ("PATCH", "/key-results/KR-1", {"title": "A", "metric": {"target": 3}, "due": "2026-12-31"}, set()),
    ("POST", "/key-results/KR-1/check-ins", {"value": 1, "confidence": 1}, set()),
    ("POST", "/key-results/KR-1/agreements", {"side": "it", "name": "Ann"}, set()),
    ("PATCH", "/key-results/KR-1", {"owner": "ann", "description": "D", "metric": {"target": 4}}, set()),
    ("PATCH", "/key-results/KR-1", {"state": "draft"}, {"SHOP-1"}),
    ("PATCH", "/key-results/KR-2", {"key": "KR-9"}, {"SHOP-2", "SHOP-3"}),
    ("POST", "/objectives/O-1/key-results", {"key": "kr-2", "title": "B"}, {"SHOP-2"}),
    ("POST", "/objectives/O-1/key-results", {"title": "C"}, set()),
    ("DELETE", "/key-results/KR-10", None, set()),
    ("PATCH", "/objectives/O-1", {"state": "archived"}, {"SHOP-1", "SHOP-2"}),
]


async def test_a_change_touches_what_it_bears_on_and_nothing_else(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    await _three_epics(world)
    for method, path, body, touched in CHANGES:
        clock.advance(minutes=1)
        before = await _runs(runtime)
        answer = await world.api.request(method, f"/api/v1{path}", json=body)
        assert answer.is_success, answer.text
        case = (method, path, body)
        assert await _evaluated_at(runtime, clock()) == set(), case
        opened = {id: mode for id, mode in (await _runs(runtime)).items() if id not in before}
        assert list(opened.values()) == (["evaluate"] if touched else []), case
        assert answer.headers.get("Northing-Runs") == (next(iter(opened)) if touched else None), case
        await world.drain()
        assert await _evaluated_at(runtime, clock()) == touched, case


async def test_a_closed_key_result_aligns_no_longer_and_a_reopened_one_again(world: World) -> None:
    await _three_epics(world)
    assert [(await world.epic("jira", f"SHOP-{n}"))["alignment"] for n in (1, 2)] == ["aligned", "aligned"]
    for path, body, alignment in (
        ("/key-results/KR-1", {"state": "missed"}, "unaligned"),
        ("/key-results/KR-1", {"state": None}, "aligned"),
        ("/objectives/O-1", {"state": "achieved"}, "unaligned"),
    ):
        answer = await world.api.patch(f"/api/v1{path}", json=body)
        await world.drain()
        (run,) = answer.headers["Northing-Runs"].split(",")
        assert (await world.send("GET", f"/runs/{run}"))["state"] == "succeeded"
        assert (await world.epic("jira", "SHOP-1"))["alignment"] == alignment
    assert (await world.epic("jira", "SHOP-2"))["alignment"] == "aligned"


async def test_a_cycle_set_to_end_in_the_past_closes_its_goals(world: World, clock: Clock) -> None:
    await _three_epics(world)
    today = clock.now.date()
    ends = {"starts": str(today - timedelta(days=9)), "ends": str(today)}
    await world.send("POST", "/cycles", _cycle(**ends))
    await world.send("PATCH", "/objectives/O-1", {"cycle": "Q"})
    await world.drain()
    assert (await world.epic("jira", "SHOP-1"))["alignment"] == "aligned"
    await world.send("PATCH", "/cycles/Q", {"ends": str(today - timedelta(days=1))})
    await world.drain()
    assert (await world.epic("jira", "SHOP-1"))["alignment"] == "unaligned"


async def test_links_are_counted_and_keep_their_key_result(world: World) -> None:
    await _three_epics(world)
    assert (await world.send("GET", "/key-results/KR-1"))["links"] == 1
    problem = await world.send("DELETE", "/key-results/KR-1", expect=409)
    assert "1 link of epics. " in problem["detail"]
    world.site.delete("SHOP-1")
    await world.sync("jira", "full")
    assert (await world.send("GET", "/key-results/KR-1"))["links"] == 0
    problem = await world.send("DELETE", "/key-results/KR-1", expect=409)
    assert "1 link of epics, 1 of them in no list now. " in problem["detail"]
