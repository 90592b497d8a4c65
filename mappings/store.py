"""Epics as observed: stored in bulk, never twice, never backwards."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from connectors import base
from mappings.references import declared

# The facts of an epic that are stored and compared, with their SQL types.
FACTS = {
    "key": "text",
    "project": "text",
    "title": "text",
    "url": "text",
    "type": "text",
    "status": "text",
    "status_category": "text",
    "labels": "text[]",
    "assignees": "text[]",
    "components": "text[]",
    "milestone": "text",
    "parent_key": "text",
    "declared": "text[]",
    "fields": "jsonb",
    "tracker_created_at": "timestamptz",
}
# Sorts behind every id there is.
NOT_STORED = 2**63 - 1
COLUMNS = {"remote_id": "text", **FACTS, "tracker_updated_at": "timestamptz", "content_hash": "bytea"}


@dataclass
class Observed:
    """What one page came to. `overlaps`: keys held by an older source that sees the same tracker."""

    created: int = 0
    updated: int = 0
    deleted: int = 0
    skipped: int = 0
    overlaps: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Stored:
    id: int
    source_id: int
    key: str
    content_hash: bytes
    tracker_updated_at: datetime
    gone_at: datetime | None


def facts_of(epic: base.Epic) -> dict[str, Any]:
    """The row of an epic, ready for JSON, its content hash included."""
    row: dict[str, Any] = {
        "key": epic.key,
        "project": epic.project,
        "title": epic.title,
        "url": epic.url,
        "type": epic.type,
        "status": epic.status,
        "status_category": epic.status_category,
        "labels": epic.labels,
        "assignees": epic.assignees,
        "components": epic.components,
        "milestone": epic.milestone,
        "parent_key": epic.parent_key,
        "declared": [f"{found.how}:{found.key}" for found in declared(epic.text, epic.labels)],
        "fields": epic.fields,
        "tracker_created_at": epic.created_at.isoformat(),
    }
    try:
        dumped = orjson.dumps(row)
        clean = b"\\u0000" not in dumped
    except orjson.JSONEncodeError:  # half of a surrogate pair
        clean = False
    if not clean:
        row = _storable(row)
        dumped = orjson.dumps(row)
    row["remote_id"] = epic.remote_id
    row["tracker_updated_at"] = epic.updated_at.isoformat()
    row["content_hash"] = "\\x" + hashlib.blake2b(dumped, digest_size=16).hexdigest()
    return row


def _storable(value: Any) -> Any:
    """Without what PostgreSQL's text refuses: U+0000 and halves of surrogate pairs."""
    if isinstance(value, str):
        return value.replace("\x00", "").encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {_storable(name): _storable(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_storable(item) for item in value]
    return value


async def observe(
    session: AsyncSession,
    source_id: int,
    tracker: str,
    epics: Sequence[base.Epic],
    missing: Iterable[base.Missing],
    now: datetime,
) -> Observed:
    """Store what a page or a fetch showed; what changed waits to be judged at `now`.

    A fixed number of statements whatever the number of epics. A state older than the stored one is
    left out. Of two sources that see the same ticket the older one holds it.
    """
    result = Observed()
    stored = await _stored(session, tracker, [epic.remote_id for epic in epics])
    fresh: list[tuple[int, dict[str, Any]]] = []
    moved: list[tuple[int, str]] = []
    taken: list[int] = []
    for epic in _once_each(epics):
        before = stored.get(epic.remote_id)
        if before is not None and before.source_id < source_id and before.gone_at is None:
            result.skipped += 1
            result.overlaps.append(epic.key)
            continue
        row = facts_of(epic)
        if before is not None and not _is_news(before, epic, row, source_id):
            continue
        if before is not None and before.key.lower() != epic.key.lower():
            moved.append((before.id, before.key.lower()))
        if before is not None and before.source_id != source_id:
            taken.append(before.id)
        result.created += before is None
        result.updated += before is not None
        fresh.append((before.id if before is not None else NOT_STORED, row))
    gone = {item.ref.remote_id: item.reason for item in missing}
    if fresh and gone:
        await _lock(session, tracker, [id for id, _ in fresh], gone)
    if fresh:
        # Ordered as every bulk write is, by epic id, so that two of them cannot deadlock.
        fresh.sort(key=lambda pair: (pair[0], pair[1]["remote_id"]))
        await _upsert(session, source_id, tracker, [row for _, row in fresh], now)
    await _keep_old_keys(session, source_id, taken, moved)
    if gone:
        result.deleted = await _mark_gone(session, source_id, tracker, gone, now)
    return result


def _once_each(epics: Sequence[base.Epic]) -> Iterable[base.Epic]:
    """The newest state of each ticket: one statement cannot write a row twice."""
    return {epic.remote_id: epic for epic in sorted(epics, key=lambda epic: epic.updated_at)}.values()


async def _lock(session: AsyncSession, tracker: str, ids: list[int], remote_ids: Iterable[str]) -> None:
    """Rows that several statements will write, in the one order that each of them keeps for itself."""
    await session.execute(
        text(
            "SELECT id FROM epics WHERE id = ANY(:ids) OR (tracker = :tracker AND remote_id = ANY(:others))"
            " ORDER BY id FOR NO KEY UPDATE"
        ),
        {"ids": ids, "tracker": tracker, "others": list(remote_ids)},
    )


def _is_news(before: Stored, epic: base.Epic, row: dict[str, Any], source_id: int) -> bool:
    if epic.updated_at < before.tracker_updated_at:
        return False
    same = before.content_hash == bytes.fromhex(row["content_hash"][2:])
    return not same or before.gone_at is not None or before.source_id != source_id


async def _stored(session: AsyncSession, tracker: str, remote_ids: list[str]) -> dict[str, Stored]:
    rows = await session.execute(
        text(
            "SELECT remote_id, id, source_id, key, content_hash, tracker_updated_at, gone_at"
            " FROM epics WHERE tracker = :tracker AND remote_id = ANY(:ids)"
        ),
        {"tracker": tracker, "ids": remote_ids},
    )
    return {row[0]: Stored(*row[1:]) for row in rows}


# Nothing was created in the future, whatever a tracker's clock says; grace could never be counted from there.
_TAKEN = {"tracker_created_at": "least(tracker_created_at, :now)"}
# Who inserted a ticket between our look and this statement is asked again: a newer state stays,
# and so does an older source.
_UPSERT = text(
    f"""
    INSERT INTO epics (source_id, tracker, read_at, look_again_at, {", ".join(COLUMNS)})
    SELECT :source_id, :tracker, :now, :now, {", ".join(_TAKEN.get(name, name) for name in COLUMNS)}
    FROM json_to_recordset(CAST(:rows AS json))
        AS fresh({", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())})
    ON CONFLICT (tracker, remote_id) DO UPDATE SET
        source_id = excluded.source_id, read_at = excluded.read_at,
        look_again_at = excluded.look_again_at, gone_at = NULL, gone_reason = NULL,
        {", ".join(f"{name} = excluded.{name}" for name in COLUMNS if name != "remote_id")}
    WHERE epics.tracker_updated_at <= excluded.tracker_updated_at
        AND (epics.source_id >= excluded.source_id OR epics.gone_at IS NOT NULL)
    """  # noqa: S608  (only the column names above are put in)
)


async def _upsert(
    session: AsyncSession, source_id: int, tracker: str, rows: list[dict[str, Any]], now: datetime
) -> None:
    parameters = {"source_id": source_id, "tracker": tracker, "now": now, "rows": orjson.dumps(rows).decode()}
    await session.execute(_UPSERT, parameters)


async def _keep_old_keys(
    session: AsyncSession, source_id: int, taken: list[int], moved: list[tuple[int, str]]
) -> None:
    """Former keys: of epics that another source held they go with them, of moved ones there is one more."""
    if taken:
        await session.execute(
            text(
                "UPDATE epic_keys SET source_id = :source_id WHERE epic_id = ANY(:ids) AND NOT EXISTS (SELECT"
                " FROM epic_keys AS held WHERE held.source_id = :source_id AND held.key = epic_keys.key)"
            ),
            {"source_id": source_id, "ids": taken},
        )
    if moved:
        await session.execute(
            text(
                "INSERT INTO epic_keys (source_id, key, epic_id)"
                " SELECT :source_id, key, epic_id FROM unnest(CAST(:keys AS text[]), CAST(:ids AS bigint[]))"
                " AS old(key, epic_id) ON CONFLICT (source_id, key) DO UPDATE SET epic_id = excluded.epic_id"
            ),
            {"source_id": source_id, "keys": [key for _, key in moved], "ids": [id for id, _ in moved]},
        )


async def _mark_gone(
    session: AsyncSession, source_id: int, tracker: str, reasons: Mapping[str, str], now: datetime
) -> int:
    """Take tickets that are no longer epics here out of every list; how many were in one."""
    marked = await session.execute(
        text(
            "UPDATE epics SET gone_at = :now, gone_reason = gone.reason, look_again_at = :now"
            " FROM (SELECT epics.id, left_.reason FROM epics"
            "   JOIN unnest(CAST(:ids AS text[]), CAST(:reasons AS text[])) AS left_(remote_id, reason)"
            "   ON left_.remote_id = epics.remote_id"
            "   WHERE epics.tracker = :tracker AND epics.source_id = :source_id AND epics.gone_at IS NULL"
            "   ORDER BY epics.id FOR UPDATE OF epics) AS gone"
            " WHERE epics.id = gone.id RETURNING epics.id"
        ),
        {
            "now": now,
            "source_id": source_id,
            "tracker": tracker,
            "ids": list(reasons),
            "reasons": list(reasons.values()),
        },
    )
    return len(marked.all())


async def leave_out(session: AsyncSession, source_id: int, projects: Sequence[str], now: datetime) -> None:
    """Take every epic of these projects out of the lists: a person narrowed the scope."""
    await session.execute(
        text(
            "UPDATE epics SET gone_at = :now, gone_reason = 'out_of_scope', look_again_at = :now"
            " FROM (SELECT id FROM epics WHERE source_id = :source AND project = ANY(:projects)"
            "   AND gone_at IS NULL ORDER BY id FOR UPDATE) AS outside WHERE epics.id = outside.id"
        ),
        {"now": now, "source": source_id, "projects": list(projects)},
    )


async def maybe_transferred(
    session: AsyncSession, source_id: int, tracker: str, epics: Sequence[base.Epic]
) -> list[base.EpicRef]:
    """Stored epics that some of `epics`, new to us by their ids, may have been before a transfer.

    Of the same title and moment of creation, in another project: where they lead is to be asked. Those
    that left the scope are among them.
    """
    rows = await session.execute(
        text(
            "SELECT epics.remote_id, epics.key FROM epics"
            " JOIN unnest(CAST(:ids AS text[]), CAST(:titles AS text[]), CAST(:moments AS timestamptz[]),"
            "   CAST(:projects AS text[])) AS seen(remote_id, title, at, project)"
            " ON epics.tracker_created_at = seen.at AND epics.title = seen.title"
            "   AND epics.project <> seen.project"
            " WHERE epics.source_id = :source_id AND NOT EXISTS"
            "   (SELECT FROM epics WHERE tracker = :tracker AND remote_id = seen.remote_id)"
            " ORDER BY epics.id"
        ),
        {
            "source_id": source_id,
            "tracker": tracker,
            "ids": [epic.remote_id for epic in epics],
            "titles": [_storable(epic.title) for epic in epics],
            "moments": [epic.created_at for epic in epics],
            "projects": [epic.project for epic in epics],
        },
    )
    return [base.EpicRef(remote_id, key) for remote_id, key in rows]


async def take_over(
    session: AsyncSession, source_id: int, tracker: str, old_remote_id: str, epic: base.Epic, now: datetime
) -> Observed:
    """A ticket came back under a new id (a GitHub transfer): the epic goes on under it, its history kept.

    What was stored under the new id meanwhile leaves its links by hand to it and goes. Its comment got a
    new id as well, so it is looked for by marker before anything is written.
    """
    await _lock(session, tracker, [], (old_remote_id, epic.remote_id))
    stored = await _stored(session, tracker, [old_remote_id, epic.remote_id])
    kept, double = stored.get(old_remote_id), stored.get(epic.remote_id)
    if kept is not None:
        ids = {"kept": kept.id, "double": None if double is None else double.id}
        for statement in _TAKE_OVER:
            await session.execute(statement, {**ids, "remote_id": epic.remote_id})
    return await observe(session, source_id, tracker, [epic], (), now)


_TAKE_OVER = (
    text(
        "UPDATE links SET epic_id = :kept, is_primary = false WHERE epic_id = :double"
        " AND origin IN ('manual', 'command') AND NOT EXISTS (SELECT FROM links AS held WHERE"
        " held.epic_id = :kept AND held.key_result_id = links.key_result_id AND held.origin = links.origin)"
    ),
    # A comment that the double has made goes on as the epic's own, where that has none.
    text(
        "DELETE FROM notices WHERE epic_id = :kept AND remote_id IS NULL AND unanswered_at IS NULL"
        " AND claimed_by IS NULL AND EXISTS (SELECT FROM notices AS other WHERE other.epic_id = :double"
        " AND other.remote_id IS NOT NULL)"
    ),
    text(
        "UPDATE notices SET epic_id = :kept WHERE epic_id = :double AND remote_id IS NOT NULL"
        " AND NOT EXISTS (SELECT FROM notices AS other WHERE other.epic_id = :kept)"
    ),
    text("UPDATE notice_writes SET epic_id = :kept WHERE epic_id = :double"),
    text("DELETE FROM epics WHERE id = :double"),
    text(
        "UPDATE notices SET unanswered_at = TIMESTAMPTZ 'epoch', remote_id = NULL, url = NULL"
        " WHERE remote_id IS NOT NULL AND epic_id = :kept"
    ),
    text("UPDATE epics SET remote_id = :remote_id WHERE id = :kept"),
)
