"""The records of a simulated GitHub host."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from datetime import datetime

Json = dict[str, Any]


ROLES = ("pull", "triage", "push", "maintain", "admin")  # each includes the rights of those before it


@dataclass(frozen=True, slots=True)
class Account:
    login: str
    id: int
    kind: str = "User"  # User, Organization, Bot
    token: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)


@dataclass(frozen=True, slots=True)
class IssueType:
    id: int
    name: str
    color: str = "purple"


@dataclass(frozen=True, slots=True)
class IssueField:
    """A field of an organisation's issues. `kind`: `text`, `number`, `date`, `single_select`,
    `multi_select`; only the selects have `options`, by name."""

    id: int
    name: str
    kind: str = "text"
    options: tuple[str, ...] = ()


@dataclass(slots=True)
class Milestone:
    id: int
    number: int
    title: str
    due_on: datetime | None
    created: datetime


@dataclass(eq=False, slots=True)
class Repository:
    id: int
    owner: Account
    name: str
    private: bool
    created: datetime
    description: str = ""
    archived: bool = False
    role: str = "triage"  # the bot's; see ROLES
    roles: dict[str, Role] = field(default_factory=dict)  # by login, where it is not the usual one
    issues: dict[int, Issue] = field(default_factory=dict)
    milestones: dict[str, Milestone] = field(default_factory=dict)
    labels: dict[str, int] = field(default_factory=dict)
    gone: dict[int, Issue | None] = field(default_factory=dict)  # transferred (new issue) or deleted (None)
    last_number: int = 0

    @property
    def full_name(self) -> str:
        return f"{self.owner.login}/{self.name}"


@dataclass(frozen=True, slots=True)
class Role:
    """What an account may do in a repository: one of ROLES, or a role of the organisation's own, `name`, that
    builds upon it."""

    base: str
    name: str | None = None


@dataclass(frozen=True, slots=True)
class Reaction:
    id: int
    account: Account
    content: str
    created: datetime


@dataclass(eq=False, slots=True)
class Comment:
    id: int
    author: Account
    body: str
    created: datetime
    updated: datetime
    relayed_by: str | None = None  # the app through which a person wrote it
    reactions: list[Reaction] = field(default_factory=list)


@dataclass(eq=False, slots=True)
class Issue:
    id: int
    repository: Repository
    number: int
    title: str
    body: str | None
    author: Account
    created: datetime
    updated: datetime
    state: str = "open"
    state_reason: str | None = None
    closed: datetime | None = None
    labels: list[str] = field(default_factory=list)
    assignees: list[Account] = field(default_factory=list)
    milestone: Milestone | None = None
    type: IssueType | None = None
    fields: dict[int, Any] = field(default_factory=dict)  # values by the field's id, options by name
    pull_request: bool = False
    locked: bool = False
    parent: Issue | None = None
    children: list[Issue] = field(default_factory=list)
    comments: list[Comment] = field(default_factory=list)
    recorded: Json = field(default_factory=dict)  # a recorded payload, served unchanged
    rendered: dict[Any, bytes] = field(default_factory=dict)

    @property
    def key(self) -> str:
        return f"{self.repository.full_name}#{self.number}"
