"""What follows when a source is created or changed: runs to open, epics to move or to remove."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.problems import Problem
from app.runtime import Runtime
from connectors.registry import KINDS
from mappings import invalidate
from mappings.epics.upsert import remove_projects
from mappings.runs.queue import open_run
from mappings.runs.reevaluation import reevaluate
from mappings.sources.projects import reset_cursors
from mappings.tables import READING_MODES, EpicRow, RunRow, SourceRow

# Members whose change has consequences.
FIELDS_WITH_FOLLOW_UP = ("name", "scope", "epics", "schedule", "notices", "tracker")


async def start_run(runtime: Runtime, session: AsyncSession, row: SourceRow, mode: str) -> RunRow:
    run = await open_run(session, row.id, mode, runtime.clock())
    await session.flush()
    await runtime.wake_run(session, run.id, run.mode)
    return run


async def follow_up(
    runtime: Runtime, session: AsyncSession, row: SourceRow, before: dict[str, Any]
) -> list[int]:
    """Do what a change of these members requires: name, scope, selector, schedule, address, mode.

    Returns the ids of the opened runs.
    """
    opened: list[int] = []
    if before["tracker"] != row.tracker:
        await _move_epics(session, row)
        await _keep_old_tracker(session, row, before["tracker"])
    if before["scope"] != row.scope:
        await _remove_projects(runtime, session, row, before["scope"])
    if before["name"] != row.name:
        # Rules, and scopes of the policy, may name the source.
        opened += await reevaluate(session, invalidate.by_source(row.id), runtime.clock())
    elif before["notices"] != row.notices or before["scope"] != row.scope:
        opened += await reevaluate(session, invalidate.by_gap_or_notice(row.id), runtime.clock())
    if any(before[name] != getattr(row, name) for name in ("scope", "epics", "tracker")):
        await reset_cursors(session, row.id)
        opened.append((await start_run(runtime, session, row, "full")).id)
    elif has_timetable(row.schedule) and not has_timetable(before["schedule"]):
        opened += await _first_run(runtime, session, row)
    return opened


def has_timetable(schedule: dict[str, Any]) -> bool:
    return schedule["every"] is not None or schedule["full"] is not None


async def _first_run(runtime: Runtime, session: AsyncSession, row: SourceRow) -> list[int]:
    """The first run of a source that just got a timetable; none if a run has read the source before."""
    before = select(RunRow.id).where(RunRow.source_id == row.id, RunRow.mode.in_(READING_MODES)).limit(1)
    if (await session.scalars(before)).first() is not None:
        return []
    return [(await start_run(runtime, session, row, "full")).id]


async def _move_epics(session: AsyncSession, row: SourceRow) -> None:
    try:
        async with session.begin_nested():
            await session.execute(
                text("UPDATE epics SET tracker = :tracker WHERE source_id = :source"),
                {"tracker": row.tracker, "source": row.id},
            )
    except IntegrityError:
        raise Problem(409, "Another source already holds epics of the tracker at this base_url.") from None


async def _keep_old_tracker(session: AsyncSession, row: SourceRow, tracker: str) -> None:
    """A full run that has begun read the old tracker: its success says nothing of the new one."""
    await session.execute(
        update(RunRow)
        .where(RunRow.source_id == row.id, RunRow.mode == "full")
        .where(RunRow.started_at.is_not(None), RunRow.finished_at.is_(None))
        .values(tracker=func.coalesce(RunRow.tracker, tracker))
    )


async def _remove_projects(
    runtime: Runtime, session: AsyncSession, row: SourceRow, before: dict[str, Any]
) -> None:
    """A person that narrows the scope wants these removals, so no drop guard holds them.

    A renamed repository may be in the scope under a former name; it is left to the full run, which knows.
    """
    model: Any = KINDS[row.kind].scope
    was, now = model.model_validate(before), model.model_validate(row.scope)
    projects = await session.scalars(select(EpicRow.project).where(EpicRow.source_id == row.id).distinct())
    outside = [project for project in projects if was.covers(project) and not now.covers(project)]
    if outside:
        await remove_projects(session, row.id, outside, runtime.clock())
