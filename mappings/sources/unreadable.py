"""Tickets that the tracker showed and that could not be read: remembered until they are read or gone.

While one is remembered, nothing is written on it, since what is stored of it may be out of date.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, bindparam, delete, func, select
from sqlalchemy.dialects.postgresql import insert

from mappings.epics.storable import without_nul
from mappings.sources.health import MOST_NAMED, unreadable_in_words
from mappings.tables import UnreadableTicketRow

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

    from connectors.base import Unreadable

# What an index takes in, whatever a tracker sends. A longer id counts as one that is not known.
_LONGEST_ID, _LONGEST_KEY, _LONGEST_REASON = 200, 100, 300


async def record_unreadable(
    session: AsyncSession, source_id: int, run_id: int | None, found: Iterable[tuple[str, Unreadable]]
) -> None:
    """Remember these tickets, each with its project's key, as met by the run, or by a webhook."""
    known: dict[str, dict[str, Any]] = {}
    unknown: dict[tuple[str, ...], dict[str, Any]] = {}
    for project, item in found:
        row = _row(source_id, run_id, project, item)
        if row["remote_id"] is None:
            unknown[row["project"], row["key"], row["reason"]] = row
        else:
            known[row["remote_id"]] = row
    columns = UnreadableTicketRow
    for rows, where, index in (
        (known, columns.remote_id.is_not(None), ["source_id", "remote_id"]),
        (unknown, columns.remote_id.is_(None), ["source_id", "project", "key", "reason"]),
    ):
        if rows:
            # Sorted, as in every bulk write, so that two of them cannot deadlock.
            fresh = insert(columns).values([row for _, row in sorted(rows.items())])
            changed = {name: fresh.excluded[name] for name in ("run_id", "project", "key", "reason")}
            await session.execute(
                fresh.on_conflict_do_update(index_elements=index, index_where=where, set_=changed)
            )


def _row(source_id: int, run_id: int | None, project: str, item: Unreadable) -> dict[str, Any]:
    remote_id = None if item.ref is None else item.ref.remote_id
    if remote_id is not None and (
        not 0 < len(remote_id) <= _LONGEST_ID or without_nul(remote_id) != remote_id
    ):
        remote_id = None
    return {
        "source_id": source_id,
        "run_id": run_id,
        "project": without_nul(project),
        "remote_id": remote_id,
        "key": "" if item.ref is None else without_nul(item.ref.key)[:_LONGEST_KEY],
        "reason": without_nul(item.reason)[:_LONGEST_REASON],
    }


async def unreadable_ids(session: AsyncSession, source_id: int) -> frozenset[str]:
    """The ids in the tracker of the source's tickets that could not be read."""
    known = await session.scalars(_UNREADABLE_IDS, {"unreadable_of": source_id})
    return frozenset(remote_id for remote_id in known if remote_id is not None)


_UNREADABLE_IDS = select(UnreadableTicketRow.remote_id).where(
    UnreadableTicketRow.source_id == bindparam("unreadable_of"), UnreadableTicketRow.remote_id.is_not(None)
)


async def forget_unreadable(
    session: AsyncSession, source_id: int, remote_ids: Collection[str]
) -> Sequence[str]:
    """These tickets were read, or are gone. Returns those that were unreadable: the caller has them evaluated
    again where a notice could not be written (`projects.retry_notices`)."""
    return await _forget(session, source_id, UnreadableTicketRow.remote_id.in_(remote_ids))


async def forget_not_met(
    session: AsyncSession, source_id: int, run_id: int, projects: Collection[str]
) -> Sequence[str]:
    """A full run has read these projects completely: it met each ticket there that is still unreadable.
    Returns as `forget_unreadable` does."""
    return await _forget(
        session,
        source_id,
        UnreadableTicketRow.run_id.is_distinct_from(run_id),
        UnreadableTicketRow.project.in_(projects),
    )


async def _forget(session: AsyncSession, source_id: int, *which: ColumnElement[bool]) -> Sequence[str]:
    rows = (
        select(UnreadableTicketRow.id)
        .where(UnreadableTicketRow.source_id == source_id, *which)
        .order_by(UnreadableTicketRow.remote_id)
        .with_for_update()
    )
    forgotten = delete(UnreadableTicketRow).where(UnreadableTicketRow.id.in_(rows))
    ids = await session.scalars(forgotten.returning(UnreadableTicketRow.remote_id))
    return [remote_id for remote_id in ids if remote_id is not None]


async def projects_with_unreadable(session: AsyncSession, source_id: int) -> set[str]:
    """The keys of the projects of the source's unreadable tickets."""
    rows = select(UnreadableTicketRow.project).where(UnreadableTicketRow.source_id == source_id)
    return set(await session.scalars(rows.distinct()))


async def describe_unreadable(session: AsyncSession, run_id: int) -> str | None:
    """The tickets that a run could not read, in words; None where there are none."""
    of_run = UnreadableTicketRow.run_id == run_id
    count = await session.scalar(select(func.count()).where(of_run)) or 0
    named = select(UnreadableTicketRow).where(of_run).order_by(UnreadableTicketRow.id).limit(MOST_NAMED)
    rows = (await session.scalars(named)).all()
    return unreadable_in_words(count, [(row.key, row.project, row.reason) for row in rows]) if count else None
