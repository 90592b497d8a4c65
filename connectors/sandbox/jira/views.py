"""The JSON of a Jira Cloud site for users, projects, issues and comments.

Links named `self` have the address of Atlassian's gateway, not the one that the client called. A client that
follows or parses them fails here as it fails at Atlassian.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from connectors.sandbox.jira.records import Account, Comment, Issue, IssueType, Json, Project, Status
    from connectors.sandbox.jira.site import JiraSite

CATEGORIES: dict[str, Json] = {
    "new": {"id": 2, "key": "new", "colorName": "blue-gray", "name": "To Do"},
    "indeterminate": {"id": 4, "key": "indeterminate", "colorName": "yellow", "name": "In Progress"},
    "done": {"id": 3, "key": "done", "colorName": "green", "name": "Done"},
}
CUSTOM_FIELDS: dict[str, tuple[str, str, str]] = {
    "customfield_10014": ("Epic Link", "any", "com.pyxis.greenhopper.jira:gh-epic-link"),
    "customfield_10015": (
        "Start date",
        "date",
        "com.atlassian.jira.plugin.system.customfieldtypes:datepicker",
    ),
    "customfield_10016": ("Story point estimate", "number", "com.pyxis.greenhopper.jira:jsw-story-points"),
    "customfield_10020": ("Sprint", "array", "com.pyxis.greenhopper.jira:gh-sprint"),
    "customfield_10035": (
        "Key result",
        "string",
        "com.atlassian.jira.plugin.system.customfieldtypes:textfield",
    ),
}
COMMENT_PAGE = 20


SITE = "https://acme.atlassian.example"


def dump(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def stamp(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}+0000"


def link(site: JiraSite, path: str) -> str:
    return f"https://api.atlassian.com/ex/jira/{site.cloud_id}/rest/api/3/{path}"


def user(site: JiraSite, account: Account) -> Json:
    return {
        "self": link(site, f"user?accountId={account.account_id}"),
        "accountId": account.account_id,
        "accountType": account.kind,
        "emailAddress": account.email,
        "displayName": account.name,
        "active": account.active,
        "timeZone": account.time_zone,
    }


def issue_type(site: JiraSite, kind: IssueType) -> Json:
    shown: Json = {
        "self": link(site, f"issuetype/{kind.id}"),
        "id": kind.id,
        "description": "",
        "name": kind.name,
        "subtask": kind.level == -1,
        "hierarchyLevel": kind.level,
    }
    if kind.project:
        shown["scope"] = {"type": "PROJECT", "project": {"id": kind.project}}
    return shown


def status(site: JiraSite, value: Status) -> Json:
    category = {
        "self": link(site, f"statuscategory/{CATEGORIES[value.category]['id']}"),
        **CATEGORIES[value.category],
    }
    return {
        "self": link(site, f"status/{value.id}"),
        "description": "",
        "name": value.name,
        "id": value.id,
        "statusCategory": category,
    }


def project(site: JiraSite, value: Project) -> Json:
    return {
        "self": link(site, f"project/{value.id}"),
        "id": value.id,
        "key": value.key,
        "name": value.name,
        "projectTypeKey": value.type_key,
        "simplified": value.team_managed,
        "style": "next-gen" if value.team_managed else "classic",
        "isPrivate": False,
    }


def comment(site: JiraSite, issue: Issue, value: Comment, *, properties: bool = False) -> Json:
    """One comment. Lists leave `properties` out, as in Jira."""
    shown: Json = {
        "self": link(site, f"issue/{issue.id}/comment/{value.id}"),
        "id": value.id,
        "author": user(site, value.author),
        "body": value.body,
        "updateAuthor": user(site, value.author),
        "created": stamp(value.created),
        "updated": stamp(value.updated),
        "jsdPublic": not value.internal,
    }
    if value.visibility is not None:
        shown["visibility"] = value.visibility
    if properties:
        shown["properties"] = [{"key": key, "value": content} for key, content in value.properties.items()]
    return shown


def comments_field(site: JiraSite, issue: Issue) -> Json:
    """The field `comment`. It holds the first page only, so a client must not search for a comment here."""
    page = issue.comments[:COMMENT_PAGE]
    return {
        "comments": [comment(site, issue, one) for one in page],
        "self": link(site, f"issue/{issue.id}/comment"),
        "maxResults": COMMENT_PAGE,
        "total": len(issue.comments),
        "startAt": 0,
    }


def _relative(site: JiraSite, issue: Issue) -> Json:
    return {
        "id": issue.id,
        "key": issue.key,
        "self": link(site, f"issue/{issue.id}"),
        "fields": {
            "summary": issue.summary,
            "status": status(site, issue.status),
            "issuetype": issue_type(site, issue.type),
        },
    }


def _resolution(site: JiraSite, issue: Issue) -> Json | None:
    if issue.status.category != "done":
        return None
    return {"self": link(site, "resolution/10000"), "id": "10000", "description": "", "name": "Done"}


FIELDS: dict[str, Callable[[JiraSite, Issue], Any]] = {
    "summary": lambda s, i: i.summary,
    "description": lambda s, i: i.description,
    "issuetype": lambda s, i: issue_type(s, i.type),
    "project": lambda s, i: project(s, i.project),
    "status": lambda s, i: status(s, i.status),
    "statusCategory": lambda s, i: status(s, i.status)["statusCategory"],
    "labels": lambda s, i: i.labels,
    "components": lambda s, i: [
        {"self": link(s, f"component/{n}"), "id": str(10500 + n), "name": name}
        for n, name in enumerate(i.components)
    ],
    "fixVersions": lambda s, i: [],
    "assignee": lambda s, i: user(s, i.assignee) if i.assignee else None,
    "reporter": lambda s, i: user(s, i.reporter),
    "creator": lambda s, i: user(s, i.reporter),
    "priority": lambda s, i: {"self": link(s, "priority/3"), "id": "3", "name": "Medium"},
    "created": lambda s, i: stamp(i.created),
    "updated": lambda s, i: stamp(i.updated),
    "resolution": _resolution,
    "resolutiondate": lambda s, i: (
        stamp(i.category_changed or i.updated) if i.status.category == "done" else None
    ),
    "statuscategorychangedate": lambda s, i: stamp(
        i.category_changed or (i.updated if i.status.category == "done" else i.created)
    ),
    "duedate": lambda s, i: i.custom.get("duedate"),
    "parent": lambda s, i: _relative(s, i.parent) if i.parent else None,
    "subtasks": lambda s, i: [_relative(s, child) for child in i.children if child.type.level == -1],
    "issuelinks": lambda s, i: [],
    "comment": comments_field,
}
# Of system fields whose name is not their id with a capital letter, or whose values are no texts.
SYSTEM_NAMES = {"duedate": "Due date", "statuscategorychangedate": "Status Category Changed"}
SYSTEM_TYPES = {
    "duedate": "date",
    "created": "datetime",
    "updated": "datetime",
    "resolutiondate": "datetime",
    "statuscategorychangedate": "datetime",
}
# Jira omits these fields if an issue has no value; other fields are then null.
ABSENT_IF_NONE = frozenset({"parent"})


def selection(names: Iterable[str]) -> tuple[str, ...]:
    """The fields that a request selects with names such as `*all`, `*navigable`, `-summary`, `summary`."""
    given = [name.strip() for entry in names for name in entry.split(",") if name.strip()]
    every = [*FIELDS, *CUSTOM_FIELDS]
    chosen: list[str] = []
    if "*all" in given:
        chosen = every
    elif "*navigable" in given or (given and all(name.startswith("-") for name in given)):
        chosen = [name for name in every if name != "comment"]
    chosen = chosen + [name for name in given if not name.startswith(("*", "-")) and name not in chosen]
    dropped = {name[1:] for name in given if name.startswith("-")}
    return tuple(name for name in chosen if name not in dropped)


def _fields(site: JiraSite, issue: Issue, names: tuple[str, ...]) -> Json:
    shown: Json = {}
    for name in names:
        if name in issue.recorded:
            shown[name] = issue.recorded[name]
        elif name in FIELDS:
            value = FIELDS[name](site, issue)
            if value is not None or name not in ABSENT_IF_NONE:
                shown[name] = value
        elif name in CUSTOM_FIELDS or name in issue.custom:
            shown[name] = issue.custom.get(name)
    return shown


def issue_bytes(site: JiraSite, issue: Issue, names: tuple[str, ...]) -> bytes:
    """One issue as JSON, cached until the issue changes, so that a benchmark does not measure the tracker."""
    cached = issue.rendered.get(names)
    if cached is None:
        shown: Json = {"id": issue.id}
        if names != ("id",):
            shown |= {"expand": "renderedFields,names,changelog", "self": link(site, f"issue/{issue.id}")}
            shown["key"] = issue.key
        if not set(names) <= {"id", "key"}:
            shown["fields"] = _fields(site, issue, names)
        cached = issue.rendered[names] = dump(shown)
    return cached


def field_details() -> list[Json]:
    """The list of GET /field: the system fields by their ids, and a few custom fields."""
    system = [
        {
            "id": name,
            "key": name,
            "name": SYSTEM_NAMES.get(name, name.capitalize()),
            "custom": False,
            "orderable": True,
            "navigable": name != "comment",
            "searchable": True,
            "clauseNames": [name],
            "schema": {"type": SYSTEM_TYPES.get(name, "string"), "system": name},
        }
        for name in FIELDS
    ]
    custom = [
        {
            "id": name,
            "key": name,
            "name": title,
            "custom": True,
            "orderable": True,
            "navigable": True,
            "searchable": True,
            "clauseNames": [f"cf[{name[12:]}]", title],
            "schema": {"type": kind, "custom": custom_type, "customId": int(name[12:])},
        }
        for name, (title, kind, custom_type) in CUSTOM_FIELDS.items()
    ]
    return [*system, *custom]
