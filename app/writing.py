"""Making one ticket match its notice, under a claim.

A ticket is fetched and judged again just before it is written. One request is sent; where its answer
is lost the ticket is looked at before another, so that there is never a second comment.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from uuid import uuid4

import structlog
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession

from app.runtime import Runtime
from connectors.base import (
    Comment,
    Connector,
    ConnectorError,
    EpicRef,
    Gone,
    Marker,
    Missing,
    Unanswered,
    Unavailable,
)
from mappings import cases, ledger, notice, rulings, store
from mappings.ledger import Claim, ClaimLost
from mappings.rulings import Ruling
from mappings.standard import Standard
from mappings.tables import Epic, Notice, Run, Source
from mappings.verdict import Wanted

log = structlog.get_logger()

TRY_AGAIN_AFTER = timedelta(hours=1)
# Trackers that ask for writes one after the other.
SERIAL_KINDS = frozenset({"github"})


@asynccontextmanager
async def connected(runtime: Runtime, source: Source) -> AsyncIterator[Connector]:
    connector = runtime.connect(source)
    try:
        yield connector
    finally:
        await connector.aclose()


async def write_next(runtime: Runtime, source: Source, connector: Connector) -> bool:
    """Write the next due ticket of a source; False when there is none to take now."""
    async with runtime.sessions.begin() as session:
        claim = await ledger.claim_notice(
            session,
            source.id,
            str(uuid4()),
            runtime.clock(),
            one_at_a_time=source.kind in SERIAL_KINDS,
        )
        row = None if claim is None else await session.get(Epic, claim.epic_id)
    if claim is None or row is None:
        return False
    before = connector.requests
    with structlog.contextvars.bound_contextvars(run=claim.run_id, epic=row.key):
        try:
            await _Write(runtime, source, connector, claim, row).carry_out()
        except ClaimLost as lost:
            log.warning("claim lost", reason=str(lost))
        finally:
            await _count(runtime, claim.run_id, connector.requests - before)
    return True


async def _count(runtime: Runtime, run_id: int, requests: int) -> None:
    async with runtime.sessions.begin() as session:
        await session.execute(update(Run).where(Run.id == run_id).values(requests=Run.requests + requests))


class _Write:
    """One claim's work: look, judge, send, remember."""

    def __init__(
        self, runtime: Runtime, source: Source, connector: Connector, claim: Claim, row: Epic
    ) -> None:
        self.runtime, self.source, self.connector = runtime, source, connector
        self.claim, self.row = claim, row
        self.ref = EpicRef(row.remote_id, row.key)
        self.comment_id: str | None = None
        self.fetched = False

    async def carry_out(self) -> None:
        try:
            if not await self._look_for_lost_comment():
                return
            judged = await self._judge_again()
            if judged is None:
                return
            wanted, text, marker = judged
            comment = await self.connector.put_comment(self.ref, self.comment_id, text.document, marker)
        except Unanswered as error:
            await self._rest(error, unanswered=True)
        except Unavailable as error:
            await self._rest(error, unanswered=False)
        except Gone:
            await self._gone()
        except ConnectorError as error:
            await self._failed(error)
        else:
            await self._remember(wanted, text, comment)

    # --- look -------------------------------------------------------------------------------

    async def _look_for_lost_comment(self) -> bool:
        """After a request whose answer never came: is our comment there? False: too early, or not ours."""
        now = self.runtime.clock()
        async with self.runtime.sessions.begin() as session:
            row = await ledger.claimed(session, self.claim)
            if row.unanswered_at is None or row.remote_id is not None:
                return True
            rested = row.unanswered_at + ledger.UNANSWERED_REST
            if rested > now:
                ledger.give_back(row, rested)
                return False
            standard = await self.runtime.standard(session, self.source, [self.row.project])
        marker = Marker(standard.installation, self.row.id)
        found = await self.connector.find_comment(self.ref, marker)
        async with self.runtime.sessions.begin() as session:
            row = await ledger.claimed(session, self.claim)
            if found is not None and not found.ours:
                _fail(row, "A comment with our marker stands on the ticket that we may not edit.", now)
                ledger.written(session, self.claim, "failed", found.id, now)
                return False
            row.unanswered_at = None
            if found is None:
                row.posted_hash, row.named = None, []
            else:
                row.remote_id, row.url, row.state = found.id, found.url, "posted"
                ledger.written(session, self.claim, "posted", found.id, now)
        return True

    # --- judge ------------------------------------------------------------------------------

    async def _judge_again(self) -> tuple[Wanted, notice.Notice, Marker] | None:
        """Fetch the ticket, store what it says, judge it; None where there is nothing to write any more."""
        (seen,) = await self.connector.fetch([self.ref])
        self.fetched = True
        now = self.runtime.clock()
        async with self.runtime.sessions.begin() as session:
            await ledger.share_goals(session)
            epics, gone = ([], [seen]) if isinstance(seen, Missing) else ([seen], [])
            await store.observe(session, self.source.id, self.source.tracker, epics, gone, now)
            (row,) = await cases.these_epics(session, [self.row.id])
            row.read_at = now
            await session.flush()
            source = await session.get_one(Source, self.source.id)
            standard = await self.runtime.standard(session, source, [row.project])
            ruling = await self._rule(session, standard, row, now)
            notice_row = await self._standing(session)
            wanted = ruling.decision.notice
            if notice_row is None:
                return None
            if wanted is None or wanted.target is None or ruling.decision.keep_notice:
                ledger.give_back(notice_row)
                return None
            text = wanted.compose()
            if notice_row.remote_id is None:
                # Should the answer be lost, this is what may stand on the ticket.
                notice_row.posted_hash, notice_row.named = wanted.facts_hash, [*text.named]
            self.ref, self.comment_id = EpicRef(row.remote_id, row.key), notice_row.remote_id
            return wanted, text, Marker(standard.installation, row.id)

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

    async def _remember(self, wanted: Wanted, text: notice.Notice, comment: Comment) -> None:
        now = self.runtime.clock()
        async with self.runtime.sessions.begin() as session:
            row = await ledger.claimed(session, self.claim)
            created = "posted" if self.comment_id is None else "edited"
            kind = "resolved" if wanted.target == "resolved" else created
            row.remote_id, row.url, row.unanswered_at = comment.id, comment.url, None
            row.state, row.posted_hash, row.named = (
                wanted.target or row.state,
                wanted.facts_hash,
                [*text.named],
            )
            row.reason = row.detail = None
            row.updated_at = now
            # Judged anew while we wrote: the newer text stays queued.
            ledger.give_back(row, None if row.facts_hash == wanted.facts_hash else now)
            ledger.written(session, self.claim, kind, comment.id, now)
        log.info("ticket written", kind=kind, comment=comment.url)

    async def _rest(self, error: Unavailable, *, unanswered: bool) -> None:
        now = self.runtime.clock()
        async with self.runtime.sessions.begin() as session:
            row = await ledger.claimed(session, self.claim)
            if unanswered and row.remote_id is None:
                row.unanswered_at = now
            pause = max(timedelta(seconds=error.retry_after), ledger.UNANSWERED_REST)
            ledger.give_back(row, now + (pause if unanswered else timedelta(seconds=error.retry_after)))
            if not self.fetched and row.state in ("due", "held"):
                row.state, row.reason, row.detail = "held", "stale", error.message
        log.warning("ticket waits", reason=error.message)

    async def _gone(self) -> None:
        """The comment, or the ticket with it, was deleted. Who deletes our comment has said no."""
        now = self.runtime.clock()
        async with self.runtime.sessions.begin() as session:
            row = await ledger.claimed(session, self.claim)
            if row.remote_id is None:
                await session.execute(update(Epic).where(Epic.id == row.epic_id).values(look_again_at=now))
            else:
                row.state, row.reason = "withdrawn", "deleted_on_ticket"
                row.detail = "Our comment was deleted on the ticket."
                row.remote_id = row.posted_hash = row.url = None
                row.updated_at = now
            ledger.give_back(row)
        log.info("comment or ticket gone")

    async def _failed(self, error: ConnectorError) -> None:
        now = self.runtime.clock()
        async with self.runtime.sessions.begin() as session:
            row = await ledger.claimed(session, self.claim)
            _fail(row, " ".join((error.message, error.what_to_do)).strip(), now)
            ledger.written(session, self.claim, "failed", row.remote_id, now)
            again = now + TRY_AGAIN_AFTER
            await session.execute(update(Epic).where(Epic.id == row.epic_id).values(look_again_at=again))
        log.warning("ticket not written", reason=error.message)


def _fail(row: Notice, detail: str, now: datetime) -> None:
    row.state, row.reason, row.detail, row.updated_at = "failed", None, detail, now
    ledger.give_back(row)
