"""Agreements: the business and IT each sign how a key result is measured.

A signature is under the metric as it is at that moment. A changed metric voids both; they stay in the
history. A key result without a metric may be signed too, and the change that gives it one voids that. No
evaluation depends on agreements, so the goals are not locked.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, cast

from sqlalchemy import Select, func, select
from sqlalchemy.dialects.postgresql import distinct_on

from mappings.errors import NotFound, check_values
from mappings.goals.values import AgreementSide, MetricValues, agreement_errors
from mappings.tables import AgreementRow, KeyResultRow, among, among_ids

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from mappings.goals.values import Direction

METRIC_COLUMNS = {"unit", "baseline", "target", "direction"}


def metric_of(row: KeyResultRow | AgreementRow) -> MetricValues:
    """How it is measured now, or was when it was signed."""
    return MetricValues(
        unit=row.unit,
        baseline=row.baseline,
        target=row.target,
        direction=cast("Direction | None", row.direction),
    )


async def sign_key_result(
    session: AsyncSession,
    key_result: str,
    now: datetime,
    *,
    side: AgreementSide,
    name: str,
    note: str | None = None,
) -> tuple[AgreementRow, KeyResultRow]:
    """Sign the metric of the key result of this key; an earlier signature of the same side becomes void.

    `name`: who signs, as people know them. Raises `NotFound` and `Invalid`.
    """
    check_values(agreement_errors(side, name, note))
    # Locked, so that the metric does not change between this read and the insert, and one signs at a time.
    query = select(KeyResultRow).where(func.lower(KeyResultRow.key) == key_result.lower())
    query = query.with_for_update(key_share=True).execution_options(populate_existing=True)
    held = (await session.scalars(query)).one_or_none()
    if held is None:
        raise NotFound.of("key result", key_result)
    earlier = _valid([held.id]).where(AgreementRow.side == side)
    for one in await session.scalars(earlier):
        one.voided_at, one.void_reason = now, "signed_again"
    await session.flush()  # before the insert: a side has one valid signature
    row = AgreementRow(
        key_result_id=held.id, side=side, name=name, note=note, **asdict(metric_of(held)), created_at=now
    )
    session.add(row)
    await session.flush()
    return row, held


async def void_agreements(session: AsyncSession, rows: Collection[KeyResultRow], now: datetime) -> None:
    """Of key results whose metric has changed."""
    # The update waits for the lock of the key results' rows: a signature in progress is committed first.
    await session.flush()
    # Row by row, because the audit log does not see bulk updates.
    for one in await session.scalars(_valid([row.id for row in rows]).order_by(AgreementRow.id)):
        one.voided_at, one.void_reason = now, "metric_changed"


_LATEST = (
    select(AgreementRow)
    .where(among_ids(AgreementRow.key_result_id))
    .ext(distinct_on(AgreementRow.key_result_id, AgreementRow.side))
    .order_by(AgreementRow.key_result_id, AgreementRow.side, AgreementRow.id.desc())
)


async def latest_agreements(
    session: AsyncSession, key_results: Collection[int]
) -> dict[int, list[AgreementRow]]:
    """By key result, each side's latest signature, valid or void, in the order of the sides' names."""
    found: dict[int, list[AgreementRow]] = {}
    for row in await session.scalars(_LATEST, {"ids": list(key_results)}):
        found.setdefault(row.key_result_id, []).append(row)
    return found


def _valid(key_results: Collection[int]) -> Select[AgreementRow]:
    return select(AgreementRow).where(
        among(AgreementRow.key_result_id, key_results), AgreementRow.voided_at.is_(None)
    )


def valid_sides(rows: Collection[AgreementRow]) -> list[AgreementSide]:
    """The sides whose signature counts."""
    return [cast("AgreementSide", row.side) for row in rows if row.voided_at is None]
