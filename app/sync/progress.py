"""What a reading run has met so far, and how what it reads is stored and recorded."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from app.sync.hiccups import after_hiccups
from app.sync.met_ids import MetIds
from app.sync.new_epics import EvaluationRefused, NewEpics
from app.sync.transaction import is_refused_data, source_transaction, what_was_refused
from connectors.base import Connector, Epic, EpicRef, Missing, Unreadable
from mappings.commands.met import mark_changed
from mappings.epics.children import mark_named, mark_never_counted, mark_read
from mappings.epics.transfers import lock_transferred, merge_transferred
from mappings.epics.upsert import ComparedEpics, UpsertResult, compare_epics, store_compared
from mappings.runs.queue import renew_lease
from mappings.runs.reevaluation import reevaluate_below_tickets
from mappings.sources.known_answers import forget_answers, load_answers, store_answers
from mappings.sources.projects import advance_cursors, retry_notices
from mappings.sources.unreadable import forget_unreadable, record_unreadable
from mappings.sources.unreadable_fields import note_unreadable_fields, unreadable_fields_in

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from app.runtime import Runtime
    from connectors.answers import KnownAnswer
    from mappings.tables import RunRow, SourceRow

log = structlog.get_logger()

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Batch:
    """What one answer of the tracker says of tickets, to be stored together.

    `transferred`: those of `epics` that are stored under an old id, by their new id. `unreadable`: each with
    its project's key. `cursors`: how far projects are read with this, by their keys. `requested_at`: when the
    tracker was asked for it, if it is a page, or before that; None for just now. `counted`: the children of
    `epics` were counted, so that those without a count cannot be. `answer`: by what it is known from now on.
    """

    epics: tuple[Epic, ...]
    missing: tuple[Missing, ...] = ()
    unreadable: tuple[tuple[str, Unreadable], ...] = ()
    transferred: Mapping[str, EpicRef] = field(default_factory=dict)
    cursors: Mapping[str, datetime] = field(default_factory=dict)
    requested_at: datetime | None = None
    counted: bool = False
    answer: KnownAnswer | None = None


@dataclass
class Progress:
    """What a reading run works on, what it has met so far, and how that is recorded.

    `met_ids`: remote ids that this process has met. `resumed`: the run was interrupted, so what it met
    before is not among them. `problems`: messages, each with what to do. `overlaps`: keys that an older
    source holds. `unreadable`: ids of the source's tickets that could not be read, in this run or before.
    `unreadable_fields`: fields with values that could not be read, as stored on the source. `storing`:
    held while a batch is stored, or what else several projects change is recorded.
    """

    runtime: Runtime
    run: RunRow
    source: SourceRow
    connector: Connector
    recorded_requests: int = 0
    recorded_uncounted: int = 0
    resumed: bool = False
    met_ids: MetIds = field(default_factory=MetIds)
    overlaps: list[str] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    unreadable: set[str] = field(default_factory=set)
    unreadable_fields: dict[str, dict[str, str]] = field(default_factory=dict)
    storing: asyncio.Lock = field(default_factory=asyncio.Lock)

    def __post_init__(self) -> None:
        self._new_epics = NewEpics(self.runtime, self.run, self.source)
        self._evaluates = True
        self._in_flight: list[set[str]] = []  # the ids of the batches that are being stored

    def transaction(self, *, repeatable: bool = False) -> AbstractAsyncContextManager[AsyncSession]:
        return source_transaction(self.runtime, self.source, repeatable=repeatable)

    async def ask(self, call: Callable[[], Awaitable[T]]) -> T:
        """The tracker's answer; an answer that cannot be understood is asked for again."""
        return await after_hiccups(call, self.runtime.hiccup_pauses)

    async def fetch(self, refs: list[EpicRef]) -> list[Epic | Missing | Unreadable]:
        return [*await self.ask(lambda: self.connector.fetch(refs))]

    async def record(
        self, session: AsyncSession, now: datetime, found: UpsertResult, seen: int, *, ahead: bool = False
    ) -> None:
        """Renew the run's lease and add what was found since the last time. Raises `leases.ClaimLost`.

        `ahead` as in `renew_lease`.
        """
        requests, uncounted = self.connector.requests, self.connector.uncounted_requests
        before, uncounted_before = self.recorded_requests, self.recorded_uncounted
        self.recorded_requests, self.recorded_uncounted = requests, uncounted
        self.overlaps += found.overlaps
        await renew_lease(
            session,
            self.run,
            self.runtime.worker,
            now,
            ahead=ahead,
            seen=seen,
            created=found.created,
            updated=found.updated,
            deleted=found.deleted,
            skipped=found.skipped,
            requests=requests - before,
            uncounted_requests=uncounted - uncounted_before,
            held=found.held,
        )

    async def record_requests(self) -> None:
        """Add the requests since the last page to the run, failed ones too. Raises `leases.ClaimLost`."""
        async with self.runtime.sessions.begin() as session:
            await self.record(session, await self.runtime.now(session), UpsertResult(), seen=0)

    async def restore_answers(self) -> None:
        """Let the connector ask by what its tracker's answers are known; a full run asks for all anew."""
        if self.connector.answers is None:
            return
        async with self.runtime.transaction() as session:
            if self.run.mode == "full":
                await forget_answers(session, self.source.id)
            else:
                self.connector.answers.restore(await load_answers(session, self.source))

    async def store_taken_answers(self, session: AsyncSession) -> None:
        """Those about the account and the projects, in the transaction that stores what they show."""
        if self.connector.answers is not None:
            await store_answers(session, self.source, self.connector.answers.take())

    async def store(
        self, batch: Batch, *, ahead: bool = False, after: Awaitable[object] | None = None
    ) -> datetime:
        """Store a batch in one short transaction, with the cursors and the renewed lease; when that began.

        Projects that are read side by side are stored one after the other: what the run has met is counted in
        memory too, and a batch that is being stored is stored to its end, whatever ends the reading. `after`:
        the storing of the batch before, whose cursors come first: meanwhile this one is compared with what is
        stored. It is not stored where that raises an error.

        Where the database refuses the data, the batch is stored by halves, so that the one ticket that cannot
        be stored counts as unreadable and the others are stored.
        """
        return await to_its_end(self._store_in_turn(batch, ahead, after))

    async def _store_in_turn(self, batch: Batch, ahead: bool, after: Awaitable[object] | None) -> datetime:
        ids = {epic.remote_id for epic in batch.epics}
        waits_for = [*self._in_flight]
        self._in_flight.append(ids)
        try:
            compared = None
            if after is not None:
                if all(ids.isdisjoint(others) for others in waits_for):
                    compared = await self._compared_ahead(batch)
                await after
            async with self.storing:
                return await self._store_or_divide(batch, ahead=ahead, compared=compared)
        finally:
            self._in_flight.remove(ids)

    async def _compared_ahead(self, batch: Batch) -> ComparedEpics | None:
        if batch.transferred:
            return None  # they are stored under their new ids first
        try:
            async with self.runtime.sessions.begin() as session:
                return await self._compared(session, batch, await self.runtime.now(session))
        except Exception as error:
            if not is_refused_data(error):
                raise
            return None  # it is found once more where the batch is stored, and by halves

    async def _compared(self, session: AsyncSession, batch: Batch, now: datetime) -> ComparedEpics:
        # The few new epics that an incremental run finds are evaluated with those that have changed.
        evaluator = self._new_epics if self.run.mode == "full" and self._evaluates else None
        return await compare_epics(
            session, self.source.id, self.source.tracker, batch.epics, now, batch.requested_at, evaluator
        )

    async def _store_or_divide(
        self, batch: Batch, *, ahead: bool, compared: ComparedEpics | None = None
    ) -> datetime:
        try:
            return await self._store_together(batch, ahead, compared)
        except EvaluationRefused:
            # The evaluation at the end of the run meets it again, and fails the run for it.
            log.exception("new epics not evaluated with their page")
            self._evaluates = False
            return await self._store_or_divide(batch, ahead=ahead)
        except Exception as error:
            if not batch.epics or not is_refused_data(error):
                raise
            log.warning("tickets not stored", tickets=len(batch.epics), reason=type(error).__name__)
            begun = [await self._store_or_divide(part, ahead=ahead) for part in _parts(batch, error)]
            return begun[0]

    async def _store_together(self, batch: Batch, ahead: bool, compared: ComparedEpics | None) -> datetime:
        source_id, tracker = self.source.id, self.source.tracker
        if any(epic.updated_at > self.source.created_at for epic in batch.epics):
            # Its own transaction: it locks epics, and so does the one after, each in the order of the ids.
            async with self.transaction() as session:
                await mark_changed(session, self.source, batch.epics, await self.runtime.now(session))
        transferred = [(ref, epic) for epic in batch.epics if (ref := batch.transferred.get(epic.remote_id))]
        async with self.transaction(repeatable=True) as session:
            now, found = await self.runtime.now(session), UpsertResult(skipped=len(batch.unreadable))
            if batch.unreadable:
                await record_unreadable(session, source_id, self.run.id, batch.unreadable)
            fields = unreadable_fields_in(batch.epics)
            if fields.keys() - self.unreadable_fields.keys():
                await note_unreadable_fields(session, source_id, fields)
            if transferred:
                await lock_transferred(session, tracker, [ref for ref, _ in transferred], batch.epics)
            for ref, epic in transferred:
                found.add(await merge_transferred(session, source_id, tracker, ref.remote_id, epic, now))
            compared = compared or await self._compared(session, batch, now)
            found.add(await store_compared(session, source_id, tracker, compared, batch.missing, now))
            await self._mark_uncounted(session, batch, now, changed=bool(found.created or found.updated))
            await mark_changed(session, self.source, batch.epics, now)  # those that are new
            seen = len(batch.epics) + len(batch.unreadable)
            # A ticket dated in the future must not hide what changes until then.
            cursors = {key: min(cursor, now) for key, cursor in batch.cursors.items()}
            await advance_cursors(session, source_id, self.run.id, cursors)
            if batch.answer is not None:
                await store_answers(session, self.source, [self._known_by(batch, batch.answer)])
            await reevaluate_below_tickets(session, tracker, found.moved_ids, now)
            # The last, since it counts in memory too, and the data may be refused before.
            await self.record(session, now, found, seen, ahead=ahead and bool(cursors))
        self.unreadable_fields = fields | self.unreadable_fields
        await self._met(batch)
        return now

    async def _mark_uncounted(
        self, session: AsyncSession, batch: Batch, now: datetime, *, changed: bool
    ) -> None:
        """Have those epics counted at the end of the run whose count no ticket shows."""
        if self.connector.children_on_tickets or batch.counted:
            return
        ids = [epic.remote_id for epic in batch.epics]
        if self.run.mode != "full":
            if changed:
                await mark_read(session, self.source, ids, now)
        elif batch.requested_at is not None or not self.resumed:
            await mark_named(session, self.source, ids)
        else:
            # Asked for by id, as only the interrupted process knows what it met: that one has counted these.
            await mark_never_counted(session, self.source, ids)

    def _known_by(self, batch: Batch, answer: KnownAnswer) -> KnownAnswer:
        """Nothing where the page is to be read again, though it does not change: with a ticket that could not
        be read, now or before."""
        read = {epic.remote_id for epic in batch.epics} | {item.ref.remote_id for item in batch.missing}
        return answer.forgotten() if batch.unreadable or read & self.unreadable else answer

    async def _met(self, batch: Batch) -> None:
        unreadable = {item.ref.remote_id for _, item in batch.unreadable if item.ref is not None}
        read = {epic.remote_id for epic in batch.epics} | {item.ref.remote_id for item in batch.missing}
        self.met_ids.update({epic.remote_id for epic in batch.epics} | unreadable)
        self.unreadable |= unreadable
        await self.forget_unreadable((read - unreadable) & self.unreadable)

    async def forget_unreadable(self, ids: Iterable[str]) -> None:
        """These tickets were read, or are gone: notices that could not be written are evaluated again."""
        if ids := set(ids):
            # Its own transaction: it locks epics, and so did the one before, each in the order of the ids.
            async with self.transaction() as session:
                forgotten = await forget_unreadable(session, self.source.id, ids)
                await retry_notices(session, self.source.id, forgotten, await self.runtime.now(session))
            self.unreadable -= ids


async def to_its_end(step: Coroutine[Any, Any, T]) -> T:
    """The result of `step`, which goes on to its end though the caller is cancelled; then that is raised."""
    task = asyncio.create_task(step)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.gather(task, return_exceptions=True)
        raise


def _parts(batch: Batch, error: Exception) -> list[Batch]:
    """What to store instead of a batch that the database refuses; only the last part has the cursor, and the
    tracker is asked for the page again."""
    batch = replace(batch, answer=None if batch.answer is None else batch.answer.forgotten())
    if len(batch.epics) == 1:
        (epic,) = batch.epics
        refused = Unreadable(epic.ref, what_was_refused(error))
        return [replace(batch, epics=(), unreadable=(*batch.unreadable, (epic.project, refused)))]
    middle = len(batch.epics) // 2
    first = Batch(
        batch.epics[:middle],
        transferred=batch.transferred,
        requested_at=batch.requested_at,
        counted=batch.counted,
    )
    return [first, replace(batch, epics=batch.epics[middle:])]
