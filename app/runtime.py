"""What all parts of the process share: one value, made at start, the first argument of many functions."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import uuid4

from sqlalchemy import text

from app.outages import Outages
from app.secrets import SigningKeys, binding_of
from app.why_signature import why_signature
from app.writers_here import WritersHere
from connectors.addresses import is_loopback
from connectors.network import DIRECT, Network
from connectors.registry import KINDS
from connectors.timeouts import TIMEOUTS, Timeouts
from mappings.audit import set_actor
from mappings.checks.registry import CHECKS
from mappings.clock import QUEUE_CLOCK, Clock, DatabaseClock
from mappings.evaluation.context import EvaluationContext, KnownGoals, load_context
from mappings.leases import RENEW_EVERY, claim_name
from mappings.tables import SourceRow
from mappings.wakeups import job_of, take_wakeups

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from datetime import datetime, timedelta

    import procrastinate
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, AsyncSession

    from app.database import Sessions
    from app.secrets import SecretCipher
    from app.settings import Settings
    from connectors.base import Connector
    from mappings.checks.check import Check
    from mappings.tables import EpicRow

# Two pauses that end within a second are one: a limit that names its end gives each attempt the same one, but
# for microseconds.
_JOBS_OF_EARLIER_PAUSES = text("""
    DELETE FROM procrastinate_jobs WHERE id = ANY(ARRAY(
        SELECT id FROM procrastinate_jobs
        WHERE status = 'todo' AND task_name = :task AND args = CAST(:arguments AS jsonb)
            AND scheduled_at > :now AND scheduled_at <= CAST(:until AS timestamptz) + interval '1 s'
        FOR UPDATE SKIP LOCKED))
""")


_AUTOCOMMIT = {"isolation_level": "AUTOCOMMIT"}
ASKED_FOR_AT = "asked_for_at"  # in the `info` of a session, also of one that has read the time already


@dataclass(frozen=True)
class Runtime:
    """`worker` names this process in claims. `clock` is the only clock that decisions read.
    `timeouts` and `network` apply to the connectors' calls, `checks` to epics, goals and sources.
    `renew_every`: how often a heartbeat renews a claim, by the wall's clock. `outages` remembers a database
    in trouble. `hiccup_pauses`: the seconds before each new attempt of a call whose answer could not be
    understood. `signing` is open once the process has started. `writers`: those at work in this process."""

    settings: Settings
    engine: AsyncEngine
    sessions: Sessions
    cipher: SecretCipher
    queue: procrastinate.App
    clock: Clock = field(default_factory=DatabaseClock)
    timeouts: Timeouts = TIMEOUTS
    network: Network = DIRECT
    checks: Sequence[Check[Any]] = CHECKS
    worker: str = field(default_factory=lambda: f"worker-{uuid4()}")
    renew_every: timedelta = RENEW_EVERY
    outages: Outages = field(default_factory=Outages)
    hiccup_pauses: Sequence[float] = (1, 3, 9)
    signing: SigningKeys = field(default_factory=SigningKeys)
    writers: WritersHere = field(default_factory=WritersHere)

    def claim_name(self) -> str:
        """The name of a new claim of this process."""
        return claim_name(self.worker)

    async def now(self, database: AsyncSession | AsyncConnection) -> datetime:
        """The time now, UTC; of a session that has read it, that moment, and of one that reads a page, the
        moment at which the page was asked for."""
        asked_for: datetime | None = database.info.get(ASKED_FOR_AT)
        return asked_for or await self.clock.read(database)

    async def connect(self, source: SourceRow, now: datetime | None = None) -> Connector:
        """The connector of a source; `now` is the time, where the caller has just read it. Raises
        `secrets.CannotDecrypt` where its credentials cannot be decrypted."""
        if now is None:
            async with self.sessions() as session:
                now = await self.now(session)
        kind = KINDS[source.kind]
        return kind.connect(
            source.base_url,
            kind.credentials.model_validate(
                self.cipher.decrypt(source.credentials, binding_of(source, "credentials"))
            ),
            self.scope_of(source),
            kind.epics.model_validate(source.epics),
            self.timeouts,
            self.clock.running_from(now),
            self.network,
        )

    def scope_of(self, source: SourceRow) -> Any:
        """What a source covers, as the model of its kind: its `covers(project)` takes a project's key."""
        scope: Any = KINDS[source.kind].scope.model_validate(source.scope)
        return scope.following(source.named_projects)

    def page_urls(self, source: SourceRow) -> Callable[[EpicRow], str | None]:
        """Maps an epic's row to the address of its page, or to None where readers of the ticket cannot open
        it. By the setting it is the page that the address itself opens, or the one behind the login."""
        base = self.settings.links_base
        if is_loopback(base) and not is_loopback(source.base_url):
            return lambda row: None
        if self.settings.why_links == "signed":
            key = self.signing.key("why")
            return lambda row: f"{base}/why/{why_signature(key, row.id)}"
        start = f"{base}/epics/{quote(source.name, safe='')}/"
        return lambda row: start + quote(row.key, safe="")

    async def evaluation_context(
        self,
        session: AsyncSession,
        source: SourceRow,
        *,
        shared: EvaluationContext | None = None,
    ) -> EvaluationContext:
        """The source's evaluation context as it is now; its mode may have changed since `source` was read.
        `shared` as in `load_context`."""
        present = await session.get_one(SourceRow, source.id, populate_existing=True)
        return await self._context(session, present, shared=shared)

    async def context_to_show(
        self, session: AsyncSession, source: SourceRow, known: KnownGoals
    ) -> EvaluationContext:
        """The same of a source that this transaction has read, to show what an evaluation comes to."""
        return await self._context(session, source, known=known)

    async def _context(self, session: AsyncSession, source: SourceRow, **reused: Any) -> EvaluationContext:
        render, pages = KINDS[source.kind].render, self.page_urls(source)
        key = self.signing.key("marker")
        return await load_context(session, source, render, pages, key, checks=self.checks, **reused)

    @asynccontextmanager
    async def transaction(self, who: str | None = None) -> AsyncIterator[AsyncSession]:
        """One transaction of an operation: its changes are audited as those of `who`, and the jobs that it
        asks for are deferred in it."""
        async with self.sessions.begin() as session:
            if who is not None:
                set_actor(session, who)
            yield session
            for asked in take_wakeups(session):
                await self.wake(session, asked.task, at=None, **asked.arguments)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncSession]:
        """A session for statements that only read, each of which sees what is committed when it begins, as in
        `transaction`. No transaction is begun and committed around them: for one statement that takes the
        database as long again as the statement."""
        async with self.sessions() as session:
            # Of the connection, not of an engine of its own: what a process keeps of a database it keeps by
            # the engine.
            await session.connection(execution_options=_AUTOCOMMIT)
            yield session

    async def wake_run(self, session: AsyncSession, run_id: int, mode: str) -> None:
        """Defer the job that executes a run of this mode."""
        await self.wake(session, job_of(mode), run_id=run_id)

    async def wake(
        self,
        session: AsyncSession,
        task: str,
        *,
        at: datetime | None = None,
        **arguments: int,
    ) -> None:
        """Defer a job in the transaction of the rows that it needs: both are stored or neither.

        `at` is the moment at which the job runs, at the earliest. Work that waits needs such a job: the
        sweep, which is for work whose job was lost, comes only every 15 seconds.
        """
        connection = await (await session.connection()).get_raw_connection()
        task_ = self.queue.configure_task(
            task,
            connection=connection.driver_connection,
            schedule_at=at,
        )
        await task_.defer_async(**arguments)

    async def wake_after_pause(
        self, session: AsyncSession, task: str, pause: timedelta, **arguments: int
    ) -> None:
        """Defer the job that continues work at the end of a pause, in the transaction that postpones it.

        It replaces the jobs of earlier pauses of the same work that would end before: the new pause holds
        that work back too. So a long pause leaves one job, however often the tracker is tried meanwhile. A
        job whose pause a person has ended early finds nothing to do.
        """
        now = await QUEUE_CLOCK.read(session)
        until = now + pause
        of_the_work = {"task": task, "arguments": json.dumps(arguments), "until": until, "now": now}
        await session.execute(_JOBS_OF_EARLIER_PAUSES, of_the_work)
        await self.wake(session, task, at=until, **arguments)
