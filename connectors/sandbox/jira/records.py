"""The records of a simulated Jira site."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Account:
    """A user. `time_zone` is the profile's; JQL dates of this user are in it.

    `kind` is Jira's accountType: `atlassian`, `app` or `customer`. An `outsider` may only view and comment.
    """

    account_id: str
    name: str
    email: str
    time_zone: str = "UTC"
    kind: str = "atlassian"
    active: bool = True
    outsider: bool = False
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)


@dataclass(frozen=True, slots=True)
class IssueType:
    id: str
    name: str
    level: int
    project: str | None = None  # the project's id, if a team-managed project owns the type


@dataclass(frozen=True, slots=True)
class Status:
    id: str
    name: str
    category: str  # new, indeterminate, done


@dataclass(slots=True)
class Project:
    id: str
    key: str
    name: str
    type_key: str = "software"
    team_managed: bool = False
    archived: bool = False  # in no list and no search; its issues are readable by id, but not writable
    public: bool = False  # its permission scheme lets everyone browse, without a login too
    last_number: int = 0


@dataclass(eq=False, slots=True)
class Comment:
    id: str
    author: Account
    body: Json
    created: datetime
    updated: datetime
    properties: dict[str, Any]
    visibility: Json | None = None  # the role or group that alone sees it
    internal: bool = False  # of a service desk, which shows its customers others alone


@dataclass(eq=False, slots=True)
class Issue:
    id: str
    project: Project
    number: int
    type: IssueType
    summary: str
    status: Status
    created: datetime
    updated: datetime
    reporter: Account
    description: Json | None = None
    labels: list[str] = field(default_factory=list)
    components: list[str] = field(default_factory=list)
    assignee: Account | None = None
    parent: Issue | None = None
    closed_to_bot: bool = False  # its security level excludes Northing's account
    children: list[Issue] = field(default_factory=list)
    comments: list[Comment] = field(default_factory=list)
    custom: Json = field(default_factory=dict)  # by field id, the due date too
    category_changed: datetime | None = None  # when its status came into its category; None for its creation
    recorded: Json = field(default_factory=dict)  # fields of a recorded issue, served unchanged
    rendered: dict[Any, bytes] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return f"{self.project.key}-{self.number}"


STATUSES = (
    Status("10000", "To Do", "new"),
    Status("3", "In Progress", "indeterminate"),
    Status("10001", "In Review", "indeterminate"),
    Status("10002", "Done", "done"),
)
TYPES = (
    IssueType("10200", "Initiative", 2),
    IssueType("10000", "Epic", 1),
    IssueType("10001", "Story", 0),
    IssueType("10002", "Task", 0),
    IssueType("10004", "Bug", 0),
    IssueType("10003", "Sub-task", -1),
)
