"""What the ticket pages need from a tracker: values to show, and the actions of a person."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from markupsafe import Markup

if TYPE_CHECKING:
    from datetime import datetime

EMPTY = Markup("")
LONGEST_LABEL = 50


@dataclass(frozen=True, slots=True)
class CommentView:
    """A comment as a person reads it. `text` is what its author edits; `own`: the viewer wrote it. `mark`:
    for whom alone it is, or what relayed it. `reactions`: each with who gave it."""

    id: str
    author: str
    created: datetime
    edited: bool
    html: Markup
    text: str
    own: bool
    mark: str = ""
    reactions: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Ticket:
    """A ticket as its page shows it. `path` is the page's path; `text` is the description to edit.

    `people` may view the ticket; the first of them is the viewer unless another is chosen. `can_edit`: the
    viewer may edit it.
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
    notes: tuple[CommentView, ...] = field(default=())
    people: tuple[str, ...] = field(default=())
    can_edit: bool = False


@dataclass(frozen=True, slots=True)
class TicketChange:
    """A form as it was sent. `do` names the action; `text` and `comment` (a comment id) are its arguments."""

    do: str
    text: str = ""
    comment: str = ""


class PageBackend(ABC):
    """One tracker's tickets for its pages. `ref` makes the reference that `find` takes from a path."""

    title: str
    ticket_route: str
    look: str  # the class of texts in style.css, with the vendor's fonts, spaces and colours

    @abstractmethod
    def groups(self) -> list[tuple[str, list[Ticket]]]:
        """Tickets without texts, by project or repository; epics and other large tickets come first."""

    @abstractmethod
    def ref(self, path_params: dict[str, str]) -> str: ...

    @abstractmethod
    def find(self, ref: str, person: str | None = None) -> Ticket | None:
        """The whole ticket as `person`, or else the first of its people, sees it; None if there is none."""

    def act(self, ticket: Ticket, ref: str, person: str, change: TicketChange) -> None:
        """Executes a form. Raises ValueError for its content, PermissionError for its sender.

        `ticket` is what `find` returned for this person.
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
                self.comment(ref, person, _comment_text(change.text))
            case "edit-comment":
                self.edit_comment(_own_comment_id(ticket, change), _comment_text(change.text))
            case "delete-comment":
                self.delete_comment(_own_comment_id(ticket, change))
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


def _comment_text(text: str) -> str:
    if not text.strip():
        raise ValueError("A comment needs words.")
    return text.replace("\r\n", "\n")


def _own_comment_id(ticket: Ticket, change: TicketChange) -> str:
    if not any(note.own and note.id == change.comment for note in ticket.notes):
        raise PermissionError("Only who wrote a comment can change it.")
    return change.comment


def labels_of(text: str) -> list[str]:
    """Labels from a form's text, separated by commas. Raises ValueError for none or one too long."""
    labels = list(dict.fromkeys(part.strip() for part in text.replace("\n", ",").split(",") if part.strip()))
    if not labels or any(len(label) > LONGEST_LABEL for label in labels):
        raise ValueError(f"A label has between 1 and {LONGEST_LABEL} characters.")
    return labels
