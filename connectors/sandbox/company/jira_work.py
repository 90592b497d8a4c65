"""The company's Jira: projects, people, epics, smaller issues and some comments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from connectors.sandbox.company.jira_epics import EPICS, SMALLER
from connectors.sandbox.company.plans import JIRA_PLANS, day_text, plan_of
from connectors.sandbox.company.work import days_before
from connectors.sandbox.jira import adf
from connectors.sandbox.jira.site import JiraSite
from connectors.sandbox.tracker import Clock, utc_now

if TYPE_CHECKING:
    from datetime import datetime

    from connectors.sandbox.jira.records import Json

FENCE = "```"


def jira_site(clock: Clock = utc_now) -> JiraSite:
    """Three software projects, one of them team-managed, and a service desk."""
    site = JiraSite(clock)
    now = site.clock()
    site.add_project("SHOP", "Online shop")
    site.add_project("CORE", "Core services")
    site.add_project("PAY", "Payments", team_managed=True)
    site.add_project("HELP", "Customer service", "service_desk")
    by_title: dict[str, str] = {}
    for number, epic in enumerate(EPICS):
        made = site.create(
            epic.home,
            epic.title,
            description=document(epic.text) if epic.text else None,
            status=epic.state,
            labels=epic.labels.split(),
            components=epic.parts.split(),
            assignee=epic.people or None,
            created=days_before(now, epic.age, number),
            updated=days_before(now, epic.idle, number),
            custom=_planned(epic.title, now),
        )
        by_title[epic.title] = made.key
    for number, (project, kind, title, parent) in enumerate(SMALLER):
        made = site.create(
            project,
            title,
            type=kind,
            parent=by_title.get(parent),
            status=("To Do", "In Progress", "Done")[number % 3],
            created=days_before(now, 20 + 3 * number, number),
            updated=days_before(now, 1 + number, number),
        )
        by_title[title] = made.key
    _add_comments(site, by_title, now)
    return site


def _planned(title: str, now: datetime) -> Json:
    """The fields of its plan, by id."""
    plan = plan_of(JIRA_PLANS, title)
    values = {
        "customfield_10015": day_text(now, plan.start),
        "duedate": day_text(now, plan.due),
        "customfield_10016": plan.points,
    }
    return {name: value for name, value in values.items() if value is not None}


def document(text: str) -> Json:
    """A document of a paragraph for each line, a list item for one with a hyphen, and code between fences."""
    content: list[Json] = []
    code: list[str] | None = None
    for line in text.split("\n"):
        if line == FENCE:
            if code is not None:
                content.append({"type": "codeBlock", "content": [{"type": "text", "text": "\n".join(code)}]})
            code = None if code is not None else []
        elif code is not None:
            code.append(line)
        elif line.startswith("- "):
            item = {"type": "listItem", "content": [adf.paragraph(line[2:])]}
            content.append({"type": "bulletList", "content": [item]})
        else:
            content.append(adf.paragraph(line))
    return {"type": "doc", "version": 1, "content": content}


def _add_comments(site: JiraSite, by_title: dict[str, str], now: datetime) -> None:
    """Adds comments of some people, and one description with a hard break before the line with the link."""
    broken = site.issue(by_title["Contacts per order on one screen"])
    broken.description = {
        "type": "doc",
        "version": 1,
        "content": [
            {
                "type": "paragraph",
                "content": [
                    {"type": "text", "text": "One number for service and for the shop."},
                    {"type": "hardBreak"},
                    {"type": "text", "text": "key-result: KR-7"},
                ],
            }
        ],
    }
    for title, author, text in (
        ("One-page checkout", "qa-lead", "Tested on the three smallest screens, looks good."),
        ("One-page checkout", "dev-lead", "Rolling out to a tenth of the visitors on Monday."),
        ("Order service in smaller pieces", "platform-lead", "Which part first? I would take prices."),
        ("Loyalty points, second attempt", "product-owner", "Waiting for the numbers from finance."),
    ):
        issue = site.issue(by_title[title])
        before = issue.updated
        comment = site.comment(issue.id, text, site.account(author))
        comment.created = comment.updated = issue.updated = before
