"""The state of a simulated GitHub host, and the actions of people on it.

Nothing here speaks HTTP. Times are aware UTC in whole seconds, as GitHub shows them. An issue's id is its
identity, but a transfer gives it a new one.
"""

from __future__ import annotations

import copy
from datetime import UTC
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from connectors.sandbox.github import changes as changes_of
from connectors.sandbox.github.records import (
    Account,
    Comment,
    Issue,
    IssueField,
    IssueType,
    Milestone,
    Reaction,
    Repository,
    Role,
)
from connectors.sandbox.tracker import Clock, utc_now

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

EDITABLE = frozenset({
    "title", "body", "state", "state_reason", "labels", "assignees", "milestone", "type", "pull_request",
    "fields",
})  # fmt: skip
RECORDED_NAMES = {
    "state": ("state", "closed_at", "state_reason"),
    "assignees": ("assignees", "assignee"),
    "fields": ("issue_field_values",),
}
OUTSIDER = "passer-by"  # an account in no organisation that comments in public repositories
FEATURES = frozenset({"sub_issues", "issue_types", "issue_fields"})


PACIFIC = ZoneInfo("America/Los_Angeles")


def _due_kept(due_on: datetime | None) -> datetime | None:
    """GitHub keeps midnight in California of the day that it is there, whatever time it was sent."""
    if due_on is None:
        return None
    there = due_on.astimezone(PACIFIC).replace(hour=0, minute=0, second=0, microsecond=0)
    return there.astimezone(UTC)


class GitHubHost:
    """Organisations, repositories, issues and comments; `bot` is the account whose token Northing uses.

    A feature not in `features` is missing, as on an Enterprise Server: 404, and no fields of it.
    """

    def __init__(self, now: Clock = utc_now, *, features: Iterable[str] = FEATURES) -> None:
        self.now = now
        self.title = "Acme GitHub"
        self.features = frozenset(features)
        self._last_id = 2_400_000_000
        self.accounts: dict[str, Account] = {}
        self.tokens: dict[str, Account] = {}
        self.bot = self.account("northing-bot")
        self.repositories: dict[int, Repository] = {}
        self.names: dict[str, int] = {}  # from each full name a repository has or had, in lower case
        self.types: dict[str, IssueType] = {}
        self.fields: dict[int, IssueField] = {}  # of every organisation, by id
        self.comments: dict[int, tuple[Issue, Comment]] = {}
        self.read_only: set[str] = set()  # full names where the bot may not write
        self.hidden: set[str] = set()  # full names the bot may not see
        self.no_issues: set[str] = set()  # full names whose issues the bot's token may not read
        # Of tokens, by login: the scopes (a token without is fine-grained) and when the token expires.
        self.scopes: dict[str, str] = {}
        self.expires: dict[str, str] = {}
        self.release: str | None = None  # of an Enterprise Server
        self.rate_limit = 5000
        self.associations = {OUTSIDER: "NONE"}  # by login, where it is not the usual one; see `association`
        self.watchers: list[Callable[[changes_of.Change], None]] = []
        for name, color in (("Epic", "purple"), ("Feature", "blue"), ("Bug", "red"), ("Task", "yellow")):
            self.types[name] = IssueType(self.new_id(), name, color)

    def clock(self) -> datetime:
        return self.now().replace(microsecond=0)

    def new_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def account(self, login: str, kind: str = "User") -> Account:
        if login not in self.accounts:
            made = self.accounts[login] = Account(login, self.new_id(), kind)
            self.tokens[made.token] = made
        return self.accounts[login]

    def association(self, repository: Repository, account: Account) -> str:
        """GitHub's `author_association`: OWNER, MEMBER, COLLABORATOR or NONE."""
        if account.login in self.associations:
            return self.associations[account.login]
        if account == repository.owner:
            return "OWNER"
        return "MEMBER" if repository.owner.kind == "Organization" else "COLLABORATOR"

    def role(self, repository: Repository, account: Account) -> Role | None:
        """The account's role; None if it is no collaborator."""
        if account == self.bot:
            return Role(repository.role)
        usual = {"OWNER": Role("admin"), "MEMBER": Role("push"), "COLLABORATOR": Role("push")}
        return repository.roles.get(account.login) or usual.get(self.association(repository, account))

    def may_edit(self, repository: Repository, account: Account) -> bool:
        return self.association(repository, account) != "NONE"

    def _notify_watchers(self, changes: Iterable[changes_of.Change]) -> None:
        if self.watchers:
            for change in changes:
                for watcher in self.watchers:
                    watcher(change)

    def revoke_credentials(self) -> None:
        """From now on the bot's token is not valid."""
        self.tokens.pop(self.bot.token, None)

    def restore_credentials(self) -> None:
        self.tokens[self.bot.token] = self.bot

    # Repositories

    def add_repository(
        self, full_name: str, *, private: bool = True, description: str = "", organization: bool = True
    ) -> Repository:
        owner, _, name = full_name.partition("/")
        account = self.account(owner, "Organization" if organization else "User")
        made = Repository(self.new_id(), account, name, private, self.clock(), description)
        self.repositories[made.id] = made
        self.names[full_name.lower()] = made.id
        return made

    def rename_repository(self, full_name: str, new_name: str) -> Repository:
        """Renames a repository; its old name answers with a redirect from now on."""
        found = self.repository(full_name)
        found.name = new_name
        self.names[found.full_name.lower()] = found.id
        for issue in found.issues.values():
            issue.rendered.clear()
        return found

    def repository(self, full_name: str) -> Repository:
        found = self.find_repository(full_name)
        if found is None:
            raise LookupError(full_name)
        return found

    def find_repository(self, full_name: str) -> Repository | None:
        return self.repositories.get(self.names.get(full_name.lower(), 0))

    def milestone(self, full_name: str, title: str, due_on: datetime | None = None) -> Milestone:
        """The milestone of that title; created if it does not exist."""
        repository = self.repository(full_name)
        if title not in repository.milestones:
            number, now = len(repository.milestones) + 1, self.clock()
            made = Milestone(self.new_id(), number, title, _due_kept(due_on), now)
            repository.milestones[title] = made
        return repository.milestones[title]

    def edit_milestone(self, full_name: str, title: str, due_on: datetime | None) -> Milestone:
        """Gives the milestone another due day. As on GitHub, the time of update of its issues stays."""
        repository = self.repository(full_name)
        found, was = repository.milestones[title], copy.copy(repository.milestones[title])
        found.due_on = _due_kept(due_on)
        for issue in repository.issues.values():
            if issue.milestone is found:
                issue.rendered.clear()
        self._notify_watchers(changes_of.milestone_edit(repository, was, found, self._default_person()))
        return found

    def add_issue_field(self, name: str, kind: str = "text", *options: str) -> IssueField:
        made = IssueField(self.new_id(), name, kind, options)
        self.fields[made.id] = made
        return made

    # Issues

    def create(
        self,
        full_name: str,
        title: str,
        *,
        body: str | None = None,
        author: str = "product-owner",
        parent: str | None = None,
        created: datetime | None = None,
        updated: datetime | None = None,
        **more: Any,
    ) -> Issue:
        """`more` takes EDITABLE; people, types and milestones by name. `parent` is a key like acme/shop#7."""
        repository = self.repository(full_name)
        repository.last_number += 1
        born = created or self.clock()
        issue = Issue(
            self.new_id(), repository, repository.last_number, title, body, self.account(author), born, born
        )
        self._set(issue, more)
        issue.updated = updated or born
        if issue.state == "closed":
            issue.closed = issue.updated
        repository.issues[issue.number] = issue
        if parent:
            self.add_sub_issue(parent, issue)
        self._notify_watchers(changes_of.creation(issue, issue.author))
        return issue

    def find(self, key: str) -> Issue | None:
        """Finds an issue by `owner/name#number`, or by its key before a transfer."""
        full_name, _, number = key.rpartition("#")
        repository = self.find_repository(full_name)
        if repository is None or not number.isdigit():
            return None
        return repository.issues.get(int(number)) or repository.gone.get(int(number))

    def issue(self, key: str) -> Issue:
        found = self.find(key)
        if found is None:
            raise LookupError(key)
        return found

    def edit(self, key: str, *, by: Account | None = None, **changes: Any) -> Issue:
        """Sets any of EDITABLE. `by` is the account that edits; without it, the default person."""
        issue = self.issue(key)
        if unknown := set(changes) - EDITABLE:
            raise LookupError(f"not editable: {', '.join(sorted(unknown))}")
        before = copy.copy(issue)
        self._set(issue, changes)
        self.touch(issue)
        person = by or self._default_person()
        self._notify_watchers(changes_of.edits(before, issue, person))
        self._notify_watchers(changes_of.field_changes(before, issue, person, self.fields))
        return issue

    def _set(self, issue: Issue, changes: dict[str, Any]) -> None:
        if "assignees" in changes:
            changes["assignees"] = [self.account(login) for login in changes["assignees"]]
        if isinstance(changes.get("milestone"), str):
            changes["milestone"] = self.milestone(issue.repository.full_name, changes["milestone"])
        if isinstance(changes.get("type"), str):
            changes["type"] = self.types[changes["type"]]
        if "fields" in changes:  # by name; None takes a value away
            ids = {field.name: field.id for field in self.fields.values()}
            values = issue.fields | {ids[name]: value for name, value in changes["fields"].items()}
            changes["fields"] = {id: value for id, value in values.items() if value is not None}
        was = issue.state
        for name, value in changes.items():
            setattr(issue, name, value)
            for field in RECORDED_NAMES.get(name, (name,)):
                issue.recorded.pop(field, None)
        if issue.state != was:
            closed = issue.state == "closed"
            issue.closed = self.clock() if closed else None
            issue.state_reason = changes.get("state_reason") or ("completed" if closed else "reopened")

    def lock(self, key: str, *, locked: bool = True) -> None:
        """Locks an issue: only accounts with the role `push` may still comment on it."""
        issue = self.issue(key)
        issue.locked = locked
        issue.recorded.pop("locked", None)
        issue.rendered.clear()

    def add_sub_issue(self, parent: str, child: Issue) -> None:
        above = self.issue(parent)
        child.parent = above
        above.children.append(child)
        above.rendered.clear()
        child.rendered.clear()

    def transfer(self, key: str, full_name: str, *, by: Account | None = None) -> Issue:
        """Transfers the issue: it gets a new number and a new id; the old number answers with a redirect."""
        issue, target = self.issue(key), self.repository(full_name)
        before = copy.copy(issue)
        del issue.repository.issues[issue.number]
        left, number = issue.repository, issue.number
        target.last_number += 1
        issue.id, issue.repository, issue.number = self.new_id(), target, target.last_number
        issue.milestone, issue.recorded = None, {}
        target.issues[issue.number] = issue
        left.gone[number] = issue
        self.touch(issue)
        self._notify_watchers(changes_of.transfer(before, issue, by or self._default_person()))
        return issue

    def delete(self, key: str, *, by: Account | None = None) -> None:
        """Deletes the issue; its number answers 410 from now on."""
        issue = self.issue(key)
        del issue.repository.issues[issue.number]
        issue.repository.gone[issue.number] = None
        if issue.parent:
            issue.parent.children.remove(issue)
            issue.parent.rendered.clear()
        for child in issue.children:
            child.parent = None
            child.rendered.clear()
        for comment in issue.comments:
            del self.comments[comment.id]
        self._notify_watchers(changes_of.removal(issue, by or self._default_person()))

    def _default_person(self) -> Account:
        return self.account("dev-lead")

    def touch(self, issue: Issue) -> None:
        """Sets the issue's time of update to now, and drops each cached rendering that shows part of it."""
        issue.updated = self.clock()
        issue.recorded.pop("updated_at", None)
        for shown in (issue, *issue.children, *([issue.parent] if issue.parent else [])):
            shown.rendered.clear()

    # Comments

    def comment(
        self, key: str, body: str, author: Account | None = None, *, relayed_by: str | None = None
    ) -> Comment:
        """`relayed_by`: the app through which the author wrote it."""
        issue, now = self.issue(key), self.clock()
        made = Comment(self.new_id(), author or self._default_person(), body, now, now, relayed_by)
        issue.comments.append(made)
        issue.recorded.pop("comments", None)
        self.comments[made.id] = (issue, made)
        self.touch(issue)
        self._notify_watchers([changes_of.comment_change("created", issue, made, made.author)])
        return made

    def edit_comment(self, comment_id: int, body: str, *, by: Account | None = None) -> Comment:
        """Edits a comment. Without `by`, its author edits it."""
        issue, comment = self.comments[comment_id]
        was = comment.body
        comment.body, comment.updated = body, self.clock()
        self.touch(issue)
        self._notify_watchers(
            [changes_of.comment_change("edited", issue, comment, by or comment.author, was)]
        )
        return comment

    def delete_comment(self, comment_id: int, *, by: Account | None = None) -> None:
        issue, comment = self.comments.pop(comment_id)
        issue.comments.remove(comment)
        issue.recorded.pop("comments", None)
        self.touch(issue)
        self._notify_watchers([changes_of.comment_change("deleted", issue, comment, by or comment.author)])

    def react(self, comment_id: int, content: str, by: Account) -> tuple[Reaction, bool]:
        """The account's reaction of that kind, and whether it is new. The issue's time of update stays."""
        _, comment = self.comments[comment_id]
        for there in comment.reactions:
            if (there.account, there.content) == (by, content):
                return there, False
        made = Reaction(self.new_id(), by, content, self.clock())
        comment.reactions.append(made)
        return made, True
