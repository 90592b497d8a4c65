"""What stands in the database, where no answer of the API shows it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import func, select, text

from app.runtime import Runtime
from mappings.tables import EpicRow, NoticeWriteRow, RunRow


async def versions(runtime: Runtime) -> dict[str, str]:
    """Each epic's key and the transaction that wrote its row last."""
    async with runtime.sessions() as session:
        return {key: xmin for key, xmin in await session.execute(text("SELECT key, xmin::text FROM epics"))}


async def gone(runtime: Runtime) -> dict[str, str]:
    """The epics in no list, each with the reason."""
    async with runtime.sessions() as session:
        rows = await session.execute(
            text("SELECT key, removal_reason FROM epics WHERE removed_at IS NOT NULL")
        )
        return {key: reason for key, reason in rows}


async def all_of(runtime: Runtime, query: str) -> list[tuple[Any, ...]]:
    async with runtime.sessions() as session:
        return [tuple(row) for row in await session.execute(text(query))]


async def spent(runtime: Runtime, edits: int, now: datetime) -> None:
    """So many edits a moment ago, by the run before."""
    async with runtime.sessions.begin() as session:
        run, epic = (
            await session.scalar(select(func.min(RunRow.id))),
            await session.scalar(select(func.min(EpicRow.id))),
        )
        session.add_all(NoticeWriteRow(run_id=run, epic_id=epic, kind="edited", at=now) for _ in range(edits))
