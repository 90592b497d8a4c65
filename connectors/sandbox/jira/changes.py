"""Changes on a simulated Jira site, one at a time, as webhooks report them.

See https://developer.atlassian.com/cloud/jira/platform/webhooks/.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from connectors.sandbox.jira import adf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from connectors.sandbox.jira.records import Account, Comment, Issue, Json


@dataclass(frozen=True, slots=True)
class Change:
    """One event, its issue or comment, and the account behind it; `items` are those of the changelog."""

    event: str
    kind: str  # the payload's issue_event_type_name; empty for comments
    issue: Issue
    by: Account
    comment: Comment | None = None
    items: tuple[Json, ...] = ()


def edit(before: Issue, issue: Issue, by: Account) -> Change | None:
    """All differences between an issue before and after an edit, as one change; None if there is none."""
    items = tuple(_items(before, issue))
    if not items:
        return None
    fields = {item["fieldId"] for item in items}
    kind = "issue_generic" if "status" in fields else "issue_updated"
    if fields == {"assignee"}:
        kind = "issue_assigned"
    return Change("jira:issue_updated", kind, issue, by, items=items)


def move(before: Issue, issue: Issue, by: Account) -> Change:
    """A move to another project: the id stays, project and key change."""
    was, now = before.project, issue.project
    items = (
        _item("project", was.id, was.name, now.id, now.name),
        {**_item("Key", None, before.key, "", issue.key), "fieldId": "issuekey"},
        *_items(before, issue),
    )
    return Change("jira:issue_updated", "issue_moved", issue, by, items=items)


# A value of an issue as a changelog shows it: its id or None, and its text.
Shown = tuple[str | None, str | None]
NONE: Shown = (None, None)
RESOLVED: Shown = ("10000", "Done")


def _id_and_name(value: Any) -> Shown:
    return (value.id, value.name) if value else NONE


SHOWN: dict[str, tuple[str, Callable[[Issue], Shown]]] = {
    "summary": ("summary", lambda i: (None, i.summary)),
    "description": ("description", lambda i: (None, adf.to_text(i.description or {}) or None)),
    "labels": ("labels", lambda i: (None, " ".join(i.labels))),
    "components": ("Component", lambda i: (None, ", ".join(i.components) or None)),
    "status": ("status", lambda i: _id_and_name(i.status)),
    "resolution": (
        "resolution",
        lambda i: ("10000", "Done") if i.status.category == "done" else (None, None),
    ),
    "issuetype": ("issuetype", lambda i: _id_and_name(i.type)),
    "assignee": ("assignee", lambda i: (i.assignee.account_id, i.assignee.name) if i.assignee else NONE),
    "parent": ("IssueParentAssociation", lambda i: (i.parent.id, i.parent.key) if i.parent else NONE),
}


def _items(before: Issue, issue: Issue) -> Iterator[Json]:
    for field_id, (name, shown) in SHOWN.items():
        was, now = shown(before), shown(issue)
        if was != now:
            yield {**_item(name, *was, *now), "fieldId": field_id}
    for name in sorted({*before.custom, *issue.custom}):
        old, new = before.custom.get(name), issue.custom.get(name)
        if old != new:
            item = _item(
                name, None, None if old is None else str(old), None, None if new is None else str(new)
            )
            yield {**item, "fieldtype": "custom"}


def _item(name: str, was_id: str | None, was: str | None, now_id: str | None, now: str | None) -> Json:
    return {
        "field": name,
        "fieldtype": "jira",
        "fieldId": name,
        "from": was_id,
        "fromString": was,
        "to": now_id,
        "toString": now,
    }
