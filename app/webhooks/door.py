"""The intake of webhooks: stores the deliveries and wakes the workers that process them.

A delivery costs one statement on a connection of the intake's own pool, committed by itself: through the
API's session it would cost twice as much, and a tracker waits only seconds for an answer. Deliveries of a
source that are read in the same turn of the event loop, or while its statements are under way, share one
statement, because its commit costs more than all else.
Sources are cached; the statement stores nothing where a source has changed since.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import psycopg
import structlog

from app.database import database_trouble
from app.webhooks.body_budget import BodyBudget
from app.webhooks.connections import intake_pool
from app.webhooks.turns import Turns
from mappings.sources.refused_signatures import COUNT_REFUSED
from mappings.webhooks.queue import BURST_WINDOW, REPEAT_PAUSE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime

    import procrastinate

    from mappings.clock import Clock

log = structlog.get_logger()

READ_AT_ONCE = 4  # webhooks, in one turn of the event loop
STATEMENTS = 2  # of one source at once: one waits for the disk while the other is made ready
CACHED_NAMES = 1000  # cached names; upper and lower case give one source many of them
LOG_SECONDS = 60
COUNT_SECONDS = 5  # a process that is killed loses the counts of this interval
CONNECTION_SECONDS = 5.0  # seconds to wait for a connection
STOP_SECONDS = 1.0  # at a stop, for the last wake-ups and counts

_SOURCE = "SELECT id, kind, webhook_secret, uuid, base_url FROM sources WHERE lower(name) = lower(%s)"
_AS_KNOWN = """
    sources.id = %(source)s AND lower(sources.name) = lower(%(name)s)
        AND sources.webhook_secret = %(encrypted_secret)s
"""
# A body under a new id: it `waits` with its twin, the newest delivery with the same digest or an earlier one
# of this statement, where that is still to be worked on; it comes `again` where that was worked on. Each look
# is for one row, by an index: for a list of ids, PostgreSQL reads all rows of the source until it has counted
# them.
_STORE = """
    WITH listed AS (
        SELECT *, {now} AS now FROM unnest(
            %(remote_id)b::text[], %(digest)b::bytea[], %(event)b::text[], %(action)b::text[],
            %(is_form)b::boolean[], %(body)b::bytea[], %(state)b::text[], %(reason)b::text[],
            %(due_at)b::timestamptz[]
        ) WITH ORDINALITY
            AS one (remote_id, digest, event, action, is_form, body, state, reason, due_at, place)
    ), fresh AS (
        SELECT listed.remote_id, twin.ended_at, coalesce(twin.was_worked_on, false) AS again,
            listed.state = 'received' AND (coalesce(twin.is_waiting, false)
                OR row_number() OVER (PARTITION BY digest ORDER BY place) > 1) AS waits
        FROM listed LEFT JOIN LATERAL (
            SELECT true AS is_there FROM deliveries
            WHERE source_id = %(source)s AND remote_id = listed.remote_id LIMIT 1
        ) AS known ON true LEFT JOIN LATERAL (
            SELECT ended_at, state = 'received' AND claimed_by IS NULL AS is_waiting,
                is_repeat OR state <> 'failed' AS was_worked_on
            FROM deliveries WHERE source_id = %(source)s AND digest = listed.digest
                AND reason IS DISTINCT FROM 'repeated'
            ORDER BY id DESC LIMIT 1
        ) AS twin ON true
        WHERE known.is_there IS NULL
    )
    INSERT INTO deliveries (
        source_id, remote_id, digest, event, action, is_form, body, received_at, is_repeat,
        state, reason, due_at
    )
    SELECT sources.id, remote_id, digest, event, action, is_form, body, now, coalesce(again, false),
        CASE WHEN waits THEN 'ignored' ELSE state END,
        CASE WHEN waits THEN 'repeated' ELSE reason END,
        CASE WHEN waits THEN NULL WHEN again AND due_at IS NOT NULL
            THEN coalesce(ended_at, now) + %(pause)s ELSE due_at END
    FROM sources, listed LEFT JOIN fresh USING (remote_id) WHERE {as_known} ORDER BY place
    ON CONFLICT (source_id, remote_id) DO UPDATE SET
        event = excluded.event, action = excluded.action, body = excluded.body, digest = excluded.digest,
        is_form = excluded.is_form, received_at = excluded.received_at, run_id = NULL,
        state = excluded.state, reason = excluded.reason, due_at = excluded.due_at, ended_at = NULL,
        attempts = 0, error = NULL, claimed_by = NULL, claimed_until = NULL
    WHERE deliveries.state = 'failed'
    RETURNING remote_id, id, state
"""
_STORED = f"""
    SELECT remote_id, id FROM deliveries WHERE source_id = %(source)s AND remote_id = ANY(%(remote_id)s)
        AND EXISTS (SELECT FROM sources WHERE {_AS_KNOWN})
"""  # noqa: S608  # of this module's own parts
_COUNT = """
    INSERT INTO counters (source_id, what, label, count) VALUES (%s, %s, %s, %s)
    ON CONFLICT (source_id, what, label) DO UPDATE SET count = counters.count + excluded.count
"""
_REFUSED = "UPDATE sources SET signature_refused_at = {now} - make_interval(secs => %s) WHERE id = %s"


class DatabaseUnavailable(Exception):
    """The database is in trouble, by the cause of this error, so nothing is stored."""


@dataclass(frozen=True, slots=True)
class KnownSource:
    """A source as it was last read. `name` is spelled as in the request."""

    name: str
    id: int
    kind: str
    encrypted_secret: bytes | None
    uuid: str
    base_url: str


@dataclass(frozen=True, slots=True)
class ReceivedDelivery:
    """A delivery to be stored. `digest` is of its event's header and its body. `due_at` None: there is
    nothing to do for it."""

    remote_id: str
    digest: bytes
    event: str
    action: str | None
    is_form: bool
    body: bytes
    state: str
    reason: str | None
    due_at: datetime | None


@dataclass(eq=False, slots=True)
class _StoreBatch:
    """Deliveries of a source that one statement stores, by remote id: of two with the same id, the first.

    `stored` gives for each the id in the database, and its state there if it is new.
    """

    deliveries: dict[str, ReceivedDelivery] = field(default_factory=dict)
    digests: set[bytes] = field(default_factory=set)
    stored: asyncio.Task[dict[str, tuple[int, str | None]]] = field(init=False)


@dataclass(eq=False, slots=True)
class _Statements:
    """Room for the statements of one source, and how many use it or wait for it."""

    room: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(STATEMENTS))
    under_way: set[_StoreBatch] = field(default_factory=set)
    users: int = 0


class Intake:
    """Stores webhooks while the process serves requests; `queue` is the one that the workers listen on."""

    def __init__(self, url: str, queue: procrastinate.App, clock: Clock) -> None:
        self._pool = intake_pool(url, CONNECTION_SECONDS)
        self.body_budget = BodyBudget()
        self.turns = Turns(READ_AT_ONCE)
        self._queue, self._clock = queue, clock
        self._known: dict[str, KnownSource] = {}
        self._gathering: dict[KnownSource, _StoreBatch] = {}
        self._statements: dict[int, _Statements] = {}
        self._logged_at: dict[int, float] = {}
        self._waiting: set[int] = set()
        self._sending_wake_ups: dict[int, asyncio.Task[None]] = {}
        self._counts: Counter[tuple[int, str, str]] = Counter()
        self._refused: dict[int, float] = {}  # when last, by `time.monotonic`
        self._refusals: Counter[int] = Counter()
        self._count_timer: asyncio.TimerHandle | None = None
        self._writing_counts: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._pool.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self.wait_for_wake_ups()
                await self.write_counts_now()
        except TimeoutError:
            log.warning("no worker woken for the last webhooks, the sweep will")
        await self._pool.close()

    async def source(self, name: str, *, afresh: bool) -> KnownSource | None:
        """The source of that name, in any case; cached unless `afresh`. Raises `DatabaseUnavailable`."""
        known = None if afresh else self._known.get(name)
        if known is None:
            rows = await self._rows(_SOURCE, [name])
            if not rows:
                self._known.pop(name, None)
                return None
            known = KnownSource(name, *rows[0])
            if len(self._known) >= CACHED_NAMES:
                self._known.clear()
            self._known[name] = known
        return known

    async def store(self, source: KnownSource, delivery: ReceivedDelivery) -> int | None:
        """The id of the delivery, stored now or before; one that failed is received again.

        None where the source has changed since it was read. Raises `DatabaseUnavailable`.
        """
        batch = self._gathering.get(source)
        if batch is None:
            batch = self._gathering[source] = _StoreBatch()
            batch.stored = asyncio.create_task(self._store_all(source, batch), name="webhooks")
        first = batch.deliveries.setdefault(delivery.remote_id, delivery) is delivery
        batch.digests.add(delivery.digest)
        # A request that is cancelled, at a stop, must not cancel the statement that others wait for.
        found = (await asyncio.shield(batch.stored)).get(delivery.remote_id)
        if found is None:
            return None
        id, state = found
        new = first and state is not None
        if new and state is not None:
            self._count(source.id, "door", "received")
            if state == "received":
                self.schedule_wake_up(source.id)
            else:
                self._count(source.id, "delivery", state)
        log.info(
            "webhook received" if new else "webhook repeated",
            delivery=id,
            remote_id=delivery.remote_id,
            source=source.name,
            state=state or delivery.state,
            reason=delivery.reason if state in (None, delivery.state) else "repeated",
        )
        return id

    async def _store_all(self, source: KnownSource, batch: _StoreBatch) -> dict[str, tuple[int, str | None]]:
        async with self._room_for_statement(source.id) as under_way:
            # Of two statements neither sees what the other stores, and a body is to wait with its twin.
            while twins := {other.stored for other in under_way if batch.digests & other.digests}:
                await asyncio.wait(twins)
            del self._gathering[source]
            under_way.add(batch)
            try:
                return await self._store_batch(source, batch)
            finally:
                under_way.remove(batch)

    @asynccontextmanager
    async def _room_for_statement(self, source_id: int) -> AsyncIterator[set[_StoreBatch]]:
        """Wait for one of the source's statements to end where all its room is used; for as long as for a
        connection, and then let the pool decide. Yields what its statements store now."""
        statements = self._statements.setdefault(source_id, _Statements())
        statements.users += 1
        got_room = False
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(CONNECTION_SECONDS):
                    got_room = await statements.room.acquire()
            yield statements.under_way
        finally:
            if got_room:
                statements.room.release()
            statements.users -= 1
            if not statements.users:
                del self._statements[source_id]

    async def _store_batch(
        self, source: KnownSource, batch: _StoreBatch
    ) -> dict[str, tuple[int, str | None]]:
        sent = batch.deliveries.values()
        values: dict[str, Any] = {
            name: [getattr(one, name) for one in sent] for name in ReceivedDelivery.__slots__
        }
        values |= {"source": source.id, "name": source.name, "encrypted_secret": source.encrypted_secret}
        values["pause"] = REPEAT_PAUSE
        stored = await self._rows(self._store_statement(), values)
        found: dict[str, tuple[int, str | None]] = {remote_id: (id, state) for remote_id, id, state in stored}
        if len(found) < len(sent):
            found = {remote_id: (id, None) for remote_id, id in await self._rows(_STORED, values)} | found
        return found

    def _store_statement(self) -> str:
        return _STORE.format(now=self._clock.in_sql(), as_known=_AS_KNOWN)

    async def _rows(self, statement: str, values: Any) -> list[tuple[Any, ...]]:
        """Tried twice: connections that a restart of the database broke are found only by using them."""
        for last in (False, True):
            try:
                async with self._pool.connection() as connection:
                    await connection.renew_plans()
                    answer = await connection.execute(statement, values)
                    return await answer.fetchall() if answer.description else []
            except psycopg.errors.ForeignKeyViolation:
                return []  # the source was deleted at this very moment
            except psycopg.Error as error:
                if not database_trouble(error):
                    raise
                if last:
                    raise DatabaseUnavailable from error
                await self._pool.check()
        return []

    # --- what any stranger can cause is logged and stored seldom ----------------------------------

    def record_refused(self, source: KnownSource, why: str) -> None:
        """Record in the log and in the source's row that a webhook was refused: at most once a minute for a
        source, because any stranger may send."""
        self._count(source.id, "door", "refused")
        self._refusals[source.id] += 1
        now = time.monotonic()
        if now - self._logged_at.get(source.id, -LOG_SECONDS) >= LOG_SECONDS:
            self._logged_at[source.id] = now
            self._refused[source.id] = time.monotonic()
            log.warning("webhook refused", source=source.name, reason=why)

    def record_unopened(self, source: KnownSource, why: str) -> None:
        """Record in the log, at most once a minute for a source, that its secret cannot be opened here."""
        self._count(source.id, "door", "unopened")
        now = time.monotonic()
        if now - self._logged_at.get(source.id, -LOG_SECONDS) >= LOG_SECONDS:
            self._logged_at[source.id] = now
            log.error("webhook secret not opened", source=source.name, reason=why)

    def _count(self, source_id: int, what: str, label: str) -> None:
        self._counts[source_id, what, label] += 1
        if self._count_timer is None:
            self._count_timer = asyncio.get_running_loop().call_later(
                COUNT_SECONDS, self._start_writing_counts
            )

    def _start_writing_counts(self) -> None:
        self._count_timer = None
        self._writing_counts = asyncio.create_task(self._write_counts(), name="webhook counts")

    async def write_counts_now(self) -> None:
        """Write what was counted since the last time."""
        if self._count_timer is not None:
            self._count_timer.cancel()
            self._start_writing_counts()
        if self._writing_counts is not None:
            await asyncio.wait({self._writing_counts})

    async def _write_counts(self) -> None:
        counts, self._counts = self._counts, Counter()
        refused, self._refused = self._refused, {}
        refusals, self._refusals = self._refusals, Counter()
        try:
            for key, count in list(counts.items()):
                await self._rows(_COUNT, [*key, count])
                del counts[key]
            for source_id, count in list(refusals.items()):
                counted = COUNT_REFUSED.format(now=self._clock.in_sql())
                await self._rows(counted, {"source": source_id, "count": count})
                del refusals[source_id]
            for source_id, at in refused.items():
                # A valid webhook that came since ends the message, though this is written later.
                ago = time.monotonic() - at
                await self._rows(_REFUSED.format(now=self._clock.in_sql()), [ago, source_id])
        except DatabaseUnavailable:
            self._counts.update(counts)  # for the next time
            self._refusals.update(refusals)
            self._refused = refused | self._refused

    # --- wake-ups -----------------------------------------------------------------------------

    def schedule_wake_up(self, source_id: int) -> None:
        """Wake a worker for the deliveries of a source: at once for the first, and for those that follow
        within `BURST_WINDOW` once at its end. If this process dies first, the sweep does it."""
        self._waiting.add(source_id)
        if source_id not in self._sending_wake_ups:
            sending = asyncio.create_task(self._send_wake_ups(source_id), name="wake-ups")
            self._sending_wake_ups[source_id] = sending

    async def _send_wake_ups(self, source_id: int) -> None:
        try:
            while source_id in self._waiting:
                self._waiting.remove(source_id)
                await self._wake(source_id)
                await asyncio.sleep(BURST_WINDOW.total_seconds())
        finally:
            del self._sending_wake_ups[source_id]

    async def _wake(self, source_id: int) -> None:
        try:
            await self._queue.configure_task("process_deliveries").defer_async(source_id=source_id)
        except Exception as error:  # any error, for the next webhook of the source is to be tried again
            log.warning("no worker woken for webhooks, the sweep will", reason=type(error).__name__)

    async def wait_for_wake_ups(self) -> None:
        """Wait until every scheduled wake-up is sent."""
        if self._sending_wake_ups:
            await asyncio.wait({*self._sending_wake_ups.values()})
