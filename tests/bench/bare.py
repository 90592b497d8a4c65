"""The bare minimum of a first sync: the same pages fetched, decoded, perhaps inserted, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Iterator
from time import perf_counter
from typing import Any

import psycopg
import requests

from connectors.jira import payloads, search
from tests.bench.servers import Tracker

PROJECT = "CROWD"
SECONDS = 30

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
        types = session.get(f"{tracker.url}/rest/api/3/issuetype", timeout=SECONDS).json()
        jql = search.jql_of(PROJECT, payloads.epic_type_ids(types, None), None, None)
        token: str | None = None
        while True:
            body = search.search_body(jql, (), token)
            answer = session.post(f"{tracker.url}/rest/api/3/search/jql", json=body, timeout=SECONDS)
            answer.raise_for_status()
            page = json.loads(answer.content)
            yield page["issues"]
            token = page.get("nextPageToken")
            if token is None:
                return


def _checked(seconds: float, count: int, tracker: Tracker) -> float:
    if count != tracker.epics:
        raise RuntimeError(f"{count} epics were read, {tracker.epics} are there")
    return seconds
