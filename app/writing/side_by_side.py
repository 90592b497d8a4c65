"""How many writers one source has: more where many tickets wait and its tracker takes several at once.

A job is one writer. One that comes to its second ticket asks for more, and whichever process has room runs
them. Each ticket is written under its own claim, so it does not matter how many there are, or where.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from mappings.notices import claims

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from app.runtime import Runtime

MOST_WRITERS = 4  # of one source, in all processes: a tracker is asked for no more at once than by a browser
TICKETS_FOR_A_WRITER = 10  # due ones, for which it pays that another writer signs in
ASKS_EVERY = 5  # tickets: a process that has no room forgets what it was asked for
TURN = 20  # tickets that a writer writes before it makes room for a source that has no writer

_WAITING = text("""
    SELECT count(*) FROM procrastinate_jobs
    WHERE status = 'todo' AND task_name = 'write_tickets' AND scheduled_at IS NULL
        AND args = jsonb_build_object('source_id', CAST(:source_id AS bigint))
""")
_OTHERS_WAIT = text("""
    SELECT EXISTS (SELECT FROM procrastinate_jobs AS job
        WHERE status = 'todo' AND task_name = 'write_tickets' AND scheduled_at IS NULL
            AND CAST(args->>'source_id' AS bigint) <> :source_id
            AND NOT EXISTS (SELECT FROM notices JOIN epics ON epics.id = notices.epic_id
                WHERE notices.claimed_until IS NOT NULL
                    AND epics.source_id = CAST(job.args->>'source_id' AS bigint)))
""")


async def wake_more_writers(runtime: Runtime, session: AsyncSession, source_id: int, now: datetime) -> None:
    """Ask for as many more writers of a source as pay, in the transaction of a claim, which locks the source:
    two writers do not ask for the same."""
    at_work, due = await claims.count_for_writers(session, source_id, now)
    at_work += await session.scalar(_WAITING, {"source_id": source_id}) or 0
    for _ in range(min(MOST_WRITERS, 1 + due // TICKETS_FOR_A_WRITER) - at_work):
        await runtime.wake(session, "write_tickets", source_id=source_id)


async def gave_turn(runtime: Runtime, source_id: int) -> bool:
    """Whether this writer is to end, because another source waits that has no writer at all. The job that
    goes on for this one is then behind that."""
    async with runtime.sessions.begin() as session:
        others_wait = bool(await session.scalar(_OTHERS_WAIT, {"source_id": source_id}))
        if others_wait:
            await runtime.wake(session, "write_tickets", source_id=source_id)
    return others_wait
