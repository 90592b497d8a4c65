"""Pages: short, empty, contradicting themselves, out of order; one transaction and few statements each."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event

from app.runtime import Runtime
from connectors import base
from connectors.sandbox import faults
from mappings.epics.upsert import UpsertResult, compare_epics, store_compared, upsert_epics
from mappings.tables import SourceRow
from tests.support.locks import holding
from tests.support.runs import counts
from tests.support.tracker_requests import listings, searches
from tests.support.world import OFF, World

SHOP = {"projects": ["SHOP"]}
START = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)


async def _five(world: World) -> None:
    for number in range(5):
        world.site.create("SHOP", f"Epic {number}", created=START + timedelta(hours=number))
    await world.connect_jira(notices=OFF, scope=SHOP)


async def test_only_a_missing_token_is_the_end(world: World) -> None:
    await _five(world)
    assert counts(await world.sync("jira")) == (5, 5, 0, 0, 0)
    traps = {
        "one short page": (faults.page_size(1), 1),
        "an empty page with a token": (faults.page_size(0), 1),
        "short pages all along": (faults.page_size(2), None),
        "says last though it is not": (faults.is_last(True), None),
        "never says last": (faults.is_last(False), None),
    }
    world.site.page_cap = 3
    for trap, (action, times) in traps.items():
        fault = world.jira.faults.add("POST */search/jql", action, times=times)
        run = await world.sync("jira", "full")
        world.jira.faults.clear()
        assert fault.struck, trap
        assert (run["state"], counts(run)) == ("succeeded", (5, 0, 0, 0, 0)), trap


async def test_a_short_page_of_github_is_not_the_last(world: World) -> None:
    for number in range(5):
        world.host.create("acme/shop", f"Epic {number}", labels=["epic"])
    await world.connect_github(notices=OFF, scope={"repositories": ["acme/shop"]})
    world.github.faults.add("GET */issues", faults.page_size(2), times=None)
    run = await world.sync("github")
    assert (run["state"], counts(run), len(listings(world.github))) == ("succeeded", (5, 5, 0, 0, 0), 3)


class TestWithoutASecondAttempt:
    """What an answer means, where it is not asked for again (`test_unreadable`)."""

    @pytest.fixture
    def runtime(self, runtime: Runtime) -> Runtime:
        return replace(runtime, hiccup_pauses=())

    async def test_a_repeated_token_is_an_error_and_loses_nothing(self, world: World) -> None:
        await _five(world)
        assert counts(await world.sync("jira"))[1] == 5
        world.site.page_cap = 2
        fault = world.jira.faults.add("POST */search/jql", faults.repeat_token(), times=None)
        run = await world.sync("jira", "full")
        assert (run["state"], run["error"]["code"], run["deleted"]) == ("partial", "unread", 0)
        assert "twice" in run["error"]["message"]
        assert run["error"]["what_to_do"]
        assert fault.struck == 2
        assert (await world.health())["state"] == "degraded"
        assert len(await world.keys()) == 5
        world.jira.faults.clear()
        assert (await world.sync("jira"))["state"] == "succeeded"


async def test_each_page_is_kept_though_the_next_fails(world: World, runtime: Runtime) -> None:
    await _five(world)
    world.site.page_cap = 2
    world.jira.faults.add("POST */search/jql", faults.answer(200, "<html>busy</html>"), times=None, skip=2)
    run = await world.sync("jira", "full")
    assert (run["state"], counts(run)) == ("partial", (4, 4, 0, 0, 0))
    # The next run goes on behind the last page that was kept.
    world.jira.faults.clear()
    world.jira.log.clear()
    run = await world.sync("jira")
    assert (run["state"], run["created"], len(searches(world.jira))) == ("succeeded", 1, 1)


# --- what a page does to the rows ---------------------------------------------------------------


def epic(number: int, title: str = "An epic", at: datetime = START, **more: Any) -> base.Epic:
    facts: dict[str, Any] = {
        "remote_id": str(number),
        "key": f"SHOP-{number}",
        "project": "SHOP",
        "title": title,
        "url": f"http://tracker/SHOP-{number}",
        "type": "Epic",
        "status": "To Do",
        "status_category": "todo",
        "created_at": START,
        "updated_at": at,
    }
    return base.Epic(**{**facts, **more})


async def _source(world: World, runtime: Runtime) -> SourceRow:
    await world.connect_jira(notices=OFF, scope=SHOP)
    async with runtime.sessions() as session:
        return await session.get_one(SourceRow, 1)


async def _observe(runtime: Runtime, source: SourceRow, *epics: base.Epic, gone: Any = ()) -> UpsertResult:
    async with runtime.sessions.begin() as session:
        return await upsert_epics(session, source.id, source.tracker, epics, gone, await runtime.now(session))


@contextmanager
def statements(runtime: Runtime) -> Iterator[list[str]]:
    """The statements sent while the block runs."""
    sent: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        sent.append(statement)

    event.listen(runtime.engine.sync_engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(runtime.engine.sync_engine, "before_cursor_execute", note)


async def test_a_page_costs_a_fixed_number_of_statements(world: World, runtime: Runtime) -> None:
    source = await _source(world, runtime)
    costs: dict[int, list[int]] = {}
    for size in (5, 500):
        known = [epic(size * 1000 + n) for n in range(size)]
        changed = [epic(size * 1000 + n, "Changed", key=f"CORE-{n}") for n in range(size)]
        gone = [base.Missing(one.ref, "deleted") for one in known[: size // 2]]
        kept = changed[size // 2 :]
        with statements(runtime) as first:
            assert (await _observe(runtime, source, *known)).created == size
        with statements(runtime) as unchanged:
            found = await _observe(runtime, source, *known)
            assert (found.created, found.updated) == (0, 0)
        with statements(runtime) as moved:
            found = await _observe(runtime, source, *kept, gone=gone)
            assert (found.updated, found.deleted) == (len(kept), len(gone))
        costs[size] = [len(first), len(unchanged), len(moved)]
    assert costs[5] == costs[500] == [2, 1, 5]


async def test_a_whole_run_asks_no_query_per_row(world: World, runtime: Runtime) -> None:
    """A first sync of one page costs as many statements with three epics as with ninety."""
    costs = []
    for project, size in (("TINY", 3), ("MANY", 90)):
        world.site.add_project(project, project)
        for number in range(size):
            world.site.create(project, f"Epic {number}")
        await world.connect_jira(project, notices=OFF, scope={"projects": [project]})
        with statements(runtime) as sent:
            assert (await world.sync(project))["created"] == size
        costs.append(len(sent))
    assert costs[0] == costs[1]


async def test_an_older_state_never_overwrites_a_newer(world: World, runtime: Runtime) -> None:
    source = await _source(world, runtime)
    await _observe(runtime, source, epic(1, "New", START + timedelta(minutes=2)))
    found = await _observe(runtime, source, epic(1, "Old", START))
    assert (found.created, found.updated) == (0, 0)
    assert (await world.epic("jira", "SHOP-1"))["title"] == "New"


async def test_the_newest_of_two_states_in_one_page_is_kept(world: World, runtime: Runtime) -> None:
    source = await _source(world, runtime)
    new, old = epic(1, "New", START + timedelta(minutes=2)), epic(1, "Old")
    assert (await _observe(runtime, source, new, old)).created == 1
    assert (await world.epic("jira", "SHOP-1"))["title"] == "New"


async def test_details_that_were_compared_do_not_overwrite_newer_ones(world: World, runtime: Runtime) -> None:
    """Between the look at what is stored and the write, a webhook stores the ticket anew."""
    source = await _source(world, runtime)

    def below(title: str) -> base.Parent:
        return base.Parent("SHOP-9", "9", title)

    await _observe(runtime, source, epic(1, parent=below("At first")))
    async with runtime.sessions() as session:
        late = [epic(1, parent=below("By then"))]
        compared = await compare_epics(session, source.id, source.tracker, late, await runtime.now(session))
    assert [row["parent_title"] for _, row in compared.detailed] == ["By then"]
    newer = epic(1, "New", START + timedelta(minutes=2), parent=below("Now"))
    await _observe(runtime, source, newer)
    async with runtime.sessions.begin() as session:
        await store_compared(session, source.id, source.tracker, compared, (), await runtime.now(session))
    assert (await world.epic("jira", "SHOP-1"))["parent"]["title"] == "Now"


@pytest.mark.parametrize("stored", [False, True])
async def test_two_pages_that_race_leave_the_newest(
    world: World, runtime: Runtime, database_url: str, stored: bool
) -> None:
    """Both look before either is seen by the other; the one that writes last holds the older state."""
    source = await _source(world, runtime)
    if stored:
        await _observe(runtime, source, epic(1, "First", START - timedelta(minutes=1)))
    async with holding(database_url) as holder, runtime.sessions.begin() as session:
        newer = epic(1, "New", START + timedelta(minutes=1))
        await upsert_epics(session, source.id, source.tracker, [newer], (), await runtime.now(session))
        late = asyncio.create_task(_observe(runtime, source, epic(1, "Old", START)))
        await holder.until_waiting(1)
    await late
    assert (await world.epic("jira", "SHOP-1"))["title"] == "New"


@pytest.mark.parametrize(("first", "second"), [(1, 2), (2, 1)])
async def test_of_two_sources_that_race_the_older_holds(
    world: World, runtime: Runtime, database_url: str, first: int, second: int
) -> None:
    source = await _source(world, runtime)
    await world.connect_jira("newer", notices=OFF, scope=SHOP)
    async with holding(database_url) as holder, runtime.sessions.begin() as session:
        await upsert_epics(session, first, source.tracker, [epic(1)], (), await runtime.now(session))
        async with runtime.sessions.begin() as other:
            look = upsert_epics(other, second, source.tracker, [epic(1)], (), await runtime.now(session))
            late = asyncio.create_task(look)
            await holder.until_waiting(1)
            await session.commit()
            await late
    assert (await world.keys("jira"), await world.keys("newer")) == (["SHOP-1"], [])


async def test_a_page_locks_its_rows_in_the_order_of_the_evaluator(
    world: World, runtime: Runtime, database_url: str
) -> None:
    """A page that changes one epic and removes an older one waits for both before it writes either."""
    source = await _source(world, runtime)
    await _observe(runtime, source, epic(1), epic(2))
    lock = "SELECT id FROM epics WHERE remote_id = %s FOR UPDATE NOWAIT"
    async with holding(database_url) as evaluator:
        await evaluator.hold(lock, "1")
        gone = [base.Missing(epic(1).ref, "not_an_epic")]
        page = asyncio.create_task(_observe(runtime, source, epic(2, "Changed"), gone=gone))
        await evaluator.until_waiting(1)
        await evaluator.hold(lock, "2")
    found = await page
    assert (found.updated, found.deleted) == (1, 1)
