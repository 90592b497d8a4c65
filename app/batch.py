"""One claim's deliveries, and the ways they end."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncSession

from app.outcome import Outcome, error_of
from app.runtime import Runtime
from app.vault import CannotOpen
from connectors.base import ConnectorError, Hint, Unavailable
from mappings import inbox, ledger, store, tallies, trouble
from mappings.tables import Delivery, Source

log = structlog.get_logger()

# A delivery that was claimed so often and never ended takes its worker down with it.
# Begun twice in vain it is claimed alone (`inbox.SUSPECT`), so that a deadly one gives up itself only.
MOST_ATTEMPTS = 10


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
                await self.ended(session, parts, state, reason=reason, run_id=run_id)

    async def ended(
        self,
        session: AsyncSession,
        parts: Sequence[Part],
        state: str,
        *,
        reason: str | None = None,
        error: dict[str, Any] | None = None,
        run_id: int | None = None,
    ) -> None:
        """The last step of the caller's transaction: what became of each. It is logged once that is true."""
        ids = [part.id for part in parts]
        mine = await inbox.end(session, self.owner, ids, state, reason=reason, error=error, run_id=run_id)
        over = [part.delivery for part in parts if part.id in mine]
        now = self.runtime.clock()
        took = [(now - delivery.received_at).total_seconds() for delivery in over]
        await tallies.add(session, self.source.id, "delivery", state, took=took)

        def tell(_: object) -> None:
            for delivery in over:
                log.info(
                    "webhook worked on",
                    delivery=delivery.id,
                    remote_id=delivery.remote_id,
                    deliveries=[delivery.remote_id],  # of those it came with nothing is said here
                    state=state,
                    reason=reason,
                    error=error and error["code"],
                    led_to_run=run_id,
                )

        event.listen(session.sync_session, "after_commit", tell, once=True)

    async def put_off(self, parts: Sequence[Part], until: datetime) -> None:
        async with self.runtime.sessions.begin() as session:
            await inbox.put_off(session, self.owner, [part.id for part in parts], until)

    async def wait(self, parts: Sequence[Part], error: Unavailable) -> None:
        """The tracker says later; `parts` are what was worked on."""
        now = self.runtime.clock()
        rest = error.rest(trouble.of_deliveries((part.delivery for part in parts), now))
        await self.pause(now + rest, error, call_after=None if error.named else rest)

    async def pause(
        self, until: datetime, error: ConnectorError, *, call_after: timedelta | None = None
    ) -> None:
        shown = error_of(error.code, error.message, error.what_to_do)
        async with self.runtime.sessions.begin() as session:
            await inbox.pause(session, self.owner, until, shown)
            if call_after is not None:
                await self.runtime.wake(
                    session, "take_deliveries", after=call_after, source_id=self.source.id
                )
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
            await self.ended(session, parts, "failed", error=shown)
