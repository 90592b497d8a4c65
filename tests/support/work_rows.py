"""A small company's work as rows: goals with weights and numbers, epics open and finished, estimates."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from app.runtime import Runtime
from mappings.reports.allocation_epics import month_of
from mappings.reports.allocation_months import freeze_month
from mappings.tables import (
    CheckInRow,
    CycleRow,
    EpicRow,
    EstimateRow,
    InstallationRow,
    KeyResultRow,
    LinkRow,
    RunRow,
    SourceRow,
)
from tests.support.epic_rows import add_epic, add_goal, add_source

HOSTILE = "<script>document.title='x'</script>" + "y" * 460
RIGHT_TO_LEFT = "\u202eתשלום מהיר"
# Key, title, driver, weight, value of the latest check-in: from 10 to 20.
GOALS = (
    ("KR-1", "Checkout conversion from 2.1 to 4 %", "growth", 3.0, 10.0),
    ("KR-2", "Cost of a delivery below 4 EUR", "cost", 2.0, 17.0),
    ("KR-3", "Customers who recommend us", "experience", 2.0, 13.5),
    ("KR-4", HOSTILE, "risk", 1.0, None),
    ("KR-5", "Orders per hour", None, 0.0, 19.0),
)


async def add_company(runtime: Runtime, now: datetime) -> None:
    """Of the month before now, which is frozen on time, and of this one. SHOP-1 has two key results, SHOP-30
    is the initiative above SHOP-1 and SHOP-2, and KR-1 has all its work done and has not moved."""
    async with runtime.sessions.begin() as session:
        goals = await _goals(session, now)
        source = await add_source(session, created_at=now - timedelta(days=90))
        run = RunRow(source_id=source.id, mode="full", state="succeeded", finished_at=now)
        session.add(run)
        await _epics(session, source, goals, now)
        policy = {"exempt": {"labels": ["ktlo"]}}
        await session.execute(update(InstallationRow).values(policy=policy))
    start, _ = month_of(now.date())
    async with runtime.sessions.begin() as session:
        await freeze_month(session, start + timedelta(hours=1))


async def _goals(session: AsyncSession, now: datetime) -> dict[str, KeyResultRow]:
    day = now.date()
    cycle = CycleRow(
        key="Q4",
        title="Q4",
        starts=day - timedelta(days=60),
        ends=day + timedelta(days=30),
        review="monthly",
    )
    session.add(cycle)
    await session.flush()
    found = {}
    for number, (key, title, driver, weight, value) in enumerate(GOALS, 1):
        of = {"driver": driver, "weight": weight, "cycle_id": cycle.id}
        row = await add_goal(session, key, of_objective=of, baseline=10.0, target=20.0, unit="%")
        row.title = title
        if value is not None:
            at = now - timedelta(days=2)
            session.add(CheckInRow(key_result_id=row.id, value=value, confidence=0.6, at=at))
        made = {"key_result_id": row.id, "estimated_by": "Ann Lee", "at": now - timedelta(days=30)}
        session.add(EstimateRow(**made, kind="planned", amount=40_000.0 * number, currency="EUR"))
        found[key] = row
    made |= {"key_result_id": found["KR-2"].id, "estimated_by": "Controlling"}
    session.add(EstimateRow(**made, kind="realised", amount=-1_250.5, currency="EUR"))
    session.add(EstimateRow(**made, kind="planned", amount=9_000.0, currency="USD"))
    return found


async def _epics(
    session: AsyncSession, source: SourceRow, goals: dict[str, KeyResultRow], now: datetime
) -> None:
    async def epic(number: int, *links: tuple[str, float], **members: Any) -> EpicRow:
        alignment = {"alignment": "aligned" if links else "unaligned"}
        if "finished_at" in members:
            alignment |= {"status_category": "done", "status": "Done"}
        plain = {"tracker_created_at": now - timedelta(days=80), "title": f"Work {number}"}
        row = await add_epic(session, source, f"SHOP-{number}", **(plain | alignment | members))
        for key, weight in links:
            session.add(
                LinkRow(
                    epic_id=row.id,
                    key_result_id=goals[key].id,
                    origin="manual",
                    weight=weight,
                    why="linked by hand",
                )
            )
        return row

    above = {"parent_key": "SHOP-30", "parent_remote_id": "SHOP-30"}
    await epic(1, ("KR-2", 3), ("KR-3", 1), children=8, children_done=1, points=20.0, **above)
    await epic(2, ("KR-2", 1), children=4, points=13.0, title=HOSTILE, **above)
    await epic(3, ("KR-3", 1), children=6, children_done=3, title=RIGHT_TO_LEFT)
    await epic(4, ("KR-5", 1), points=5.0)
    await epic(5, alignment="waived")
    await epic(6, alignment="exempt", labels=["ktlo"])
    for number in (7, 8, 9):
        await epic(number, points=3.0)
    start, _ = month_of(now.date())
    await epic(20, ("KR-1", 1), finished_at=start + timedelta(days=3), children=5, children_done=5)
    await epic(21, ("KR-1", 1), finished_at=start - timedelta(days=9), children=3, children_done=3)
    await epic(22, finished_at=start - timedelta(days=5))
    await epic(23, finished_at=start + timedelta(days=4), labels=["ktlo"], alignment="exempt")
    initiative = await epic(30, ("KR-2", 1), children=2, title="Deliveries that cost less")
    made = {"epic_id": initiative.id, "estimated_by": "Bo", "at": now}
    session.add(EstimateRow(**made, kind="planned", amount=25_000.0, currency="EUR"))
