"""The ticket pages' view of the simulated Jira."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from connectors.sandbox.jira import adf
from connectors.sandbox.jira.rights import may
from connectors.sandbox.jira.site import OUTSIDER, JiraSite
from connectors.sandbox.page_backend import CommentView, PageBackend, Ticket

if TYPE_CHECKING:
    from connectors.sandbox.jira.records import Comment, Issue

CATEGORIES = {"new": "todo", "indeterminate": "doing", "done": "done"}


class JiraPageBackend(PageBackend):
    ticket_route = "/browse/{key}"
    look = "jira"

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

    def find(self, ref: str, person: str | None = None) -> Ticket | None:
        issue = self.site.find(ref)
        if issue is None:
            return None
        people = (self.person, OUTSIDER)
        viewer = self.site.account(person if person and person in people else self.person)
        notes = tuple(
            CommentView(
                one.id,
                one.author.name,
                one.created,
                one.updated != one.created,
                adf.to_html(one.body),
                adf.to_text(one.body),
                one.author == viewer,
                _seen_by(one),
            )
            for one in issue.comments
        )
        document = issue.description or {}
        return replace(
            _brief(issue),
            html=adf.to_html(document),
            text=adf.to_text(document),
            notes=notes,
            people=people,
            can_edit=may(self.site, viewer, "EDIT_ISSUES", issue.project),
        )

    def describe(self, ref: str, person: str, text: str) -> None:
        self.site.edit(ref, by=self.site.account(person), description=text)

    def relabel(self, ref: str, person: str, labels: list[str]) -> None:
        """Replaces spaces in labels by hyphens: Jira allows no spaces."""
        self.site.edit(
            ref,
            by=self.site.account(person),
            labels=list(dict.fromkeys(label.replace(" ", "-") for label in labels)),
        )

    def close(self, ref: str, person: str, *, closed: bool) -> None:
        self.site.edit(ref, by=self.site.account(person), status="Done" if closed else "To Do")

    def comment(self, ref: str, person: str, text: str) -> None:
        self.site.comment(ref, text, self.site.account(person))

    def edit_comment(self, comment_id: str, text: str) -> None:
        self.site.edit_comment(comment_id, text)

    def delete_comment(self, comment_id: str) -> None:
        self.site.delete_comment(comment_id)


def _seen_by(comment: Comment) -> str:
    if comment.visibility is not None:
        return f"only {comment.visibility['value']}"
    return "internal" if comment.internal else ""


def _brief(issue: Issue) -> Ticket:
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
    )
