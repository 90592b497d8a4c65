"""What the agenda of a review is made from, read from the rows: of each kind the first and how many there
are, so that neither grows with the number of epics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, and_, case, exists, func, or_, select
from sqlalchemy.orm import aliased

from mappings.epics.set_aside import is_set_aside
from mappings.goals.key_results import is_live, why_not_live
from mappings.goals.pace import ends_at
from mappings.goals.rows import key_result_of
from mappings.governance.agenda import (
    LINES_OF,
    NAMED_AT_MOST,
    AgendaFacts,
    ClosedGoalFact,
    ConflictFact,
    EpicFact,
    EpicName,
    Line,
    ProjectFact,
    Some,
    make_agenda,
)
from mappings.governance.cadence import next_review_day
from mappings.governance.conflicts import load_conflicts
from mappings.governance.initiatives import initiative_ids
from mappings.governance.stages import is_overdue_pilot
from mappings.governance.value import is_answered
from mappings.policy.durations import last_date
from mappings.policy.operations import load_policy
from mappings.tables import (
    CycleRow,
    DecisionRow,
    EpicRow,
    EpicStageRow,
    FindingRow,
    KeyResultRow,
    LinkRow,
    ObjectiveRow,
    ReviewItemRow,
    SourceRow,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import date, datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from mappings.governance.conflicts import ConflictShown
    from mappings.policy.document import Policy
    from mappings.tables import ReviewRow

_LISTED = EpicRow.removed_at.is_(None)
_OPEN = EpicRow.status_category != "done"
_UNALIGNED = and_(FindingRow.state.in_(("open", "snoozed", "disputed")), EpicRow.alignment == "unaligned")


async def load_agenda(
    session: AsyncSession,
    review: ReviewRow,
    cycle: CycleRow,
    key_results: Sequence[Mapping[str, Any]],
    now: datetime,
) -> list[Line]:
    """The lines of a review that is being opened; `key_results` as it has frozen them."""
    policy = await load_policy(session)
    return make_agenda(
        AgendaFacts(
            coverage=review.coverage,
            changes=review.changes,
            key_results=key_results,
            disputes=await _disputes(session),
            conflicts=await _conflicts(session, policy, now),
            projects=await _projects(session),
            closed_goals=await _closed_goals(session, now),
            unanswered=await _unanswered(session, policy),
            waivers=await _waivers(session, next_review_day(cycle, review.held_on)),
            decisions=await _decisions(session, review.held_on),
            pilots=await _pilots(session, review.held_on),
            stopped=await _stopped(session, now),
        )
    )


def _of_epics(*columns: Any) -> Select[Any]:
    """Of epics that are in the lists: how many rows there are in all, what names each, and these columns."""
    named = (EpicRow.id, SourceRow.name, EpicRow.key, EpicRow.title)
    query: Select[Any] = select(func.count().over(), *named, *columns).select_from(EpicRow)
    return query.join(SourceRow, SourceRow.id == EpicRow.source_id).where(_LISTED)


async def _some(session: AsyncSession, query: Select[Any], most: int, *members: str) -> Some[EpicFact]:
    """`query` is from `_of_epics`; `members` of the fact are the names of its further columns."""
    rows = (await session.execute(query.limit(most))).all()
    facts = [
        EpicFact(epic=EpicName(id, source), key=key, title=title, **dict(zip(members, further, strict=True)))
        for _, id, source, key, title, *further in rows
    ]
    return Some(facts, rows[0][0] if rows else 0)


# --- findings ----------------------------------------------------------------------------------


async def _disputes(session: AsyncSession) -> Some[EpicFact]:
    query = _of_epics(FindingRow.reason, FindingRow.by, FindingRow.changed_at)
    query = query.join(FindingRow, FindingRow.epic_id == EpicRow.id).where(FindingRow.state == "disputed")
    query = query.order_by(FindingRow.changed_at.nulls_first(), FindingRow.id)
    return await _some(session, query, LINES_OF["dispute"], "words", "by", "at")


async def _waivers(session: AsyncSession, until: date) -> Some[EpicFact]:
    """Those that end before that day is over."""
    query = _of_epics(FindingRow.reason, FindingRow.by, FindingRow.until)
    query = query.join(FindingRow, FindingRow.epic_id == EpicRow.id)
    query = query.where(FindingRow.state == "waived", FindingRow.until <= ends_at(until), _OPEN)
    query = query.order_by(FindingRow.until, FindingRow.id)
    found = await _some(session, query, LINES_OF["waiver"], "words", "by", "at")
    return Some([_with_last_day(one) for one in found.first], found.all)


def _with_last_day(one: EpicFact) -> EpicFact:
    """A waiver ends with a day, whose end is stored."""
    assert one.at is not None
    day = last_date(one.at)
    return EpicFact(epic=one.epic, key=one.key, title=one.title, words=one.words, by=one.by, day=day)


async def _projects(session: AsyncSession) -> Some[ProjectFact]:
    """By their unaligned epics; those on closed goals have a line of their own."""
    number = func.count()
    query = (
        select(func.count().over(), SourceRow.name, EpicRow.project, number)
        .select_from(FindingRow)
        .join(EpicRow, EpicRow.id == FindingRow.epic_id)
        .join(SourceRow, SourceRow.id == EpicRow.source_id)
        .where(FindingRow.check == "no-key-result", _UNALIGNED, _LISTED, _OPEN)
        .group_by(SourceRow.name, EpicRow.project)
        .order_by(number.desc(), func.lower(SourceRow.name), EpicRow.project)
        .limit(LINES_OF["findings"])
    )
    rows = (await session.execute(query)).all()
    return Some([ProjectFact(*row[1:]) for row in rows], rows[0][0] if rows else 0)


async def _closed_goals(session: AsyncSession, now: datetime) -> Some[ClosedGoalFact]:
    """The key results that no longer count whose epics serve no other."""
    number = func.count(EpicRow.id.distinct())
    counted = (
        select(LinkRow.key_result_id, number.label("epics"))
        .join(EpicRow, EpicRow.id == LinkRow.epic_id)
        .join(FindingRow, FindingRow.epic_id == EpicRow.id)
        .where(FindingRow.check == "closed-goal", _UNALIGNED, _LISTED, _OPEN)
        .group_by(LinkRow.key_result_id)
        .subquery()
    )
    query = (
        select(KeyResultRow, ObjectiveRow, CycleRow.ends, counted.c.epics)
        .join(counted, counted.c.key_result_id == KeyResultRow.id)
        .join(ObjectiveRow, ObjectiveRow.id == KeyResultRow.objective_id)
        .outerjoin(CycleRow, CycleRow.id == ObjectiveRow.cycle_id)
        .order_by(counted.c.epics.desc(), KeyResultRow.id)
    )
    found = [
        ClosedGoalFact(row.id, row.key, row.title, why_not_live(goal, now) or "", epics)
        for row, objective, ends, epics in await session.execute(query)
        if not is_live(goal := key_result_of(row, objective, ends), now)
    ]
    return Some(found[: LINES_OF["closed-goal"]], len(found))


# --- governance --------------------------------------------------------------------------------


async def _conflicts(session: AsyncSession, policy: Policy, now: datetime) -> Some[ConflictFact]:
    """Those that have come to the committee, the oldest first. People write each, so there are never many."""
    found = await load_conflicts(session, policy, now, state="open", step="committee")
    return Some([_conflict(one) for one in found[: LINES_OF["conflict"]]], len(found))


def _conflict(one: ConflictShown) -> ConflictFact:
    about, row = one.about, one.row
    named: dict[str, Any] = {about.kind: about.key}
    if about.kind == "epic":
        named = {"epic": {"source": about.source, "key": about.key}}
    return ConflictFact(
        row.id,
        named,
        about.title,
        row.technical,
        row.business,
        row.raised_at,
        one.position.since,
        epic_id=row.epic_id,
        key_result_id=row.key_result_id,
    )


async def _unanswered(session: AsyncSession, policy: Policy) -> Some[EpicFact]:
    query = _of_epics().where(_OPEN, EpicRow.id.in_(initiative_ids(policy)), ~is_answered())
    return await _some(session, query.order_by(EpicRow.id), NAMED_AT_MOST)


async def _decisions(session: AsyncSession, held_on: date) -> Some[EpicFact]:
    """Those whose day has come, that no later one about the same replaces and that no review has dealt with
    since. A pilot that still runs is shown as such."""
    later = aliased(DecisionRow)
    replaced = exists().where(
        later.id > DecisionRow.id,
        later.undone_at.is_(None),
        or_(
            later.epic_id == DecisionRow.epic_id,
            later.about_key_result_id == DecisionRow.about_key_result_id,
            later.about_objective_id == DecisionRow.about_objective_id,
        ),
    )
    dealt_with = exists().where(
        ReviewItemRow.kind == "decision",
        ReviewItemRow.state == "done",
        ReviewItemRow.about["decision"].as_integer() == DecisionRow.id,
    )
    piloted = exists().where(EpicStageRow.epic_id == DecisionRow.epic_id, EpicStageRow.stage == "pilot")
    goal = func.coalesce(KeyResultRow.key, ObjectiveRow.key)
    query = (
        select(
            func.count().over(),
            DecisionRow,
            SourceRow.name,
            EpicRow.key,
            EpicRow.title,
            goal,
            func.coalesce(KeyResultRow.title, ObjectiveRow.title),
        )
        .outerjoin(EpicRow, EpicRow.id == DecisionRow.epic_id)
        .outerjoin(SourceRow, SourceRow.id == EpicRow.source_id)
        .outerjoin(KeyResultRow, KeyResultRow.id == DecisionRow.about_key_result_id)
        .outerjoin(ObjectiveRow, ObjectiveRow.id == DecisionRow.about_objective_id)
        .where(DecisionRow.by_date <= held_on, DecisionRow.undone_at.is_(None), ~replaced, ~dealt_with)
        .where(case((EpicRow.id.is_not(None), _LISTED), else_=goal.is_not(None)))
        .where(~((DecisionRow.decision == "pilot") & piloted))
        .order_by(DecisionRow.by_date, DecisionRow.id)
        .limit(LINES_OF["decision"])
    )
    rows = (await session.execute(query)).all()
    facts = [
        EpicFact(
            epic=None if source is None else EpicName(row.epic_id or 0, source),
            key=key or goal_key,
            title=title or goal_title,
            words=row.reason,
            by=", ".join(person["name"] for person in row.decided_by),
            at=row.decided_at,
            day=row.by_date,
            id=row.id,
            what=row.decision,
        )
        for _, row, source, key, title, goal_key, goal_title in rows
    ]
    return Some(facts, rows[0][0] if rows else 0)


async def _pilots(session: AsyncSession, held_on: date) -> Some[EpicFact]:
    query = _of_epics(EpicStageRow.due, KeyResultRow.key).join(
        EpicStageRow, EpicStageRow.epic_id == EpicRow.id
    )
    query = query.outerjoin(KeyResultRow, KeyResultRow.id == EpicStageRow.measure_id)
    query = query.where(is_overdue_pilot(held_on))
    query = query.order_by(EpicStageRow.due, EpicRow.id)
    return await _some(session, query, LINES_OF["pilot"], "day", "what")


async def _stopped(session: AsyncSession, now: datetime) -> Some[EpicFact]:
    query = _of_epics(DecisionRow.reason, DecisionRow.decided_at, DecisionRow.id)
    query = query.join(DecisionRow, DecisionRow.id == EpicRow.set_aside_decision_id)
    query = query.where(is_set_aside(now), EpicRow.set_aside == "stop", EpicRow.status_category == "doing")
    query = query.order_by(DecisionRow.decided_at, EpicRow.id)
    return await _some(session, query, LINES_OF["stopped"], "words", "at", "id")
