"""What Jira's webhooks point at. Pure.

https://developer.atlassian.com/cloud/jira/platform/webhooks/. The body names the event. Old servers report a
comment as an update of its issue, some without saying so, and some comment events contain no issue. No
ticket data is taken from a payload; it only says which ticket or comment to fetch.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from connectors.base import CommentRef, EpicRef
from connectors.jira.payloads import key_of
from connectors.members import remote_number
from connectors.webhooks import Hint, Webhooks, event_name, ignored, member, unknown

if TYPE_CHECKING:
    from connectors.jira.config import JiraEpics, JiraScope

# --- two sets, handled events and ignored ones; an event in neither is unknown ---------------------------

ISSUES = frozenset({"jira:issue_created", "jira:issue_updated", "jira:issue_deleted"})
COMMENTS = frozenset({"comment_created", "comment_updated", "comment_deleted"})
REREADS = frozenset({
    "issuetype_deleted", "issuetype_updated", "project_archived", "project_deleted",
    "project_restored_archived", "project_restored_deleted", "project_soft_deleted", "project_updated",
})  # fmt: skip
HANDLED = ISSUES | COMMENTS | REREADS

_REFETCH = "changes nothing that is stored"
_SELF = "the issue's own event reports what is stored"
_BOARD = "is about boards and sprints"
_VERSION = "fix versions are read with the issue, and all by the full run"
_OPTION = "is about the site's settings"
_PEOPLE = "is about people and rights; rights are read when they are needed"
IGNORED: dict[str, str] = {
    "attachment_created": _REFETCH, "attachment_deleted": _REFETCH,
    "board_configuration_changed": _BOARD, "board_created": _BOARD, "board_deleted": _BOARD,
    "board_updated": _BOARD, "sprint_closed": _BOARD, "sprint_created": _BOARD, "sprint_deleted": _BOARD,
    "sprint_started": _BOARD, "sprint_updated": _BOARD,
    "filter_created": _REFETCH, "filter_deleted": _REFETCH, "filter_updated": _REFETCH,
    "issue_property_deleted": _REFETCH, "issue_property_set": _REFETCH,
    "issuelink_created": _SELF, "issuelink_deleted": _SELF,
    "issuetype_created": "no issue has it yet", "project_created": "has no issues yet",
    "jira:version_created": _VERSION, "jira:version_deleted": _VERSION, "jira:version_merged": _VERSION,
    "jira:version_moved": _VERSION, "jira:version_released": _VERSION,
    "jira:version_unreleased": _VERSION, "jira:version_updated": _VERSION,
    "jira:worklog_updated": _REFETCH, "worklog_created": _REFETCH, "worklog_deleted": _REFETCH,
    "worklog_updated": _REFETCH,
    "jira_expression_evaluation_failed": _OPTION, "option_attachments_changed": _OPTION,
    "option_issuelinks_changed": _OPTION, "option_subtasks_changed": _OPTION,
    "option_timetracking_changed": _OPTION, "option_timetracking_provider_changed": _OPTION,
    "option_unassigned_issues_changed": _OPTION, "option_voting_changed": _OPTION,
    "option_watching_changed": _OPTION,
    "user_created": _PEOPLE, "user_deleted": _PEOPLE, "user_updated": _PEOPLE,
}  # fmt: skip

_MOST_CHANGES = 100  # of one edit, that are looked at for parents
_COMMENT_PATH = re.compile(r"/issue/([0-9]{1,19})/comment/[0-9]{1,19}\Z")

# --- reading ---------------------------------------------------------------------------------------------


def parse_event(event: str | None, payload: object) -> Hint:
    """What a delivery points at; see `connectors.webhooks.Webhooks`.

    `event` is not used, because the body names the event. The hint's `action` is Jira's
    `issue_event_type_name`. A ticket whose key is not in the payload has an empty key: the id is enough.
    """
    kind, action = (
        event_name(member(payload, "webhookEvent")),
        event_name(member(payload, "issue_event_type_name")),
    )
    if kind is None and isinstance(member(payload, "issue"), dict):
        return _issue("", action, payload)  # a webhook of a workflow contains the issue and names no event
    kind = kind or ""
    if kind in IGNORED:
        return ignored(kind, action, IGNORED[kind])
    if kind in REREADS:
        return Hint(kind, action, reread=True)
    if kind in COMMENTS:
        return _comment(kind, action, payload)
    return _issue(kind, action, payload) if kind in ISSUES else unknown(kind, action)


def _issue(kind: str, action: str | None, payload: object) -> Hint:
    """The issue, the comment written with it, and what may be its parent, before and now."""
    ticket = _ref(member(payload, "issue"))
    if ticket is None:
        return ignored(kind, action, "names no ticket")
    comment = _comment_of(ticket, payload, removed=action == "issue_comment_deleted")
    only = comment is not None and not member(payload, "changelog", "items") and _concerns_comment(action)
    removed = kind == "jira:issue_deleted"
    parents = () if only else _parents(payload)
    return Hint(
        kind, action, tickets=() if only else (ticket,), removed=removed, comment=comment, parents=parents
    )


def _parents(payload: object) -> tuple[str, ...]:
    """The parent in the issue, and each id from which or to which a field changed.

    The field of a parent has another name in each type of project, so no name is asked for: what is no ticket
    of the source is not found there, and the parent of a sub-task is no epic.
    """
    items = member(payload, "changelog", "items")
    changes = items[:_MOST_CHANGES] if isinstance(items, list) else []
    ids = [member(payload, "issue", "fields", "parent", "id")]
    ids += [member(change, end) for change in changes for end in ("from", "to")]
    return tuple(dict.fromkeys(found for one in ids if (found := remote_number(one))))


def _concerns_comment(action: str | None) -> bool:
    """Whether `action` is about a comment. Old servers name no action, so None counts as one."""
    return action in {None, "issue_commented", "issue_comment_edited", "issue_comment_deleted"}


def _comment(kind: str, action: str | None, payload: object) -> Hint:
    """The comment. The event must name the comment, and its issue, at least in the comment's address."""
    ticket = _ref(member(payload, "issue")) or _ref_of_comment(member(payload, "comment", "self"))
    if ticket is None:
        return ignored(kind, action, "names no ticket")
    comment = _comment_of(ticket, payload, removed=kind == "comment_deleted")
    if comment is None:
        return ignored(kind, action, "names no comment")
    return Hint(kind, action, comment=comment)


def _comment_of(ticket: EpicRef, payload: object, *, removed: bool) -> CommentRef | None:
    comment_id = remote_number(member(payload, "comment", "id"))
    return CommentRef(ticket, comment_id, removed) if comment_id else None


def _ref(issue: object) -> EpicRef | None:
    remote_id = remote_number(member(issue, "id"))
    return EpicRef(remote_id, key_of(member(issue, "key")) or "") if remote_id else None


def _ref_of_comment(address: object) -> EpicRef | None:
    """The issue from the comment's own address. The connector never sends a request to that address."""
    found = _COMMENT_PATH.search(address) if isinstance(address, str) else None
    remote_id = remote_number(found[1]) if found else None
    return EpicRef(remote_id, "") if remote_id else None


def reason_to_ignore(ticket: EpicRef, payload: object, scope: JiraScope, epics: JiraEpics) -> str | None:
    """See `connectors.webhooks.Webhooks`. Only the site knows which types are epics, so no type is checked
    here; a fetch costs one request for a hundred issues."""
    project = ticket.key.rpartition("-")[0]
    remote_id = remote_number(member(payload, "issue", "fields", "project", "id"))
    return "out_of_scope" if project and not scope.covers(project, remote_id) else None


WEBHOOKS = Webhooks(
    "X-Hub-Signature",
    "X-Atlassian-Webhook-Identifier",
    None,
    takes_forms=False,
    https_only=True,
    parse_event=parse_event,
    reason_to_ignore=reason_to_ignore,
)
