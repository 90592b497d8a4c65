"""The tickets of both trackers seen alike: what people do to them, and the truth about each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from connectors.sandbox.github.changes import Change as GitHubChange
from connectors.sandbox.github.host import GitHubHost
from connectors.sandbox.github.records import Issue as GitHubIssue
from connectors.sandbox.github.tracker import GitHubTracker
from connectors.sandbox.jira import adf
from connectors.sandbox.jira.changes import Change as JiraChange
from connectors.sandbox.jira.records import Issue as JiraIssue
from connectors.sandbox.jira.site import JiraSite
from connectors.sandbox.jira.tracker import JiraTracker
from connectors.sandbox.tracker import Clock, Tracker


@dataclass(frozen=True, slots=True)
class Ticket:
    """A ticket as it is; `ours` are the comments of Northing's account, each its id and its words."""

    id: str
    key: str
    title: str
    text: str
    labels: tuple[str, ...]
    is_open: bool
    ours: tuple[tuple[str, str], ...]


class Tickets(ABC):
    """One tracker's. `projects` are where they are; `watch` takes a function, called with the key and the
    number of our comments on a ticket each time that Northing's account comments."""

    kind: str
    tracker: Tracker
    projects: tuple[str, ...]
    scope: dict[str, Any]

    @property
    @abstractmethod
    def credentials(self) -> dict[str, str]: ...

    @abstractmethod
    def all(self) -> list[Ticket]: ...

    @abstractmethod
    def watch(self, reported: Callable[[str, int], None]) -> None: ...

    @abstractmethod
    def add(self, project: str, title: str) -> str: ...

    @abstractmethod
    def retitle(self, key: str, title: str) -> None: ...

    @abstractmethod
    def describe(self, key: str, text: str) -> None: ...

    @abstractmethod
    def label(self, key: str, *labels: str) -> None: ...

    @abstractmethod
    def close(self, key: str, *, closed: bool) -> None: ...

    @abstractmethod
    def delete(self, key: str) -> None: ...

    @abstractmethod
    def say(self, key: str, text: str) -> None:
        """A person comments."""


class JiraTickets(Tickets):
    kind = "jira"
    projects = ("SHOP", "CORE")

    def __init__(self, clock: Clock) -> None:
        self.site = JiraSite(clock)
        for project in self.projects:
            self.site.add_project(project, project.title())
        self.tracker = JiraTracker(self.site)
        self.scope = {"projects": [*self.projects]}

    @property
    def credentials(self) -> dict[str, str]:
        return {"type": "api_token", "email": self.site.bot.email, "token": self.site.bot.token}

    def all(self) -> list[Ticket]:
        return [self._shown(issue) for issue in self.site.issues.values()]

    def _shown(self, issue: JiraIssue) -> Ticket:
        ours = tuple((c.id, adf.to_text(c.body)) for c in issue.comments if c.author == self.site.bot)
        text = adf.to_text(issue.description or {})
        is_open = issue.status.category != "done"
        return Ticket(issue.id, issue.key, issue.summary, text, tuple(issue.labels), is_open, ours)

    def watch(self, reported: Callable[[str, int], None]) -> None:
        def heard(change: JiraChange) -> None:
            if change.event == "comment_created" and change.by == self.site.bot:
                reported(change.issue.key, len(self._shown(change.issue).ours))

        self.site.watchers.append(heard)

    def add(self, project: str, title: str) -> str:
        return self.site.create(project, title).key

    def retitle(self, key: str, title: str) -> None:
        self.site.edit(key, summary=title)

    def describe(self, key: str, text: str) -> None:
        self.site.edit(key, description=text)

    def label(self, key: str, *labels: str) -> None:
        self.site.edit(key, labels=[*labels])

    def close(self, key: str, *, closed: bool) -> None:
        self.site.edit(key, status="Done" if closed else "In Progress")

    def delete(self, key: str) -> None:
        self.site.delete(key)

    def say(self, key: str, text: str) -> None:
        # Where Jira does not say who may edit, the reporter may give commands.
        issue = self.site.find(key)
        self.site.comment(key, text, None if issue is None else issue.reporter)


class GitHubTickets(Tickets):
    kind = "github"
    projects = ("acme/shop", "acme/core")

    def __init__(self, clock: Clock) -> None:
        self.host = GitHubHost(clock)
        for project in self.projects:
            self.host.add_repository(project)
        self.tracker = GitHubTracker(self.host)
        self.scope = {"repositories": [*self.projects]}

    @property
    def credentials(self) -> dict[str, str]:
        return {"type": "token", "token": self.host.bot.token}

    def all(self) -> list[Ticket]:
        repositories = self.host.repositories.values()
        return [self._shown(issue) for one in repositories for issue in one.issues.values()]

    def _shown(self, issue: GitHubIssue) -> Ticket:
        ours = tuple((str(c.id), c.body) for c in issue.comments if c.author == self.host.bot)
        labels, is_open = tuple(issue.labels), issue.state == "open"
        return Ticket(str(issue.id), issue.key, issue.title, issue.body or "", labels, is_open, ours)

    def watch(self, reported: Callable[[str, int], None]) -> None:
        def heard(change: GitHubChange) -> None:
            issue, made = change.issue, (change.event, change.action) == ("issue_comment", "created")
            if issue is not None and made and change.by == self.host.bot:
                reported(issue.key, len(self._shown(issue).ours))

        self.host.watchers.append(heard)

    def add(self, project: str, title: str) -> str:
        return self.host.create(project, title, labels=["epic"]).key

    def retitle(self, key: str, title: str) -> None:
        self.host.edit(key, title=title)

    def describe(self, key: str, text: str) -> None:
        self.host.edit(key, body=text)

    def label(self, key: str, *labels: str) -> None:
        self.host.edit(key, labels=["epic", *labels])

    def close(self, key: str, *, closed: bool) -> None:
        self.host.edit(key, state="closed" if closed else "open")

    def delete(self, key: str) -> None:
        self.host.delete(key)

    def say(self, key: str, text: str) -> None:
        self.host.comment(key, text)
