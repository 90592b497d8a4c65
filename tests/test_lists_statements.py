"""How many statements each list of the API costs, whatever the number of its items: one that grows is seen
here."""

from __future__ import annotations

import gc
from typing import Any

import pytest
from psycopg.pq import TransactionStatus
from sqlalchemy import event, text

from app.api import paging
from app.runtime import Runtime
from mappings.evaluation.known_goals import known_goals
from tests.support.world import World

pytestmark = pytest.mark.database

# By the list's address. The epics have unwritten notices, whose texts are composed as of now.
AT_MOST = {
    "/epics": 19,
    "/epics?initiative=true": 7,
    "/epics?initiative=false": 21,
    "/epics?driver=growth": 6,
    "/findings": 1,
    "/findings?source=jira": 2,
    "/links": 3,
    "/notices": 14,
    "/cycles": 1,
    "/objectives": 1,
    "/key-results": 3,
    "/rules": 5,
    "/sources": 9,
    "/runs": 4,
    "/deliveries": 1,
    "/audit-log": 1,
    "/decisions": 1,
    "/conflicts": 3,
    "/conflicts?step=owner": 4,
    "/reviews": 4,
    "/tokens": 1,
}


async def test_each_list_costs_a_bounded_number_of_statements(world: World, runtime: Runtime) -> None:
    for key in ("KR-1", "KR-2"):
        await world.goal(key)
    for number in range(6):
        world.site.create("SHOP", f"Checkout, part {number}")
    rule = {"name": "Checkout", "key_result": "KR-1", "when": {"title": "part [0-2]"}}
    await world.send("POST", "/rules", rule)
    await world.connect_jira(scope={"projects": ["SHOP"]})
    await world.sync("jira", "full")
    await world.send("PATCH", "/policy", {"since": None})
    await world.drain()
    for number in (1, 2):
        on = {"source": "jira", "key": f"SHOP-{number}"}
        await world.send("POST", "/conflicts", {"epic": on, "technical": "Not yet", "business": "At once"})
    executed: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: Any) -> None:
        executed.append(statement)

    event.listen(runtime.engine.sync_engine, "before_cursor_execute", note)
    found: dict[str, int] = {}
    try:
        for address in AT_MOST:
            await world.send("GET", address)  # the first of all reads what is kept for the others
            executed.clear()
            await world.send("GET", address)
            found[address] = len(executed)
    finally:
        event.remove(runtime.engine.sync_engine, "before_cursor_execute", note)
    more = {address: number for address, number in found.items() if number > AT_MOST[address]}
    assert more == {}, "more statements than the list may cost"


async def test_reading_leaves_no_transaction_open(runtime: Runtime) -> None:
    async with runtime.reading() as session:
        await session.execute(text("SELECT 1"))
        connection = (await (await session.connection()).get_raw_connection()).driver_connection
        assert connection is not None
        assert connection.info.transaction_status is TransactionStatus.IDLE
    async with runtime.transaction() as session:  # on the same connection, of the pool
        await session.execute(text("SELECT 1"))
        connection = (await (await session.connection()).get_raw_connection()).driver_connection
        assert connection is not None
        assert connection.info.transaction_status is TransactionStatus.INTRANS


async def test_what_is_kept_of_a_database_is_found_by_lists_and_by_changes(
    world: World, runtime: Runtime
) -> None:
    await world.goal("KR-1")
    async with runtime.reading() as session:
        known = await known_goals(session)
    async with runtime.transaction() as session:
        assert await known_goals(session) is known


async def test_a_filter_leaves_no_statement_with_its_values(world: World) -> None:
    await world.send("GET", "/audit-log")
    gc.collect()
    before = len(paging._PAGES)  # noqa: SLF001  # what a process keeps
    for number in range(3):
        await world.send("GET", f"/audit-log?who=person-{number}")
    gc.collect()
    assert len(paging._PAGES) <= before  # noqa: SLF001  # as above
