"""Which key results are steered: measured, agreed by both sides, and moved."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from app.runtime import Runtime
from mappings.goals.steering import why_not_agreed, why_not_measured, why_not_moved, why_not_steered
from mappings.goals.values import MetricValues
from mappings.reports.steering import is_steered, steered_key_results
from mappings.tables import AgreementRow, CheckInRow, EpicRow, KeyResultRow, LinkRow
from tests.support.epic_rows import NOW, add_epic, add_goal, add_source

# --- the decision -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("metric", "why"),
    [
        ({"baseline": 68, "target": 55}, None),
        ({"baseline": 68, "target": 55, "direction": "decrease", "unit": "%"}, None),
        ({"baseline": 0, "target": 1, "direction": "increase"}, None),
        ({}, "it has no baseline and no target"),
        ({"unit": "%", "target": 55}, "it has no baseline"),
        ({"baseline": 68}, "it has no target"),
        ({"baseline": 5, "target": 5.0}, "its target is its baseline"),
        (
            {"baseline": 68, "target": 55, "direction": "increase"},
            "its direction does not lead from its baseline to its target",
        ),
    ],
)
def test_a_key_result_is_measured_from_a_baseline_to_another_target(
    metric: dict[str, object], why: str
) -> None:
    assert why_not_measured(MetricValues(**metric)) == why  # type: ignore[arg-type]  # of a table of cases


@pytest.mark.parametrize(
    ("signed", "why"),
    [
        (["it", "business"], None),
        (["business"], "IT has not signed its metric as it is now"),
        (["it"], "the business has not signed its metric as it is now"),
        ([], "the business and IT have not signed its metric as it is now"),
    ],
)
def test_both_sides_must_have_signed(signed: list[object], why: str | None) -> None:
    assert why_not_agreed(signed) == why  # type: ignore[arg-type]  # as the database returns them


@pytest.mark.parametrize(
    ("baseline", "latest", "why"),
    [
        (68, 61.5, None),
        (68, 70, None),
        (68, None, "nobody has checked in a value"),
        (68, 68.0, "its latest value is its baseline"),
        (None, 61.5, "it has no baseline to move from"),
        (0, -0.0, "its latest value is its baseline"),
    ],
)
def test_it_has_moved_where_its_latest_value_is_another(
    baseline: float | None, latest: float | None, why: str | None
) -> None:
    assert why_not_moved(baseline, latest) == why


def test_every_reason_is_told() -> None:
    assert why_not_steered(MetricValues(), [], None) == [
        "it has no baseline and no target",
        "the business and IT have not signed its metric as it is now",
        "nobody has checked in a value",
    ]
    assert why_not_steered(MetricValues(baseline=1, target=2), ["it", "business"], 1.5) == []


# --- the rows ---------------------------------------------------------------------------------


TODAY = NOW.date()


def _signed(row: KeyResultRow, side: str, **members: Any) -> AgreementRow:
    return AgreementRow(key_result_id=row.id, side=side, name="Ann", **members)


def _checked_in(row: KeyResultRow, value: float, day: int) -> CheckInRow:
    return CheckInRow(key_result_id=row.id, value=value, confidence=1, at=NOW - timedelta(days=day))


@pytest.mark.database
async def test_the_rows_of_a_steered_key_result(runtime: Runtime) -> None:
    """One goal that is steered, and for each thing that it takes another that lacks this one thing."""
    void = {"voided_at": NOW, "void_reason": "metric_changed"}
    async with runtime.sessions.begin() as session:
        goals = {
            "steered": await add_goal(session, "steered", TODAY),
            "unmeasured": await add_goal(session, "unmeasured", target=1),
            "one side": await add_goal(session, "one-side"),
            "voided": await add_goal(session, "voided"),
            "back": await add_goal(session, "back"),
            "no check-in": await add_goal(session, "no-check-in"),
            "closed": await add_goal(session, "closed", state="achieved"),
            "over": await add_goal(session, "over", TODAY - timedelta(days=1)),
        }
        for name, row in goals.items():
            session.add(_signed(row, "business"))
            if name != "one side":
                session.add(_signed(row, "it", **(void if name == "voided" else {})))
            if name != "no check-in":
                session.add(_checked_in(row, 1.5, 2))
        session.add(_checked_in(goals["back"], 1, 1))
        session.add(_checked_in(goals["steered"], 1, 3))
        await session.flush()
        found = await steered_key_results(session, NOW)
    assert found == {goals["steered"].id}


@pytest.mark.database
async def test_an_epic_is_steered_by_any_of_its_links(runtime: Runtime) -> None:
    async with runtime.sessions.begin() as session:
        steered, other = await add_goal(session, "KR-1"), await add_goal(session, "KR-2")
        source = await add_source(session)
        for key, alignment, goals in (
            ("A-1", "aligned", [steered]),
            ("A-2", "aligned", [other, steered]),
            ("A-3", "aligned", [other]),
            ("A-4", "unaligned", [steered]),
            ("A-5", None, [steered]),
        ):
            epic = await add_epic(session, source, key, alignment=alignment)
            session.add_all(
                LinkRow(
                    epic_id=epic.id,
                    key_result_id=goal.id,
                    origin="manual",
                    why="",
                    is_primary=goal is other,
                )
                for goal in goals
            )
        await session.flush()
        query = select(EpicRow.key).where(is_steered({steered.id})).order_by(EpicRow.id)
        assert list(await session.scalars(query)) == ["A-1", "A-2"]
