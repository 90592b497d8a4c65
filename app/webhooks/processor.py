"""Processes webhooks: fetches the tickets that they name, stores them, and opens the run that evaluates them.

Deliveries of a source are processed in batches: a ticket that ten of them name is fetched once. A delivery
that cannot be processed ends `failed` with its error and does not delay the others.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import structlog

from app import logs
from app.connector_usage import track_usage
from app.database import database_trouble
from app.run_result import error_of
from app.secrets import CannotDecrypt
from app.sync.hiccups import after_hiccups
from app.sync.transaction import SourceChanged, bad_payload_if_refused, source_transaction
from app.unopened import left_to_another
from app.webhooks.comment_events import CommentEvents
from app.webhooks.results import DeliveryResults, GivenUp, ParsedDelivery
from connectors.base import (
    BadPayload,
    Blocked,
    Connector,
    Epic,
    EpicRef,
    Missing,
    Unauthorized,
    Unavailable,
    Unreadable,
)
from connectors.registry import KINDS
from connectors.webhooks import Hint, payload_of
from mappings.epics.children import mark_named
from mappings.epics.transfers import lock_transferred, merge_transferred
from mappings.epics.upsert import UpsertResult, upsert_epics
from mappings.leases import MOST_ATTEMPTS
from mappings.runs.causes import Cause
from mappings.runs.reevaluation import reevaluate_below_tickets
from mappings.sources.health import UNREADABLE_TO_DO
from mappings.sources.projects import retry_notices
from mappings.sources.unreadable import forget_unreadable, record_unreadable
from mappings.tables import DeliveryRow, EpicRow, SourceRow
from mappings.webhooks.queue import claim_deliveries, claimed_at, epics_by_remote_id, left_of_burst

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

    from app.runtime import Runtime

log = structlog.get_logger()

DATABASE_PAUSE = timedelta(seconds=15)


async def process_deliveries(runtime: Runtime, source_id: int) -> None:
    """Process a source's deliveries until none is due or another worker has claimed some.

    One that comes alone is processed at once. Where several wait, or others were processed just before, all
    that arrive within `BURST_WINDOW` of the oldest are one batch.
    """
    follows = False
    while await _process_batch(runtime, source_id, follows=follows):
        follows = True


async def _process_batch(runtime: Runtime, source_id: int, *, follows: bool) -> bool:
    owner = runtime.claim_name()
    source, deliveries, wait = await _claim(runtime, source_id, owner, follows=follows)
    if wait:
        await asyncio.sleep(wait.total_seconds())
        source, deliveries, _ = await _claim(runtime, source_id, owner)
    if source is None or not deliveries:
        return False
    processor = _BatchProcessor(runtime, source, owner)
    following = logs.delivery_context([delivery.remote_id for delivery in deliveries])
    with structlog.contextvars.bound_contextvars(source=source.name, **following):
        async with processor.results.keep_leases_renewed():
            return await processor.process(deliveries)


async def _claim(
    runtime: Runtime, source_id: int, owner: str, *, follows: bool | None = None
) -> tuple[SourceRow | None, Sequence[DeliveryRow], timedelta]:
    """The source, its next deliveries, claimed; or how long others may still join them, and no claim.
    `follows` as in `left_of_burst`; None to wait for no others."""
    async with runtime.sessions() as session, session.begin() as transaction:
        source = await session.get(SourceRow, source_id)
        if source is None or await left_to_another(session, runtime, source):
            return None, (), timedelta()
        deliveries = await claim_deliveries(session, source_id, owner, runtime.clock)
        if deliveries and follows is not None and (wait := left_of_burst(deliveries, follows=follows)):
            await transaction.rollback()
            return source, (), wait
    return source, deliveries, timedelta()


class _BatchProcessor:
    """Processes the deliveries of a source that `owner` has claimed. `results` records how each ended, and
    `comments` processes those about comments.

    `blocked`: those refused for a reason that has nothing to do with their tickets, each with the refusal.
    `tracker_answered`: others were processed with its help.
    """

    def __init__(self, runtime: Runtime, source: SourceRow, owner: str) -> None:
        self.runtime, self.source, self.kind = runtime, source, KINDS[source.kind]
        self.results = DeliveryResults(runtime, source, owner)
        self.comments = CommentEvents(runtime, source, self.results)
        self.blocked: list[tuple[ParsedDelivery, Blocked]] = []
        self.tracker_answered = False

    async def process(self, deliveries: Sequence[DeliveryRow]) -> bool:
        """Process the deliveries; False where the next batch must not be claimed now."""
        all_parsed = await self._parse(deliveries)
        try:
            connector = await self.runtime.connect(self.source, claimed_at(deliveries))
        except CannotDecrypt as error:
            await self.results.fail(all_parsed, error)
            return True
        async with track_usage(self.runtime, self.source.id, connector):
            goes_on = await self._process_or_split(all_parsed, connector, self.runtime.hiccup_pauses)
            return await self._end_blocked() and goes_on

    async def _fail(self, parsed: ParsedDelivery, error: Exception) -> None:
        if isinstance(error, Blocked):
            self.blocked.append((parsed, error))
            return
        log.exception("webhook failed", delivery=parsed.id)
        await self.results.fail([parsed], error)

    async def _end_blocked(self) -> bool:
        """Where all are refused alike, the deliveries wait until a person has changed that. Where one
        organisation refuses its own, these fail, so that they hold up no others."""
        if self.blocked and not self.tracker_answered:
            await self.results.pause_blocked(self.blocked[0][1])
            return False
        for parsed, error in self.blocked:
            await self.results.fail([parsed], error)
        return True

    async def _parse(self, deliveries: Sequence[DeliveryRow]) -> list[ParsedDelivery]:
        all_parsed: list[ParsedDelivery] = []
        for delivery in deliveries:
            try:
                # Claimed alone since the second attempt (`queue.SUSPECT_ATTEMPTS`), so no other fails too.
                if delivery.attempts > MOST_ATTEMPTS:
                    raise GivenUp
                payload = await asyncio.to_thread(payload_of, delivery.body or b"", delivery.is_form)
                parsed = ParsedDelivery(
                    delivery, self.kind.webhooks.parse_event(delivery.event, payload), payload
                )
            except Exception as error:  # any error, for it concerns this delivery alone
                log.exception("webhook not understood", delivery=delivery.id)
                await self.results.fail([ParsedDelivery(delivery, Hint(delivery.event))], error)
                continue
            if parsed.hint.kind == "handled":
                all_parsed.append(parsed)
            else:
                await self.results.end([parsed], "ignored", reason=parsed.hint.reason)
        return all_parsed

    async def _process_or_split(
        self, all_parsed: list[ParsedDelivery], connector: Connector, pauses: Sequence[float] = ()
    ) -> bool:
        """Process all at once; where that fails, each delivery alone, so that only the bad one fails.

        `pauses` as in `after_hiccups`: the batch waits for a hiccup to pass, and not each delivery once more.
        """
        if not all_parsed:
            return True
        before = connector.requests
        try:
            await self._process_parsed(all_parsed, connector, pauses)
            self.tracker_answered = self.tracker_answered or connector.requests > before
            return True
        except SourceChanged:
            await self.results.postpone(all_parsed, timedelta())
            return True
        except Unavailable as error:
            await self.results.pause(all_parsed, error)
            return False
        except Unauthorized as error:
            await self.results.pause_blocked(error)
            return False
        except Exception as error:
            if database_trouble(error):
                log.exception("webhooks not stored", reason=type(error).__name__)
                await self.results.postpone(all_parsed, DATABASE_PAUSE)
                return False
            if len(all_parsed) == 1:
                await self._fail(all_parsed[0], error)
                return True
        for parsed in all_parsed:
            if not await self._process_or_split([parsed], connector):
                return False
        return True

    async def _process_parsed(
        self, all_parsed: list[ParsedDelivery], connector: Connector, pauses: Sequence[float]
    ) -> None:
        all_parsed = await self.comments.tickets_to_fetch(await self._open_reading_run(all_parsed))
        runs_by_delivery = await self._fetch_tickets(
            [parsed for parsed in all_parsed if parsed.hint.tickets], connector, pauses
        )
        for parsed in all_parsed:
            if parsed.hint.comment is not None:
                await self.comments.process_comment(
                    parsed, parsed.hint.comment, connector, runs_by_delivery.get(parsed.id)
                )

    # --- whole projects -------------------------------------------------------------------------

    async def _open_reading_run(self, all_parsed: list[ParsedDelivery]) -> list[ParsedDelivery]:
        """Open a run where names or visibility changed; the deliveries that are left to process."""
        scope = self.runtime.scope_of(self.source)
        asking_for_full = [parsed for parsed in all_parsed if parsed.hint.reread]
        concerned = [
            parsed
            for parsed in asking_for_full
            if parsed.hint.project is None or scope.covers(parsed.hint.project)
        ]
        await self.results.end(
            [parsed for parsed in asking_for_full if parsed not in concerned], "ignored", "out_of_scope"
        )
        if concerned:
            await self.results.open_reading_run(concerned)
        return [parsed for parsed in all_parsed if not parsed.hint.reread]

    # --- tickets --------------------------------------------------------------------------------

    async def _fetch_tickets(
        self, all_parsed: list[ParsedDelivery], connector: Connector, pauses: Sequence[float]
    ) -> dict[int, int | None]:
        """Fetch the tickets that they name, each once, and store them; each delivery's run, by its id."""
        await self._mark_parents(all_parsed)
        all_parsed, known, requested_at = await self._concerning_source(all_parsed)
        refs_by_id = {ref.remote_id: ref for parsed in all_parsed for ref in parsed.hint.tickets}
        # A webhook may arrive after a rename: the stored key leads to the ticket, also to one that moved.
        refs = [EpicRef(id, known[id].key) if id in known else ref for id, ref in refs_by_id.items()]
        if not refs:
            return {}
        before = connector.requests
        fetched = await after_hiccups(lambda: connector.fetch(refs), pauses)
        seen = dict(zip(refs, fetched, strict=True))
        self.comments.unstored |= {ref.remote_id: _why_not_stored(item) for ref, item in seen.items()}
        log.info("tickets fetched", epics=[ref.key for ref in refs[: logs.MAX_LOGGED_IDS]], tickets=len(refs))
        removed = {
            ref.remote_id for parsed in all_parsed if parsed.hint.removed for ref in parsed.hint.tickets
        }
        retried = await self._retry_notices(seen, known)
        requests = connector.requests - before
        with bad_payload_if_refused("A ticket"):
            # If its commit is lost, so is the end of the deliveries, and they are processed again.
            async with source_transaction(self.runtime, self.source, repeatable=True) as session:
                found = await self._store(session, seen, removed, requested_at)
                return await self._record_stored(session, all_parsed, seen, found, requests, retried=retried)

    async def _mark_parents(self, all_parsed: Sequence[ParsedDelivery]) -> None:
        """Have the children of the epics that they name as parents counted by the next reading run."""
        if parents := {parent for parsed in all_parsed for parent in parsed.hint.parents}:
            async with source_transaction(self.runtime, self.source) as session:
                await mark_named(session, self.source, parents)

    async def _retry_notices(
        self, seen: dict[EpicRef, Epic | Missing | Unreadable], known: dict[str, EpicRow]
    ) -> bool:
        """Have the tickets that were read evaluated again where their notices could not be written, and
        remember those that cannot be read; whether any are evaluated again."""
        read = [ref.remote_id for ref, item in seen.items() if not isinstance(item, Unreadable)]
        fetched_ids = [item.remote_id for item in seen.values() if isinstance(item, Epic)]
        unreadable = [
            (known[ref.remote_id].project if ref.remote_id in known else "", Unreadable(ref, item.reason))
            for ref, item in seen.items()
            if isinstance(item, Unreadable)
        ]
        async with self.runtime.sessions.begin() as session:
            # Its own transaction: this one and the next each lock their epics in the order of the ids.
            now = await self.runtime.now(session)
            await record_unreadable(session, self.source.id, None, unreadable)
            # First, so that these are marked below, all in one statement.
            await forget_unreadable(session, self.source.id, read)
            return await retry_notices(session, self.source.id, fetched_ids, now)

    async def _record_stored(
        self,
        session: AsyncSession,
        all_parsed: Sequence[ParsedDelivery],
        seen: dict[EpicRef, Epic | Missing | Unreadable],
        found: UpsertResult,
        requests: int,
        *,
        retried: bool,
    ) -> dict[int, int | None]:
        """`retried`: tickets whose notice could not be written are marked for evaluation."""
        run_id = None
        if retried or found.created or found.updated or found.deleted:
            run_id = await self.results.open_evaluate_run(
                session, Cause("webhooks"), found, seen=len(seen), requests=requests
            )
        about_tickets = [parsed for parsed in all_parsed if parsed.hint.comment is None]
        unread = {ref.remote_id: item for ref, item in seen.items() if isinstance(item, Unreadable)}
        bad = [parsed for parsed in about_tickets if unread.keys() & _ticket_ids(parsed)]
        for parsed in bad:
            await self._record_unreadable(session, parsed, unread)
        await self.results.record_end(
            session, [parsed for parsed in about_tickets if parsed not in bad], "done", run_id=run_id
        )
        return {parsed.id: run_id for parsed in all_parsed}

    async def _record_unreadable(
        self, session: AsyncSession, parsed: ParsedDelivery, unread: dict[str, Unreadable]
    ) -> None:
        """End a delivery as failed: a ticket that it names cannot be read. A replay fetches it again."""
        first = next(ref for ref in parsed.hint.tickets if ref.remote_id in unread)
        message = f"{first.key}: {unread[first.remote_id].reason}"
        error = error_of(BadPayload.code, message, UNREADABLE_TO_DO)
        await self.results.record_end(session, [parsed], "failed", error=error)

    async def _concerning_source(
        self, all_parsed: list[ParsedDelivery]
    ) -> tuple[list[ParsedDelivery], dict[str, EpicRow], datetime]:
        """The deliveries about stored epics, or tickets that may be epics; the others end without a request.

        Also the stored epics, by their ids in the tracker, and the time.
        """
        remote_ids = {ref.remote_id for parsed in all_parsed for ref in parsed.hint.tickets}
        async with self.runtime.sessions() as session:
            known = await epics_by_remote_id(session, self.source, remote_ids)
            now = await self.runtime.now(session)
        scope = self.runtime.scope_of(self.source)
        epics: Any = self.kind.epics.model_validate(self.source.epics)
        reason_to_ignore = self.kind.webhooks.reason_to_ignore
        concerned: list[ParsedDelivery] = []
        for parsed in all_parsed:
            reasons = [
                None if ref.remote_id in known else reason_to_ignore(ref, parsed.payload, scope, epics)
                for ref in parsed.hint.tickets
            ]
            if None in reasons:
                concerned.append(parsed)
            elif parsed.hint.comment is None:
                await self.results.end([parsed], "ignored", reasons[0])
            else:
                self.comments.unstored[parsed.hint.comment.ticket.remote_id] = reasons[0] or "not_an_epic"
        return concerned, known, now

    async def _store(
        self,
        session: AsyncSession,
        seen: dict[EpicRef, Epic | Missing | Unreadable],
        removed: Collection[str],
        requested_at: datetime,
    ) -> UpsertResult:
        now, total = await self.runtime.now(session), UpsertResult()
        source_id, tracker = self.source.id, self.source.tracker
        found = [(ref, item) for ref, item in seen.items() if isinstance(item, Epic)]
        if any(item.remote_id != ref.remote_id for ref, item in found):
            await lock_transferred(session, tracker, seen, [item for _, item in found])
        for ref, item in found:
            if item.remote_id != ref.remote_id:
                total.add(await merge_transferred(session, source_id, tracker, ref.remote_id, item, now))
        # Not found may also mean that we lost access: it counts as deleted only where a webhook says so.
        missing = [
            item
            for ref, item in seen.items()
            if isinstance(item, Missing) and (item.reason != "deleted" or ref.remote_id in removed)
        ]
        same = [item for ref, item in found if item.remote_id == ref.remote_id]
        total.add(await upsert_epics(session, source_id, tracker, same, missing, now, requested_at))
        await reevaluate_below_tickets(session, tracker, total.moved_ids, now)
        return total


def _ticket_ids(parsed: ParsedDelivery) -> set[str]:
    return {ref.remote_id for ref in parsed.hint.tickets}


def _why_not_stored(item: Epic | Missing | Unreadable) -> str | BadPayload:
    """Why a ticket that was fetched is not stored, where it is not: another source may have it."""
    if isinstance(item, Unreadable):
        return BadPayload(item.reason, UNREADABLE_TO_DO)
    return item.reason if isinstance(item, Missing) else "out_of_scope"
