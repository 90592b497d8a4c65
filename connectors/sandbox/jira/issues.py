"""One issue: read, edit, delete. See https://developer.atlassian.com/cloud/jira/platform/rest/v3/api-group-issues/."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from connectors.sandbox.jira import adf
from connectors.sandbox.jira.answers import BAD_PAYLOAD, Call, Handler, JiraError
from connectors.sandbox.jira.views import CUSTOM_FIELDS, issue_bytes, selection

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.responses import Response

    from connectors.sandbox.jira.records import IssueType, Json
    from connectors.sandbox.jira.site import JiraSite


def handlers() -> list[tuple[str, str, Handler]]:
    return [
        ("GET", "issue/{issue}", read),
        ("PUT", "issue/{issue}", edit),
        ("DELETE", "issue/{issue}", delete),
    ]


async def read(call: Call) -> Response:
    """A key from before a move is found too; the answer has the current key."""
    issue = call.issue()
    names = selection(call.request.query_params.getlist("fields") or ["*all"])
    return call.reply(issue_bytes(call.site, issue, names))


async def edit(call: Call) -> Response:
    issue = call.issue()
    if not call.may("EDIT_ISSUES", issue.project):
        raise JiraError(400, "You do not have permission to edit issues in this project.")
    body = await call.body()
    fields, update = body.get("fields", {}), body.get("update", {})
    if not isinstance(fields, dict) or not isinstance(update, dict) or not (fields or update):
        raise JiraError(400, BAD_PAYLOAD)
    changes: dict[str, Any] = {}
    custom = dict(issue.custom)
    for name, value in fields.items():
        if name in CUSTOM_FIELDS or name == "duedate":
            custom[name] = value
            changes["custom"] = custom
        elif name not in READERS:
            message = f"Field '{name}' cannot be set. It is not on the appropriate screen, or unknown."
            raise JiraError(400, **{name: message})
        else:
            changes |= READERS[name](call.site, value)
    if update:
        changes["labels"] = _updated_labels(list(issue.labels), update)
    call.site.edit(issue.id, by=call.known(), **changes)
    return call.done()


async def delete(call: Call) -> Response:
    issue = call.issue()
    if not call.may("DELETE_ISSUES", issue.project):
        raise JiraError(403, "You do not have permission to delete issues in this project.")
    subtasks = [child for child in issue.children if child.type.level == -1]
    if subtasks and call.request.query_params.get("deleteSubtasks") != "true":
        raise JiraError(
            400, f"The issue '{issue.key}' has subtasks. You must specify the 'deleteSubtasks' parameter."
        )
    for deleted in (*subtasks, issue):
        call.site.delete(deleted.id, by=call.known())
    return call.done()


def _summary(site: JiraSite, value: Any) -> Json:
    if not isinstance(value, str) or not value.strip() or len(value) > 255 or "\n" in value:
        raise JiraError(
            400, summary="You must specify a summary of the issue, on one line of at most 255 characters."
        )
    return {"summary": value}


def _description(site: JiraSite, value: Any) -> Json:
    if value is not None and not adf.is_document(value):
        raise JiraError(
            400, description="Operation value must be an Atlassian Document (see the Atlassian Document)"
        )
    return {"description": value}


def _labels(site: JiraSite, value: Any) -> Json:
    if not isinstance(value, list) or not all(isinstance(label, str) and label for label in value):
        raise JiraError(400, labels="Specify the labels as a list of strings.")
    if any(" " in label for label in value):
        raise JiraError(400, labels="The label can't contain spaces.")
    return {"labels": list(value)}


def _type(site: JiraSite, value: Any) -> Json:
    given = value if isinstance(value, dict) else {}
    kinds: list[IssueType] = [
        kind for kind in site.types.values() if kind.id == given.get("id") or kind.name == given.get("name")
    ]
    if not kinds:
        raise JiraError(400, issuetype="Specify a valid issue type")
    return {"type": kinds[0]}


def _assignee(site: JiraSite, value: Any) -> Json:
    if value is None:
        return {"assignee": None}
    account_id = value.get("accountId", value.get("id")) if isinstance(value, dict) else None
    people = [account for account in site.accounts.values() if account.account_id == account_id]
    if not people:
        raise JiraError(400, assignee="Specify a valid value for assignee")
    return {"assignee": people[0]}


READERS: dict[str, Callable[[JiraSite, Any], Json]] = {
    "summary": _summary,
    "description": _description,
    "labels": _labels,
    "issuetype": _type,
    "assignee": _assignee,
}


def _updated_labels(labels: list[str], update: Json) -> list[str]:
    if set(update) != {"labels"}:
        raise JiraError(400, "Only labels can be updated by operations here; send other fields in 'fields'.")
    for operation in update["labels"]:
        if "add" in operation and operation["add"] not in labels:
            labels.append(operation["add"])
        if operation.get("remove") in labels:
            labels.remove(operation["remove"])
        if "set" in operation:
            labels = list(operation["set"])
    return labels
