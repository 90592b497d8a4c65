"""Delivery beside outcome: how far the work is, and how far the number that it is for.

`mappings.reports.outcomes_rows` reads what is compared here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from mappings.goals.steering import why_not_moved

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from mappings.goals.board import GoalOnBoard
    from mappings.governance.estimates import Worth
    from mappings.tables import EstimateRow

Sign = Literal["finished_not_moved", "moved_without_work"]
MOVED_AT_LEAST, FAR, BEGUN = 0.1, 0.5, 0.1

DEFINITION = (
    "The work of a key result is every listed epic that is linked to it, whatever the link's weight; that of "
    "an initiative are the listed epics right below it, or itself where there is none. epics_done are those "
    "whose status category is done. children and children_done are those of the epics that say how many they "
    "have. Work is finished when all its epics are done, or when at least 90% of the children are done and "
    "every epic without children is. A number has moved when its latest check-in is not its baseline and its "
    "progress, where it can be measured, is at least 10%. finished_not_moved: the work is finished, and the "
    "number has not moved; of an initiative, none of its key results has, or it has none. "
    "moved_without_work: the progress of a key result is at least 50%, and no epic of it is done and less "
    "than 10% of the children, or it has no epic. The key results are those of the cycles under way and the "
    "live ones without a cycle, or those of the cycle or objective that is asked for; archived ones are left "
    "out. The key results of an initiative are those of its own links, else of the epics right below it; "
    "without any it is listed while it is not done. worth is what was estimated, planned and realised: of "
    "each kind and currency the newest estimate, added up within one currency alone. The estimates of a key "
    "result and those of its initiatives stand beside each other and are never added."
)


@dataclass(frozen=True, slots=True)
class WorkDone:
    """`loose`: how many epics without children are not done."""

    epics: int = 0
    epics_done: int = 0
    children: int = 0
    children_done: int = 0
    loose: int = 0

    @property
    def epics_share(self) -> float | None:
        return self.epics_done / self.epics if self.epics else None

    @property
    def children_share(self) -> float | None:
        return self.children_done / self.children if self.children else None

    @property
    def finished(self) -> bool:
        if self.epics and self.epics_done >= self.epics:
            return True
        # In whole numbers: nine tenths are no float.
        return bool(self.children) and not self.loose and 10 * self.children_done >= 9 * self.children

    @property
    def begun(self) -> bool:
        share = self.children_share
        return self.epics_done > 0 or (share is not None and share >= BEGUN)


def not_moved_because(baseline: float | None, latest: float | None, progress: float | None) -> str | None:
    """`latest`: the value of the latest check-in. The reason in words, None where the number has moved."""
    reason = why_not_moved(baseline, latest)
    if reason is None and progress is not None and progress < MOVED_AT_LEAST:
        return f"it is {int(progress * 100)}% of the way, which is less than 10%"
    return reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A key result beside its work. `not_moved`: the reason in words, None where it has moved."""

    goal: GoalOnBoard
    work: WorkDone
    not_moved: str | None
    estimates: Sequence[EstimateRow] = ()
    worth: Sequence[Worth] = ()

    @property
    def sign(self) -> Sign | None:
        if self.work.finished and self.not_moved is not None:
            return "finished_not_moved"
        progress = self.goal.progress
        is_far = self.not_moved is None and progress is not None and progress >= FAR
        return "moved_without_work" if is_far and not self.work.begun else None


def not_moved_of(goals: Iterable[GoalOnBoard]) -> dict[int, str | None]:
    """By the id of each key result why it has not moved, None where it has."""
    return {
        goal.row.id: not_moved_because(
            goal.row.baseline, goal.current if goal.checked_in_at is not None else None, goal.progress
        )
        for goal in goals
    }


@dataclass(frozen=True, slots=True)
class Initiative:
    """An initiative beside its work. `key_results`: those of it that the report has. `not_moved`: why none
    of these has moved, in words, None where one has."""

    id: int
    source: str
    key: str
    title: str
    url: str
    done: bool
    work: WorkDone
    key_results: Sequence[Result]
    not_moved: str | None
    estimates: Sequence[EstimateRow] = ()
    worth: Sequence[Worth] = ()

    @property
    def progress(self) -> float | None:
        """The greatest of its key results."""
        known = [one.goal.progress for one in self.key_results if one.goal.progress is not None]
        return max(known, default=None)

    @property
    def sign(self) -> Sign | None:
        return sign_of_initiative(self.work, self.not_moved)


def sign_of_initiative(work: WorkDone, not_moved: str | None) -> Sign | None:
    return "finished_not_moved" if work.finished and not_moved is not None else None


def not_moved_together(reasons: Sequence[str | None]) -> str | None:
    """Of several key results; one that has moved is enough."""
    if not reasons:
        return "no key result says what it is to move"
    if None in reasons:
        return None
    return reasons[0] if len(reasons) == 1 else f"none of its {len(reasons)} key results has moved"


ORDER: dict[Sign | None, int] = {"finished_not_moved": 0, "moved_without_work": 1, None: 2}


def rank(sign: Sign | None, work: WorkDone, id: int) -> tuple[Any, ...]:
    """Where a row stands: what stands out first, then what is done furthest."""
    return ORDER[sign], -(work.epics_share or 0.0), -work.epics, id


@dataclass(frozen=True, slots=True)
class OutcomesReport:
    """`initiatives` may be the first of `all_initiatives`; `signs`: how many rows of both lists stand out so.
    The worth is of all of each list."""

    at: datetime
    results: Sequence[Result]
    initiatives: Sequence[Initiative]
    all_initiatives: int
    signs: dict[Sign, int] = field(default_factory=dict)
    results_worth: Sequence[Worth] = ()
    initiatives_worth: Sequence[Worth] = ()


COLUMNS = (
    *("kind", "source", "key", "title", "objective", "state", "sign", "not_moved_because", "epics"),
    *("epics_done", "children", "children_done", "finished", "progress", "pace", "current", "target", "unit"),
    *("key_results", "estimate", "amount", "currency", "estimated_by", "estimated_at"),
)


def outcomes_table(report: OutcomesReport) -> Iterator[tuple[Any, ...]]:
    """A row for each key result and initiative in the order of `COLUMNS`, and where it has more than one
    estimate that counts one for each of these. None is an empty cell."""
    for one in report.results:
        row, goal = one.goal.row, one.goal
        named = ("key_result", None, row.key, row.title, goal.objective.key, row.state)
        number = (goal.progress, goal.steady, goal.current, row.target, row.unit, None)
        yield from _with_estimates(named, one, number)
    for each in report.initiatives:
        keys = ", ".join(result.goal.row.key for result in each.key_results)
        state = "done" if each.done else "open"
        yield from _with_estimates(
            ("initiative", each.source, each.key, each.title, None, state),
            each,
            (each.progress, None, None, None, None, keys or None),
        )


def _with_estimates(
    named: tuple[Any, ...], one: Result | Initiative, number: tuple[Any, ...]
) -> Iterator[tuple[Any, ...]]:
    work = one.work
    counts = (work.epics, work.epics_done, work.children, work.children_done, work.finished)
    for made in one.estimates or (None,):
        estimate = (
            (None,) * 5
            if made is None
            else (made.kind, made.amount, made.currency, made.estimated_by, made.at)
        )
        yield (*named, one.sign, one.not_moved, *counts, *number, *estimate)
