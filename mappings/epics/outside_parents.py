"""Parents that their children name by key alone: known from the epics, or read once from the tracker."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from sqlalchemy import text

from connectors import base
from mappings.epics.storable import without_nul

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession


async def with_known_parents(
    session: AsyncSession, source_id: int, tracker: str, epics: Sequence[base.Epic]
) -> list[base.Epic]:
    """The epics, with what is known of parents that they name by key alone.

    An epic as a parent is known by its id, as its title is on the epic itself. What the tracker said of
    others is remembered; one that nobody has asked for is noted, so that a reading run asks for it, once.
    """
    keys = {key.lower() for epic in epics if (key := _named_by_key(epic))}
    if not keys:
        return [*epics]
    known: dict[str, base.Parent] = {}
    for key, remote_id, title, url in await session.execute(
        _KNOWN, {"source": source_id, "tracker": tracker, "keys": sorted(keys)}
    ):
        known[key] = base.Parent(key, remote_id or "", title or "", url or "")
    unknown = sorted(keys - known.keys())
    if unknown:
        await session.execute(_NOTE, {"source": source_id, "keys": unknown})
    return [_with_parent(epic, known) for epic in epics]


def _named_by_key(epic: base.Epic) -> str | None:
    parent = epic.parent
    return parent.key if parent is not None and not (parent.remote_id or parent.title) else None


def _with_parent(epic: base.Epic, known: dict[str, base.Parent]) -> base.Epic:
    key = _named_by_key(epic)
    found = known.get(key.lower()) if key else None
    if found is None or epic.parent is None:
        return epic
    parent = replace(
        epic.parent, remote_id=found.remote_id, title=found.title, url=found.url or epic.parent.url
    )
    return replace(epic, parent=parent)


_EPICS = """
    SELECT lower(epics.key) AS key, epics.remote_id FROM epics WHERE epics.tracker = :tracker
        AND epics.source_id IN (SELECT id FROM sources WHERE tracker = :tracker) AND epics.removed_at IS NULL
"""
_KNOWN = text(
    f"""
    SELECT key, remote_id, title, url FROM outside_parents
    WHERE source_id = :source AND key = ANY(:keys) AND read_at IS NOT NULL
    UNION ALL
    SELECT key, remote_id, NULL, NULL FROM ({_EPICS} AND lower(epics.key) = ANY(:keys)) AS stored
    """  # noqa: S608  # only the text above is put in
)
_NOTE = text(
    "INSERT INTO outside_parents (source_id, key)"
    " SELECT :source, key FROM unnest(CAST(:keys AS text[])) AS fresh(key) ON CONFLICT DO NOTHING"
)


async def parents_to_read(
    session: AsyncSession,
    source_id: int,
    tracker: str,
    limit: int,
    now: datetime,
    older_than: datetime | None,
) -> tuple[list[base.Parent], list[str]]:
    """Those that the tracker has not been asked for, then those read before `older_than`, the oldest first;
    and the tickets whose parent may be another now, as of `store_parents`.

    One that has become an epic is not asked for: the epics below it get its id.
    """
    moved: list[str] = []
    found = await session.execute(_BECAME_EPICS, {"source": source_id, "tracker": tracker})
    became_epics = [base.Parent(key, remote_id) for key, remote_id in found]
    if became_epics:
        moved = await _fill(session, source_id, became_epics, now)
        await session.execute(_FORGET, {"source": source_id, "keys": [one.key for one in became_epics]})
    rows = await session.execute(
        text(
            "SELECT key, remote_id, title, url FROM outside_parents WHERE source_id = :source"
            " AND (read_at IS NULL OR read_at < :before) ORDER BY read_at NULLS FIRST, key LIMIT :limit"
        ),
        {"source": source_id, "before": older_than, "limit": limit},
    )
    waiting = [
        base.Parent(key, remote_id or "", title or "", url or "") for key, remote_id, title, url in rows
    ]
    return waiting, moved


_BECAME_EPICS = text(
    f"""
    SELECT stored.key, stored.remote_id FROM outside_parents JOIN ({_EPICS}) AS stored
        ON stored.key = outside_parents.key WHERE outside_parents.source_id = :source
    """  # noqa: S608  # only the text above is put in
)


_FORGET = text("DELETE FROM outside_parents WHERE source_id = :source AND key = ANY(:keys)")


async def store_parents(
    session: AsyncSession, source_id: int, parents: Sequence[base.Parent], now: datetime
) -> list[str]:
    """Remember what the tracker says of these at `now`, also that it says nothing, and show it below them.

    Returns the ids in the tracker of the tickets whose parent may be another now; the caller gives them to
    `runs.reevaluation.reevaluate_below_tickets`.
    """
    parents = [_storable(parent) for parent in parents]
    given = {"source": source_id, "now": now, **_columns(parents)}
    await session.execute(_REMEMBER, given)
    return await _fill(session, source_id, [parent for parent in parents if parent.remote_id], now)


def _storable(parent: base.Parent) -> base.Parent:
    return base.Parent(*without_nul([parent.key, parent.remote_id, parent.title, parent.url]))


_FRESH = """
    (SELECT key, nullif(id, '') AS remote_id, nullif(title, '') AS title, nullif(url, '') AS url FROM unnest(
        CAST(:keys AS text[]), CAST(:ids AS text[]), CAST(:titles AS text[]), CAST(:urls AS text[])
    ) AS given(key, id, title, url)) AS fresh
"""
_REMEMBER = text(
    f"""
    UPDATE outside_parents
    SET read_at = :now, remote_id = fresh.remote_id, title = fresh.title, url = fresh.url
    FROM {_FRESH} WHERE source_id = :source AND outside_parents.key = fresh.key
    """  # noqa: S608  # only the text above is put in
)


def _columns(parents: Sequence[base.Parent]) -> dict[str, list[str]]:
    return {
        "keys": [parent.key.lower() for parent in parents],
        "ids": [parent.remote_id for parent in parents],
        "titles": [parent.title for parent in parents],
        "urls": [parent.url for parent in parents],
    }


async def _fill(
    session: AsyncSession, source_id: int, parents: Sequence[base.Parent], now: datetime
) -> list[str]:
    """Put these into the epics below them. One whose parent gets another id is evaluated again: what it
    inherits may be found by that id alone. Returns the ids of these in the tracker."""
    if not parents:
        return []
    rows = await session.execute(_FILL, {"source": source_id, "now": now, **_columns(parents)})
    return [remote_id for remote_id, is_moved in rows if is_moved]


_FILL = text(
    f"""
    UPDATE epics SET parent_remote_id = found.remote_id, parent_title = found.title,
        parent_url = coalesce(found.url, epics.parent_url),
        evaluate_at = CASE WHEN found.is_moved THEN :now ELSE epics.evaluate_at END
    FROM (
        SELECT epics.id, fresh.remote_id, fresh.title, fresh.url,
            epics.parent_remote_id IS DISTINCT FROM fresh.remote_id AS is_moved
        FROM epics JOIN {_FRESH} ON lower(epics.parent_key) = fresh.key
        WHERE epics.source_id = :source AND epics.removed_at IS NULL
            AND (epics.parent_remote_id, epics.parent_title) IS DISTINCT FROM (fresh.remote_id, fresh.title)
        ORDER BY epics.id FOR NO KEY UPDATE OF epics
    ) AS found WHERE epics.id = found.id RETURNING epics.remote_id, found.is_moved
    """  # noqa: S608  # only the text above is put in
)


async def forget_outside_parents(session: AsyncSession, source_id: int) -> None:
    """Forget those that no epic of the source names any more."""
    await session.execute(
        text(
            "DELETE FROM outside_parents WHERE source_id = :source AND NOT EXISTS (SELECT FROM epics WHERE"
            " source_id = :source AND removed_at IS NULL AND lower(parent_key) = outside_parents.key)"
        ),
        {"source": source_id},
    )
