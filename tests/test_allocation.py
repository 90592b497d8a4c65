"""Where work goes: classes, parts and weights, and the months that are frozen."""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

import httpx
import pytest
from hypothesis import given, strategies as st
from sqlalchemy import delete, func, select, text, update

from app.jobs.sweep import sweep
from app.runtime import Runtime
from mappings.policy.document import Policy
from mappings.reports.allocation import DEFINITION, AlikeWork, Served, Work, allocate, shares
from mappings.reports.allocation_epics import Exemptions, month_of
from mappings.reports.allocation_months import freeze_month
from mappings.tables import (
    AllocationRow,
    AuditEntryRow,
    CycleRow,
    EpicRow,
    FindingRow,
    InstallationRow,
    KeyResultRow,
    LinkRow,
    ObjectiveRow,
    RuleRow,
    RunRow,
    SourceRow,
)
from tests.support.clock import Clock
from tests.support.epic_rows import add_epic, add_goal, add_source
from tests.support.goals_api import fields_refused, send

# --- parts, pure -------------------------------------------------------------------------------

A, B, C = 1, 2, 3
SERVED = {A: Served("O-1", "growth"), B: Served("O-1", "growth"), C: Served("O-2", None)}


@pytest.mark.parametrize(
    ("links", "parts"),
    [
        ({}, {}),
        ({A: 5}, {A: 1}),
        ({A: 1, B: 3}, {A: 0.25, B: 0.75}),
        ({A: 0, B: 0}, {A: 0.5, B: 0.5}),
        ({A: 0, B: 2}, {A: 0, B: 1}),
        ({A: 1000, B: 1e-300}, {A: 1, B: 1e-303}),
    ],
)
def test_an_epic_is_shared_out_by_the_weights(links: Mapping[int, float], parts: dict[int, float]) -> None:
    assert shares(links) == pytest.approx(parts)


def _work(epics: int = 1, children: float = 0, points: float = 0) -> Work:
    return Work(epics, children, points, epics, epics if children else 0, epics if points else 0)


def test_parts_of_one_objective_are_one_part_and_one_epic() -> None:
    block = allocate([AlikeWork("aligned", _work(2, 6, 10), {A: 1, B: 2, C: 1})], SERVED)
    assert block.objectives == {"O-1": Work(1.5, 4.5, 7.5, 2, 2, 2), "O-2": Work(0.5, 1.5, 2.5, 2, 2, 2)}
    assert set(block.drivers) == {"growth", None}
    assert block.total == block.classes["aligned"] == Work(2, 6, 10, 2, 2, 2)


def test_only_aligned_work_is_shared_out() -> None:
    alike = [
        AlikeWork("aligned", _work(3)),
        AlikeWork("exempt", _work(4), {A: 1}),
        AlikeWork("unaligned", _work(5), waived=True),
        AlikeWork("unaligned", _work(6), not_evaluated=True),
        AlikeWork("aligned", _work(7), {99: 1}),
    ]
    block = allocate(alike, SERVED)
    assert {name: work.epics for name, work in block.classes.items()} == {
        "aligned": 10,
        "exempt": 4,
        "unaligned": 11,
    }
    assert (block.waived, block.not_evaluated) == (5, 6)
    assert block.objectives == block.drivers == {None: _work(10)}, "no key result of theirs is known"


WEIGHT = st.floats(0, 1000, allow_subnormal=False)
ALIKE = st.builds(
    AlikeWork,
    allocation=st.sampled_from(["aligned", "exempt", "unaligned"]),
    work=st.builds(_work, st.integers(1, 9), st.integers(0, 50), st.floats(0, 1e6)),
    links=st.dictionaries(st.sampled_from([A, B, C, 99]), WEIGHT),
)


@given(st.lists(ALIKE))
def test_all_parts_add_up_to_the_aligned_work(alike: list[AlikeWork]) -> None:
    block = allocate(alike, SERVED)
    for groups in (block.drivers, block.objectives):
        for measure in ("epics", "children", "points"):
            together = sum(getattr(work, measure) for work in groups.values())
            assert together == pytest.approx(getattr(block.classes["aligned"], measure))
    assert sum(work.serving for work in block.classes.values()) == block.total.serving


@pytest.mark.parametrize(
    ("day", "start", "end"),
    [
        (date(2026, 11, 30), (2026, 11), (2026, 12)),
        (date(2026, 12, 1), (2026, 12), (2027, 1)),
        (date(2028, 2, 29), (2028, 2), (2028, 3)),
    ],
)
def test_a_month_is_of_utc(day: date, start: tuple[int, int], end: tuple[int, int]) -> None:
    assert month_of(day) == (datetime(*start, 1, tzinfo=UTC), datetime(*end, 1, tzinfo=UTC))


def test_exemptions_are_asked_by_scope() -> None:
    policy = Policy.model_validate(
        {"exempt": {"labels": ["ktlo"]}, "scopes": [{"project": "OPS", "exempt": {"projects": ["OPS"]}}]}
    )
    exemptions = Exemptions(policy, {1: ("acme", {})})
    assert exemptions.names_any
    assert exemptions.reason(1, "SHOP", "Epic", ["x", "KTLO"]) == "exempt by policy: label is KTLO"
    assert exemptions.reason(1, "SHOP", "Epic", []) is None
    assert exemptions.reason(1, "OPS", "Epic", []) == "exempt by policy: project is OPS"
    assert not Exemptions(Policy(), {}).names_any
    assert not Exemptions(Policy.model_validate({"scopes": [{"project": "OPS"}]}), {}).names_any


# --- now ---------------------------------------------------------------------------------------

NOVEMBER = datetime(2026, 11, 20, 12, tzinfo=UTC)
LAST, FIRST = datetime(2026, 11, 30, 23, 59, 59, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)


async def _goal(session: Any, key: str, driver: str | None, weight: float, cycle: CycleRow | None) -> int:
    of = {"driver": driver, "weight": weight, "cycle_id": None if cycle is None else cycle.id}
    return (await add_goal(session, key, of_objective=of)).id


async def _fill(runtime: Runtime) -> None:
    """Open work and finished work of every class. Its source was read in time for November."""
    async with runtime.sessions.begin() as session:
        cycle = CycleRow(
            key="Q4", title="Q4", starts=date(2026, 10, 1), ends=date(2026, 11, 30), review="monthly"
        )
        session.add(cycle)
        await session.flush()
        growth = await _goal(session, "KR-1", "growth", 3, cycle)
        cost = await _goal(session, "KR-2", "cost", 1, cycle)
        source = await add_source(session, created_at=NOVEMBER - timedelta(days=60))
        session.add(
            RunRow(
                source_id=source.id,
                mode="full",
                state="succeeded",
                finished_at=NOVEMBER - timedelta(days=59),
                notices_mode="live",
                tracker=source.tracker,
            )
        )
        rule = RuleRow(name="Checkout", when={}, key_result_id=growth, priority=1, enabled=True, version=1)
        session.add(rule)
        await session.flush()

        async def epic(number: int, *goals: tuple[int, float], **members: Any) -> EpicRow:
            of: dict[str, Any] = {"tracker_created_at": NOVEMBER - timedelta(days=30)}
            if "finished_at" in members:
                of |= {"status_category": "done", "alignment": "exempt"}
            row = await add_epic(session, source, f"SHOP-{number}", **(of | members))
            for goal, weight in goals:
                made = {"origin": "manual"} if goal == cost else {"origin": "rule", "rule_id": rule.id}
                link = LinkRow(epic_id=row.id, key_result_id=goal, weight=weight, why=f"why {goal}", **made)
                session.add(link)
            await session.flush()
            return row

        await epic(1, (growth, 1), (cost, 3), alignment="aligned", children=8, points=20)
        await epic(2, (growth, 1), alignment="aligned", children=2)
        waived = await epic(3, alignment="waived")
        await epic(4, alignment="exempt", labels=["ktlo"])
        await epic(5, alignment="unaligned", points=5.5)
        await epic(6)
        await epic(7, (growth, 1), finished_at=LAST, alignment="aligned", points=8)
        await epic(8, (cost, 1), finished_at=FIRST)
        await epic(9, finished_at=NOVEMBER, labels=["KTLO"])
        await epic(10, finished_at=NOVEMBER, title='=cmd|"<script>"')
        await epic(11, finished_at=datetime(2026, 10, 31, 23, 59, 59, tzinfo=UTC))
        await epic(12, alignment="aligned", removed_at=NOVEMBER)
        finding = {"state": "waived", "severity": "warning", "detail": "", "opened_at": NOVEMBER}
        session.add(
            FindingRow(
                epic_id=waived.id, check="no-key-result", until=FIRST, reason="Legal", by="Ann", **finding
            )
        )
        session.add(
            AuditEntryRow(
                who="Bo", action="created", what="link", key="acme/SHOP-1 -> KR-2", after={}, at=NOVEMBER
            )
        )
        policy = {"exempt": {"labels": ["ktlo"]}}
        await session.execute(update(InstallationRow).values(policy=policy))


def _classes(block: Any) -> dict[str, Any]:
    return {name: work["epics"] for name, work in block["classes"].items()}


@pytest.mark.database
async def test_work_now(api: httpx.AsyncClient, runtime: Runtime, clock: Clock) -> None:
    await _fill(runtime)
    clock.now = datetime(2026, 11, 30, 23, 59, 59, 500_000, tzinfo=UTC)
    report = await send(api, "GET", "/reports/allocation")
    assert (report["definition"], report["month"], report["months"]) == (DEFINITION, None, [])
    assert (report["starts"], report["ends"]) == ("2026-11-01T00:00:00Z", "2026-12-01T00:00:00Z")
    opened, finished = report["open"], report["finished"]
    assert _classes(opened) == {"aligned": 2, "exempt": 1, "unaligned": 3}
    assert (opened["waived"], opened["not_evaluated"]) == (1, 1)
    assert _classes(finished) == {"aligned": 1, "exempt": 1, "unaligned": 2}
    by = {row["driver"]: row for row in opened["by_driver"]}
    assert list(by) == ["growth", "cost", "experience", "risk"]
    growth, cost = by["growth"], by["cost"]
    assert (growth["epics"], growth["serving"], growth["children"]) == (1.25, 2, 4)
    assert (cost["epics"], cost["serving"], cost["points"]) == (0.75, 1, 15)
    assert (growth["weight"], cost["weight"], by["risk"]["weight"]) == (0.75, 0.25, 0)
    assert (growth["epics_share"], cost["points_share"]) == (0.625, 0.75)
    assert [row["objective"] for row in opened["by_objective"]] == ["KR-1", "KR-2"]
    assert (opened["total"]["with_points"], opened["total"]["points"]) == (2, 25.5)
    for query, count in (("project=shop", 6), ("project=no", 0), ("source=ACME", 6), ("cycle=q4", 2)):
        found = await send(api, "GET", f"/reports/allocation?{query}")
        assert found["open"]["total"]["epics"] == count, query


# --- frozen months -----------------------------------------------------------------------------


async def _freeze(runtime: Runtime, clock: Clock, at: datetime) -> None:
    clock.now = at
    async with runtime.sessions.begin() as session:
        await freeze_month(session, at)


async def _stored(runtime: Runtime) -> str:
    """All frozen rows, byte for byte."""
    async with runtime.sessions() as session:
        return str(
            await session.scalar(
                text(
                    "SELECT coalesce(string_agg(row, chr(10)), '')"
                    " FROM (SELECT allocation_months::text AS row FROM allocation_months"
                    " UNION ALL SELECT allocation_rows::text FROM allocation_rows ORDER BY 1) AS rows"
                )
            )
        )


async def _finance(api: httpx.AsyncClient, query: str = "") -> list[dict[str, str]]:
    answer = await api.get(f"/api/v1/reports/allocation?month=2026-11&format=csv{query}")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    return list(csv.DictReader(io.StringIO(answer.text)))


@pytest.mark.database
async def test_a_month_is_frozen_a_row_an_epic(
    api: httpx.AsyncClient, runtime: Runtime, clock: Clock
) -> None:
    await _fill(runtime)
    at = FIRST + timedelta(minutes=5)
    await _freeze(runtime, clock, at)
    report = await send(api, "GET", "/reports/allocation?month=2026-11")
    month = {"month": "2026-11", "frozen_at": "2026-12-01T00:05:00Z", "late": False, "epics": 10}
    assert (report["month"], report["months"]) == (month, [month])
    # The cycle of its goals ended with it, and SHOP-8 was finished a moment after its end.
    assert _classes(report["open"]) == {"aligned": 3, "exempt": 1, "unaligned": 3}
    assert _classes(report["finished"]) == {"aligned": 1, "exempt": 1, "unaligned": 1}
    assert (report["open"]["waived"], report["open"]["by_driver"][0]["weight"]) == (1, 0.75)
    by = {row["driver"]: row["epics"] for row in report["open"]["by_driver"]}
    assert by == {"growth": 1, "cost": 2, "experience": 0, "risk": 0}, "whole, by the weightiest link"
    rows = {row["key"]: row for row in await _finance(api)}
    assert len(rows) == 10
    assert rows["SHOP-1"] == {
        "month": "2026-11",
        "source": "acme",
        "project": "SHOP",
        "key": "SHOP-1",
        "title": "SHOP-1",
        "url": "",
        "state": "open",
        "finished_at": "",
        "class": "aligned",
        "driver": "cost",
        "objective": "KR-2",
        "key_result": "KR-2",
        "origin": "manual",
        "made_by": "Bo",
        "evidence": "why 2",
        "children": "8",
        "points": "20.0",
        "frozen_at": "2026-12-01T00:05:00Z",
        "late": "false",
    }
    shown = {
        key: tuple(row[name] for name in ("class", "origin", "made_by", "evidence", "finished_at"))
        for key, row in rows.items()
    }
    nothing = "no link to a key result that counted"
    assert shown["SHOP-2"] == ("aligned", "rule", "Checkout", "why 1", "")
    assert shown["SHOP-3"] == ("unaligned", "waiver", "Ann", "waived until 2026-11-30: Legal", "")
    assert shown["SHOP-4"] == ("exempt", "policy", "", "exempt by policy: label is ktlo", "")
    assert shown["SHOP-5"] == ("unaligned", "", "", nothing, "")
    assert shown["SHOP-6"] == ("unaligned", "", "", "not evaluated yet", "")
    assert shown["SHOP-7"] == ("aligned", "rule", "Checkout", "why 1", "2026-11-30T23:59:59Z")
    assert shown["SHOP-8"] == ("aligned", "manual", "", "why 2", ""), "open at the end of November"
    assert shown["SHOP-9"] == (
        "exempt",
        "policy",
        "",
        "exempt by policy: label is KTLO",
        "2026-11-20T12:00:00Z",
    )
    assert shown["SHOP-10"] == ("unaligned", "", "", nothing, "2026-11-20T12:00:00Z")
    assert rows["SHOP-10"]["title"] == '\'=cmd|"<script>"', "no formula in a sheet"
    assert len(await _finance(api, "&project=shop")) == 10
    assert await _finance(api, "&project=other") == []
    assert await fields_refused(api, "GET", "/reports/allocation?month=2026-11&source=no", None) == ["source"]


@pytest.mark.database
async def test_an_epic_of_the_next_months_first_moment_is_in_that_month(
    api: httpx.AsyncClient, runtime: Runtime, clock: Clock
) -> None:
    await _fill(runtime)
    await _freeze(runtime, clock, FIRST + timedelta(minutes=5))
    await _freeze(runtime, clock, datetime(2027, 1, 1, 2, tzinfo=UTC))
    report = await send(api, "GET", "/reports/allocation?month=2026-12")
    # Its key result's cycle had ended the day before, and the open ones have no goal that counts.
    assert _classes(report["finished"]) == {"aligned": 0, "exempt": 0, "unaligned": 1}
    assert _classes(report["open"]) == {"aligned": 0, "exempt": 1, "unaligned": 5}
    answer = await api.get("/api/v1/reports/allocation?month=2026-12&format=csv")
    rows = {row["key"]: row for row in csv.DictReader(io.StringIO(answer.text))}
    assert rows["SHOP-8"]["finished_at"] == "2026-12-01T00:00:00Z"
    assert "SHOP-7" not in rows
    assert [one["month"] for one in report["months"]] == ["2026-12", "2026-11"]


@pytest.mark.database
async def test_many_processes_write_a_month_once(runtime: Runtime, clock: Clock) -> None:
    await _fill(runtime)
    clock.now = FIRST + timedelta(minutes=5)
    await asyncio.gather(*(_freeze(runtime, clock, clock.now) for _ in range(5)))
    async with runtime.sessions() as session:
        assert await session.scalar(select(func.count()).select_from(AllocationRow)) == 10
    before = await _stored(runtime)
    async with runtime.sessions.begin() as session:
        await session.execute(update(EpicRow).values(alignment="unaligned", title="another"))
    await _freeze(runtime, clock, clock.now + timedelta(days=20))
    assert await _stored(runtime) == before, "never written again"


@pytest.mark.database
async def test_a_month_waits_an_hour_for_due_epics(runtime: Runtime, clock: Clock) -> None:
    await _fill(runtime)
    async with runtime.sessions.begin() as session:
        await session.execute(
            update(EpicRow).where(EpicRow.key == "SHOP-5").values(evaluate_at=FIRST - timedelta(hours=1))
        )
    await _freeze(runtime, clock, FIRST + timedelta(minutes=59))
    assert await _stored(runtime) == ""
    await _freeze(runtime, clock, FIRST + timedelta(hours=1))
    assert await _stored(runtime) != ""


@pytest.mark.database
@pytest.mark.parametrize(
    ("after", "late"), [({"hours": 24}, False), ({"hours": 24, "seconds": 1}, True), ({"days": 30}, True)]
)
async def test_a_month_that_is_frozen_late_says_so(
    api: httpx.AsyncClient, runtime: Runtime, clock: Clock, after: dict[str, int], late: bool
) -> None:
    await _fill(runtime)
    await _freeze(runtime, clock, FIRST + timedelta(**after))
    (month,) = (await send(api, "GET", "/reports/allocation"))["months"]
    assert (month["month"], month["late"]) == ("2026-11", late)
    assert {row["late"] for row in await _finance(api)} == {"true" if late else "false"}


@pytest.mark.database
async def test_months_without_northing_stay_missing(
    api: httpx.AsyncClient, runtime: Runtime, clock: Clock
) -> None:
    await _freeze(runtime, clock, FIRST)  # nothing is connected
    await _fill(runtime)
    async with runtime.sessions.begin() as session:
        await session.execute(update(SourceRow).values(created_at=FIRST))
    await _freeze(runtime, clock, FIRST + timedelta(days=3))
    assert await _stored(runtime) == "", "what was connected in December says nothing of November"
    await _freeze(runtime, clock, datetime(2027, 2, 3, tzinfo=UTC))
    report = await send(api, "GET", "/reports/allocation")
    assert [(one["month"], one["late"]) for one in report["months"]] == [("2027-01", True)]
    answer = await send(api, "GET", "/reports/allocation?month=2026-12", status=404)
    assert "2026-12 was not frozen" in answer["detail"]


@pytest.mark.database
async def test_what_is_frozen_stays_when_its_source_and_goals_go(
    api: httpx.AsyncClient, runtime: Runtime, clock: Clock
) -> None:
    await _fill(runtime)
    await _freeze(runtime, clock, FIRST + timedelta(minutes=5))
    before, shown = await _stored(runtime), await _finance(api)
    async with runtime.sessions.begin() as session:
        for table in (SourceRow, RuleRow, KeyResultRow, ObjectiveRow, CycleRow):
            await session.execute(delete(table))
    clock.advance(days=2000)
    await sweep(runtime)
    after = await _stored(runtime)
    assert before in after
    assert (after.count("\n"), shown) == (before.count("\n"), await _finance(api))
    report = await send(api, "GET", "/reports/allocation?month=2026-11&source=acme")
    assert (report["open"]["total"]["epics"], report["open"]["by_objective"][0]["title"]) == (7, None)


@pytest.mark.database
async def test_a_goal_that_is_achieved_counts_for_what_was_finished(
    api: httpx.AsyncClient, runtime: Runtime, clock: Clock
) -> None:
    await _fill(runtime)
    clock.now = NOVEMBER
    for state, aligned in (("achieved", 1), ("missed", 1), ("archived", 0)):
        await send(api, "PATCH", "/key-results/KR-1", {"state": state})
        report = await send(api, "GET", "/reports/allocation")
        assert _classes(report["finished"])["aligned"] == aligned, state


@pytest.mark.database
async def test_wrong_parameters_are_refused(api: httpx.AsyncClient, runtime: Runtime, clock: Clock) -> None:
    await _fill(runtime)
    await _freeze(runtime, clock, FIRST + timedelta(minutes=5))
    for query, field in (
        ("month=2026-13", "month"),
        ("month=2026-1", "month"),
        ("month=0000-01", "month"),
        ("month=9999-12", "month"),
        ("month=²026-11", "month"),
        ("month=", "month"),
        ("month=2026-11&cycle=Q4", "cycle"),
        ("cycle=no", "cycle"),
        ("source=no", "source"),
        ("format=xlsx", "format"),
        ("day=1", "day"),
    ):
        assert await fields_refused(api, "GET", f"/reports/allocation?{query}", None) == [field], query
    await send(api, "GET", "/reports/allocation?month=2100-12", status=404)


@pytest.mark.database
async def test_the_csv_of_now_has_a_row_for_each_number(
    api: httpx.AsyncClient, runtime: Runtime, clock: Clock
) -> None:
    await _fill(runtime)
    clock.now = NOVEMBER
    answer = await api.get("/api/v1/reports/allocation?format=csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="allocation.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [(row["group"], row["name"]) for row in rows if row["state"] == "open"] == [
        ("total", ""),
        *(("class", name) for name in ("aligned", "exempt", "unaligned")),
        *(("driver", name) for name in ("growth", "cost", "experience", "risk")),
        *(("objective", name) for name in ("KR-1", "KR-2")),
    ]
    growth = next(row for row in rows if row["name"] == "growth")
    assert (growth["epics"], growth["epics_share"], growth["weight"]) == ("1.25", "0.625", "0.75")
