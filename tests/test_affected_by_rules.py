"""Which epics the change of a rule has evaluated again, and what is read to find them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event, select

from app import pipeline
from app.runtime import Runtime
from mappings.evaluation.affected import MOST_PREFILTERED, load_affected
from mappings.runs.causes import Cause
from mappings.runs.queue import claim_run, release_runs
from mappings.tables import EpicRow, SourceRow
from tests.support.clock import Clock
from tests.support.queries import all_of
from tests.support.world import World

pytestmark = pytest.mark.database

LINKS = """
    SELECT epics.key, rules.name FROM links JOIN epics ON epics.id = epic_id JOIN rules ON rules.id = rule_id
    ORDER BY epics.id
"""


async def _shop(world: World) -> None:
    """SHOP-1 and SHOP-2 have the label `growth`, SHOP-3 has another one."""
    for title, label in (("Checkout", "growth"), ("Basket", "Growth"), ("Refunds", "cost")):
        world.site.create("SHOP", title, labels=[label])
    await world.goal("KR-1")
    await world.connect_jira()
    await world.sync("jira", "full")


async def _rule(world: World, name: str, priority: int, when: Any = None) -> int:
    body = {"name": name, "when": when or {"label": ["growth"]}, "key_result": "KR-1", "priority": priority}
    rule: dict[str, Any] = await world.send("POST", "/rules", body)
    return int(rule["id"])


async def _change(world: World, clock: Clock, rule: int, **members: Any) -> None:
    clock.advance(minutes=1)
    await world.send("PATCH", f"/rules/{rule}", members)


async def _evaluated(runtime: Runtime, clock: Clock) -> list[str]:
    at = f"SELECT key FROM epics WHERE evaluated_at = '{clock().isoformat()}' ORDER BY id"
    return [key for (key,) in await all_of(runtime, at)]


@contextmanager
def _asked(runtime: Runtime) -> Iterator[list[int]]:
    """How many rows each look for epics that rules match reads while the block runs."""
    asked: list[int] = []

    def note(_connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if "epics.fields" in statement and "epics.url" not in statement:
            asked.append(cursor.rowcount)

    event.listen(runtime.engine.sync_engine, "after_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(runtime.engine.sync_engine, "after_cursor_execute", note)


async def test_a_rule_that_is_asked_nowhere_evaluates_nothing(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    await _shop(world)
    await _rule(world, "First", 1)
    later = await _rule(world, "Later", 5)
    await world.drain()
    await _change(world, clock, later, priority=7)
    await world.drain()
    assert await _evaluated(runtime, clock) == []
    await _change(world, clock, later, priority=0)
    await world.drain()
    assert await _evaluated(runtime, clock) == ["SHOP-1", "SHOP-2"]
    assert await all_of(runtime, LINKS) == [("SHOP-1", "Later"), ("SHOP-2", "Later")]
    await _change(world, clock, later, when={"label": ["cost"]})
    await world.drain()
    assert await _evaluated(runtime, clock) == ["SHOP-1", "SHOP-2", "SHOP-3"]
    expected = [("SHOP-1", "First"), ("SHOP-2", "First"), ("SHOP-3", "Later")]
    assert await all_of(runtime, LINKS) == expected


async def test_a_new_rule_before_it_leaves_no_epic_without_a_link(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    """The first that matches is as new, and its own run comes later, when it matches nothing any more."""
    await _shop(world)
    await _rule(world, "One", 5)
    (run,) = (await all_of(runtime, "SELECT id FROM runs WHERE state = 'queued'"))[0]
    async with runtime.sessions.begin() as session:
        assert await claim_run(session, run, "another", await runtime.now(session)) is not None
    before = await _rule(world, "Before it", 1)
    async with runtime.sessions() as session:
        source = (await session.scalars(select(SourceRow))).one()
        pages = await load_affected(session, source, [Cause("rule", "1")])
        found, following = await pages.page(session, 0)
        growth = await session.scalars(select(EpicRow.id).where(EpicRow.title != "Refunds"))
        assert (found, following) == (sorted(growth), None)
    await _change(world, clock, before, when={"label": ["nowhere"]})
    async with runtime.sessions.begin() as session:
        await release_runs(session, "another")
    await pipeline.execute_run(runtime, run)
    await world.drain()
    assert await all_of(runtime, LINKS) == [("SHOP-1", "One"), ("SHOP-2", "One")]


async def test_the_database_leaves_out_what_a_rule_cannot_match(world: World, runtime: Runtime) -> None:
    await _shop(world)
    with _asked(runtime) as asked:
        await _rule(world, "Words", 1)
        await world.drain()
        await _rule(world, "Title too", 1, {"all": [{"label": ["cost"]}, {"title": "Refund"}]})
        await world.drain()
        await _rule(world, "Title alone", 1, {"title": "Refund"})
        await world.drain()
        for number in range(MOST_PREFILTERED + 1):
            await _rule(world, f"Many {number}", 1)
        await world.drain()
    assert asked == [2, 1, 3, 3]
