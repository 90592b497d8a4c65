"""A source's schedule, and how the servers learn that one changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

SCHEDULES_CHANNEL = "northing_sources"
NO_TIMETABLE = {"every": None, "full": None}


def has_timetable(schedule: dict[str, Any]) -> bool:
    return schedule["every"] is not None or schedule["full"] is not None


async def announce_schedules(session: AsyncSession) -> None:
    """Notify every replica, at the commit, that a source was created, changed or deleted."""
    await session.execute(select(func.pg_notify(SCHEDULES_CHANNEL, "")))
