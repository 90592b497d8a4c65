"""Making one ticket match its notice, under a claim.

A ticket is fetched and judged again just before it is written. One request is sent; where its answer
is lost the ticket is looked at before another, so that there is never a second comment.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from uuid import uuid4

import structlog
from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app import logs, ours
from app.runtime import Runtime
from app.settling import NOTHING, Said, Settling
from app.usage import metered
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
from mappings import cases, claims, inbox, ledger, notice, rulings, store, tallies
from mappings.claims import Claim
from mappings.ledger import ClaimLost
from mappings.rulings import Ruling
from mappings.standard import Standard, as_it_stands
from mappings.tables import Epic, Installation, Notice, Run, Source
from mappings.verdict import Wanted

log = structlog.get_logger()

FOREIGN = "A comment with our marker stands on the ticket that we may not edit."
FOREIGN_TO_DO = "Use the account again that wrote it, or delete that comment."
FULL_SYNC_TELLS = "A full sync finds out which."
# Trackers that ask for writes one after the other.
SERIAL_KINDS = frozenset({"github"})


@asynccontextmanager
async def writing(runtime: Runtime, source: Source) -> AsyncIterator[Writer]:
    """Raises `vault.CannotOpen`."""
    async with metered(runtime, source.id, runtime.connect(source)) as connector:
        yield Writer(runtime, source, connector)


@dataclass
class Writer:
    """Writes tickets of one source, one after the other."""

    runtime: Runtime
    source: Source
    connector: Connector
    _standards: dict[str, Standard] = field(default_factory=dict)
    _led_to: dict[int, list[str]] = field(default_factory=dict)

    async def write_next(self) -> bool:
        """Write the next due ticket; False when there is none, or no sense in trying another."""
        async with self.runtime.sessions.begin() as session:
            claim = await claims.claim_notice(
                session,
                self.source.id,
                f"{self.runtime.worker}/{uuid4().hex}",
                self.runtime.clock(),
                one_at_a_time=self.source.kind in SERIAL_KINDS,
            )
            row = None if claim is None else await session.get(Epic, claim.epic_id)
            if claim is not None and claim.run_id not in self._led_to:
                self._led_to = {claim.run_id: await inbox.remote_ids(session, claim.run_id, logs.FOLLOWED)}
        if claim is None or row is None:
            return False
        before, begun = self.connector.requests, time.monotonic()
        write = _Write(self, claim, row)
        following = logs.following(self._led_to[claim.run_id])
        with structlog.contextvars.bound_contextvars(run=claim.run_id, epic=row.key, **following):
            try:
                await write.carry_out()
            except ClaimLost as lost:
                log.warning("claim lost", reason=str(lost))
            finally:
                took = time.monotonic() - begun
                await self._count(claim.run_id, self.connector.requests - before, write.kind, took)
        return write.go_on

    async def standard(self, session: AsyncSession, project: str) -> Standard:
        """What an epic of the project is judged by at this moment."""
        kept = self._standards.get(project)
        standard = None if kept is None else await as_it_stands(session, kept, project)
        if standard is None:
            standard = await self.runtime.standard(session, self.source, [project])
        self._standards[project] = standard
        return standard

    async def _count(self, run_id: int, requests: int, kind: str | None, took: float) -> None:
        async with self.runtime.sessions.begin() as session:
            counted = update(Run).where(Run.id == run_id)
            await session.execute(counted.values(requests=Run.requests + requests))
            if kind is not None:
                await tallies.add(session, self.source.id, "write", kind, took=[took])


@dataclass(frozen=True)
class _Judged:
    """What is to be sent: the judge's wish, its text, and that text as people will read it. `delete`: the
    comment is to go instead."""

    wanted: Wanted
    text: notice.Notice
    body: str
    marker: Marker
    delete: bool

    def said(self) -> Said:
        return Said(
            self.wanted.target or self.wanted.state, self.wanted.facts_hash, self.body, self.text.named
        )


class _Write(Settling):
    """One claim's work: look, judge, send, and note what became of it."""

    def __init__(self, writer: Writer, claim: Claim, row: Epic) -> None:
        super().__init__(writer.runtime, writer.source, claim, row)
        self.writer, self.connector = writer, writer.connector
        self.ref = EpicRef(row.remote_id, row.key)
        self.comment_id: str | None = None

    async def carry_out(self) -> None:
        try:
            if not await self._look():
                return
            judged = await self._judge_again()
            if judged is not None:
                await (self._delete(judged) if judged.delete else self._put(judged))
        except Unanswered as error:
            await self.unanswered(error)
        except Unavailable as error:
            await self.later(error)
        except ConnectorError as error:
            self.go_on = not isinstance(error, Unauthorized)
            await (self.failed(error) if self.fetched else self.unread(error))

    async def _put(self, judged: _Judged) -> None:
        try:
            comment = await self.connector.put_comment(
                self.ref, self.comment_id, judged.text.document, judged.marker
            )
        except Gone as error:
            if self.comment_id is None:
                raise _forbidden(error) from error
            await ours.take_back_all(self.connector, self.ref, judged.marker)
            await self.deleted_by_a_person()
            return
        if self.comment_id is not None:
            await self._take_others_back(comment, judged.marker)
        await self.done(judged.said(), comment, is_new=self.comment_id is None)

    async def _take_others_back(self, comment: Comment, marker: Marker) -> None:
        """Should a second one of ours stand there, however it came. Nothing else depends on it."""
        try:
            found = await ours.find(self.connector, self.ref, marker, comment.id)
        except ConnectorError as error:
            log.info("not looked whether a second comment of ours stands there", reason=error.message)
            return
        if found.taken_back:
            async with self.runtime.sessions.begin() as session:
                await self.mine(session)
                self._note_taken_back(session, found.taken_back, self.runtime.clock())

    async def _delete(self, judged: _Judged) -> None:
        """Once it is gone, by us or by anybody, nothing is left to be taken back."""
        assert self.comment_id is not None
        try:
            await self.connector.delete_comment(self.ref, self.comment_id)
        except Gone:
            await ours.take_back_all(self.connector, self.ref, judged.marker)
            log.info("comment was gone already")
        except Unauthorized:
            raise
        except Rejected:
            await self.edit_instead()
            return
        await self.done(NOTHING, None, is_new=False)

    # --- look -------------------------------------------------------------------------------

    async def _look(self) -> bool:
        """What of ours stands there? The answer to a request may have been lost, the database may be an older
        copy, the source made anew. False: too early to say, or there must be no comment of ours.
        """
        now = self.runtime.clock()
        async with self.runtime.sessions.begin() as session:
            row = await claims.claimed(session, self.claim)
            if row.remote_id is not None:
                return True
            rested = (row.unanswered_at or now) + claims.UNANSWERED_REST
            if row.lost and rested > now:
                claims.give_back(row, self.claim, rested)
                return False
            installation = (await session.scalars(select(Installation.uuid))).one()
        found = await ours.find(self.connector, self.ref, Marker(installation, self.row.id), None)
        if found.comment is not None and not found.comment.ours:
            await self.failed(Rejected(FOREIGN, FOREIGN_TO_DO), here_only=True)
            return False
        async with self.runtime.sessions.begin() as session:
            row = await self.mine(session)
            self._note_taken_back(session, found.taken_back, now)
            return self._now_known(session, row, found, now)

    def _note_taken_back(self, session: AsyncSession, doubles: Sequence[str], now: datetime) -> None:
        for double in doubles:
            claims.written(session, self.claim, "withdrawn", double, now)

    def _now_known(self, session: AsyncSession, row: Notice, found: ours.Found, now: datetime) -> bool:
        row.unanswered_at = None
        comment = found.comment
        if comment is None and row.state in ("posted", "resolved"):
            # It stood there before the ticket was transferred, and somebody has deleted it.
            claims.deleted_on_ticket(row, now)
            claims.give_back(row, self.claim)
            return False
        if comment is None:
            claims.nothing_posted(row)
            return True
        row.remote_id, row.url = comment.id, comment.url
        if found.taken_back or row.posted_hash is None:
            row.posted_hash = ""  # nobody knows which text stands there: it is written anew
        if row.state not in ("posted", "resolved"):
            row.state = "posted"
            claims.written(session, self.claim, "posted", comment.id, now)
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
            if standing.lost:
                # The ticket was transferred: our comment went with it and has another id now.
                claims.give_back(standing, self.claim, now)
                return None
            if wanted is None or wanted.target is None or standing.run_id != self.claim.run_id:
                claims.give_back(standing, self.claim)
                return None
            text = wanted.compose()
            if standing.remote_id is None:
                # Should the answer be lost, this is what may stand on the ticket.
                standing.posted_hash, standing.posted_body = wanted.facts_hash, standing.body
                standing.named = [*text.named]
            else:
                # Until the answer is here nobody knows which of two texts stands there: none is believed.
                standing.posted_hash = ""
            standing.claimed_until = now + claims.NOTICE_LEASE
            self.ref, self.comment_id = EpicRef(row.remote_id, row.key), standing.remote_id
            delete = standing.taking_back == "delete" and self.comment_id is not None
            return _Judged(wanted, text, standing.body, Marker(standard.installation, row.id), delete)

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
            return await claims.claimed(session, self.claim)
        except ClaimLost:
            if await session.get(Notice, self.claim.notice_id, populate_existing=True) is None:
                return None
            raise


def _forbidden(error: Gone) -> Rejected:
    """The ticket was read a moment ago."""
    return Rejected(
        f"The ticket can be read, and no comment written there. {error.message}",
        "Give the account or its token the right to write comments.",
    )
