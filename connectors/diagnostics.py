"""What `northing check` finds out about a tracker: facts, each with its level and what to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "missing", "not_needed", "unknown", "warning"]


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that was looked at, in words: `what`, `why` it counts as it does, and `what_to_do`.

    `missing`: without it Northing cannot do its work. `not_needed`: a right it has and never uses.
    `unknown`: the tracker does not show it. `warning`: it works, and a person should know. `projects`: those
    it holds for, none for the whole source. `writing`: it bears on writing comments alone.
    """

    level: Level
    what: str
    why: str
    what_to_do: str = ""
    projects: tuple[str, ...] = ()
    writing: bool = False


@dataclass(frozen=True, slots=True)
class Inspection:
    """`clock_ahead`: seconds by which the tracker's clock is ahead of ours; None where it was not told."""

    facts: tuple[Fact, ...]
    clock_ahead: float | None = None
