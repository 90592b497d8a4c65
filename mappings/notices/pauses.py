"""Notices that wait: for the end of a tracker's pause, or for a project that accepts comments again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, exists, func, not_, select, true, update
from sqlalchemy.ext.asyncio import AsyncSession

from connectors.base import Project
from mappings.tables import UNSENT, EpicRow, NoticeRow, SourceProjectRow

SAME_REFUSALS, REFUSAL_PAUSE = 5, timedelta(hours=24)
_LISTED = "Its listing says: "


async def postpone_notices(
    session: AsyncSession, source_id: int, until: datetime, why: str, *which: ColumnElement[bool]
) -> None:
    """Postpone the unclaimed notices of a source, or those that `which` selects, to `until` at the earliest;
    `why` becomes their detail."""
    await _set_due(session, source_id, until, NoticeRow.due_at < until, *which, why=why)


async def _set_due(
    session: AsyncSession,
    source_id: int,
    moment: datetime | None,
    *which: ColumnElement[bool],
    why: str | None = None,
) -> None:
    tickets = (
        select(NoticeRow.id)
        .join(EpicRow, EpicRow.id == NoticeRow.epic_id)
        .where(EpicRow.source_id == source_id, NoticeRow.claimed_by.is_(None), *which)
        .order_by(NoticeRow.id)
        .with_for_update(of=NoticeRow, skip_locked=True)
    )
    await session.execute(
        update(NoticeRow).where(NoticeRow.id.in_(tickets)).values(due_at=moment, detail=why)
    )


# --- projects that refuse -------------------------------------------------------------------


def may_be_released(now: datetime) -> ColumnElement[bool]:
    """Whether the notice of a query may be released: no new comment is tried in a paused project."""
    refuses = exists().where(
        SourceProjectRow.source_id == EpicRow.source_id,
        SourceProjectRow.key == EpicRow.project,
        SourceProjectRow.writes_paused_at > now - REFUSAL_PAUSE,
    )
    return not_(and_(refuses, UNSENT))


async def record_refusal(
    session: AsyncSession, source_id: int, project: str, detail: str, now: datetime
) -> None:
    """Pause a project whose tracker refuses comments; called after a ticket of it was refused with `detail`.

    If `SAME_REFUSALS` tickets failed with the same text, or the project was paused with it before, no other
    ticket is tried until `REFUSAL_PAUSE` is over or a person changes the source.
    """
    alike = await session.scalar(
        select(func.count())
        .select_from(NoticeRow)
        .join(EpicRow, EpicRow.id == NoticeRow.epic_id)
        .where(EpicRow.source_id == source_id, EpicRow.project == project, EpicRow.removed_at.is_(None))
        .where(NoticeRow.state == "failed", NoticeRow.detail == detail)
    )
    again = SourceProjectRow.writes_paused_reason == detail
    paused = await session.execute(
        update(SourceProjectRow)
        .where(SourceProjectRow.source_id == source_id, SourceProjectRow.key == project)
        .where(true() if (alike or 0) >= SAME_REFUSALS else again)
        .values(writes_paused_at=now, writes_paused_reason=detail)
        .returning(SourceProjectRow.key)
    )
    if paused.all():
        # New comments become unreleased again: they must not take daily cap slots from other projects.
        await _unrelease(session, source_id, project, detail)


async def _unrelease(session: AsyncSession, source_id: int, project: str, why: str) -> None:
    queued = NoticeRow.due_at.is_not(None), EpicRow.project == project, UNSENT
    await _set_due(session, source_id, None, *queued, why=_pause_text(project, why))


def _pause_text(project: str, why: str) -> str:
    return f"Nothing is written in {project} for a while: {why}"


async def record_read_only_projects(
    session: AsyncSession, source_id: int, projects: Iterable[Project], now: datetime
) -> None:
    """Pause the projects that the tracker lists as read-only; resume those it lists as writable again."""
    listed = {project.key: project.read_only for project in projects}
    of_source = SourceProjectRow.source_id == source_id
    for key, why in listed.items():
        if why is not None:
            paused = {"writes_paused_at": now, "writes_paused_reason": f"{_LISTED}{why}"}
            await session.execute(
                update(SourceProjectRow).where(of_source, SourceProjectRow.key == key).values(paused)
            )
            await _unrelease(session, source_id, key, f"{_LISTED}{why}")
    before = select(SourceProjectRow.key).where(
        of_source, SourceProjectRow.writes_paused_reason.startswith(_LISTED)
    )
    for key in (await session.scalars(before)).all():
        if key in listed and listed[key] is None:
            await resume_writes(session, source_id, now, key)


async def postpone_paused_projects(session: AsyncSession, source_id: int, now: datetime) -> list[str]:
    """Postpone the notices of paused projects to the end of the pause. Returns the projects whose pause is
    over, in each of which the writer may try one ticket now."""
    paused = await session.execute(
        select(
            SourceProjectRow.key, SourceProjectRow.writes_paused_at, SourceProjectRow.writes_paused_reason
        ).where(SourceProjectRow.source_id == source_id, SourceProjectRow.writes_paused_at.is_not(None))
    )
    retried_projects = []
    for project, since, why in paused.all():
        assert since is not None
        if since + REFUSAL_PAUSE > now:
            until, text = since + REFUSAL_PAUSE, _pause_text(project, str(why))
            await postpone_notices(session, source_id, until, text, EpicRow.project == project)
        else:
            retried_projects.append(project)
    return retried_projects


async def allow_one_attempt(
    session: AsyncSession, source_id: int, retried_projects: Sequence[str], notice: NoticeRow, until: datetime
) -> None:
    """Pause the project of `notice` until `until`, if it is one of `retried_projects`: the writer tries one
    ticket, and the others wait for its result."""
    if not retried_projects:
        return
    project = select(EpicRow.project).where(EpicRow.id == notice.epic_id).scalar_subquery()
    await session.execute(
        update(SourceProjectRow)
        .where(SourceProjectRow.source_id == source_id, SourceProjectRow.key.in_(retried_projects))
        .where(SourceProjectRow.key == project)
        .values(writes_paused_at=until - REFUSAL_PAUSE)
    )


async def resume_writes(
    session: AsyncSession, source_id: int, now: datetime, project: str | None = None
) -> None:
    """End the pause of one project or of all, and make their waiting notices due at `now`.

    Called when the tracker accepted a comment, or when a person changed the source or withdrew a run. New
    comments of a paused project first have to be released again.
    """
    paused = (
        update(SourceProjectRow)
        .where(SourceProjectRow.source_id == source_id, SourceProjectRow.writes_paused_at.is_not(None))
        .values(writes_paused_at=None, writes_paused_reason=None)
        .returning(SourceProjectRow.key)
    )
    if project is not None:
        paused = paused.where(SourceProjectRow.key == project)
    for key in (await session.scalars(paused)).all():
        await _set_due(session, source_id, None, NoticeRow.due_at > now, EpicRow.project == key, UNSENT)
        await _set_due(session, source_id, now, NoticeRow.due_at > now, EpicRow.project == key)
    if project is None:
        await _set_due(session, source_id, now, NoticeRow.due_at > now)
