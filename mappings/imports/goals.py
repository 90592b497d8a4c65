"""Files of objectives and key results: what is stored, what their lines change, and the change itself."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from mappings.goals.agreements import METRIC_COLUMNS, void_agreements
from mappings.goals.operations import (
    EVALUATED_OF_KEY_RESULTS,
    EVALUATED_OF_OBJECTIVES,
    PREFIXES,
    causes_of_keys,
    reevaluate_goals,
    set_changed_columns,
)
from mappings.goals.values import (
    KeyResultValues,
    MetricValues,
    ObjectiveValues,
    key_result_errors,
    objective_errors,
)
from mappings.imports.columns import KEY_RESULTS, OBJECTIVES
from mappings.imports.goal_plan import GoalPlan, GoalRules, plan_goals
from mappings.imports.outcome import Imported, may_apply
from mappings.locks import lock_goals_exclusive
from mappings.runs.causes import Cause
from mappings.tables import CycleRow, KeyResultRow, ObjectiveRow

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from mappings.imports.columns import Kind
    from mappings.imports.read import Lines
    from mappings.imports.target import Target, Values
    from mappings.values import FieldErrors

FLUSHED_AT_ONCE = 500  # rows; between two flushes the process does its other work


async def import_objectives(
    session: AsyncSession, file: Lines, now: datetime, *, dry_run: bool, partial: bool
) -> Imported:
    if not dry_run:
        await lock_goals_exclusive(session)
    cycles = {row.id: row.key for row in await session.scalars(select(CycleRow))}
    rows = (await session.scalars(select(ObjectiveRow).order_by(ObjectiveRow.id))).all()
    keys = {row.id: row.key for row in rows}
    rules = GoalRules[ObjectiveRow](
        OBJECTIVES,
        _defaults(OBJECTIVES),
        within="cycle",
        above={"cycle": _by_lower(cycles)},
        errors=_errors_of_objective,
        prefix=PREFIXES[ObjectiveRow],
        parents="parent",
    )
    stored = [
        (
            row.key,
            row,
            _own(OBJECTIVES, row, cycle=cycles.get(row.cycle_id or 0), parent=keys.get(row.parent_id or 0)),
        )
        for row in rows
    ]
    plan = await asyncio.to_thread(plan_goals, rules, file.lines, stored)
    if dry_run or not may_apply(plan.lines, partial=partial):
        return Imported(plan.lines, applied=False)
    cycle_ids = {key.lower(): id for id, key in cycles.items()}
    ids = {key.lower(): id for id, key in keys.items()}
    await _create_objectives(session, plan, cycle_ids, ids, now)
    return Imported(plan.lines, True, await _change_objectives(session, plan, cycle_ids, ids, now))


def _errors_of_objective(values: Values, stored_key: str | None) -> FieldErrors:
    return objective_errors(ObjectiveValues(**values), stored_key)


async def _create_objectives(
    session: AsyncSession,
    plan: GoalPlan[ObjectiveRow],
    cycle_ids: Mapping[str, int],
    ids: dict[str, int],
    now: datetime,
) -> None:
    """Store the new objectives, and add their ids: those above first, for the others refer to them."""
    waiting = list(plan.created)
    while waiting:
        ready = [target for target in waiting if _is_stored(target.values["parent"], ids)]
        waiting = [target for target in waiting if not _is_stored(target.values["parent"], ids)]
        assert ready, "a parent is neither stored nor made"
        rows = [
            ObjectiveRow(**_objective_columns(target.values, cycle_ids, ids), key=target.key, created_at=now)
            for target in ready
        ]
        await _flush(session, rows)
        ids |= {row.key.lower(): row.id for row in rows}


def _is_stored(key: str | None, ids: Mapping[str, int]) -> bool:
    return key is None or key.lower() in ids


def _objective_columns(
    values: Values, cycle_ids: Mapping[str, int], ids: Mapping[str, int]
) -> dict[str, Any]:
    own = dict(values)
    cycle, parent = own.pop("cycle"), own.pop("parent")
    own["cycle_id"] = None if cycle is None else cycle_ids[cycle.lower()]
    own["parent_id"] = None if parent is None else ids[parent.lower()]
    return own


async def _change_objectives(
    session: AsyncSession,
    plan: GoalPlan[ObjectiveRow],
    cycle_ids: Mapping[str, int],
    ids: Mapping[str, int],
    now: datetime,
) -> list[int]:
    causes: list[Cause] = []
    for target in plan.changed:
        row = _row(target)
        columns = _objective_columns(target.values, cycle_ids, ids)
        if set_changed_columns(row, _only_changed(target, columns)) & EVALUATED_OF_OBJECTIVES:
            causes.append(Cause("objective", str(row.id), row.key))
    await session.flush()
    return await reevaluate_goals(session, causes, now)


# --- key results ------------------------------------------------------------------------------


async def import_key_results(
    session: AsyncSession, file: Lines, now: datetime, *, dry_run: bool, partial: bool
) -> Imported:
    if not dry_run:
        await lock_goals_exclusive(session)
    objectives = {id: key for id, key in await session.execute(select(ObjectiveRow.id, ObjectiveRow.key))}
    rows = (await session.scalars(select(KeyResultRow).order_by(KeyResultRow.id))).all()
    rules = GoalRules[KeyResultRow](
        KEY_RESULTS,
        _defaults(KEY_RESULTS),
        within="objective",
        above={"objective": _by_lower(objectives)},
        errors=_errors_of_key_result,
        prefix=PREFIXES[KeyResultRow],
        fixed=("objective",),
        signed=METRIC_COLUMNS,
    )
    stored = [(row.key, row, _own(KEY_RESULTS, row, objective=objectives[row.objective_id])) for row in rows]
    plan = await asyncio.to_thread(plan_goals, rules, file.lines, stored)
    if dry_run or not may_apply(plan.lines, partial=partial):
        return Imported(plan.lines, applied=False)
    ids = {key.lower(): id for id, key in objectives.items()}
    return Imported(plan.lines, True, await _store_key_results(session, plan, ids, now))


def _errors_of_key_result(values: Values, stored_key: str | None) -> FieldErrors:
    metric = {name: values[name] for name in METRIC_COLUMNS}
    own = {name: value for name, value in values.items() if name not in (*METRIC_COLUMNS, "objective")}
    return key_result_errors(KeyResultValues(**own, metric=MetricValues(**metric)), stored_key)


async def _store_key_results(
    session: AsyncSession, plan: GoalPlan[KeyResultRow], objective_ids: Mapping[str, int], now: datetime
) -> list[int]:
    made = []
    for target in plan.created:
        own = dict(target.values)
        objective_id = objective_ids[own.pop("objective").lower()]
        made.append(KeyResultRow(**own, key=target.key, objective_id=objective_id, created_at=now))
    await _flush(session, made)
    causes = causes_of_keys(row.key for row in made)
    measured: list[KeyResultRow] = []
    for target in plan.changed:
        row = _row(target)
        changed = set_changed_columns(row, _only_changed(target, target.values))
        if changed & METRIC_COLUMNS:
            measured.append(row)
        if changed & EVALUATED_OF_KEY_RESULTS:
            causes += [Cause("key_result", str(row.id), row.key), *causes_of_keys([row.key])]
    await session.flush()
    if measured:
        await void_agreements(session, measured, now)
    return await reevaluate_goals(session, causes, now)


# --- both -------------------------------------------------------------------------------------


def _defaults(kind: Kind) -> Values:
    return {column.name: column.default for column in kind.columns if column.name != "key"}


def _own(kind: Kind, row: Any, **elsewhere: str | None) -> Values:
    """The row's values by the names of the columns."""
    return {
        name: elsewhere[name] if name in elsewhere else getattr(row, name)
        for name in kind.names
        if name != "key"
    }


def _by_lower(keys: Mapping[int, str]) -> dict[str, str]:
    return {key.lower(): key for key in keys.values()}


def _row(target: Target[Any]) -> Any:
    assert target.stored is not None
    return target.stored


def _only_changed(target: Target[Any], columns: Mapping[str, Any]) -> dict[str, Any]:
    """A blank text that stays as it is cannot be told from an empty cell, and is left."""
    changed = target.changed
    return {name: value for name, value in columns.items() if name.removesuffix("_id") in changed}


async def _flush(session: AsyncSession, rows: Sequence[Any]) -> None:
    for start in range(0, len(rows), FLUSHED_AT_ONCE):
        session.add_all(rows[start : start + FLUSHED_AT_ONCE])
        await session.flush()
