"""Leaves the work on a source to another process where no key of this one opens its credentials.

Keys are replaced process by process, so another one may have the key. The work stays due and unclaimed; the
sweep, and for a run a job, wake a worker for it again.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import select, update

from app.secrets import binding_of
from mappings.leases import is_free
from mappings.sources.health import UNOPENED_AFTER
from mappings.tables import READING_MODES, RunRow, SourceRow

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from app.runtime import Runtime

log = structlog.get_logger()

TRIED_AGAIN_AFTER = timedelta(seconds=2)


async def left_to_another(
    session: AsyncSession,
    runtime: Runtime,
    source: SourceRow,
    now: datetime | None = None,
    *,
    bounded: bool = False,
) -> bool:
    """Whether this process must not claim work of the source. `now` is read where it is needed and not given.
    `bounded`: no longer than `UNOPENED_AFTER`, after which the caller ends the work in words.

    Records since when no process was met that opens the credentials, and that one was.
    """
    error = runtime.cipher.why_not(source.credentials, binding_of(source, "credentials"))
    row = update(SourceRow).where(SourceRow.id == source.id)
    if error is None or not error.another_process_may:
        if source.unopened_since is not None:
            await session.execute(row.values(unopened_since=None))
        return False
    now = now or await runtime.now(session)
    if source.unopened_since is None:
        await session.execute(row.where(SourceRow.unopened_since.is_(None)).values(unopened_since=now))
        log.error("work left to another process", source=source.name, reason=error.message)
        return True
    return not bounded or now - source.unopened_since < UNOPENED_AFTER


async def run_left_to_another(session: AsyncSession, runtime: Runtime, run_id: int, now: datetime) -> bool:
    """The same for a run that reads; only such a run needs the credentials. Asks for the job that tries it
    again. One that another process is executing shows that this process is not needed."""
    found = select(SourceRow).join(RunRow, RunRow.source_id == SourceRow.id)
    reading = found.where(RunRow.id == run_id, RunRow.mode.in_(READING_MODES), RunRow.finished_at.is_(None))
    source = (await session.scalars(reading.where(is_free(RunRow, now)))).one_or_none()
    if source is None or not await left_to_another(session, runtime, source, now, bounded=True):
        return False
    await runtime.wake_after_pause(session, "read_source", TRIED_AGAIN_AFTER, run_id=run_id)
    return True
