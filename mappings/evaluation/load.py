"""What an evaluation starts from: epics with their links, findings and notice, read in bulk.

A slice of epics takes a fixed number of statements, whatever its length.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import BigInteger, Label, any_, literal, literal_column, select
from sqlalchemy.dialects.postgresql import ARRAY

from connectors.base import Epic, Parent, StatusCategory
from mappings.evaluation.model import CommandAnswer, Finding, FindingState
from mappings.tables import (
    CommandCommentRow,
    EpicRow,
    FindingRow,
    LinkRow,
    NoticeRow,
    among,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession


@dataclass(frozen=True, slots=True)
class EpicRecords:
    """The rows of one epic that its evaluation reads."""

    row: EpicRow
    links: Sequence[LinkRow]
    findings: Sequence[FindingRow]
    notice: NoticeRow | None
    answer: CommandAnswer | None = None


def epic_of(row: EpicRow, former_projects: tuple[str, ...] = ()) -> Epic:
    """The stored epic as a value, without its description. `former_projects` as in `Epic`."""
    return Epic(
        remote_id=row.remote_id,
        key=row.key,
        project=row.project,
        title=row.title,
        url=row.url,
        type=row.type,
        status=row.status,
        status_category=cast("StatusCategory", row.status_category),
        created_at=row.tracker_created_at,
        updated_at=row.tracker_updated_at,
        labels=tuple(row.labels),
        assignees=tuple(row.assignees),
        components=tuple(row.components),
        milestone=row.milestone,
        parent=_parent_of(row),
        fields={name: tuple(values) for name, values in row.fields.items()},
        former_projects=former_projects,
    )


def _parent_of(row: EpicRow) -> Parent | None:
    if row.parent_key is None:
        return None
    return Parent(row.parent_key, row.parent_remote_id or "", row.parent_title or "", row.parent_url or "")


# The columns of an epic that an evaluation reads. They are selected as plain rows: nothing is written
# through them, and objects tracked by the session would cost twice as much.
def _columns_without(*names: str) -> list[Label[Any]]:
    return [
        literal_column(f"epics.{column.name}").label(column.name)
        for column in EpicRow.__table__.columns
        if column.name not in names
    ]


EVALUATED_COLUMNS = _columns_without(
    "content_hash", "removed_at", "alignment", "evaluate_at", "search_text", "description"
)
# Those that are shown, and those that an epic is evaluated by to show the text of its notice.
SHOWN_COLUMNS = _columns_without("content_hash", "removed_at", "evaluate_at", "search_text", "description")


async def lock_due_epics(
    session: AsyncSession, source_id: int, now: datetime, after: int, limit: int
) -> list[EpicRow]:
    """Due epics of a source, by id, locked so that one transaction at a time evaluates each."""
    due = (
        select(*EVALUATED_COLUMNS)
        .select_from(EpicRow)
        .where(
            EpicRow.source_id == source_id,
            EpicRow.evaluate_at <= now,
            EpicRow.id > after,
        )
        .order_by(EpicRow.id)
        .limit(limit)
        .with_for_update()
    )
    return cast("list[EpicRow]", (await session.execute(due)).all())


async def lock_these_epics(session: AsyncSession, ids: Sequence[int]) -> list[EpicRow]:
    """The epics with these ids, locked as `lock_due_epics` does; those that are gone are left out."""
    these = select(*EVALUATED_COLUMNS).select_from(EpicRow).where(among(EpicRow.id, ids))
    return cast("list[EpicRow]", (await session.execute(these.order_by(EpicRow.id).with_for_update())).all())


async def load_records(session: AsyncSession, rows: Sequence[EpicRow]) -> list[EpicRecords]:
    """The records of each of `rows`, in their order: at most three statements for all."""
    ids = literal([row.id for row in rows], ARRAY(BigInteger))
    links: dict[int, list[LinkRow]] = {}
    for link in await session.scalars(
        select(LinkRow).where(LinkRow.epic_id == any_(ids)).order_by(LinkRow.id)
    ):
        links.setdefault(link.epic_id, []).append(link)
    findings: dict[int | None, list[FindingRow]] = {}
    if all(row.evaluated_at is None for row in rows):  # only an evaluation makes findings and notices
        return [EpicRecords(row, links.get(row.id, ()), (), None) for row in rows]
    for finding in await session.scalars(
        select(FindingRow).where(FindingRow.epic_id == any_(ids)).order_by(FindingRow.id)
    ):
        findings.setdefault(finding.epic_id, []).append(finding)
    notices: dict[int, tuple[NoticeRow, CommandCommentRow | None]] = {}
    for notice, comment in await session.execute(_WITH_ANSWERS.where(NoticeRow.epic_id == any_(ids))):
        notices[notice.epic_id] = notice, comment
    return [
        _records(row, links.get(row.id, ()), findings.get(row.id, ()), *notices.get(row.id, (None, None)))
        for row in rows
    ]


# Our comment shows the answer to a command, so the answer is read with the notice alone.
_WITH_ANSWERS = select(NoticeRow, CommandCommentRow).outerjoin_from(
    NoticeRow,
    CommandCommentRow,
    (CommandCommentRow.epic_id == NoticeRow.epic_id) & CommandCommentRow.answer.is_not(None),
)


def _records(
    row: EpicRow,
    links: Sequence[LinkRow],
    findings: Sequence[FindingRow],
    notice: NoticeRow | None,
    comment: CommandCommentRow | None,
) -> EpicRecords:
    if comment is None or comment.answer is None:
        return EpicRecords(row, links, findings, notice)
    is_new = row.evaluated_at is None or row.evaluated_at <= comment.at
    answer = CommandAnswer(comment.answer, is_new, tuple(comment.explained_key_result_ids))
    return EpicRecords(row, links, findings, notice, answer)


def finding_of(row: FindingRow) -> Finding:
    return Finding(
        row.check,
        cast("FindingState", row.state),
        row.opened_at,
        row.until,
        row.reason,
        row.detail,
        row.severity,
        row.resolved_at,
    )


def may_be_on_ticket(row: NoticeRow, claim: str | None = None) -> bool:
    """Whether a comment of ours is on the ticket, or an unconfirmed write may have put one there."""
    return (
        row.remote_id is not None
        or row.write_unconfirmed_at is not None
        or row.claimed_by not in (None, claim)
    )
