"""Whether all is well: what Northing has stored, and what it has written, against the trackers' own truth."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import httpx
import psycopg

from tests.soak.sources import KEYS, SoakSource
from tests.soak.tickets import Ticket

# What has to be done at this moment, or is still to come of what has begun.
_LEFT = {
    "runs not ended": "SELECT id, mode, state FROM runs WHERE finished_at IS NULL AND due_at <= %(now)s",
    "epics not evaluated": "SELECT key FROM epics WHERE evaluate_at <= %(now)s AND removed_at IS NULL",
    "tickets not written": "SELECT epic_id, state, target, due_at FROM notices WHERE target IS NOT NULL",
    "claims not given back": "SELECT epic_id FROM notices WHERE claimed_by IS NOT NULL",
    "webhooks not worked on": "SELECT id, event, attempts, due_at FROM deliveries WHERE due_at IS NOT NULL",
}
# What has happened on a tracker since `since` is known only once all of it has been read after that.
_READ = """
    SELECT sources.name FROM sources WHERE NOT EXISTS (
        SELECT FROM runs WHERE source_id = sources.id AND mode = 'full' AND state = 'succeeded'
            AND started_at > %(since)s)
"""
_BROKEN = {
    "a run broke down": "SELECT id, mode, error FROM runs WHERE state = 'failed'",
    "a webhook failed": "SELECT id, event, error FROM deliveries WHERE state = 'failed'",
}


def left(database: psycopg.Connection[Any], now: datetime, since: datetime) -> list[str]:
    """What there is still to do; nothing once all is quiet."""
    questions = {**_LEFT, "sources not read": _READ}
    return list(_answers(database, questions, {"now": now, "since": since}))


def broken(database: psycopg.Connection[Any]) -> list[str]:
    return list(_answers(database, _BROKEN, {}))


def _answers(
    database: psycopg.Connection[Any], questions: dict[str, str], values: dict[str, Any]
) -> Iterator[str]:
    for what, question in questions.items():
        rows = database.execute(question, values).fetchall()
        if rows:
            yield f"{what}: {len(rows)}, first {rows[0]}"


class SoakFindings:
    """On one source, named as its kind."""

    def __init__(self, soak_source: SoakSource, api: httpx.Client, database: psycopg.Connection[Any]) -> None:
        self._place, self._api, self._database = soak_source, api, database
        self._kind = soak_source.tickets.kind

    def found(self) -> Iterator[str]:
        """What is not as it has to be, in words."""
        received = dict(self._database.execute(_DELIVERIES, [self._kind]).fetchall())
        yield from self._webhooks(received)
        truth = {ticket.id: ticket for ticket in self._place.tickets.all()}
        stored = {item["id"]: item for item in self._all("epics")}
        for id in truth.keys() - stored.keys():
            yield f"{truth[id].key} is not stored"
        for id in stored.keys() - truth.keys():
            yield f"{stored[id]['key']} is stored and was deleted"
        comments = dict(self._database.execute(_COMMENTS, [self._kind]).fetchall())
        for id in truth.keys() & stored.keys():
            # A sync finds a command whose webhook was lost, or came before the ticket was known.
            linked = id in self._place.commands
            self._place.counts["held by the guard"] += _held_by_guard(stored[id]["notice"])
            for wrong in _wrong(truth[id], _alignment(truth[id], linked), stored[id], comments.get(id)):
                yield f"{truth[id].key}: {wrong}"

    def _webhooks(self, received: dict[str, str]) -> Iterator[str]:
        self._place.note_accepted()
        for id in sorted(self._place.accepted):
            if received.get(id) not in ("done", "ignored"):
                yield f"{self._kind} webhook {id} was accepted and is {received.get(id, 'lost')}"

    def _all(self, what: str) -> Iterator[dict[str, Any]]:
        following: str | None = ""
        while following is not None:
            query = {"source": self._kind, "limit": "500"} if not following else {"cursor": following}
            page = self._api.get(f"/api/v1/{what}", params=query).raise_for_status().json()
            yield from page["items"]
            following = page["next"]


_DELIVERIES = """
    SELECT deliveries.remote_id, deliveries.state FROM deliveries JOIN sources ON sources.id = source_id
    WHERE sources.name = %s
"""
_COMMENTS = """
    SELECT epics.remote_id, notices.remote_id FROM notices JOIN epics ON epics.id = epic_id
    JOIN sources ON sources.id = epics.source_id WHERE sources.name = %s
"""


def _wrong(ticket: Ticket, alignment: str, epic: dict[str, Any], comment: str | None) -> Iterator[str]:
    """`comment` is the id that Northing remembers."""
    facts = {"key": ticket.key, "title": ticket.title}
    for member, expected in facts.items():
        if epic[member] != expected:
            yield f"its {member} is stored as {epic[member]!r}, not {expected!r}"
    if sorted(epic["labels"]) != sorted(ticket.labels):
        yield f"its labels are stored as {epic['labels']}, not {ticket.labels}"
    if (epic["status_category"] != "done") != ticket.is_open:
        yield f"it is stored as {epic['status_category']}"
    if epic["alignment"] != alignment:
        yield f"it is evaluated as {epic['alignment']}, not {alignment}"
        return
    yield from _wrong_comment(ticket, alignment, epic["notice"], comment)


def _held_by_guard(notice: dict[str, Any] | None) -> bool:
    """The only hold that a person has to end: with `max_share` at its most it is rare, and right."""
    return notice is not None and notice["reason"] == "guard"


def _alignment(ticket: Ticket, linked: bool) -> str:
    """`linked`: by a command."""
    named = [key for key in KEYS if f"kr:{key}" in ticket.labels or f"Key-Result: {key}" in ticket.text]
    if named or linked:
        return "aligned"
    return "unaligned" if ticket.is_open else "exempt"


def _wrong_comment(
    ticket: Ticket, alignment: str, notice: dict[str, Any] | None, comment: str | None
) -> Iterator[str]:
    if len(ticket.ours) > 1:
        yield f"{len(ticket.ours)} comments of ours stand on it"
        return
    if not ticket.ours:
        if alignment == "unaligned" and not _held_by_guard(notice):
            yield f"it lacks our comment; its notice is {notice and (notice['state'], notice['detail'])}"
        elif notice is not None and notice["state"] in ("posted", "resolved"):
            yield f"its notice is {notice['state']}, and no comment of ours is on it"
        return
    ((id, words),) = ticket.ours
    expected = "posted" if alignment == "unaligned" else "resolved"
    if notice is None or (notice["state"], comment) != (expected, id):
        yield f"our comment {id} is there and its notice is {notice and notice['state']}, comment {comment}"
    elif _words(words) != _words(notice["body"]):
        yield f"our comment says {words!r:.200}, its notice {notice['body']!r:.200}"
    elif (alignment == "unaligned") == ("\n" not in _MARKER.sub("", words)):
        yield f"it is {alignment}, and our comment says {words!r:.200}"


_MARKER = re.compile(r"(?m)^<!--.*-->\n+")
# Jira shows the words of a link, the notice its address too.
_NO_WORDS = re.compile(r"\(http\S+\)|\W")


def _words(text: str) -> str:
    return _NO_WORDS.sub("", text)
