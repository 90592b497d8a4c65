"""From Jira Cloud's JSON to our values, and back. Pure.

https://developer.atlassian.com/cloud/jira/platform/rest/v3/
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from connectors.base import (
    Account,
    BadPayload,
    Epic,
    EpicRef,
    Parent,
    Project,
    Rejected,
    StatusCategory,
    Unauthorized,
    Unreadable,
)
from connectors.config import unread_project
from connectors.jira.config import PROJECT_KEY
from connectors.jira.text import lines_of
from connectors.markup import quoted, storable, to_adf
from connectors.members import (
    MISREADINGS,
    NotAsDescribed,
    list_in,
    moment_in,
    number_in,
    object_in,
    reason_of,
    remote_number,
    row_of,
    text_in,
    text_of,
)
from connectors.plan_values import first_moment, set_planned
from connectors.ticket_text import NamedField

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping, Sequence
    from datetime import datetime

    from connectors.document import Document
    from connectors.marker import Marker
    from connectors.ticket_text import Line

MOST_ROWS = 1000  # no page is longer: pages of 100 are asked for
PROPERTY = "northing"

_KEY = re.compile(rf"{PROJECT_KEY}-[1-9][0-9]{{0,18}}")
_LONGEST_KEY = 255
_PROJECT_KEY = re.compile(PROJECT_KEY)
_MOST_NAMED = 50  # types, in a message
_MOST_LEVELS = 20  # of lists and cascading options in a custom field; a cascading select has two

_CATEGORIES: dict[str, StatusCategory] = {"new": "todo", "indeterminate": "doing", "done": "done"}


# --- tickets --------------------------------------------------------------------------------


class Ticket(NamedTuple):
    """An issue as an epic, the id of its type, which decides whether it is one, and that of its project."""

    epic: Epic
    type_id: str
    project_id: str | None = None


class PlannedField(NamedTuple):
    """A field of an epic's plan: the member of `epics` that names it, its name there, and its ids, as several
    fields may have that name."""

    member: str
    name: str
    ids: tuple[str, ...]


DUE_DATE = PlannedField("due_field", "Due date", ("duedate",))


def ticket_of(
    issue: Any,
    site: str,
    fields: Sequence[str] = (),
    key_results: tuple[str, Sequence[str]] | None = None,
    planned: Iterable[PlannedField] = (DUE_DATE,),
) -> Ticket:
    """One issue of a search, a bulk fetch or a webhook. Raises `BadPayload`.

    `site` is the address that people use; the issue's member `self` is not, as it may name the API gateway.
    `fields` are the custom field ids to keep. `key_results`: the field for key results as the source names
    it, and its ids. `planned`: the fields of the plan.
    """
    try:
        ticket = _ticket_of(row_of(issue), site, fields)
        found = issue["fields"]
        for field in planned:
            # Most tickets have none.
            if values := [value for id in field.ids if (value := found.get(id)) is not None]:
                set_planned(ticket.epic, field.member, field.name, values)
        if key_results is not None:
            ticket.epic.key_result_field = _named_field(found, *key_results)
        return ticket
    except MISREADINGS as error:
        named = quoted(issue.get("key") or "(no key)") if isinstance(issue, dict) else "(no key)"
        raise BadPayload(f"Jira's issue {named} could not be read: {reason_of(error)}") from None


def _ticket_of(issue: dict[str, Any], site: str, fields: Sequence[str]) -> Ticket:
    found = row_of(issue.get("fields"))
    key = key_of(issue.get("key"))
    if key is None:
        raise NotAsDescribed("its key is not the key of an issue")
    kind, status = _needed(found, "issuetype", "id"), _needed(found, "status", "statusCategory")
    sub_task = kind.get("subtask") is True or kind.get("hierarchyLevel") == -1
    project, category = object_in(found, "project"), category_of(status)
    epic = Epic(
        remote_id=number_in(issue, "id"),
        key=key,
        project=project_key_of(project.get("key")) or key.rpartition("-")[0],
        title=text_in(found, "summary"),
        url=f"{site}/browse/{key}",
        type=text_in(kind, "name"),
        status=text_in(status, "name"),
        status_category=category,
        created_at=moment_in(found, "created"),
        updated_at=moment_in(found, "updated"),
        labels=_labels(list_in(found, "labels")),
        assignees=_names([found.get("assignee")]),
        components=_names(list_in(found, "components")),
        milestone=next(iter(_names(list_in(found, "fixVersions"))), None),
        parent=None if sub_task else _parent_of(object_in(found, "parent"), key, site),
        text=_text_of_description(found.get("description")),
        fields={name: strings_of(found[name]) for name in fields if name in found} if fields else {},
        finished_at=_finished_at(found) if category == "done" else None,
    )
    return Ticket(epic, text_in(kind, "id"), remote_number(project.get("id")))


def _finished_at(found: Mapping[str, Any]) -> datetime | None:
    """When it came into its category of status, which workflows without resolutions show too; else when it
    was resolved."""
    return first_moment(found.get("statuscategorychangedate"), found.get("resolutiondate"))


def _named_field(found: Mapping[str, Any], name: str, ids: Sequence[str]) -> NamedField:
    values = (text for id in ids for text in strings_of(found.get(id)))
    return NamedField(name, tuple(map(storable, values)))


def _parent_of(parent: Mapping[str, Any], child: str, site: str) -> Parent | None:
    """The parent, with its title where Jira shows it; None also for an issue that names itself."""
    key, title = key_of(parent.get("key")), object_in(parent, "fields").get("summary")
    if key is None or key == child:
        return None
    remote_id = remote_number(parent.get("id")) or ""
    return Parent(key, remote_id, title if isinstance(title, str) else "", f"{site}/browse/{key}")


def _needed(found: Mapping[str, Any], field: str, name: str) -> dict[str, Any]:
    """A field that every issue has. Without its type an epic would seem none, and without its status done
    work open. Raises `NotAsDescribed`."""
    value = object_in(found, field)
    if not value.get(name):
        raise NotAsDescribed(f"its {field} has no {name}: {quoted(found.get(field))}")
    return value


def _text_of_description(description: Any) -> tuple[Line, ...]:
    """Its lines. A text of another shape may name a key result, so it does not count as empty."""
    is_adf = isinstance(description, dict) and isinstance(description.get("content"), list)
    if description and not isinstance(description, str) and not is_adf:
        raise NotAsDescribed(f"its description is no text but {quoted(description)}")
    return lines_of(description)


def unreadable(issue: Any, error: BadPayload) -> tuple[Unreadable, datetime | None]:
    """The issue that `ticket_of` could not read, and when it was updated, as far as its row says either."""
    if not isinstance(issue, dict):
        return Unreadable(None, error.message), None
    remote_id, key = remote_number(issue.get("id")) or "", key_of(issue.get("key")) or ""
    ref = EpicRef(remote_id, key) if remote_id or key else None
    try:
        return Unreadable(ref, error.message), moment_in(row_of(issue.get("fields")), "updated")
    except ValueError:
        return Unreadable(ref, error.message), None


def ref_of(issue: Any) -> tuple[EpicRef, datetime | None]:
    """The ticket of a row that has hardly more than its id, and when it was updated where the row says so.

    Raises `BadPayload`.
    """
    try:
        ref = EpicRef(number_in(row_of(issue), "id"), key_of(issue.get("key")) or "")
    except ValueError as error:
        raise BadPayload(f"An issue in Jira's answer could not be read: {reason_of(error)}") from None
    try:
        return ref, moment_in(object_in(issue, "fields"), "updated")
    except ValueError:
        return ref, None


def unreadable_of(
    refs: Iterable[EpicRef], found: Container[str], unreadable: Sequence[Unreadable]
) -> dict[str, Unreadable]:
    """By remote id, those of `refs` that were asked for and not `found`, where a row could not be read.

    A row that hides its id and its key may be any of them: none of these counts as deleted.
    """
    not_found = {ref.remote_id: ref for ref in refs if ref.remote_id not in found}
    keys = {ref.key: ref for ref in not_found.values()}
    of_ref: dict[str, Unreadable] = {}
    hidden = ""
    for one in unreadable:
        ref = one.ref and (not_found.get(one.ref.remote_id) or keys.get(one.ref.key))
        if ref:
            of_ref[ref.remote_id] = Unreadable(ref, one.reason)
        else:
            hidden = one.reason
    rest = {i: Unreadable(ref, hidden) for i, ref in not_found.items()} if hidden else {}
    return rest | of_ref


def key_of(value: Any) -> str | None:
    """`value` if it has the form of an issue's key, else None."""
    is_key = isinstance(value, str) and len(value) <= _LONGEST_KEY and _KEY.fullmatch(value)
    return value if is_key else None


def project_key_of(value: Any) -> str | None:
    return value if isinstance(value, str) and _PROJECT_KEY.fullmatch(value) else None


def _labels(values: list[Any]) -> tuple[str, ...]:
    for value in values:
        if not isinstance(value, str):
            raise NotAsDescribed(f"its labels have one that is no text but {quoted(value)}")
    return tuple(values)


def category_of(status: Mapping[str, Any]) -> StatusCategory:
    """The category by its key, which Jira does not translate; `undefined` and unknown keys are `todo`."""
    return _CATEGORIES.get(str(object_in(status, "statusCategory").get("key")), "todo")


def _names(things: Sequence[Any]) -> tuple[str, ...]:
    if not things:
        return ()
    found = [
        text_of(name, "name")
        for thing in things
        if isinstance(thing, dict) and (name := thing.get("displayName") or thing.get("name"))
    ]
    return tuple(found)


def strings_of(value: Any, level: int = 0) -> tuple[str, ...]:
    """A custom field's value as the strings that a rule can compare: options, users, versions by their name.

    A cascading select gives both of its levels; rich text gives its lines. What is nested deeper than any
    field gives nothing.
    """
    if value is None or level > _MOST_LEVELS:
        return ()
    if isinstance(value, bool):
        return (str(value).lower(),)
    if isinstance(value, float) and value.is_integer():
        return (str(int(value)),)
    if isinstance(value, list):
        return tuple(text for item in value for text in strings_of(item, level + 1))
    if not isinstance(value, dict):
        return (str(value),)
    if value.get("type") == "doc":
        return tuple(line.text for line in lines_of(value))
    names = (value.get(key) for key in ("value", "displayName", "name", "title", "key"))
    name = next((n for n in names if isinstance(n, str) and n), None)
    return ((name,) if name else ()) + strings_of(value.get("child"), level + 1)


def issues_of(answer: Any) -> list[Any]:
    if not isinstance(answer, dict) or not isinstance(answer.get("issues"), list):
        raise BadPayload("Jira's answer has no list of issues.")
    if len(answer["issues"]) > MOST_ROWS:
        raise BadPayload(f"Jira's answer has {len(answer['issues'])} issues, more than were asked for.")
    return list(answer["issues"])


def not_returned(answer: Any) -> frozenset[str]:
    """The ids of issues that a bulk fetch names with an error.

    Jira may have them and not have returned them now, so they do not count as deleted.
    https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-issues/#api-rest-api-3-issue-bulkfetch-post
    """
    errors = (answer.get("issueErrors") if isinstance(answer, dict) else None) or []
    if not isinstance(errors, list):
        raise BadPayload("Jira's answer does not say which issues it leaves out.")
    ids = (remote_number(one.get("id")) for one in errors if isinstance(one, dict))
    return frozenset(filter(None, ids))


def only_token(answer: Any) -> dict[str, Any]:
    """What `next_token` needs of an answer, which may be large."""
    return {"nextPageToken": answer.get("nextPageToken")} if isinstance(answer, dict) else {}


# --- types, projects, account ---------------------------------------------------------------


def epic_type_ids(types: Any, names: Sequence[str] | None) -> list[str]:
    """The ids of the named issue types, or of all on hierarchy level 1. Raises `Rejected`.

    Names are translated and may change, and team-managed projects have types of the same name, so one name
    may mean several ids.
    """
    if not isinstance(types, list) or not all(
        isinstance(t, dict) and remote_number(t.get("id")) for t in types
    ):
        raise BadPayload("Jira's list of issue types could not be read.")
    known = sorted({quoted(t.get("name")) for t in types})[:_MOST_NAMED]
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
        for name in (kind.get("name"), kind.get("untranslatedName")):
            if isinstance(name, str):
                by_name.setdefault(name.casefold(), set()).add(str(kind["id"]))
    unknown = [name for name in names if name.casefold() not in by_name]
    if unknown:
        raise Rejected(
            f"Jira has no issue type named {', '.join(unknown)}.",
            f"Change epics.issue_types; there are: {', '.join(known)}.",
        )
    return sorted({i for name in names for i in by_name[name.casefold()]})


def field_ids(fields: Any) -> set[str]:
    """The ids of the fields that Jira shows the account; none where the answer is no list of fields."""
    rows = fields if isinstance(fields, list) else ()
    return {str(one.get("id")) for one in rows if isinstance(one, dict)}


NO_PROJECT = "Jira has no project with this key, or the account may not browse it."


def project_of(project: Any) -> Project:
    """The project; whether everyone may browse it, no member says.

    Raises `BadPayload`, also without the id, by which a renamed project is followed.
    """
    key = project_key_of(project.get("key")) if isinstance(project, dict) else None
    remote_id = None if key is None else remote_number(project.get("id"))
    if key is None or remote_id is None:
        raise BadPayload("A project in Jira's answer could not be read.")
    return Project(
        key,
        service_desk=project.get("projectTypeKey") == "service_desk",
        remote_id=remote_id,
    )


def projects_of(rows: Iterable[Any]) -> list[Project]:
    """The projects of a list; in place of each that cannot be read, one with that problem."""
    found: list[Project] = []
    for row in rows:
        try:
            found.append(project_of(row))
        except BadPayload as error:
            found.append(unread_project("(no key)", error))
    return found


def account_of(myself: Any) -> Account:
    """The account from `/myself`. Raises `Unauthorized` if there is no account id: we are anonymous."""
    account = myself.get("accountId") if isinstance(myself, dict) else None
    if not isinstance(account, str) or not account:
        raise Unauthorized(
            "Jira treats our requests as anonymous.", "Give the source a valid e-mail address and API token."
        )
    name = quoted(myself.get("displayName") or account)
    return Account(quoted(account, 255), name, is_program=myself.get("accountType") == "app")


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


def comment_id(comment: Any) -> str:
    """The id of a listed comment. Raises `BadPayload`: the comment that cannot be read may be ours."""
    try:
        return number_in(row_of(comment), "id")
    except ValueError as error:
        raise BadPayload(f"A comment in Jira's answer could not be read: {reason_of(error)}") from None


def comment_url(site: str, issue_key: str, comment_id: str) -> str:
    return f"{site}/browse/{issue_key}?focusedCommentId={comment_id}"
