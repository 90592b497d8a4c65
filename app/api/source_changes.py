"""What it entails to make or change a source: runs to do, epics to move or to leave out."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.problems import Problem
from app.changes import rejudge
from app.runtime import Runtime
from connectors.registry import KINDS
from mappings import ledger, reach, store, touching
from mappings.tables import READING_MODES, Epic, Run, Source

# Members whose change has consequences.
MATTERS = ("name", "scope", "epics", "schedule", "notices", "tracker")


async def start_run(runtime: Runtime, session: AsyncSession, row: Source, mode: str) -> Run:
    run = await ledger.open_run(session, row.id, mode, runtime.clock())
    await session.flush()
    await runtime.wake_run(session, run.id, run.mode)
    return run


async def follow_up(
    runtime: Runtime, session: AsyncSession, row: Source, before: dict[str, Any]
) -> list[int]:
    """What a change of name, scope, selector, address or mode entails; the ids of the runs it opened."""
    opened: list[int] = []
    if before["tracker"] != row.tracker:
        await _move_epics(session, row)
        await _name_tracker(session, row, before["tracker"])
    if before["scope"] != row.scope:
        await _leave_out(runtime, session, row, before["scope"])
    if before["name"] != row.name:
        # Rules and scopes of the policy may name it.
        opened += await rejudge(runtime, session, touching.of_source(row.id))
    elif before["notices"] != row.notices or before["scope"] != row.scope:
        opened += await rejudge(runtime, session, touching.with_gap_or_notice(row.id))
    if any(before[name] != getattr(row, name) for name in ("scope", "epics", "tracker")):
        await reach.forget_cursors(session, row.id)
        opened.append((await start_run(runtime, session, row, "full")).id)
    elif has_timetable(row.schedule) and not has_timetable(before["schedule"]):
        opened += await _first_run(runtime, session, row)
    return opened


def has_timetable(schedule: dict[str, Any]) -> bool:
    return schedule["every"] is not None or schedule["full"] is not None


async def _first_run(runtime: Runtime, session: AsyncSession, row: Source) -> list[int]:
    """The run that a source starts with as soon as it has a timetable; none where it has run before."""
    before = select(Run.id).where(Run.source_id == row.id, Run.mode.in_(READING_MODES)).limit(1)
    if (await session.scalars(before)).first() is not None:
        return []
    return [(await start_run(runtime, session, row, "full")).id]


async def _move_epics(session: AsyncSession, row: Source) -> None:
    try:
        async with session.begin_nested():
            await session.execute(
                text("UPDATE epics SET tracker = :tracker WHERE source_id = :source"),
                {"tracker": row.tracker, "source": row.id},
            )
    except IntegrityError:
        raise Problem(409, "Another source already holds epics of the tracker at this base_url.") from None


async def _name_tracker(session: AsyncSession, row: Source, tracker: str) -> None:
    """A run that has begun says nothing of the new tracker, though it should end as a success."""
    await session.execute(
        update(Run)
        .where(Run.source_id == row.id, Run.mode == "full")
        .where(Run.started_at.is_not(None), Run.finished_at.is_(None))
        .values(tracker=func.coalesce(Run.tracker, tracker))
    )


async def _leave_out(runtime: Runtime, session: AsyncSession, row: Source, before: dict[str, Any]) -> None:
    """A narrower scope is a person's word for the removals: no guard asks again.

    A repository that was renamed is in the scope by a name it had before; the full run knows.
    """
    model: Any = KINDS[row.kind].scope
    was, now = model.model_validate(before), model.model_validate(row.scope)
    projects = await session.scalars(select(Epic.project).where(Epic.source_id == row.id).distinct())
    outside = [project for project in projects if was.covers(project) and not now.covers(project)]
    if outside:
        await store.leave_out(session, row.id, outside, runtime.clock())
