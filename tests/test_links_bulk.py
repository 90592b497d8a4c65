"""Many links in one transaction: what each request comes to, the rows, their audit, their evaluation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import replace
from typing import Any

import httpx
import pytest
from sqlalchemy import event, func, select

from app import pipeline
from app.runtime import Runtime
from connectors.base import EpicRef, Missing
from mappings.links.bulk import EVALUATED_AT_ONCE, LinkOutcome, LinkRequest, link_many
from mappings.links.operations import link_epic, link_manually
from mappings.tables import AuditEntryRow, EpicRow, LinkRow, RunCauseRow
from tests.support.clock import Clock
from tests.support.goals_api import send
from tests.support.stored_epics import source_with, store, stored_epic

pytestmark = pytest.mark.database


async def _linked(
    runtime: Runtime, requests: Iterable[LinkRequest], *, dry_run: bool = False, change: bool = False
) -> tuple[list[LinkOutcome], list[int]]:
    async with runtime.transaction("ana") as session:
        return await link_many(
            session,
            list(requests),
            "by hand",
            await runtime.now(session),
            dry_run=dry_run,
            change_existing=change,
        )


async def _goals(api: httpx.AsyncClient, *keys: str) -> None:
    await send(api, "POST", "/objectives", {"key": "O", "title": "O"}, 201)
    for key in keys:
        await send(api, "POST", "/objectives/O/key-results", {"key": key, "title": key}, 201)


async def _rows(runtime: Runtime) -> list[tuple[Any, ...]]:
    query = (
        select(EpicRow.key, LinkRow.key_result_id, LinkRow.origin, LinkRow.weight, LinkRow.is_primary)
        .join(EpicRow, EpicRow.id == LinkRow.epic_id)
        .order_by(EpicRow.id, LinkRow.key_result_id)
    )
    async with runtime.sessions() as session:
        return [tuple(row) for row in await session.execute(query)]


async def _audited(runtime: Runtime) -> list[tuple[Any, ...]]:
    query = select(
        AuditEntryRow.who, AuditEntryRow.action, AuditEntryRow.key, AuditEntryRow.before, AuditEntryRow.after
    ).where(AuditEntryRow.what == "link")
    async with runtime.sessions() as session:
        return [tuple(row) for row in await session.execute(query.order_by(AuditEntryRow.id))]


def _of(key: str, goal: str = "KR-1", **members: Any) -> LinkRequest:
    return LinkRequest("jira", key, goal, **members)


async def test_each_request_has_its_outcome(api: httpx.AsyncClient, runtime: Runtime, clock: Clock) -> None:
    await _goals(api, "KR-1", "KR-2")
    await source_with(api, runtime, [stored_epic(number) for number in range(1, 6)])
    gone = Missing(EpicRef("004SHOP", "SHOP-4"), "deleted")
    await store(runtime, "jira", [replace(stored_epic(5), key="CORE-5", project="CORE")], [gone])
    async with runtime.transaction("ana") as session:
        now = await runtime.now(session)
        await link_epic(session, "jira", "SHOP-1", "KR-1", "by hand", now)
        second = (await session.scalars(select(EpicRow).where(EpicRow.key == "SHOP-2"))).one()
        await link_manually(session, second.id, "KR-1", "command", "said there", now)
    seen = f"seen {clock():%Y-%m-%d %H:%M} UTC"
    table: list[tuple[LinkRequest, str, str | None, str, str | None]] = [
        (_of("shop-1", "kr-1"), "exists", None, "is linked already, by hand", "SHOP-1"),
        (_of("SHOP-2"), "exists", None, "is linked already, by a command on the ticket", "SHOP-2"),
        (_of("SHOP-3", primary=True), "created", None, "is a new link", "SHOP-3"),
        (
            _of("Shop-3", "Kr-1"),
            "exists",
            None,
            "the same link was asked for before, in the same call",
            "SHOP-3",
        ),
        (
            _of("SHOP-3", "KR-2", primary=True),
            "error",
            "primary",
            "another link was made the epic's primary one in the same call",
            "SHOP-3",
        ),
        (_of("SHOP-3", "KR-2"), "created", None, "is a new link", "SHOP-3"),
        (
            _of("SHOP-4"),
            "error",
            "epic.key",
            f"SHOP-4 was deleted in the tracker, or is no longer visible to Northing, {seen}",
            "SHOP-4",
        ),
        (_of("shop-5"), "created", None, "is a new link", "CORE-5"),
        (
            _of("SHOP-404"),
            "error",
            "epic.key",
            "jira has no epic 'SHOP-404'; sync it first if it is new",
            None,
        ),
        (LinkRequest("none", "SHOP-1", "KR-1"), "error", "epic.source", "there is no source 'none'", None),
        (
            _of("SHOP-1", "KR-9"),
            "error",
            "key_result",
            "there is no key result 'KR-9'; GET /api/v1/key-results lists them",
            "SHOP-1",
        ),
        (_of("SHOP-1", "KR-2", weight=0), "error", "weight", "must be more than 0", None),
        (_of("SHOP\0-1"), "error", "epic.key", "must not hold U+0000", None),
    ]
    planned, _ = await _linked(runtime, [request for request, *_ in table], dry_run=True)
    assert len(await _rows(runtime)) == 2
    outcomes, runs = await _linked(runtime, [request for request, *_ in table])
    assert planned == outcomes
    for (request, outcome, field, message, key), found in zip(table, outcomes, strict=True):
        assert (found.outcome, found.field, found.message) == (outcome, field, message), request
        assert found.epic == (None if key is None else ("jira", key))
    assert len(runs) == 1
    assert await _linked(runtime, [_of("SHOP-3"), _of("SHOP-404")]) == (
        [
            LinkOutcome("exists", None, "is linked already, by hand", ("jira", "SHOP-3"), "KR-1"),
            outcomes[8],
        ],
        [],
    )


async def test_the_rows_and_their_audit_are_those_of_single_links(
    api: httpx.AsyncClient, runtime: Runtime
) -> None:
    await _goals(api, "KR-1", "KR-2")
    await source_with(api, runtime, [stored_epic(1), stored_epic(2)])
    members: list[dict[str, Any]] = [{"weight": 2.5}, {"primary": True}, {}]
    goals = ["KR-1", "KR-2", "KR-2"]
    keys = ["SHOP-1", "SHOP-1", "SHOP-2"]
    await _linked(
        runtime, [_of(key, goal, **some) for key, goal, some in zip(keys, goals, members, strict=True)]
    )
    rows, audited = await _rows(runtime), await _audited(runtime)
    assert rows == [
        ("SHOP-1", 1, "manual", 2.5, False),
        ("SHOP-1", 2, "manual", 1.0, True),
        ("SHOP-2", 2, "manual", 1.0, False),
    ]
    async with runtime.sessions.begin() as session:
        for link in await session.scalars(select(LinkRow)):
            await session.delete(link)
    async with runtime.transaction("ana") as session:
        for key, goal, some in zip(keys, goals, members, strict=True):
            await link_epic(session, "jira", key, goal, "by hand", await runtime.now(session), **some)
    assert await _rows(runtime) == rows
    assert (await _audited(runtime))[3:] == audited


async def test_links_that_stand_are_changed_where_asked_for(api: httpx.AsyncClient, runtime: Runtime) -> None:
    await _goals(api, "KR-1", "KR-2", "KR-3")
    await source_with(api, runtime, [stored_epic(1)])
    await _linked(runtime, [_of("SHOP-1", primary=True), _of("SHOP-1", "KR-2")])
    stand = [_of("SHOP-1", weight=5, primary=False), _of("SHOP-1", "KR-2", primary=True)]
    outcomes, runs = await _linked(runtime, stand)
    assert ([found.outcome for found in outcomes], runs) == (["exists", "exists"], [])
    outcomes, runs = await _linked(runtime, [*reversed(stand), _of("SHOP-1", "KR-3")], change=True)
    assert [(found.outcome, found.message) for found in outcomes] == [
        ("changed", "changes primary"),
        ("changed", "changes weight and primary"),
        ("created", "is a new link"),
    ]
    assert len(runs) == 1
    assert [row[1:] for row in await _rows(runtime)] == [
        (1, "manual", 5.0, False),
        (2, "manual", 1.0, True),
        (3, "manual", 1.0, False),
    ]
    assert sorted((await _audited(runtime))[2:4], key=str) == [
        (
            "ana",
            "changed",
            "jira/SHOP-1 -> KR-1",
            {"weight": 1.0, "is_primary": True},
            {"weight": 5.0, "is_primary": False},
        ),
        ("ana", "changed", "jira/SHOP-1 -> KR-2", {"is_primary": False}, {"is_primary": True}),
    ]
    # A new primary link takes it from the one that was; what the call says of that one stays true.
    again = [_of("SHOP-1", "KR-2"), _of("SHOP-1", "KR-1", weight=5, primary=True)]
    outcomes, _ = await _linked(runtime, again, change=True)
    assert [found.outcome for found in outcomes] == ["exists", "changed"]
    assert [row[1] for row in await _rows(runtime) if row[4]] == [1]
    outcomes, runs = await _linked(runtime, again, change=True)
    assert ([found.outcome for found in outcomes], runs) == (["exists", "exists"], [])


@pytest.mark.parametrize("count", [EVALUATED_AT_ONCE, EVALUATED_AT_ONCE + 1])
async def test_few_epics_are_evaluated_at_once_and_many_in_a_run(
    api: httpx.AsyncClient, runtime: Runtime, drain: Callable[[], Awaitable[None]], count: int
) -> None:
    await _goals(api, "KR-1")
    epics = [stored_epic(number) for number in range(1, count + 2)]
    await source_with(api, runtime, epics[:-2])
    await source_with(api, runtime, [stored_epic(1, "CORE"), stored_epic(2, "CORE")], "other")
    requests = [*(_of(epic.key) for epic in epics[:-2]), LinkRequest("other", "CORE-1", "KR-1")]
    _, runs = await _linked(runtime, requests)
    left = await pipeline.evaluate_at_once(runtime, runs)
    few = count == EVALUATED_AT_ONCE
    assert (len(runs), left) == (2, [] if few else runs)
    aligned = select(func.count()).where(EpicRow.alignment == "aligned")
    async with runtime.sessions() as session:
        assert await session.scalar(aligned) == (count if few else 0)
        labels = await session.scalars(select(RunCauseRow.label).where(RunCauseRow.kind == "links"))
        assert list(labels) == ([] if few else [f"1 to {count}"] * 2)
    await drain()
    async with runtime.sessions() as session:
        assert await session.scalar(aligned) == count
        evaluated = select(func.count()).where(EpicRow.evaluated_at.is_not(None))
        assert await session.scalar(evaluated) == count
    for run in runs:
        assert (await send(api, "GET", f"/runs/{run}"))["state"] == "succeeded"


async def test_the_number_of_statements_does_not_grow(api: httpx.AsyncClient, runtime: Runtime) -> None:
    await _goals(api, "KR-1", "KR-2")
    count = EVALUATED_AT_ONCE + 1
    await source_with(api, runtime, [stored_epic(number) for number in range(1, 3 * count + 1)])
    numbers = []
    for first, last in ((1, count), (count + 1, 3 * count)):
        statements: list[str] = []

        def note(*arguments: Any, kept: list[str] = statements) -> None:
            kept.append(arguments[2])

        event.listen(runtime.engine.sync_engine, "before_cursor_execute", note)
        await _linked(runtime, [_of(f"SHOP-{number}") for number in range(first, last + 1)])
        event.remove(runtime.engine.sync_engine, "before_cursor_execute", note)
        numbers.append(len(statements))
    assert numbers[0] == numbers[1]
