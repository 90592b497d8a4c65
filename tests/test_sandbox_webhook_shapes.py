"""The simulated trackers' webhooks have only members that recorded or re-made ones have, or APIS.md names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from connectors.sandbox.github.tracker import GitHubTracker
from connectors.sandbox.jira.tracker import JiraTracker
from connectors.sandbox.server import serve
from connectors.sandbox.tracker import Tracker
from connectors.sandbox.webhook_sender import Delivery
from tests.support.beside import FIXTURES, needs_fixtures
from tests.support.recorded import Payloads, both_folders
from tests.support.webhook_receiver import SECRET, Receiver, change_everything_at, change_everything_on

# Members younger than the recordings; each must stand in APIS.md, with what hangs below it.
GITHUB_NAMED = frozenset(
    {
        "type",
        "issue_field_values",
        "sub_issues_summary",
        "parent_issue_url",
        "state_reason",
        "changes.title.from",
        "changes.title",
    }
)
JIRA_NAMED = frozenset({"hierarchyLevel", "parent"})

# What happens, in order, for each ticket: event, and action or issue_event_type_name.
GITHUB_TOLD = [
    *[("issues", action) for action in ("opened", "labeled", "edited", "unlabeled", "labeled")],
    *[("issues", action) for action in ("assigned", "unassigned", "milestoned", "typed")],
    *[("issues", action) for action in ("demilestoned", "untyped", "closed", "reopened")],
    *[("issue_comment", action) for action in ("created", "edited", "deleted")],
    ("issues", "transferred"),
    ("issues", "opened"),  # where it came to
    ("issues", "deleted"),
]
JIRA_TOLD = [
    ("jira:issue_created", "issue_created"),
    ("jira:issue_created", "issue_created"),
    ("jira:issue_updated", "issue_updated"),
    ("jira:issue_updated", "issue_updated"),
    ("jira:issue_updated", "issue_assigned"),
    ("jira:issue_updated", "issue_generic"),
    ("jira:issue_updated", "issue_generic"),
    ("comment_created", None),
    ("comment_updated", None),
    ("comment_deleted", None),
    ("jira:issue_updated", "issue_updated"),
    ("jira:issue_updated", "issue_moved"),
    ("jira:issue_deleted", "issue_deleted"),
]


async def reported(tracker: Tracker, change: Any) -> list[tuple[Delivery, Any]]:
    async with serve(Receiver()) as there, serve(tracker):
        tracker.webhook_sender.set(there, SECRET)
        change()
        await tracker.webhook_sender.idle()
        return [(one, json.loads(one.body)) for one in tracker.webhook_sender.sent]


def members(node: Any, at: str = "") -> Iterator[str]:
    if isinstance(node, list):
        for item in node:
            yield from members(item, at)
    elif isinstance(node, dict):
        for name, value in node.items():
            yield f"{at}.{name}"
            yield from members(value, f"{at}.{name}")


def unheard_of(ours: Any, recorded: set[str], named: frozenset[str]) -> list[str]:
    unknown = set(members(ours)) - recorded
    return sorted(path for path in unknown if not any(f".{name}." in f"{path}." for name in named))


@both_folders
async def test_github_webhooks_look_like_the_recorded_ones(payloads: Payloads) -> None:
    tracker = GitHubTracker()
    recorded: dict[str, list[Any]] = {}
    for event, example in payloads.github_webhooks():
        recorded.setdefault(event, []).append(example)
    deep = {path for name in ("issues", "issue_comment") for path in members(recorded[name])}
    issue = [path.removeprefix(".issue") for path in deep if path.startswith(".issue.")]
    deep |= {f".changes.{which}_issue{path}" for which in ("old", "new") for path in issue}
    sent = await reported(tracker, lambda: change_everything_on(tracker.host))
    assert [(one.event, one.action) for one, _ in sent] == GITHUB_TOLD
    for one, payload in sent:
        assert unheard_of(payload, deep, GITHUB_NAMED) == [], f"{one.event} {one.action}"
        alike = [example for example in recorded[one.event] if example["action"] == one.action]
        top = {name for example in alike or recorded[one.event] for name in example}
        # An example of an organisation's repository is not there for each action.
        assert set(payload) - GITHUB_NAMED <= top | {"organization"}, f"{one.event} {one.action}"


@both_folders
async def test_jira_webhooks_look_like_the_recorded_ones(payloads: Payloads) -> None:
    tracker = JiraTracker()
    recorded = list(payloads.jira_webhooks().values())
    sent = await reported(tracker, lambda: change_everything_at(tracker.site))
    assert [(one.event, one.action) for one, _ in sent] == JIRA_TOLD
    for one, payload in sent:
        family = one.event.rpartition("_")[0]
        alike = [example for example in recorded if example["webhookEvent"].startswith(family)]
        assert unheard_of(payload, set(members(alike)), JIRA_NAMED) == [], one.event
        assert "user" in payload or one.event.startswith("comment_")


@needs_fixtures
def test_what_is_younger_than_the_recordings_is_documented() -> None:
    text = (FIXTURES.parent / "APIS.md").read_text("utf-8")
    code = "\n".join(re.findall(r"`([^`\n]+)`", text))
    for name in GITHUB_NAMED | JIRA_NAMED:
        assert re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", code), name


async def test_what_github_says_of_a_change() -> None:
    tracker = GitHubTracker()
    sent = [payload for _, payload in await reported(tracker, lambda: change_everything_on(tracker.host))]
    by_action = {payload["action"]: payload for payload in sent}
    edited = by_action["edited"]
    assert edited["changes"] == {"body": {"from": "/northing help"}}
    first = next(payload for payload in sent if payload["action"] == "edited")
    assert first["changes"] == {"title": {"from": "Reorder in two taps"}, "body": {"from": "Why"}}
    assert first["issue"]["title"] == "Reorder"
    assert by_action["labeled"]["label"]["name"] == "kr:KR-1"
    assert by_action["unlabeled"]["label"]["name"] == "epic"
    assert by_action["assigned"]["assignee"]["login"] == "qa-lead"
    assert by_action["typed"]["type"]["name"] == by_action["untyped"]["type"]["name"] == "Epic"
    assert (by_action["closed"]["issue"]["state"], by_action["reopened"]["issue"]["state"]) == (
        "closed",
        "open",
    )
    moved = by_action["transferred"]
    assert (moved["repository"]["full_name"], moved["issue"]["number"]) == ("acme/shop", 1)
    new = moved["changes"]["new_issue"]
    assert (moved["changes"]["new_repository"]["full_name"], new["number"]) == ("acme/attic", 1)
    assert new["id"] != moved["issue"]["id"]
    arrived = by_action["opened"]  # the later of two
    assert arrived["changes"]["old_issue"]["id"] == moved["issue"]["id"]
    assert (
        arrived["repository"]["full_name"] == by_action["deleted"]["repository"]["full_name"] == "acme/attic"
    )
    assert {payload["sender"]["login"] for payload in sent} == {"dev-lead"}
    assert by_action["created"]["comment"]["author_association"] == "MEMBER"


async def test_what_jira_says_of_a_change() -> None:
    tracker = JiraTracker()
    sent = [payload for _, payload in await reported(tracker, lambda: change_everything_at(tracker.site))]
    created, edited, replaced, assigned, done, reopened = sent[1:7]
    assert created["issue"]["fields"]["description"] == "Fewer steps\nKey-Result: KR-1"
    assert created["issue"]["self"].startswith("https://acme.atlassian.example/rest/api/2/issue/")
    assert "/rest/api/3" not in json.dumps(sent)
    assert {
        item["field"]: (item["fromString"], item["toString"]) for item in edited["changelog"]["items"]
    } == {
        "summary": ("One-page checkout", "Checkout"),
        "description": ("Fewer steps\nKey-Result: KR-1", "Fewer"),
        "labels": ("", "a kr:KR-1"),
    }
    assert [
        (item["field"], item["fieldId"], item["fieldtype"]) for item in replaced["changelog"]["items"]
    ] == [
        ("Component", "components", "jira"),
        ("IssueParentAssociation", "parent", "jira"),
        ("Key result", "customfield_10035", "custom"),
    ]
    assert assigned["changelog"]["items"][0]["toString"] == "qa-lead"
    assert [item["field"] for item in done["changelog"]["items"]] == ["status", "resolution"]
    assert [item["field"] for item in reopened["changelog"]["items"]] == ["status", "resolution", "issuetype"]
    comment, moved, deleted = sent[7], sent[11], sent[12]
    assert comment["comment"]["body"] == "/northing help"
    assert set(comment["issue"]["fields"]) == {
        "summary",
        "issuetype",
        "project",
        "assignee",
        "priority",
        "status",
    }
    by_field = {item["field"]: item for item in moved["changelog"]["items"]}
    assert (by_field["Key"]["fromString"], by_field["Key"]["toString"]) == ("SHOP-2", "CORE-1")
    assert by_field["project"]["to"] == moved["issue"]["fields"]["project"]["id"]
    assert (deleted["issue"]["key"], deleted["user"]["displayName"]) == ("CORE-1", "dev-lead")
    assert all(payload["timestamp"] > 1_600_000_000_000 for payload in sent)
