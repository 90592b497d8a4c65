"""The ticket pages' view of the simulated Jira."""

from __future__ import annotations

from collections.abc import Callable

from markupsafe import Markup

from connectors.sandbox.desk import EMPTY, Note, Ticket
from connectors.sandbox.jira import adf
from connectors.sandbox.jira.records import Issue
from connectors.sandbox.jira.site import JiraSite
from connectors.sandbox.pages import labels_of

CATEGORIES = {"new": "todo", "indeterminate": "doing", "done": "done"}


class JiraDesk:
    ticket_route = "/browse/{key}"

    def __init__(self, site: JiraSite, person: str = "dev-lead") -> None:
        self.site, self.person = site, person
        self.title = site.title

    def groups(self) -> list[tuple[str, list[Ticket]]]:
        by_project: dict[str, list[Issue]] = {key: [] for key in self.site.projects}
        for issue in self.site.issues.values():
            by_project[issue.project.key].append(issue)
        return [
            (
                f"{key} · {self.site.projects[key].name}",
                [
                    _brief(issue)
                    for issue in sorted(issues, key=lambda issue: (-issue.type.level, issue.number))
                ],
            )
            for key, issues in by_project.items()
        ]

    def ref(self, path_params: dict[str, str]) -> str:
        return path_params["key"]

    def find(self, ref: str) -> Ticket | None:
        issue = self.site.find(ref)
        return None if issue is None else _full(issue)

    def actions(self, ref: str) -> dict[str, Callable[[str], object]]:
        key = self.site.issue(ref).key
        return {
            "description": lambda text: self.site.edit(key, description=text),
            "labels": lambda text: self.site.edit(
                key, labels=[label.replace(" ", "-") for label in labels_of(text)]
            ),
            "comment": lambda text: self._comment(key, text),
        }

    def _comment(self, key: str, text: str) -> None:
        if not text.strip():
            raise ValueError("A comment needs words.")
        self.site.comment(key, text, self.site.account(self.person))


def _brief(issue: Issue, html: Markup = EMPTY, text: str = "", notes: tuple[Note, ...] = ()) -> Ticket:
    facts = [
        ("Project", issue.project.name),
        ("Assignee", issue.assignee.name if issue.assignee else "nobody"),
        ("Components", ", ".join(issue.components)),
        ("Parent", issue.parent.key if issue.parent else ""),
        ("Created", f"{issue.created:%Y-%m-%d}"),
        ("Updated", f"{issue.updated:%Y-%m-%d %H:%M} UTC"),
    ]
    return Ticket(
        path=f"/browse/{issue.key}",
        key=issue.key,
        kind=issue.type.name,
        title=issue.summary,
        status=issue.status.name,
        category=CATEGORIES[issue.status.category],
        labels=tuple(issue.labels),
        facts=tuple((name, value) for name, value in facts if value),
        comment_count=len(issue.comments),
        html=html,
        text=text,
        notes=notes,
    )


def _full(issue: Issue) -> Ticket:
    document = issue.description or {}
    notes = tuple(
        Note(one.author.name, one.created, one.updated != one.created, adf.to_html(one.body))
        for one in issue.comments
    )
    return _brief(issue, adf.to_html(document), adf.to_text(document), notes)
