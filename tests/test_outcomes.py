"""Delivery beside outcome: finished work whose number has not moved stands out."""

from __future__ import annotations

import csv
import io
from datetime import date, timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from app.runtime import Runtime
from mappings.reports.outcomes import DEFINITION, WorkDone, not_moved_because, not_moved_together, rank
from mappings.tables import CheckInRow, CycleRow, EstimateRow, InstallationRow, KeyResultRow, LinkRow
from tests.support.clock import Clock
from tests.support.epic_rows import NOW, add_epic, add_goal, add_source
from tests.support.goals_api import fields_refused, send

# --- what is finished and what has moved, pure -------------------------------------------------


@pytest.mark.parametrize(
    ("work", "finished", "begun"),
    [
        (WorkDone(), False, False),
        (WorkDone(3, 3), True, True),
        (WorkDone(3, 2, loose=1), False, True),
        (WorkDone(1, 0, 10, 9), True, True),
        (WorkDone(1, 0, 10, 8), False, True),
        (WorkDone(1, 0, 11, 1), False, False),
        (WorkDone(1, 0, 10, 1), False, True),
        (WorkDone(2, 0, 10, 10, loose=1), False, True),
        (WorkDone(2, 1, 10, 10), True, True),
        (WorkDone(1, 0, 9, 8), False, True),
    ],
)
def test_when_work_is_finished(work: WorkDone, finished: bool, begun: bool) -> None:
    assert (work.finished, work.begun) == (finished, begun)


@pytest.mark.parametrize(
    ("baseline", "latest", "progress", "reason"),
    [
        (10, None, None, "nobody has checked in a value"),
        (None, 5, None, "it has no baseline to move from"),
        (10, 10, 0, "its latest value is its baseline"),
        (10, 10.5, 0.05, "it is 5% of the way, which is less than 10%"),
        (10, 9, 0, "it is 0% of the way, which is less than 10%"),
        (0, 1, 0.1, None),
        (10, 11, None, None),
    ],
)
def test_when_a_number_has_moved(
    baseline: float | None, latest: float | None, progress: float | None, reason: str | None
) -> None:
    assert not_moved_because(baseline, latest, progress) == reason


@pytest.mark.parametrize(
    ("reasons", "together"),
    [
        ([], "no key result says what it is to move"),
        ([None], None),
        (["a"], "a"),
        (["a", None], None),
        (["a", "b"], "none of its 2 key results has moved"),
    ],
)
def test_one_key_result_that_moved_is_enough(reasons: list[str | None], together: str | None) -> None:
    assert not_moved_together(reasons) == together


def test_what_stands_out_comes_first() -> None:
    rows = [
        (None, WorkDone(1, 1), 1),
        (None, WorkDone(4, 1), 2),
        ("moved_without_work", WorkDone(), 3),
        ("finished_not_moved", WorkDone(1, 1), 5),
        ("finished_not_moved", WorkDone(9, 9), 4),
    ]
    ordered = sorted(rows, key=lambda row: rank(*row))  # type: ignore[arg-type]  # of the words above
    assert [id for _, _, id in ordered] == [4, 5, 3, 1, 2]


# --- of rows -----------------------------------------------------------------------------------


async def _goal(
    session: AsyncSession, key: str, cycle: CycleRow, value: float | None, **members: Any
) -> KeyResultRow:
    """From 10 to 20, and at `value` since yesterday."""
    members = {"baseline": 10.0, "target": 20.0, **members}
    row = await add_goal(session, key, of_objective={"cycle_id": cycle.id}, **members)
    if value is not None:
        at = NOW - timedelta(days=1)
        session.add(CheckInRow(key_result_id=row.id, value=value, confidence=0.5, at=at))
    return row


async def _fill(runtime: Runtime) -> None:
    """KR-1: all done, not moved. KR-2: moved, and hardly begun. KR-3: begun and moved. KR-4: of an old
    cycle. KR-5: archived. SHOP-10 is an initiative by what is below it, SHOP-20 to 22 by their type."""
    async with runtime.sessions.begin() as session:
        now, old = (
            CycleRow(key=key, title=key, starts=starts, ends=ends, review="monthly")
            for key, starts, ends in (
                ("Q4", date(2026, 10, 1), date(2026, 12, 31)),
                ("Q1", date(2026, 1, 1), date(2026, 3, 31)),
            )
        )
        session.add_all([now, old])
        await session.flush()
        goals = {
            "KR-1": await _goal(session, "KR-1", now, 10.0),
            "KR-2": await _goal(session, "KR-2", now, 18.0),
            "KR-3": await _goal(session, "KR-3", now, 14.0),
            "KR-4": await _goal(session, "KR-4", old, None),
            "KR-5": await _goal(session, "KR-5", now, None, state="archived"),
        }
        goals["KR-1"].title = "<script>alert(1)</script>"
        source = await add_source(session)

        async def epic(number: int, *links: str, done: bool = False, **members: Any) -> int:
            category = {"status_category": "done"} if done else {}
            row = await add_epic(session, source, f"SHOP-{number}", **category, **members)
            for key in links:
                origins = ("manual", "ticket") if number == 1 else ("manual",)
                for origin in origins:
                    link = LinkRow(epic_id=row.id, key_result_id=goals[key].id, origin=origin, why="")
                    session.add(link)
            return row.id

        await epic(1, "KR-1", done=True, children=4, children_done=4)
        await epic(2, "KR-1", done=True)
        await epic(3, "KR-1", removed_at=NOW)
        await epic(4, "KR-2", children=20, children_done=1)
        await epic(5, "KR-3", children=3, children_done=2)
        await epic(6, "KR-4", done=True)
        above = await epic(10, "KR-3", children=2, children_done=1)
        of = {"parent_key": "SHOP-10", "parent_remote_id": "SHOP-10"}
        await epic(11, done=True, children=6, children_done=6, **of)
        await epic(12, done=True, parent_key="shop-10")
        await epic(20, "KR-1", type="Initiative", children=10, children_done=9)
        await epic(21, type="initiative", done=True)
        await epic(22, type="Initiative")
        await session.execute(
            update(InstallationRow).values(policy={"initiatives": {"types": ["Initiative"]}})
        )
        made = {"estimated_by": "=Ann", "at": NOW}
        for of_what, kind, amount, currency in (
            ({"key_result_id": goals["KR-1"].id}, "planned", 100.0, "EUR"),
            ({"key_result_id": goals["KR-1"].id}, "realised", -5.0, "EUR"),
            ({"key_result_id": goals["KR-3"].id}, "planned", 50.0, "EUR"),
            ({"key_result_id": goals["KR-3"].id}, "planned", 7.0, "USD"),
            ({"epic_id": above}, "planned", 11.0, "EUR"),
        ):
            session.add(EstimateRow(**of_what, kind=kind, amount=amount, currency=currency, **made))


@pytest.mark.database
async def test_the_report(api: httpx.AsyncClient, runtime: Runtime, clock: Clock) -> None:
    clock.now = NOW
    await _fill(runtime)
    report = await send(api, "GET", "/reports/outcomes")
    assert report["definition"] == DEFINITION
    goals = {row["key_result"]: row for row in report["key_results"]}
    assert list(goals) == ["KR-1", "KR-2", "KR-3"]
    signs = {key: row["sign"] for key, row in goals.items()}
    assert signs == {"KR-1": "finished_not_moved", "KR-2": "moved_without_work", "KR-3": None}
    one = goals["KR-1"]
    work = {"epics": 3, "epics_done": 2, "children": 14, "children_done": 13, "finished": True}
    assert one["work"] == work, "two links are one epic, and 13 of 14 children are nearly all"
    assert (one["progress"], one["moved"], one["cycle"], one["live"]) == (0, False, "Q4", True)
    assert one["not_moved_because"] == "its latest value is its baseline"
    assert one["worth"] == [{"currency": "EUR", "planned": 100, "realised": -5}]
    assert [(made["kind"], made["estimated_by"]) for made in one["estimates"]] == [
        ("planned", "=Ann"),
        ("realised", "=Ann"),
    ]
    both = [
        {"currency": "EUR", "planned": 150, "realised": -5},
        {"currency": "USD", "planned": 7, "realised": None},
    ]
    assert report["key_results_worth"] == both
    assert report["initiatives_worth"] == [{"currency": "EUR", "planned": 11, "realised": None}]
    initiatives = {row["key"]: row for row in report["initiatives"]}
    # SHOP-21 is done and serves nothing that is known.
    assert {key: (row["sign"], row["key_results"]) for key, row in initiatives.items()} == {
        "SHOP-20": ("finished_not_moved", ["KR-1"]),
        "SHOP-10": (None, ["KR-3"]),
        "SHOP-22": (None, []),
    }
    assert report["all_initiatives"] == 3
    assert initiatives["SHOP-10"]["work"] == {
        "epics": 2,
        "epics_done": 2,
        "children": 6,
        "children_done": 6,
        "finished": True,
    }
    assert initiatives["SHOP-22"]["not_moved_because"] == "no key result says what it is to move"
    assert (report["finished_not_moved"], report["moved_without_work"]) == (2, 1)


@pytest.mark.database
async def test_filters(api: httpx.AsyncClient, runtime: Runtime, clock: Clock) -> None:
    clock.now = NOW
    await _fill(runtime)
    for query, keys, initiatives in (
        ("cycle=q1", ["KR-4"], []),
        ("cycle=Q4", ["KR-1", "KR-2", "KR-3"], ["SHOP-20", "SHOP-10"]),
        ("objective=kr-3", ["KR-3"], ["SHOP-10"]),
        ("objective=KR-4", ["KR-4"], []),
        ("finished=true", ["KR-1"], ["SHOP-20", "SHOP-10"]),
        ("finished=false", ["KR-2", "KR-3"], ["SHOP-22"]),
        ("cycle=Q1&objective=KR-3", [], []),
    ):
        report = await send(api, "GET", f"/reports/outcomes?{query}")
        assert [row["key_result"] for row in report["key_results"]] == keys, query
        assert [row["key"] for row in report["initiatives"]] == initiatives, query
    for query, field in (("cycle=no", "cycle"), ("objective=no", "objective"), ("finished=2", "finished")):
        assert await fields_refused(api, "GET", f"/reports/outcomes?{query}", None) == [field]


@pytest.mark.database
async def test_the_csv_has_a_row_for_each_estimate(
    api: httpx.AsyncClient, runtime: Runtime, clock: Clock
) -> None:
    clock.now = NOW
    await _fill(runtime)
    answer = await api.get("/api/v1/reports/outcomes?format=csv")
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    assert [(row["key"], row["estimate"], row["currency"]) for row in rows] == [
        ("KR-1", "planned", "EUR"),
        ("KR-1", "realised", "EUR"),
        ("KR-2", "", ""),
        ("KR-3", "planned", "EUR"),
        ("KR-3", "planned", "USD"),
        ("SHOP-20", "", ""),
        ("SHOP-10", "planned", "EUR"),
        ("SHOP-22", "", ""),
    ]
    assert rows[0]["estimated_by"] == "'=Ann", "no formula in a sheet"
    assert (rows[0]["sign"], rows[0]["finished"]) == ("finished_not_moved", "true")
