"""The ticket pages' view of the simulated GitHub."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markupsafe import Markup, escape

from connectors.sandbox.github.host import OUTSIDER, GitHubHost
from connectors.sandbox.page_backend import CommentView, PageBackend, Ticket

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markdown_it.token import Token
    from markdown_it.utils import EnvType, OptionsDict

    from connectors.sandbox.github.records import Issue

SIGNS = {
    "+1": "👍", "-1": "👎", "laugh": "😄", "confused": "😕", "heart": "❤️", "hooray": "🎉", "eyes": "👀",
    "rocket": "🚀",
}  # fmt: skip
HTML_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)


class GitHubPageBackend(PageBackend):
    ticket_route = "/{owner}/{repo}/issues/{number:int}"
    look = "github"

    def __init__(self, host: GitHubHost, person: str = "dev-lead") -> None:
        self.host, self.person = host, person
        self.title = host.title

    def groups(self) -> list[tuple[str, list[Ticket]]]:
        return [
            (
                repository.full_name,
                [_brief(issue) for issue in sorted(repository.issues.values(), key=_large_first)],
            )
            for repository in self.host.repositories.values()
        ]

    def ref(self, path_params: dict[str, str]) -> str:
        return f"{path_params['owner']}/{path_params['repo']}#{path_params['number']}"

    def find(self, ref: str, person: str | None = None) -> Ticket | None:
        issue = self.host.find(ref)
        if issue is None:
            return None
        people = (self.person,) if issue.repository.private else (self.person, OUTSIDER)
        viewer = self.host.account(person if person and person in people else self.person)
        notes = tuple(
            CommentView(
                str(one.id),
                one.author.login,
                one.created,
                one.updated != one.created,
                markdown(one.body),
                one.body,
                one.author == viewer,
                f"through the app {one.relayed_by}" if one.relayed_by else "",
                tuple((SIGNS[reaction.content], reaction.account.login) for reaction in one.reactions),
            )
            for one in issue.comments
        )
        return replace(
            _brief(issue),
            html=markdown(issue.body or ""),
            text=issue.body or "",
            notes=notes,
            people=people,
            can_edit=self.host.may_edit(issue.repository, viewer),
        )

    def describe(self, ref: str, person: str, text: str) -> None:
        self.host.edit(ref, by=self.host.account(person), body=text)

    def relabel(self, ref: str, person: str, labels: list[str]) -> None:
        self.host.edit(ref, by=self.host.account(person), labels=labels)

    def close(self, ref: str, person: str, *, closed: bool) -> None:
        self.host.edit(ref, by=self.host.account(person), state="closed" if closed else "open")

    def comment(self, ref: str, person: str, text: str) -> None:
        self.host.comment(ref, text, self.host.account(person))

    def edit_comment(self, comment_id: str, text: str) -> None:
        self.host.edit_comment(int(comment_id), text)

    def delete_comment(self, comment_id: str) -> None:
        self.host.delete_comment(int(comment_id))


def _large_first(issue: Issue) -> tuple[bool, bool, int]:
    return (issue.pull_request, "epic" not in issue.labels, issue.number)


def _brief(issue: Issue) -> Ticket:
    facts = [
        (
            "Repository",
            f"{issue.repository.full_name} ({'private' if issue.repository.private else 'public'})",
        ),
        ("Assignees", ", ".join(account.login for account in issue.assignees) or "nobody"),
        ("Milestone", issue.milestone.title if issue.milestone else ""),
        ("Parent", issue.parent.key if issue.parent else ""),
        ("Sub-issues", str(len(issue.children)) if issue.children else ""),
        ("Created", f"{issue.created:%Y-%m-%d}"),
        ("Updated", f"{issue.updated:%Y-%m-%d %H:%M} UTC"),
    ]
    kind = "Pull request" if issue.pull_request else issue.type.name if issue.type else "Issue"
    return Ticket(
        path=f"/{issue.repository.full_name}/issues/{issue.number}",
        key=issue.key,
        kind=kind,
        title=issue.title,
        status=issue.state,
        category="done" if issue.state == "closed" else "doing" if issue.assignees else "todo",
        labels=tuple(issue.labels),
        facts=tuple((name, value) for name, value in facts if value),
        comment_count=len(issue.comments),
    )


class _Renderer(RendererHTML):
    """Outputs no HTML of a ticket: HTML comments are dropped, as on GitHub; other HTML shows as text."""

    def html_block(self, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType) -> str:
        return _as_text(tokens[index].content)

    def html_inline(self, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType) -> str:
        return _as_text(tokens[index].content)

    def image(self, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType) -> str:
        return str(escape(tokens[index].content))


def _as_text(html: str) -> str:
    text = str(escape(HTML_COMMENT.sub("", html).rstrip("\n")))
    # GitHub allows some HTML elements; of these only `sub`, for small print, is kept.
    return text.replace("&lt;sub&gt;", "<sub>").replace("&lt;/sub&gt;", "</sub>")


_MARKDOWN = MarkdownIt("commonmark", {"html": True}, renderer_cls=_Renderer).enable(
    ["table", "strikethrough"]
)


def markdown(text: str) -> Markup:
    """Safe HTML of a ticket's Markdown."""
    return Markup(_MARKDOWN.render(text))  # noqa: S704  # the renderer escapes all text and HTML
