"""From Jira Cloud's JSON to our values, and back. Pure.

https://developer.atlassian.com/cloud/jira/platform/rest/v3/
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from connectors.base import Account, BadPayload, Epic, Marker, Project, Rejected, StatusCategory, Unauthorized
from connectors.jira.text import lines_of
from connectors.markup import storable, to_adf

if TYPE_CHECKING:
    from connectors.document import Document

FIELDS = (
    "summary", "status", "issuetype", "project", "parent", "labels", "components", "assignee",
    "fixVersions", "description", "created", "updated",
)  # fmt: skip

PAGE_SIZE = 100
MOST_PAGES = 10_000  # a million tickets; a longer list is taken for one without an end
PROPERTY = "northing"

# The search index lags behind by seconds to minutes, so each read starts this much earlier.
OVERLAP = timedelta(minutes=5)

_CATEGORIES: dict[str, StatusCategory] = {"new": "todo", "indeterminate": "doing", "done": "done"}


# --- tickets --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Ticket:
    """An issue as an epic, and the id of its type, which decides whether it is one."""

    epic: Epic
    type_id: str


def ticket_of(issue: Any, site: str, fields: Sequence[str] = ()) -> Ticket:
    """One issue of a search, a bulk fetch or a webhook. Raises `BadPayload`.

    `site` is the address that people use; the issue's member `self` is not, as it may name the API gateway.
    `fields` are the custom field ids to keep.
    """
    try:
        found = issue["fields"]
        key = str(issue["key"])
        kind = found.get("issuetype") or {}
        status = found.get("status") or {}
        sub_task = kind.get("subtask") is True or kind.get("hierarchyLevel") == -1
        epic = Epic(
            remote_id=str(issue["id"]),
            key=key,
            project=str((found.get("project") or {}).get("key") or key.rpartition("-")[0]),
            title=storable(str(found.get("summary") or "")),
            url=f"{site}/browse/{key}",
            type=storable(str(kind.get("name") or "")),
            status=storable(str(status.get("name") or "")),
            status_category=_category(status),
            created_at=moment_of(found["created"]),
            updated_at=moment_of(found["updated"]),
            labels=tuple(storable(label) for label in found.get("labels") or ()),
            assignees=_names([found.get("assignee")]),
            components=_names(found.get("components") or ()),
            milestone=next(iter(_names(found.get("fixVersions") or ())), None),
            parent_key=None if sub_task else _key_in(found.get("parent") or {}),
            text=lines_of(found.get("description")),
            fields={name: strings_of(found[name]) for name in fields if name in found},
        )
        return Ticket(epic, str(kind.get("id") or ""))
    except (KeyError, TypeError, OverflowError, ValueError, AttributeError) as error:
        named = issue.get("key") if isinstance(issue, dict) else None
        raise BadPayload(f"Jira's issue {named or '(no key)'} could not be read: {error!r}") from error


def moment_of(text: str) -> datetime:
    """A time such as `2024-01-15T10:30:00.000+0800`, in UTC. Raises `ValueError` without a time zone."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"no time zone in {text!r}")
    return moment.astimezone(UTC)


def _category(status: Mapping[str, Any]) -> StatusCategory:
    """The category by its key, which Jira does not translate; `undefined` and unknown keys are `todo`."""
    return _CATEGORIES.get(str((status.get("statusCategory") or {}).get("key")), "todo")


def _key_in(parent: Mapping[str, Any]) -> str | None:
    key = parent.get("key")
    return storable(key) if isinstance(key, str) else None


def _names(things: Iterable[Any]) -> tuple[str, ...]:
    found = (thing.get("displayName") or thing.get("name") for thing in things if isinstance(thing, dict))
    return tuple(storable(str(name)) for name in found if name)


def strings_of(value: Any) -> tuple[str, ...]:
    """A custom field's value as the strings that a rule can compare: options, users, versions by their name.

    A cascading select gives both of its levels; rich text gives its lines.
    """
    if value is None:
        return ()
    if isinstance(value, bool):
        return (str(value).lower(),)
    if isinstance(value, float) and value.is_integer():
        return (str(int(value)),)
    if isinstance(value, list):
        return tuple(text for item in value for text in strings_of(item))
    if not isinstance(value, dict):
        return (storable(str(value)),)
    if value.get("type") == "doc":
        return lines_of(value)
    names = (value.get(key) for key in ("value", "displayName", "name", "title", "key"))
    name = next((n for n in names if isinstance(n, str) and n), None)
    return ((storable(name),) if name else ()) + strings_of(value.get("child"))


def issues_of(answer: Any) -> list[Any]:
    if not isinstance(answer, dict) or not isinstance(answer.get("issues"), list):
        raise BadPayload("Jira's answer has no list of issues.")
    return list(answer["issues"])


# --- search ---------------------------------------------------------------------------------


def jql_of(project: str, type_ids: Sequence[str], condition: str | None, since: datetime | None) -> str:
    """The search for a project's epics: oldest change first, limited to the project and by type ids.

    The time is in epoch milliseconds, because Jira reads a date in JQL only to the minute, in the time zone
    of the searching user's profile.
    """
    parts = [f'project = "{project}"', f"issuetype in ({', '.join(type_ids)})"]
    if condition:
        parts.append(f"({condition})")
    if since is not None:
        parts.append(f"updated >= {int((since - OVERLAP).timestamp() * 1000)}")
    return " AND ".join(parts) + " ORDER BY updated ASC, key ASC"


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


# --- types, projects, account ---------------------------------------------------------------


def epic_type_ids(types: Any, names: Sequence[str] | None) -> list[str]:
    """The ids of the named issue types, or of all on hierarchy level 1. Raises `Rejected`.

    Names are translated and may change, and team-managed projects have types of the same name, so one name
    may mean several ids.
    """
    if not isinstance(types, list) or not all(isinstance(t, dict) and "id" in t for t in types):
        raise BadPayload("Jira's list of issue types could not be read.")
    known = sorted({str(t.get("name")) for t in types})
    if names is None:
        ids = {str(t["id"]) for t in types if t.get("hierarchyLevel") == 1}
        if not ids:
            raise Rejected(
                "Jira has no issue type on hierarchy level 1.",
                f"Name the types in epics.issue_types; there are: {', '.join(known)}.",
            )
        return sorted(ids)
    by_name: dict[str, set[str]] = {}
    for kind in types:
        for name in {kind.get("name"), kind.get("untranslatedName")} - {None}:
            by_name.setdefault(str(name).casefold(), set()).add(str(kind["id"]))
    unknown = [name for name in names if name.casefold() not in by_name]
    if unknown:
        raise Rejected(
            f"Jira has no issue type named {', '.join(unknown)}.",
            f"Change epics.issue_types; there are: {', '.join(known)}.",
        )
    return sorted({i for name in names for i in by_name[name.casefold()]})


def project_of(project: Any) -> Project:
    """The project. `public` is False: Jira does not say whether everyone may browse a project."""
    try:
        return Project(str(project["key"]), service_desk=project.get("projectTypeKey") == "service_desk")
    except (KeyError, TypeError, AttributeError) as error:
        raise BadPayload("A project in Jira's answer could not be read.") from error


def account_of(myself: Any) -> Account:
    """The account from `/myself`. Raises `Unauthorized` if there is no account id: we are anonymous."""
    if not isinstance(myself, dict) or not myself.get("accountId"):
        raise Unauthorized(
            "Jira treats our requests as anonymous.", "Give the source a valid e-mail address and API token."
        )
    return Account(str(myself["accountId"]), str(myself.get("displayName") or myself["accountId"]))


# --- comments -------------------------------------------------------------------------------


def new_comment(text: Document, marker: Marker) -> dict[str, Any]:
    """Text and marker in one request, so that a comment of ours is never without its marker.

    https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-issue-comments/#api-rest-api-3-issue-issueidorkey-comment-post
    """
    return {"body": to_adf(text), "properties": [{"key": PROPERTY, "value": {"id": str(marker)}}]}


def edited_comment(text: Document) -> dict[str, Any]:
    return {"body": to_adf(text)}


def marker_of(comment: Any) -> str | None:
    """The marker of a comment that was read with its properties."""
    properties = comment.get("properties") if isinstance(comment, dict) else None
    for one in properties if isinstance(properties, list) else ():
        value = one.get("value") if isinstance(one, dict) and one.get("key") == PROPERTY else None
        if isinstance(value, dict) and isinstance(value.get("id"), str):
            return str(value["id"])
    return None


def author_of(comment: Any) -> str | None:
    """The id of the account that wrote a comment; None where Jira does not name one."""
    author = comment.get("author") if isinstance(comment, dict) else None
    return str(author["accountId"]) if isinstance(author, dict) and author.get("accountId") else None


def comment_url(site: str, issue_key: str, comment_id: str) -> str:
    return f"{site}/browse/{issue_key}?focusedCommentId={comment_id}"
