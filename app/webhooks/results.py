"""Records what became of the deliveries of one claim: ended, failed, postponed, or paused with the source."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy import event

from app.heartbeat import keep_claim
from app.run_result import RunResult, error_of, record_refusal_in_health
from app.secrets import CannotDecrypt
from connectors.base import SHORTEST_RETRY, Blocked, ConnectorError, Unavailable
from mappings import backoff, counters
from mappings.leases import ALWAYS_DUE, MOST_ATTEMPTS
from mappings.locks import share_source
from mappings.runs.causes import Cause, add_counts, join_run
from mappings.runs.queue import start_run
from mappings.webhooks.queue import (
    REPEAT_PAUSE,
    end_deliveries,
    last_start_for_deliveries,
    pause_deliveries,
    postpone_deliveries,
    renew_delivery_leases,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractAsyncContextManager

    from sqlalchemy.ext.asyncio import AsyncSession

    from app.runtime import Runtime
    from connectors.webhooks import Hint
    from mappings.epics.upsert import UpsertResult
    from mappings.tables import DeliveryRow, SourceRow

log = structlog.get_logger()

# A person must change what is refused.
BLOCKED_PAUSE = timedelta(hours=1)
LONGEST_PART_RETRY = timedelta(hours=1)


class GivenUp(Exception):
    """Work on a delivery began too often and never ended."""


@dataclass(slots=True)
class ParsedDelivery:
    """A delivery, what its payload hints at, and the payload itself, decoded."""

    delivery: DeliveryRow
    hint: Hint
    payload: object = None

    @property
    def id(self) -> int:
        return self.delivery.id


@dataclass
class DeliveryResults:
    """The claim of `owner` on deliveries of a source: kept while the work goes on, ended by each result.
    It also opens the runs that the deliveries ask for."""

    runtime: Runtime
    source: SourceRow
    owner: str

    def keep_leases_renewed(self) -> AbstractAsyncContextManager[None]:
        async def renew(session: AsyncSession, now: datetime) -> None:
            await renew_delivery_leases(session, self.owner, now)

        return keep_claim(self.runtime, renew)

    async def open_evaluate_run(
        self, session: AsyncSession, cause: Cause, found: UpsertResult | None = None, **counts: int
    ) -> int:
        """Join or open the run that evaluates what was found, and defer its job in the same transaction; its
        id. It waits for no run that a change of goals or rules opened. `counts`: of what the run has done."""
        now = await self.runtime.now(session)
        (run_id,) = await join_run(session, [self.source.id], "due", [cause], now)
        if found is not None:
            for name in ("created", "updated", "deleted", "skipped"):
                counts[name] = getattr(found, name)
            await add_counts(session, run_id, **counts)
        await self.runtime.wake_run(session, run_id, "evaluate")
        return run_id

    async def open_reading_run(self, all_parsed: Sequence[ParsedDelivery]) -> None:
        """Open the run that these deliveries ask for, and end them.

        It is a full one, and an unfinished one does not do: it may have missed what they point at. Where all
        are repeats, whose full run was opened before, it is an incremental one. Webhooks open no two runs
        of a source within a minute: the queued one waits, and is the answer to all that come meanwhile.
        """
        repeats = all(parsed.delivery.is_repeat for parsed in all_parsed)
        mode = "incremental" if repeats else "full"
        async with self.runtime.transaction() as session:
            now = await self.runtime.now(session)
            last = await last_start_for_deliveries(session, self.source.id)
            due_at = ALWAYS_DUE if last is None else last + REPEAT_PAUSE
            run = await start_run(session, self.source.id, mode, now, afresh=True, due_at=due_at)
            await self.record_end(session, all_parsed, "done", run_id=run.id)

    async def end(
        self,
        all_parsed: Sequence[ParsedDelivery],
        state: str,
        reason: str | None = None,
        *,
        run_id: int | None = None,
    ) -> None:
        if all_parsed:
            async with self.runtime.sessions.begin() as session:
                await self.record_end(session, all_parsed, state, reason=reason, run_id=run_id)

    async def record_end(
        self,
        session: AsyncSession,
        all_parsed: Sequence[ParsedDelivery],
        state: str,
        *,
        reason: str | None = None,
        error: dict[str, Any] | None = None,
        run_id: int | None = None,
    ) -> None:
        """The last step of the caller's transaction: store how each ended, to be logged after the commit."""
        ids = [parsed.id for parsed in all_parsed]
        await share_source(session, self.source.id)  # which the count refers to
        now = await self.runtime.now(session)
        ended_ids = await end_deliveries(
            session, self.owner, ids, state, now, reason=reason, error=error, run_id=run_id
        )
        ended = [parsed.delivery for parsed in all_parsed if parsed.id in ended_ids]
        took = [(now - delivery.received_at).total_seconds() for delivery in ended]
        await counters.add_count(session, self.source.id, "delivery", state, took=took)

        def log_ended(_: object) -> None:
            for delivery in ended:
                log.info(
                    "webhook worked on",
                    delivery=delivery.id,
                    remote_id=delivery.remote_id,
                    deliveries=[delivery.remote_id],  # this one alone, not all of the batch
                    state=state,
                    reason=reason,
                    error=error and error["code"],
                    opened_run=run_id,
                )

        event.listen(session.sync_session, "after_commit", log_ended, once=True)

    async def postpone(self, all_parsed: Sequence[ParsedDelivery], pause: timedelta) -> None:
        """These deliveries are due again after `pause`."""
        async with self.runtime.sessions.begin() as session:
            now = await self.runtime.now(session)
            await self.record_postponed(session, all_parsed, now + pause)

    async def try_again(self, all_parsed: Sequence[ParsedDelivery]) -> None:
        """A part of the work on these is not done, and nothing else has to wait for it: they are due again
        after as long as the trouble has lasted, within `SHORTEST_RETRY` and `LONGEST_PART_RETRY`."""
        async with self.runtime.sessions.begin() as session:
            now = await self.runtime.now(session)
            failing_for = backoff.deliveries_failing_for((parsed.delivery for parsed in all_parsed), now)
            pause = min(max(failing_for, SHORTEST_RETRY), LONGEST_PART_RETRY)
            await self.record_postponed(session, all_parsed, now + pause)

    async def record_postponed(
        self, session: AsyncSession, all_parsed: Sequence[ParsedDelivery], until: datetime
    ) -> None:
        """The last step of the caller's transaction: these deliveries are due again at `until`."""
        await postpone_deliveries(session, self.owner, [parsed.id for parsed in all_parsed], until)

    async def pause(self, all_parsed: Sequence[ParsedDelivery], error: Unavailable) -> None:
        """The tracker asks for a pause; `all_parsed` are the deliveries that were being processed."""
        async with self.runtime.sessions() as session:
            now = await self.runtime.now(session)
        failing_for = backoff.deliveries_failing_for((parsed.delivery for parsed in all_parsed), now)
        await self._pause(error, now, error.retry_delay(failing_for))

    async def pause_blocked(self, error: Blocked) -> None:
        """The tracker refuses the credentials, or all calls alike: a person must change that. New credentials
        end the pause."""
        async with self.runtime.sessions.begin() as session:
            now = await self.runtime.now(session)
            await record_refusal_in_health(session, self.source.id, "webhooks", error, now)
        await self._pause(error, now, BLOCKED_PAUSE)

    async def _pause(self, error: ConnectorError, now: datetime, pause: timedelta) -> None:
        shown = error_of(error.code, error.message, error.what_to_do)
        async with self.runtime.sessions.begin() as session:
            await pause_deliveries(session, self.owner, now + pause, shown)
            await self.runtime.wake_after_pause(
                session, "process_deliveries", pause, source_id=self.source.id
            )
        log.warning("webhooks wait", reason=error.message, until=(now + pause).isoformat())

    async def fail(self, all_parsed: Sequence[ParsedDelivery], error: Exception) -> None:
        if isinstance(error, (ConnectorError, CannotDecrypt)):
            shown = RunResult.failed(error).error
        elif isinstance(error, GivenUp):
            what = f"Given up: work on it began {MOST_ATTEMPTS} times and never ended."
            shown = error_of("given_up", what, "Check in the log what happened, then replay it.")
        else:
            what = f"An error in Northing ended the work on this webhook ({type(error).__name__})."
            shown = error_of("internal", what, "Open an issue with the log lines of this webhook.")
        async with self.runtime.sessions.begin() as session:
            await self.record_end(session, all_parsed, "failed", error=shown)
