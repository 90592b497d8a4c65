"""The audit: how well each current initiative is steered, and the signs that work and business part ways.

Two queries read the epics, whatever their number: the current initiatives with all that a row shows, and all
epics grouped by what makes them alike. What is left are goals, cycles and conflicts, of which people write
each. `mappings.reports.audit_signs` decides from there.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import ColumnElement, Select, and_, func, select
from sqlalchemy.dialects.postgresql import aggregate_order_by

from mappings.epics.set_aside import is_set_aside
from mappings.goals.board import load_board
from mappings.goals.steering import why_not_moved
from mappings.governance.cadence import due_review
from mappings.governance.conflicts import load_open_conflicts
from mappings.governance.criteria import load_criteria
from mappings.governance.initiatives import initiative_ids
from mappings.governance.scores import mean_scores
from mappings.lookups import goal_in, source_in
from mappings.policy.operations import load_policy
from mappings.reports.audit_signs import (
    AuditFacts,
    AuditGoal,
    AuditInitiative,
    CycleReview,
    OldConflict,
    SeenSign,
    seen_signs,
    signs_on,
)
from mappings.reports.counts import AlikeEpics, Counts, GoalFacts, count_coverage
from mappings.tables import (
    CycleRow,
    EpicRow,
    EpicStageRow,
    EpicValueRow,
    LinkRow,
    ReviewRow,
    SourceRow,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from mappings.goals.board import GoalOnBoard
    from mappings.policy.document import Policy

WHAT_MAKES_ONE = (
    "An initiative is an epic that another epic has as its parent, or one of a type or with a label that the"
    " policy names in `initiatives`."
)
DEFINITION = (
    f"{WHAT_MAKES_ONE} It is current while it is open: in the lists, and its status category is not done."
    " Its key result is the live one that it is linked to, of several the primary one, else the oldest link."
    " Measured, agreed and moved are those of coverage: a baseline and another target; both sides have signed"
    " the metric as it is now; the latest check-in is not the baseline. The owner is the key result's, or"
    " else its objective's. The score is that of the priorities: the weighted mean, where it is scored for"
    " every criterion. Coverage and steered count all open epics, as the report of coverage does. With"
    " `cycle`, only epics that are linked to a key result of it count."
)


@dataclass(frozen=True, slots=True)
class AuditReport:
    """`initiatives`: those with most signs first. `of`: what it is limited to, in words; empty for all."""

    at: datetime
    of: str
    coverage: Counts
    initiatives: Sequence[AuditInitiative]
    signs: Sequence[SeenSign]

    @property
    def seen(self) -> list[SeenSign]:
        return [one for one in self.signs if one.seen]

    @property
    def not_seen(self) -> list[SeenSign]:
        return [one for one in self.signs if not one.seen]

    @property
    def with_goal(self) -> int:
        return sum(one.goal is not None for one in self.initiatives)

    @property
    def answered(self) -> int:
        return sum(one.answer is not None for one in self.initiatives)

    @property
    def steered(self) -> int:
        """How many have a key result that is measured, agreed and has moved."""
        return sum(one.goal is not None and one.goal.steered for one in self.initiatives)

    @property
    def scored(self) -> int:
        return sum(one.score is not None for one in self.initiatives)

    @property
    def set_aside(self) -> int:
        return sum(one.set_aside is not None for one in self.initiatives)


async def audit_report(
    session: AsyncSession,
    now: datetime,
    *,
    source: str | None = None,
    project: str | None = None,
    cycle: str | None = None,
) -> AuditReport:
    """Of the source of this name, the project and the cycle of these keys, in any case, or of all. Raises
    `Invalid` on `source` and `cycle`."""
    source_row = None if source is None else await source_in(session, source, "source")
    cycle_row = None if cycle is None else await goal_in(session, CycleRow, cycle, "cycle")
    which: list[ColumnElement[bool]] = [EpicRow.removed_at.is_(None)]
    if source_row is not None:
        which.append(EpicRow.source_id == source_row.id)
    if project is not None:
        which.append(func.lower(EpicRow.project) == project.lower())
    policy = await load_policy(session)
    board = await load_board(session, now, count_epics=False)
    goals = {one.row.id: _goal(one) for one in board}
    criteria = sum(row.weight > 0 for row in await load_criteria(session))
    of_cycle = None if cycle_row is None else cycle_row.key
    initiatives = await _initiatives(session, policy, which, goals, criteria, now, of_cycle)
    alike = await _alike(session, which, criteria, now)
    cycles = await _cycles(session, now, of_cycle)
    conflicts = [
        OldConflict(one.row.id, one.about.key, one.position.since)
        for one in await load_open_conflicts(session, policy, now)
        if one.position.step == "committee"
        and (source_row is None or one.about.source == source_row.name)
        and (project is None or (one.about.project or "").lower() == project.lower())
    ]
    facts = _facts(alike, goals, of_cycle)
    return AuditReport(
        at=now,
        of=_limits(None if source_row is None else source_row.name, project, of_cycle),
        coverage=_coverage(alike, board, goals, of_cycle),
        initiatives=initiatives,
        signs=seen_signs(initiatives, replace(facts, criteria=criteria, cycles=cycles, conflicts=conflicts)),
    )


def _limits(source: str | None, project: str | None, cycle: str | None) -> str:
    named = [("source", source), ("project", project), ("cycle", cycle)]
    return ", ".join(f"{what} {name}" for what, name in named if name is not None)


def _goal(one: GoalOnBoard) -> AuditGoal:
    latest = None if one.checked_in_at is None else one.current
    return AuditGoal(
        id=one.row.id,
        key=one.row.key,
        title=one.row.title,
        cycle=None if one.cycle is None else one.cycle.key,
        owner=one.owner,
        sponsor=one.objective.sponsor,
        live=one.live,
        not_measured=one.not_measured,
        not_agreed=one.not_agreed,
        not_moved=why_not_moved(one.row.baseline, latest),
        output=one.hint,
    )


# --- the initiatives ----------------------------------------------------------------------------


def _linked() -> Any:
    """Of each epic the key results that it is linked to, the primary one first, then by age."""
    in_order = aggregate_order_by(LinkRow.key_result_id, LinkRow.is_primary.desc(), LinkRow.id)
    return (
        select(LinkRow.epic_id, func.array_agg(in_order).label("key_results"))
        .group_by(LinkRow.epic_id)
        .subquery("linked")
    )


_SHOWN = (
    *("key", "title", "url", "project", "type", "status", "status_category", "alignment", "starts_on"),
    *("due_on", "children", "children_done"),
)
_KNOWN = ("answer", "driver", "answered_by", "answered_at", "asked_of", "stage", "stage_due")


def _query(policy: Policy, which: Iterable[ColumnElement[bool]], now: datetime) -> Select[Any]:
    linked, scored, holds = _linked(), mean_scores(), is_set_aside(now).label("holds")
    return (
        select(
            EpicRow.id,
            SourceRow.name.label("source"),
            *(getattr(EpicRow, name) for name in _SHOWN),
            holds,
            EpicRow.set_aside,
            EpicRow.set_aside_until,
            EpicValueRow.answer,
            EpicValueRow.driver,
            EpicValueRow.answered_by,
            EpicValueRow.answered_at,
            EpicValueRow.asked_of,
            EpicStageRow.stage,
            EpicStageRow.due.label("stage_due"),
            linked.c.key_results,
            scored.c.number,
            scored.c.mean,
        )
        .select_from(EpicRow)
        .join(SourceRow, SourceRow.id == EpicRow.source_id)
        .outerjoin(EpicValueRow, EpicValueRow.epic_id == EpicRow.id)
        .outerjoin(EpicStageRow, EpicStageRow.epic_id == EpicRow.id)
        .outerjoin(linked, linked.c.epic_id == EpicRow.id)
        .outerjoin(scored, scored.c.epic_id == EpicRow.id)
        .where(*which, EpicRow.status_category != "done", EpicRow.id.in_(initiative_ids(policy)))
    )


async def _initiatives(
    session: AsyncSession,
    policy: Policy,
    which: Iterable[ColumnElement[bool]],
    goals: Mapping[int, AuditGoal],
    criteria: int,
    now: datetime,
    cycle: str | None,
) -> list[AuditInitiative]:
    live_of: dict[tuple[int, ...], tuple[AuditGoal, ...] | None] = {(): None if cycle else ()}
    found = []
    for id, source, *rest in await session.execute(_query(policy, which, now)):
        shown, (holds, *more, key_results, scored, mean) = rest[: len(_SHOWN)], rest[len(_SHOWN) :]
        linked = tuple(key_results or ())
        if linked not in live_of:
            live_of[linked] = _live(linked, goals, cycle)
        live = live_of[linked]
        if live is None:
            continue
        set_aside, until, *known = more
        one = AuditInitiative(
            id=id,
            source=source,
            **dict(zip(_SHOWN, shown, strict=True)),
            **dict(zip(_KNOWN, known, strict=True)),
            score=float(mean) if scored and scored == criteria else None,
            set_aside=set_aside if holds else None,
            set_aside_until=until if holds else None,
            goals=live,
        )
        one.signs = signs_on(one)
        found.append(one)
    found.sort(key=lambda one: (-len(one.signs), one.source.lower(), one.key.lower(), one.id))
    return found


def _live(
    linked: Sequence[int], goals: Mapping[int, AuditGoal], cycle: str | None
) -> tuple[AuditGoal, ...] | None:
    """The live key results of these, each once; None where the epic does not belong to the cycle."""
    known = [goals[id] for id in linked if id in goals]
    live = tuple(dict.fromkeys(goal for goal in known if goal.live))
    return None if cycle is not None and cycle not in {goal.cycle for goal in live or known} else live


# --- all epics ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Alike:
    """`number` epics with all this in common. `scored`: for every criterion that counts."""

    epics: AlikeEpics
    stopped_in_work: bool
    scored: bool


async def _alike(
    session: AsyncSession, which: Iterable[ColumnElement[bool]], criteria: int, now: datetime
) -> list[_Alike]:
    linked = (
        select(LinkRow.epic_id, func.array_agg(LinkRow.key_result_id).label("key_results"))
        .group_by(LinkRow.epic_id)
        .subquery("linked")
    )
    scored = mean_scores()
    stopped = and_(is_set_aside(now), EpicRow.set_aside == "stop", EpicRow.status_category == "doing")
    columns = (
        EpicRow.alignment,
        (EpicRow.status_category == "done").label("done"),
        linked.c.key_results,
        stopped.label("stopped"),
        func.coalesce(scored.c.number, 0).label("criteria"),
    )
    rows = await session.execute(
        select(*columns, func.count().label("number"))
        .select_from(EpicRow)
        .outerjoin(linked, linked.c.epic_id == EpicRow.id)
        .outerjoin(scored, scored.c.epic_id == EpicRow.id)
        .where(*which)
        .group_by(*columns)
    )
    return [
        _Alike(
            AlikeEpics(
                0,  # for the total alone: sources and projects make no difference
                "",
                cast("Any", row.alignment),
                row.done,
                frozenset(row.key_results or ()),
                row.number,
            ),
            bool(row.stopped),
            criteria > 0 and row.criteria == criteria,
        )
        for row in rows
    ]


def _facts(alike: Iterable[_Alike], goals: Mapping[int, AuditGoal], cycle: str | None) -> AuditFacts:
    """`criteria`, `cycles` and `conflicts` are left to the caller."""
    aligned_by: Counter[int] = Counter()
    finished: Counter[int] = Counter()
    aligned = opened = unscored = stopped = 0
    for one in alike:
        epics = one.epics
        live = {id for id in epics.key_results if id in goals and goals[id].live}
        of = live or epics.key_results & goals.keys()
        if cycle is not None and cycle not in {goals[id].cycle for id in of}:
            continue
        for id in live:
            if epics.done:
                finished[id] += epics.number
            elif epics.alignment == "aligned":
                aligned_by[id] += epics.number
        if not epics.done:
            opened += epics.number
            aligned += epics.number if epics.alignment == "aligned" else 0
            unscored += 0 if one.scored else epics.number
            stopped += epics.number if one.stopped_in_work else 0
    of_cycle = {id: goal for id, goal in goals.items() if cycle is None or goal.cycle == cycle}
    return AuditFacts(
        goals=of_cycle,
        aligned_epics=aligned_by,
        finished_epics=finished,
        aligned=aligned,
        open=opened,
        unscored=unscored,
        stopped_in_work=stopped,
    )


def _coverage(
    alike: Iterable[_Alike], board: Iterable[GoalOnBoard], goals: Mapping[int, AuditGoal], cycle: str | None
) -> Counts:
    """As `mappings.reports.coverage` has it."""
    facts = {
        one.row.id: GoalFacts(
            objective=one.objective.key,
            objective_title=one.objective.title,
            driver=one.objective.driver,
            cycle=None if one.cycle is None else one.cycle.key,
            owner=one.owner,
            live=one.live,
        )
        for one in board
    }
    steered = {id for id, goal in goals.items() if goal.live and goal.steered}
    return count_coverage((one.epics for one in alike), facts, steered, cycle).total


# --- cycles -----------------------------------------------------------------------


async def _cycles(session: AsyncSession, now: datetime, cycle: str | None) -> list[CycleReview]:
    """Those that are under way, or whose last review may still be held."""
    today = now.astimezone(UTC).date()
    last = (
        select(ReviewRow.held_on)
        .where(ReviewRow.cycle_id == CycleRow.id, ReviewRow.state == "closed")
        .order_by(ReviewRow.held_on.desc())
        .limit(1)
        .correlate(CycleRow)
    )
    missing = last.with_only_columns(ReviewRow.missing_sides).scalar_subquery()
    query = select(CycleRow, last.scalar_subquery().label("held_on"), missing.label("missing"))
    found = []
    for row, held_on, missing_sides in await session.execute(query.order_by(CycleRow.starts, CycleRow.id)):
        if row.starts > today or (cycle is not None and row.key != cycle):
            continue
        due = due_review(row, held_on, today)
        late = due.due_on if due is not None and due.late else None
        if due is not None or row.ends >= today:
            found.append(CycleReview(row.key, late, held_on, tuple(missing_sides or ())))
    return found
