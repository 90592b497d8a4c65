"""How a run ended, and how that changes the health of its source."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from sqlalchemy import select, update

from connectors.base import Blocked, ConnectorError, Unavailable
from mappings import counters
from mappings.sources.health import MOST_NAMED
from mappings.tables import RunRow, SourceRow

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from app.secrets import CannotDecrypt

REPORT = "Check whether the tracker itself works; if it does, open an issue with this message."
HELD_BY_OLDER_SOURCE = "held by an older source"


@dataclass
class RunResult:
    """How a run ended: `state` and, where it is not `succeeded`, the error as the API shows it.

    `overlaps`: keys of epics that an older source holds.
    """

    state: str = "succeeded"
    error: dict[str, Any] | None = None
    overlaps: list[str] = field(default_factory=list)

    @classmethod
    def failed(cls, error: ConnectorError | CannotDecrypt) -> Self:
        if isinstance(error, ConnectorError):
            return cls("failed", error_of(error.code, error.message, error.what_to_do or REPORT))
        return cls("failed", error_of("sealed", error.message, error.what_to_do))

    @classmethod
    def broken(cls, error: Exception) -> Self:
        """An error in Northing itself. Its text may repeat what a tracker sent, so only the log shows it."""
        message = f"An error in Northing ended this run ({type(error).__name__})."
        return cls("failed", error_of("internal", message, "Open an issue with the log lines of this run."))

    @classmethod
    def given_up(cls, attempts: int) -> Self:
        """A run that probably ends its worker each time."""
        message = f"Given up: work on this run began {attempts} times, never got ahead and never ended."
        what_to_do = (
            "Check in the log what ended the workers, for example too little memory, then sync again."
        )
        return cls("failed", error_of("given_up", message, what_to_do))


def error_of(code: str, message: str, what_to_do: str) -> dict[str, Any]:
    return {"code": code, "message": message, "what_to_do": what_to_do}


async def record_health(
    session: AsyncSession, source_id: int, outcome: RunResult, now: datetime, *, whole: bool
) -> None:
    """Store in the source's health how a run ended, for the person that operates Northing.

    Only a full run (`whole`) knows all overlaps; after any other run, the overlaps last found stay.
    """
    state = {"succeeded": "ok", "partial": "degraded"}.get(outcome.state, "failing")
    error = outcome.error or {}
    message, what_to_do = error.get("message", ""), error.get("what_to_do", "")
    if state == "ok" and (overlap := await _overlap(session, source_id, outcome, whole=whole)):
        state, message = "degraded", overlap
        what_to_do = "Narrow the scope of one of the two sources."
    await _set_health(session, source_id, state, message or "The last sync read everything.", what_to_do, now)


async def count_run(session: AsyncSession, run: RunRow, outcome: RunResult, now: datetime) -> None:
    """Count a run that ended, for the metrics, and how long it took."""
    took = (now - (run.started_at or now)).total_seconds()
    await counters.add_count(session, run.source_id, "run", f"{run.mode} {outcome.state}", took=[took])


async def _overlap(session: AsyncSession, source_id: int, outcome: RunResult, *, whole: bool) -> str | None:
    previous = select(SourceRow.health_message).where(
        SourceRow.id == source_id, SourceRow.health_message.contains(HELD_BY_OLDER_SOURCE)
    )
    if not whole and (message := await session.scalar(previous)) is not None:
        return message
    if not outcome.overlaps:
        return None
    shown = ", ".join(outcome.overlaps[:MOST_NAMED])
    return f"{len(outcome.overlaps)} of its epics: {HELD_BY_OLDER_SOURCE} ({shown})."


async def record_waiting(
    session: AsyncSession,
    source_id: int,
    error: Unavailable,
    until: datetime,
    now: datetime,
    *,
    nothing_read: bool,
) -> None:
    """Store that a run waits for the tracker until `until` (shown in UTC).

    `nothing_read`: the run has waited for long and has not read a single epic.
    """
    state = "failing" if nothing_read else "degraded"
    message = f"{error.message} Going on at {until:%Y-%m-%d %H:%M:%S} UTC."
    await _set_health(session, source_id, state, message, error.what_to_do, now)


async def record_refusal_in_health(
    session: AsyncSession, source_id: int, key: str, error: ConnectorError, now: datetime
) -> None:
    """Store that the tracker refused our request. `key`: the ticket's key, or `webhooks`."""
    state = "failing" if isinstance(error, Blocked) else "degraded"
    await _set_health(session, source_id, state, f"{key}: {error.message}", error.what_to_do or REPORT, now)


async def _set_health(
    session: AsyncSession, source_id: int, state: str, message: str, what_to_do: str, now: datetime
) -> None:
    await session.execute(
        update(SourceRow)
        .where(SourceRow.id == source_id)
        .values(
            health_state=state, health_message=message, health_what_to_do=what_to_do, health_checked_at=now
        )
    )
