"""What stands in the database, where no answer of the API shows it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import func, select, text

from app.runtime import Runtime
from mappings.tables import (
    Base,
    CommandCommentRow,
    EpicRow,
    InstallationRow,
    NoticeWriteRow,
    RunRow,
    SourceProjectRow,
    SourceRow,
)


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


async def remember_as_ours(runtime: Runtime, account_id: str) -> None:
    """As if every source had been signed in as this account once."""
    query = "INSERT INTO tracker_accounts SELECT DISTINCT tracker, CAST(:account AS text) FROM sources"
    async with runtime.sessions.begin() as session:
        await session.execute(text(query), {"account": account_id})


async def number_of(runtime: Runtime, table: type[Base]) -> int:
    """How many rows the table has."""
    async with runtime.sessions() as session:
        return await session.scalar(select(func.count()).select_from(table)) or 0


async def command_comments(runtime: Runtime) -> list[tuple[list[str], str | None, str]]:
    """The commands, the answer and the author of each comment acted on, oldest first."""
    async with runtime.sessions() as session:
        rows = await session.scalars(select(CommandCommentRow).order_by(CommandCommentRow.id))
        return [(row.commands, row.answer, row.author) for row in rows]


async def goals_version(runtime: Runtime) -> int:
    """How often the goals were changed, or locked for a change."""
    async with runtime.sessions() as session:
        return (await session.scalars(select(InstallationRow.goals_version))).one()


async def every_row(runtime: Runtime) -> dict[str, list[str]]:
    """By table, the job queue's among them, every row as text, sorted; bytes in hexadecimal."""
    async with runtime.sessions() as session:
        names = await session.scalars(
            text("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY tablename")
        )
        return {
            name: sorted(map(str, await session.scalars(text(f'SELECT t::text FROM "{name}" t'))))
            for name in names.all()
        }


async def only_source(runtime: Runtime) -> SourceRow:
    """The source, where the test has connected one."""
    async with runtime.sessions() as session:
        return (await session.scalars(select(SourceRow))).one()


async def projects(runtime: Runtime) -> dict[str, SourceProjectRow]:
    """By their keys."""
    async with runtime.sessions() as session:
        return {row.key: row for row in await session.scalars(select(SourceProjectRow))}


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
