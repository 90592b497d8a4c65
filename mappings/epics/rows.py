"""The row of an epic that a tracker answered with: its columns, and its values as JSON with their hash."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import orjson

from mappings.epics.storable import without_nul
from mappings.links.references import READER_VERSION, parse_references, stored_references

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from connectors import base
    from connectors.ticket_text import Line

# The facts of an epic that are stored and compared, with their SQL types.
FACT_COLUMNS = {
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
    "ticket_references": "text[]",
    "fields": "jsonb",
    "tracker_created_at": "timestamptz",
    "starts_on": "date",
    "due_on": "date",
    "points": "float8",
    "finished_at": "timestamptz",
}
# What is stored and not compared by the hash: it changes without its ticket, and no finding depends on it.
DETAIL_COLUMNS = {
    "parent_remote_id": "text",
    "parent_title": "text",
    "parent_url": "text",
    "children": "int",
    "children_done": "int",
    "children_at": "timestamptz",
    "description": "text",
}
# Of a description so many characters are stored: key results are suggested from them, and nothing else reads
# them.
DESCRIPTION_CHARACTERS = 2_000
COLUMNS = {
    "remote_id": "text",
    **FACT_COLUMNS,
    **DETAIL_COLUMNS,
    "tracker_updated_at": "timestamptz",
    "content_hash": "bytea",
}
# What the row of a new epic has besides where it was evaluated before it is stored.
EVALUATION_COLUMNS = {
    "id": "bigint",
    "alignment": "text",
    "evaluate_at": "timestamptz",
    "evaluated_at": "timestamptz",
    "evaluated_version": "bigint",
}


def row_of(epic: base.Epic, requested_at: datetime, reader_version: int = READER_VERSION) -> dict[str, Any]:
    """The row of an epic as values of JSON, and of `datetime`, with the content hash; `orjson` writes it.

    `requested_at`: when the tracker was asked for it, or before that. `reader_version` is a part of the hash:
    what another version of the reader stored is stored and evaluated again.
    """
    parent, children = epic.parent, epic.children
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
        "parent_key": None if parent is None else parent.key,
        "ticket_references": stored_references(
            parse_references(epic.text, epic.labels, epic.key_result_field)
        ),
        "fields": epic.fields,
        "tracker_created_at": epic.created_at,
        "starts_on": epic.starts_on,
        "due_on": epic.due_on,
        "points": epic.points,
        "finished_at": epic.finished_at,
    }
    try:
        dumped = orjson.dumps(row)
        clean = b"\\u0000" not in dumped
    except orjson.JSONEncodeError:  # a lone surrogate
        clean = False
    if not clean:
        row = without_nul(row)
        dumped = orjson.dumps(row)
    row["parent_remote_id"] = None if parent is None else without_nul(parent.remote_id) or None
    row["parent_title"] = None if parent is None else without_nul(parent.title) or None
    row["parent_url"] = None if parent is None else without_nul(parent.url) or None
    row["description"] = _excerpt(epic.text)
    row["children"] = None if children is None else children.total
    row["children_done"] = None if children is None else children.done
    row["children_at"] = None if children is None else requested_at
    row["remote_id"] = epic.remote_id
    row["tracker_updated_at"] = epic.updated_at
    read_as = hashlib.blake2b(dumped, digest_size=16, salt=reader_version.to_bytes(16))
    row["content_hash"] = "\\x" + read_as.hexdigest()
    return row


def _excerpt(lines: Iterable[Line]) -> str | None:
    """The first lines of a description, a line each; None where it has no words."""
    kept: list[str] = []
    left = DESCRIPTION_CHARACTERS
    for line in lines:
        if left <= 0:
            break
        if text := line.text.strip():
            kept.append(text[:left])
            left -= len(text) + 1
    return without_nul("\n".join(kept)) or None
