"""What a check of a tracker finds out: facts, each with its level and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

Level = Literal["ok", "missing", "failed", "not_needed", "unknown", "warning"]
# With a fact of these levels Northing cannot do its work.
WRONG: tuple[Level, ...] = ("missing", "failed")


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that was checked, in words: `what` it is, `why` it has its level, and `what_to_do` about it.

    `missing`: without this Northing cannot do its work. `failed`: the tracker refused the login, or did not
    answer as a tracker does, so nothing more is known. `not_needed`: a right that Northing has and never
    uses. `unknown`: the tracker does not show it. `warning`: Northing works, and a person should know this.
    `projects`: the keys of the projects that the fact is about; empty for the whole source. `writing`: the
    fact matters only for writing comments. `field`: the member of the source that a person has to look at,
    dotted, such as `scope.jql`; empty where none is.
    """

    level: Level
    what: str
    why: str
    what_to_do: str = ""
    projects: tuple[str, ...] = ()
    writing: bool = False
    field: str = ""


@dataclass(frozen=True, slots=True)
class Inspection:
    """The facts about one tracker.

    `clock_ahead`: seconds by which the tracker's clock is ahead of ours; None if no response gave the time.
    """

    facts: tuple[Fact, ...]
    clock_ahead: float | None = None


MOST_CHOICES = 500


class Choice(NamedTuple):
    """A project that a scope may name, as its tracker lists it to the login: its key and its title, which is
    empty where it has none."""

    key: str
    title: str = ""
