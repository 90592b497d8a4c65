"""Where work goes: epics, their children and their points by class, driver and objective. Pure.

`mappings.reports.allocation_epics` reads what is counted here, `mappings.reports.allocation_months` the
months that were frozen.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from mappings.goals.values import Driver

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import date, datetime

Allocation = Literal["aligned", "exempt", "unaligned"]
Measure = Literal["epics", "children", "points"]
State = Literal["open", "finished"]

DEFINITION = (
    "Open work is every listed epic that is not done; finished work is every one that its tracker shows as "
    "finished within the period, UTC: 31 October 23:59:59 belongs to October, 1 November 00:00 to November. "
    "Each epic is counted whole in one class. Open: aligned (a link to a live key result), exempt (by the "
    "policy), else unaligned; waived ones are unaligned, and waived says how many; so are those that are not "
    "evaluated yet, and not_evaluated says how many. Finished: aligned where it has a link to a key result "
    "whose cycle had not ended on the day that it was finished and that is not archived, since a key result "
    "may be closed because the work is done; exempt where the policy as it is now exempts its labels, type "
    "or project; else unaligned. By driver and objective the aligned epics are shared out by the weights of "
    "those links, so that the parts of one epic add up to one and all parts to the aligned total; serving "
    "counts each epic that has a part, whole. Beside each stands weight: its share of the weights of the "
    "objectives of the cycles under way, drafts and archived ones aside, as these are now. Children and "
    "points are added up over the epics that have them; with_children and with_points say how many do. A "
    "month is frozen once, after its end, and never written again: an epic that was open at its end is shown "
    "as open, by its links to key results that counted on its last day. late says that it was frozen more "
    "than a day after its end, so that it shows what was known then. A frozen epic counts whole under its "
    "primary live link, or the one of the greatest weight. A month in which Northing did not run stays "
    "missing."
)


@dataclass(slots=True)
class Work:
    """`epics`, `children` and `points` may be parts of one. `serving` counts whole epics, `with_children` and
    `with_points` those of them that say how many they have."""

    epics: float = 0.0
    children: float = 0.0
    points: float = 0.0
    serving: int = 0
    with_children: int = 0
    with_points: int = 0

    def add(self, other: Work, share: float = 1.0) -> None:
        self.epics += other.epics * share
        self.children += other.children * share
        self.points += other.points * share
        self.serving += other.serving
        self.with_children += other.with_children
        self.with_points += other.with_points

    def of(self, measure: Measure) -> float:
        amount: float = getattr(self, measure)
        return amount


@dataclass(frozen=True, slots=True)
class AlikeWork:
    """Epics with all this in common. `links`: by the id of each key result that counts for them, the link's
    weight."""

    allocation: Allocation
    work: Work
    links: Mapping[int, float] = field(default_factory=dict)
    waived: bool = False
    not_evaluated: bool = False


@dataclass(frozen=True, slots=True)
class Served:
    """Of a key result: what an epic's part goes to."""

    objective: str
    driver: str | None


@dataclass(slots=True)
class Block:
    """Open or finished work. `drivers` and `objectives` by their names; None takes those without one."""

    total: Work = field(default_factory=Work)
    classes: dict[Allocation, Work] = field(
        default_factory=lambda: {name: Work() for name in get_args(Allocation)}
    )
    drivers: dict[str | None, Work] = field(default_factory=dict)
    objectives: dict[str | None, Work] = field(default_factory=dict)
    waived: int = 0
    not_evaluated: int = 0


def shares(links: Mapping[int, float]) -> dict[int, float]:
    """The part of each key result, 0..1; together 1. Of weights that are all 0 each has the same part."""
    whole = sum(links.values())
    if whole <= 0:
        return dict.fromkeys(links, 1 / len(links)) if links else {}
    return {id: weight / whole for id, weight in links.items()}


def allocate(alike: Iterable[AlikeWork], served: Mapping[int, Served]) -> Block:
    """`served`: of every key result that a link of `alike` leads to."""
    block = Block()
    for one in alike:
        block.total.add(one.work)
        block.classes[one.allocation].add(one.work)
        block.waived += one.work.serving if one.waived else 0
        block.not_evaluated += one.work.serving if one.not_evaluated else 0
        if one.allocation != "aligned":
            continue
        parts = shares({id: weight for id, weight in one.links.items() if id in served})
        _share_out(block.drivers, one.work, [(served[id].driver, part) for id, part in parts.items()])
        _share_out(block.objectives, one.work, [(served[id].objective, part) for id, part in parts.items()])
    return block


def _share_out(groups: dict[str | None, Work], work: Work, parts: Sequence[tuple[str | None, float]]) -> None:
    together: dict[str | None, float] = {}
    for name, part in parts or [(None, 1.0)]:
        together[name] = together.get(name, 0.0) + part
    for name, part in together.items():
        groups.setdefault(name, Work()).add(work, part)


# --- beside the weights ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class GoalShare:
    """`shares`: of the aligned work, by measure, None where there is none of it. `weight`: what the
    objectives' weights say, None where they say nothing."""

    name: str | None
    title: str | None
    work: Work
    shares: Mapping[Measure, float | None]
    weight: float | None


def driver_parts(block: Block, weights: Mapping[str, float]) -> list[GoalShare]:
    """Every driver in the drivers' order, and last the goals without one, where they have work."""
    names: list[str | None] = [*get_args(Driver)]
    names += [None] if None in block.drivers else []
    return [_part(name, None, block.drivers.get(name), block, weights) for name in names]


def objective_parts(block: Block, weights: Mapping[str, float], titles: Mapping[str, str]) -> list[GoalShare]:
    """The objectives that have work or a weight, the greatest weight first, then the most work."""
    names = {*block.objectives, *weights}
    parts = [
        _part(name, titles.get(name or ""), block.objectives.get(name), block, weights) for name in names
    ]
    return sorted(
        parts,
        key=lambda part: (part.name is None, -(part.weight or 0.0), -part.work.epics, part.name or ""),
    )


def _part(
    name: str | None, title: str | None, work: Work | None, block: Block, weights: Mapping[str, float]
) -> GoalShare:
    work, aligned = work or Work(), block.classes["aligned"]
    measures: tuple[Measure, ...] = get_args(Measure)
    of_all = {
        measure: work.of(measure) / aligned.of(measure) if aligned.of(measure) > 0 else None
        for measure in measures
    }
    return GoalShare(
        name, title, work, of_all, weights.get(name, 0.0) if weights and name is not None else None
    )


# --- the report --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FrozenMonth:
    """`month`: its first day. `late`: frozen more than a day after its end."""

    month: date
    frozen_at: datetime
    late: bool
    epics: int


@dataclass(frozen=True, slots=True)
class AllocationReport:
    """`month` None: now, with what was finished since `starts`. `ends` is the first moment after it.
    `titles`: of objectives, by their keys. The weights, by driver and by objective, are shares of those of
    the cycles under way at its end, or of one cycle; empty where none is given."""

    at: datetime
    month: FrozenMonth | None
    starts: datetime
    ends: datetime
    months: Sequence[FrozenMonth]
    blocks: Mapping[State, Block]
    driver_weights: Mapping[str, float]
    objective_weights: Mapping[str, float]
    titles: Mapping[str, str]

    def drivers(self, state: State) -> list[GoalShare]:
        return driver_parts(self.blocks[state], self.driver_weights)

    def objectives(self, state: State) -> list[GoalShare]:
        return objective_parts(self.blocks[state], self.objective_weights, self.titles)


COLUMNS = (
    *("state", "group", "name", "title", "epics", "children", "points", "serving", "with_children"),
    *("with_points", "epics_share", "children_share", "points_share", "weight"),
)
_NO_SHARES: Mapping[Measure, float | None] = dict.fromkeys(get_args(Measure))


def allocation_table(report: AllocationReport) -> Iterator[tuple[Any, ...]]:
    """A row for each total, class, driver and objective, in the order of `COLUMNS`. None is an empty cell."""
    for state, block in report.blocks.items():
        yield _row(state, "total", GoalShare(None, None, block.total, _NO_SHARES, None))
        for name, work in block.classes.items():
            of_all = {
                measure: work.of(measure) / block.total.of(measure) if block.total.of(measure) else None
                for measure in _NO_SHARES
            }
            yield _row(state, "class", GoalShare(name, None, work, of_all, None))
        for part in report.drivers(state):
            yield _row(state, "driver", part)
        for part in report.objectives(state):
            yield _row(state, "objective", part)


def _row(state: State, group: str, part: GoalShare) -> tuple[Any, ...]:
    work = part.work
    return (
        *(state, group, part.name, part.title, rounded(work.epics), rounded(work.children)),
        *(rounded(work.points), work.serving, work.with_children, work.with_points),
        *(rounded(share) for share in part.shares.values()),
        rounded(part.weight),
    )


def rounded(number: float | None) -> float | None:
    """To a millionth, which hides what adding floats leaves."""
    return None if number is None else round(number, 6) + 0.0
