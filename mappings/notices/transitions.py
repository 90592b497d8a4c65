"""The states of a notice, and every change of one state into another that is allowed. Pure.

`mappings.notices.state` makes the changes. docs/architecture.md prints the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

NoticeState = Literal["shadow", "held", "due", "posted", "resolved", "withdrawn", "failed"]
WrittenState = Literal["posted", "resolved", "withdrawn"]
NONE, UNCHANGED = "none", "unchanged"  # no notice; the state that the notice has

_UNWRITTEN = ("shadow", "held", "due", "withdrawn", "failed")
_WRITTEN = ("posted", "resolved", "withdrawn", "failed")
# A request may be under way, or unconfirmed, while the notice still has one of these.
_BEING_WRITTEN = ("held", "due")


class ForbiddenTransition(Exception):
    """An error in Northing: the table does not allow the change."""


@dataclass(frozen=True, slots=True)
class Transition:
    """A change by one event: `before` names the states it may begin in, `after` the one it leads to."""

    event: str
    before: tuple[str, ...]
    after: str
    when: str

    def check(self, state: str | None) -> None:
        """Raise `ForbiddenTransition` where a notice in this state may not change so. None: there is none."""
        if (state or NONE) not in self.before:
            raise ForbiddenTransition(f"{self.event}: a notice that is {state or NONE}")


PREPARED = Transition(
    "prepared", (NONE, *_UNWRITTEN), "shadow", "a comment is wanted, and the mode is `shadow`"
)
HELD = Transition(
    "held", (NONE, *_UNWRITTEN), "held", "a comment is wanted, and a gate of the evaluation holds it"
)
QUEUED = Transition("queued", (NONE, *_UNWRITTEN), "due", "a comment is wanted and no gate holds it")
ANSWER_QUEUED = Transition(
    "answer queued",
    (NONE, *_UNWRITTEN),
    "due",
    "a person's command is to be answered in words, and no comment is on the ticket",
)
UNSENT_WITHDRAWN = Transition(
    "withdrawn unsent", _UNWRITTEN, "withdrawn", "it or its run is withdrawn before the comment is made"
)
DROPPED = Transition("dropped", _UNWRITTEN, NONE, "no comment is wanted, and none is on the ticket")
EDIT_QUEUED = Transition(
    "edit queued",
    (*_BEING_WRITTEN, *_WRITTEN),
    UNCHANGED,
    "the comment is to have another text",
)
CANCELLED = Transition(
    "cancelled", (*_UNWRITTEN, "posted", "resolved"), UNCHANGED, "a queued write is not needed any more"
)
HELD_AT_RELEASE = Transition(
    "held at release", ("held", "due"), "held", "a gate of the release holds the new comment"
)
APPROVED = Transition("approved", ("held",), "due", "a person lets a comment go that guard or cap hold")
RELEASED = Transition(
    "released",
    (*_BEING_WRITTEN, *_WRITTEN),
    UNCHANGED,
    "its run is evaluated, no gate of the release holds",
)
POSTPONED = Transition("postponed", (*_BEING_WRITTEN, *_WRITTEN), UNCHANGED, "a gate of the write holds it")
STALE = Transition("stale", _BEING_WRITTEN, "held", "the ticket could not be fetched again")
ADOPTED = Transition(
    "adopted", _UNWRITTEN, "posted", "a comment of ours is found on the ticket, whose id was not stored"
)
ADOPTED_ANSWER = Transition(
    "answer adopted", _BEING_WRITTEN, "resolved", "the same, and its text is an answer to a command"
)
POSTED = Transition(
    "posted",
    (*_BEING_WRITTEN, *_WRITTEN),
    "posted",
    "the tracker confirmed the comment or its edit",
)
RESOLVED = Transition(
    "resolved",
    (*_BEING_WRITTEN, *_WRITTEN),
    "resolved",
    "the tracker confirmed the edit to one line, or the comment that answers a command",
)
WITHDRAWAL_QUEUED = Transition(
    "withdrawal queued",
    (*_BEING_WRITTEN, *_WRITTEN),
    UNCHANGED,
    "a person withdraws it, or the run that made it",
)
WITHDRAWN = Transition(
    "withdrawn", (*_BEING_WRITTEN, *_WRITTEN), "withdrawn", "the tracker confirmed the withdrawal"
)
DELETED = Transition(
    "deleted on the ticket", (*_BEING_WRITTEN, *_WRITTEN), "withdrawn", "a person deleted our comment"
)
FAILED = Transition("failed", (*_BEING_WRITTEN, *_WRITTEN), "failed", "the tracker refused the write")

TRANSITIONS = (
    PREPARED,
    HELD,
    QUEUED,
    ANSWER_QUEUED,
    UNSENT_WITHDRAWN,
    DROPPED,
    EDIT_QUEUED,
    CANCELLED,
    HELD_AT_RELEASE,
    APPROVED,
    RELEASED,
    POSTPONED,
    STALE,
    ADOPTED,
    ADOPTED_ANSWER,
    POSTED,
    RESOLVED,
    WITHDRAWAL_QUEUED,
    WITHDRAWN,
    DELETED,
    FAILED,
)


def planned_transition(state: NoticeState, target: WrittenState | None, *, on_ticket: bool) -> Transition:
    """The transition that an evaluation asks for, whose desired notice has this state and target."""
    if on_ticket:
        return EDIT_QUEUED
    if (state, target) == ("due", "resolved"):
        return ANSWER_QUEUED
    return {"shadow": PREPARED, "held": HELD, "due": QUEUED, "withdrawn": UNSENT_WITHDRAWN}[state]
