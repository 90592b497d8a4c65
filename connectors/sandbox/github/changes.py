"""Changes on a simulated GitHub host, one at a time, as webhooks report them.

One edit makes several changes: one for each label, each assignee and the state. On GitHub, pull requests have
webhooks of their own, which are not simulated here; their comments come as those of issues do.
See https://docs.github.com/webhooks/webhook-events-and-payloads.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from connectors.sandbox.github.records import (
        Account,
        Comment,
        Issue,
        IssueField,
        Milestone,
        Repository,
    )


@dataclass(frozen=True, slots=True)
class Change:
    """An event, its action, its issue and the account behind it. The payload shows `issue` as it is now.

    `more` holds the other members of the payload: `label` a name, `assignee` an Account, `milestone` a
    Milestone, `type` an IssueType, `issue_field` an IssueField, `comment` a Comment, `was` and
    `becomes` the issue before and after a transfer, `changes` the values before an edit. `issue` is None for
    a change of a milestone alone, which is `within` a repository.
    """

    event: str
    action: str
    issue: Issue | None
    by: Account
    more: dict[str, Any] = field(default_factory=dict)
    within: Repository | None = None

    @property
    def repository(self) -> Repository:
        found = self.within if self.issue is None else self.issue.repository
        assert found is not None, "a change is of an issue, or within a repository"
        return found


def creation(issue: Issue, by: Account) -> Iterator[Change]:
    yield from () if issue.pull_request else (Change("issues", "opened", issue, by),)
    yield from _parts(_Blank, issue, by)


class _Blank:
    """An issue without any parts, to compare a new issue with."""

    labels: tuple[str, ...] = ()
    assignees: tuple[Account, ...] = ()
    milestone = type = None


def edits(before: Issue, issue: Issue, by: Account) -> Iterator[Change]:
    """The differences between an issue before and after an edit."""
    if issue.pull_request:
        return
    texts = {name: getattr(before, name) or "" for name in ("title", "body")}
    old = {name: {"from": text} for name, text in texts.items() if text != (getattr(issue, name) or "")}
    if old:
        yield Change("issues", "edited", issue, by, {"changes": old})
    yield from _parts(before, issue, by)
    if before.state != issue.state:
        yield Change("issues", "closed" if issue.state == "closed" else "reopened", issue, by)


def _parts(before: Issue | type[_Blank], issue: Issue, by: Account) -> Iterator[Change]:
    if issue.pull_request:
        return
    lists = (("label", "labels", "labeled", "unlabeled"), ("assignee", "assignees", "assigned", "unassigned"))
    for member, name, added, removed in lists:
        old, new = getattr(before, name), getattr(issue, name)
        yield from (Change("issues", removed, issue, by, {member: one}) for one in old if one not in new)
        yield from (Change("issues", added, issue, by, {member: one}) for one in new if one not in old)
    singles = (("milestone", "milestoned", "demilestoned"), ("type", "typed", "untyped"))
    for member, added, removed in singles:
        was, now = getattr(before, member), getattr(issue, member)
        if was != now:
            yield from (Change("issues", removed, issue, by, {member: one}) for one in (was,) if one)
            yield from (Change("issues", added, issue, by, {member: one}) for one in (now,) if one)


def field_changes(
    before: Issue, issue: Issue, by: Account, fields: Mapping[int, IssueField]
) -> Iterator[Change]:
    """One for each field whose value is another one now."""
    for id in sorted({*before.fields, *issue.fields}):
        if not issue.pull_request and before.fields.get(id) != issue.fields.get(id):
            action = "field_added" if id in issue.fields else "field_removed"
            yield Change("issues", action, issue, by, {"issue_field": fields[id]})


def milestone_edit(
    repository: Repository, before: Milestone, milestone: Milestone, by: Account
) -> Iterator[Change]:
    """Another due day. GitHub sends nothing for the issues of the milestone."""
    if before.due_on != milestone.due_on:
        was = {"from": None if before.due_on is None else f"{before.due_on:%Y-%m-%dT%H:%M:%SZ}"}
        more = {"milestone": milestone, "changes": {"due_on": was}}
        yield Change("milestone", "edited", None, by, more, repository)


def removal(issue: Issue, by: Account) -> Iterator[Change]:
    yield from () if issue.pull_request else (Change("issues", "deleted", issue, by),)


def transfer(before: Issue, issue: Issue, by: Account) -> Iterator[Change]:
    """Two changes: one in the old repository and, as a new issue, one in the new repository."""
    if issue.pull_request:
        return
    yield Change("issues", "transferred", before, by, {"becomes": issue})
    yield Change("issues", "opened", issue, by, {"was": before})


def comment_change(
    action: str, issue: Issue, comment: Comment, by: Account, was: str | None = None
) -> Change:
    """`was` is the text of the comment before an edit."""
    more: dict[str, Any] = {"comment": comment}
    if was is not None:
        more["changes"] = {"body": {"from": was}}
    return Change("issue_comment", action, issue, by, more)
