"""What is stored of epics, compared with what was read of them just now."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from connectors import base

# Details that are no numbers, compared by one hash. No text of a tracker has the sign that separates them
# (`connectors.json`).
_TEXTS = ("parent_remote_id", "parent_title", "parent_url", "description")
_BETWEEN = "\x1f"
_STORED_HASH = f" || E'\\x{ord(_BETWEEN):02x}' || ".join(f"coalesce(epics.{name}, '')" for name in _TEXTS)
_STORED_HASH = f"sha256(convert_to({_STORED_HASH}, 'UTF8'))"


def _hash_of(row: Mapping[str, Any]) -> bytes:
    """What `_STORED_HASH` is once the row is stored."""
    return hashlib.sha256(_BETWEEN.join([row[name] or "" for name in _TEXTS]).encode()).digest()


@dataclass(frozen=True, slots=True)
class StoredEpic:
    id: int
    source_id: int
    key: str
    content_hash: bytes
    tracker_updated_at: datetime
    removed_at: datetime | None
    evaluated_at: datetime | None
    parent_key: str | None
    parent_remote_id: str | None
    texts_hash: bytes
    children: int | None
    children_done: int | None
    children_at: datetime | None

    def is_moved_by(self, row: Mapping[str, Any]) -> bool:
        """Whether what is above or below it may be another with these values, or was never found out."""
        is_known = self.removed_at is None and self.evaluated_at is not None
        here = self.key, self.parent_key, self.parent_remote_id
        return not is_known or here != (row["key"], row["parent_key"], row["parent_remote_id"])

    def is_replaced_by(self, epic: base.Epic, row: Mapping[str, Any], source_id: int) -> bool:
        """Whether the row is newer, and has other facts, or is of a ticket that was removed or moves here."""
        if epic.updated_at < self.tracker_updated_at:
            return False
        same = self.content_hash == bytes.fromhex(row["content_hash"][2:])
        return not same or self.removed_at is not None or self.source_id != source_id

    def has_other_details(self, epic: base.Epic, row: Mapping[str, Any], requested_at: datetime) -> bool:
        """Than the row, which is not older; counts that were asked for before those stored do not count."""
        if epic.updated_at < self.tracker_updated_at:
            return False
        if self.texts_hash != _hash_of(row):
            return True
        counted = epic.children is not None and (self.children_at is None or self.children_at <= requested_at)
        return counted and (self.children, self.children_done) != (row["children"], row["children_done"])


# In the order of the members of `StoredEpic`.
_MEMBERS = f"""
    epics.id, epics.source_id, epics.key, epics.content_hash, epics.tracker_updated_at, epics.removed_at,
    epics.evaluated_at, epics.parent_key, epics.parent_remote_id, {_STORED_HASH}, epics.children,
    epics.children_done, epics.children_at
"""
_LOAD = text(
    f"SELECT remote_id, {_MEMBERS} FROM epics"  # noqa: S608  # only the columns above are put in
    " WHERE tracker = :tracker AND remote_id = ANY(:ids)"
)


async def load_stored_epics(
    session: AsyncSession, tracker: str, remote_ids: list[str]
) -> dict[str, StoredEpic]:
    rows = await session.execute(_LOAD, {"tracker": tracker, "ids": remote_ids})
    return {remote_id: StoredEpic(*members) for remote_id, *members in rows}


# Nearly all that a full run reads is as it is stored: the database compares, and gives back the others alone.
# The limit has each epic looked up in the index, also where the planner does not know yet how many there are.
_LOAD_DIFFERENT = text(
    f"""
    SELECT given.remote_id, {_MEMBERS}
    FROM json_to_recordset(CAST(:rows AS json)) AS given(
        remote_id text, content_hash bytea, texts_hash bytea, updated_at timestamptz, children int, done int)
    LEFT JOIN LATERAL (
        SELECT * FROM epics WHERE tracker = :tracker AND remote_id = given.remote_id LIMIT 1
    ) AS epics ON true
    WHERE (epics.source_id = :source_id AND epics.removed_at IS NULL
        AND epics.content_hash = given.content_hash AND epics.tracker_updated_at <= given.updated_at
        AND {_STORED_HASH} = given.texts_hash
        AND (given.children IS NULL
            OR (epics.children, epics.children_done) IS NOT DISTINCT FROM (given.children, given.done))
    ) IS NOT TRUE
    """  # noqa: S608  # only the columns above are put in
)


async def load_different(
    session: AsyncSession, source_id: int, tracker: str, rows: Sequence[Mapping[str, Any]]
) -> dict[str, StoredEpic | None]:
    """By their ids in the tracker, what is stored of those of `upsert.row_of` that are stored differently, or
    by another source, or not at all (None)."""
    if not rows:
        return {}
    given = [
        {
            "remote_id": row["remote_id"],
            "content_hash": row["content_hash"],
            "texts_hash": "\\x" + _hash_of(row).hex(),
            "updated_at": row["tracker_updated_at"],
            "children": row["children"],
            "done": row["children_done"],
        }
        for row in rows
    ]
    found = await session.execute(
        _LOAD_DIFFERENT, {"source_id": source_id, "tracker": tracker, "rows": orjson.dumps(given).decode()}
    )
    return {remote_id: None if members[0] is None else StoredEpic(*members) for remote_id, *members in found}
