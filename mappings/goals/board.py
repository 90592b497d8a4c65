"""Key results with all that a page or a report says of them, in a few statements whatever their number."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import ColumnElement, and_, exists, false, func, or_, select, true
from sqlalchemy.orm import aliased, defer

from mappings.goals.agreements import latest_agreements, metric_of, valid_sides
from mappings.goals.key_results import CLOSED, is_live, why_not_live
from mappings.goals.lint import output_hint
from mappings.goals.pace import Trend, ends_at, is_at_risk, next_check_in, share_gone, starts_at, trend
from mappings.goals.progress import progress_of
from mappings.goals.rows import key_result_of
from mappings.goals.steering import why_not_agreed, why_not_measured, why_not_steered
from mappings.tables import CheckInRow, CycleRow, EpicRow, KeyResultRow, LinkRow, ObjectiveRow, among

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import date, datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from mappings.goals.values import AgreementSide, Driver, Review
    from mappings.tables import AgreementRow


@dataclass(frozen=True, slots=True, kw_only=True)
class GoalOnBoard:
    """A key result as it stands at one moment.

    `row` and `objective` have no descriptions. `progress`, `steady` (what a steady pace would have reached)
    and `confidence` are 0..1, None where nothing says so; `trend` is that of the confidence since the
    check-in before. `epics`: how many are linked, removed ones aside. `due`: when its next check-in is,
    None where none is asked for; `to_check_in` whether that is past. `not_live` and `not_steered` are reasons
    in words.
    """

    row: KeyResultRow
    objective: ObjectiveRow
    cycle: CycleRow | None
    current: float | None
    progress: float | None
    steady: float | None
    confidence: float | None
    trend: Trend | None
    checked_in_at: datetime | None
    epics: int
    agreements: Sequence[AgreementRow]
    sides: Collection[AgreementSide]
    live: bool
    not_live: str | None
    due: datetime | None
    to_check_in: bool
    at_risk: bool
    not_measured: str | None
    not_agreed: str | None
    not_steered: Sequence[str]
    voided: Sequence[AgreementSide] = field(default=())

    @property
    def closed(self) -> bool:
        """Whether a person closed it or its objective."""
        return self.row.state in CLOSED or self.objective.state in CLOSED

    @property
    def hint(self) -> str | None:
        """What to name instead, where the title names an output."""
        return output_hint(self.row.title)

    @property
    def owner(self) -> str | None:
        return self.row.owner or self.objective.owner


async def load_board(
    session: AsyncSession, now: datetime, *which: ColumnElement[bool], count_epics: bool = True
) -> list[GoalOnBoard]:
    """The key results that meet the conditions on `KeyResultRow` and `ObjectiveRow`, by id. `count_epics`:
    else the number of epics is 0, and no link is read."""
    query = (
        select(KeyResultRow, ObjectiveRow, CycleRow)
        .join(ObjectiveRow, ObjectiveRow.id == KeyResultRow.objective_id)
        .outerjoin(CycleRow, CycleRow.id == ObjectiveRow.cycle_id)
        .where(*which)
        .order_by(KeyResultRow.id)
        .options(defer(ObjectiveRow.description), defer(KeyResultRow.description))
    )
    rows = (await session.execute(query)).all()
    ids = [row.id for row, _, _ in rows]
    check_ins = await _last_two(session, ids)
    signed = await latest_agreements(session, ids)
    epics = await linked_epics(session, ids) if count_epics else {}
    return [
        _on_board(
            row,
            objective,
            cycle,
            check_ins=check_ins.get(row.id, []),
            agreements=signed.get(row.id, []),
            epics=epics.get(row.id, 0),
            now=now,
        )
        for row, objective, cycle in rows
    ]


def _on_board(
    row: KeyResultRow,
    objective: ObjectiveRow,
    cycle: CycleRow | None,
    *,
    check_ins: Sequence[CheckInRow],
    agreements: Sequence[AgreementRow],
    epics: int,
    now: datetime,
) -> GoalOnBoard:
    latest = check_ins[0] if check_ins else None
    goal = key_result_of(row, objective, None if cycle is None else cycle.ends)
    live = is_live(goal, now)
    value = None if latest is None else latest.value
    current = row.baseline if value is None else value
    progress = progress_of(row.baseline, row.target, current)
    steady = None if progress is None else steady_progress(row, cycle, now)
    confidence = None if latest is None else latest.confidence
    sides = valid_sides(agreements)
    due = _due(row, objective, cycle, None if latest is None else latest.at, now) if live else None
    return GoalOnBoard(
        row=row,
        objective=objective,
        cycle=cycle,
        current=current,
        progress=progress,
        steady=steady,
        confidence=confidence,
        trend=trend(confidence, check_ins[1].confidence if len(check_ins) > 1 else None),
        checked_in_at=None if latest is None else latest.at,
        epics=epics,
        agreements=agreements,
        sides=sides,
        live=live,
        not_live=why_not_live(goal, now),
        due=due,
        to_check_in=due is not None and due <= now,
        at_risk=live and is_at_risk(progress, steady, confidence),
        not_measured=why_not_measured(metric_of(row)),
        not_agreed=why_not_agreed(sides),
        not_steered=why_not_steered(metric_of(row), sides, value),
        voided=[cast("AgreementSide", one.side) for one in agreements if one.void_reason == "metric_changed"],
    )


def steady_progress(row: KeyResultRow, cycle: CycleRow | None, now: datetime) -> float | None:
    """What a steady pace from the cycle's start to the day that it is due would have reached by now, 0..1;
    None without a last day."""
    start, end = span_of(row, cycle)
    return None if end is None else share_gone(start, end, now)


def span_of(row: KeyResultRow, cycle: CycleRow | None) -> tuple[datetime, datetime | None]:
    """From when to when it is to be reached: from the start of its cycle, else since it was made, until the
    end of its due day, else of the cycle."""
    start = row.created_at if cycle is None else starts_at(cycle.starts)
    last = row.due or (None if cycle is None else cycle.ends)
    return start, None if last is None else ends_at(last)


def _due(
    row: KeyResultRow,
    objective: ObjectiveRow,
    cycle: CycleRow | None,
    last: datetime | None,
    now: datetime,
) -> datetime | None:
    if row.state != "active" or objective.state != "active":
        return None
    if cycle is None:
        return next_check_in(start=row.created_at, end=None, review=None, last=last)
    start = starts_at(cycle.starts)
    if now < start:
        return None
    return next_check_in(
        start=max(start, min(row.created_at, now)),
        end=ends_at(cycle.ends),
        review=cast("Review", cycle.review),
        last=last,
    )


async def _last_two(session: AsyncSession, ids: Collection[int]) -> dict[int, list[CheckInRow]]:
    """The latest check-in of each key result and the one before."""
    newest = (
        select(CheckInRow)
        .where(CheckInRow.key_result_id == KeyResultRow.id)
        .order_by(CheckInRow.at.desc(), CheckInRow.id.desc())
        .limit(2)
        .lateral()
    )
    latest = aliased(CheckInRow, newest)
    query = (
        select(latest)
        .select_from(KeyResultRow)
        .join(newest, true())
        .where(among(KeyResultRow.id, ids))
        .order_by(latest.at.desc(), latest.id.desc())
        .options(defer(latest.note))
    )
    found: dict[int, list[CheckInRow]] = {}
    for row in await session.scalars(query):
        found.setdefault(row.key_result_id, []).append(row)
    return found


async def linked_epics(session: AsyncSession, ids: Collection[int]) -> dict[int, int]:
    """How many epics each has, in one statement; one with two links counts once, a removed one not."""
    pairs = _linked(ids)
    query = select(pairs.c.key_result_id, func.count()).group_by(pairs.c.key_result_id)
    return {
        key_result_id: count for key_result_id, count in await session.execute(query.where(_listed(pairs)))
    }


async def count_epics(session: AsyncSession, ids: Collection[int]) -> int:
    """How many epics these key results have together, each counted once."""
    pairs = _linked(ids)
    query = select(func.count(pairs.c.epic_id.distinct())).where(_listed(pairs))
    return await session.scalar(query) or 0


def _linked(ids: Collection[int]) -> Any:
    """The pairs of a key result and an epic, each once."""
    query = select(LinkRow.key_result_id, LinkRow.epic_id).where(among(LinkRow.key_result_id, ids))
    return query.distinct().subquery()


def _listed(pairs: Any) -> ColumnElement[bool]:
    """The few that are removed are looked up, not the many that are not."""
    return ~exists().where(EpicRow.id == pairs.c.epic_id, EpicRow.removed_at.is_not(None))


# --- which of them -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardFilters:
    """None: not asked for. `check` is a word of `CHECKS`; `driver` is one, or `none`."""

    driver: Driver | str | None = None
    check: str | None = None
    steered: str | None = None
    risk: bool = False
    closed: bool = False


CHECKS: dict[str, Any] = {
    "check-in": lambda goal: goal.to_check_in,
    "not-agreed": lambda goal: goal.live and goal.not_agreed is not None,
    "unmeasured": lambda goal: goal.live and goal.not_measured is not None,
    "no-owner": lambda goal: goal.live and goal.owner is None,
    "no-work": lambda goal: goal.live and not goal.epics,
}


def fits(goal: GoalOnBoard, filters: BoardFilters) -> bool:
    """Whether the filters let the key result through, all of them together."""
    return (
        (filters.driver is None or (goal.objective.driver or "none") == filters.driver)
        and (filters.check is None or CHECKS[filters.check](goal))
        and (filters.steered is None or (goal.live and (filters.steered == "yes") == (not goal.not_steered)))
        and (not filters.risk or goal.at_risk)
        and (not filters.closed or goal.closed)
    )


# --- cycles ------------------------------------------------------------------------------------

NO_CYCLE = "-"  # no key of a cycle begins so


async def load_cycles(session: AsyncSession) -> list[CycleRow]:
    """The latest first."""
    query = select(CycleRow).order_by(CycleRow.starts.desc(), CycleRow.ends.desc(), CycleRow.id.desc())
    return list(await session.scalars(query))


def shown_cycles(cycles: Sequence[CycleRow], today: date) -> list[CycleRow]:
    """Those that run today; where none does the next to begin, else the last that ended."""
    running = [one for one in cycles if one.starts <= today <= one.ends]
    if running:
        return running
    coming = [one for one in cycles if one.starts > today]
    return [coming[-1]] if coming else list(cycles[:1])


def of_cycles(ids: Collection[int], *, without: bool) -> ColumnElement[bool]:
    """The condition that an objective is in one of these cycles; `without`: or in none."""
    within = ObjectiveRow.cycle_id.in_(ids) if ids else false()
    return or_(within, ObjectiveRow.cycle_id.is_(None)) if without else and_(within, true())


async def shared_keys(session: AsyncSession) -> set[str]:
    """The keys, in lower case, that an objective has and a key result or a cycle too: each kind has keys of
    its own, so that one key may name several goals."""
    lower = func.lower(ObjectiveRow.key)
    others = select(func.lower(KeyResultRow.key)).union_all(select(func.lower(CycleRow.key))).subquery()
    query = select(lower).where(lower.in_(select(others.c[0])))
    cycle = func.lower(CycleRow.key)
    of_cycle = select(cycle).where(cycle.in_(select(func.lower(KeyResultRow.key))))
    return set(await session.scalars(query.union_all(of_cycle)))
