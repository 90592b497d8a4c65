"""How many children epics have: which epics are to be counted again, and the counts.

A count is no part of what an epic is evaluated by: nothing is marked for evaluation here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import func, select, text, update

from connectors.base import EpicRef
from mappings.tables import SourceRow

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

    from connectors.base import Children

# A search index lags behind, and two machines' clocks differ: a count that was made so shortly after the
# change may not have it yet.
LAG = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Due:
    """An epic whose children are to be counted, and its place in the line of these. `marks` tells whether
    they have changed again since."""

    place: int
    epic_id: int
    marks: int
    ref: EpicRef


# The epics are not locked but by the reference to them, which waits for nobody that only changes them.
_MARK = (
    "INSERT INTO children_due (epic_id, source_id) SELECT epics.id, epics.source_id FROM epics {which}"
    " AND epics.source_id = :source AND epics.removed_at IS NULL ORDER BY epics.id"
    " ON CONFLICT (epic_id) DO UPDATE SET marks = children_due.marks + 1, source_id = excluded.source_id"
)
_CHANGED = text(
    _MARK.format(
        which="JOIN unnest(CAST(:ids AS text[]), CAST(:keys AS text[]), CAST(:moments AS timestamptz[]))"
        " AS changed(remote_id, key, at) ON CASE WHEN changed.remote_id <> ''"
        " THEN epics.remote_id = changed.remote_id ELSE lower(epics.key) = changed.key END"
        " WHERE (children_at IS NULL OR children_at < changed.at)"
    )
)
_NAMED = text(_MARK.format(which="WHERE epics.tracker = :tracker AND epics.remote_id = ANY(:ids)"))
_READ = text(
    _MARK.format(which="WHERE epics.tracker = :tracker AND epics.remote_id = ANY(:ids) AND read_at = :now")
)
_NEVER_COUNTED = text(
    _MARK.format(
        which="WHERE epics.tracker = :tracker AND epics.remote_id = ANY(:ids) AND children_at IS NULL"
    )
)


async def mark_changed_children(
    session: AsyncSession, source_id: int, parents: Sequence[tuple[EpicRef, datetime]]
) -> None:
    """Have the epics among these tickets counted whose children changed after they were counted last."""
    if not parents:
        return
    await session.execute(
        _CHANGED,
        {
            "source": source_id,
            "ids": [ref.remote_id for ref, _ in parents],
            "keys": [ref.key.lower() for ref, _ in parents],
            "moments": [moment + LAG for _, moment in parents],
        },
    )


async def mark_named(session: AsyncSession, source: SourceRow, remote_ids: Collection[str]) -> None:
    """Have the epics with these ids counted: a webhook names them beside a ticket."""
    parameters = {"source": source.id, "tracker": source.tracker, "ids": list(remote_ids)}
    await session.execute(_NAMED, parameters)


async def mark_read(
    session: AsyncSession, source: SourceRow, remote_ids: Collection[str], now: datetime
) -> None:
    """Have those of these epics counted that were stored at `now`, in this transaction."""
    parameters = {"source": source.id, "tracker": source.tracker, "ids": list(remote_ids), "now": now}
    await session.execute(_READ, parameters)


async def mark_never_counted(session: AsyncSession, source: SourceRow, remote_ids: Collection[str]) -> None:
    """Have those of these epics counted that never were."""
    parameters = {"source": source.id, "tracker": source.tracker, "ids": list(remote_ids)}
    await session.execute(_NEVER_COUNTED, parameters)


async def forget_removed(session: AsyncSession, source_id: int) -> None:
    """What has left the source is not counted."""
    await session.execute(
        text(
            "DELETE FROM children_due USING epics WHERE epics.id = children_due.epic_id"
            " AND children_due.source_id = :source"
            " AND (epics.source_id <> :source OR epics.removed_at IS NOT NULL)"
        ),
        {"source": source_id},
    )


async def load_due(session: AsyncSession, source_id: int, after: int, limit: int) -> list[Due]:
    """The next epics to count behind the place `after`, at most `limit`."""
    rows = await session.execute(
        text(
            # The limit is within: else all that is behind it is joined for each answer.
            "SELECT due.id, due.epic_id, due.marks, epics.remote_id, epics.key FROM"
            " (SELECT * FROM children_due WHERE source_id = :source AND id > :after ORDER BY id LIMIT :limit)"
            " AS due JOIN epics ON epics.id = due.epic_id ORDER BY due.id"
        ),
        {"source": source_id, "after": after, "limit": limit},
    )
    return [Due(place, epic, marks, EpicRef(id, key)) for place, epic, marks, id, key in rows]


async def store_counts(
    session: AsyncSession,
    due: Sequence[Due],
    counted: Mapping[str, Children],
    requested_at: datetime,
    *,
    all_of_them: bool,
) -> None:
    """Store what the tracker answered at `requested_at` or later, over no newer count.

    All of `due` count as done, but for those that were marked again meanwhile. Of a count that is as it was,
    the time is stored with `all_of_them` only.
    """
    found = [(one.epic_id, counted[one.ref.remote_id]) for one in due if one.ref.remote_id in counted]
    parameters = {
        "at": requested_at,
        "ids": [id for id, _ in found],
        "totals": [children.total for _, children in found],
        "dones": [children.done for _, children in found],
    }
    if found:
        await session.execute(_STORE, parameters | {"all": all_of_them})
    await session.execute(
        text(
            "DELETE FROM children_due WHERE id IN (SELECT due.id FROM children_due AS due"
            " JOIN unnest(CAST(:ids AS bigint[]), CAST(:marks AS int[])) AS counted(epic_id, marks)"
            " ON due.epic_id = counted.epic_id AND due.marks = counted.marks"
            " ORDER BY due.epic_id FOR UPDATE OF due)"
        ),
        {"ids": [one.epic_id for one in due], "marks": [one.marks for one in due]},
    )


_STORE = text(
    "UPDATE epics SET children = counted.total, children_done = counted.done, children_at = :at FROM"
    " (SELECT epics.id, fresh.total, fresh.done"
    "   FROM epics JOIN unnest(CAST(:ids AS bigint[]), CAST(:totals AS int[]), CAST(:dones AS int[]))"
    "   AS fresh(id, total, done) ON fresh.id = epics.id"
    "   WHERE (epics.children_at IS NULL OR epics.children_at <= :at)"
    "   AND (:all OR (epics.children, epics.children_done) IS DISTINCT FROM (fresh.total, fresh.done))"
    "   ORDER BY epics.id FOR NO KEY UPDATE OF epics) AS counted"
    " WHERE epics.id = counted.id"
)


async def load_children_cursor(session: AsyncSession, source_id: int) -> datetime | None:
    cursor: datetime | None = await session.scalar(
        select(SourceRow.children_cursor).where(SourceRow.id == source_id)
    )
    return cursor


async def advance_children_cursor(session: AsyncSession, source_id: int, cursor: datetime) -> None:
    """Move it, only forward."""
    await session.execute(
        update(SourceRow)
        .where(SourceRow.id == source_id)
        .values(children_cursor=func.greatest(SourceRow.children_cursor, cursor))
    )
