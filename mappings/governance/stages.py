"""The stage of an epic: idea, pilot, scale, done, and the gates between them.

A pilot needs a measure and a last day. It scales once its measure was checked in since the pilot began. Every
move back is allowed. No evaluation depends on stages.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, cast, get_args

from sqlalchemy import ColumnElement, and_, select

from mappings.audit import actor_of
from mappings.errors import Conflict, Invalid, check_values, check_version
from mappings.goals.key_results import why_not_live
from mappings.goals.rows import key_result_of
from mappings.governance.values import Stage, columns_as_json, columns_from_json
from mappings.locks import lock_epics, lock_goals_shared
from mappings.lookups import key_result_in, locked_epic_at
from mappings.policy.durations import LONGEST_DAYS
from mappings.tables import (
    CheckInRow,
    CycleRow,
    EpicRow,
    EpicStageRow,
    KeyResultRow,
    ObjectiveRow,
    SourceRow,
)
from mappings.values import day_error, key_error, one_of_error

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy.ext.asyncio import AsyncSession

_ORDER: tuple[Stage, ...] = get_args(Stage)


async def set_stage(
    session: AsyncSession,
    source: str,
    key: str,
    stage: Stage,
    measure: str | None,
    by: date | None,
    now: datetime,
    *,
    versions: Collection[int] | None = None,
) -> EpicStageRow:
    """Move an epic to a stage. `measure` is the key of a key result and `by` the last day, UTC: a pilot needs
    both, and no other stage takes them.

    Raises `NotFound` for the epic, `StaleVersion`, `Conflict` where a gate is closed, and `Invalid`.
    """
    check_values(stage_errors(stage, measure, by, now))
    await lock_goals_shared(session)  # so that the measure stays
    _, epic = await locked_epic_at(session, source, key)
    row = await locked_stage(session, epic.id)
    if versions is not None:
        check_version(0 if row is None else row.version, versions)
    measured = None if measure is None else await measure_in(session, measure, "measure", now)
    return await move_stage(session, epic, row, stage, measured, by, now)


def stage_errors(
    stage: Stage, measure: str | None, by: date | None, now: datetime
) -> list[tuple[str, str | None]]:
    """What is wrong with what a person asks for, by field."""
    if stage == "pilot":
        needed = "is needed for a pilot"
        measure_wrong = f"{needed}: the key of the key result that tells whether it works"
        by_wrong = f"{needed}: the last day, on which it is decided whether it scales"
        return [
            ("measure", measure_wrong if measure is None else key_error(measure)),
            ("by", by_wrong if by is None else by_error(by, now)),
        ]
    surplus = "belongs to a pilot; leave it out"
    return [
        ("stage", one_of_error(stage, _ORDER)),
        ("measure", None if measure is None else surplus),
        ("by", None if by is None else surplus),
    ]


def by_error(by: date | None, now: datetime) -> str | None:
    """Of the last day, inclusive and UTC, of something that begins now."""
    if by is None or (wrong := day_error(by)) is not None:
        return None if by is None else wrong
    today = now.astimezone(UTC).date()
    if by < today:
        return "is past; give a day to come"
    if by - today > timedelta(days=LONGEST_DAYS):
        return f"is more than {LONGEST_DAYS} days ahead; give an earlier day, it can be decided anew"
    return None


async def locked_stage(session: AsyncSession, epic_id: int) -> EpicStageRow | None:
    """The stage of an epic that the caller has locked."""
    query = select(EpicStageRow).where(EpicStageRow.epic_id == epic_id).with_for_update()
    return (await session.scalars(query.execution_options(populate_existing=True))).one_or_none()


async def move_stage(
    session: AsyncSession,
    epic: EpicRow,
    row: EpicStageRow | None,
    stage: Stage,
    measure: KeyResultRow | None,
    by: date | None,
    now: datetime,
) -> EpicStageRow:
    """Of `set_stage` and of decisions, which have locked the epic and its stage `row`, and have checked the
    values. Raises `Conflict` where a gate is closed."""
    await _check_gate(session, epic.key, row, stage)
    if row is None:
        row = EpicStageRow(epic_id=epic.id, stage=stage, entered_at=now)
        session.add(row)
    elif row.stage != stage:
        row.stage, row.entered_at = stage, now
        row.version += 1
    else:
        row.version += 1
    row.changed_by = actor_of(session)
    row.due = by
    if stage == "pilot":
        assert measure is not None
        if row.pilot_began_at is None or row.entered_at == now:
            row.pilot_began_at = now
        row.measure_id = measure.id
    elif stage == "idea":
        row.measure_id = row.pilot_began_at = None
    await session.flush()
    return row


_KEPT = ("stage", "measure_id", "due", "changed_by", "entered_at", "pilot_began_at")


def stored_stage(row: EpicStageRow | None) -> dict[str, Any] | None:
    """A stage as JSON, for `restore_stage`."""
    return None if row is None else columns_as_json(row, _KEPT)


async def restore_stage(
    session: AsyncSession, epic: EpicRow, before: dict[str, Any] | None, after: dict[str, Any] | None
) -> None:
    """Give an epic, which the caller has locked, the stage `before` again, which was changed to `after`.

    The caller holds the goals' lock. Raises `Conflict` where it was changed since, or the measure is gone."""
    row = await locked_stage(session, epic.id)
    if stored_stage(row) != after:
        at = "has none any more" if row is None else f"is at {row.stage}"
        raise Conflict(
            f"The stage of {epic.key} was changed since: it {at}. Set it as you want it, or take another"
            " decision. Nothing was undone."
        )
    if before is None:
        await session.delete(row)
    else:
        values = columns_from_json(before)
        measure = values["measure_id"]
        if measure is not None and await session.get(KeyResultRow, measure) is None:
            raise Conflict(f"What the pilot {epic.key} was measured by was deleted. Nothing was undone.")
        if row is None:
            row = EpicStageRow(epic_id=epic.id, version=0)
            session.add(row)
        for name, value in values.items():
            setattr(row, name, value)
        row.version += 1
    await session.flush()


async def take_stage_back(
    session: AsyncSession, epic_id: int, before: dict[str, Any] | None, after: dict[str, Any] | None
) -> None:
    """Undo `set_stage`, by what `stored_stage` said before and after it. Raises `Conflict`."""
    await lock_goals_shared(session)
    epics = await lock_epics(session, [epic_id])
    if not epics:
        raise Conflict("The epic is gone.")
    await restore_stage(session, epics[0], before, after)


async def _check_gate(session: AsyncSession, key: str, row: EpicStageRow | None, stage: Stage) -> None:
    before = None if row is None else row.stage
    if stage == "done" and before in (None, "idea"):
        raise Conflict(f"{key} is {_named(before)}; only a pilot, or what scales, can be done.")
    if stage == "scale":
        await check_may_scale(session, key, row)


async def check_may_scale(session: AsyncSession, key: str, row: EpicStageRow | None) -> None:
    """Raises `Conflict` where the epic had no pilot, or its measure was not checked in since that began."""
    if row is None or row.pilot_began_at is None or row.measure_id is None:
        before = _named(None if row is None else row.stage)
        raise Conflict(
            f"{key} is {before}, and only what was a pilot can scale: make it a pilot first, with a measure"
            " and a day."
        )
    checked = select(CheckInRow.id).where(
        CheckInRow.key_result_id == row.measure_id, CheckInRow.at >= row.pilot_began_at
    )
    if await session.scalar(checked.limit(1)) is None:
        measure = (await session.get_one(KeyResultRow, row.measure_id)).key
        raise Conflict(
            f"{measure}, the measure of the pilot {key}, was not checked in since the pilot began on"
            f" {row.pilot_began_at.astimezone(UTC).date()}: check it in first"
            f" (POST /api/v1/key-results/{measure}/check-ins), then scale."
        )


def _named(stage: str | None) -> str:
    return {None: "in no stage yet", "idea": "an idea", "pilot": "a pilot"}.get(stage, f"at {stage}")


# --- key results ------------------------------------------------------------------------------


async def live_key_result_in(session: AsyncSession, key: str, field: str, now: datetime) -> KeyResultRow:
    """Raises `Invalid` where there is no such key result, or it no longer counts."""
    row = await key_result_in(session, key, field)
    objective = await session.get_one(ObjectiveRow, row.objective_id)
    cycle = None if objective.cycle_id is None else await session.get_one(CycleRow, objective.cycle_id)
    why_not = why_not_live(key_result_of(row, objective, None if cycle is None else cycle.ends), now)
    if why_not is not None:
        raise Invalid(field, f"{row.key} does not count any more: {why_not}; name another")
    return row


async def measure_in(session: AsyncSession, key: str, field: str, now: datetime) -> KeyResultRow:
    """A live key result with a baseline and a target. Raises `Invalid`."""
    row = await live_key_result_in(session, key, field, now)
    if row.baseline is None or row.target is None:
        raise Invalid(
            field,
            f"{row.key} is not measured: give it a baseline and a target first"
            f" (PATCH /api/v1/key-results/{row.key})",
        )
    return row


# --- pilots that are over ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OverduePilot:
    """A pilot whose last day `due` is past. `measure`: the key of its key result."""

    epic_id: int
    source: str
    key: str
    title: str
    measure: str
    due: date


def is_overdue_pilot(today: date) -> ColumnElement[bool]:
    """Whether a stage is that of a pilot whose last day is past."""
    return and_(EpicStageRow.stage == "pilot", EpicStageRow.due < today)


async def overdue_pilots(session: AsyncSession, today: date, limit: int | None = None) -> list[OverduePilot]:
    """The listed epics that are still a pilot after their last day, the longest overdue first."""
    query = (
        select(EpicRow.id, SourceRow.name, EpicRow.key, EpicRow.title, KeyResultRow.key, EpicStageRow.due)
        .select_from(EpicStageRow)
        .join(EpicRow, EpicRow.id == EpicStageRow.epic_id)
        .join(SourceRow, SourceRow.id == EpicRow.source_id)
        .join(KeyResultRow, KeyResultRow.id == EpicStageRow.measure_id)
        .where(is_overdue_pilot(today), EpicRow.removed_at.is_(None))
        .order_by(EpicStageRow.due, EpicRow.id)
        .limit(limit)
    )
    return [OverduePilot(*row) for row in cast("Any", await session.execute(query))]


async def load_stage(session: AsyncSession, epic_id: int) -> tuple[EpicStageRow | None, str | None]:
    """The stage of an epic, None where nobody set one, and the key of its measure."""
    query = (
        select(EpicStageRow, KeyResultRow.key)
        .outerjoin(KeyResultRow, KeyResultRow.id == EpicStageRow.measure_id)
        .where(EpicStageRow.epic_id == epic_id)
    )
    found = (await session.execute(query)).one_or_none()
    return (None, None) if found is None else cast("tuple[EpicStageRow, str | None]", tuple(found))
