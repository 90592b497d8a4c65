"""What a person or a program may do to cycles, objectives, key results and check-ins.

`mappings.goals.agreements` has the signatures of key results.

An operation on a cycle, objective or key result takes the goals' exclusive lock itself, so a key that is free
stays free until the commit. To change one, the caller gives a function from the current values to the new
ones, which is called under that lock; `versions` are those that the caller may have read, None for any. An
operation that may affect epics marks them, opens the runs that evaluate them, and returns their ids.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict, fields
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Numeric, Select, Text, cast, func, select
from sqlalchemy.orm import aliased

from mappings.errors import Conflict, Invalid, NotFound, check_values, check_version
from mappings.goals.agreements import METRIC_COLUMNS, metric_of, void_agreements
from mappings.goals.values import (
    CycleValues,
    KeyResultValues,
    ObjectiveValues,
    check_in_errors,
    cycle_errors,
    key_result_errors,
    objective_errors,
)
from mappings.locks import lock_goals_exclusive
from mappings.lookups import Goal, about_goal, find_goal, goal_at, goal_in
from mappings.runs.causes import Cause, by_goals
from mappings.runs.reevaluation import reevaluate
from mappings.tables import (
    CheckInRow,
    ConflictRow,
    CycleRow,
    DecisionRow,
    EpicRow,
    EpicStageRow,
    EstimateRow,
    KeyResultRow,
    LinkRow,
    ObjectiveRow,
    ReviewRow,
    RuleRow,
)

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

# Alignments and findings depend on these; titles, people, weights and metrics change neither.
EVALUATED_OF_OBJECTIVES = {"key", "state", "visibility", "public_label", "cycle_id"}
EVALUATED_OF_KEY_RESULTS = {"key", "state"}
PREFIXES: dict[type[Any], str] = {ObjectiveRow: "O-", KeyResultRow: "KR-"}
NAMED_AT_MOST = 5
Versions = Collection[int] | None


# --- cycles -----------------------------------------------------------------------------------


async def create_cycle(session: AsyncSession, values: CycleValues, now: datetime) -> CycleRow:
    """Raises `Conflict` where its key is taken, and `Invalid`."""
    check_values(cycle_errors(values))
    await lock_goals_exclusive(session)
    await _check_free(session, CycleRow, values.key)
    row = CycleRow(**asdict(values), created_at=now)
    session.add(row)
    await session.flush()
    return row


async def change_cycle(
    session: AsyncSession,
    key: str,
    change: Callable[[CycleValues], CycleValues],
    now: datetime,
    *,
    versions: Versions = None,
) -> tuple[CycleRow, list[int]]:
    """A change of `ends` has the epics of the cycle's key results evaluated again.

    Raises `NotFound`, `StaleVersion`, `Conflict` where another cycle has the new key, and `Invalid`.
    """
    row = await _locked(session, CycleRow, key, versions)
    values = change(CycleValues(**_own_values(row, CycleValues)))
    check_values(cycle_errors(values))
    await _check_free(session, CycleRow, values.key, of=row)
    if "ends" not in set_changed_columns(row, asdict(values)):
        return row, []
    return row, await reevaluate_goals(session, [Cause("cycle", str(row.id), row.key)], now)


async def delete_cycle(session: AsyncSession, key: str) -> None:
    """Raises `NotFound`, and `Conflict` while the cycle has objectives, or reviews: these stay for good."""
    row = await _locked(session, CycleRow, key)
    held = select(cast(ReviewRow.held_on, Text)).where(ReviewRow.cycle_id == row.id)
    reviews = await _named_users(session, "review of", "reviews of", held.order_by(ReviewRow.held_on))
    _check_unused(row, reviews, "What was reviewed stays, and its cycle too.")
    inside = select(ObjectiveRow.key).where(ObjectiveRow.cycle_id == row.id).order_by(ObjectiveRow.id)
    users = await _named_users(session, "objective", "objectives", inside)
    _check_unused(
        row, users, "Give them another cycle first; those that are over can stay and be `archived`."
    )
    await session.delete(row)


# --- objectives -------------------------------------------------------------------------------


async def create_objective(session: AsyncSession, values: ObjectiveValues, now: datetime) -> ObjectiveRow:
    """Raises `Conflict` where its key is taken, and `Invalid`, also for an unknown cycle or parent."""
    check_values(objective_errors(values))
    await lock_goals_exclusive(session)
    key = await _new_key(session, ObjectiveRow, values.key)
    row = ObjectiveRow(**await _objective_columns(session, values, key), created_at=now)
    session.add(row)
    await session.flush()
    return row


async def change_objective(
    session: AsyncSession,
    key: str,
    change: Callable[[ObjectiveValues], ObjectiveValues],
    now: datetime,
    *,
    versions: Versions = None,
) -> tuple[ObjectiveRow, list[int]]:
    """A change of key, state, visibility, public label or cycle has the epics of its key results evaluated
    again.

    Raises `NotFound`, `StaleVersion`, `Conflict` where another objective has the new key, and `Invalid`, also
    for a parent that is under it.
    """
    row = await _locked(session, ObjectiveRow, key, versions)
    values = change(await _objective_values(session, row))
    check_values(objective_errors(values, row.key))
    new_key = await _kept_key(session, ObjectiveRow, values.key, row)
    changed = set_changed_columns(row, await _objective_columns(session, values, new_key, row))
    if not changed & EVALUATED_OF_OBJECTIVES:
        return row, []
    return row, await reevaluate_goals(session, [Cause("objective", str(row.id), row.key)], now)


async def delete_objective(session: AsyncSession, key: str) -> None:
    """Raises `NotFound`, and `Conflict` while it has key results, objectives under it, conflicts or
    decisions."""
    row = await _locked(session, ObjectiveRow, key)
    below = select(ObjectiveRow.key).where(ObjectiveRow.parent_id == row.id).order_by(ObjectiveRow.id)
    measured = select(KeyResultRow.key).where(KeyResultRow.objective_id == row.id).order_by(KeyResultRow.id)
    users = [
        *await _named_users(session, "objective", "objectives", below),
        *await _named_users(session, "key result", "key results", measured),
        *await _named_conflicts(session, ConflictRow.objective_id == row.id),
        *await _named_decisions(session, row),
    ]
    _check_unused(row, users, "Set its state to `archived` instead.")
    await session.delete(row)


async def _objective_values(session: AsyncSession, row: ObjectiveRow) -> ObjectiveValues:
    cycle = select(CycleRow.key).where(CycleRow.id == row.cycle_id)
    parent = select(ObjectiveRow.key).where(ObjectiveRow.id == row.parent_id)
    return ObjectiveValues(
        **_own_values(row, ObjectiveValues, without=("cycle", "parent")),
        cycle=await session.scalar(cycle),
        parent=await session.scalar(parent),
    )


async def _objective_columns(
    session: AsyncSession, values: ObjectiveValues, key: str, row: ObjectiveRow | None = None
) -> dict[str, Any]:
    cycle = None if values.cycle is None else await goal_in(session, CycleRow, values.cycle, "cycle")
    parent = None if values.parent is None else await goal_in(session, ObjectiveRow, values.parent, "parent")
    if row is not None and parent is not None and await _is_above(session, row.id, parent.id):
        raise Invalid("parent", f"{parent.key} is {row.key} or is under it; choose one that is not")
    own = asdict(values)
    del own["cycle"], own["parent"]
    return {
        **own,
        "key": key,
        "cycle_id": None if cycle is None else cycle.id,
        "parent_id": None if parent is None else parent.id,
    }


async def _is_above(session: AsyncSession, upper: int, lower: int) -> bool:
    """Whether `upper` is `lower` or an ancestor of it."""
    above = aliased(ObjectiveRow)
    line = (
        select(ObjectiveRow.id, ObjectiveRow.parent_id)
        .where(ObjectiveRow.id == lower)
        .cte("line", recursive=True)
    )
    line = line.union(select(above.id, above.parent_id).join(line, above.id == line.c.parent_id))
    found = await session.scalars(select(line.c.id).where(line.c.id == upper))
    return found.one_or_none() is not None


# --- key results ------------------------------------------------------------------------------


async def create_key_result(
    session: AsyncSession, objective: str, values: KeyResultValues, now: datetime
) -> tuple[KeyResultRow, list[int]]:
    """`objective` is a key. Epics whose tickets name the new key already are evaluated again.

    Raises `NotFound` for the objective, `Conflict` where the key is taken, and `Invalid`.
    """
    check_values(key_result_errors(values))
    await lock_goals_exclusive(session)
    above = await goal_at(session, ObjectiveRow, objective)
    key = await _new_key(session, KeyResultRow, values.key)
    row = KeyResultRow(**_key_result_columns(values, key), objective_id=above.id, created_at=now)
    session.add(row)
    await session.flush()
    return row, await reevaluate_goals(session, causes_of_keys([key]), now)


async def change_key_result(
    session: AsyncSession,
    key: str,
    change: Callable[[KeyResultValues], KeyResultValues],
    now: datetime,
    *,
    versions: Versions = None,
) -> tuple[KeyResultRow, list[int]]:
    """A change of key or state has the epics evaluated again that are linked to it or name its old or new
    key.

    Raises `NotFound`, `StaleVersion`, `Conflict` where another key result has the new key, and `Invalid`.
    """
    row = await _locked(session, KeyResultRow, key, versions)
    values = change(_key_result_values(row))
    check_values(key_result_errors(values, row.key))
    before = row.key
    new_key = await _kept_key(session, KeyResultRow, values.key, row)
    changed = set_changed_columns(row, _key_result_columns(values, new_key))
    if changed & METRIC_COLUMNS:
        await void_agreements(session, [row], now)
    if not changed & EVALUATED_OF_KEY_RESULTS:
        return row, []
    causes = [Cause("key_result", str(row.id), row.key), *causes_of_keys([before, row.key])]
    return row, await reevaluate_goals(session, causes, now)


async def delete_key_result(session: AsyncSession, key: str, now: datetime) -> list[int]:
    """Its check-ins and agreements are deleted too. Raises `NotFound`, and `Conflict` while links, rules,
    estimates, conflicts, pilots or decisions refer to it."""
    row = await _locked(session, KeyResultRow, key)
    mapping = select(RuleRow.name).where(RuleRow.key_result_id == row.id).order_by(RuleRow.id)
    users = [
        *await _linked(session, row),
        *await _named_users(session, "rule", "rules", mapping),
        *await _estimated(session, row),
        *await _named_conflicts(session, ConflictRow.key_result_id == row.id),
        *await _named_users(session, "pilot", "pilots", _pilots(row)),
        *await _named_decisions(session, row),
    ]
    _check_unused(row, users, "Set its state to `archived` instead.")
    causes = [Cause("key_result", str(row.id), row.key), *causes_of_keys([row.key])]
    runs = await reevaluate_goals(session, causes, now)
    await session.delete(row)
    return runs


async def _linked(session: AsyncSession, row: KeyResultRow) -> list[str]:
    query = (
        select(func.count(), func.count().filter(EpicRow.removed_at.is_(None)))
        .join_from(LinkRow, EpicRow, EpicRow.id == LinkRow.epic_id)
        .where(LinkRow.key_result_id == row.id)
    )
    count, listed = (await session.execute(query)).one()
    if not count:
        return []
    hidden = f", {count - listed} of them in no list now" if count > listed else ""
    return [f"{count} link{'s' if count > 1 else ''} of epics{hidden}"]


async def _estimated(session: AsyncSession, row: KeyResultRow) -> list[str]:
    estimates = select(func.count()).select_from(EstimateRow).where(EstimateRow.key_result_id == row.id)
    count = await session.scalar(estimates)
    return [f"{count} estimate{'s' if count > 1 else ''} of what it is worth"] if count else []


def _key_result_values(row: KeyResultRow) -> KeyResultValues:
    return KeyResultValues(**_own_values(row, KeyResultValues, without=("metric",)), metric=metric_of(row))


def _key_result_columns(values: KeyResultValues, key: str) -> dict[str, Any]:
    own = asdict(values)
    metric = own.pop("metric")
    return {**own, **metric, "key": key}


# --- check-ins --------------------------------------------------------------------------------


async def create_check_in(
    session: AsyncSession,
    key_result: str,
    now: datetime,
    *,
    value: float,
    confidence: float,
    note: str | None = None,
    at: datetime | None = None,
) -> tuple[CheckInRow, KeyResultRow]:
    """Add a value to the key result of this key; returns the check-in and the key result.

    `confidence` is 0..1; `at` is the moment of the measurement, `now` where it is None. No evaluation depends
    on check-ins, so the goals are not locked. Raises `NotFound` and `Invalid`.
    """
    check_values(check_in_errors(value, confidence, note, at, now))
    # Locked, so that the key result cannot be deleted between this read and the insert.
    query = select(KeyResultRow).where(func.lower(KeyResultRow.key) == key_result.lower())
    held = (await session.scalars(query.with_for_update(read=True, key_share=True))).one_or_none()
    if held is None:
        raise NotFound.of("key result", key_result)
    row = CheckInRow(
        key_result_id=held.id,
        value=value,
        confidence=confidence,
        note=note,
        at=at or now,
        created_at=now,
    )
    session.add(row)
    await session.flush()
    return row, held


# --- keys -------------------------------------------------------------------------------------


async def _check_free(session: AsyncSession, table: type[Goal], key: str, of: Goal | None = None) -> None:
    """Raises `Conflict` where another goal than `of` has the key, in any case."""
    other = await find_goal(session, table, key)
    if other is not None and (of is None or other.id != of.id):
        raise Conflict.taken("key", key)


async def _new_key(session: AsyncSession, table: type[Goal], key: str | None) -> str:
    """`key`, or the next number where it is None."""
    if key is not None:
        await _check_free(session, table, key)
        return key
    prefix = PREFIXES[table]
    number = func.substring(func.lower(table.key), f"^{prefix.lower()}([0-9]{{1,18}})$")
    highest = await session.scalar(select(func.max(cast(number, Numeric))))
    return f"{prefix}{int(highest or 0) + 1}"


async def _kept_key(session: AsyncSession, table: type[Goal], key: str | None, of: Goal) -> str:
    if key is None:
        raise Invalid("key", "cannot be removed; leave it out, or send another")
    await _check_free(session, table, key, of)
    return key


# --- changes ----------------------------------------------------------------------------------


async def _locked(session: AsyncSession, table: type[Goal], key: str, versions: Versions = None) -> Goal:
    """The goal, read under the goals' exclusive lock. Raises `NotFound` and `StaleVersion`."""
    await lock_goals_exclusive(session)
    row = await goal_at(session, table, key)
    check_version(row.version, versions)
    return row


def _own_values(row: Any, kind: type[Any], without: Collection[str] = ()) -> dict[str, Any]:
    """The members of the dataclass `kind` that are columns of the row under the same name."""
    return {one.name: getattr(row, one.name) for one in fields(kind) if one.name not in without}


def set_changed_columns(row: Goal, values: dict[str, Any]) -> set[str]:
    """Set the columns that differ, raise the version if there are any; the names of these columns."""
    changed = {name for name, value in values.items() if getattr(row, name) != value}
    for name in changed:
        setattr(row, name, values[name])
    if changed:
        row.version += 1
    return changed


def causes_of_keys(keys: Iterable[str]) -> list[Cause]:
    return [Cause("key", key, key) for key in sorted({key.lower() for key in keys})]


async def reevaluate_goals(session: AsyncSession, causes: Sequence[Cause], now: datetime) -> list[int]:
    """Have the epics evaluated again that are linked to these goals, name them or are to."""
    which = await by_goals(session, causes)
    return await reevaluate(session, causes, which, now) if which else []


# --- what refers to a goal --------------------------------------------------------------------


async def _named_users(session: AsyncSession, one: str, many: str, query: Select[str]) -> list[str]:
    """The names that `query` finds, as one phrase of the first few; empty where it finds none."""
    names = (await session.scalars(query.limit(NAMED_AT_MOST + 1))).all()
    if not names:
        return []
    more = " and more" if len(names) > NAMED_AT_MOST else ""
    return [f"the {one if len(names) == 1 else many} {', '.join(names[:NAMED_AT_MOST])}{more}"]


def _pilots(row: KeyResultRow) -> Select[str]:
    """The keys of the epics that are measured by it, at whatever stage."""
    measured = select(EpicRow.key).join(EpicStageRow, EpicStageRow.epic_id == EpicRow.id)
    return measured.where(EpicStageRow.measure_id == row.id).order_by(EpicRow.id)


async def _named_decisions(session: AsyncSession, row: ObjectiveRow | KeyResultRow) -> list[str]:
    """Undone ones too: the log keeps them."""
    ids = select(cast(DecisionRow.id, Text)).where(about_goal(row)).order_by(DecisionRow.id)
    return await _named_users(session, "decision", "decisions", ids)


async def _named_conflicts(session: AsyncSession, of_goal: ColumnElement[bool]) -> list[str]:
    ids = select(cast(ConflictRow.id, Text)).where(of_goal).order_by(ConflictRow.id)
    return await _named_users(session, "conflict", "conflicts", ids)


def _check_unused(row: CycleRow | ObjectiveRow | KeyResultRow, users: Collection[str], way_out: str) -> None:
    """Raises `Conflict` that names the users, where there are any."""
    if users:
        raise Conflict(f"{row.key} is still used by {', and by '.join(users)}. {way_out}")
