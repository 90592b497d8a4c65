"""Webhooks of a simulated GitHub host, in the format of GitHub's own.

See https://docs.github.com/webhooks/webhook-events-and-payloads#delivery-headers.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from connectors.sandbox.github.views import Views, dump
from connectors.sandbox.webhook_sender import Delivery, WebhookSender

if TYPE_CHECKING:
    from collections.abc import Callable

    from connectors.sandbox.github.changes import Change
    from connectors.sandbox.github.records import Issue, Json, Repository

HOOK_ID = 109_948_940
# Members of a repository that webhooks omit; `permissions` are those of a token.
OMITTED_MEMBERS = frozenset({"permissions", "has_discussions"})


def new_sender() -> WebhookSender:
    return WebhookSender(headers=_headers, new_id=lambda: str(uuid.uuid4()))


def _headers(delivery: Delivery, signature: str | None) -> dict[str, str]:
    own = {
        "User-Agent": "GitHub-Hookshot/0a1b2c3",
        "X-GitHub-Delivery": delivery.id,
        "X-GitHub-Event": delivery.event,
        "X-GitHub-Hook-ID": str(HOOK_ID),
        "X-GitHub-Hook-Installation-Target-Type": "organization",
    }
    return own if signature is None else {**own, "X-Hub-Signature-256": signature}


class Webhooks:
    """Sends each change of a host to the webhook. `views` gives the views of the host's current address."""

    def __init__(self, webhook_sender: WebhookSender, views: Callable[[], Views]) -> None:
        self.webhook_sender, self.views = webhook_sender, views

    def tell(self, change: Change) -> None:
        features = {"type": "issue_types", "issue_field": "issue_fields"}
        has_feature = all(features.get(name, "") in {"", *self.views().features} for name in change.more)
        if self.webhook_sender.has_target and has_feature:
            body = dump(payload(self.views(), change))
            about = change.repository if change.issue is None else change.issue
            self.webhook_sender.send(str(about.id), change.event, change.action, body)


def payload(views: Views, change: Change) -> Json:
    """The body that GitHub would send for a change."""
    home = change.repository
    message: Json = {"action": change.action}
    if change.issue is None:
        message |= {**change.more, "milestone": views.milestone(home, change.more["milestone"])}
    else:
        message["issue"] = _issue(views, change.issue)
        for name, value in change.more.items():
            message |= MEMBERS[name](views, change.issue, value)
    message["repository"] = _repository(views, home)
    if home.owner.kind == "Organization":
        message["organization"] = views.organization(home.owner)
    message["sender"] = views.user(change.by)
    return message


def _issue(views: Views, issue: Issue) -> Json:
    return views.issue(issue) | issue.recorded


def _repository(views: Views, value: Repository) -> Json:
    shown = views.repository(value)
    return {name: value for name, value in shown.items() if name not in OMITTED_MEMBERS}


def _becomes(views: Views, issue: Issue, new: Issue) -> Json:
    return {
        "changes": {"new_issue": _issue(views, new), "new_repository": _repository(views, new.repository)}
    }


def _was(views: Views, issue: Issue, old: Issue) -> Json:
    return {
        "changes": {"old_issue": _issue(views, old), "old_repository": _repository(views, old.repository)}
    }


MEMBERS: dict[str, Callable[[Views, Issue, Any], Json]] = {
    "label": lambda views, issue, name: {"label": views.label(issue.repository, name)},
    "assignee": lambda views, issue, account: {"assignee": views.user(account)},
    "milestone": lambda views, issue, one: {"milestone": views.milestone(issue.repository, one)},
    "type": lambda views, issue, kind: {"type": views.issue_type(kind)},
    "issue_field": lambda views, issue, one: {"issue_field": views.changed_field(one)},
    "comment": lambda views, issue, one: {"comment": views.comment(issue, one)},
    "changes": lambda views, issue, old: {"changes": old},
    "becomes": _becomes,
    "was": _was,
}
