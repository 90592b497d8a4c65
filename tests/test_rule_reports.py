"""How many epics a rule links, when it last did, and which rules have linked none for a cycle."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from app.jobs.sweep import sweep
from app.runtime import Runtime
from mappings.rules.reports import DEFAULT_CYCLE, cycle_length
from mappings.tables import CycleRow, RuleRow
from tests.support.clock import Clock
from tests.support.queries import all_of
from tests.support.world import World

pytestmark = pytest.mark.database

RULE: dict[str, Any] = {"name": "Growth", "when": {"label": "growth"}, "key_result": "KR-1"}
NOW = datetime(2026, 11, 16, 12, tzinfo=UTC)


async def _synced(world: World) -> None:
    world.site.create("SHOP", "An epic", labels=["growth"])
    world.site.create("SHOP", "Another", labels=["infra"])
    await world.goal("KR-1")
    await world.connect_jira()
    await world.sync("jira", "full")


async def _rule(world: World, **members: Any) -> Any:
    made = await world.send("POST", "/rules", {**RULE, **members})
    await world.drain()
    return made


def _at(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


async def _unmatched(world: World, of: str = "true") -> list[str]:
    return [rule["name"] for rule in (await world.send("GET", f"/rules?unmatched={of}"))["items"]]


async def test_a_rule_says_how_many_epics_it_links_and_since_when_none(
    world: World, clock: Clock, runtime: Runtime
) -> None:
    await _synced(world)
    made = await _rule(world, when={"label": ["growth", "infra"]})
    path = f"/rules/{made['id']}"
    assert (made["matches"], made["unmatched_since"]) == (0, _at(clock.now))
    linking = await world.send("GET", path)
    assert (linking["matches"], linking["last_matched_at"], linking["unmatched_since"]) == (
        2,
        _at(clock.now),
        None,
    )
    await sweep(runtime)
    seen = clock.now
    clock.advance(hours=1)
    world.site.edit("SHOP-1", labels=[])
    world.site.edit("SHOP-2", labels=[])
    await world.sync("jira")
    await sweep(runtime)
    (listed,) = (await world.send("GET", "/rules"))["items"]
    assert (listed["matches"], listed["last_matched_at"], listed["unmatched_since"]) == (
        0,
        _at(seen),
        _at(seen),
    )
    disabled = await world.send("PATCH", path, {"enabled": False})
    assert disabled["unmatched_since"] is None
    enabled = await world.send("PATCH", path, {"enabled": True})
    assert enabled["unmatched_since"] == _at(clock.now), "it counts from its last change"
    clock.advance(hours=1)
    assert (await world.send("PATCH", path, {}))["unmatched_since"] == _at(clock.now - timedelta(hours=1))


async def test_what_epics_inherit_and_what_is_gone_is_no_match(
    world: World, clock: Clock, runtime: Runtime
) -> None:
    await _synced(world)
    world.site.edit("SHOP-2", parent=world.site.issue("SHOP-1"))
    await world.sync("jira")
    made = await _rule(world)
    below = await world.epic("jira", "SHOP-2")
    assert [link["origin"] for link in below["links"]] == ["inherited"]
    assert (await world.send("GET", f"/rules/{made['id']}"))["matches"] == 1
    world.site.delete("SHOP-1")
    await world.sync("jira", "full")
    gone = await world.send("GET", f"/rules/{made['id']}")
    assert (gone["matches"], gone["unmatched_since"]) == (0, _at(clock.now))
    clock.advance(days=100)
    await sweep(runtime)
    assert await _unmatched(world) == ["Growth"]
    assert (await world.send("GET", f"/rules/{made['id']}"))["last_matched_at"] is None


async def test_a_rule_that_matched_nothing_for_a_cycle_is_reported(
    world: World, clock: Clock, runtime: Runtime
) -> None:
    await _synced(world)
    today = clock.now.date()
    month = {"key": "M", "title": "M", "review": "monthly", "starts": str(today)}
    await world.send("POST", "/cycles", {**month, "ends": str(today + timedelta(days=29))})
    await world.goal("KR-2", cycle="M")
    await _rule(world)
    await _rule(world, name="Short", when={"label": "nope"}, key_result="KR-2")
    await _rule(world, name="Off", when={"label": "nope"}, enabled=False)
    clock.advance(days=29, hours=23)
    assert await _unmatched(world) == []
    clock.advance(hours=1)
    assert await _unmatched(world) == ["Short"]
    assert await _unmatched(world, "false") == ["Growth", "Off"]
    (short,) = (await world.send("GET", "/rules?unmatched=true"))["items"]
    since = short["unmatched_since"][:10]
    assert short["warnings"] == [
        {
            "field": "when",
            "message": f"has linked no epic for a cycle, since {since}; change or delete it",
        }
    ]
    await world.send("PATCH", f"/rules/{short['id']}", {"when": {"label": "infra"}})
    assert await _unmatched(world) == [], "a change counts"


async def test_a_match_is_recorded_once_a_day(world: World, clock: Clock, runtime: Runtime) -> None:
    await _synced(world)
    await _rule(world)
    await _rule(world, name="None", when={"label": "nope"})
    stamps = "SELECT name, last_matched_at, xmin::text FROM rules ORDER BY id"
    await sweep(runtime)
    first = await all_of(runtime, stamps)
    assert [(name, at) for name, at, _ in first] == [("Growth", clock.now), ("None", None)]
    clock.advance(hours=23)
    await sweep(runtime)
    assert await all_of(runtime, stamps) == first, "the row is left alone"
    clock.advance(hours=1)
    await sweep(runtime)
    assert [at for _, at, _ in await all_of(runtime, stamps)] == [clock.now, None]


async def test_a_rule_that_somebody_changes_keeps_no_sweep_waiting(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    await _synced(world)
    await _rule(world)
    async with runtime.sessions.begin() as session:
        await session.get(RuleRow, 1, with_for_update=True)
        await sweep(runtime)
    assert await all_of(runtime, "SELECT last_matched_at FROM rules") == [(None,)]
    await sweep(runtime)
    assert await all_of(runtime, "SELECT last_matched_at FROM rules") == [(clock.now,)]


LENGTHS: list[tuple[list[tuple[str, str]], timedelta]] = [
    ([], DEFAULT_CYCLE),
    ([("2026-10-01", "2026-12-31")], timedelta(days=92)),
    ([("2026-01-01", "2026-12-31"), ("2026-11-16", "2026-11-16")], timedelta(days=1)),
    (
        [("2026-01-01", "2026-03-31"), ("2026-04-01", "2026-04-30"), ("2027-01-01", "2027-12-31")],
        timedelta(30),
    ),
    ([("2027-01-01", "2027-01-31"), ("2028-01-01", "2028-12-31")], timedelta(days=31)),
]


@pytest.mark.parametrize(("cycles", "length"), LENGTHS)
async def test_a_cycle_is_as_long_as_the_one_under_way(
    runtime: Runtime, cycles: list[tuple[str, str]], length: timedelta
) -> None:
    async with runtime.sessions.begin() as session:
        session.add_all(
            CycleRow(
                key=starts,
                title=starts,
                starts=date.fromisoformat(starts),
                ends=date.fromisoformat(ends),
                review="monthly",
            )
            for starts, ends in cycles
        )
    async with runtime.sessions() as session:
        assert await cycle_length(session, NOW) == length
