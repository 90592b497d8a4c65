"""What the ticket pages need to know of a tracker: values to show, and four things a person can do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from markupsafe import Markup

EMPTY = Markup("")


@dataclass(frozen=True, slots=True)
class Note:
    """A comment as a person reads it."""

    author: str
    created: datetime
    edited: bool
    html: Markup


@dataclass(frozen=True, slots=True)
class Ticket:
    """A ticket as its page shows it. `path` is the page's; `text` is the description as it is edited."""

    path: str
    key: str
    kind: str
    title: str
    status: str
    category: str  # todo, doing, done
    labels: tuple[str, ...]
    facts: tuple[tuple[str, str], ...]
    comment_count: int
    html: Markup = EMPTY
    text: str = ""
    notes: tuple[Note, ...] = field(default=())


class Desk(Protocol):
    """One tracker's tickets for its pages. `ref` is what `find` takes from a path."""

    title: str
    ticket_route: str
    person: str

    def groups(self) -> list[tuple[str, list[Ticket]]]:
        """Tickets in brief by project or repository, the large ones first."""

    def ref(self, path_params: dict[str, str]) -> str: ...

    def find(self, ref: str) -> Ticket | None:
        """In full; None if there is no such ticket."""

    def actions(self, ref: str) -> dict[str, Callable[[str], object]]:
        """What a form may do with its text: `description`, `labels`, `comment`. ValueError refuses."""
