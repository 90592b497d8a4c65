"""A check: what it is about, how it finds a gap, and its words on the ticket. Pure.

A check is one module of this package and one line of `mappings.checks.registry`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

from mappings.goals.key_results import GoalState, KeyResult

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import date, datetime

    from connectors.base import Epic
    from mappings.links.resolve import Resolution

About = Literal["epic", "goal", "source"]
Severity = Literal["info", "warning", "error"]
Channel = Literal["comment", "none"]


@dataclass(frozen=True, slots=True)
class EpicFacts:
    """What a check about an epic is asked with. Removed and exempt epics are not asked about."""

    epic: Epic
    resolution: Resolution

    @property
    def unknown_keys(self) -> str:
        """A sentence for each thing that the ticket names in place of a key, each after a blank."""
        return "".join(f" {one.sentence}." for one in self.resolution.unknown)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveFacts:
    """What a check about a goal is asked with, where the goal is an objective; a key result comes as
    `KeyResult`. `cycle_ends` is the cycle's last day, inclusive, UTC; None without a cycle."""

    key: str
    title: str
    driver: str | None = None
    owner: str | None = None
    sponsor: str | None = None
    state: GoalState = "active"
    cycle_ends: date | None = None


GoalFacts = ObjectiveFacts | KeyResult


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceFacts:
    """What a check about a source is asked with. `health_state` is what the last run recorded of it;
    what the API shows depends on deliveries and time too. `health_checked_at` is the moment of that, UTC."""

    name: str
    kind: str
    created_at: datetime
    health_state: str = "unknown"
    health_checked_at: datetime | None = None


WHICH_KEY_RESULT = "Which key result does this epic serve?"


@dataclass(frozen=True, slots=True)
class TicketWords:
    """A check's own words of a warning. `how` is what makes it go away, before the lines to type. `statement`
    stands below the question, before `goals`: the key results it is about, each with the reason that the
    ticket may show."""

    question: str
    how: str
    statement: str | None = None
    goals: tuple[tuple[KeyResult, str], ...] = ()


Facts = TypeVar("Facts", EpicFacts, GoalFacts, SourceFacts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check(Generic[Facts]):
    """One check. `find` gives the gap at a moment, in words, and None where there is none.

    `severity` counts until the policy sets another. Channel `comment` lets findings on epics write on their
    tickets, which takes `words`: they get the facts, whether the ticket is public, and the moment. Findings
    of channel `none` are found and reported alone. `bears_on_alignment`: a waiver of such a finding makes
    its epic `waived`.
    """

    name: str
    about: About
    find: Callable[[Facts, datetime], str | None]
    severity: Severity = "warning"
    channel: Channel = "none"
    words: Callable[[Facts, bool, datetime], TicketWords] | None = None
    bears_on_alignment: bool = False

    def __post_init__(self) -> None:
        if self.channel == "comment" and (self.words is None or self.about != "epic"):
            raise ValueError(f"{self.name}: only a check about epics that has words may write on tickets")
