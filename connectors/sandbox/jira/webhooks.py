"""Webhooks of a simulated Jira site, in the format of Jira Cloud's own.

Payloads are like version 2 of the REST API: texts are plain, and links point to the site, not to the
gateway. See https://developer.atlassian.com/cloud/jira/platform/webhooks/.
"""

from __future__ import annotations

import json
import secrets
from typing import TYPE_CHECKING, Any

from connectors.sandbox.jira import adf
from connectors.sandbox.jira.views import (
    CUSTOM_FIELDS,
    FIELDS,
    SITE,
    comment as comment_view,
    dump,
    issue_bytes,
    link,
    user,
)
from connectors.sandbox.webhook_sender import Delivery, WebhookSender

if TYPE_CHECKING:
    from connectors.sandbox.jira.changes import Change
    from connectors.sandbox.jira.records import Comment, Issue, Json
    from connectors.sandbox.jira.site import JiraSite

REST_ONLY_FIELDS = frozenset({"comment", "statusCategory"})  # fields of the REST API that webhooks omit
ISSUE_EVENT_FIELDS = tuple(name for name in (*FIELDS, *CUSTOM_FIELDS) if name not in REST_ONLY_FIELDS)
COMMENT_EVENT_FIELDS = ("summary", "issuetype", "project", "assignee", "priority", "status")
OMITTED_MEMBERS = frozenset({"style", "isPrivate", "scope"})  # of projects and types


def new_sender() -> WebhookSender:
    return WebhookSender(headers=_headers, new_id=lambda: secrets.token_hex(16))


def _headers(delivery: Delivery, signature: str | None) -> dict[str, str]:
    own = {
        "User-Agent": "Atlassian Webhook HTTP Client",
        "X-Atlassian-Webhook-Identifier": delivery.id,
        "X-Atlassian-Webhook-Flow": "Primary",
    }
    if delivery.attempts > 1:
        own["X-Atlassian-Webhook-Retry"] = str(delivery.attempts - 1)
    return own if signature is None else {**own, "X-Hub-Signature": signature}


class Webhooks:
    """Sends each change of a site to the webhook."""

    def __init__(self, webhook_sender: WebhookSender, site: JiraSite) -> None:
        self.webhook_sender, self.site = webhook_sender, site

    def tell(self, change: Change) -> None:
        if self.webhook_sender.has_target:
            self.webhook_sender.send(
                change.issue.id, change.event, change.kind or None, dump(payload(self.site, change))
            )


def payload(site: JiraSite, change: Change) -> Json:
    """The body that Jira Cloud would send. For a comment it names the author, not the editor or deleter."""
    message: Json = {"timestamp": int(site.now().timestamp() * 1000), "webhookEvent": change.event}
    if change.comment is not None:
        message["comment"] = _comment(site, change.issue, change.comment)
        message["issue"] = _issue(site, change.issue, COMMENT_EVENT_FIELDS)
        return message
    message |= {
        "issue_event_type_name": change.kind,
        "user": _as_v2(site, user(site, change.by)),
        "issue": _issue(site, change.issue, ISSUE_EVENT_FIELDS),
    }
    if change.items:
        items = [{**item, "field": _custom_name(item["field"])} for item in change.items]
        message["changelog"] = {"id": site.new_id(), "items": items}
    return message


def _custom_name(name: str) -> str:
    return CUSTOM_FIELDS[name][0] if name in CUSTOM_FIELDS else name


def _comment(site: JiraSite, issue: Issue, comment: Comment) -> Json:
    shown: Json = _as_v2(site, comment_view(site, issue, comment))
    shown.pop("visibility", None)  # none of the recorded events is about a restricted comment
    return {**shown, "body": adf.to_text(comment.body)}


def _issue(site: JiraSite, issue: Issue, names: tuple[str, ...]) -> Json:
    shown: Json = json.loads(issue_bytes(site, issue, names))
    fields = shown["fields"]
    if isinstance(fields.get("description"), dict):
        fields["description"] = adf.to_text(fields["description"])
    return {
        "id": shown["id"],
        "self": _v2(site, shown["self"]),
        "key": shown["key"],
        "fields": _as_v2(site, fields),
    }


def _as_v2(site: JiraSite, node: Any) -> Any:
    if isinstance(node, list):
        return [_as_v2(site, item) for item in node]
    if not isinstance(node, dict):
        return node
    return {
        name: _v2(site, value) if name == "self" else _as_v2(site, value)
        for name, value in node.items()
        if name not in OMITTED_MEMBERS
    }


def _v2(site: JiraSite, url: str) -> str:
    return url.replace(link(site, ""), f"{SITE}/rest/api/2/")
