"""The searches of issues that Northing makes in Jira, and their pages. Pure.

https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-issue-search/
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from connectors.base import BadPayload

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from connectors.base import Start

FIELDS = (
    "summary", "status", "issuetype", "project", "parent", "labels", "components", "assignee",
    "fixVersions", "description", "created", "updated", "statuscategorychangedate", "resolutiondate",
)  # fmt: skip

PAGE_SIZE = 100
# Jira names no bound of a search. Each project has its own moment, and a search of this many, with their keys
# and moments, is about twelve kilobytes, which its address would not take, but its body does.
MOST_PROJECTS, LONGEST_JQL = 200, 16_000
MOST_PAGES = 10_000  # a million tickets; a longer list is taken for one without an end

# The search index lags behind by seconds to minutes, so each read starts this much earlier.
OVERLAP = timedelta(minutes=5)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def jql_of(project: str, type_ids: Sequence[str], condition: str | None, since: datetime | None) -> str:
    """The search for a project's epics: oldest change first, limited to the project and by type ids.

    The time is in epoch milliseconds, because Jira reads a date in JQL only to the minute, in the time zone
    of the searching user's profile.
    """
    parts = [f'project = "{project}"', *_of_epics(type_ids, condition)]
    if since is not None:
        parts.append(f"updated >= {_milliseconds(_overlapping(since))}")
    return " AND ".join(parts) + _OLDEST_FIRST


def shared_jql(starts: Sequence[Start], type_ids: Sequence[str], condition: str | None) -> str:
    """The search for the epics of several projects, each from its own start on.

    A settled project is searched from behind the second of its newest change: nothing else is left of that
    second to be shown. The newest of those that are not public is searched with the overlap nevertheless, so
    that the answer has a ticket of `projects_that_show_login`.
    """
    newest = max(starts, key=lambda start: (start.project.public is False, start.since or _EPOCH))
    projects: dict[str, list[str]] = {}
    for start in starts:
        settled = start.is_settled and start is not newest
        projects.setdefault(_changed_since(start.since, settled), []).append(f'"{start.project.key}"')
    each = (f"(project in ({', '.join(keys)}){changed})" for changed, keys in projects.items())
    return " AND ".join([f"({' OR '.join(each)})", *_of_epics(type_ids, condition)]) + _OLDEST_FIRST


def projects_that_show_login(starts: Sequence[Start]) -> set[str]:
    """The keys of those whose tickets tell that the login is valid. Without one, Jira shows what is public,
    as if nothing else had changed; where all is public, that is all."""
    return {start.project.key for start in starts if start.project.public is False} or {
        start.project.key for start in starts
    }


def groups_of(starts: Sequence[Start]) -> list[list[Start]]:
    """The starts in groups that one search may have."""
    groups: list[list[Start]] = []
    length = 0
    for start in starts:
        own = len(start.project.key) + _BESIDE_KEY
        if not groups or len(groups[-1]) == MOST_PROJECTS or length + own > LONGEST_JQL:
            groups.append([])
            length = 0
        groups[-1].append(start)
        length += own
    return groups


_BESIDE_KEY = len('(project in ("") AND updated >= 1700000000000) OR ')
_OLDEST_FIRST = " ORDER BY updated ASC, key ASC"


def _of_epics(type_ids: Sequence[str], condition: str | None) -> list[str]:
    return [f"issuetype in ({', '.join(type_ids)})", *([f"({condition})"] if condition else [])]


def _changed_since(since: datetime | None, settled: bool) -> str:
    if since is None:
        return ""
    return f" AND updated >= {_milliseconds(_next_second(since) if settled else _overlapping(since))}"


def _overlapping(since: datetime) -> datetime:
    return max(since, _EPOCH + OVERLAP) - OVERLAP


def _next_second(since: datetime) -> datetime:
    return since.replace(microsecond=0) + timedelta(seconds=1)


def search_body(jql: str, fields: Sequence[str], token: str | None) -> dict[str, Any]:
    """https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-issue-search/#api-rest-api-3-search-jql-post

    The body has no null and no unknown member, because the endpoint answers 400 to both. Without `fields` the
    endpoint returns only ids.
    """
    body: dict[str, Any] = {"jql": jql, "fields": [*FIELDS, *fields], "maxResults": PAGE_SIZE}
    return body | ({"nextPageToken": token} if token else {})


def membership_body(condition: str, ids: Sequence[str]) -> dict[str, Any]:
    """The search for those of `ids` (at most 50) that fit the source's JQL.

    `reconcileIssues` makes Jira read these issues' current state, as the search index lags behind.
    """
    return {
        "jql": f"id in ({', '.join(ids)}) AND ({condition})",
        "fields": ["id"],
        "maxResults": PAGE_SIZE,
        "reconcileIssues": [int(i) for i in ids],
    }


def children_jql(ids: Sequence[str]) -> str:
    """The search for the children of these tickets, not for the children of those, and for the first of them.

    That one is in the answer wherever the login is valid, so that an answer without children can be believed.
    """
    return f"parent in ({', '.join(ids)}) OR id = {ids[0]} ORDER BY key ASC"


def changed_children_jql(since: datetime) -> str:
    """The search for the tickets of a site that have a parent and were updated at or after `since`."""
    return f"parent is not EMPTY AND updated >= {_milliseconds(since)} ORDER BY updated ASC, key ASC"


def _milliseconds(moment: datetime) -> int:
    return max(int((moment - _EPOCH).total_seconds() * 1000), 0)


def next_token(answer: Mapping[str, Any], used: set[str]) -> str | None:
    """The token of the next page, None at the end; adds it to `used`. Raises `BadPayload`.

    Only a missing token means the end: `isLast` is sometimes wrong, and a page may be short or empty.
    """
    token = answer.get("nextPageToken")
    if not token:
        return None
    if not isinstance(token, str) or token in used:
        raise BadPayload(
            "Jira's search gave the same page token twice; its answer cannot be read to the end."
        )
    if len(used) >= MOST_PAGES:
        raise BadPayload(f"Jira's search has more than {MOST_PAGES} pages; it is not read to its end.")
    used.add(token)
    return token


def at_end(answer: Mapping[str, Any], page: list[Any], found: list[Any]) -> bool:
    """Whether this is the last page: it is empty, the total is reached, or `isLast` is true.

    A page that is shorter than asked for is not the end.
    """
    total = answer.get("total")
    reached = isinstance(total, int) and len(found) >= total
    return not page or reached or answer.get("isLast") is True
