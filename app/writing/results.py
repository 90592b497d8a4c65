"""Records the result of a write, under its claim: posted, unconfirmed, postponed, refused or gone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import select, update

from app.run_result import record_refusal_in_health
from connectors.base import Blocked, Comment, ConnectorError, Gone, Rejected, Unanswered, Unavailable
from connectors.document import document_as_json
from mappings import backoff, counters
from mappings.leases import UNCONFIRMED_WAIT
from mappings.locks import locked_source, share_paused_projects, share_source
from mappings.notices import claims, pauses, state
from mappings.notices.gates import Facts, Pause, first_hold
from mappings.notices.marker import remember_account
from mappings.tables import EpicRow, NoticeRow, RunRow, SourceRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

    from app.runtime import Runtime
    from app.writing.adoption import FoundComments
    from connectors.document import Document
    from mappings.notices.claims import Claim
    from mappings.notices.transitions import WrittenState

log = structlog.get_logger()

RETRY_AFTER = timedelta(hours=1)
REREAD_AFTER = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class PostedText:
    """The text that is on the ticket now, and the hash of the facts that it was made from. `document`: None
    for no text."""

    state: WrittenState
    facts_hash: str
    body: str
    document: Document | None
    mentioned_key_result_ids: tuple[int, ...] = ()

    def store(self, notice: NoticeRow) -> None:
        """Store it as the text that is on the ticket, or may be."""
        notice.posted_hash, notice.posted_body = self.facts_hash, self.body
        notice.posted_document = None if self.document is None else document_as_json(self.document)
        notice.mentioned_key_result_ids = [*self.mentioned_key_result_ids]


NO_TEXT = PostedText("withdrawn", "", "", None)


@dataclass
class WriteResults:
    """Records the result of one claim. `kind`: what was written; None where nothing was, or the result is
    unconfirmed."""

    runtime: Runtime
    source: SourceRow
    claim: Claim
    row: EpicRow
    kind: str | None = None

    async def posted(self, posted_text: PostedText, comment: Comment | None, *, is_new: bool) -> None:
        """The ticket shows the text; where `comment` is None, no comment of ours is on it any more."""
        kind: str = posted_text.state if posted_text.state != "posted" else "edited"
        if is_new and posted_text.state != "withdrawn":
            kind = "posted"  # an answer's comment too: it takes a slot of the day, and can be withdrawn
        async with self.runtime.sessions.begin() as session:
            now = await self.runtime.now(session)
            row = await self.lock_notice(session, ends_pause=True)
            before = row.remote_id
            if is_new and comment is not None and comment.author is not None:
                await remember_account(session, self.source.tracker, comment.author)
            row.remote_id, row.url = (None, None) if comment is None else (comment.id, comment.url)
            state.mark_written(row, posted_text.state, now)
            posted_text.store(row)
            state.forget_posted_text(row)
            if row.target is None or row.run_id == self.claim.run_id:
                # Cancelled during the write, or not evaluated by another run since the claim.
                row.facts_hash = posted_text.facts_hash
            # A person may have asked for its deletion while the writer edited it.
            still_to_delete = (
                row.withdraw_action == "delete" and comment is not None and posted_text.state == "withdrawn"
            )
            claims.release_claim(row, self.claim, now if still_to_delete else None)
            if posted_text.state == "withdrawn" and not still_to_delete:
                of_run = select(RunRow.withdraws).where(RunRow.id == self.claim.run_id)
                state.mark_withdrawn(row, by_run=await session.scalar(of_run) is not None)
            claims.record_write(session, self.claim, kind, row.remote_id or before, now)
            await pauses.resume_writes(session, self.source.id, now, self.row.project)
        self.kind = kind
        log.info("ticket written", kind=kind, comment=None if comment is None else comment.url)

    async def looked_for(self, found: FoundComments, now: datetime) -> bool:
        """Our comment was looked for on the ticket; whether the writer may go on."""
        async with self.runtime.sessions.begin() as session:
            row = await self.lock_notice(session)
            self._record_withdrawn(session, found.withdrawn_ids, now)
            row.write_unconfirmed_at = None
            comment = found.comment
            if comment is None and row.state in ("posted", "resolved"):
                # It was there before the ticket was transferred, and a person has deleted it.
                state.mark_deleted(row, now)
                claims.release_claim(row, self.claim)
                return False
            if comment is None:
                state.forget_posted_text(row)
                return True
            if state.mark_adopted(row, comment.id, comment.url):
                claims.record_write(session, self.claim, "posted", comment.id, now)
            if found.withdrawn_ids or row.posted_hash is None or not comment.ours:
                # The text on the ticket is unknown, or whether it may still be edited: it is written again.
                row.posted_hash = ""
            return True

    async def duplicates_withdrawn(self, comment_ids: Sequence[str]) -> None:
        """Other comments of ours on the ticket were withdrawn."""
        async with self.runtime.sessions.begin() as session:
            await self.lock_notice(session)
            self._record_withdrawn(session, comment_ids, await self.runtime.now(session))

    def _record_withdrawn(self, session: AsyncSession, comment_ids: Sequence[str], now: datetime) -> None:
        for comment_id in comment_ids:
            claims.record_write(session, self.claim, "withdrawn", comment_id, now)

    async def unconfirmed(self, error: Unanswered) -> None:
        """The tracker may have executed the request. Only this ticket waits: requests for others may work."""
        pause = max(timedelta(seconds=error.retry_after), UNCONFIRMED_WAIT)
        async with self.runtime.sessions.begin() as session:
            now = await self.runtime.now(session)
            row = await claims.lock_claimed_notice(session, self.claim)
            if row.remote_id is None:
                row.write_unconfirmed_at = now
            claims.release_claim(row, self.claim, now + pause)
            await self.runtime.wake_after_pause(session, "write_tickets", pause, source_id=self.source.id)
        log.warning("ticket waits", reason=error.message)

    async def postponed(self, error: Unavailable, *, fetched: bool) -> None:
        """The tracker asks for a pause, which is for all tickets of the source."""
        async with self.runtime.sessions.begin() as session:
            now = await self.runtime.now(session)
            row = await claims.lock_claimed_notice(session, self.claim)
            until = now + error.retry_delay(backoff.notice_failing_for(row, now))
            state.forget_posted_text(row)
            if not fetched:
                state.mark_stale(row, error.message)
            # Due after the others, so that one failing ticket does not delay all of them.
            behind = until + timedelta(milliseconds=1)
            claims.release_claim(row, self.claim, behind)
            await self.runtime.wake_after_pause(
                session, "write_tickets", behind - now, source_id=self.source.id
            )
            await session.flush()
            await self._pause_tickets(session, until, error.message, now)
        log.warning("tickets wait", reason=error.message, until=until.isoformat())

    async def unreadable(self, error: ConnectorError) -> None:
        """The ticket could not be fetched, for a reason that does not pass by itself."""
        async with self.runtime.sessions.begin() as session:
            now = await self.runtime.now(session)
            await self._lock_source(session, error)
            await self._evaluate_epic_at(session, now + RETRY_AFTER)
            row = await claims.lock_claimed_notice(session, self.claim)
            if isinstance(error, Gone) and row.remote_id is not None:
                # Our comment is where we cannot see it, and keeps its text.
                self._mark_failed(session, row, error, now)
            else:
                state.mark_stale(row, _error_text(error))
                # Nothing else triggers the change of our comment: try again soon, then less and less often.
                pause = min(max(REREAD_AFTER, (now - row.updated_at) / 2), RETRY_AFTER)
                claims.release_claim(row, self.claim, now + pause if row.remote_id is not None else None)
            await self._record_in_health(session, error, now)
        log.warning("ticket not read", reason=error.message)

    async def gone(self) -> None:
        """A person has deleted our comment, so none is written again for this opening of the finding."""
        async with self.runtime.sessions.begin() as session:
            now = await self.runtime.now(session)
            await self._evaluate_epic_at(session, now)
            row = await claims.lock_claimed_notice(session, self.claim)
            state.mark_deleted(row, now)
            claims.release_claim(row, self.claim)
        log.info("comment deleted on the ticket")

    async def edit_instead(self) -> None:
        """We may not delete our comment, so the next write edits it to one line."""
        async with self.runtime.sessions.begin() as session:
            row = await claims.lock_claimed_notice(session, self.claim)
            row.withdraw_action = "edit"
            claims.release_claim(row, self.claim, await self.runtime.now(session))

    async def refused(self, error: ConnectorError, *, ticket_only: bool = False) -> None:
        """The write was refused. `ticket_only`: the reason lies in this ticket and says nothing of others."""
        async with self.runtime.sessions.begin() as session:
            now = await self.runtime.now(session)
            await self._lock_source(session, error)
            await self._evaluate_epic_at(session, now + RETRY_AFTER)
            row = await claims.lock_claimed_notice(session, self.claim)
            state.forget_posted_text(row)
            self._mark_failed(session, row, error, now)
            await self._record_in_health(session, error, now)
            if isinstance(error, Rejected) and not isinstance(error, Blocked) and not ticket_only:
                await session.flush()
                await pauses.record_refusal(
                    session, self.source.id, self.row.project, _error_text(error), now
                )
        log.warning("ticket not written", reason=error.message)

    async def broken(self, error: Exception) -> None:
        """An error in Northing ended the write, and would end the next attempt too. A request may have been
        sent before, so the next writer looks at the ticket first."""
        shown = ConnectorError(
            f"An error in Northing ended the write ({type(error).__name__}).",
            "Open an issue with the log lines of this ticket.",
        )
        async with self.runtime.sessions.begin() as session:
            now = await self.runtime.now(session)
            await share_source(session, self.source.id)
            await self._evaluate_epic_at(session, now + RETRY_AFTER)
            row = await claims.lock_claimed_notice(session, self.claim)
            if row.remote_id is None:
                row.write_unconfirmed_at = now
            self._mark_failed(session, row, shown, now)

    def _mark_failed(
        self, session: AsyncSession, row: NoticeRow, error: ConnectorError, now: datetime
    ) -> None:
        state.mark_failed(row, _error_text(error), now)
        claims.release_claim(row, self.claim)
        claims.record_write(session, self.claim, "failed", row.remote_id, now)
        self.kind = "failed"

    async def _pause_tickets(
        self, session: AsyncSession, until: datetime, detail: str, now: datetime
    ) -> None:
        hold = first_hold("write", Facts(now=now, tracker_pause=Pause(until=until, detail=detail)))
        if hold is not None:
            await pauses.hold_writes(session, self.source.id, hold)

    async def _record_in_health(self, session: AsyncSession, error: ConnectorError, now: datetime) -> None:
        """A person must resolve a refusal. Where its cause is not the ticket, all tickets wait."""
        if isinstance(error, Rejected):
            await record_refusal_in_health(session, self.source.id, self.row.key, error, now)
        if isinstance(error, Blocked):
            await session.flush()
            await self._pause_tickets(session, now + RETRY_AFTER, _error_text(error), now)

    async def count(self, requests: int, seconds: float) -> None:
        """Count the requests of this claim for its run, and what was written for the metrics."""
        async with self.runtime.sessions.begin() as session:
            if self.kind is not None:
                await share_source(session, self.source.id)  # which the count refers to
            counted = update(RunRow).where(RunRow.id == self.claim.run_id)
            await session.execute(counted.values(requests=RunRow.requests + requests))
            if self.kind is not None:
                await counters.add_count(session, self.source.id, "write", self.kind, took=[seconds])

    async def lock_notice(self, session: AsyncSession, *, ends_pause: bool = False) -> NoticeRow:
        """The claimed notice, locked after its epic: the record of a write refers to both, and the evaluator
        locks the epic first. `ends_pause`: the result may end its project's pause. Raises `ClaimLost`."""
        await share_source(session, self.source.id)
        if ends_pause:
            await share_paused_projects(session, self.source.id)
        epic = select(EpicRow.id).where(EpicRow.id == self.row.id)
        await session.execute(epic.with_for_update(key_share=True))
        return await claims.lock_claimed_notice(session, self.claim)

    async def _lock_source(self, session: AsyncSession, error: ConnectorError) -> None:
        """Called before the epic is locked: a change of a source, and the reader, lock the source first."""
        if isinstance(error, Rejected):
            await session.execute(locked_source(self.source.id))
        else:
            await share_source(session, self.source.id)

    async def _evaluate_epic_at(self, session: AsyncSession, when: datetime) -> None:
        """Called before the notice is locked: the evaluator locks an epic first and then its notice."""
        await session.execute(update(EpicRow).where(EpicRow.id == self.row.id).values(evaluate_at=when))


def _error_text(error: ConnectorError) -> str:
    return " ".join((error.message, error.what_to_do)).strip()
