"""How far each project of a source is read: cursors, which only go forward, and whether it is complete."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert

from mappings.tables import EpicRow, NoticeRow, RunCursorRow, SourceProjectRow

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from connectors.base import Project


async def record_projects(
    session: AsyncSession, source_id: int, projects: Iterable[Project], now: datetime
) -> None:
    """Store the projects as the tracker lists them now.

    A project that is not listed, or that cannot be read, counts as incomplete. One that is not listed also
    loses its cursor: if it comes back, its epics are read again although they did not change. If the audience
    of a project changed, its epics with a notice are evaluated again.
    """
    listed = {project.key: project for project in projects}
    before = select(SourceProjectRow).where(SourceProjectRow.source_id == source_id)
    changed = [
        row.key
        for row in await session.scalars(before)
        if (now_listed := listed.get(row.key)) is not None
        and (row.public, row.service_desk) != (now_listed.public, now_listed.service_desk)
    ]
    rows = [
        {
            "source_id": source_id,
            "key": key,
            "public": project.public,
            "service_desk": project.service_desk,
            "problem": project.problem,
        }
        for key, project in sorted(listed.items())
    ]
    if rows:
        fresh = insert(SourceProjectRow).values(rows)
        facts = {name: fresh.excluded[name] for name in ("public", "service_desk", "problem")}
        await session.execute(fresh.on_conflict_do_update(index_elements=["source_id", "key"], set_=facts))
    await session.execute(
        update(SourceProjectRow)
        .where(SourceProjectRow.source_id == source_id, SourceProjectRow.key.not_in(list(listed)))
        .values(cursor=None)
    )
    await _reevaluate(session, source_id, now, EpicRow.project.in_(changed))
    await mark_incomplete(
        session, source_id, [key for key, project in listed.items() if project.problem is None]
    )


_NOT_WRITTEN = or_(NoticeRow.state == "failed", NoticeRow.reason == "stale")


async def retry_notices(
    session: AsyncSession, source_id: int, remote_ids: Sequence[str], now: datetime
) -> bool:
    """Have these tickets evaluated again if their notices could not be written; whether there were any."""
    return await _reevaluate(session, source_id, now, EpicRow.remote_id.in_(remote_ids), _NOT_WRITTEN)


async def _reevaluate(
    session: AsyncSession, source_id: int, now: datetime, *which: ColumnElement[bool]
) -> bool:
    """Mark these epics for evaluation if they have a notice; whether there were any. Locks in order of id."""
    waiting = (
        select(EpicRow.id)
        .join(NoticeRow, NoticeRow.epic_id == EpicRow.id)
        .where(EpicRow.source_id == source_id, *which)
        .order_by(EpicRow.id)
        .with_for_update(of=EpicRow)
    )
    marked = update(EpicRow).where(EpicRow.id.in_(waiting)).values(evaluate_at=now).returning(EpicRow.id)
    return bool((await session.scalars(marked)).all())


_ADVANCE_CURSORS = text(
    "WITH own AS (INSERT INTO run_cursors (run_id, key, cursor) VALUES (:run, :key, :cursor)"
    "   ON CONFLICT (run_id, key) DO UPDATE SET cursor = greatest(run_cursors.cursor, excluded.cursor))"
    " UPDATE source_projects SET cursor = greatest(cursor, :cursor)"
    " WHERE source_id = :source AND key = :key AND cursor IS DISTINCT FROM :cursor"
)


async def advance_cursors(
    session: AsyncSession, source_id: int, run_id: int, key: str, cursor: datetime
) -> None:
    """Move both cursors, only forward: the run's, to resume from, and the project's, for later runs."""
    parameters = {"run": run_id, "source": source_id, "key": key, "cursor": cursor}
    await session.execute(_ADVANCE_CURSORS, parameters)


async def reset_cursors(session: AsyncSession, source_id: int) -> None:
    """Have every project read from its beginning: a new scope or selector may include unchanged tickets."""
    await session.execute(
        update(SourceProjectRow).where(SourceProjectRow.source_id == source_id).values(cursor=None)
    )


async def mark_project_done(session: AsyncSession, run_id: int, key: str) -> None:
    await session.execute(
        insert(RunCursorRow)
        .values(run_id=run_id, key=key, done=True)
        .on_conflict_do_update(index_elements=["run_id", "key"], set_={"done": True})
    )


async def record_project_read(
    session: AsyncSession, source_id: int, key: str, now: datetime, *, fully_synced: bool, problem: str | None
) -> None:
    """Store how the reading of a project ended.

    If the project is complete again, its epics with a notice are evaluated again. If it was complete before,
    only those whose notice could not be written are, and none while the project is paused.
    """
    before = await session.execute(
        select(SourceProjectRow.fully_synced, SourceProjectRow.writes_paused_at)
        .where(SourceProjectRow.source_id == source_id, SourceProjectRow.key == key)
        .with_for_update()
    )
    was_fully_synced, paused_at = before.one_or_none() or (False, None)
    await session.execute(
        update(SourceProjectRow)
        .where(SourceProjectRow.source_id == source_id, SourceProjectRow.key == key)
        .values(fully_synced=fully_synced, problem=problem)
    )
    if fully_synced and not (was_fully_synced and paused_at):
        some = (_NOT_WRITTEN,) if was_fully_synced else ()
        await _reevaluate(session, source_id, now, EpicRow.project == key, *some)


async def mark_incomplete(session: AsyncSession, source_id: int, read: Collection[str]) -> None:
    """Mark all projects except those in `read` as incomplete, and evaluations treat them so."""
    await session.execute(
        update(SourceProjectRow)
        .where(SourceProjectRow.source_id == source_id, SourceProjectRow.key.not_in(list(read)))
        .values(fully_synced=False)
    )


async def projects_read_by(session: AsyncSession, run_id: int) -> set[str]:
    """The projects that a run has read completely."""
    done = select(RunCursorRow.key).where(RunCursorRow.run_id == run_id, RunCursorRow.done)
    return set(await session.scalars(done))


async def starting_cursor(
    session: AsyncSession, source_id: int, run_id: int, key: str, *, whole: bool
) -> tuple[datetime | None, bool]:
    """Where a run starts to read a project (None: at its beginning), and whether the run has already read it.

    A resumed run continues at its own cursor, a new incremental run at the project's. `whole` is a full run.
    """
    own = await session.get(RunCursorRow, (run_id, key))
    if own is not None and (own.done or own.cursor is not None):
        return own.cursor, own.done
    if whole:
        return None, False
    row = await session.get(SourceProjectRow, (source_id, key))
    return (None if row is None else row.cursor), False
