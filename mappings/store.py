"""Epics as observed: stored in bulk, never twice, never backwards."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

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
    dumped = json.dumps(row)
    if "\\u0000" in dumped or "\\ud" in dumped:
        row = _storable(row)
        dumped = json.dumps(row)
    row["remote_id"] = epic.remote_id
    row["tracker_updated_at"] = epic.updated_at.isoformat()
    row["content_hash"] = "\\x" + hashlib.blake2b(dumped.encode(), digest_size=16).hexdigest()
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

    One SELECT and at most one upsert whatever the number of epics. A state older than the stored
    one is left out. Of two sources that see the same ticket the older one holds it.
    """
    result = Observed()
    stored = await _stored(session, tracker, [epic.remote_id for epic in epics])
    fresh: list[tuple[int, dict[str, Any]]] = []
    moved: list[tuple[int, str]] = []
    for epic in epics:
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
        result.created += before is None
        result.updated += before is not None
        fresh.append((before.id if before is not None else 2**63, row))
    if fresh:
        # Ordered as every bulk write is, by epic id, so that two of them cannot deadlock.
        fresh.sort(key=lambda pair: (pair[0], pair[1]["remote_id"]))
        await _upsert(session, source_id, tracker, [row for _, row in fresh], now)
    if moved:
        await _keep_old_keys(session, source_id, moved)
    result.deleted = await mark_gone(session, source_id, missing, now)
    return result


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


_UPSERT = text(
    f"""
    INSERT INTO epics (source_id, tracker, read_at, look_again_at, {", ".join(COLUMNS)})
    SELECT :source_id, :tracker, :now, :now, {", ".join(COLUMNS)}
    FROM jsonb_to_recordset(CAST(:rows AS jsonb))
        AS fresh({", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())})
    ON CONFLICT (tracker, remote_id) DO UPDATE SET
        source_id = excluded.source_id, read_at = excluded.read_at,
        look_again_at = excluded.look_again_at, gone_at = NULL, gone_reason = NULL,
        {", ".join(f"{name} = excluded.{name}" for name in COLUMNS if name != "remote_id")}
    WHERE epics.tracker_updated_at <= excluded.tracker_updated_at
    """  # noqa: S608  (only the column names above are put in)
)


async def _upsert(
    session: AsyncSession, source_id: int, tracker: str, rows: list[dict[str, Any]], now: datetime
) -> None:
    parameters = {"source_id": source_id, "tracker": tracker, "now": now, "rows": json.dumps(rows)}
    await session.execute(_UPSERT, parameters)


async def _keep_old_keys(session: AsyncSession, source_id: int, moved: list[tuple[int, str]]) -> None:
    await session.execute(
        text(
            "INSERT INTO epic_keys (source_id, key, epic_id)"
            " SELECT :source_id, key, epic_id FROM unnest(CAST(:keys AS text[]), CAST(:ids AS bigint[]))"
            " AS old(key, epic_id) ON CONFLICT (source_id, key) DO UPDATE SET epic_id = excluded.epic_id"
        ),
        {"source_id": source_id, "keys": [key for _, key in moved], "ids": [id for id, _ in moved]},
    )


async def mark_gone(
    session: AsyncSession, source_id: int, missing: Iterable[base.Missing], now: datetime
) -> int:
    """Take tickets that are no longer epics here out of every list; how many were in one."""
    reasons = {item.ref.remote_id: item.reason for item in missing}
    if not reasons:
        return 0
    marked = await session.execute(
        text(
            "UPDATE epics SET gone_at = :now, gone_reason = gone.reason, look_again_at = :now"
            " FROM (SELECT epics.id, left_.reason FROM epics"
            "   JOIN unnest(CAST(:ids AS text[]), CAST(:reasons AS text[])) AS left_(remote_id, reason)"
            "   ON left_.remote_id = epics.remote_id"
            "   WHERE epics.source_id = :source_id AND epics.gone_at IS NULL"
            "   ORDER BY epics.id FOR UPDATE OF epics) AS gone"
            " WHERE epics.id = gone.id RETURNING epics.id"
        ),
        {"now": now, "source_id": source_id, "ids": list(reasons), "reasons": list(reasons.values())},
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


async def take_over(
    session: AsyncSession, source_id: int, tracker: str, old_remote_id: str, epic: base.Epic, now: datetime
) -> None:
    """A ticket came back under a new id (a GitHub transfer): the epic goes on under it, its history kept.

    Its comment got a new id as well, so it is looked for by marker before anything is written.
    """
    parameters = {"tracker": tracker, "old": old_remote_id, "new": epic.remote_id}
    await session.execute(
        text("DELETE FROM epics WHERE tracker = :tracker AND remote_id = :new AND remote_id <> :old"),
        parameters,
    )
    await session.execute(
        text(
            "UPDATE notices SET unanswered_at = TIMESTAMPTZ 'epoch', remote_id = NULL, url = NULL"
            " WHERE remote_id IS NOT NULL AND epic_id ="
            " (SELECT id FROM epics WHERE tracker = :tracker AND remote_id = :old)"
        ),
        parameters,
    )
    await session.execute(
        text("UPDATE epics SET remote_id = :new WHERE tracker = :tracker AND remote_id = :old"), parameters
    )
    await observe(session, source_id, tracker, [epic], (), now)
