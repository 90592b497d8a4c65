"""New epics that a page evaluates, and what may come between: changes, other readers, errors, crashes."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from sqlalchemy import select, text

from app import pipeline
from app.runtime import Runtime
from connectors.base import Parent
from connectors.sandbox import faults
from mappings.checks.check import Check, EpicFacts
from mappings.checks.registry import CHECKS
from mappings.epics.upsert import upsert_epics
from mappings.leases import LEASE
from mappings.locks import LOCK_GOALS
from mappings.sources.projects import record_project_read
from mappings.tables import SourceRow
from tests.support.clock import Clock, later
from tests.support.locks import holding
from tests.support.new_epics import connected, evaluated, number, reading
from tests.support.queries import all_of, versions
from tests.support.tracker_drivers import JiraDriver
from tests.support.world import World

pytestmark = pytest.mark.database

LATE = {"name": "Late", "when": {"title": "(?i)late"}, "key_result": "KR-1"}


async def _source(runtime: Runtime) -> SourceRow:
    async with runtime.sessions() as session:
        return (await session.scalars(select(SourceRow).order_by(SourceRow.id))).all()[0]


async def _due(runtime: Runtime) -> list[str]:
    return [
        key for (key,) in await all_of(runtime, "SELECT key FROM epics WHERE evaluated_at IS NULL ORDER BY 1")
    ]


@pytest.mark.parametrize("waits", [False, True])
async def test_a_page_waits_for_nobody_who_changes_goals(
    world: World, runtime: Runtime, database_url: str, waits: bool
) -> None:
    """Nor for a person who still waits to change them, behind whom it would wait too."""
    await connected(world)
    run = await reading(runtime)
    async with holding(database_url) as holder, holding(database_url) as person:
        changing = None
        if waits:
            await holder.hold("SELECT pg_advisory_xact_lock_shared(%s)", LOCK_GOALS)
            changing = asyncio.create_task(person.hold("SELECT pg_advisory_xact_lock(%s)", LOCK_GOALS))
            await holder.until_waiting(1, for_="advisory")
        else:
            await holder.hold("SELECT pg_advisory_xact_lock(%s)", LOCK_GOALS)
        async with asyncio.timeout(30):
            await run.page(number(1), number(2, "Checkout"))
        assert await _due(runtime) == ["SHOP-1", "SHOP-2"]
        await holder.let_go()
        if changing is not None:
            await changing
    await run.page(number(3))
    assert await evaluated(runtime) == ["SHOP-3"]
    await run.end()
    assert await _due(runtime) == []
    assert await all_of(runtime, "SELECT key FROM epics WHERE alignment = 'aligned'") == [("SHOP-2",)]


@pytest.mark.parametrize("minutes", [-1, 0, 1])
async def test_another_transaction_stores_the_ticket_after_the_look(
    world: World, runtime: Runtime, database_url: str, clock: Clock, minutes: int
) -> None:
    """The page has evaluated it under an id that comes to nothing; the row there is evaluated later."""
    await connected(world)
    run, source = await reading(runtime), await _source(runtime)
    other = number(1, "Checkout of another", updated_at=clock.now + timedelta(minutes=minutes))
    async with holding(database_url) as holder:
        async with runtime.sessions.begin() as session:
            await upsert_epics(session, source.id, source.tracker, [other], (), clock.now)
            page = asyncio.create_task(
                run.page(number(1, "Checkout", updated_at=clock.now), number(2, "Checkout"))
            )
            await holder.until_waiting(1)
        await page
    assert await all_of(runtime, "SELECT FROM unreadable_tickets") == []
    assert await evaluated(runtime) == ["SHOP-2"]
    assert await _due(runtime) == ["SHOP-1"]
    assert await all_of(runtime, "SELECT key FROM links JOIN epics ON epics.id = epic_id") == [("SHOP-2",)]
    await run.end()
    assert await _due(runtime) == []
    shown = [("SHOP-1", "Checkout of another" if minutes > 0 else "Checkout", "aligned")]
    found = "SELECT key, title, alignment FROM epics WHERE key = 'SHOP-1'"
    assert await all_of(runtime, found) == shown


async def test_a_project_that_is_just_marked_as_read_leaves_its_epics_due(
    world: World, runtime: Runtime, database_url: str, clock: Clock
) -> None:
    await connected(world, "live")
    run, source = await reading(runtime), await _source(runtime)
    async with holding(database_url) as holder:
        async with runtime.sessions.begin() as session:
            await record_project_read(session, source.id, "SHOP", clock.now, fully_synced=True, problem=None)
            page = asyncio.create_task(run.page(number(1), number(2, "Checkout")))
            await holder.until_waiting(1)  # to advance the project's cursor
        await page
    assert await _due(runtime) == ["SHOP-1", "SHOP-2"]
    await run.end()
    assert await _due(runtime) == []


async def test_a_project_is_marked_as_read_while_its_page_is_stored(
    world: World, runtime: Runtime, database_url: str, clock: Clock
) -> None:
    """The page has shared the project, and takes more of it while the other waits for all of it."""
    await connected(world)
    run, source = await reading(runtime), await _source(runtime)

    async def mark() -> None:
        async with runtime.sessions.begin() as session:
            await record_project_read(session, source.id, "SHOP", clock.now, fully_synced=True, problem=None)

    async with holding(database_url) as holder:
        async with runtime.sessions.begin() as session:
            await upsert_epics(session, source.id, source.tracker, [number(1)], (), clock.now)
            page = asyncio.create_task(run.page(number(1), number(2)))
            await holder.until_waiting(1)
            marking = asyncio.create_task(mark())
            await holder.until_waiting(2)
        await asyncio.gather(page, marking)
    assert await evaluated(runtime) == ["SHOP-2"]
    await run.end()
    assert await _due(runtime) == []


async def test_a_rule_that_is_added_between_two_pages_counts_for_both(world: World, runtime: Runtime) -> None:
    await connected(world)
    run = await reading(runtime)
    await run.page(number(1, "Late"), number(2, "Another"), number(3, "Late below", parent=Parent("SHOP-1")))
    await world.send("POST", "/rules", LATE)
    await run.page(number(4, "Late"), number(5, "Another"))
    aligned = "SELECT key FROM epics WHERE alignment = 'aligned' ORDER BY 1"
    assert await all_of(runtime, aligned) == [("SHOP-4",)]
    await run.end()
    await world.drain()
    assert await all_of(runtime, aligned) == [("SHOP-1",), ("SHOP-3",), ("SHOP-4",)]
    assert await all_of(runtime, "SELECT key FROM epics WHERE evaluate_at IS NOT NULL") == []


@pytest.mark.parametrize(
    ("mode", "then", "notices"),
    [
        ("off", "shadow", [("shadow",)] * 2),
        ("shadow", "live", [("held",)] * 2),
        ("live", "shadow", [("shadow",)] * 2),
        ("shadow", "off", [("shadow",)]),
    ],
)
async def test_the_mode_is_changed_between_two_pages(
    world: World, runtime: Runtime, mode: str, then: str, notices: list[tuple[str]]
) -> None:
    await connected(world, mode)
    await world.send("PATCH", "/policy", {"grace": "P5D"})
    run = await reading(runtime)
    await run.page(number(1))
    await world.send("PATCH", "/sources/jira", {"notices": {"mode": then}})
    await run.page(number(2))
    assert await evaluated(runtime) == ["SHOP-1", "SHOP-2"]
    await run.end()
    await world.drain()
    assert await all_of(runtime, "SELECT state FROM notices") == notices


def _failing(error: Exception) -> Check[EpicFacts]:
    def find(facts: EpicFacts, now: datetime) -> str | None:
        raise error

    return Check(name="fails", about="epic", find=find)


@pytest.mark.parametrize(
    "error",
    [ValueError("a"), OverflowError("b"), RecursionError("c"), AttributeError("d"), RuntimeError("e")],
)
async def test_an_evaluation_that_fails_fails_its_run_and_no_ticket(
    world: World, runtime: Runtime, error: Exception
) -> None:
    await world.goal()
    await JiraDriver(world).connect("shadow")
    for of in range(3):
        world.site.create("SHOP", f"Epic {of}")
    asked = await world.send("POST", "/sources/jira/sync", {"mode": "full"})
    await pipeline.execute_run(replace(runtime, checks=(*CHECKS, _failing(error))), asked["id"])
    run = await world.send("GET", f"/runs/{asked['id']}")
    assert (run["state"], run["seen"], run["created"], run["skipped"]) == ("failed", 3, 3, 0)
    assert await all_of(runtime, "SELECT FROM unreadable_tickets") == []
    assert await evaluated(runtime) == []
    assert (await world.sync("jira"))["state"] == "succeeded"
    assert len(await evaluated(runtime)) == 3


async def test_goals_that_cannot_be_read_make_no_ticket_unreadable(world: World, runtime: Runtime) -> None:
    await connected(world)
    run = await reading(runtime)
    stored = 'UPDATE installation SET policy = \'{"grace": "never"}\''
    async with runtime.sessions.begin() as session:
        await session.execute(text(stored))
    await run.page(number(1), number(2))
    assert await all_of(runtime, "SELECT FROM unreadable_tickets") == []
    assert await _due(runtime) == ["SHOP-1", "SHOP-2"]
    with pytest.raises(ValueError, match="grace"):
        await run.end()


async def test_two_sources_read_the_same_tickets_at_once(world: World, runtime: Runtime) -> None:
    await connected(world)
    await world.connect_jira("newer", notices={"mode": "shadow"}, scope={"projects": ["SHOP"]})
    await world.sync("newer", "full")
    runs = [await reading(runtime, "newer"), await reading(runtime)]
    for first in range(0, 60, 10):
        epics = [number(of, "Checkout" if of % 2 else "Another") for of in range(first, first + 10)]
        await asyncio.gather(runs[0].page(*epics), runs[1].page(*reversed(epics)))
    await asyncio.gather(*(run.end() for run in runs))
    await world.drain()
    held = "SELECT name, alignment, count(*) FROM epics JOIN sources ON sources.id = source_id GROUP BY 1, 2"
    assert sorted(await all_of(runtime, held)) == [("jira", "aligned", 30), ("jira", "unaligned", 30)]
    assert await all_of(runtime, "SELECT FROM unreadable_tickets") == []
    assert await _due(runtime) == []
    for table, count in (("links", 30), ("findings", 30), ("notices", 30)):
        assert len(await all_of(runtime, f"SELECT FROM {table}")) == count, table


async def test_a_run_that_is_killed_between_two_pages_goes_on(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    await world.goal()
    keys = [world.site.create("SHOP", f"Epic {of}", labels=["kr:KR-1"]).key for of in range(4)]
    await JiraDriver(world).connect("shadow")
    world.site.page_cap = 2
    world.jira.faults.add("POST */search/jql", faults.hang(), times=None, skip=1)
    asked = await world.send("POST", "/sources/jira/sync", {"mode": "full"})
    killed = asyncio.create_task(pipeline.execute_run(runtime, asked["id"]))
    async with asyncio.timeout(30):
        while not (before := await versions(runtime)):
            await asyncio.sleep(0)
    killed.cancel()
    await asyncio.gather(killed, return_exceptions=True)
    assert sorted(await evaluated(runtime)) == sorted(before) == sorted(keys[:2])
    world.jira.faults.clear()
    await later(world, runtime, clock, seconds=LEASE.total_seconds())
    run = await world.send("GET", f"/runs/{asked['id']}")
    assert (run["state"], run["created"]) == ("succeeded", 4)
    assert await evaluated(runtime) == keys
    after = await versions(runtime)
    assert {key: after[key] for key in before} == before
