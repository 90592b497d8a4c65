"""The goals of a small company in one quarter, with check-ins and signatures, made by the operations."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from app.runtime import Runtime
from mappings.goals import operations
from mappings.goals.agreements import sign_key_result
from mappings.goals.values import AgreementSide, CycleValues, KeyResultValues, MetricValues, ObjectiveValues
from tests.support.clock import Clock

BEGIN = datetime(2026, 10, 1, 9, tzinfo=UTC)
TODAY = datetime(2026, 11, 27, 9, tzinfo=UTC)
CHECKED_IN = (datetime(2026, 10, 30, tzinfo=UTC), datetime(2026, 11, 20, tzinfo=UTC))
SIGNED: dict[str, list[AgreementSide]] = {"both": ["business", "it"], "business": ["business"], "": []}

# Key, title, unit, from, to, the values checked in, the latest confidence, who signed.
Figures = tuple[str, str, str, float, float, list[float], float, str]
OBJECTIVES: list[tuple[dict[str, Any], list[Figures]]] = [
    (
        {"title": "Turn more visits into orders", "driver": "growth", "weight": 30, "sponsor": "coo"},
        [
            ("KR-1", "Checkout conversion from 2.4 to 3.2 %", "%", 2.4, 3.2, [2.5, 2.7], 0.7, "both"),
            ("KR-2", "Orders from the app", "a week", 18000, 26000, [19000, 21800], 0.8, "both"),
        ],
    ),
    (
        {"title": "Serve every order for less", "driver": "cost", "weight": 25, "sponsor": "cfo"},
        [
            ("KR-4", "Cloud cost of an order", "EUR", 0.42, 0.30, [0.40, 0.37], 0.6, "business"),
            ("KR-5", "Migrate 40 services", "", 0, 40, [], 0, ""),
        ],
    ),
    (
        {"title": "Customers get what they need without asking", "driver": "experience", "weight": 25},
        [
            ("KR-6", "App store rating from 4.1 to 4.5", "stars", 4.1, 4.5, [4.15, 4.2], 0.4, "both"),
            ("KR-8", "Help searches that find an answer", "%", 55, 75, [57, 61], 0.6, "both"),
        ],
    ),
]


async def company_goals(runtime: Runtime, clock: Clock) -> None:
    """Objectives O-1 to O-4 of the cycle 2026-Q4, at the end of November. O-4 serves O-2, has no driver and
    no key result but KR-10, which has no metric."""
    async with runtime.transaction("somebody") as session:
        cycle = CycleValues(
            key="2026-Q4",
            title="Fourth quarter",
            starts=date(2026, 10, 1),
            ends=date(2026, 12, 31),
            review="monthly",
        )
        await operations.create_cycle(session, cycle, BEGIN)
        for number, (objective, figures) in enumerate(OBJECTIVES, 1):
            values = ObjectiveValues(**objective, cycle="2026-Q4", owner=f"head-{number}")
            row = await operations.create_objective(session, values, BEGIN)
            for one in figures:
                await _key_result(session, row.key, one)
        below = ObjectiveValues(title="One platform for all", parent="O-2", cycle="2026-Q4")
        await operations.create_objective(session, below, BEGIN)
        unmeasured = KeyResultValues(key="KR-10", title="Less to run")
        await operations.create_key_result(session, "O-4", unmeasured, BEGIN)
    clock.now = TODAY


async def _key_result(session: AsyncSession, objective: str, figures: Figures) -> None:
    key, title, unit, low, high, values, confidence, signed = figures
    metric = MetricValues(unit=unit or None, baseline=low, target=high)
    made = KeyResultValues(key=key, title=title, metric=metric)
    await operations.create_key_result(session, objective, made, BEGIN)
    for side in SIGNED[signed]:
        await sign_key_result(session, key, BEGIN, side=side, name=f"Head of {side}")
    for at, value, less in zip(CHECKED_IN, values, (0.1, 0), strict=False):
        note = None if less else "As measured"
        sure = round(confidence - less, 2)
        await operations.create_check_in(session, key, at, value=value, confidence=sure, note=note)
