"""What becomes of a ticket's write, noted under its claim: done, later, refused, gone, or nobody knows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.outcome import note_refusal
from app.runtime import Runtime
from connectors.base import Comment, ConnectorError, Gone, Rejected, Unanswered, Unauthorized, Unavailable
from mappings import claims, pauses, trouble
from mappings.claims import Claim
from mappings.tables import Epic, Notice, Source
from mappings.verdict import NoticeState

log = structlog.get_logger()

TRY_AGAIN_AFTER = timedelta(hours=1)
REREAD_AFTER = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Said:
    """What stands on the ticket now, and the facts it stands on. `named` are ids of key results."""

    state: NoticeState
    facts_hash: str
    body: str
    named: tuple[int, ...] = ()


NOTHING = Said("withdrawn", "", "")


class Settling:
    """One claim. `fetched`: the ticket was there and could be read. `go_on`: there is sense in trying the
    next ticket of the source. `kind`: what was written, None where nothing was or nobody knows."""

    def __init__(self, runtime: Runtime, source: Source, claim: Claim, row: Epic) -> None:
        self.runtime, self.source, self.claim, self.row = runtime, source, claim, row
        self.fetched = False
        self.go_on = True
        self.kind: str | None = None

    async def done(self, said: Said, comment: Comment | None, *, is_new: bool) -> None:
        """The ticket says it; with `comment` None nothing of ours stands there any more."""
        now = self.runtime.clock()
        kind = said.state if said.state != "posted" or is_new else "edited"
        async with self.runtime.sessions.begin() as session:
            row = await self.mine(session)
            before = row.remote_id
            row.remote_id, row.url = (None, None) if comment is None else (comment.id, comment.url)
            row.unanswered_at = None
            row.state, row.reason, row.detail = said.state, None, None
            row.posted_hash, row.posted_body, row.named = said.facts_hash, said.body, [*said.named]
            claims.nothing_posted(row)
            row.guard = row.guard_why = None
            row.updated_at = now
            if row.target is None or row.run_id == self.claim.run_id:
                # Not judged anew while we wrote, or called off meanwhile.
                row.facts_hash, row.body = said.facts_hash, said.body
            # A person may have asked for its deletion while it was edited.
            still_to_go = row.taking_back == "delete" and comment is not None and said.state == "withdrawn"
            claims.give_back(row, self.claim, now if still_to_go else None)
            if said.state == "withdrawn" and not still_to_go:
                claims.taken_back(row)
            claims.written(session, self.claim, kind, row.remote_id or before, now)
            await pauses.accepts_writes(session, self.source.id, now, self.row.project)
        self.kind = kind
        log.info("ticket written", kind=kind, comment=None if comment is None else comment.url)

    async def unanswered(self, error: Unanswered) -> None:
        """It may have been carried out. Only this ticket rests, for others may be answered."""
        now = self.runtime.clock()
        pause = max(timedelta(seconds=error.retry_after), claims.UNANSWERED_REST)
        async with self.runtime.sessions.begin() as session:
            row = await claims.claimed(session, self.claim)
            if row.remote_id is None:
                row.unanswered_at = now
            claims.give_back(row, self.claim, now + pause)
        log.warning("ticket waits", reason=error.message)

    async def later(self, error: Unavailable) -> None:
        """The tracker says later, and means all of the source's tickets."""
        now = self.runtime.clock()
        async with self.runtime.sessions.begin() as session:
            row = await claims.claimed(session, self.claim)
            until = now + error.rest(trouble.of_notice(row, now))
            claims.nothing_posted(row)
            if not self.fetched:
                _stale(row, error.message)
            # Behind the others, so that one ticket in trouble does not hold up all of them.
            behind = until + timedelta(seconds=1)
            claims.give_back(row, self.claim, behind)
            if not error.named:
                await self.runtime.wake(
                    session, "write_tickets", after=behind - now, source_id=self.source.id
                )
            await session.flush()
            await pauses.put_off(session, self.source.id, until, error.message)
        log.warning("tickets wait", reason=error.message, until=until.isoformat())

    async def unread(self, error: ConnectorError) -> None:
        """The ticket could not be fetched, and not because of the moment."""
        now = self.runtime.clock()
        async with self.runtime.sessions.begin() as session:
            await self._hold_source(session, error)
            await self._look_again(session, now + TRY_AGAIN_AFTER)
            row = await claims.claimed(session, self.claim)
            if isinstance(error, Gone) and row.remote_id is not None:
                # Our comment stands where we cannot see it, and says what it said.
                self.fail(row, _in_words(error), now)
                claims.written(session, self.claim, "failed", row.remote_id, now)
                self.kind = "failed"
            else:
                _stale(row, _in_words(error))
                # What stands there is to change, and waits for nothing else: soon, then less and less often.
                pause = min(max(REREAD_AFTER, (now - row.updated_at) / 2), TRY_AGAIN_AFTER)
                claims.give_back(row, self.claim, now + pause if row.remote_id is not None else None)
            await self._tell_health(session, error, now)
        log.warning("ticket not read", reason=error.message)

    async def deleted_by_a_person(self) -> None:
        """Who deletes our comment has said no."""
        now = self.runtime.clock()
        async with self.runtime.sessions.begin() as session:
            await self._look_again(session, now)
            row = await claims.claimed(session, self.claim)
            claims.deleted_on_ticket(row, now)
            claims.give_back(row, self.claim)
        log.info("comment deleted on the ticket")

    async def edit_instead(self) -> None:
        """We may not delete our comment: it becomes one line."""
        async with self.runtime.sessions.begin() as session:
            row = await claims.claimed(session, self.claim)
            row.taking_back = "edit"
            claims.give_back(row, self.claim, self.runtime.clock())

    async def failed(self, error: ConnectorError, *, here_only: bool = False) -> None:
        """`here_only`: what is wrong lies with this ticket, and says nothing of others."""
        now = self.runtime.clock()
        async with self.runtime.sessions.begin() as session:
            await self._hold_source(session, error)
            await self._look_again(session, now + TRY_AGAIN_AFTER)
            row = await claims.claimed(session, self.claim)
            claims.nothing_posted(row)
            self.fail(row, _in_words(error), now)
            claims.written(session, self.claim, "failed", row.remote_id, now)
            await self._tell_health(session, error, now)
            if isinstance(error, Rejected) and not isinstance(error, Unauthorized) and not here_only:
                await session.flush()
                await pauses.refused(session, self.source.id, self.row.project, _in_words(error), now)
        self.kind = "failed"
        log.warning("ticket not written", reason=error.message)

    def fail(self, row: Notice, detail: str, now: datetime) -> None:
        row.state, row.reason, row.detail, row.updated_at = "failed", None, detail, now
        claims.give_back(row, self.claim)

    async def _tell_health(self, session: AsyncSession, error: ConnectorError, now: datetime) -> None:
        """A refusal is for a person to mend. Dead credentials are refused on every ticket: all rest."""
        if isinstance(error, Rejected):
            await note_refusal(session, self.source.id, self.row.key, error, now)
        if isinstance(error, Unauthorized):
            await session.flush()
            await pauses.put_off(session, self.source.id, now + TRY_AGAIN_AFTER, _in_words(error))

    async def mine(self, session: AsyncSession) -> Notice:
        """The claimed notice, locked after its epic: what is noted of a write refers to both, and whoever
        judges takes the epic first. Raises `ClaimLost`."""
        epic = select(Epic.id).where(Epic.id == self.row.id)
        await session.execute(epic.with_for_update(key_share=True))
        return await claims.claimed(session, self.claim)

    async def _hold_source(self, session: AsyncSession, error: ConnectorError) -> None:
        """Before the epic: whoever changes a source, or stores what was read of it, locks it first."""
        if isinstance(error, Rejected):
            source = select(Source.id).where(Source.id == self.source.id)
            await session.execute(source.with_for_update(key_share=True))

    async def _look_again(self, session: AsyncSession, when: datetime) -> None:
        """Before the notice is locked: whoever judges takes an epic first and then its notice."""
        await session.execute(update(Epic).where(Epic.id == self.row.id).values(look_again_at=when))


def _stale(row: Notice, detail: str) -> None:
    if row.state in ("due", "held"):
        row.state, row.reason, row.detail = "held", "stale", detail


def _in_words(error: ConnectorError) -> str:
    return " ".join((error.message, error.what_to_do)).strip()
