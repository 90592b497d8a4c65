"""Coverage, its twin `steered`, and the rows that a day freezes."""

from __future__ import annotations

import asyncio
import csv
import io
import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, strategies as st
from sqlalchemy import func, select, text, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.jobs.sweep import sweep
from app.runtime import Runtime
from mappings.reports.cells import csv_text
from mappings.reports.counts import DEFINITION, AlikeEpics, Counts, GoalFacts, count_coverage
from mappings.reports.coverage_days import freeze_day
from mappings.reports.steering import is_steered, steered_key_results
from mappings.tables import (
    AgreementRow,
    CheckInRow,
    CoverageDayRow,
    EpicRow,
    KeyResultRow,
    LinkRow,
    RunRow,
    SourceRow,
)
from tests.support.clock import Clock
from tests.support.epic_rows import add_epic, add_goal, add_source
from tests.support.goals_api import fields_refused, send
from tests.support.world import World

DAY = timedelta(days=1)
COUNTS = ("total", "aligned", "unaligned", "exempt", "waived", "steered_epics", "not_evaluated", "done")


# --- the definition ---------------------------------------------------------------------------

A, B, C, D = 1, 2, 3, 4
GOALS = {
    A: GoalFacts("O-1", "Orders", "growth", "Q4", "ann", live=True),
    B: GoalFacts("O-1", "Orders", "growth", "Q4", "bo", live=True),
    C: GoalFacts("O-2", "Cost", "cost", None, None, live=True),
    D: GoalFacts("O-3", "Old", "risk", "Q3", "ann", live=False),
}


def _alike(alignment: Any, key_results: Sequence[int] = (), number: int = 1, **members: Any) -> AlikeEpics:
    plain: dict[str, Any] = {"source_id": 1, "project": "SHOP", "done": False}
    return AlikeEpics(
        alignment=alignment, key_results=frozenset(key_results), number=number, **(plain | members)
    )


@pytest.mark.parametrize(
    ("counts", "rate", "steered"),
    [
        (Counts(), None, None),
        (Counts(exempt=3, waived=2), None, None),
        (Counts(unaligned=4), 0.0, None),
        (Counts(aligned=3, unaligned=1, exempt=7, waived=9), 0.75, 0.0),
        (Counts(aligned=4, steered_epics=1), 1.0, 0.25),
    ],
)
def test_the_rate_and_its_twin(counts: Counts, rate: float | None, steered: float | None) -> None:
    assert (counts.rate, counts.steered) == (rate, steered)


def test_finished_and_not_evaluated_epics_stay_out_of_the_total() -> None:
    epics = [_alike("aligned", [A], 2, done=True), _alike("exempt", done=True), _alike(None, number=5)]
    assert count_coverage(epics, GOALS, {A}).total == Counts(done=3, not_evaluated=5)


def test_an_epic_of_two_objectives_is_in_both_groups_and_once_in_the_total() -> None:
    coverage = count_coverage([_alike("aligned", [A, B, C], 10)], GOALS, {C})
    assert coverage.total == Counts(aligned=10, steered_epics=10)
    for dimension, names in (
        ("objective", {"O-1", "O-2"}),
        ("driver", {"growth", "cost"}),
        ("cycle", {"Q4", None}),
        ("owner", {"ann", "bo", None}),
        ("source", {1}),
        ("project", {(1, "SHOP")}),
    ):
        assert coverage.by[dimension] == dict.fromkeys(names, coverage.total), dimension  # type: ignore[index]


def test_a_link_that_is_not_live_gives_a_group_only_where_none_is_live() -> None:
    epics = [_alike("aligned", [A, D], 3), _alike("unaligned", [D]), _alike("waived", number=2)]
    coverage = count_coverage(epics, GOALS, set())
    assert coverage.by["objective"] == {
        "O-1": Counts(aligned=3),
        "O-3": Counts(unaligned=1),
        None: Counts(waived=2),
    }
    of_cycle = count_coverage(epics, GOALS, set(), cycle="Q3")
    assert (of_cycle.total, set(of_cycle.by["objective"])) == (Counts(unaligned=1), {"O-3"})


LINKED = st.frozensets(st.sampled_from([A, B, C, D, 99]))
EPICS = st.builds(
    AlikeEpics,
    source_id=st.integers(1, 2),
    project=st.sampled_from(["SHOP", "PAY"]),
    alignment=st.sampled_from(["aligned", "unaligned", "exempt", "waived", None]),
    done=st.booleans(),
    key_results=LINKED,
    number=st.integers(1, 9),
)


@given(st.lists(EPICS, max_size=20), st.sets(st.sampled_from([A, B, C])))
def test_every_epic_is_counted_once_and_every_group_alike(epics: list[AlikeEpics], steered: set[int]) -> None:
    coverage = count_coverage(epics, GOALS, steered)
    total = coverage.total
    assert total.total + total.not_evaluated + total.done == sum(epic.number for epic in epics)
    for dimension, groups in coverage.by.items():
        for counts in (total, *groups.values()):
            assert counts.total == counts.aligned + counts.unaligned + counts.exempt + counts.waived
            assert counts.steered_epics <= counts.aligned
            for share in (counts.rate, counts.steered):
                assert share is None or 0 <= share <= 1
        sums = [sum(getattr(counts, name) for counts in groups.values()) for name in COUNTS]
        alone = [getattr(total, name) for name in COUNTS]
        if dimension in ("source", "project"):
            assert sums == alone
        else:
            assert all(of_groups >= of_total for of_groups, of_total in zip(sums, alone, strict=True))


def test_the_docs_quote_the_definition() -> None:
    docs = (Path(__file__).parents[1] / "docs" / "coverage.md").read_text(encoding="utf-8")
    assert DEFINITION in re.sub(r"[>\s]+", " ", docs.replace("`", ""))


def test_cells_are_no_formulas() -> None:
    cells = ["=1+1", "+1", "-1", "@a", "\t=1", " =1", "a=1", -1, None, True, 'x,"y"']
    (row,) = csv.reader(io.StringIO(csv_text(["a"], [cells]).split("\r\n", 1)[1]))
    assert row == ["'=1+1", "'+1", "'-1", "'@a", "'\t=1", "' =1", "a=1", "-1", "", "true", 'x,"y"']


# --- the answer -------------------------------------------------------------------------------


async def _steer(session: AsyncSession, row: KeyResultRow, now: datetime) -> None:
    session.add_all(AgreementRow(key_result_id=row.id, side=side, name="Ann") for side in ("it", "business"))
    session.add(CheckInRow(key_result_id=row.id, value=1.5, confidence=1, at=now))


def _read(source: SourceRow, now: datetime, state: str = "succeeded", mode: str = "full") -> RunRow:
    return RunRow(source_id=source.id, mode=mode, state=state, finished_at=now)


def _link(epic: EpicRow, goal: KeyResultRow, origin: str = "manual") -> LinkRow:
    return LinkRow(epic_id=epic.id, key_result_id=goal.id, origin=origin, why="")


async def _fill(runtime: Runtime, now: datetime) -> None:
    """Two sources. Of `acme`: aligned 3 (2 of them steered), unaligned 1, exempt 1, waived 1, done 1, not
    evaluated 1; of `other`, which was never read, unaligned 1."""
    of_growth = {"driver": "growth", "owner": "=ann"}
    async with runtime.sessions.begin() as session:
        acme, other = await add_source(session), await add_source(session, "other")
        session.add_all([_read(acme, now), _read(other, now, "failed")])
        one = await add_goal(session, "KR-1", now.date(), of_growth)
        two = await add_goal(session, "KR-2", owner="bo")
        closed = await add_goal(session, "KR-3", of_objective=of_growth, state="missed")
        await _steer(session, one, now)
        for key, alignment, links, category in (
            ("SHOP-1", "aligned", [one, two], "todo"),
            ("SHOP-2", "aligned", [one], "doing"),
            ("PAY-1", "aligned", [two], "todo"),
            ("PAY-2", "unaligned", [closed], "todo"),
            ("PAY-3", "exempt", [], "todo"),
            ("PAY-4", "waived", [], "todo"),
            ("PAY-5", "aligned", [one], "done"),
            ("PAY-6", None, [], "todo"),
        ):
            epic = await add_epic(session, acme, key, alignment=alignment, status_category=category)
            session.add_all(_link(epic, goal) for goal in links)
            session.add_all(_link(epic, goal, "ticket") for goal in links[:1])
        await add_epic(session, other, "X-1", alignment="unaligned")
        await add_epic(session, other, "X-2", alignment="aligned", removed_at=now, removal_reason="deleted")


def _numbers(row: dict[str, Any]) -> list[Any]:
    return [row[name] for name in ("total", "aligned", "rate", "steered")]


@pytest.mark.database
async def test_the_report(api: httpx.AsyncClient, runtime: Runtime, clock: Clock) -> None:
    await _fill(runtime, clock.now)
    report = await send(api, "GET", "/reports/coverage")
    assert {name: report[name] for name in COUNTS} == {
        "total": 7,
        "aligned": 3,
        "unaligned": 2,
        "exempt": 1,
        "waived": 1,
        "steered_epics": 2,
        "not_evaluated": 1,
        "done": 1,
    }
    assert (report["rate"], report["steered"]) == (3 / 5, 2 / 3)
    assert (report["definition"], report["stale_sources"]) == (DEFINITION, ["other"])
    by = {
        name: {row[name.removeprefix("by_")]: _numbers(row) for row in report[name]}
        for name in report
        if name.startswith("by_")
    }
    assert by == {
        "by_source": {"acme": [6, 3, 3 / 4, 2 / 3], "other": [1, 0, 0, None]},
        "by_project": {"PAY": [4, 1, 1 / 2, 0], "SHOP": [2, 2, 1, 1], "X": [1, 0, 0, None]},
        "by_driver": {"growth": [3, 2, 2 / 3, 1], None: [5, 2, 2 / 3, 1 / 2]},
        "by_objective": {
            "KR-1": [2, 2, 1, 1],
            "KR-2": [2, 2, 1, 1 / 2],
            "KR-3": [1, 0, 0, None],
            None: [3, 0, 0, None],
        },
        "by_cycle": {"KR-1": [2, 2, 1, 1], None: [6, 2, 1 / 2, 1 / 2]},
        "by_owner": {"=ann": [3, 2, 2 / 3, 1], "bo": [2, 2, 1, 1 / 2], None: [3, 0, 0, None]},
    }
    assert [(row["read_at"] is None, row["stale"]) for row in report["by_source"]] == [
        (False, False),
        (True, True),
    ]
    assert report["by_driver"][-1]["driver"] is None
    async with runtime.sessions() as session:
        steered = is_steered(await steered_key_results(session, clock.now))
        where = (steered, EpicRow.removed_at.is_(None), EpicRow.status_category != "done")
        assert await session.scalar(select(func.count()).select_from(EpicRow).where(*where)) == 2


@pytest.mark.database
async def test_filters_and_csv(api: httpx.AsyncClient, runtime: Runtime, clock: Clock) -> None:
    await _fill(runtime, clock.now)
    await sweep(runtime)
    for query, total, projects, days in (
        ("source=OTHER", 1, ["X"], 0),
        ("source=acme", 6, ["PAY", "SHOP"], 1),
        ("project=shop", 2, ["SHOP"], 1),
        ("source=other&project=shop", 0, [], 0),
        ("cycle=kr-1", 2, ["PAY", "SHOP"], 0),
    ):
        report = await send(api, "GET", f"/reports/coverage?{query}")
        found = report["total"], [row["project"] for row in report["by_project"]], len(report["trend"])
        assert found == (total, projects, days), query
    for query, field in (("source=no", "source"), ("cycle=no", "cycle"), ("days=0", "days")):
        assert await fields_refused(api, "GET", f"/reports/coverage?{query}", None) == [field]
    answer = await api.get("/api/v1/reports/coverage?format=csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [
        row["group"] for row, after in pairwise([*rows, {"group": ""}]) if after["group"] != row["group"]
    ] == [*("total", "source", "project", "driver", "objective", "cycle", "owner", "day")]
    (shop,) = (row for row in rows if row["name"] == "SHOP")
    assert (shop["source"], shop["total"], shop["rate"], shop["stale"]) == ("acme", "2", "1.0", "false")
    assert [row["name"] for row in rows if row["group"] == "owner"] == ["'=ann", "bo", ""]
    assert rows[-1]["name"] == clock.now.date().isoformat()


async def test_openapi_tells_of_every_number(api: httpx.AsyncClient) -> None:
    schemas = (await api.get("/openapi.json")).json()["components"]["schemas"]
    models = {name: schema for name, schema in schemas.items() if name.startswith("Coverage")}
    assert len(models) == 8
    for name, schema in models.items():
        assert all(member.get("description") for member in schema["properties"].values()), name


# --- the trend --------------------------------------------------------------------------------


async def _trend(api: httpx.AsyncClient, query: str = "") -> tuple[list[tuple[str, int, float]], list[str]]:
    report = await send(api, "GET", f"/reports/coverage?{query}")
    return [(day["day"], day["total"], day["rate"]) for day in report["trend"]], report["missing_days"]


def _at(clock: Clock, day: int, hour: int = 9) -> str:
    clock.now = datetime(2027, 3, day, hour, tzinfo=UTC)
    return clock.now.date().isoformat()


async def _freeze(runtime: Runtime, clock: Clock) -> None:
    async with runtime.sessions.begin() as session:
        await freeze_day(session, clock.now)


async def _set_all(runtime: Runtime, table: Any, **values: Any) -> None:
    async with runtime.sessions.begin() as session:
        await session.execute(update(table).values(**values))


@pytest.mark.database
async def test_a_day_is_frozen_once_and_a_missed_one_stays_missing(
    api: httpx.AsyncClient, runtime: Runtime, clock: Clock
) -> None:
    first = _at(clock, 1)
    async with runtime.sessions.begin() as session:
        source = await add_source(session)
        session.add(_read(source, clock.now))
        for number, alignment in enumerate(("aligned", "aligned", "unaligned", "unaligned")):
            await add_epic(session, source, f"SHOP-{number}", alignment=alignment)
    await sweep(runtime)
    await _set_all(runtime, EpicRow, alignment="aligned")
    _at(clock, 1, 22)
    await sweep(runtime)
    assert await _trend(api) == ([(first, 4, 0.5)], [])
    third = _at(clock, 3)
    assert await _trend(api) == ([(first, 4, 0.5)], ["2027-03-02"])
    await sweep(runtime)
    expected = [(first, 4, 0.5), (third, 4, 1.0)]
    for query in ("", "source=acme", "project=SHOP", "source=acme&project=shop"):
        assert await _trend(api, query) == (expected, ["2027-03-02"]), query
    assert await _trend(api, "days=2") == (expected[1:], ["2027-03-02"])
    report = await send(api, "GET", "/reports/coverage")
    assert (report["trend"][0]["at"], report["trend"][0]["sources"]) == ("2027-03-01T09:00:00Z", 1)


@pytest.mark.database
async def test_a_source_counts_from_its_first_reading_on(
    api: httpx.AsyncClient, runtime: Runtime, clock: Clock
) -> None:
    """And one whose last reading failed keeps its numbers, marked as stale: no fall that is none."""
    _at(clock, 1)
    await _freeze(runtime, clock)
    async with runtime.sessions.begin() as session:
        acme, other = await add_source(session), await add_source(session, "other")
        await add_epic(session, acme, "SHOP-1", alignment="aligned")
        await add_epic(session, other, "X-1", alignment="unaligned")
        session.add_all([_read(acme, clock.now, "running"), _read(other, clock.now, "failed")])
    await _freeze(runtime, clock)
    assert await _trend(api) == ([], [])
    await _set_all(runtime, RunRow, state="partial")
    await _set_all(runtime, SourceRow, disconnecting_at=None)
    async with runtime.sessions.begin() as session:
        await session.execute(update(RunRow).where(RunRow.source_id == 2).values(state="failed"))
    await _freeze(runtime, clock)
    async with runtime.sessions.begin() as session:
        session.add(_read(await session.get_one(SourceRow, 2), clock.now, mode="incremental"))
    await _freeze(runtime, clock)
    _at(clock, 2)
    async with runtime.sessions.begin() as session:
        session.add(_read(await session.get_one(SourceRow, 2), clock.now, "failed"))
        session.add(_read(await session.get_one(SourceRow, 1), clock.now))
    await _freeze(runtime, clock)
    trend = (await send(api, "GET", "/reports/coverage"))["trend"]
    assert [(day["sources"], day["total"], day["stale"]) for day in trend] == [(1, 1, True), (2, 2, True)]
    of_other = (await send(api, "GET", "/reports/coverage?source=other"))["trend"]
    assert [(day["day"], day["stale"]) for day in of_other] == [("2027-03-01", False), ("2027-03-02", True)]
    of_acme = (await send(api, "GET", "/reports/coverage?source=acme"))["trend"]
    assert [day["stale"] for day in of_acme] == [True, False]


@pytest.mark.database
async def test_what_midnight_makes_due_is_evaluated_before_the_day_is_frozen(
    api: httpx.AsyncClient, runtime: Runtime, clock: Clock
) -> None:
    day = _at(clock, 1, 0)
    async with runtime.sessions.begin() as session:
        source = await add_source(session)
        session.add(_read(source, clock.now))
        await add_epic(session, source, "SHOP-1", alignment="aligned", evaluate_at=clock.now)
    await _freeze(runtime, clock)
    assert await _trend(api) == ([], [])
    await _set_all(runtime, EpicRow, evaluate_at=clock.now + DAY, alignment="unaligned")
    async with runtime.sessions.begin() as session:
        session.add(_read(source, clock.now, "queued", "evaluate"))
    await _freeze(runtime, clock)
    assert await _trend(api) == ([], [])
    _at(clock, 1, 1)
    await _freeze(runtime, clock)
    assert await _trend(api) == ([(day, 1, 0.0)], [])


@pytest.mark.database
async def test_many_processes_freeze_a_day_once(runtime: Runtime, clock: Clock) -> None:
    async with runtime.sessions.begin() as session:
        for name in ("acme", "other"):
            source = await add_source(session, name)
            session.add(_read(source, clock.now))
            await add_epic(session, source, f"{name}-1", alignment="aligned")
    await asyncio.gather(*(_freeze(runtime, clock) for _ in range(4)))
    async with runtime.sessions() as session:
        rows = await session.execute(select(CoverageDayRow.source_id, CoverageDayRow.project))
        found = [tuple(row) for row in rows]
    assert len(found) == len(set(found)) == 5


@pytest.mark.database
async def test_a_deleted_source_takes_its_days_along_and_leaves_those_of_all(
    api: httpx.AsyncClient, runtime: Runtime, clock: Clock
) -> None:
    _at(clock, 1)
    async with runtime.sessions.begin() as session:
        source = await add_source(session)
        session.add(_read(source, clock.now))
        await add_epic(session, source, "SHOP-1", alignment="aligned")
    await _freeze(runtime, clock)
    async with runtime.sessions.begin() as session:
        await session.execute(text("DELETE FROM sources"))
    async with runtime.sessions() as session:
        left = await session.execute(select(CoverageDayRow.source_id, CoverageDayRow.aligned))
        assert [tuple(row) for row in left] == [(None, 1)]
    assert await _trend(api) == ([("2027-03-01", 1, 1.0)], [])


@pytest.mark.database
async def test_days_go_after_1100(api: httpx.AsyncClient, runtime: Runtime, clock: Clock) -> None:
    zero = dict.fromkeys(set(COUNTS) - {"total"}, 0)
    async with runtime.sessions.begin() as session:
        for age in (1099, 1101):
            at = clock.now - timedelta(days=age)
            session.add(CoverageDayRow(day=at.date(), at=at, sources=1, stale=False, **zero))
    await sweep(runtime)
    async with runtime.sessions() as session:
        days = list(await session.scalars(select(CoverageDayRow.day)))
    assert days == [(clock.now - timedelta(days=1099)).date()]


@pytest.mark.database
async def test_the_report_of_a_real_source(world: World, runtime: Runtime) -> None:
    await world.goal("KR-1", "Orders")
    for number in range(3):
        world.site.create("SHOP", f"Epic {number}", description="Key-Result: KR-1" if number else "")
    await world.connect_jira()
    await sweep(runtime)
    assert (await send(world.api, "GET", "/reports/coverage"))["trend"] == []
    await world.sync("jira", "full")
    await world.drain()
    await sweep(runtime)
    report = await send(world.api, "GET", "/reports/coverage")
    (day,) = report["trend"]
    for row in (report, *report["by_source"], *report["by_project"], day):
        assert (row["total"], row["aligned"], row["rate"], row["steered"]) == (3, 2, 2 / 3, 0.0)
