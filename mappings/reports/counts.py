"""Coverage as numbers: the one definition, and epics counted by it, in total and by group. Pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from datetime import date, datetime

Dimension = Literal["source", "project", "driver", "objective", "cycle", "owner"]
Alignment = Literal["aligned", "unaligned", "exempt", "waived"]

DEFINITION = (
    "Coverage (rate) is aligned / (total - exempt - waived), and null where that leaves nothing to "
    "divide by. It counts the open epics: those in the lists whose status category is not done; "
    "finished ones are in done alone. Each is counted once by its alignment: aligned (a link to a live "
    "key result), exempt (by the policy), waived, or unaligned; total is the sum of the four. An epic "
    "that is not evaluated yet is in not_evaluated alone. Grace, snooze and notices make no difference. "
    "Beside it stands steered: the share of the aligned epics with at least one live link to a key "
    "result that is measured (a baseline and another target), agreed (the business and IT have both "
    "signed its metric as it is now) and has moved (its latest check-in is not its baseline); null "
    "where none is aligned. Every group and every day is counted in the same way. An epic belongs to "
    "the drivers, objectives, cycles and owners of its live links, whatever their weights, or of its "
    "other links where none is live; so it may be in several groups, and their sums may exceed the "
    "total. The group null takes those with none. An owner is the key result's, or else its "
    "objective's. A day of the trend is the state at its beginning, UTC: frozen once, when Northing "
    "first looks that day and nothing waits to be evaluated, at 01:00 at the latest. A day without "
    "Northing stays missing. A source counts from its first complete reading on; stale says that the "
    "last reading of a source failed, so that its numbers are those of the reading before."
)


@dataclass(slots=True)
class Counts:
    """`steered_epics` are of the aligned ones; `done` and `not_evaluated` are not in the total."""

    aligned: int = 0
    unaligned: int = 0
    exempt: int = 0
    waived: int = 0
    steered_epics: int = 0
    not_evaluated: int = 0
    done: int = 0

    @property
    def total(self) -> int:
        return self.aligned + self.unaligned + self.exempt + self.waived

    @property
    def rate(self) -> float | None:
        counted = self.total - self.exempt - self.waived
        return self.aligned / counted if counted else None

    @property
    def steered(self) -> float | None:
        return self.steered_epics / self.aligned if self.aligned else None

    def count(self, epic: AlikeEpics, is_steered: bool) -> None:
        if epic.done:
            self.done += epic.number
        elif epic.alignment is None:
            self.not_evaluated += epic.number
        else:
            setattr(self, epic.alignment, getattr(self, epic.alignment) + epic.number)
            self.steered_epics += epic.number if is_steered else 0

    def add(self, other: Counts) -> None:
        for name in self.__slots__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


def rate_if_linked(counts: Mapping[str | None, int], alignment: str | None) -> float | None:
    """Coverage of the open epics, if one of those with this alignment were aligned, None: as it is. `counts`:
    how many they are by alignment. None where nothing is there to divide by."""
    then = dict(counts)
    if alignment is not None:
        then[alignment] = then.get(alignment, 0) - 1
        then["aligned"] = then.get("aligned", 0) + 1
    aligned = then.get("aligned", 0)
    counted = aligned + then.get("unaligned", 0)
    return aligned / counted if counted else None


@dataclass(frozen=True, slots=True)
class CoverageDay:
    """`at`: the moment of the numbers. `sources`: how many they are of. `stale`: of at least one of these the
    last reading had failed."""

    day: date
    at: datetime
    sources: int
    stale: bool
    counts: Counts


@dataclass(frozen=True, slots=True)
class GoalFacts:
    """Of a key result: where an epic linked to it belongs. `owner`: its own, or else its objective's."""

    objective: str
    objective_title: str
    driver: str | None
    cycle: str | None
    owner: str | None
    live: bool


@dataclass(frozen=True, slots=True)
class AlikeEpics:
    """`number` epics with all this in common. `alignment` None: not evaluated yet. `key_results`: the ids of
    those that they are linked to."""

    source_id: int
    project: str
    alignment: Alignment | None
    done: bool
    key_results: frozenset[int]
    number: int


def _counts() -> defaultdict[Any, Counts]:
    return defaultdict(Counts)


@dataclass(frozen=True, slots=True)
class Coverage:
    """By group: a source's id, (source's id, project), driver, objective's key, cycle's key, owner; None
    takes the epics that have none. `titles`: of the objectives, by their keys."""

    titles: dict[str, str] = field(default_factory=dict)
    total: Counts = field(default_factory=Counts)
    by: dict[Dimension, defaultdict[Any, Counts]] = field(
        default_factory=lambda: {
            "source": _counts(),
            "project": _counts(),
            "driver": _counts(),
            "objective": _counts(),
            "cycle": _counts(),
            "owner": _counts(),
        }
    )


def count_coverage(
    epics: Iterable[AlikeEpics],
    goals: Mapping[int, GoalFacts],
    steered: Collection[int],
    cycle: str | None = None,
) -> Coverage:
    """`steered`: the ids that `mappings.reports.steering.steered_key_results` returned. `cycle`: only the
    epics that belong to this one."""
    coverage = Coverage({goal.objective: goal.objective_title for goal in goals.values()})
    serving: defaultdict[frozenset[_Groups], Counts] = _counts()
    groups_of = {
        id: _Groups(goal.driver, goal.objective, goal.cycle, goal.owner) for id, goal in goals.items()
    }
    live = {id for id, goal in goals.items() if goal.live}
    for epic in epics:
        ids = epic.key_results & live or epic.key_results & groups_of.keys()
        groups = frozenset(groups_of[id] for id in ids) or NO_GROUPS
        if cycle is None or any(group.cycle == cycle for group in groups):
            is_steered = epic.alignment == "aligned" and not epic.key_results.isdisjoint(steered)
            serving[groups].count(epic, is_steered)
            coverage.by["project"][epic.source_id, epic.project].count(epic, is_steered)
    for (source_id, _), counts in coverage.by["project"].items():
        coverage.by["source"][source_id].add(counts)
        coverage.total.add(counts)
    for groups, counts in serving.items():
        for dimension in GOAL_DIMENSIONS:
            for name in {getattr(group, dimension) for group in groups}:
                coverage.by[dimension][name].add(counts)
    return coverage


class _Groups(NamedTuple):
    """Where an epic belongs that is linked to a key result; many key results are alike in this."""

    driver: str | None
    objective: str | None
    cycle: str | None
    owner: str | None


GOAL_DIMENSIONS: tuple[Dimension, ...] = ("driver", "objective", "cycle", "owner")
NO_GROUPS = frozenset([_Groups(None, None, None, None)])
