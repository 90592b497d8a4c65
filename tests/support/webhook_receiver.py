"""A receiver for the webhooks of the simulated trackers, and one of every change that they tell of."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from connectors.sandbox.github.host import GitHubHost
from connectors.sandbox.jira.site import JiraSite
from connectors.sandbox.tracker import Tracker
from connectors.sandbox.webhook_sender import WebhookSender

SECRET = "It's a Secret to Everybody"


@dataclass(frozen=True)
class Got:
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def payload(self) -> Any:
        return json.loads(self.body)


@dataclass
class Inbox:
    got: list[Got] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        self.got.append(Got(scope["path"], dict(request.headers), await request.body()))
        await Response(None, 202)(scope, receive, send)


class Receiver(Tracker):
    """Takes whatever is posted; being served like a tracker it knows all their faults."""

    def __init__(self) -> None:
        super().__init__(WebhookSender(headers=lambda delivery, signature: {}, new_id=lambda: ""))
        self.inbox = Inbox()
        self.routes = self.inbox

    @property
    def got(self) -> list[Got]:
        return self.inbox.got


def change_everything_on(host: GitHubHost) -> None:
    """Each kind of change once, on a repository made for it."""
    host.add_repository("acme/shop")
    host.add_repository("acme/attic")
    lead = host.account("dev-lead")
    host.milestone("acme/shop", "Autumn")
    issue = host.create("acme/shop", "Reorder in two taps", body="Why", labels=["epic"], author="dev-lead")
    host.edit(issue.key, by=lead, title="Reorder", body="Why not")
    host.edit(issue.key, by=lead, labels=["kr:KR-1"])
    host.edit(issue.key, by=lead, assignees=["qa-lead"])
    host.edit(issue.key, by=lead, assignees=[])
    host.edit(issue.key, by=lead, milestone="Autumn", type="Epic")
    host.edit(issue.key, by=lead, milestone=None, type=None)
    host.edit(issue.key, by=lead, state="closed")
    host.edit(issue.key, by=lead, state="open")
    comment = host.comment(issue.key, "/northing help", lead)
    host.edit_comment(comment.id, "Never mind")
    host.delete_comment(comment.id)
    moved = host.transfer(issue.key, "acme/attic", by=lead)
    host.delete(moved.key, by=lead)


def change_everything_at(site: JiraSite) -> None:
    """Each kind of change once, in projects made for it."""
    site.add_project("SHOP", "Online shop")
    site.add_project("CORE", "Core", team_managed=True)
    lead = site.account("dev-lead")
    above = site.create("SHOP", "Everything", type="Initiative")
    issue = site.create(
        "SHOP", "One-page checkout", description="Fewer steps\nKey-Result: KR-1", components=["web"]
    )
    site.edit(issue.id, by=lead, summary="Checkout", description="Fewer", labels=["a", "kr:KR-1"])
    site.edit(issue.id, by=lead, components=["data"], parent=above, custom={"customfield_10035": "KR-2"})
    site.edit(issue.id, by=lead, assignee="qa-lead")
    site.edit(issue.id, by=lead, status="Done")
    site.edit(issue.id, by=lead, status="To Do", type=site.type_named("Story"))
    comment = site.comment(issue.id, "/northing help", lead)
    site.edit_comment(comment.id, "Never mind")
    site.delete_comment(comment.id)
    site.edit(issue.id, by=lead, type=site.type_named("Epic"))
    site.move(issue.id, "CORE", by=lead)
    site.delete(issue.id, by=lead)
