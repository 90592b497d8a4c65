"""Cases for the judge: epics with their links, findings and notice, read in bulk and written back in bulk.

A slice of epics costs a fixed number of statements, whatever its length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, cast

from sqlalchemy import BigInteger, Label, any_, literal, literal_column, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncSession

from connectors.base import Epic, MissingReason, StatusCategory
from mappings import tables
from mappings.evaluate import decide
from mappings.linking import ByHand, Resolution, resolve
from mappings.rulings import Ruling
from mappings.standard import Standard
from mappings.verdict import Answer, Finding, FindingState, History, NoticeState, Standing, Subject


@dataclass(frozen=True, slots=True)
class Case:
    row: tables.Epic
    links: Sequence[tables.Link]
    findings: Sequence[tables.Finding]
    notice: tables.Notice | None
    answer: Answer | None = None


def epic_of(row: tables.Epic) -> Epic:
    """The stored epic as a value; its description is not stored."""
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
        parent_key=row.parent_key,
        fields={name: tuple(values) for name, values in row.fields.items()},
    )


# What judging reads of an epic, as plain rows with the driver's own values: nothing is written through
# them, and as objects under the session's watch they would cost twice.
_JUDGED_BY: list[Label[Any]] = [
    literal_column(f"epics.{column.name}").label(column.name)
    for column in tables.Epic.__table__.columns
    if column.name not in ("tracker", "content_hash", "gone_at", "alignment", "look_again_at")
]


async def due_slice(
    session: AsyncSession, source_id: int, now: datetime, after: int, limit: int
) -> list[tables.Epic]:
    """Epics of a source that wait to be judged, by id, locked so that one judge at a time has each."""
    due = (
        select(*_JUDGED_BY)
        .select_from(tables.Epic)
        .where(tables.Epic.source_id == source_id, tables.Epic.look_again_at <= now, tables.Epic.id > after)
        .order_by(tables.Epic.id)
        .limit(limit)
        .with_for_update()
    )
    return cast("list[tables.Epic]", (await session.execute(due)).all())


async def these_epics(session: AsyncSession, ids: Sequence[int]) -> list[tables.Epic]:
    """The epics with these ids, locked in the order every bulk write keeps."""
    wanted = select(tables.Epic).where(tables.Epic.id.in_(ids)).order_by(tables.Epic.id).with_for_update()
    return list(await session.scalars(wanted.execution_options(populate_existing=True)))


async def load_cases(session: AsyncSession, rows: Sequence[tables.Epic]) -> list[Case]:
    """What bears on judging each of `rows`: at most three statements for all."""
    ids = literal([row.id for row in rows], ARRAY(BigInteger))
    links: dict[int, list[tables.Link]] = {}
    for link in await session.scalars(
        select(tables.Link).where(tables.Link.epic_id == any_(ids)).order_by(tables.Link.id)
    ):
        links.setdefault(link.epic_id, []).append(link)
    findings: dict[int, list[tables.Finding]] = {}
    if all(row.judged_at is None for row in rows):  # only judging leaves findings and notices
        return [Case(row, links.get(row.id, ()), (), None) for row in rows]
    for finding in await session.scalars(select(tables.Finding).where(tables.Finding.epic_id == any_(ids))):
        findings.setdefault(finding.epic_id, []).append(finding)
    notices: dict[int, tuple[tables.Notice, str | None, datetime | None]] = {}
    for notice, answer, at in await session.execute(_WITH_ANSWERS.where(tables.Notice.epic_id == any_(ids))):
        notices[notice.epic_id] = notice, answer, at
    return [
        _case(row, links.get(row.id, ()), findings.get(row.id, ()), *notices.get(row.id, (None, None, None)))
        for row in rows
    ]


# An answer to a command stands in our comment, so it is looked for with the notice and nowhere else.
_WITH_ANSWERS = select(tables.Notice, tables.CommandComment.answer, tables.CommandComment.at).outerjoin_from(
    tables.Notice,
    tables.CommandComment,
    (tables.CommandComment.epic_id == tables.Notice.epic_id) & tables.CommandComment.answer.is_not(None),
)


def _case(
    row: tables.Epic,
    links: Sequence[tables.Link],
    findings: Sequence[tables.Finding],
    notice: tables.Notice | None,
    answer: str | None,
    at: datetime | None,
) -> Case:
    if answer is None or at is None:
        return Case(row, links, findings, notice)
    is_new = row.judged_at is None or row.judged_at <= at
    return Case(row, links, findings, notice, Answer(answer, is_new))


def resolution_of(case: Case, epic: Epic, standard: Standard, now: datetime) -> Resolution:
    by_hand = [
        ByHand(link.key_result_id, link.origin, link.why)
        for link in case.links
        if link.origin in ("manual", "command")
    ]
    return resolve(standard.source.name, epic, case.row.declared, by_hand, standard.goals, now)


def judge(case: Case, standard: Standard, now: datetime, *, claim: str | None = None) -> Ruling:
    """Judge one case. `claim` is the writer's own, whose request is not sent yet; any other claim may
    have put a comment on the ticket."""
    epic, place = epic_of(case.row), standard.place(case.row.project)
    resolution = resolution_of(case, epic, standard, now)
    subject = Subject(
        epic=epic,
        resolution=resolution,
        connected_at=standard.source.created_at,
        read_at=case.row.read_at,
        public=place.public,
        service_desk=place.service_desk,
        fresh=place.fresh,
        gone=cast("MissingReason | None", case.row.gone_reason),
        page=standard.page(epic.key),
        hears=standard.hears,
        suggest=partial(standard.suggest, epic, now),
    )
    decision = decide(
        subject,
        standard.goals.key_results,
        standard.policy_for(epic.project),
        standard.mode_for(epic.project),
        History(
            {found.check: _finding(found) for found in case.findings},
            _standing(case.notice, claim) if case.notice is not None else None,
            case.answer,
        ),
        now,
    )
    return Ruling(case.row, case.links, case.findings, case.notice, resolution, decision)


def _finding(row: tables.Finding) -> Finding:
    return Finding(
        row.check,
        cast("FindingState", row.state),
        row.opened_at,
        row.until,
        row.reason,
        row.detail,
        row.severity,
    )


def _standing(row: tables.Notice, claim: str | None) -> Standing:
    return Standing(
        state=cast("NoticeState", row.state),
        since=row.updated_at,
        on_ticket=may_be_on_ticket(row, claim),
        posted_hash=row.posted_hash,
        named=tuple(row.named),
        guarded=row.guard_why if row.guard == "held" else None,
        taken_back=row.taking_back is not None,
        lost=row.lost,
    )


def may_be_on_ticket(row: tables.Notice, claim: str | None = None) -> bool:
    """Whether a comment of ours is there, or an answer is missing that would say so."""
    return row.remote_id is not None or row.unanswered_at is not None or row.claimed_by not in (None, claim)
