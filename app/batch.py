"""One claim's deliveries, and the ways they end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import structlog
from sqlalchemy.ext.asyncio import AsyncSession

from app.outcome import Outcome, error_of
from app.runtime import Runtime
from app.vault import CannotOpen
from connectors.base import ConnectorError, Hint
from mappings import inbox, ledger, store
from mappings.tables import Delivery, Source

log = structlog.get_logger()

# A delivery that was claimed so often and never ended takes its worker down with it.
MOST_ATTEMPTS = 5


class GivenUp(Exception):
    """A delivery that was begun again and again and never ended."""


@dataclass(slots=True)
class Part:
    """One delivery and what it hints at."""

    delivery: Delivery
    hint: Hint
    payload: object = None

    @property
    def id(self) -> int:
        return self.delivery.id


@dataclass
class Batch:
    """What `owner` has claimed of a source's deliveries."""

    runtime: Runtime
    source: Source
    owner: str

    async def open_run(
        self, session: AsyncSession, found: store.Observed | None = None, seen: int = 0, requests: int = 0
    ) -> int:
        """The run that judges what was found, its job woken in the same transaction."""
        run = await ledger.open_run(session, self.source.id, "judge", self.runtime.clock())
        run.seen, run.requests = seen, requests
        if found is not None:
            run.created, run.updated = found.created, found.updated
            run.deleted, run.skipped = found.deleted, found.skipped
        await session.flush()
        await self.runtime.wake_run(session, run.id, run.mode)
        return run.id

    async def end(
        self, parts: Sequence[Part], state: str, reason: str | None = None, *, run_id: int | None = None
    ) -> None:
        if parts:
            async with self.runtime.sessions.begin() as session:
                ids = [part.id for part in parts]
                await inbox.end(session, self.owner, ids, state, reason=reason, run_id=run_id)

    async def put_off(self, parts: Sequence[Part], until: datetime) -> None:
        async with self.runtime.sessions.begin() as session:
            await inbox.put_off(session, self.owner, [part.id for part in parts], until)

    async def pause(self, until: datetime, error: ConnectorError) -> None:
        shown = error_of(error.code, error.message, error.what_to_do)
        async with self.runtime.sessions.begin() as session:
            await inbox.pause(session, self.owner, until, shown)
        log.warning("webhooks wait", reason=error.message, until=until.isoformat())

    async def fail(self, parts: Sequence[Part], error: Exception) -> None:
        if isinstance(error, (ConnectorError, CannotOpen)):
            shown = Outcome.failed(error).error
        elif isinstance(error, GivenUp):
            what = f"Given up: it was begun {MOST_ATTEMPTS} times and never ended."
            shown = error_of("given_up", what, "See in the log what happened; then replay it.")
        else:
            what = f"Northing broke down over this webhook ({type(error).__name__})."
            shown = error_of("internal", what, "Open an issue with what the log says of it.")
        async with self.runtime.sessions.begin() as session:
            await inbox.end(session, self.owner, [part.id for part in parts], "failed", error=shown)
