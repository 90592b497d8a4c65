"""Writes the comment on one ticket so that it matches the notice, under a claim.

The writer fetches the ticket and evaluates it again just before it writes, then sends one request. If the
answer is lost, it looks at the ticket before it sends another, so that there is never a second comment.
"""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import select

from app.connector_usage import track_usage
from app.database import database_trouble
from app.heartbeat import keep_claim
from app.logs import deliveries_of_run
from app.sync.transaction import bad_payload_if_refused
from app.writing.adoption import find_our_comment, withdraw_all_comments
from app.writing.results import NO_TEXT, PostedText, WriteResults
from app.writing.side_by_side import ASKS_EVERY, wake_more_writers
from connectors.base import (
    BadPayload,
    Blocked,
    Comment,
    Connector,
    ConnectorError,
    Epic,
    EpicRef,
    Gone,
    Missing,
    Rejected,
    Unanswered,
    Unavailable,
    Unreadable,
)
from mappings.epics.transfers import possible_former_tickets, store_ticket
from mappings.evaluation.context import EvaluationContext, refresh_context
from mappings.evaluation.evaluator import evaluate_epics
from mappings.evaluation.texts import compose
from mappings.leases import SENT_WITHIN, ClaimLost, extend
from mappings.locks import lock_epics, lock_goals_shared, lock_parents
from mappings.notices import claims
from mappings.notices.marker import MarkerSigner, load_marker, remember_account, remember_transfer
from mappings.runs.reevaluation import reevaluate_below_tickets
from mappings.sources.health import UNREADABLE_TO_DO
from mappings.sources.unreadable import forget_unreadable, record_unreadable
from mappings.tables import EpicRow, InstallationRow, NoticeRow, SourceRow

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from app.runtime import Runtime
    from connectors.document import Document
    from connectors.marker import Marker
    from mappings.notices.claims import Claim

log = structlog.get_logger()

FOREIGN_COMMENT = "The ticket has a comment of ours, by another account, that we may not edit."
FOREIGN_COMMENT_TO_DO = "Use again the account that wrote it, or delete that comment."
FULL_SYNC_FINDS_OUT = "A full sync finds out which."


@asynccontextmanager
async def open_writer(runtime: Runtime, source: SourceRow, now: datetime) -> AsyncIterator[Writer]:
    """A writer whose connector is closed at the end. Raises `secrets.CannotDecrypt`."""
    async with track_usage(runtime, source.id, await runtime.connect(source, now)) as connector:
        yield Writer(runtime, source, connector)


@dataclass
class Writer:
    """Writes tickets of one source, one after the other; others may do so beside it. `written`: how many it
    has claimed."""

    runtime: Runtime
    source: SourceRow
    connector: Connector
    written: int = 0
    _contexts: dict[str, EvaluationContext] = field(default_factory=dict)
    _following: dict[int, dict[str, list[str]]] = field(default_factory=dict)
    _account_known: bool = False

    async def write_next(self) -> bool:
        """Write the next due ticket; False where none is due, or where trying another makes no sense now."""
        async with self.runtime.sessions.begin() as session:
            claim = await claims.claim_notice(
                session,
                self.source.id,
                self.runtime.claim_name(),
                self.runtime.clock,
                one_at_a_time=self.connector.writes_one_at_a_time,
            )
            row = None if claim is None else await session.get(EpicRow, claim.epic_id)
            if claim is not None:
                self.written += 1
                # A single ticket needs no other writer, and is not to wait for the question.
                if self.written % ASKS_EVERY == 2 and not self.connector.writes_one_at_a_time:
                    await wake_more_writers(self.runtime, session, self.source.id, claim.claimed_at)
            if claim is not None and claim.run_id not in self._following:
                self._following = {claim.run_id: await deliveries_of_run(session, claim.run_id)}
        if claim is None or row is None:
            return False
        before, begun = self.connector.requests, time.monotonic()
        write = _Write(self, claim, row)
        following = self._following[claim.run_id]
        with structlog.contextvars.bound_contextvars(run=claim.run_id, epic=row.key, **following):
            try:
                async with keep_claim(self.runtime, write.renew_claim):
                    await write.execute()
            except ClaimLost as lost:
                log.warning("claim lost", reason=str(lost))
            finally:
                await write.results.count(self.connector.requests - before, time.monotonic() - begun)
        return write.may_continue

    async def remember_account(self) -> None:
        """Before the first comment is written: if its answer is lost and the login is then changed, it is
        known as ours nevertheless."""
        if not self._account_known:
            account = await self.connector.account()
            async with self.runtime.sessions.begin() as session:
                await remember_account(session, self.source.tracker, account.id)
            self._account_known = True

    async def context(self, session: AsyncSession, project: str) -> EvaluationContext:
        """The evaluation context of the project as it is now; read again only where it has changed."""
        kept = self._contexts.get(project)
        context = None if kept is None else await refresh_context(session, kept, project)
        if context is None:
            context = await self.runtime.evaluation_context(session, self.source)
            # Each ticket is read just before it is evaluated.
            context = replace(context, unreadable=frozenset())
        self._contexts[project] = context
        return context


@dataclass(frozen=True)
class _PlannedWrite:
    """What the writer is to send: the document, and what is stored of it once it is on the ticket. `delete`:
    the comment is to be deleted instead."""

    document: Document
    text: PostedText
    marker: Marker
    delete: bool


class _Write:
    """The work of one claim: find our comment, evaluate the epic again, send the write, record its result.

    `fetched`: the ticket could be read. `may_continue`: the writer may try the source's next ticket.
    """

    def __init__(self, writer: Writer, claim: Claim, row: EpicRow) -> None:
        self.writer, self.claim, self.row = writer, claim, row
        self.runtime, self.source, self.connector = writer.runtime, writer.source, writer.connector
        self.results = WriteResults(writer.runtime, writer.source, claim, row)
        self.ref = EpicRef(row.remote_id, row.key)
        self.comment_id: str | None = None
        self.time = writer.runtime.clock.running_from(claim.claimed_at)
        self.renewed_at = claim.claimed_at
        self.fetched = False
        self.may_continue = True

    async def execute(self) -> None:
        try:
            if not await self._find_comment():
                return
            planned = await self._evaluate_again()
            if planned is not None:
                await (self._delete(planned) if planned.delete else self._put(planned))
        except Unanswered as error:
            await self.results.unconfirmed(error)
        except Unavailable as error:
            await self.results.postponed(error, fetched=self.fetched)
        except ConnectorError as error:
            self.may_continue = not isinstance(error, Blocked)
            await (self.results.refused(error) if self.fetched else self.results.unreadable(error))
        except ClaimLost:
            raise
        except Exception as error:
            if database_trouble(error):
                raise  # the claim ends with its lease, and the ticket is looked at again
            log.exception("write failed unexpectedly")
            await self.results.broken(error)

    async def _put(self, planned: _PlannedWrite) -> None:
        self._check_in_time()
        try:
            comment = await self.connector.put_comment(
                self.ref, self.comment_id, planned.document, planned.marker
            )
        except Gone as error:
            if self.comment_id is None:
                raise _forbidden(error) from error
            await self._withdraw_all_comments(planned.marker)
            await self.results.gone()
            return
        except Blocked:
            raise
        except Rejected:
            if not await self._is_by_a_former_account(planned.marker):
                raise
            await self.results.refused(Rejected(FOREIGN_COMMENT, FOREIGN_COMMENT_TO_DO), ticket_only=True)
            return
        if self.comment_id is not None:
            await self._withdraw_duplicates(comment, planned.marker)
        await self.results.posted(planned.text, comment, is_new=self.comment_id is None)

    async def _is_by_a_former_account(self, marker: Marker) -> bool:
        """Whether another account wrote our comment, whose edit was refused: Northing was signed in as that
        one before. Where the ticket cannot be looked at, the refusal itself says what is wrong."""
        if self.comment_id is None:
            return False
        await self._renew_claim_now()
        try:
            found = await self.connector.find_comments(self.ref, marker)
        except ConnectorError as error:
            log.info("account of our comment not looked for", reason=error.message)
            return False
        return any(comment.id == self.comment_id and not comment.ours for comment in found)

    async def _withdraw_duplicates(self, comment: Comment, marker: Marker) -> None:
        """Withdraw a second comment of ours, if there is one. The write itself does not depend on it."""
        await self._renew_claim_now()
        try:
            found = await find_our_comment(self.connector, self.ref, marker, comment.id)
        except ConnectorError as error:
            log.info("second comment not looked for", reason=error.message)
            return
        if found.withdrawn_ids:
            await self.results.duplicates_withdrawn(found.withdrawn_ids)

    async def _delete(self, planned: _PlannedWrite) -> None:
        """Delete our comment. Where a person has deleted it already, the withdrawal is done as well."""
        assert self.comment_id is not None
        self._check_in_time()
        try:
            await self.connector.delete_comment(self.ref, self.comment_id)
        except Gone:
            await self._withdraw_all_comments(planned.marker)
            log.info("comment was gone already")
        except Blocked:
            raise
        except Rejected:
            await self.results.edit_instead()
            return
        await self.results.posted(NO_TEXT, None, is_new=False)

    async def _withdraw_all_comments(self, marker: Marker) -> None:
        await self._renew_claim_now()
        await withdraw_all_comments(self.connector, self.ref, marker)

    def _check_in_time(self) -> None:
        """Just before the request: where this process hung since the claim was renewed, another writer may
        look for our comment before this request arrives. Raises `ClaimLost`: all begins anew then."""
        hung = self.time() - self.renewed_at
        if hung > SENT_WITHIN:
            raise ClaimLost(f"this process hung for {hung.total_seconds():.0f} s before its request")

    # --- the claim --------------------------------------------------------------------------

    async def renew_claim(self, session: AsyncSession, now: datetime) -> None:
        """Raises `ClaimLost`."""
        await claims.renew_claim(session, self.claim, now)

    async def _renew_claim_now(self) -> None:
        """Before requests that no transaction of the same work precedes. Raises `ClaimLost`."""
        async with self.runtime.sessions.begin() as session:
            await self.renew_claim(session, await self.runtime.now(session))

    # --- find our comment -------------------------------------------------------------------

    async def _find_comment(self) -> bool:
        """Find our comment where its id is not stored: the answer to a request may have been lost, the
        database may be an older copy, or the source may be new. False: too early, or none may be written.
        """
        if self.claim.comment_known:
            return True
        async with self.runtime.sessions.begin() as session:
            now = await self.runtime.now(session)
            row = await claims.lock_claimed_notice(session, self.claim)
            if row.remote_id is not None:
                return True
            if claims.release_if_unconfirmed(row, self.claim, now):
                return False
            transferable = self.connector.tickets_change_id
            earlier = await possible_former_tickets(session, self.row) if transferable else []
        if earlier:
            await self._remember_transfers(earlier)
        async with self.runtime.sessions.begin() as session:
            installation = (await session.scalars(select(InstallationRow.uuid))).one()
            signer = MarkerSigner(installation, self.runtime.signing.key("marker"))
            marker = await load_marker(session, signer, self.row)
        await self.writer.remember_account()
        found = await find_our_comment(self.connector, self.ref, marker, None)
        return await self.results.looked_for(found, now)

    async def _remember_transfers(self, earlier: list[EpicRef]) -> None:
        """Remember which of these tickets has become this one: our comment went along, signed for that."""
        for ref, found in zip(earlier, await self.connector.fetch(earlier), strict=True):
            if isinstance(found, Epic) and ref.remote_id != found.remote_id == self.row.remote_id:
                async with self.runtime.sessions.begin() as session:
                    tracker, remote_id = self.row.tracker, found.remote_id
                    await remember_transfer(session, tracker, ref.remote_id, remote_id)

    # --- evaluate again ---------------------------------------------------------------------

    async def _evaluate_again(self) -> _PlannedWrite | None:
        """Fetch the ticket, store its state, evaluate it; None where nothing is to be written any more."""
        (fetched_epic,) = await self.connector.fetch([self.ref])
        if isinstance(fetched_epic, Unreadable):
            await self._record_unreadable(fetched_epic.reason)
            raise BadPayload(f"{self.ref.key}: {fetched_epic.reason}", UNREADABLE_TO_DO)
        if isinstance(fetched_epic, Missing) and fetched_epic.reason == "deleted":
            # Or we can no longer see it, which looks the same: only a full run, with its drop guard, removes.
            raise Gone(f"{self.ref.key} was deleted, or Northing may no longer see it.", FULL_SYNC_FINDS_OUT)
        await self._prepare_suggestions()
        async with self.runtime.transaction() as session:
            await lock_goals_shared(session)
            now = await self.runtime.now(session)
            await forget_unreadable(session, self.source.id, [self.row.remote_id])
            with bad_payload_if_refused(self.ref.key):
                found = await store_ticket(session, self.source, self.row.remote_id, fetched_epic, now)
            self.fetched = True
            if found.moved_ids:
                await lock_parents(session)  # before the evaluation joins runs
            (row,) = await lock_epics(session, [self.row.id])
            row.read_at = now
            await session.flush()
            context = await self.writer.context(session, row.project)
            ((evaluation,), _) = await evaluate_epics(
                session, [row], context, self.claim.run_id, now, claim=self.claim.owner
            )
            await reevaluate_below_tickets(session, self.source.tracker, found.moved_ids, now)
            notice_row = await self._claimed_notice(session)
            desired = evaluation.decision.notice
            if notice_row is None:
                return None
            if notice_row.comment_id_unknown:
                # The ticket was transferred: our comment went with it and has another id now.
                claims.release_claim(notice_row, self.claim, now)
                return None
            if desired is None or desired.target is None or notice_row.run_id != self.claim.run_id:
                claims.release_claim(notice_row, self.claim)
                return None
            composed = await compose(session, evaluation, desired, context, now)
            text = PostedText(
                desired.target,
                desired.facts_hash,
                composed.body,
                composed.document,
                composed.mentioned_key_result_ids,
            )
            if notice_row.remote_id is None:
                # If the answer is lost, this text may be on the ticket.
                text.store(notice_row)
            else:
                # Until the answer arrives, the old or the new text may be there: store neither as posted.
                notice_row.posted_hash = ""
            self.renewed_at = self.time()
            extend(notice_row, await self.runtime.now(session))
            self.ref, self.comment_id = EpicRef(row.remote_id, row.key), notice_row.remote_id
            delete = notice_row.withdraw_action == "delete" and self.comment_id is not None
            marker = await load_marker(session, context.signer, row)
            return _PlannedWrite(composed.document, text, marker, delete)

    async def _prepare_suggestions(self) -> None:
        """For a full text, before the transaction that locks goals and epics."""
        async with self.runtime.sessions() as session:
            targets = select(NoticeRow.target).where(NoticeRow.id == self.claim.notice_id)
            if await session.scalar(targets) == "posted":
                context, now = await self.writer.context(session, self.row.project), self.claim.claimed_at
                await context.prepare_suggestions(session, self.row.project, now)

    async def _record_unreadable(self, reason: str) -> None:
        """Have health name the ticket, and nothing new written on it until it is read."""
        async with self.runtime.sessions.begin() as session:
            unreadable = (self.row.project, Unreadable(self.ref, reason))
            await record_unreadable(session, self.source.id, None, [unreadable])

    async def _claimed_notice(self, session: AsyncSession) -> NoticeRow | None:
        """The notice under our claim; None where the evaluation has just removed it."""
        try:
            return await claims.lock_claimed_notice(session, self.claim)
        except ClaimLost:
            if await session.get(NoticeRow, self.claim.notice_id, populate_existing=True) is None:
                return None
            raise


def _forbidden(error: Gone) -> Rejected:
    """The error where the ticket could be read a moment ago, but refuses a new comment."""
    return Rejected(
        f"The ticket can be read, and no comment written there. {error.message}",
        "Give the account or its token the right to write comments.",
    )
