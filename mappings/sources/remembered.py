"""The list of a source's projects, remembered from one incremental run to the next."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select, text, update

from connectors.base import Project
from mappings.tables import SourceProjectRow, SourceRow

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

# A new project is read from its beginning once it is listed, so nothing of it is lost, but it comes so much
# later; webhooks bring its tickets at once. Four runs of the usual timetable share one list.
REMEMBERED_FOR = timedelta(hours=1)


async def note_listing(session: AsyncSession, source: SourceRow, requested_at: datetime) -> None:
    """The tracker was asked for the list at `requested_at`, by the login of `source`, and the projects are
    stored by it. A person who changed the source since may have given it a login that sees others."""
    unchanged = (SourceRow.id == source.id, SourceRow.version == source.version)
    await session.execute(update(SourceRow).where(*unchanged).values(projects_listed_at=requested_at))


async def remembered_projects(session: AsyncSession, source: SourceRow, now: datetime) -> list[Project]:
    """The projects that the last list had; none where the tracker is to be asked anew.

    That is so where the list is old, or older than the source's last change by a person; where a project had
    a problem or was not read completely, which a new list may explain; and where an epic is in a project that
    the list does not have, and was read after it: a webhook brought it, or the project has another key now.
    One that was read before is of a project that the list has lost, and stays until a full run removes it.
    """
    listed_at = await session.scalar(select(SourceRow.projects_listed_at).where(SourceRow.id == source.id))
    if listed_at is None or not (source.updated_at < listed_at <= now < listed_at + REMEMBERED_FOR):
        return []
    rows = (
        await session.scalars(
            select(SourceProjectRow)
            .where(SourceProjectRow.source_id == source.id, SourceProjectRow.listed)
            .order_by(SourceProjectRow.key)
        )
    ).all()
    if not all(row.fully_synced and row.problem is None for row in rows):
        return []
    parameters = {"source": source.id, "listed": [row.key for row in rows], "since": listed_at}
    if await session.scalar(_ELSEWHERE, parameters):
        return []
    return [Project(row.key, row.public, row.service_desk, remote_id=row.remote_id) for row in rows]


# From project to project by the index, so that it costs the same for any number of epics.
_ELSEWHERE = text(
    "WITH RECURSIVE found(project) AS ("
    " (SELECT project FROM epics WHERE source_id = :source ORDER BY project LIMIT 1)"
    " UNION ALL SELECT (SELECT project FROM epics WHERE source_id = :source AND project > found.project"
    "   ORDER BY project LIMIT 1) FROM found WHERE found.project IS NOT NULL)"
    " SELECT EXISTS (SELECT FROM found WHERE project <> ALL(CAST(:listed AS text[]))"
    "   AND EXISTS (SELECT FROM epics WHERE source_id = :source AND epics.project = found.project"
    "     AND removed_at IS NULL AND read_at >= :since))"
)
