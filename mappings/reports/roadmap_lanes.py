"""Epics in the groups that a roadmap shows them in, each with its bar and what is to be said of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from mappings.evaluation.model import SET_ASIDE_WORDS
from mappings.goals.tree import in_order
from mappings.governance.initiatives import initiatives_among
from mappings.lookups import goal_keys
from mappings.policy.durations import last_date
from mappings.policy.operations import load_policy
from mappings.reports.roadmap_bars import Remark, bar_of
from mappings.reports.roadmap_moves import PlanOfEpic, moves_of
from mappings.reports.roadmap_rows import load_details
from mappings.tables import KeyResultRow
from mappings.words import day_words

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from mappings.goals.board import GoalOnBoard
    from mappings.reports.roadmap_bars import Bar
    from mappings.reports.roadmap_basis import Basis
    from mappings.reports.roadmap_moves import Move
    from mappings.reports.roadmap_rows import EpicDetails, EpicGroup


@dataclass(frozen=True, slots=True)
class EpicOnRoadmap:
    """`depth`: how many initiatives above it are shown. `others`: the keys of the other live key results that
    it serves. `closed`: those that it is linked to where none is live. `remarks` are for people."""

    details: EpicDetails
    is_initiative: bool
    key_result: str | None
    others: Sequence[str]
    closed: Sequence[str]
    bar: Bar
    moves: Sequence[Move]
    remarks: Sequence[Remark]
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Lane:
    """A group of epics: of a key result, of a project, of unaligned work or of what was set aside. `epics`:
    those that are shown. `linked`: how many open epics are linked to the key result, wherever they stand."""

    epics: Sequence[EpicOnRoadmap] = ()
    total: int = 0
    overdue: int = 0
    undated: int = 0
    linked: int | None = None
    goal: GoalOnBoard | None = None
    source: str | None = None
    project: str | None = None

    @property
    def more(self) -> int:
        return self.total - len(self.epics)


async def load_drawing(session: AsyncSession, basis: Basis, ids: Collection[int]) -> Drawing:
    """Of these epics."""
    details = await load_details(session, ids, basis.review_id)
    closed = {id for one in details.values() for id in one.links} - basis.live.keys()
    keys = {id: goal.row.key for id, goal in basis.live.items()} | await goal_keys(
        session, KeyResultRow, closed
    )
    initiatives = await initiatives_among(session, await load_policy(session), ids)
    return Drawing(basis, keys, details, initiatives)


def project_of(part: str) -> tuple[int, str]:
    """The source's id and the project of a part by project."""
    source_id, _, project = part.partition(" ")
    return int(source_id), project


@dataclass(frozen=True, slots=True)
class Drawing:
    """Makes lanes of what was found. `keys`: of all key results that these epics are linked to;
    `initiatives`: the ids of those that are some."""

    basis: Basis
    keys: Mapping[int, str]
    details: Mapping[int, EpicDetails]
    initiatives: Collection[int]

    def lane(self, part: EpicGroup | None, **members: Any) -> Lane:
        if part is None:
            return Lane(linked=0, **members)
        return Lane(
            list(self._epics(part)), part.total, part.overdue, part.undated, part.linked or 0, **members
        )

    def project_lane(self, part: EpicGroup, sources: Mapping[int, str], name: str) -> Lane:
        source_id, project = project_of(name)
        return replace(self.lane(part), source=sources[source_id], project=project, linked=None)

    def lane_of(self, parts: Sequence[EpicGroup]) -> Lane:
        """Several groups as one."""
        return Lane(
            [epic for part in parts for epic in self._epics(part)],
            total=sum(part.total for part in parts),
            overdue=sum(part.overdue for part in parts),
            undated=sum(part.undated for part in parts),
        )

    def _epics(self, part: EpicGroup) -> Iterator[EpicOnRoadmap]:
        parents = {id: above for id, above in part.shown.items() if id in self.details}
        for id, depth in in_order(parents):
            yield self.epic(self.details[id], depth)

    def epic(self, details: EpicDetails, depth: int = 0) -> EpicOnRoadmap:
        row, today = details.row, self.basis.at.date()
        serves = [id for id in details.links if id in self.basis.live]
        bar = bar_of(
            row.starts_on,
            row.due_on,
            created=row.tracker_created_at.date(),
            children=row.children,
            done=row.children_done,
            today=today,
            axis=self.basis.axis,
        )
        moves = self._moves(details, serves)
        others = [self.keys[id] for id in serves[1:]]
        closed = [] if serves else [self.keys[id] for id in details.links if id in self.keys]
        return EpicOnRoadmap(
            details=details,
            is_initiative=row.id in self.initiatives,
            key_result=self.keys[serves[0]] if serves else None,
            others=others,
            closed=closed,
            bar=bar,
            moves=moves,
            remarks=[
                *_reasons(details, closed, self.basis.at),
                *bar.remarks,
                *(move.remark for move in moves),
            ],
            depth=depth,
        )

    def _moves(self, details: EpicDetails, serves: Sequence[int]) -> list[Move]:
        if self.basis.review is None:
            return []
        row, was = details.row, details.was
        frozen = None if was is None else PlanOfEpic(was.starts_on, was.due_on, frozenset(was.key_results))
        keys = frozenset(self.basis.live[id].then for id in serves)
        return moves_of(frozen, PlanOfEpic(row.starts_on, row.due_on, keys), self.basis.at.date())


def _reasons(details: EpicDetails, closed: Sequence[str], at: datetime) -> Iterator[Remark]:
    """Why it is where it stands: a dispute, a closed goal, a decision that holds `at` that moment."""
    row, today = details.row, at.date()
    if row.set_aside is not None and (row.set_aside_until is None or row.set_aside_until > at):
        until = (
            ""
            if row.set_aside_until is None
            else f" until {day_words(last_date(row.set_aside_until), today)}"
        )
        yield Remark(f"{SET_ASIDE_WORDS[row.set_aside]} by a decision{until}")
    if details.disputed:
        yield Remark("disputed", warn=True)
    if row.alignment == "unaligned" and closed:
        is_one = len(closed) == 1
        yield Remark(f"{', '.join(closed)} {'is' if is_one else 'are'} closed", warn=True)
