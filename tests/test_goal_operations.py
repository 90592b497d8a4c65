"""The operations on goals, called without the API: they hold the rules that its bodies are checked by too."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any, cast

import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.runtime import Runtime
from mappings.errors import Invalid, StaleVersion
from mappings.goals import operations
from mappings.goals.agreements import sign_key_result
from mappings.goals.values import CycleValues, KeyResultValues, MetricValues, ObjectiveValues
from mappings.policy.operations import change_policy
from mappings.tables import CycleRow, KeyResultRow, ObjectiveRow

NOW = datetime(2026, 11, 2, 9, tzinfo=UTC)
CYCLE = CycleValues(key="Q", title="Q", starts=date(2026, 10, 1), ends=date(2026, 12, 31), review="monthly")
ALPHA = ObjectiveValues(key="A", title="Alpha", description="first", cycle="q", weight=2)
RISING = MetricValues(unit="%", baseline=10, target=20, direction="increase")
ONE = KeyResultValues(key="K", title="One", category="roi", metric=RISING, due=date(2026, 12, 1))

OUT_OF_YEARS = replace(CYCLE, starts=date(1969, 12, 31), ends=date(2101, 1, 1))
TOO_SHORT = replace(CYCLE, ends=date(2026, 9, 30))
UNLABELLED = replace(ALPHA, visibility="confidential")
FALLING = replace(ONE, metric=replace(RISING, direction="decrease"))

Operation = Callable[[AsyncSession], Awaitable[Any]]
REFUSED: list[tuple[str, Operation]] = [
    (
        "starts: must lie between 1970 and 2100; ends: must lie between 1970 and 2100",
        lambda db: operations.create_cycle(db, OUT_OF_YEARS, NOW),
    ),
    ("ends: must not be before starts", lambda db: operations.create_cycle(db, TOO_SHORT, NOW)),
    (
        "ends: must not be before starts",
        lambda db: operations.change_cycle(db, "q", lambda _: TOO_SHORT, NOW),
    ),
    (
        "public_label: is needed for a confidential objective: tickets show it in place of the title",
        lambda db: operations.create_objective(db, replace(UNLABELLED, key=None), NOW),
    ),
    (
        "public_label: is needed for a confidential objective: tickets show it in place of the title",
        lambda db: operations.change_objective(db, "a", lambda _: UNLABELLED, NOW),
    ),
    (
        "metric.direction: is `decrease`, but the target is above the baseline",
        lambda db: operations.create_key_result(db, "A", replace(FALLING, key=None), NOW),
    ),
    (
        "metric.direction: is `decrease`, but the target is above the baseline",
        lambda db: operations.change_key_result(db, "k", lambda _: FALLING, NOW),
    ),
    (
        "public_label: is needed for a confidential objective: tickets show it in place of the title",
        lambda db: operations.create_objective(db, replace(UNLABELLED, key=None, public_label=""), NOW),
    ),
    (
        "metric.direction: must be one of increase, decrease",
        lambda db: operations.change_key_result(
            db, "k", lambda _: replace(ONE, metric=_with(RISING, direction="sideways")), NOW
        ),
    ),
    (
        "side: must be one of business, it; name: must not be empty; note: must not hold U+0000",
        lambda db: sign_key_result(db, "k", NOW, side=cast(Any, "qa"), name=" ", note="\0"),
    ),
    (
        "confidence: must be at most 1",
        lambda db: operations.create_check_in(db, "k", NOW, value=1, confidence=7),
    ),
    (
        "value: must be a number, neither infinite nor NaN; note: must not hold U+0000",
        lambda db: operations.create_check_in(db, "k", NOW, value=math.nan, confidence=1, note="\0"),
    ),
    (
        "at: must say its time zone, such as 2026-12-31T12:00:00Z",
        lambda db: operations.create_check_in(
            db, "k", NOW, value=1, confidence=1, at=NOW.replace(tzinfo=None)
        ),
    ),
]


def _with(values: Any, **changes: Any) -> Any:
    """As `replace`, also with values that the types do not allow."""
    return replace(values, **changes)


# What a create and a change refuse alike: the field, its value, what is wrong with it.
KEY = "must be 1 to 64 letters, digits, dots, underscores or hyphens, the first a letter or digit"
STATES = "must be one of draft, active, achieved, missed, archived"
WRONG: list[tuple[Any, str, Any, str]] = [
    (CYCLE, "key", "a key/?", KEY),
    (CYCLE, "title", " ", "must not be empty"),
    (CYCLE, "review", "daily", "must be one of monthly, quarterly"),
    (ALPHA, "key", "", KEY),
    (ALPHA, "title", "x" * 501, "must have 500 characters at most"),
    (ALPHA, "description", "x" * 20_001, "must have 20000 characters at most"),
    (ALPHA, "driver", "fun", "must be one of growth, cost, experience, risk"),
    (ALPHA, "cycle", "\0", KEY),
    (ALPHA, "parent", "a b", KEY),
    (ALPHA, "owner", "", "must not be empty"),
    (ALPHA, "sponsor", "\0", "must not hold U+0000"),
    (ALPHA, "weight", -1, "must be at least 0"),
    (ALPHA, "weight", math.inf, "must be a number, neither infinite nor NaN"),
    (ALPHA, "visibility", "secret", "must be one of public, internal, confidential"),
    (ALPHA, "public_label", "", "must not be empty"),
    (ALPHA, "state", "done", STATES),
    (ONE, "key", "K\n", KEY),
    (ONE, "title", "", "must not be empty"),
    (ONE, "description", "x" * 20_001, "must have 20000 characters at most"),
    (ONE, "owner", "", "must not be empty"),
    (ONE, "category", "fun", "must be one of roi, customer, revenue, productivity, quality, risk"),
    (ONE, "state", "", STATES),
]


@pytest.mark.parametrize(("good", "field", "value", "message"), WRONG)
async def test_each_value_is_checked_on_creation_and_on_change(
    runtime: Runtime, good: Any, field: str, value: Any, message: str
) -> None:
    await _create_one_each(runtime)
    wrong = _with(good, **{field: value})
    of_kind: dict[type[Any], tuple[Operation, Operation]] = {
        CycleValues: (
            lambda db: operations.create_cycle(db, wrong, NOW),
            lambda db: operations.change_cycle(db, "q", lambda _: wrong, NOW),
        ),
        ObjectiveValues: (
            lambda db: operations.create_objective(db, wrong, NOW),
            lambda db: operations.change_objective(db, "a", lambda _: wrong, NOW),
        ),
        KeyResultValues: (
            lambda db: operations.create_key_result(db, "a", wrong, NOW),
            lambda db: operations.change_key_result(db, "k", lambda _: wrong, NOW),
        ),
    }
    for operation in of_kind[type(good)]:
        with pytest.raises(Invalid) as refused:
            async with runtime.transaction() as session:
                await operation(session)
        assert refused.value.errors == ((field, message),)


async def _create_one_each(runtime: Runtime) -> None:
    async with runtime.transaction() as session:
        await operations.create_cycle(session, CYCLE, NOW)
        await operations.create_objective(session, ALPHA, NOW)
        await operations.create_key_result(session, "A", ONE, NOW)


@pytest.mark.parametrize(("detail", "operation"), REFUSED)
async def test_values_that_do_not_fit_together_are_refused(
    runtime: Runtime, detail: str, operation: Operation
) -> None:
    await _create_one_each(runtime)
    with pytest.raises(Invalid) as refused:
        async with runtime.transaction() as session:
            await operation(session)
    assert refused.value.detail == detail
    async with runtime.sessions() as session:
        for table in (CycleRow, ObjectiveRow, KeyResultRow):
            versions = select(func.count(), func.max(table.version))
            assert tuple((await session.execute(versions)).one()) == (1, 1)


async def test_a_change_starts_from_all_the_current_values(runtime: Runtime) -> None:
    await _create_one_each(runtime)
    current: list[Any] = []

    def keep(values: Any) -> Any:
        current.append(values)
        return values

    async with runtime.transaction() as session:
        cycle, _ = await operations.change_cycle(session, "q", keep, NOW)
        objective, _ = await operations.change_objective(session, "a", keep, NOW)
        key_result, _ = await operations.change_key_result(session, "k", keep, NOW)
    assert current == [CYCLE, replace(ALPHA, cycle="Q"), ONE]
    assert [cycle.version, objective.version, key_result.version] == [1, 1, 1]


async def test_a_stale_copy_is_refused_before_the_change_is_asked_for(runtime: Runtime) -> None:
    await _create_one_each(runtime)

    def never(values: Any) -> Any:
        raise AssertionError(values)

    stale: list[Operation] = [
        lambda db: operations.change_cycle(db, "Q", never, NOW, versions={2}),
        lambda db: operations.change_objective(db, "A", never, NOW, versions={2}),
        lambda db: operations.change_key_result(db, "K", never, NOW, versions=()),
        lambda db: change_policy(db, never, NOW, versions={0}),
    ]
    for operation in stale:
        with pytest.raises(StaleVersion):
            async with runtime.transaction() as session:
                await operation(session)
