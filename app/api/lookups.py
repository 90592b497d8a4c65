"""Rows found by the names that people use: keys in any case, epics also by their former keys."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path
from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.problems import invalid, not_found
from mappings.tables import EpicKeyHistoryRow, EpicRow, KeyResultRow, SourceRow

SourceName = Annotated[str, Path(max_length=64, description="The source's name, in any case.")]


async def find_source(session: AsyncSession, name: str, *, lock: bool = False) -> SourceRow | None:
    query = select(SourceRow).where(func.lower(SourceRow.name) == name.lower())
    return (await session.scalars(query.with_for_update() if lock else query)).one_or_none()


async def source_at(session: AsyncSession, name: str, *, lock: bool = False) -> SourceRow:
    """404 where there is none: `name` is part of the path."""
    row = await find_source(session, name, lock=lock)
    if row is None:
        raise not_found("source", name)
    return row


async def source_in(session: AsyncSession, name: str, field: str) -> SourceRow:
    """422 on `field` where there is none: `name` is a filter or a member of a body."""
    row = await find_source(session, name)
    if row is None:
        raise invalid(field, f"there is no source {name!r}")
    return row


async def key_result_in(session: AsyncSession, key: str, field: str) -> KeyResultRow:
    """422 on `field` where there is none."""
    query = select(KeyResultRow).where(func.lower(KeyResultRow.key) == key.lower())
    row = (await session.scalars(query)).one_or_none()
    if row is None:
        raise invalid(field, f"there is no key result {key!r}; GET /api/v1/key-results lists them")
    return row


async def find_epic(session: AsyncSession, source: SourceRow, key: str) -> EpicRow | None:
    """The epic by its present key, else by a former one; it may be removed."""
    lower = key.lower()
    former = select(EpicKeyHistoryRow.epic_id).where(
        EpicKeyHistoryRow.source_id == source.id, EpicKeyHistoryRow.key == lower
    )
    query = (
        select(EpicRow)
        .where(EpicRow.source_id == source.id)
        .where(or_(func.lower(EpicRow.key) == lower, EpicRow.id == former.scalar_subquery()))
        .order_by(func.lower(EpicRow.key) != lower, EpicRow.removed_at.is_not(None), EpicRow.id)
        .limit(1)
    )
    return (await session.scalars(query)).one_or_none()


async def epic_in(session: AsyncSession, source: str, key: str, field: str) -> tuple[SourceRow, EpicRow]:
    """422 on `field.source` or `field.key` where there is no such epic, or it is removed."""
    held = await source_in(session, source, f"{field}.source")
    row = await find_epic(session, held, key)
    if row is None or row.removed_at is not None:
        raise invalid(f"{field}.key", f"{held.name} has no epic {key!r}; sync it first if it is new")
    return held, row
