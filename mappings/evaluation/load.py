"""What an evaluation starts from: epics with their links, findings and notice, read in bulk.

A slice of epics takes a fixed number of statements, whatever its length.
"""

from __future__ import annotations

from collections import namedtuple
from dataclasses import dataclass
from datetime import UTC, datetime
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal, cast

from sqlalchemy import Label, Select, and_, literal_column, or_, select

from connectors.base import Epic, Parent, StatusCategory
from mappings.evaluation.model import CommandAnswer, Finding, FindingState, SetAside
from mappings.plain_rows import (
    FINDINGS_OF_EPICS,
    LINKS_OF_EPICS,
    NOTICE_COLUMNS,
    PlainFinding,
    PlainLink,
    PlainNotice,
)
from mappings.tables import (
    CommandCommentRow,
    DecisionRow,
    EpicRow,
    FindingRow,
    LinkRow,
    NoticeRow,
    ReviewRow,
    SourceRow,
    among,
    among_ids,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import date

    from sqlalchemy.ext.asyncio import AsyncSession


NOT_READ = datetime.min.replace(tzinfo=UTC)  # in place of a time that a query left out


@dataclass(slots=True)  # as in `mappings.evaluation.model`
class EpicRecords:
    """The rows of one epic that its evaluation reads. `commanded` as in `History`."""

    row: EpicRow
    links: Sequence[LinkRow]
    findings: Sequence[FindingRow]
    notice: NoticeRow | None
    answer: CommandAnswer | None = None
    commanded: bool = False
    set_aside: SetAside | None = None


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


def matched_epic_of(row: Any, former_projects: tuple[str, ...] = ()) -> Epic:
    """The epic of a row of `MATCHED_COLUMNS`: what rules read of it, all else empty."""
    return Epic(
        remote_id="",
        key="",
        project=row.project,
        title=row.title,
        url="",
        type=row.type,
        status="",
        status_category="todo",
        created_at=NOT_READ,
        updated_at=NOT_READ,
        labels=tuple(row.labels),
        assignees=tuple(row.assignees),
        components=tuple(row.components),
        milestone=row.milestone,
        parent=None if row.parent_key is None else Parent(row.parent_key),
        fields={name: tuple(values) for name, values in row.fields.items()},
        former_projects=former_projects,
    )


def _parent_of(row: EpicRow) -> Parent | None:
    if row.parent_key is None:
        return None
    return Parent(row.parent_key, row.parent_remote_id or "", row.parent_title or "", row.parent_url or "")


# The columns of an epic that an evaluation reads. They are selected as plain rows: nothing is written
# through them, and objects tracked by the session would cost twice as much.
def _columns(*names: str) -> tuple[Label[Any], ...]:
    return tuple(literal_column(f"epics.{name}").label(name) for name in names)


def _columns_without(*names: str) -> tuple[Label[Any], ...]:
    return _columns(*(column.name for column in EpicRow.__table__.columns if column.name not in names))


EVALUATED_COLUMNS = _columns_without(
    *("content_hash", "removed_at", "alignment", "evaluate_at", "search_text", "description"),
    *("starts_on", "due_on", "points", "finished_at", "children", "children_done", "children_at"),
    *("comments_changed_at", "comments_read_at"),
)
# As which the rows of these are evaluated: a member of SQLAlchemy's rows takes ten times as long, and an
# evaluation reads forty of each epic.
_NAMES: Sequence[str] = [column.name for column in EVALUATED_COLUMNS]
_EvaluatedRow: Any = namedtuple("_EvaluatedRow", _NAMES)  # type: ignore[misc]  # those of the table

# Those that rules read, and the id: `matched_epic_of`.
MATCHED_COLUMNS = _columns(
    *("id", "project", "title", "type", "labels", "assignees", "components", "milestone", "parent_key"),
    "fields",
)
# Those that are shown, and those that an epic is evaluated by to show the text of its notice.
SHOWN_COLUMNS = _columns_without("content_hash", "removed_at", "evaluate_at", "search_text", "description")


async def load_epics_to_show(session: AsyncSession, ids: Sequence[int]) -> list[Any]:
    """The epics with these ids in this order, those that are gone left out; as plain rows, each with its
    `source`'s name. They are read after their ids, which an index alone may give."""
    rows: Iterator[Any] = map(_ShownRow._make, await session.execute(_SHOWN, {"ids": ids}))
    by_id = {row.id: row for row in rows}
    return [by_id[id] for id in ids if id in by_id]


_EPICS, _SOURCES = EpicRow.__table__, SourceRow.__table__  # columns of these name no class
_SHOWN = (
    select(*SHOWN_COLUMNS, _SOURCES.c.name.label("source"))
    .select_from(_EPICS)
    .join(_SOURCES, _SOURCES.c.id == _EPICS.c.source_id)
    .where(among_ids(_EPICS.c.id))
)
_ShownRow: Any = namedtuple("_ShownRow", [*(column.name for column in SHOWN_COLUMNS), "source"])  # type: ignore[misc]


async def due_epics(
    session: AsyncSession, source_id: int, now: datetime, after: int, limit: int
) -> Sequence[int]:
    """The ids of due epics of a source behind `after`, in order. To find the first of them takes a look at
    all: by the index of what is due, however few there are."""
    due = select(EpicRow.id).where(
        EpicRow.source_id == source_id, EpicRow.evaluate_at <= now, EpicRow.id > after
    )
    return (await session.scalars(due.order_by(EpicRow.id).limit(limit))).all()


async def lock_due_epics(session: AsyncSession, ids: Sequence[int], now: datetime) -> list[EpicRow]:
    """Those of these epics that are still due, locked so that one transaction at a time evaluates each."""
    due = select(*EVALUATED_COLUMNS).select_from(EpicRow)
    due = due.where(among(EpicRow.id, ids), EpicRow.evaluate_at <= now)
    return await _evaluated_rows(session, due.order_by(EpicRow.id).with_for_update())


async def lock_these_epics(session: AsyncSession, ids: Sequence[int]) -> list[EpicRow]:
    """The epics with these ids, locked as `lock_due_epics` does; those that are gone are left out."""
    these = select(*EVALUATED_COLUMNS).select_from(EpicRow).where(among(EpicRow.id, ids))
    return await _evaluated_rows(session, these.order_by(EpicRow.id).with_for_update())


async def _evaluated_rows(session: AsyncSession, query: Select[Any]) -> list[EpicRow]:
    return cast("list[EpicRow]", list(map(_EvaluatedRow._make, await session.execute(query))))


def new_row(row: Mapping[str, Any], id: int, source_id: int, tracker: str, now: datetime) -> EpicRow:
    """A row that is about to be stored (`epics.rows.row_of`), as it would be read back."""
    created, updated = row["tracker_created_at"], row["tracker_updated_at"]
    stored = {
        "id": id,
        "source_id": source_id,
        "tracker": tracker,
        "read_at": now,
        "tracker_created_at": min(created.astimezone(UTC), now),
        "tracker_updated_at": updated.astimezone(UTC),
    }
    read = stored.get
    return cast("EpicRow", _EvaluatedRow._make([read(name, row.get(name)) for name in _NAMES]))


async def load_records(session: AsyncSession, rows: Sequence[EpicRow]) -> list[EpicRecords]:
    """The records of each of `rows`, in their order: at most three statements for all, and one more where a
    decision sets one of them aside."""
    ids = {"ids": [row.id for row in rows]}

    async def findings() -> Iterable[FindingRow]:
        return await session.scalars(_FINDINGS, ids)

    links, notices = await session.scalars(_LINKS, ids), await session.execute(_NOTICES, ids)
    return await _records(session, rows, links, notices, findings)


async def load_records_to_show(session: AsyncSession, rows: Sequence[EpicRow]) -> list[EpicRecords]:
    """The same as plain rows, of which nothing is written: they cost less than half of it."""
    ids = {"ids": [row.id for row in rows]}

    async def findings() -> Iterable[Any]:
        return map(PlainFinding._make, await session.execute(FINDINGS_OF_EPICS, ids))

    links = map(PlainLink._make, await session.execute(LINKS_OF_EPICS, ids))
    notices = map(_plain_notice, await session.execute(_PLAIN_NOTICES, ids))
    return await _records(session, rows, links, notices, findings)


async def _records(
    session: AsyncSession,
    rows: Sequence[EpicRow],
    found_links: Iterable[Any],
    found_notices: Iterable[Any],
    load_findings: Callable[[], Awaitable[Iterable[Any]]],
) -> list[EpicRecords]:
    links: dict[int, list[LinkRow]] = {}
    # Sorted here: in the order of an index, PostgreSQL would rather read all links than look for these.
    for link in sorted(found_links, key=_ID):
        links.setdefault(link.epic_id, []).append(link)
    commands: dict[int, list[CommandCommentRow]] = {}
    notices: dict[int, NoticeRow] = {}
    findings: dict[int | None, list[FindingRow]] = {}
    for epic_id, notice, comment in found_notices:
        if notice is not None:
            notices[epic_id] = notice
        if comment is not None:
            commands.setdefault(epic_id, []).append(comment)
    if any(row.evaluated_at is not None for row in rows):  # only an evaluation makes findings
        for finding in sorted(await load_findings(), key=_ID):
            findings.setdefault(finding.epic_id, []).append(finding)
    aside = await _load_set_aside(session, [row for row in rows if row.set_aside is not None])
    return [
        EpicRecords(
            row,
            links.get(row.id, ()),
            findings.get(row.id, ()),
            notices.get(row.id),
            *_answer(row, commands.get(row.id, ())),
            aside.get(row.id),
        )
        for row in rows
    ]


async def _load_set_aside(session: AsyncSession, rows: Sequence[EpicRow]) -> dict[int, SetAside]:
    """By the epic's id. `rows`: those that a decision sets aside."""
    if not rows:
        return {}
    decided = (
        select(
            DecisionRow.id,
            DecisionRow.reason,
            DecisionRow.recorded_by,
            DecisionRow.decided_at,
            ReviewRow.held_on,
        )
        .outerjoin(ReviewRow, ReviewRow.id == DecisionRow.review_id)
        .where(among(DecisionRow.id, [row.set_aside_decision_id or 0 for row in rows]))
    )
    decisions = {one.id: one for one in await session.execute(decided)}
    return {
        row.id: SetAside(
            kind=cast("Literal['stop', 'defer']", row.set_aside),
            until=row.set_aside_until,
            reason=one.reason,
            decided=_decided(one.held_on, one.decided_at),
            by=one.recorded_by,
            decided_at=one.decided_at,
        )
        for row in rows
        if (one := decisions.get(row.set_aside_decision_id or 0)) is not None
    }


def _decided(held_on: date | None, decided_at: datetime) -> str:
    day = held_on or decided_at.astimezone(UTC).date()
    what = "a decision" if held_on is None else "the review"
    return f"{what} of {day.day} {day:%B %Y}"


_ID = attrgetter("id")
_LINKS = select(LinkRow).where(among_ids(LinkRow.epic_id))
_FINDINGS = select(FindingRow).where(among_ids(FindingRow.epic_id))


# Of commands only those that are to be answered: their answer stands, or nothing was evaluated since.
def _notices(*selected: Any) -> Select[Any]:
    return (
        select(*selected)
        .select_from(EpicRow)
        .outerjoin(NoticeRow, NoticeRow.epic_id == EpicRow.id)
        .outerjoin(
            CommandCommentRow,
            and_(
                CommandCommentRow.epic_id == EpicRow.id,
                or_(
                    CommandCommentRow.answer.is_not(None),
                    EpicRow.evaluated_at.is_(None),
                    CommandCommentRow.at >= EpicRow.evaluated_at,
                ),
            ),
        )
        .where(or_(NoticeRow.id.is_not(None), CommandCommentRow.id.is_not(None)), among_ids(EpicRow.id))
        .order_by(EpicRow.id, CommandCommentRow.at, CommandCommentRow.id)
    )


_NOTICES = _notices(EpicRow.id, NoticeRow, CommandCommentRow)
# With what an answer is made from.
_PLAIN_NOTICES = _notices(
    EpicRow.id,
    *NOTICE_COLUMNS,
    *(CommandCommentRow.id, CommandCommentRow.answer, CommandCommentRow.at, CommandCommentRow.outcome),
    CommandCommentRow.explained_key_result_ids,
)
_Command = namedtuple("_Command", "id answer at outcome explained_key_result_ids")


def _plain_notice(row: Any) -> tuple[int, Any, Any]:
    """The epic's id, its notice and a command; None where it has none."""
    notice, command = row[1 : 1 + len(NOTICE_COLUMNS)], row[1 + len(NOTICE_COLUMNS) :]
    return (
        row[0],
        None if notice[0] is None else PlainNotice._make(notice),
        None if command[0] is None else _Command._make(command),
    )


def _answer(row: EpicRow, commands: Sequence[CommandCommentRow]) -> tuple[CommandAnswer | None, bool]:
    """The answer that is to be shown, and whether a command that is answered was given after the last
    evaluation: one that was refused in silence changes nothing."""
    if not commands:
        return None, False
    answer = None
    for comment in commands:
        if comment.answer is not None:
            explained = tuple(comment.explained_key_result_ids)
            refused = comment.outcome == "not_allowed"
            answer = CommandAnswer(comment.answer, _is_new(row, comment), comment.at, explained, refused)
    heard = (one for one in commands if one.answer is not None or one.outcome != "not_allowed")
    return answer, any(_is_new(row, comment) for comment in heard)


def _is_new(row: EpicRow, comment: CommandCommentRow) -> bool:
    return row.evaluated_at is None or row.evaluated_at <= comment.at


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
        row.by,
        row.changed_at,
    )


def may_be_on_ticket(row: NoticeRow, claim: str | None = None) -> bool:
    """Whether a comment of ours is on the ticket, or an unconfirmed write may have put one there."""
    return (
        row.remote_id is not None
        or row.write_unconfirmed_at is not None
        or row.claimed_by not in (None, claim)
    )
