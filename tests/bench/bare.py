"""The bare minimum of a first sync: the same pages fetched, decoded, perhaps inserted, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

import orjson
import psycopg
import requests

from connectors.jira import payloads, search
from mappings.epics.rows import COLUMNS, row_of
from tests.bench.servers import Tracker

PROJECT = "CROWD"
SECONDS = 30

# The columns of each epic, worked out by the same functions, with all indexes of Northing's table; only its
# foreign keys are missing.
_LIKE_EPICS = "CREATE TABLE bare (LIKE epics INCLUDING ALL)"
_INSERT_COLUMNS = f"""
    INSERT INTO bare (source_id, tracker, read_at, {", ".join(COLUMNS)})
    SELECT 1, 'bare', now(), {", ".join(COLUMNS)} FROM json_to_recordset(%s::json)
        AS page({", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())})
"""
# The whole issue, decoded: no column is worked out, no index is kept.
_TABLE = "CREATE TABLE bare (id text, key text, fields jsonb)"
_INSERT = (
    "INSERT INTO bare SELECT * FROM jsonb_to_recordset(%s::jsonb) AS page(id text, key text, fields jsonb)"
)


def fetch_and_decode(tracker: Tracker) -> float:
    """Seconds for every page over one kept-alive connection."""
    start = perf_counter()
    count = sum(len(page) for page in _pages(tracker))
    return _checked(perf_counter() - start, count, tracker)


def fetch_and_insert(tracker: Tracker, database: str) -> float:
    """Seconds for the same with one autocommitted statement a page into a table like that of the epics.

    `database` is migrated. Nothing is compared, evaluated or counted, and no run can be taken up again.
    """
    count, site = 0, tracker.url
    with psycopg.connect(database, autocommit=True, connect_timeout=10) as connection:
        connection.execute(_LIKE_EPICS)
        start = perf_counter()
        for page in _pages(tracker):
            asked = datetime.now(UTC)
            rows = [row_of(payloads.ticket_of(issue, site).epic, asked) for issue in page]
            count += connection.execute(_INSERT_COLUMNS, [orjson.dumps(rows).decode()]).rowcount
        return _checked(perf_counter() - start, count, tracker)


def fetch_and_insert_without_index(tracker: Tracker, database: str) -> float:
    """Seconds for the same with one autocommitted statement a page into a table without indexes."""
    count = 0
    with psycopg.connect(database, autocommit=True, connect_timeout=10) as connection:
        connection.execute(_TABLE)
        start = perf_counter()
        for page in _pages(tracker):
            count += connection.execute(_INSERT, [json.dumps(page)]).rowcount
        return _checked(perf_counter() - start, count, tracker)


def _pages(tracker: Tracker) -> Iterator[list[dict[str, Any]]]:
    """The pages Northing asks for, with the same fields and in the same order."""
    with requests.Session() as session:
        session.auth = (tracker.email, tracker.token)
        body = first_search(session, tracker)
        while True:
            answer = session.post(f"{tracker.url}/rest/api/3/search/jql", json=body, timeout=SECONDS)
            answer.raise_for_status()
            page = json.loads(answer.content)
            yield page["issues"]
            if page.get("nextPageToken") is None:
                return
            body["nextPageToken"] = page["nextPageToken"]


def first_search(session: requests.Session, tracker: Tracker) -> dict[str, Any]:
    """The body of the first search that Northing sends: the same epics with the same fields."""
    types = session.get(f"{tracker.url}/rest/api/3/issuetype", timeout=SECONDS).json()
    jql = search.jql_of(PROJECT, payloads.epic_type_ids(types, None), None, None)
    return search.search_body(jql, payloads.DUE_DATE.ids, None)


def _checked(seconds: float, count: int, tracker: Tracker) -> float:
    if count != tracker.epics:
        raise RuntimeError(f"{count} epics were read, {tracker.epics} are there")
    return seconds
