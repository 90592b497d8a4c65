"""How far each project of a source is read: cursors, which only go forward, what was read to its end, and
what a full run missed and kept."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime

from sqlalchemy import ColumnElement, or_, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from connectors.base import Project
from mappings.tables import (
    EpicRow,
    NoticeRow,
    RunCursorRow,
    SourceProjectRow,
)


async def record_projects(
    session: AsyncSession, source_id: int, projects: Iterable[Project], now: datetime
) -> None:
    """The projects as the tracker lists them now.

    One it does not list, or that cannot be read, is not to be judged as if it were whole. One not
    listed also loses its cursor: should it come back, its epics did not change meanwhile. Where more
    or fewer people may read along now, what stands on the tickets is judged anew.
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
    """Have the notices of these tickets that could not be written judged anew; whether there are any."""
    return await _reevaluate(session, source_id, now, EpicRow.remote_id.in_(remote_ids), _NOT_WRITTEN)


async def _reevaluate(
    session: AsyncSession, source_id: int, now: datetime, *which: ColumnElement[bool]
) -> bool:
    """Have these epics with a notice judged; whether there are any. Locked in the order that all keep."""
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
    """Both cursors go forward only: the run's, to go on from; the project's, for the runs to come."""
    parameters = {"run": run_id, "source": source_id, "key": key, "cursor": cursor}
    await session.execute(_ADVANCE_CURSORS, parameters)


async def reset_cursors(session: AsyncSession, source_id: int) -> None:
    """By another scope or selector tickets count that have not changed since: every project begins anew."""
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
    """How the reading of a project ended. One that can be believed again has its notices judged anew, else
    those that could not be written, unless nothing is written there for a while."""
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
    """All projects but those in `read`: what is stored of them must not be judged as if it were whole."""
    await session.execute(
        update(SourceProjectRow)
        .where(SourceProjectRow.source_id == source_id, SourceProjectRow.key.not_in(list(read)))
        .values(fully_synced=False)
    )


async def projects_read_by(session: AsyncSession, run_id: int) -> set[str]:
    """The projects a run has read to their end."""
    done = select(RunCursorRow.key).where(RunCursorRow.run_id == run_id, RunCursorRow.done)
    return set(await session.scalars(done))


async def starting_cursor(
    session: AsyncSession, source_id: int, run_id: int, key: str, *, whole: bool
) -> tuple[datetime | None, bool]:
    """The moment a run reads a project from (None: from its beginning), and whether it has read it already.

    A run taken up again goes on from its own cursor, a fresh incremental one from the project's.
    """
    own = await session.get(RunCursorRow, (run_id, key))
    if own is not None and (own.done or own.cursor is not None):
        return own.cursor, own.done
    if whole:
        return None, False
    row = await session.get(SourceProjectRow, (source_id, key))
    return (None if row is None else row.cursor), False
