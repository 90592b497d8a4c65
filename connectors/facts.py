"""What surrounds the work on a tracker: what a look at it finds, what its answers tell beside the answer, and
the patience of a call. A part of the contract in `connectors.base`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
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


@dataclass(frozen=True, slots=True)
class Budget:
    """How many requests a tracker still lets us make until `resets_at` (UTC), of `limit` where it says."""

    remaining: int
    limit: int | None = None
    resets_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """`clock_ahead`: seconds by which the tracker's clock is ahead of ours. None: not told."""

    budget: Budget | None = None
    clock_ahead: float | None = None


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds that a connector gives one call: to connect, between two pieces of the answer, and in all,
    however slowly the tracker drips. `mappings.ledger` counts its leases by these."""

    connect: float = 5
    read: float = 30
    total: float = 55


PATIENCE = Patience()

Clock = Callable[[], datetime]


def utc_now() -> datetime:
    return datetime.now(UTC)
