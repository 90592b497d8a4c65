"""The state of a simulated Jira Cloud site, and the actions of people and administrators on it.

Nothing here speaks HTTP. Times are aware UTC with millisecond precision; a key may change, an id never does.
"""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from connectors.sandbox.jira import adf, changes as changes_of
from connectors.sandbox.jira.index import SearchIndex
from connectors.sandbox.jira.records import (
    STATUSES,
    TYPES,
    Account,
    Comment,
    Issue,
    IssueType,
    Json,
    Project,
    Status,
)
from connectors.sandbox.tracker import Clock, utc_now

if TYPE_CHECKING:
    from collections.abc import Callable

EDITABLE = frozenset(
    {"summary", "description", "labels", "components", "status", "type", "assignee", "parent", "custom"}
)
RECORDED_NAMES = {
    "type": ("issuetype",),
    "status": ("status", "statuscategorychangedate", "resolution", "resolutiondate"),
}
OUTSIDER = "passer-by"  # the name of an account that may only view and comment


class JiraSite(SearchIndex):
    """Projects, issues and comments of one site; `bot` is the account whose token Northing uses."""

    def __init__(self, now: Clock = utc_now, *, bot_time_zone: str = "UTC") -> None:
        super().__init__()
        self.now = now
        self.cloud_id = "6c4d3f5e-2b1a-4f7d-9e8c-0a1b2c3d4e5f"
        self.title = "Acme Jira"
        self.bot = Account(
            "5b10a2844c20165700ede21g", "northing-bot", "northing-bot@acme.example", bot_time_zone
        )
        self.accounts: dict[str, Account] = {self.bot.email: self.bot}
        self.projects: dict[str, Project] = {}
        self.former_keys: dict[str, Project] = {}  # until another project gets the key
        self.types: dict[str, IssueType] = {kind.id: kind for kind in TYPES}
        self.statuses: dict[str, Status] = {status.name: status for status in STATUSES}
        self.keys: dict[str, str] = {}  # from each key an issue has or had, in capitals, to its id
        self.comments: dict[str, tuple[Issue, Comment]] = {}
        self.denied: set[tuple[str, str]] = set()  # pairs of (permission, project key) that the bot lacks
        self.granted: set[tuple[str, str]] = set()  # pairs that only the bot has, see `rights`
        self.administrators: set[str] = set()  # account ids; only these may query the permissions of others
        self.page_cap = 100
        self.id_page_cap = 5000
        self._last_id = 20000  # above the ids of types and statuses
        self.watchers: list[Callable[[changes_of.Change], None]] = []

    def clock(self) -> datetime:
        now = self.now()
        return now.replace(microsecond=now.microsecond // 1000 * 1000)

    def new_id(self) -> str:
        self._last_id += 1
        return str(self._last_id)

    # People and projects

    def add_account(self, name: str, *, time_zone: str = "UTC", **more: Any) -> Account:
        """`more` takes `kind`, `active` and `outsider`."""
        account = Account(f"70121:{name}", name, f"{name}@acme.example", time_zone, **more)
        self.accounts[account.email] = account
        return account

    def account(self, name: str) -> Account:
        """The account of that name; created if it does not exist."""
        found = next((a for a in self.accounts.values() if a.name == name), None)
        return found or self.add_account(name, outsider=name == OUTSIDER)

    def add_project(
        self, key: str, name: str, type_key: str = "software", *, team_managed: bool = False
    ) -> Project:
        """`type_key` is `software`, `service_desk` or `business`; a team-managed one owns an Epic type."""
        project = Project(self.new_id(), key, name, type_key, team_managed)
        self.projects[key] = project
        self.former_keys.pop(key, None)  # an administrator has released it
        if team_managed:
            own = IssueType(self.new_id(), "Epic", 1, project.id)
            self.types[own.id] = own
        self.version += 1
        return project

    def project(self, id_or_key: str) -> Project | None:
        """Finds a project by id, by key or by a former key."""
        by_id = next((one for one in self.projects.values() if one.id == id_or_key), None)
        return by_id or self.projects.get(id_or_key) or self.former_keys.get(id_or_key)

    def rename_project(self, key: str, new_key: str) -> Project:
        """Gives a project another key, and with it all its issues; the former keys still lead to them. The
        times of update of the issues stay.

        https://support.atlassian.com/jira-cloud-administration/docs/edit-a-projects-details/
        """
        project = self.projects.pop(key)
        project.key = new_key
        self.former_keys.pop(new_key, None)
        self.projects[new_key] = self.former_keys[key] = project
        for pairs in (self.denied, self.granted):
            moved = {pair for pair in pairs if pair[1] == key}
            pairs -= moved
            pairs |= {(permission, new_key) for permission, _ in moved}
        for issue in self.issues.values():
            if issue.project is project:
                issue.recorded.pop("project", None)
                self.keys[issue.key.upper()] = issue.id
            issue.rendered.clear()  # it may name a parent or a child of that project
        self.version += 1
        return project

    def delete_project(self, key: str) -> None:
        """Deletes a project with its issues; its keys are free again."""
        project = self.projects.pop(key)
        self.former_keys = {name: one for name, one in self.former_keys.items() if one is not project}
        for issue in [issue for issue in self.issues.values() if issue.project is project]:
            self.delete(issue.id)
        self.version += 1

    def publish(self, key: str, *, public: bool = True) -> None:
        """Lets everyone browse a project, without a login too."""
        self.projects[key].public = public
        self.version += 1

    def archive(self, key: str, *, archived: bool = True) -> None:
        """https://support.atlassian.com/jira-cloud-administration/docs/archive-a-project/"""
        self.projects[key].archived = archived
        self.version += 1

    def epic_type(self, project: Project) -> IssueType:
        own = [kind for kind in self.types.values() if kind.level == 1 and kind.project == project.id]
        return own[0] if own else self.types["10000"]

    def revoke_credentials(self) -> None:
        """From now on the bot's token is not valid."""
        self.accounts.pop(self.bot.email, None)

    def restore_credentials(self) -> None:
        self.accounts[self.bot.email] = self.bot

    # Issues

    def create(
        self,
        project: str,
        summary: str,
        *,
        type: str = "Epic",
        description: str | Json | None = None,
        status: str = "To Do",
        parent: str | None = None,
        assignee: str | None = None,
        reporter: str = "product-owner",
        created: datetime | None = None,
        updated: datetime | None = None,
        **more: Any,
    ) -> Issue:
        """`type`, `status` and people by name; `more` takes `labels`, `components`, `custom` and
        `category_changed`."""
        home = self.projects[project]
        home.last_number += 1
        born = created or self.clock()
        issue = Issue(
            self.new_id(),
            home,
            home.last_number,
            self.epic_type(home) if type == "Epic" else self.type_named(type),
            summary,
            self.statuses[status],
            born,
            updated or born,
            self.account(reporter),
            _document(description),
            assignee=self.account(assignee) if assignee else None,
            parent=self.issue(parent) if parent else None,
            **more,
        )
        if issue.status.category == "done" and issue.category_changed is None:
            issue.category_changed = issue.updated
        self.admit(issue)
        self._notify_watchers(changes_of.Change("jira:issue_created", "issue_created", issue, issue.reporter))
        return issue

    def admit(self, issue: Issue) -> None:
        """Adds an issue that the caller made, e.g. a recorded one."""
        self._before_change(issue, born=True)
        self.issues[issue.id] = issue
        self.keys[issue.key.upper()] = issue.id
        if issue.parent:
            issue.parent.children.append(issue)
        self.version += 1

    def type_named(self, name: str) -> IssueType:
        return next(kind for kind in self.types.values() if kind.name == name and kind.project is None)

    def find(self, id_or_key: str) -> Issue | None:
        """Finds an issue by id, by key or by a key from before a move. Case does not matter."""
        return self.issues.get(id_or_key) or self.issues.get(self.keys.get(id_or_key.upper(), ""))

    def issue(self, id_or_key: str) -> Issue:
        found = self.find(id_or_key)
        if found is None:
            raise LookupError(id_or_key)
        return found

    def edit(self, id_or_key: str, *, by: Account | None = None, **changes: Any) -> Issue:
        """Sets any of EDITABLE, and the time of the last update. `status` and `assignee` by value or name.

        `by` is the account that edits; without it, the default person.
        """
        issue = self.issue(id_or_key)
        if unknown := set(changes) - EDITABLE:
            raise LookupError(f"not editable: {', '.join(sorted(unknown))}")
        if isinstance(changes.get("status"), str):
            changes["status"] = self.statuses[changes["status"]]
        if isinstance(changes.get("assignee"), str):
            changes["assignee"] = self.account(changes["assignee"])
        if "description" in changes:
            changes["description"] = _document(changes["description"])
        self._before_change(issue)
        before = copy.copy(issue)
        if "parent" in changes:
            _new_parent(issue, changes["parent"])
        for name, value in changes.items():
            setattr(issue, name, value)
            for field in RECORDED_NAMES.get(name, (name,)):
                issue.recorded.pop(field, None)
        self._change_with(before, issue)
        self.touch(issue)
        self._notify_watchers(changes_of.edit(before, issue, by or self._default_person()))
        return issue

    def _change_with(self, before: Issue, issue: Issue) -> None:
        """What an edit changes beside what it names."""
        if issue.status.category != before.status.category:
            issue.category_changed = self.clock()
        for name, value in issue.custom.items():
            if value != before.custom.get(name):
                issue.recorded.pop(name, None)

    def move(self, id_or_key: str, project: str, *, by: Account | None = None) -> Issue:
        """Moves the issue to another project. The id stays, the key changes, the old key still resolves."""
        issue = self.issue(id_or_key)
        self._before_change(issue)
        before = copy.copy(issue)
        issue.project = self.projects[project]
        issue.project.last_number += 1
        issue.number = issue.project.last_number
        if issue.type.level == 1:
            issue.type = self.epic_type(issue.project)
        for name in ("project", "issuetype"):
            issue.recorded.pop(name, None)
        self.keys[issue.key.upper()] = issue.id
        self.touch(issue)
        self._notify_watchers(changes_of.move(before, issue, by or self._default_person()))
        return issue

    def delete(self, id_or_key: str, *, by: Account | None = None) -> None:
        issue = self.issue(id_or_key)
        self._before_change(issue)
        del self.issues[issue.id]
        if issue.parent:
            issue.parent.children.remove(issue)
        for child in issue.children:
            child.parent = None
        for comment in issue.comments:
            del self.comments[comment.id]
        self.version += 1
        self._notify_watchers(
            changes_of.Change("jira:issue_deleted", "issue_deleted", issue, by or self._default_person())
        )

    def close_to_bot(self, id_or_key: str, *, closed: bool = True) -> None:
        """Hides the issue from the bot by its security level. As in Jira, its time of update stays."""
        self.issue(id_or_key).closed_to_bot = closed
        self.version += 1

    def touch(self, issue: Issue) -> None:
        """Sets the issue's time of update to now, and drops each cached rendering that shows a part of it."""
        issue.updated = self.clock()
        issue.recorded.pop("updated", None)
        for shown in (issue, *issue.children, *([issue.parent] if issue.parent else [])):
            shown.rendered.clear()
        self.version += 1

    # Comments

    def comment(
        self,
        id_or_key: str,
        body: str | Json,
        author: Account | None = None,
        properties: Json | None = None,
        *,
        role: str | None = None,
        internal: bool = False,
    ) -> Comment:
        """`role`: the project role that alone sees it. `internal`: a service desk does not show it."""
        issue, now = self.issue(id_or_key), self.clock()
        made = Comment(
            self.new_id(),
            author or self._default_person(),
            _document(body) or {},
            now,
            now,
            dict(properties or {}),
            None if role is None else {"type": "role", "value": role, "identifier": role},
            internal,
        )
        self._before_change(issue)
        issue.comments.append(made)
        self.comments[made.id] = (issue, made)
        self.touch(issue)
        self._notify_watchers(changes_of.Change("comment_created", "", issue, made.author, made))
        return made

    def edit_comment(self, comment_id: str, body: str | Json) -> Comment:
        issue, comment = self.comments[comment_id]
        comment.body, comment.updated = _document(body) or {}, self.clock()
        self.touch(issue)
        self._notify_watchers(changes_of.Change("comment_updated", "", issue, comment.author, comment))
        return comment

    def delete_comment(self, comment_id: str) -> None:
        issue, comment = self.comments.pop(comment_id)
        issue.comments.remove(comment)
        self.touch(issue)
        self._notify_watchers(changes_of.Change("comment_deleted", "", issue, comment.author, comment))

    def _notify_watchers(self, change: changes_of.Change | None) -> None:
        if change is not None:
            for watcher in self.watchers:
                watcher(change)

    def _default_person(self) -> Account:
        return self.account("dev-lead")


def _new_parent(issue: Issue, parent: Issue | None) -> None:
    if issue.parent:
        issue.parent.children.remove(issue)
        issue.parent.rendered.clear()
    if parent:
        parent.children.append(issue)


def _document(text: str | Json | None) -> Json | None:
    return adf.from_text(text) if isinstance(text, str) else text


def parse_time(text: str) -> datetime:
    """Jira's `2024-01-15T10:30:00.000+0000`, as UTC."""
    return datetime.fromisoformat(text).astimezone(UTC)
