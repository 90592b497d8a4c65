"""The roadmap: open work on a time axis, under the outcomes that it serves, and what moved since a review."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from mappings.goals.board import load_board
from mappings.goals.tree import in_order
from mappings.reports.roadmap_basis import DRIVERS, load_basis
from mappings.reports.roadmap_lanes import load_drawing, project_of
from mappings.reports.roadmap_moves import MOVE_WORDS
from mappings.reports.roadmap_rows import Asked, find_open_epics, load_frozen
from mappings.tables import CycleRow, KeyResultRow, ReviewRow, SourceRow, among

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from mappings.goals.board import GoalOnBoard
    from mappings.reports.roadmap_bars import Axis
    from mappings.reports.roadmap_basis import By, LiveGoal, RoadmapFilters
    from mappings.reports.roadmap_lanes import Drawing, Lane
    from mappings.reports.roadmap_moves import MoveKind
    from mappings.reports.roadmap_rows import Division, EpicGroup, Found

GROUPS_A_PAGE = 40
MOVES_SHOWN = 20

DEFINITION = (
    "Open work: epics in the lists whose status category is not done, each once, by its alignment. An "
    "aligned one stands under the key result of its primary live link (the one marked so, else the oldest) "
    "and names the others that it serves; linked counts those that stand elsewhere too. An epic stands "
    "below its initiative where both serve the same key result. In each group the nearest due date comes "
    "first, and so what is overdue; an initiative comes before what is part of it, undated work last. "
    "Unaligned work stands apart, whatever cycle or driver is asked for: what is disputed first, then what "
    "closed goals left behind. Exempt and waived work is counted, and shown only where a decision set it "
    "aside. An epic that is still to be evaluated is in not_evaluated alone. A bar runs from the start to "
    "the due date, both inclusive, UTC. What no date says is dashed: without a start from the day it was "
    "created to today, without a due date from today to the end of the axis; without both there is no bar. "
    "The filled part is the share of its children that are done, over the planned time. Overdue: the due "
    "date is before today. What moved is said against the last review that was opened before now, of the "
    "cycle if one is asked for."
)


@dataclass(frozen=True, slots=True)
class MovedEpic:
    """`is_listed`: it has a page still."""

    source: str
    key: str
    title: str
    is_listed: bool
    words: str


@dataclass(frozen=True, slots=True)
class Moves:
    """What moved since a review: by kind how many, and the first of them."""

    review: ReviewRow
    cycle: str
    kinds: Mapping[MoveKind, tuple[int, Sequence[MovedEpic]]]


@dataclass(frozen=True, slots=True)
class Roadmap:
    """`aligned`, `unaligned`, `exempt`, `waived` and `not_evaluated` are the open epics. `lanes`: those of
    one page, in the order of `by`; `lanes_in_all` how many there are. `moves`: None before the first
    review."""

    at: datetime
    filters: RoadmapFilters
    axis: Axis
    lanes: Sequence[Lane]
    lanes_in_all: int
    unaligned: Lane
    set_aside: Lane
    aligned: int
    exempt: int
    waived: int
    not_evaluated: int
    moves: Moves | None

    @property
    def total(self) -> int:
        return self.aligned + self.unaligned.total + self.exempt + self.waived + self.not_evaluated

    @property
    def pages(self) -> int:
        return max(1, -(-self.lanes_in_all // GROUPS_A_PAGE))


async def roadmap_report(session: AsyncSession, now: datetime, filters: RoadmapFilters) -> Roadmap:
    """Raises `Invalid` as `load_basis`."""
    basis = await load_basis(session, now, filters)
    ordered = _in_order([goal for goal in basis.live.values() if goal.is_wanted], filters.by)
    by_project = filters.by == "project"
    on_page = [] if by_project else _page_of(ordered, filters)
    asked = Asked(
        live={id: (goal.then, goal.is_wanted) for id, goal in basis.live.items()},
        source=basis.source,
        project=filters.project,
        by_project=by_project,
        review_id=basis.review_id,
        parts=None if by_project else [str(goal.row.id) for goal in on_page],
        most=filters.most,
        most_moves=MOVES_SHOWN,
    )
    found = await find_open_epics(session, asked, now)
    sources = await _source_names(session) if by_project else {}
    projects = _projects(found, sources)
    parts = _page_of(projects, filters) if by_project else [str(goal.row.id) for goal in on_page]
    drawing = await load_drawing(session, basis, _shown(found, parts))
    if by_project:
        lanes = [drawing.project_lane(found.parts["aligned"][part], sources, part) for part in parts]
    else:
        board = await _board(session, now, on_page)
        lanes = [drawing.lane(found.parts["aligned"].get(str(one.row.id)), goal=one) for one in board]
    return Roadmap(
        at=now,
        filters=filters,
        axis=basis.axis,
        lanes=lanes,
        lanes_in_all=len(projects) if by_project else len(ordered),
        unaligned=drawing.lane(found.parts["unaligned"].get(None)),
        set_aside=drawing.lane_of(_set_aside(found)),
        aligned=_total(found, "aligned"),
        exempt=_total(found, "exempt"),
        waived=_total(found, "waived"),
        not_evaluated=_total(found, "waiting"),
        moves=None if basis.review is None else await _moves(session, basis.review, found, drawing),
    )


def _page_of(groups: Sequence[Any], filters: RoadmapFilters) -> Sequence[Any]:
    start = (filters.page - 1) * GROUPS_A_PAGE
    return groups[start : start + GROUPS_A_PAGE]


def _total(found: Found, place: Division) -> int:
    return sum(part.total for part in found.parts[place].values())


def _set_aside(found: Found) -> list[EpicGroup]:
    """What a decision took out of the count, whether it is exempt or waived by that."""
    parts = [*found.parts["exempt"].items(), *found.parts["waived"].items()]
    return [part for by, part in parts if by is not None]


# --- goals ------------------------------------------------------------------------------------


def _in_order(goals: Sequence[LiveGoal], by: By) -> list[LiveGoal]:
    """Key results under their objectives, these after what they serve; by driver in the order of drivers."""
    places = {
        id: place
        for place, (id, _) in enumerate(
            in_order({goal.objective.id: goal.objective.parent_id for goal in goals})
        )
    }

    def place(goal: LiveGoal) -> tuple[int, int, int]:
        driver = DRIVERS.index(goal.objective.driver or "none") if by == "driver" else 0
        return driver, places[goal.objective.id], goal.row.id

    return sorted(goals, key=place)


async def _board(session: AsyncSession, now: datetime, goals: Sequence[LiveGoal]) -> list[GoalOnBoard]:
    """All that is said of them, in their order."""
    if not goals:
        return []
    ids = [goal.row.id for goal in goals]
    board = await load_board(session, now, among(KeyResultRow.id, ids), count_epics=False)
    return sorted(board, key=lambda one: ids.index(one.row.id))


# --- epics ------------------------------------------------------------------------------------


async def _source_names(session: AsyncSession) -> dict[int, str]:
    return {id: name for id, name in await session.execute(select(SourceRow.id, SourceRow.name))}


def _projects(found: Found, sources: Mapping[int, str]) -> list[str]:
    """The parts of projects, in the order of their names."""
    parts = [part for part in found.parts["aligned"] if part and project_of(part)[0] in sources]

    def name(part: str) -> tuple[str, str, str]:
        source_id, project = project_of(part)
        return sources[source_id].lower(), project.lower(), project

    return sorted(parts, key=name) if sources else []


def _shown(found: Found, parts: Sequence[str]) -> set[int]:
    """The ids of the epics of these groups, and of those that stand apart."""
    groups = [found.parts["aligned"].get(part) for part in parts]
    groups += [found.parts["unaligned"].get(None), *_set_aside(found)]
    moved = {id for _, ids in found.moved.values() for id in ids}
    return moved.union(*(part.shown for part in groups if part is not None))


# --- moves ------------------------------------------------------------------------------------


async def _moves(session: AsyncSession, review: ReviewRow, found: Found, drawing: Drawing) -> Moves:
    cycle = await session.get_one(CycleRow, review.cycle_id)
    ended = {
        id
        for kind, (_, ids) in found.moved.items()
        if kind in ("finished", "gone")
        for id in ids
        if id not in drawing.details
    }
    frozen = await load_frozen(session, ended, review.id) if ended else {}
    kinds: dict[MoveKind, tuple[int, Sequence[MovedEpic]]] = {}
    for kind in MOVE_WORDS:
        if kind in found.moved:
            total, ids = found.moved[kind]
            moved = [_moved(drawing, kind, id, frozen.get(id)) for id in ids]
            kinds[kind] = total, [one for one in moved if one is not None]
    return Moves(review, cycle.key, kinds)


def _moved(drawing: Drawing, kind: MoveKind, id: int, frozen: Any) -> MovedEpic | None:
    details = drawing.details.get(id)
    if details is None:
        return frozen and MovedEpic(frozen.source, frozen.key, frozen.title, False, MOVE_WORDS[kind])
    row = details.row
    words = MOVE_WORDS[kind]
    if kind not in ("finished", "gone"):
        words = next((move.words for move in drawing.epic(details).moves if move.kind == kind), words)
    return MovedEpic(details.source, row.key, row.title, row.removed_at is None, words)
