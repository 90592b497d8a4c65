"""What an epic or a key result is worth, planned and realised, in whose opinion.

An estimate is added and never changed: of its kind and currency the newest counts, the others are its
history. Amounts are added up within one currency alone, and none is ever converted.
"""

from __future__ import annotations

import math
import re
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from sqlalchemy import Select, func, select
from sqlalchemy.dialects.postgresql import distinct_on

from mappings.errors import NotFound, check_values
from mappings.goals.values import AHEAD_AT_MOST
from mappings.locks import share_source
from mappings.lookups import epic_at, source_at
from mappings.tables import EpicRow, EstimateRow, KeyResultRow, SourceRow, among
from mappings.values import Bounds, line_error, moment_error, number_error, one_of_error, text_error

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from mappings.values import FieldErrors

EstimateKind = Literal["planned", "realised"]
AMOUNT: Bounds = {"ge": -(10**15), "le": 10**15}  # a loss is less than nothing
CURRENCY_PATTERN = r"^[A-Za-z]{3}$"
SHOWN_AT_MOST = 50
NOT_A_CURRENCY = "must be a currency's three letters, such as EUR"


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimateValues:
    """`currency`: an ISO 4217 code, in any case; a currency that is not on the list of that standard is taken
    too. `estimated_by`: a person, as people know them. `at`: when they said so; None is now."""

    kind: EstimateKind
    amount: float
    currency: str
    estimated_by: str
    note: str | None = None
    at: datetime | None = None


def currency_error(currency: str) -> str | None:
    return None if re.fullmatch(CURRENCY_PATTERN[1:-1], currency) else NOT_A_CURRENCY


def estimate_errors(values: EstimateValues, now: datetime) -> FieldErrors:
    return [
        ("kind", one_of_error(values.kind, get_args(EstimateKind))),
        ("amount", number_error(values.amount, AMOUNT)),
        ("currency", currency_error(values.currency)),
        ("estimated_by", line_error(values.estimated_by)),
        ("note", text_error(values.note)),
        ("at", moment_error(values.at) or _ahead_error(values.at, now)),
    ]


def _ahead_error(at: datetime | None, now: datetime) -> str | None:
    if at is None or at <= now + AHEAD_AT_MOST:
        return None
    return "lies more than a day ahead; it says when this was estimated"


# --- what a person may do --------------------------------------------------------------------------


async def estimate_epic(
    session: AsyncSession, source: str, epic: str, now: datetime, values: EstimateValues
) -> tuple[EstimateRow, EpicRow, SourceRow]:
    """Add an estimate to the epic of this source and key. Raises `NotFound` and `Invalid`."""
    check_values(estimate_errors(values, now))
    held = await source_at(session, source)
    if not await share_source(session, held.id):
        raise NotFound.of("source", source)
    found = await epic_at(session, held, epic)
    return await _add(session, values, now, epic_id=found.id), found, held


async def estimate_key_result(
    session: AsyncSession, key_result: str, now: datetime, values: EstimateValues
) -> tuple[EstimateRow, KeyResultRow]:
    """Add an estimate to the key result of this key. Raises `NotFound` and `Invalid`."""
    check_values(estimate_errors(values, now))
    # Locked, so that the key result cannot be deleted between this read and the insert.
    query = select(KeyResultRow).where(func.lower(KeyResultRow.key) == key_result.lower())
    found = (await session.scalars(query.with_for_update(read=True, key_share=True))).one_or_none()
    if found is None:
        raise NotFound.of("key result", key_result)
    return await _add(session, values, now, key_result_id=found.id), found


async def _add(session: AsyncSession, values: EstimateValues, now: datetime, **of: int) -> EstimateRow:
    row = EstimateRow(
        **of,
        kind=values.kind,
        amount=float(values.amount),
        currency=values.currency.upper(),
        estimated_by=values.estimated_by,
        note=values.note,
        at=values.at or now,
        created_at=now,
    )
    session.add(row)
    await session.flush()
    return row


async def delete_estimate(session: AsyncSession, estimate_id: int) -> EstimateRow:
    """Delete a wrong one, so that the one before counts again; the audit log keeps it. Raises `NotFound`."""
    query = select(EstimateRow).where(EstimateRow.id == estimate_id).with_for_update()
    row = (await session.scalars(query)).one_or_none()
    if row is None:
        raise NotFound.of("estimate", estimate_id)
    await session.delete(row)
    await session.flush()
    return row


async def estimate_again(
    session: AsyncSession, now: datetime, values: EstimateValues, **of: int
) -> EstimateRow:
    """Add once more what was deleted, to the epic or key result with this id: `epic_id` or `key_result_id`.
    Raises `NotFound` where that is gone."""
    table: Any = EpicRow if "epic_id" in of else KeyResultRow
    (id,) = of.values()
    held = select(table.id).where(table.id == id).with_for_update(read=True, key_share=True)
    if await session.scalar(held) is None:
        raise NotFound("What it was an estimate of is gone.")
    return await _add(session, values, now, **of)


# --- which count -----------------------------------------------------------------------------------

Of = Literal["epic", "key_result"]
_COLUMNS: dict[Of, Any] = {"epic": EstimateRow.epic_id, "key_result": EstimateRow.key_result_id}


def counting(of: Of, ids: Collection[int] | Select[Any]) -> Select[EstimateRow]:
    """The estimates that count, of these epics or key results: of each kind and currency the one with the
    latest `at`, of two of the same moment the one that was added last."""
    column = _COLUMNS[of]
    which = column.in_(ids) if isinstance(ids, Select) else among(column, ids)
    named = (column, EstimateRow.kind, EstimateRow.currency)
    return (
        select(EstimateRow)
        .where(which)
        .ext(distinct_on(*named))
        .order_by(*named, EstimateRow.at.desc(), EstimateRow.id.desc())
    )


async def counting_estimates(
    session: AsyncSession, of: Of, ids: Collection[int] | Select[Any]
) -> dict[int, list[EstimateRow]]:
    """By the id of each epic or key result that has any, planned before realised, then by currency."""
    found: dict[int, list[EstimateRow]] = defaultdict(list)
    for row in await session.scalars(counting(of, ids)):
        found[getattr(row, _COLUMNS[of].key)].append(row)
    return found


@dataclass(frozen=True, slots=True)
class History:
    """`rows`: the latest, newest first, and `more` than these; `counting`: the ids of those that count."""

    rows: Sequence[EstimateRow]
    more: bool
    counting: Collection[int]


async def load_history(session: AsyncSession, of: Of, id: int) -> History:
    """Of one epic or key result. One that counts is shown however old it is."""
    counts = set((await session.scalars(select(counting(of, [id]).subquery().c.id))).all())
    query = select(EstimateRow).where(_COLUMNS[of] == id)
    order = EstimateRow.id.in_(counts).desc(), EstimateRow.at.desc(), EstimateRow.id.desc()
    rows = list(await session.scalars(query.order_by(*order).limit(SHOWN_AT_MOST + 1)))
    shown = sorted(rows[:SHOWN_AT_MOST], key=lambda row: (row.at, row.id), reverse=True)
    return History(shown, len(rows) > SHOWN_AT_MOST, counts)


@dataclass(frozen=True, slots=True)
class Worth:
    """What some things together are worth in one currency, None where nobody estimated that kind."""

    currency: str
    planned: float | None
    realised: float | None


def worth(estimates: Iterable[EstimateRow]) -> list[Worth]:
    """The sums of those that count, by currency in its order. Pure."""
    found: dict[str, dict[str, list[float]]] = {}
    for one in estimates:
        found.setdefault(one.currency, {}).setdefault(one.kind, []).append(one.amount)
    return [
        Worth(currency, _sum(kinds.get("planned")), _sum(kinds.get("realised")))
        for currency, kinds in sorted(found.items())
    ]


def _sum(amounts: Sequence[float] | None) -> float | None:
    return None if amounts is None else math.fsum(amounts)
