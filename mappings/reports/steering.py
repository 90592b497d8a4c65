"""The epics that are steered: what `mappings.goals.steering` decides, asked of the rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, and_, exists, func, select
from sqlalchemy.orm import defer

from mappings.goals.agreements import metric_of
from mappings.goals.key_results import is_live
from mappings.goals.rows import key_result_of
from mappings.goals.steering import why_not_steered
from mappings.tables import (
    AgreementRow,
    CheckInRow,
    CycleRow,
    EpicRow,
    KeyResultRow,
    LinkRow,
    ObjectiveRow,
    among,
)

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession


async def steered_key_results(session: AsyncSession, now: datetime) -> set[int]:
    """The ids of the key results that are steered and live. Only those that somebody has signed are read."""
    signed = (
        select(AgreementRow.key_result_id, func.array_agg(AgreementRow.side).label("sides"))
        .where(AgreementRow.voided_at.is_(None))
        .group_by(AgreementRow.key_result_id)
        .subquery()
    )
    latest = (
        select(CheckInRow.value)
        .where(CheckInRow.key_result_id == KeyResultRow.id)
        .order_by(CheckInRow.at.desc(), CheckInRow.id.desc())
        .limit(1)
        .correlate(KeyResultRow)
        .scalar_subquery()
    )
    rows = await session.execute(
        select(KeyResultRow, ObjectiveRow, CycleRow.ends, signed.c.sides, latest)
        .join(signed, signed.c.key_result_id == KeyResultRow.id)
        .join(ObjectiveRow, ObjectiveRow.id == KeyResultRow.objective_id)
        .outerjoin(CycleRow, CycleRow.id == ObjectiveRow.cycle_id)
        .options(defer(KeyResultRow.description), defer(ObjectiveRow.description))
    )
    return {
        row.id
        for row, objective, ends, sides, value in rows
        if is_live(key_result_of(row, objective, ends), now)
        and not why_not_steered(metric_of(row), sides, value)
    }


def is_steered(key_results: Collection[int]) -> ColumnElement[bool]:
    """The condition on `EpicRow` that an epic is steered: it is aligned, and at least one of its links, the
    primary one or another, is to one of these key results, which `steered_key_results` returned."""
    serves = exists().where(LinkRow.epic_id == EpicRow.id, among(LinkRow.key_result_id, key_results))
    return and_(EpicRow.alignment == "aligned", serves)
