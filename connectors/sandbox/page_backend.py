"""What the ticket pages need to know of a tracker: values to show, and what a person can do."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from datetime import datetime

from markupsafe import Markup

EMPTY = Markup("")
LONGEST_LABEL = 50


@dataclass(frozen=True, slots=True)
class Note:
    """A comment as a person reads it; `text` is what its author edits, `own` whether that is who looks."""

    id: str
    author: str
    created: datetime
    edited: bool
    html: Markup
    text: str
    own: bool


@dataclass(frozen=True, slots=True)
class Ticket:
    """A ticket as its page shows it. `path` is the page's; `text` is the description as it is edited.

    `people` may look at it, and the first does unless somebody else is chosen; `can_edit` is about who looks.
    """

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
    people: tuple[str, ...] = field(default=())
    can_edit: bool = False


@dataclass(frozen=True, slots=True)
class TicketChange:
    """A form as it was sent: `do` names what, `text` and `comment` (an id) with what."""

    do: str
    text: str = ""
    comment: str = ""


class PageBackend(ABC):
    """One tracker's tickets for its pages. `ref` is what `find` takes from a path."""

    title: str
    ticket_route: str

    @abstractmethod
    def groups(self) -> list[tuple[str, list[Ticket]]]:
        """Tickets in brief by project or repository, the large ones first."""

    @abstractmethod
    def ref(self, path_params: dict[str, str]) -> str: ...

    @abstractmethod
    def find(self, ref: str, person: str | None = None) -> Ticket | None:
        """In full, as `person` sees it, or else the first of its people; None if there is no such ticket."""

    def act(self, ticket: Ticket, ref: str, person: str, change: TicketChange) -> None:
        """Does what a form asks for. ValueError refuses its content, PermissionError its sender.

        `ticket` is what `find` gave for this person.
        """
        if change.do in EDITS and not ticket.can_edit:
            raise PermissionError(f"{person} may comment on this ticket, no more.")
        match change.do:
            case "description":
                self.describe(ref, person, change.text.replace("\r\n", "\n"))
            case "label":
                self.relabel(ref, person, list(dict.fromkeys([*ticket.labels, *labels_of(change.text)])))
            case "unlabel":
                self.relabel(ref, person, [label for label in ticket.labels if label != change.text])
            case "close" | "reopen":
                self.close(ref, person, closed=change.do == "close")
            case "comment":
                self.comment(ref, person, _words(change.text))
            case "edit-comment":
                self.edit_comment(_own(ticket, change), _words(change.text))
            case "delete-comment":
                self.delete_comment(_own(ticket, change))
            case _:
                raise ValueError("Unknown form.")

    @abstractmethod
    def describe(self, ref: str, person: str, text: str) -> None: ...

    @abstractmethod
    def relabel(self, ref: str, person: str, labels: list[str]) -> None: ...

    @abstractmethod
    def close(self, ref: str, person: str, *, closed: bool) -> None: ...

    @abstractmethod
    def comment(self, ref: str, person: str, text: str) -> None: ...

    @abstractmethod
    def edit_comment(self, comment_id: str, text: str) -> None: ...

    @abstractmethod
    def delete_comment(self, comment_id: str) -> None: ...


EDITS = frozenset({"description", "label", "unlabel", "close", "reopen"})


def _words(text: str) -> str:
    if not text.strip():
        raise ValueError("A comment needs words.")
    return text.replace("\r\n", "\n")


def _own(ticket: Ticket, change: TicketChange) -> str:
    if not any(note.own and note.id == change.comment for note in ticket.notes):
        raise PermissionError("Only who wrote a comment can change it.")
    return change.comment


def labels_of(text: str) -> list[str]:
    """Labels from a form's line, separated by commas. Raises ValueError for none, or one that is too long."""
    labels = list(dict.fromkeys(part.strip() for part in text.replace("\n", ",").split(",") if part.strip()))
    if not labels or any(len(label) > LONGEST_LABEL for label in labels):
        raise ValueError(f"A label has between 1 and {LONGEST_LABEL} characters.")
    return labels
