"""What a change of a source requires: runs to open, epics to move or to remove."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select, text, update
from sqlalchemy.exc import IntegrityError

from mappings import invalidate
from mappings.epics.upsert import remove_projects
from mappings.errors import Conflict
from mappings.runs.causes import Cause
from mappings.runs.queue import start_run
from mappings.runs.reevaluation import (
    reevaluate_all_children,
    reevaluate_below_tickets,
    reevaluate_sources,
)
from mappings.sources.projects import forget_ids, reset_cursors
from mappings.sources.schedules import has_timetable
from mappings.tables import READING_MODES, EpicRow, RunRow, SourceRow

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from mappings.sources.values import ProjectScope

# Members whose change has consequences.
FIELDS_WITH_FOLLOW_UP = ("name", "scope", "epics", "schedule", "notices", "tracker")


async def follow_up(
    session: AsyncSession,
    row: SourceRow,
    before: dict[str, Any],
    was: ProjectScope,
    scope: ProjectScope,
    now: datetime,
) -> list[int]:
    """Do what a change of these members requires: name, scope, selector, schedule, address, mode.

    `row` is the changed source; `before` its `FIELDS_WITH_FOLLOW_UP` and `was` its scope until now, `scope`
    the new one. Returns the ids of the opened runs. Raises `Conflict`.
    """
    opened: list[int] = []
    if before["tracker"] != row.tracker:
        await _move_epics(session, row)
        await _keep_old_tracker(session, row, before["tracker"])
        await forget_ids(session, row)
    if before["scope"] != row.scope:
        gone = await _remove_projects(session, row, was, scope, now)
        # Before all that joins runs, for this takes the lock of parents first.
        await reevaluate_below_tickets(session, row.tracker, gone, now)
    if before["tracker"] != row.tracker:
        await reevaluate_all_children(session, [before["tracker"], row.tracker], now)
    epics = {row.id: invalidate.by_source(row.id)}
    if before["name"] != row.name:
        # Rules, and scopes of the policy, may name the source.
        opened += await reevaluate_sources(session, [Cause("source")], epics, now)
    elif before["notices"] != row.notices or before["scope"] != row.scope:
        opened += await reevaluate_sources(session, [Cause("mode")], epics, now)
    if any(before[name] != getattr(row, name) for name in ("scope", "epics", "tracker")):
        await reset_cursors(session, row.id)
        row.unreadable_fields = {}  # the full run finds those of the fields that are named now
        opened.append((await start_run(session, row.id, "full", now)).id)
    elif has_timetable(row.schedule) and not has_timetable(before["schedule"]):
        opened += await _first_run(session, row, now)
    return opened


async def _first_run(session: AsyncSession, row: SourceRow, now: datetime) -> list[int]:
    """The first run of a source that just got a timetable; none if a run has read the source before."""
    before = select(RunRow.id).where(RunRow.source_id == row.id, RunRow.mode.in_(READING_MODES)).limit(1)
    if (await session.scalars(before)).first() is not None:
        return []
    return [(await start_run(session, row.id, "full", now)).id]


async def _move_epics(session: AsyncSession, row: SourceRow) -> None:
    try:
        async with session.begin_nested():
            await session.execute(
                text("UPDATE epics SET tracker = :tracker WHERE source_id = :source"),
                {"tracker": row.tracker, "source": row.id},
            )
    except IntegrityError:
        raise Conflict("Another source already holds epics of the tracker at this base_url.") from None


async def _keep_old_tracker(session: AsyncSession, row: SourceRow, tracker: str) -> None:
    """A full run that has begun read the old tracker: its success says nothing of the new one."""
    await session.execute(
        update(RunRow)
        .where(RunRow.source_id == row.id, RunRow.mode == "full")
        .where(RunRow.started_at.is_not(None), RunRow.finished_at.is_(None))
        .values(tracker=func.coalesce(RunRow.tracker, tracker))
    )


async def _remove_projects(
    session: AsyncSession, row: SourceRow, was: ProjectScope, scope: ProjectScope, now: datetime
) -> list[str]:
    """A person that narrows the scope wants these removals, so no drop guard holds them. Returns the ids of
    the epics in the tracker.

    A renamed repository may be in the scope under a former name; it is left to the full run, which knows.
    """
    projects = await session.scalars(select(EpicRow.project).where(EpicRow.source_id == row.id).distinct())
    outside = [project for project in projects if was.covers(project) and not scope.covers(project)]
    return await remove_projects(session, row.id, outside, now) if outside else []
