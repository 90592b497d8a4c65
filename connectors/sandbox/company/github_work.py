"""The company's GitHub: repositories, epics, smaller issues, pull requests and some comments."""

from __future__ import annotations

from datetime import UTC, datetime, time
from typing import Any

from connectors.sandbox.company.github_epics import DROPPED, EPICS, PARENTS, SMALLER
from connectors.sandbox.company.plans import GITHUB_PLANS, MILESTONES, day_text, plan_of, working_day
from connectors.sandbox.company.work import days_before
from connectors.sandbox.github.host import GitHubHost
from connectors.sandbox.tracker import Clock, utc_now

NOON = time(12, tzinfo=UTC)
TYPED = "acme/platform"  # this team sets the issue type Epic as well as the label


def github_host(clock: Clock = utc_now) -> GitHubHost:
    """Three repositories of one organisation; acme/docs is public. Ages count back from the clock's now."""
    host = GitHubHost(clock)
    now = host.clock()
    host.add_repository("acme/mobile", description="The shop as an app")
    host.add_repository("acme/platform", description="What everything runs on")
    host.add_repository("acme/docs", private=False, description="Help centre and guides")
    host.add_issue_field("Start date", "date")
    host.add_issue_field("Estimate", "number")
    by_title: dict[str, str] = {}
    for number, epic in enumerate(EPICS):
        more: dict[str, Any] = {"state": "open" if epic.state == "open" else "closed"}
        if epic.state == DROPPED:
            more["state_reason"] = DROPPED
        if epic.parts:
            due = working_day(now, MILESTONES[epic.parts])
            host.milestone(epic.home, epic.parts, datetime.combine(due, NOON))
            more["milestone"] = epic.parts
        made = host.create(
            epic.home,
            epic.title,
            body=epic.text or None,
            labels=epic.labels.split(),
            assignees=epic.people.split(),
            type="Epic" if epic.home == TYPED else None,
            created=days_before(now, epic.age, number),
            updated=days_before(now, epic.idle, number),
            fields=_planned(epic.title, now),
            **more,
        )
        by_title[epic.title] = made.key
    for title, above in PARENTS.items():
        host.add_sub_issue(by_title[above], host.issue(by_title[title]))
    _add_smaller_work(host, by_title, now)
    _add_comments(host, by_title)
    return host


def _planned(title: str, now: datetime) -> dict[str, Any]:
    """The issue fields of its plan, by name."""
    plan = plan_of(GITHUB_PLANS, title)
    return {"Start date": day_text(now, plan.start), "Estimate": plan.points}


def _add_smaller_work(host: GitHubHost, by_title: dict[str, str], now: datetime) -> None:
    for number, (repository, title, labels, kind, epic) in enumerate(SMALLER):
        host.create(
            repository,
            title,
            labels=labels.split(),
            pull_request=kind == "pull",
            state=("open", "open", "closed")[number % 3],
            parent=by_title.get(epic),
            author="dev-lead",
            created=days_before(now, 15 + 4 * number, number),
            updated=days_before(now, 1 + number, number),
        )


def _add_comments(host: GitHubHost, by_title: dict[str, str]) -> None:
    for title, author, text in (
        ("Dark theme 🌙", "ios-lead", "Colours are done, see the *design* channel."),
        ("Dark theme 🌙", "product-owner", "Great. Pictures next?"),
        ("Reorder in two taps", "qa-lead", "Works on my old phone too."),
    ):
        issue = host.issue(by_title[title])
        before = issue.updated
        comment = host.comment(issue.key, text, host.account(author))
        comment.created = comment.updated = issue.updated = before
