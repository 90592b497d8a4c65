"""Every change of a notice's state, reason, target and due time. No other module sets these.

`mappings.notices.transitions` says which changes there are. A statement over many notices leaves out those in
a state that its transition does not begin in; for one notice `ForbiddenTransition` is raised. The caller has
locked the epics of the notices, in the order of their ids.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import orjson
from sqlalchemy import ColumnElement, Select, Update, case, func, select, text, update

from mappings.leases import UNCONFIRMED_WAIT
from mappings.notices import transitions
from mappings.notices.transitions import UNCHANGED, NoticeState, Transition, WrittenState, planned_transition
from mappings.tables import MAYBE_SENT, EpicRow, NoticeRow, among

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from mappings.notices.gates import Hold

WithdrawAction = Literal["edit", "delete"]
RUN_WITHDRAWN = "The run it belongs to was withdrawn before it was written."


def _change(transition: Transition, **values: Any) -> Update:
    """The statement for the notices that a caller selects."""
    if transition.after != UNCHANGED:
        values["state"] = transition.after
    return update(NoticeRow).where(NoticeRow.state.in_(transition.before)).values(values)


def _step(notice: NoticeRow, transition: Transition) -> None:
    transition.check(notice.state)
    if transition.after != UNCHANGED:
        notice.state = transition.after


# --- what an evaluation plans -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PlannedNotice:
    """The notice that an evaluation wants an epic to have. `before`: its state, None where there is none.

    A notice with a target is queued for `run_id`, and due once the whole run is evaluated and released.
    """

    epic_id: int
    before: str | None
    on_ticket: bool
    state: NoticeState
    target: WrittenState | None
    reason: str | None
    detail: str | None
    facts_hash: str
    run_id: int
    answers: bool = False

    @property
    def row(self) -> dict[str, Any]:
        """The columns that are stored."""
        return {
            "epic_id": self.epic_id,
            "state": self.state,
            "target": self.target,
            "reason": self.reason,
            "detail": self.detail,
            "facts_hash": self.facts_hash,
            "run_id": self.run_id,
            "answers": self.answers,
        }


# A write that is already queued keeps its `due_at`; a new write, or one that moves to another run, waits for
# the release of its run. A withdrawn notice keeps its `updated_at`: only a finding opened later ends the
# withdrawal. `guard` is cleared where the burst guard must check the notice again: one that passed and now
# waits for grace or a dispute would come due later, together with others; one in shadow is checked when the
# source goes live, and a withdrawn one when the finding opens again.
_PLAN = text(
    """
    WITH rows AS (SELECT * FROM json_to_recordset(CAST(:rows AS json)) AS r(epic_id bigint, state text,
        target text, reason text, detail text, facts_hash text, run_id bigint, answers boolean))
    INSERT INTO notices
        (epic_id, state, target, reason, detail, facts_hash, run_id, answers, created_at, updated_at)
    SELECT epic_id, state, target, reason, detail, facts_hash, run_id, answers, :now, :now FROM rows
    ON CONFLICT (epic_id) DO UPDATE SET
        state = excluded.state, target = excluded.target, reason = excluded.reason,
        detail = excluded.detail, facts_hash = excluded.facts_hash, run_id = excluded.run_id,
        answers = excluded.answers,
        updated_at = CASE WHEN excluded.state = 'withdrawn' AND notices.state = 'withdrawn'
            THEN notices.updated_at ELSE excluded.updated_at END,
        guard = CASE WHEN excluded.state IN ('shadow', 'withdrawn') THEN NULL
            WHEN notices.guard = 'passed' AND excluded.reason IN ('grace', 'disputed') THEN NULL
            ELSE notices.guard END,
        withdraw_action = CASE WHEN excluded.target IS NOT NULL OR excluded.state <> 'withdrawn'
            THEN notices.withdraw_action END,
        due_at = CASE WHEN excluded.target IS NOT NULL AND notices.target IS NOT NULL
            AND notices.run_id = excluded.run_id THEN notices.due_at END
    """
)


async def plan_notices(session: AsyncSession, planned: Sequence[PlannedNotice], now: datetime) -> None:
    """Store what an evaluation plans, one statement for all."""
    if not planned:
        return
    for notice in planned:
        transition = planned_transition(notice.state, notice.target, on_ticket=notice.on_ticket)
        transition.check(notice.before)
    rows = orjson.dumps([notice.row for notice in planned]).decode()
    await session.execute(_PLAN, {"rows": rows, "now": now})


async def drop_notices(session: AsyncSession, ids: Sequence[int]) -> None:
    """Delete notices that no epic needs any more; nothing of them is on a ticket."""
    if ids:
        states = list(transitions.DROPPED.before)
        await session.execute(_DROP, {"ids": list(ids), "states": states})


_DROP = text("DELETE FROM notices WHERE id = ANY(:ids) AND state = ANY(:states)")


async def cancel_writes(session: AsyncSession, which: ColumnElement[bool]) -> list[int]:
    """Cancel the queued writes of the notices; `facts_hash` is again that of the text on the ticket. Returns
    the ids of the epics."""
    epics = await session.scalars(
        _change(
            transitions.CANCELLED,
            target=None,
            due_at=None,
            answers=False,
            facts_hash=func.coalesce(NoticeRow.posted_hash, NoticeRow.facts_hash),
            # Why the write waited.
            detail=case((NoticeRow.state.not_in(("posted", "resolved")), NoticeRow.detail)),
        )
        .where(which)
        .returning(NoticeRow.epic_id)
    )
    return list(epics)


# --- the release of an evaluated run ----------------------------------------------------------

_HOLD = text(
    "UPDATE notices SET state = 'held', reason = held.reason, detail = held.detail, target = NULL,"
    " due_at = NULL, answers = false, updated_at = :now,"
    " guard = CASE WHEN held.reason = 'guard' THEN 'held' ELSE guard END,"
    " guard_reason = CASE WHEN held.reason = 'guard' THEN held.detail ELSE guard_reason END"
    " FROM unnest(CAST(:ids AS bigint[]), CAST(:reasons AS text[]), CAST(:details AS text[]))"
    " AS held(id, reason, detail) WHERE notices.id = held.id AND notices.state = ANY(:states)"
)


async def hold_new_comments(session: AsyncSession, holds: Mapping[int, Hold], now: datetime) -> None:
    """Hold new comments, by the ids of their notices, for the reason that a gate gives."""
    if holds:
        given = {
            "ids": list(holds),
            "reasons": [hold.reason for hold in holds.values()],
            "details": [hold.detail for hold in holds.values()],
        }
        states = list(transitions.HELD_AT_RELEASE.before)
        await session.execute(_HOLD, {**given, "states": states, "now": now})


async def approve_notices(session: AsyncSession, ids: Collection[int], now: datetime) -> None:
    """A person lets held comments go: neither the burst guard nor the daily cap holds them again."""
    released = {"target": "posted", "reason": None, "detail": None, "due_at": now, "updated_at": now}
    approved = _change(transitions.APPROVED, **released, guard="approved", guard_reason=None)
    await session.execute(approved.where(among(NoticeRow.id, ids)))


async def make_due(session: AsyncSession, which: ColumnElement[bool], now: datetime) -> None:
    """Release queued writes: the writer may take them from `now` on."""
    await session.execute(_change(transitions.RELEASED, due_at=now).where(which))


async def postpone_writes(
    session: AsyncSession,
    source_id: int,
    moment: datetime | None,
    *which: ColumnElement[bool],
    why: str | None,
) -> None:
    """Make unclaimed writes of a source due at `moment`, with `why` as their detail; with None they must be
    released again."""
    tickets: Select[Any] = (
        select(NoticeRow.id)
        .join(EpicRow, EpicRow.id == NoticeRow.epic_id)
        .where(EpicRow.source_id == source_id, NoticeRow.claimed_by.is_(None), *which)
        .order_by(NoticeRow.id)
        .with_for_update(of=NoticeRow, skip_locked=True)
    )
    postponed = _change(transitions.POSTPONED, due_at=moment, detail=why)
    await session.execute(postponed.where(NoticeRow.id.in_(tickets)))


async def let_requests_arrive(
    session: AsyncSession,
    which: ColumnElement[bool],
    sent_at: datetime | ColumnElement[datetime | None],
) -> None:
    """The claims on these notices end without a result; the last request for each was sent by `sent_at`.

    It may still arrive at the tracker, so the writes wait. A notice without a known comment is marked
    unconfirmed, so that the next writer looks at the ticket before it creates one.
    """
    unconfirmed_at, due_at = NoticeRow.write_unconfirmed_at, NoticeRow.due_at
    waiting = _change(
        transitions.POSTPONED,
        write_unconfirmed_at=case(
            (NoticeRow.remote_id.is_(None), func.coalesce(unconfirmed_at, sent_at)), else_=unconfirmed_at
        ),
        due_at=case((due_at.is_not(None), func.greatest(due_at, sent_at + UNCONFIRMED_WAIT)), else_=None),
    )
    await session.execute(waiting.where(which))


# --- withdrawing ------------------------------------------------------------------------------


async def queue_withdrawal(
    session: AsyncSession, ids: Collection[int], action: WithdrawAction, run_id: int, now: datetime
) -> None:
    """Queue the edit to one line, or the deletion, of comments that are or may be on their tickets."""
    # A notice whose request may still arrive keeps its later due time.
    due_at = case((MAYBE_SENT, func.greatest(NoticeRow.due_at, now)), else_=now)
    queued = _change(
        transitions.WITHDRAWAL_QUEUED,
        withdraw_action=action,
        target="withdrawn",
        answers=False,
        run_id=run_id,
        due_at=due_at,
        updated_at=case((NoticeRow.state == "withdrawn", NoticeRow.updated_at), else_=now),
    )
    await session.execute(queued.where(among(NoticeRow.id, ids)))


async def withdraw_unsent(
    session: AsyncSession, ids: Collection[int], now: datetime, reason: str, detail: str
) -> None:
    """Withdraw comments that are not made yet; the opening of a finding later ends that."""
    nothing = dict.fromkeys(("target", "due_at", "guard", "guard_reason"))
    withdrawn = _change(
        transitions.UNSENT_WITHDRAWN,
        reason=reason,
        detail=detail,
        answers=False,
        updated_at=now,
        **nothing,
    )
    await session.execute(withdrawn.where(among(NoticeRow.id, ids)))


# --- one notice, under a claim ----------------------------------------------------------------


def end_write(notice: NoticeRow, due_at: datetime | None) -> None:
    """With `due_at` the write stays queued until then; without it the write is cancelled, and `facts_hash` is
    again that of the text on the ticket."""
    if due_at is not None and notice.target is not None:
        _step(notice, transitions.POSTPONED)
        notice.due_at = due_at
        return
    if due_at is None:
        _step(notice, transitions.CANCELLED)
        notice.target, notice.answers = None, False
        if notice.state in ("posted", "resolved"):
            notice.detail = None  # why it had to wait
        if notice.posted_hash is not None:
            notice.facts_hash = notice.posted_hash
    notice.due_at = None


def mark_written(notice: NoticeRow, state: WrittenState, now: datetime) -> None:
    """The ticket shows the text that this state stands for."""
    written = {
        "posted": transitions.POSTED,
        "resolved": transitions.RESOLVED,
        "withdrawn": transitions.WITHDRAWN,
    }
    _step(notice, written[state])
    notice.reason = notice.detail = None
    notice.write_unconfirmed_at = None
    notice.guard = notice.guard_reason = None
    notice.updated_at = now


def mark_withdrawn(notice: NoticeRow, *, by_run: bool) -> None:
    """The withdrawal is complete on this ticket. `by_run`: of the whole run that made the comment."""
    notice.withdraw_action = None
    notice.reason, notice.detail = "withdrawn", "It was taken back."
    if by_run:
        notice.reason, notice.detail = "run_withdrawn", "The run that made it was withdrawn."


def mark_failed(notice: NoticeRow, detail: str, now: datetime) -> None:
    """The tracker refused the write; `detail` says why and what to do."""
    _step(notice, transitions.FAILED)
    notice.reason, notice.detail, notice.updated_at = None, detail, now


def mark_stale(notice: NoticeRow, detail: str) -> None:
    """The ticket could not be fetched again: a comment that is not on it yet is held."""
    if notice.state in transitions.STALE.before:
        _step(notice, transitions.STALE)
        notice.reason, notice.detail = "stale", detail


def mark_adopted(notice: NoticeRow, comment_id: str, url: str | None) -> bool:
    """Our comment was found on the ticket. True where the notice did not know that there is one. Its text is
    an answer where a request for one was sent, and no other text has been wanted since."""
    notice.remote_id, notice.url = comment_id, url
    if notice.state in ("posted", "resolved"):
        return False
    is_answer = notice.answers and notice.target == "resolved" and notice.posted_body is not None
    _step(notice, transitions.ADOPTED_ANSWER if is_answer else transitions.ADOPTED)
    return True


def mark_deleted(notice: NoticeRow, now: datetime) -> None:
    """Our comment was deleted on the ticket, and not by us."""
    _step(notice, transitions.DELETED)
    notice.reason, notice.detail = "deleted_on_ticket", "Our comment was deleted on the ticket."
    notice.remote_id = notice.url = notice.target = notice.due_at = notice.write_unconfirmed_at = None
    notice.guard = notice.guard_reason = notice.withdraw_action = None
    notice.answers = False
    notice.updated_at = now
    forget_posted_text(notice)


def forget_posted_text(notice: NoticeRow) -> None:
    """Forget the posted text of a notice that has no comment, unless a write of it is unconfirmed."""
    if notice.remote_id is None and notice.write_unconfirmed_at is None:
        notice.posted_hash, notice.posted_body, notice.mentioned_key_result_ids = None, None, []
        notice.posted_document = None
