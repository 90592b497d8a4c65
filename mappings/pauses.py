"""Tickets that have to wait: for the end of a tracker's pause, or for a project to take comments again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, exists, func, not_, select, true, update
from sqlalchemy.ext.asyncio import AsyncSession

from connectors.base import Project
from mappings.tables import UNSENT, Epic, Notice, SourceProject

SAME_REFUSALS, REFUSED_REST = 5, timedelta(hours=24)
_LISTED = "Its listing says: "


async def put_off(
    session: AsyncSession, source_id: int, until: datetime, why: str, *which: ColumnElement[bool]
) -> None:
    """Tickets that nobody is writing now, all of them or those that `which` selects, wait until then; their
    notices say why."""
    await _set_due(session, source_id, until, Notice.due_at < until, *which, why=why)


async def _set_due(
    session: AsyncSession,
    source_id: int,
    moment: datetime | None,
    *which: ColumnElement[bool],
    why: str | None = None,
) -> None:
    tickets = (
        select(Notice.id)
        .join(Epic, Epic.id == Notice.epic_id)
        .where(Epic.source_id == source_id, Notice.claimed_by.is_(None), *which)
        .order_by(Notice.id)
        .with_for_update(of=Notice, skip_locked=True)
    )
    await session.execute(update(Notice).where(Notice.id.in_(tickets)).values(due_at=moment, detail=why))


# --- projects that refuse -------------------------------------------------------------------


def may_go(now: datetime) -> ColumnElement[bool]:
    """Whether the notice of a query may be let go: nothing new is tried in a project that refuses."""
    refuses = exists().where(
        SourceProject.source_id == Epic.source_id,
        SourceProject.key == Epic.project,
        SourceProject.writes_stopped_at > now - REFUSED_REST,
    )
    return not_(and_(refuses, UNSENT))


async def refused(session: AsyncSession, source_id: int, project: str, detail: str, now: datetime) -> None:
    """A ticket of the project may not be written. Where that is so of many, in the same words, no other is
    tried until `REFUSED_REST` is over or a person has changed the source."""
    alike = await session.scalar(
        select(func.count())
        .select_from(Notice)
        .join(Epic, Epic.id == Notice.epic_id)
        .where(Epic.source_id == source_id, Epic.project == project, Epic.gone_at.is_(None))
        .where(Notice.state == "failed", Notice.detail == detail)
    )
    again = SourceProject.writes_stopped_why == detail
    stopped = await session.execute(
        update(SourceProject)
        .where(SourceProject.source_id == source_id, SourceProject.key == project)
        .where(true() if (alike or 0) >= SAME_REFUSALS else again)
        .values(writes_stopped_at=now, writes_stopped_why=detail)
        .returning(SourceProject.key)
    )
    if stopped.all():
        # New comments go back behind the barrier, so that they take no slots of the day from other projects.
        await _behind_the_barrier(session, source_id, project, detail)


async def _behind_the_barrier(session: AsyncSession, source_id: int, project: str, why: str) -> None:
    queued = Notice.due_at.is_not(None), Epic.project == project, UNSENT
    await _set_due(session, source_id, None, *queued, why=_for_a_while(project, why))


def _for_a_while(project: str, why: str) -> str:
    return f"Nothing is written in {project} for a while: {why}"


async def note_listed(
    session: AsyncSession, source_id: int, projects: Iterable[Project], now: datetime
) -> None:
    """Of a project in which by the tracker's own list nobody can write, nothing is tried; where it could be
    written again it is at once."""
    listed = {project.key: project.read_only for project in projects}
    of_source = SourceProject.source_id == source_id
    for key, why in listed.items():
        if why is not None:
            stopped = {"writes_stopped_at": now, "writes_stopped_why": f"{_LISTED}{why}"}
            await session.execute(
                update(SourceProject).where(of_source, SourceProject.key == key).values(stopped)
            )
            await _behind_the_barrier(session, source_id, key, f"{_LISTED}{why}")
    before = select(SourceProject.key).where(of_source, SourceProject.writes_stopped_why.startswith(_LISTED))
    for key in (await session.scalars(before)).all():
        if key in listed and listed[key] is None:
            await accepts_writes(session, source_id, now, key)


async def put_off_refused(session: AsyncSession, source_id: int, now: datetime) -> list[str]:
    """Edits in a project that refuses wait until it is tried again; the projects of which one ticket may be
    tried now."""
    stopped = await session.execute(
        select(SourceProject.key, SourceProject.writes_stopped_at, SourceProject.writes_stopped_why).where(
            SourceProject.source_id == source_id, SourceProject.writes_stopped_at.is_not(None)
        )
    )
    tried_again = []
    for project, since, why in stopped.all():
        assert since is not None
        if since + REFUSED_REST > now:
            until, told = since + REFUSED_REST, _for_a_while(project, str(why))
            await put_off(session, source_id, until, told, Epic.project == project)
        else:
            tried_again.append(project)
    return tried_again


async def others_wait(
    session: AsyncSession, source_id: int, tried_again: Sequence[str], notice: Notice, until: datetime
) -> None:
    """One ticket of such a project at a time: the others wait to see what becomes of it."""
    if not tried_again:
        return
    project = select(Epic.project).where(Epic.id == notice.epic_id).scalar_subquery()
    await session.execute(
        update(SourceProject)
        .where(SourceProject.source_id == source_id, SourceProject.key.in_(tried_again))
        .where(SourceProject.key == project)
        .values(writes_stopped_at=until - REFUSED_REST)
    )


async def accepts_writes(
    session: AsyncSession, source_id: int, now: datetime, project: str | None = None
) -> None:
    """The tracker took a comment there, or a person changed the source or withdrew a run: the tickets of the
    project, or all, are tried again; new comments of one that refused once the barrier has let them go."""
    stopped = (
        update(SourceProject)
        .where(SourceProject.source_id == source_id, SourceProject.writes_stopped_at.is_not(None))
        .values(writes_stopped_at=None, writes_stopped_why=None)
        .returning(SourceProject.key)
    )
    if project is not None:
        stopped = stopped.where(SourceProject.key == project)
    for key in (await session.scalars(stopped)).all():
        await _set_due(session, source_id, None, Notice.due_at > now, Epic.project == key, UNSENT)
        await _set_due(session, source_id, now, Notice.due_at > now, Epic.project == key)
    if project is None:
        await _set_due(session, source_id, now, Notice.due_at > now)
