"""What the pipeline works with: one value, made at start, the first argument of its functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from urllib.parse import quote
from uuid import uuid4

import procrastinate
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from app.database import Sessions
from app.secrets import SecretCipher
from app.settings import Settings
from connectors.base import Connector
from connectors.clock import Clock, utc_now
from connectors.registry import KINDS, is_loopback
from connectors.timeouts import TIMEOUTS, Timeouts
from mappings.evaluation.context import EvaluationContext, load_context
from mappings.tables import READING_MODES, SourceRow


@dataclass(frozen=True)
class Runtime:
    """`worker` names this process in claims. `clock` is the only clock the pipeline reads.
    `timeouts` are those of the connectors' calls."""

    settings: Settings
    engine: AsyncEngine
    sessions: Sessions
    cipher: SecretCipher
    queue: procrastinate.App
    clock: Clock = utc_now
    timeouts: Timeouts = TIMEOUTS
    worker: str = field(default_factory=lambda: f"worker-{uuid4()}")

    def connect(self, source: SourceRow) -> Connector:
        """The connector of a source. Raises `secrets.CannotDecrypt` where its credentials stay shut."""
        kind = KINDS[source.kind]
        return kind.connect(
            source.base_url,
            kind.credentials.model_validate(self.cipher.decrypt(source.credentials)),
            kind.scope.model_validate(source.scope),
            kind.epics.model_validate(source.epics),
            self.timeouts,
            self.clock,
        )

    def page_urls(self, source: SourceRow) -> Callable[[str], str | None]:
        """From an epic's key to its page's address; None where nobody who reads the ticket could open it."""
        if self.settings.links_are_loopback and not is_loopback(source.base_url):
            return lambda key: None
        start = f"{self.settings.links_base}/epics/{quote(source.name, safe='')}/"
        return lambda key: start + quote(key, safe="")

    async def evaluation_context(
        self,
        session: AsyncSession,
        source: SourceRow,
        projects: list[str] | None = None,
        *,
        shared: EvaluationContext | None = None,
    ) -> EvaluationContext:
        """What epics of the source are judged by now; its mode may have changed since `source` was read.
        `projects` and `like` as in `load_standard`."""
        present = await session.get_one(SourceRow, source.id, populate_existing=True)
        render, pages = KINDS[present.kind].render, self.page_urls(present)
        return await load_context(session, present, render, pages, projects=projects, shared=shared)

    async def wake_run(self, session: AsyncSession, run_id: int, mode: str) -> None:
        """Defer the job that carries out a run of this mode."""
        await self.wake(session, "read" if mode in READING_MODES else "carry_out", run_id=run_id)

    async def wake(
        self, session: AsyncSession, task: str, *, after: timedelta | None = None, **arguments: int
    ) -> None:
        """Defer a job in the transaction of the rows it is to see: neither is there without the other.

        `after`: not before so long. The sweep finds what is due as well, but seldom; what a tracker puts off
        for longer than a minute can wait for that.
        """
        connection = await (await session.connection()).get_raw_connection()
        schedule = None if after is None else {"seconds": after.total_seconds()}
        task_ = self.queue.configure_task(task, connection=connection.driver_connection, schedule_in=schedule)
        await task_.defer_async(**arguments)
