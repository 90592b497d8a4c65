"""Tickets that have to wait: for the end of a tracker's pause, or for a project to take comments again."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, exists, func, not_, select, true, update
from sqlalchemy.ext.asyncio import AsyncSession

from mappings.tables import UNSENT, Epic, Notice, SourceProject

SAME_REFUSALS, REFUSED_REST = 5, timedelta(hours=24)


async def put_off(
    session: AsyncSession, source_id: int, until: datetime, *which: ColumnElement[bool]
) -> None:
    """Tickets that nobody is writing now, all of them or those that `which` selects, wait until then."""
    await _set_due(session, source_id, until, Notice.due_at < until, *which)


async def _set_due(
    session: AsyncSession, source_id: int, moment: datetime | None, *which: ColumnElement[bool]
) -> None:
    tickets = (
        select(Notice.id)
        .join(Epic, Epic.id == Notice.epic_id)
        .where(Epic.source_id == source_id, Notice.claimed_by.is_(None), *which)
        .order_by(Notice.id)
        .with_for_update(of=Notice, skip_locked=True)
    )
    await session.execute(update(Notice).where(Notice.id.in_(tickets)).values(due_at=moment))


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
        await _set_due(session, source_id, None, Notice.due_at.is_not(None), Epic.project == project, UNSENT)


async def put_off_refused(session: AsyncSession, source_id: int, now: datetime) -> list[str]:
    """Edits in a project that refuses wait until it is tried again; the projects of which one ticket may be
    tried now."""
    stopped = await session.execute(
        select(SourceProject.key, SourceProject.writes_stopped_at).where(
            SourceProject.source_id == source_id, SourceProject.writes_stopped_at.is_not(None)
        )
    )
    tried_again = []
    for project, since in stopped.all():
        assert since is not None
        if since + REFUSED_REST > now:
            await put_off(session, source_id, since + REFUSED_REST, Epic.project == project)
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
    """The tracker took a comment, or a person changed the source: its tickets, or those of the project, are
    tried again; new comments once the barrier has let them go."""
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
