"""A notice as people find it, or would find it, on their ticket.

A route gives a template `ticket=await notice_on_ticket(runtime, session, notice_id)`; the template says
`{% import "ticket.html" as tickets %}` and `{{ tickets.ticket(ticket) }}` for the whole box, or
`{{ tickets.says(ticket.text) }}` for the words alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import undefer

from app.api.bodies import composed_texts
from app.runtime import Runtime
from connectors.document import Document, document_from_json
from connectors.registry import KINDS
from mappings.evaluation.load import load_records
from mappings.tables import EpicRow, NoticeRow, SourceRow


@dataclass(frozen=True, slots=True)
class NoticeOnTicket:
    """`text`: None where nothing is there and nothing would be. `is_there`: `text` is on the ticket; else it
    is what would be written now. `tracker`: Jira or GitHub."""

    notice: NoticeRow
    epic: EpicRow
    source: str
    tracker: str
    text: Document | None
    is_there: bool


TRACKERS = {"jira": "Jira", "github": "GitHub"}


async def notice_on_ticket(runtime: Runtime, session: AsyncSession, notice_id: int) -> NoticeOnTicket | None:
    """None where there is no such notice, or its epic was removed."""
    found = await session.execute(
        select(NoticeRow, EpicRow, SourceRow)
        .join(EpicRow, EpicRow.id == NoticeRow.epic_id)
        .join(SourceRow, SourceRow.id == EpicRow.source_id)
        .where(NoticeRow.id == notice_id, EpicRow.removed_at.is_(None))
        .options(undefer(NoticeRow.posted_document))
    )
    row = found.one_or_none()
    if row is None:
        return None
    notice, epic, source = row
    kind = KINDS[source.kind]
    composed = await composed_texts(
        runtime, session, await load_records(session, [epic]), await runtime.now(session)
    )
    unwritten = composed.get(epic.id)
    text: Document | None
    if unwritten is not None:
        text = kind.shown(unwritten.document)
    elif notice.posted_document is not None:
        text = kind.shown(document_from_json(notice.posted_document))
    else:
        text = kind.shown_body(notice.posted_body) if notice.posted_body else None
    return NoticeOnTicket(
        notice, epic, source.name, TRACKERS.get(source.kind, source.kind), text, unwritten is None
    )
