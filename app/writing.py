"""Making one ticket match its notice, under a claim.

A ticket is fetched and judged again just before it is written. One request is sent; where its answer
is lost the ticket is looked at before another, so that there is never a second comment.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import uuid4

import structlog
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from app.outcome import note_refusal
from app.runtime import Runtime
from connectors import base
from connectors.base import (
    Comment,
    Connector,
    ConnectorError,
    EpicRef,
    Gone,
    Marker,
    Missing,
    Rejected,
    Unanswered,
    Unauthorized,
    Unavailable,
)
from mappings import cases, ledger, notice, rulings, store
from mappings.ledger import Claim, ClaimLost
from mappings.rulings import Ruling
from mappings.standard import Standard, as_it_stands
from mappings.tables import Epic, Notice, Run, Source
from mappings.verdict import Wanted

log = structlog.get_logger()

TRY_AGAIN_AFTER = timedelta(hours=1)
FULL_SYNC_TELLS = "A full sync finds out which."
# Trackers that ask for writes one after the other.
SERIAL_KINDS = frozenset({"github"})


@asynccontextmanager
async def writing(runtime: Runtime, source: Source) -> AsyncIterator[Writer]:
    """Raises `vault.CannotOpen`."""
    connector = runtime.connect(source)
    try:
        yield Writer(runtime, source, connector)
    finally:
        await connector.aclose()


@dataclass
class Writer:
    """Writes tickets of one source, one after the other."""

    runtime: Runtime
    source: Source
    connector: Connector
    _standards: dict[str, Standard] = field(default_factory=dict)

    async def write_next(self) -> bool:
        """Write the next due ticket; False when there is none, or no sense in trying another."""
        async with self.runtime.sessions.begin() as session:
            claim = await ledger.claim_notice(
                session,
                self.source.id,
                str(uuid4()),
                self.runtime.clock(),
                one_at_a_time=self.source.kind in SERIAL_KINDS,
            )
            row = None if claim is None else await session.get(Epic, claim.epic_id)
        if claim is None or row is None:
            return False
        before = self.connector.requests
        write = _Write(self, claim, row)
        with structlog.contextvars.bound_contextvars(run=claim.run_id, epic=row.key):
            try:
                await write.carry_out()
            except ClaimLost as lost:
                log.warning("claim lost", reason=str(lost))
            finally:
                await self._count(claim.run_id, self.connector.requests - before)
        return write.go_on

    async def standard(self, session: AsyncSession, project: str) -> Standard:
        """What an epic of the project is judged by at this moment."""
        kept = self._standards.get(project)
        standard = None if kept is None else await as_it_stands(session, kept, project)
        if standard is None:
            standard = await self.runtime.standard(session, self.source, [project])
        self._standards[project] = standard
        return standard

    async def _count(self, run_id: int, requests: int) -> None:
        async with self.runtime.sessions.begin() as session:
            counted = update(Run).where(Run.id == run_id)
            await session.execute(counted.values(requests=Run.requests + requests))


@dataclass(frozen=True)
class _Judged:
    """What is to be sent: the judge's wish, its text, and that text as people will read it."""

    wanted: Wanted
    text: notice.Notice
    body: str
    marker: Marker


class _Write:
    """One claim's work: look, judge, send, remember. `go_on`: there is sense in trying the next."""

    def __init__(self, writer: Writer, claim: Claim, row: Epic) -> None:
        self.writer = writer
        self.runtime, self.source, self.connector = writer.runtime, writer.source, writer.connector
        self.claim, self.row = claim, row
        self.ref = EpicRef(row.remote_id, row.key)
        self.comment_id: str | None = None
        self.fetched = False
        self.go_on = True

    async def carry_out(self) -> None:
        try:
            if not await self._look_for_lost_comment():
                return
            judged = await self._judge_again()
            if judged is None:
                return
            comment = await self.connector.put_comment(
                self.ref, self.comment_id, judged.text.document, judged.marker
            )
        except Unanswered as error:
            await self._unanswered(error)
        except Unavailable as error:
            await self._rest(error)
        except ConnectorError as error:
            if isinstance(error, Gone) and self.comment_id is not None:
                await self._deleted_by_a_person()
                return
            self.go_on = not isinstance(error, Unauthorized)
            await (self._failed(error) if self.fetched else self._unread(error))
        else:
            await self._remember(judged, comment)

    # --- look -------------------------------------------------------------------------------

    async def _look_for_lost_comment(self) -> bool:
        """After a request whose answer never came: is our comment there? False: too early, or not ours."""
        if not self.claim.unanswered:
            return True
        now = self.runtime.clock()
        async with self.runtime.sessions.begin() as session:
            row = await ledger.claimed(session, self.claim)
            if row.unanswered_at is None or row.remote_id is not None:
                return True
            rested = row.unanswered_at + ledger.UNANSWERED_REST
            if rested > now:
                ledger.give_back(row, self.claim, rested)
                return False
            standard = await self.runtime.standard(session, self.source, [self.row.project])
        marker = Marker(standard.installation, self.row.id)
        found = await self.connector.find_comment(self.ref, marker)
        async with self.runtime.sessions.begin() as session:
            row = await ledger.claimed(session, self.claim)
            if found is not None and not found.ours:
                self._fail(row, "A comment with our marker stands on the ticket that we may not edit.", now)
                ledger.written(session, self.claim, "failed", found.id, now)
                return False
            row.unanswered_at = None
            if found is None:
                ledger.nothing_posted(row)
                return True
            row.remote_id, row.url = found.id, found.url
            if row.state not in ("posted", "resolved"):
                row.state = "posted"
                ledger.written(session, self.claim, "posted", found.id, now)
        return True

    # --- judge ------------------------------------------------------------------------------

    async def _judge_again(self) -> _Judged | None:
        """Fetch the ticket, store what it says, judge it; None where there is nothing to write any more."""
        (seen,) = await self.connector.fetch([self.ref])
        if isinstance(seen, Missing) and seen.reason == "deleted":
            # Or no longer visible to us, which looks the same: only a full run, with its guard, may remove.
            raise Gone(f"{self.ref.key} was deleted, or Northing may no longer see it.", FULL_SYNC_TELLS)
        self.fetched = True
        now = self.runtime.clock()
        async with self.runtime.sessions.begin() as session:
            await ledger.share_goals(session)
            await self._store(session, seen, now)
            (row,) = await cases.these_epics(session, [self.row.id])
            row.read_at = now
            await session.flush()
            standard = await self.writer.standard(session, row.project)
            ruling = await self._rule(session, standard, row, now)
            standing = await self._standing(session)
            wanted = ruling.decision.notice
            if standing is None:
                return None
            if standing.unanswered_at is not None and standing.remote_id is None:
                # The ticket was transferred: our comment went with it and has another id now.
                ledger.give_back(standing, self.claim, now)
                return None
            if wanted is None or wanted.target is None or standing.run_id != self.claim.run_id:
                ledger.give_back(standing, self.claim)
                return None
            text = wanted.compose()
            if standing.remote_id is None:
                # Should the answer be lost, this is what may stand on the ticket.
                standing.posted_hash, standing.posted_body = wanted.facts_hash, standing.body
                standing.named = [*text.named]
            standing.claimed_until = now + ledger.NOTICE_LEASE
            self.ref, self.comment_id = EpicRef(row.remote_id, row.key), standing.remote_id
            return _Judged(wanted, text, standing.body, Marker(standard.installation, row.id))

    async def _store(self, session: AsyncSession, seen: base.Epic | Missing, now: datetime) -> None:
        if isinstance(seen, Missing):
            await store.observe(session, self.source.id, self.source.tracker, [], [seen], now)
        elif seen.remote_id == self.row.remote_id:
            await store.observe(session, self.source.id, self.source.tracker, [seen], [], now)
        else:
            await store.take_over(session, self.source.id, self.source.tracker, self.row.remote_id, seen, now)

    async def _rule(self, session: AsyncSession, standard: Standard, row: Epic, now: datetime) -> Ruling:
        (case,) = await cases.load_cases(session, [row])
        ruling = cases.judge(case, standard, now, claim=self.claim.owner)
        await rulings.record(session, [ruling], standard, self.claim.run_id, now)
        return ruling

    async def _standing(self, session: AsyncSession) -> Notice | None:
        """The notice under our claim; None where judging has just removed it."""
        try:
            return await ledger.claimed(session, self.claim)
        except ClaimLost:
            if await session.get(Notice, self.claim.notice_id, populate_existing=True) is None:
                return None
            raise

    # --- remember ---------------------------------------------------------------------------

    async def _remember(self, judged: _Judged, comment: Comment) -> None:
        now, wanted = self.runtime.clock(), judged.wanted
        created = "posted" if self.comment_id is None else "edited"
        kind = "resolved" if wanted.target == "resolved" else created
        async with self.runtime.sessions.begin() as session:
            row = await ledger.claimed(session, self.claim)
            row.remote_id, row.url, row.unanswered_at = comment.id, comment.url, None
            row.state = wanted.target or row.state
            row.posted_hash, row.posted_body = wanted.facts_hash, judged.body
            row.named = [*judged.text.named]
            row.reason = row.detail = None
            row.updated_at = now
            if row.target is None or row.run_id == self.claim.run_id:
                # Not judged anew while we wrote, or called off meanwhile.
                row.facts_hash, row.body = wanted.facts_hash, judged.body
            ledger.give_back(row, self.claim)
            ledger.written(session, self.claim, kind, comment.id, now)
        log.info("ticket written", kind=kind, comment=comment.url)

    async def _unanswered(self, error: Unanswered) -> None:
        """It may have been carried out. Only this ticket rests, for others may be answered."""
        now = self.runtime.clock()
        pause = max(timedelta(seconds=error.retry_after), ledger.UNANSWERED_REST)
        async with self.runtime.sessions.begin() as session:
            row = await ledger.claimed(session, self.claim)
            if row.remote_id is None:
                row.unanswered_at = now
            ledger.give_back(row, self.claim, now + pause)
        log.warning("ticket waits", reason=error.message)

    async def _rest(self, error: Unavailable) -> None:
        """The tracker says later, and means all of the source's tickets."""
        now = self.runtime.clock()
        until = now + timedelta(seconds=error.retry_after)
        async with self.runtime.sessions.begin() as session:
            row = await ledger.claimed(session, self.claim)
            ledger.nothing_posted(row)
            if not self.fetched:
                _stale(row, error.message)
            # Behind the others, so that one ticket in trouble does not hold up all of them.
            ledger.give_back(row, self.claim, until + timedelta(seconds=1))
            await session.flush()
            await ledger.put_off(session, self.source.id, until)
        log.warning("tickets wait", reason=error.message, until=until.isoformat())

    async def _unread(self, error: ConnectorError) -> None:
        """The ticket could not be fetched, and not because of the moment."""
        now = self.runtime.clock()
        async with self.runtime.sessions.begin() as session:
            await self._look_again(session, now + TRY_AGAIN_AFTER)
            row = await ledger.claimed(session, self.claim)
            _stale(row, _in_words(error))
            ledger.give_back(row, self.claim)
            await self._tell_health(session, error, now)
        log.warning("ticket not read", reason=error.message)

    async def _deleted_by_a_person(self) -> None:
        """Who deletes our comment has said no."""
        now = self.runtime.clock()
        async with self.runtime.sessions.begin() as session:
            await self._look_again(session, now)
            row = await ledger.claimed(session, self.claim)
            ledger.deleted_on_ticket(row, now)
            ledger.give_back(row, self.claim)
        log.info("comment deleted on the ticket")

    async def _failed(self, error: ConnectorError) -> None:
        now = self.runtime.clock()
        async with self.runtime.sessions.begin() as session:
            await self._look_again(session, now + TRY_AGAIN_AFTER)
            row = await ledger.claimed(session, self.claim)
            ledger.nothing_posted(row)
            self._fail(row, _in_words(error), now)
            ledger.written(session, self.claim, "failed", row.remote_id, now)
            await self._tell_health(session, error, now)
        log.warning("ticket not written", reason=error.message)

    async def _tell_health(self, session: AsyncSession, error: ConnectorError, now: datetime) -> None:
        """A refusal is for a person to mend. Dead credentials are refused on every ticket: all rest."""
        if isinstance(error, Rejected):
            await note_refusal(session, self.source.id, self.row.key, error, now)
        if isinstance(error, Unauthorized):
            await session.flush()
            await ledger.put_off(session, self.source.id, now + TRY_AGAIN_AFTER)

    async def _look_again(self, session: AsyncSession, when: datetime) -> None:
        """Before the notice is locked: whoever judges takes an epic first and then its notice."""
        await session.execute(update(Epic).where(Epic.id == self.row.id).values(look_again_at=when))

    def _fail(self, row: Notice, detail: str, now: datetime) -> None:
        row.state, row.reason, row.detail, row.updated_at = "failed", None, detail, now
        ledger.give_back(row, self.claim)


def _stale(row: Notice, detail: str) -> None:
    if row.state in ("due", "held"):
        row.state, row.reason, row.detail = "held", "stale", detail


def _in_words(error: ConnectorError) -> str:
    return " ".join((error.message, error.what_to_do)).strip()
