"""What GitHub's webhooks point at. Pure.

https://docs.github.com/webhooks/webhook-events-and-payloads. Missing members are accepted: one in seven of
GitHub's own examples does not fit GitHub's own schemas. No ticket data is taken from a payload; it
only says which ticket or comment to fetch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from connectors.base import CommentRef, EpicRef
from connectors.github.comments import is_notice
from connectors.github.payloads import is_full_name, is_pull_request, may_fit, repository_of
from connectors.members import remote_number
from connectors.webhooks import Hint, Webhooks, event_name, ignored, member, unknown

if TYPE_CHECKING:
    from connectors.github.config import GitHubEpics, GitHubScope

# --- two sets, handled events and ignored ones; an event in neither is unknown ---------------------------

HANDLED: dict[str, frozenset[str]] = {
    "issues": frozenset({
        "opened", "edited", "deleted", "transferred", "closed", "reopened", "labeled", "unlabeled",
        "milestoned", "demilestoned", "assigned", "unassigned", "typed", "untyped", "unlocked",
        "field_added", "field_removed",
    }),
    "sub_issues": frozenset({
        "sub_issue_added", "sub_issue_removed", "parent_issue_added", "parent_issue_removed",
    }),
    "issue_comment": frozenset({"created", "edited", "deleted"}),
    "repository": frozenset({
        "renamed", "transferred", "deleted", "archived", "unarchived", "privatized", "publicized",
    }),
    "organization": frozenset({"renamed"}),
    "label": frozenset({"edited", "deleted"}),
    "milestone": frozenset({"edited", "deleted"}),
}  # fmt: skip

# The other actions of the events above, and why they do not matter.
_REFETCH = "changes nothing that is stored"
_RIGHTS = "is about people and rights; rights are read when they are needed"
IGNORED_ACTIONS: dict[str, dict[str, str]] = {
    "issues": {
        "locked": _REFETCH, "pinned": _REFETCH, "unpinned": _REFETCH,
    },
    "issue_comment": {"pinned": _REFETCH, "unpinned": _REFETCH},
    "repository": {"created": "has no issues yet", "edited": _REFETCH},
    "organization": {
        "deleted": "the next run finds out", "member_added": _RIGHTS, "member_invited": _RIGHTS,
        "member_removed": _RIGHTS,
    },
    "label": {"created": "no issue has it yet"},
    "milestone": {
        "created": "no issue has it yet", "opened": "only its name and due day are stored",
        "closed": "only its name and due day are stored",
    },
}  # fmt: skip

_CODE = "is about code"
_APP = "is about the installation of an app"
_BOARD = "is about a project board"
_DISCUSSION_EVENTS = "is about discussions"
_ALARM = "is about security alerts"
IGNORED_EVENTS: dict[str, str] = {
    "ping": "only tests the address",
    "meta": "the webhook itself was deleted; scheduled runs go on",
    "public": "also comes as repository publicized",
    "issue_dependencies": "issue dependencies are not stored",
    "branch_protection_configuration": _CODE, "branch_protection_rule": _CODE, "check_run": _CODE,
    "check_suite": _CODE, "code_scanning_alert": _ALARM, "commit_comment": _CODE, "create": _CODE,
    "custom_property": _REFETCH, "custom_property_values": _REFETCH, "delete": _CODE,
    "dependabot_alert": _ALARM, "deploy_key": _CODE, "deployment": _CODE,
    "deployment_protection_rule": _CODE, "deployment_review": _CODE, "deployment_status": _CODE,
    "discussion": _DISCUSSION_EVENTS, "discussion_comment": _DISCUSSION_EVENTS, "fork": _CODE,
    "github_app_authorization": _APP,
    "gollum": "is about the wiki", "installation": _APP, "installation_repositories": _APP,
    "installation_target": _APP, "marketplace_purchase": "is about purchases", "member": _RIGHTS,
    "membership": _RIGHTS, "merge_group": _CODE, "org_block": _RIGHTS, "package": _CODE,
    "page_build": _CODE, "personal_access_token_request": _RIGHTS, "project": _BOARD,
    "project_card": _BOARD, "project_column": _BOARD, "projects_v2": _BOARD, "projects_v2_item": _BOARD,
    "projects_v2_status_update": _BOARD, "pull_request": _CODE, "pull_request_review": _CODE,
    "pull_request_review_comment": _CODE, "pull_request_review_thread": _CODE, "push": _CODE,
    "registry_package": _CODE, "release": _CODE, "repository_advisory": _ALARM,
    "repository_dispatch": _CODE, "repository_import": _CODE, "repository_ruleset": _CODE,
    "repository_vulnerability_alert": _ALARM, "secret_scanning_alert": _ALARM,
    "secret_scanning_alert_location": _ALARM, "secret_scanning_scan": _ALARM, "security_advisory": _ALARM,
    "security_and_analysis": _ALARM, "sponsorship": "is about purchases", "star": _REFETCH, "status": _CODE,
    "team": _RIGHTS, "team_add": _RIGHTS, "watch": _REFETCH, "workflow_dispatch": _CODE,
    "workflow_job": _CODE, "workflow_run": _CODE,
}  # fmt: skip

# --- reading ---------------------------------------------------------------------------------------------


def parse_event(event: str | None, payload: object) -> Hint:
    """What a delivery points at; see `connectors.webhooks.Webhooks`."""
    kind, action = event_name(event) or "", event_name(member(payload, "action"))
    if kind in IGNORED_EVENTS:
        return ignored(kind, action, IGNORED_EVENTS[kind])
    reason = IGNORED_ACTIONS.get(kind, {}).get(action or "")
    if reason is not None:
        return ignored(kind, action, reason)
    if action is None or action not in HANDLED.get(kind, ()):
        return unknown(kind, action)
    if kind == "issues":
        return _issue(action, payload)
    if kind == "sub_issues":
        return _sub_issue(action, payload)
    if kind == "issue_comment":
        return _comment(action, payload)
    if kind in {"label", "milestone"}:
        return _about_many(kind, action, payload)
    # The source may know a renamed or transferred repository only by its old name.
    moved = kind == "organization" or action in {"renamed", "transferred"}
    return Hint(kind, action, reread=True, project=None if moved else _repository(payload))


def _issue(action: str, payload: object) -> Hint:
    """The issue; for a transfer, which both repositories report, the old issue and the new one."""
    here = member(payload, "repository")
    found = [(member(payload, "issue"), here)]
    changes = member(payload, "changes")
    if action == "transferred":
        found.append((member(changes, "new_issue"), member(changes, "new_repository")))
    elif action == "opened":
        found.append((member(changes, "old_issue"), member(changes, "old_repository")))
    return _tickets("issues", action, found)


def _sub_issue(action: str, payload: object) -> Hint:
    """Parent and child. Each of their repositories sends an event of its own: the parent's one `sub_issue_…`,
    the child's one `parent_issue_…`. `repository` is the sender, so it does not say where the other issue is.
    """
    here = member(payload, "repository")
    of_parent = action.startswith("sub_issue_")
    parent_repo = member(payload, "parent_issue_repo") or (here if of_parent else None)
    child_repo = member(payload, "sub_issue_repo") or (None if of_parent else here)
    found = [(member(payload, "parent_issue"), parent_repo), (member(payload, "sub_issue"), child_repo)]
    return _tickets("sub_issues", action, found)


def _tickets(event: str, action: str, found: list[tuple[object, object]]) -> Hint:
    issues = [(issue, repository) for issue, repository in found if not is_pull_request(issue)]
    refs = [ref for issue, repository in issues if (ref := _ref(issue, repository))]
    if refs:
        return Hint(event, action, tickets=tuple(dict.fromkeys(refs)), removed=action == "deleted")
    pulls = len(issues) < len(found)
    return ignored(event, action, "is about a pull request" if pulls else "names no ticket")


def _comment(action: str, payload: object) -> Hint:
    """The comment. The event of our own write is ignored; the deletion of a notice is not, as it may be a
    person's decision."""
    issue, comment = member(payload, "issue"), member(payload, "comment")
    if is_pull_request(issue):
        return ignored("issue_comment", action, "is about a pull request")
    if action != "deleted" and is_notice(member(comment, "body")):
        return ignored("issue_comment", action, "own")
    ticket, comment_id = _ref(issue, member(payload, "repository")), remote_number(member(comment, "id"))
    if ticket is None or comment_id is None:
        return ignored("issue_comment", action, "names no ticket" if ticket is None else "names no comment")
    return Hint("issue_comment", action, comment=CommentRef(ticket, comment_id, action == "deleted"))


def _about_many(kind: str, action: str, payload: object) -> Hint:
    """A renamed or deleted label or milestone, or another due day, may change many issues, and GitHub sends
    no event for them."""
    changes = member(payload, "changes")
    if action == "edited" and isinstance(changes, dict) and not {"name", "title", "due_on"} & changes.keys():
        stored = "name and due day are" if kind == "milestone" else "name is"
        return ignored(kind, action, f"only its {stored} stored")
    return Hint(kind, action, reread=True, project=_repository(payload))


def _repository(payload: object) -> str | None:
    name = member(payload, "repository", "full_name")
    return name if is_full_name(name) else None


def _ref(issue: object, repository: object) -> EpicRef | None:
    """The ticket; None if the issue's id, number or repository is missing or has not the form of GitHub's."""
    remote_id, count = remote_number(member(issue, "id")), remote_number(member(issue, "number"))
    name = (repository_of(issue) if isinstance(issue, dict) else None) or member(repository, "full_name")
    if remote_id is None or count is None or not isinstance(name, str):
        return None
    if not is_full_name(name):
        return None
    return EpicRef(remote_id, f"{name}#{count}")


def reason_to_ignore(ticket: EpicRef, payload: object, scope: GitHubScope, epics: GitHubEpics) -> str | None:
    """See `connectors.webhooks.Webhooks`. A fetch costs a request per issue, and most issues are no epics."""
    name = ticket.key.partition("#")[0]
    here = member(payload, "repository")
    remote_id = remote_number(member(here, "id")) if member(here, "full_name") == name else None
    if not scope.covers(name, remote_id):
        return "out_of_scope"
    issue = member(payload, "issue")
    if remote_number(member(issue, "id")) == ticket.remote_id and not may_fit(issue, epics):
        return "not_an_epic"
    return None


WEBHOOKS = Webhooks(
    "X-Hub-Signature-256",
    "X-GitHub-Delivery",
    "X-GitHub-Event",
    takes_forms=True,
    https_only=False,
    parse_event=parse_event,
    reason_to_ignore=reason_to_ignore,
)
