"""What may hold a comment back: one ordered table of gates, in the public contract's order. Pure.

The first gate that holds decides. `Facts` holds what the gates look at; the caller fills in what its phase
knows, and leaves the rest at values that hold nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from mappings.policy.modes import NoticesMode

Phase = Literal["evaluation", "release", "write"]


@dataclass(frozen=True, slots=True)
class Hold:
    """Why a comment waits; `until` where time alone ends that. The notice shows `reason` and `detail`."""

    reason: str
    detail: str | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """Nothing is written `until` then, and `detail` says why."""

    until: datetime
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What is known of one comment that is to be written, at the moment `now`.

    `stale`: why the data about the ticket may be out of date. `quiet`: the quiet hours that it is now.
    `guard_reason`: why the burst guard holds it. `over_cap`: its source has made its comments of the day.
    `project_pause`, `tracker_pause`, `edits_pause`: its project refuses comments, its tracker asked for time,
    its source has made its edits of the hour. `unconfirmed`: an earlier request for it may still arrive.
    """

    now: datetime
    mode: NoticesMode = "live"
    disputed: bool = False
    grace_ends: datetime | None = None
    stale: str | None = None
    quiet: Pause | None = None
    guard_reason: str | None = None
    over_cap: Pause | None = None
    project_pause: Pause | None = None
    tracker_pause: Pause | None = None
    edits_pause: Pause | None = None
    unconfirmed: Pause | None = None


@dataclass(frozen=True, slots=True)
class Gate:
    """One reason to wait. `edits`: it also holds the edit of a comment that is on the ticket. `answers`: it
    also holds what answers a person who gave a command there."""

    name: str
    phases: tuple[Phase, ...]
    edits: bool
    answers: bool
    check: Callable[[Facts], Hold | None]
    holds: str


def first_hold(phase: Phase, facts: Facts, *, edit: bool = False, answer: bool = False) -> Hold | None:
    """What the first gate of a phase says that holds the comment, or its `edit`; None where none holds it.
    `answer`: it answers a person who gave a command on the ticket."""
    for check in _CHECKS[phase, edit, answer]:
        if (hold := check(facts)) is not None:
            return hold
    return None


def _mode(facts: Facts) -> Hold | None:
    return None if facts.mode == "live" else Hold(facts.mode)


def _disputed(facts: Facts) -> Hold | None:
    return Hold("disputed", "The finding is disputed; a person has to decide.") if facts.disputed else None


def _grace(facts: Facts) -> Hold | None:
    ends = facts.grace_ends
    if ends is None or ends <= facts.now:
        return None
    return Hold("grace", f"Grace ends at {ends:%Y-%m-%d %H:%M} UTC.", ends)


def _stale(facts: Facts) -> Hold | None:
    return None if facts.stale is None else Hold("stale", facts.stale)


def _guard(facts: Facts) -> Hold | None:
    return None if facts.guard_reason is None else Hold("guard", facts.guard_reason)


def _pause(reason: str, pause_of: Callable[[Facts], Pause | None]) -> Callable[[Facts], Hold | None]:
    """The check of a gate that waits for a moment."""

    def check(facts: Facts) -> Hold | None:
        pause = pause_of(facts)
        if pause is None or pause.until <= facts.now:
            return None
        return Hold(reason, pause.detail, pause.until)

    return check


# name, phases, edits, answers, check, what it holds for
GATES = (
    Gate("mode", ("evaluation",), True, True, _mode, "the source is `off` or in `shadow` there"),
    Gate("disputed", ("evaluation",), True, False, _disputed, "the finding is disputed"),
    Gate("grace", ("evaluation",), True, False, _grace, "the grace has not ended; a posted warning has none"),
    Gate(
        "stale",
        ("evaluation",),
        True,
        False,
        _stale,
        "the project was not read completely, or the ticket not again",
    ),
    Gate(
        "quiet_hours",
        ("evaluation",),
        False,
        False,
        _pause("quiet_hours", lambda facts: facts.quiet),
        "the policy's quiet hours",
    ),
    Gate("guard", ("evaluation", "release"), False, False, _guard, "its run makes too many new comments"),
    Gate(
        "cap",
        ("release",),
        False,
        True,
        _pause("cap", lambda facts: facts.over_cap),
        "the source has made its new comments of 24 hours; an answer is dropped",
    ),
    Gate(
        "project",
        ("release", "write"),
        True,
        True,
        _pause("project", lambda facts: facts.project_pause),
        "the project refuses comments; edits wait in the write alone",
    ),
    Gate(
        "tracker",
        ("write",),
        True,
        True,
        _pause("tracker", lambda facts: facts.tracker_pause),
        "the tracker asked for a pause",
    ),
    Gate(
        "edits",
        ("write",),
        True,
        False,
        _pause("edits", lambda facts: facts.edits_pause),
        "the source has made its edits of the hour; new comments pass",
    ),
    Gate(
        "unconfirmed",
        ("write",),
        True,
        True,
        _pause("unconfirmed", lambda facts: facts.unconfirmed),
        "an earlier request may still arrive",
    ),
)
# An evaluation of 100,000 epics asks that often.
_CHECKS = {
    (phase, edit, answer): tuple(
        gate.check
        for gate in GATES
        if phase in gate.phases and (gate.edits or not edit) and (gate.answers or not answer)
    )
    for phase in get_args(Phase)
    for edit in (False, True)
    for answer in (False, True)
}
