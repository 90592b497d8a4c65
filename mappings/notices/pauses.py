"""Notices that wait: for the end of a tracker's pause, or for a project that accepts comments again."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, and_, exists, func, not_, select, true, update

from mappings.notices.gates import Hold, Pause
from mappings.notices.state import postpone_writes
from mappings.tables import UNSENT, EpicRow, NoticeRow, SourceProjectRow

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy.ext.asyncio import AsyncSession

    from connectors.base import Project

SAME_REFUSALS, REFUSAL_PAUSE = 5, timedelta(hours=24)
_LISTED = "Its listing says: "


async def hold_writes(session: AsyncSession, source_id: int, hold: Hold, *which: ColumnElement[bool]) -> None:
    """Postpone the unclaimed writes of a source, or those that `which` selects, as a gate says."""
    assert hold.until is not None  # the gates of the write hold until a moment
    earlier = NoticeRow.due_at < hold.until
    await postpone_writes(session, source_id, hold.until, earlier, *which, why=hold.detail)


# --- projects that refuse -------------------------------------------------------------------


def may_be_released(now: datetime) -> ColumnElement[bool]:
    """Whether the notice of a query may be released: the gate `project`, for many notices at once. No new
    comment is tried in a paused project."""
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
    await postpone_writes(session, source_id, None, *queued, why=_pause_text(project, why))


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


async def paused_projects(session: AsyncSession, source_id: int) -> dict[str, Pause]:
    """The pause of each project that refused comments, by key. In one whose pause has ended the writer may
    try one ticket (`allow_one_attempt`)."""
    paused = await session.execute(
        select(
            SourceProjectRow.key, SourceProjectRow.writes_paused_at, SourceProjectRow.writes_paused_reason
        ).where(SourceProjectRow.source_id == source_id, SourceProjectRow.writes_paused_at.is_not(None))
    )
    return {
        project: Pause(until=since + REFUSAL_PAUSE, detail=_pause_text(project, str(why)))
        for project, since, why in paused
        if since is not None
    }


async def allow_one_attempt(session: AsyncSession, source_id: int, project: str, until: datetime) -> None:
    """Pause a project again until then: the writer tries one ticket, and the others wait for its result."""
    await session.execute(
        update(SourceProjectRow)
        .where(SourceProjectRow.source_id == source_id, SourceProjectRow.key == project)
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
        waiting = NoticeRow.due_at > now, EpicRow.project == key
        await postpone_writes(session, source_id, None, *waiting, UNSENT, why=None)
        await postpone_writes(session, source_id, now, *waiting, why=None)
    if project is None:
        await postpone_writes(session, source_id, now, NoticeRow.due_at > now, why=None)
