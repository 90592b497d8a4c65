"""Machines whose clock is apart from the database's, as they found out themselves.

No decision reads a machine's clock. It still dates log lines and tells whether a certificate is valid.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert

from mappings.sources.health import MachineClock
from mappings.tables import MachineClockRow

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

TOLERANCE = timedelta(minutes=1)
# A machine looks at least once in half a minute: an older row is of one that is right again, or gone.
FRESH_FOR = timedelta(minutes=2)


async def record_machine_clock(
    session: AsyncSession, host: str, machine_time: datetime, now: datetime
) -> None:
    """Record that the clock of a machine, which shows `machine_time`, is apart from the database's `now`.

    Nothing is written while it is not (UTC both).
    """
    ahead = machine_time - now
    if abs(ahead) <= TOLERANCE:
        return
    await session.execute(delete(MachineClockRow).where(MachineClockRow.at < now - FRESH_FOR))
    row = insert(MachineClockRow).values(host=host, ahead=ahead.total_seconds(), at=now)
    changed = {"ahead": row.excluded.ahead, "at": row.excluded.at}
    await session.execute(row.on_conflict_do_update(index_elements=[MachineClockRow.host], set_=changed))


async def machine_clocks_apart(session: AsyncSession, now: datetime) -> list[MachineClock]:
    """The machines whose clock is apart at `now` (UTC), by name."""
    fresh = select(MachineClockRow.host, MachineClockRow.ahead).where(MachineClockRow.at > now - FRESH_FOR)
    rows = await session.execute(fresh.order_by(MachineClockRow.host))
    return [MachineClock(host, ahead) for host, ahead in rows]
