"""What waits for a person: each count is that of the list behind it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, func, select

from mappings.goals.board import BoardFilters, fits, load_board, load_cycles, of_cycles, shown_cycles
from mappings.goals.pace import LAST_DAYS
from mappings.governance.conflicts import load_conflicts
from mappings.governance.initiatives import initiative_ids
from mappings.governance.reviews import due_reviews
from mappings.governance.stages import overdue_pilots
from mappings.governance.value import is_answered
from mappings.policy.operations import load_policy
from mappings.tables import (
    UNFINISHED_STATES,
    EpicRow,
    FindingRow,
    HeldRemovalRow,
    KeyResultRow,
    LinkRow,
    NoticeRow,
    RunRow,
    SourceRow,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import date, datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from mappings.governance.reviews import CycleToReview
    from mappings.governance.stages import OverduePilot

RUNS_NAMED = 3  # of more the comments are one number
PILOTS_AT_MOST = 100


@dataclass(frozen=True, slots=True)
class HeldRun:
    """`comments` of this run that the guard holds. `run` and `source` None: the run is deleted. `since`: when
    the guard was asked about it last."""

    run: int | None
    source: str | None
    comments: int
    since: datetime | None


@dataclass(frozen=True, slots=True)
class Dispute:
    """`since`: when it was disputed, None where an older version stored it."""

    source: str
    key: str
    since: datetime | None


@dataclass(frozen=True, slots=True)
class RemovalsOfRun:
    """`epics` that a full run did not meet and the drop guard kept."""

    run: int
    source: str
    epics: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """What an editor can act on, and what only an admin can. `dispute`: the one that waits longest, None for
    none. `closed_goal`: epics with an unresolved finding of that check. `to_check_in` and `not_agreed`: the
    keys of key results. `unanswered`: open initiatives that do not say how they help the business.
    `reviews`: the cycles whose review is late, or to be held within a week. `committee`: open conflicts that
    are with the committee. `pilots`: those past their day, `PILOTS_AT_MOST`, the longest overdue first.
    """

    held: Sequence[HeldRun] = ()
    disputes: int = 0
    dispute: Dispute | None = None
    removals: Sequence[RemovalsOfRun] = ()
    to_check_in: Sequence[str] = ()
    not_agreed: Sequence[str] = ()
    closed_goal: int = 0
    unanswered: int = 0
    reviews: Sequence[CycleToReview] = ()
    committee: int = 0
    pilots: Sequence[OverduePilot] = ()

    @property
    def by_run(self) -> bool:
        """Whether what is held is said run by run: of a deleted run there is no list."""
        return len(self.held) <= RUNS_NAMED and all(one.run is not None for one in self.held)

    @property
    def held_comments(self) -> int:
        return sum(one.comments for one in self.held)

    @property
    def is_empty(self) -> bool:
        return not any(getattr(self, name) for name in self.__slots__)


async def load_waiting(session: AsyncSession, now: datetime, *, edits: bool, removes: bool) -> Waiting:
    """What waits for a person who `edits` (decides, links, checks in, approves) and who `removes` (accepts
    what the drop guard held)."""
    removals = await _removals(session) if removes else []
    if not edits:
        return Waiting(removals=removals)
    disputes = await session.scalar(_disputes(func.count())) or 0
    to_check_in, not_agreed = await _goals(session, now)
    return Waiting(
        held=await held_runs(session),
        disputes=disputes,
        dispute=await _oldest_dispute(session) if disputes else None,
        removals=removals,
        to_check_in=to_check_in,
        not_agreed=not_agreed,
        closed_goal=await closed_goal_epics(session),
        unanswered=await unanswered_initiatives(session),
        reviews=await _reviews(session, now.astimezone(UTC).date()),
        committee=await conflicts_of_committee(session, now),
        pilots=await overdue_pilots(session, now.astimezone(UTC).date(), PILOTS_AT_MOST),
    )


async def _reviews(session: AsyncSession, today: date) -> list[CycleToReview]:
    return [one for one in await due_reviews(session, today) if one.due.due_on < today + LAST_DAYS]


async def conflicts_of_committee(session: AsyncSession, now: datetime) -> int:
    """How many open conflicts are with the committee."""
    policy = await load_policy(session)
    return len(await load_conflicts(session, policy, now, state="open", step="committee"))


async def _goals(session: AsyncSession, now: datetime) -> tuple[list[str], list[str]]:
    """Of the goals that the list of goals shows first, those of the cycles under way and of none: the keys of
    the key results to check in, and of those that a side has not signed."""
    cycles = shown_cycles(await load_cycles(session), now.astimezone(UTC).date())
    shown = of_cycles([cycle.id for cycle in cycles], without=True)
    board = await load_board(session, now, shown, count_epics=False)

    def found(check: str) -> list[str]:
        return [goal.row.key for goal in board if fits(goal, BoardFilters(check=check))]

    return found("check-in"), found("not-agreed")


def held_by_guard(*columns: Any) -> Select[Any]:
    """Of the notices that the guard holds, on epics that are in a list; by a partial index."""
    return (
        select(*columns)
        .select_from(NoticeRow)
        .join(EpicRow, EpicRow.id == NoticeRow.epic_id)
        .where(NoticeRow.reason == "guard", NoticeRow.state == "held", EpicRow.removed_at.is_(None))
    )


async def held_runs(session: AsyncSession) -> list[HeldRun]:
    """The runs whose comments the guard holds, newest first."""
    rows = await session.execute(
        held_by_guard(NoticeRow.run_id, SourceRow.name, RunRow.guard_checked_at, func.count())
        .outerjoin(RunRow, RunRow.id == NoticeRow.run_id)
        .outerjoin(SourceRow, SourceRow.id == RunRow.source_id)
        .group_by(NoticeRow.run_id, SourceRow.name, RunRow.guard_checked_at)
        .order_by(NoticeRow.run_id.desc().nulls_last())
    )
    return [HeldRun(run, source, comments, since) for run, source, since, comments in rows]


def _disputes(*columns: Any) -> Select[Any]:
    return (
        select(*columns)
        .select_from(FindingRow)
        .join(EpicRow, EpicRow.id == FindingRow.epic_id)
        .where(FindingRow.state == "disputed", EpicRow.removed_at.is_(None))
    )


async def _oldest_dispute(session: AsyncSession) -> Dispute | None:
    since = FindingRow.changed_at
    query = _disputes(SourceRow.name, EpicRow.key, since).join(SourceRow, SourceRow.id == EpicRow.source_id)
    row = (await session.execute(query.order_by(since.nulls_first(), FindingRow.id).limit(1))).first()
    return None if row is None else Dispute(*row)


async def _removals(session: AsyncSession) -> list[RemovalsOfRun]:
    """Without those that a person has accepted already, unless the run that was to remove them failed."""
    accepted = select(RunRow.accepts_run_id).where(
        RunRow.accepts_run_id.is_not(None), RunRow.state.in_(("queued", *UNFINISHED_STATES, "succeeded"))
    )
    rows = await session.execute(
        select(HeldRemovalRow.run_id, SourceRow.name, func.count())
        .join(RunRow, RunRow.id == HeldRemovalRow.run_id)
        .join(SourceRow, SourceRow.id == RunRow.source_id)
        .where(RunRow.id.not_in(accepted))
        .group_by(HeldRemovalRow.run_id, SourceRow.name)
        .order_by(HeldRemovalRow.run_id)
    )
    return [RemovalsOfRun(*row) for row in rows]


async def unanswered_initiatives(session: AsyncSession) -> int:
    """How many open initiatives have no answer to the value question."""
    initiatives = initiative_ids(await load_policy(session))
    unanswered = (
        select(func.count())
        .select_from(EpicRow)
        .where(EpicRow.removed_at.is_(None), EpicRow.status_category != "done")
        .where(EpicRow.id.in_(initiatives), ~is_answered())
    )
    return await session.scalar(unanswered) or 0


async def closed_goal_epics(session: AsyncSession) -> int:
    """How many epics have an unresolved finding that all their goals are closed."""
    query = (
        select(func.count())
        .select_from(FindingRow)
        .join(EpicRow, EpicRow.id == FindingRow.epic_id)
        .where(FindingRow.check == "closed-goal", FindingRow.state != "resolved")
        .where(EpicRow.removed_at.is_(None))
    )
    return await session.scalar(query) or 0


async def closed_goal_epics_of(session: AsyncSession, keys: Sequence[str]) -> dict[str, int]:
    """By the key of each of these key results that has any: how many of those epics are linked to it."""
    query = (
        select(KeyResultRow.key, func.count(func.distinct(EpicRow.id)))
        .join(LinkRow, LinkRow.key_result_id == KeyResultRow.id)
        .join(EpicRow, EpicRow.id == LinkRow.epic_id)
        .join(FindingRow, FindingRow.epic_id == EpicRow.id)
        .where(FindingRow.check == "closed-goal", FindingRow.state != "resolved")
        .where(EpicRow.removed_at.is_(None), KeyResultRow.key.in_(keys))
        .group_by(KeyResultRow.key)
    )
    return {key: epics for key, epics in await session.execute(query)} if keys else {}
