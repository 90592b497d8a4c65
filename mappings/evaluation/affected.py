"""The epics that the causes of a run affect, page by page in the order of their ids."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Select, select, union

from mappings import invalidate
from mappings.evaluation.load import MATCHED_COLUMNS, matched_epic_of
from mappings.parents import load_below
from mappings.policy.names import former_names
from mappings.rules.condition import AnyOf
from mappings.rules.index import RuleIndex
from mappings.rules.operations import rule_of
from mappings.rules.prefilter import may_match
from mappings.runs.causes import Cause, by_goals, changed_parents, ids, link_ranges, references
from mappings.tables import EpicRow, LinkRow, RuleRow, SourceRow, among

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

    from connectors.base import Epic
    from mappings.rules.index import Rule

# Epics at a time: affected ones, or those that rules may match.
PAGE_SIZE = 1000
MATCHED_AT_A_TIME = 100
# The database tells which epics so many rules may match; to ask it about more costs more than to read all.
MOST_PREFILTERED = 20


@dataclass(frozen=True, slots=True)
class ChangedRules:
    """The rules of causes that are enabled now. `all` are all that are; `possible` is true for each epic that
    one of the changed ones matches, and perhaps for others, None where the database cannot tell."""

    changed: RuleIndex
    all: RuleIndex
    possible: ColumnElement[bool] | None

    @classmethod
    def of(cls, enabled: Iterable[Rule], ids: Collection[int], source: SourceRow) -> ChangedRules | None:
        all_rules = RuleIndex(enabled)
        changed = [rule for rule in all_rules.rules if rule.id in ids]
        if not changed:
            return None
        possible = None
        if len(changed) <= MOST_PREFILTERED:
            possible = may_match(AnyOf([rule.condition for rule in changed]), [source])
        return cls(RuleIndex(changed), all_rules, possible)

    def first_match(self, source: str, epic: Epic) -> int | None:
        """The id of the first of all rules that matches the epic; None where no changed rule matches it."""
        if self.changed.first_match(source, epic) is None:
            return None
        first = self.all.first_match(source, epic)
        return None if first is None else first.id


@dataclass(frozen=True, slots=True)
class AffectedEpics:
    """`by_rows` selects what links, comments, projects and notices say; `rules` are those of the causes, None
    where none is enabled; `below` are the ids of the epics below the causes' parents, in order. All are asked
    in one pass, however many causes there are."""

    source: SourceRow
    by_rows: tuple[Select[Any], ...]
    rules: ChangedRules | None
    below: Sequence[int] = ()

    async def page(self, session: AsyncSession, after: int) -> tuple[list[int], int | None]:
        """The ids of the next affected epics with ids above `after`; and where the next page begins, None
        after the last."""
        matching: list[int] = []
        last: int | None = None
        if self.rules is not None:
            matching, last = await self._matching(session, self.rules, after)
        selected = await self._selected(session, after, last)
        if len(selected) == PAGE_SIZE:
            last = selected[-1]
        start = bisect_right(self.below, after)
        end = len(self.below) if last is None else bisect_right(self.below, last)
        of_rules = matching if last is None else matching[: bisect_right(matching, last)]
        ids = sorted({*of_rules, *selected, *self.below[start:end]})
        if len(ids) > PAGE_SIZE:
            ids = ids[:PAGE_SIZE]
            last = ids[-1]
        return ids, last

    async def _matching(
        self, session: AsyncSession, rules: ChangedRules, after: int
    ) -> tuple[list[int], int | None]:
        """In order: the epics that a changed rule matches, without those that the first of all rules that
        matches links already.

        No other rule is asked there, and a change of that one is a cause of its own. That it comes first is
        not enough: it may be new itself, and be changed again before its own run comes to the epic.
        """
        page = select(*MATCHED_COLUMNS).select_from(EpicRow).where(EpicRow.source_id == self.source.id)
        page = page.where(EpicRow.removed_at.is_(None), EpicRow.id > after)
        if rules.possible is not None:
            page = page.where(rules.possible)
        rows: Sequence[Any] = (await session.execute(page.order_by(EpicRow.id).limit(PAGE_SIZE))).all()
        matching: dict[int, int] = {}
        former = cache(partial(former_names, self.source.named_projects))
        for number, row in enumerate(rows, 1):
            first = rules.first_match(self.source.name, matched_epic_of(row, former(row.project)))
            if first is not None:
                matching[row.id] = first
            if not number % MATCHED_AT_A_TIME:
                await asyncio.sleep(0)  # so that other tasks can run
        linked = await _linked_by_rules(session, matching)
        return (
            [id for id, first in matching.items() if linked.get(id) != [first]],
            rows[-1].id if len(rows) == PAGE_SIZE else None,
        )

    async def _selected(self, session: AsyncSession, after: int, last: int | None) -> list[int]:
        """At most a page, and up to the id `last`, in order."""
        if not self.by_rows:
            return []
        some = union(*self.by_rows).subquery()
        query = select(EpicRow.id).where(
            EpicRow.source_id == self.source.id, EpicRow.id.in_(select(some.c.epic_id)), EpicRow.id > after
        )
        if last is not None:
            query = query.where(EpicRow.id <= last)
        return list(await session.scalars(query.order_by(EpicRow.id).limit(PAGE_SIZE)))


async def load_affected(session: AsyncSession, source: SourceRow, causes: Sequence[Cause]) -> AffectedEpics:
    """The epics of `source` that these causes affect, by the goals and rules as they are now: a change of
    them after this is a cause of another run."""
    by_rows = await by_goals(session, causes)
    if projects := references(causes, "policy"):
        by_rows.append(invalidate.by_projects(source.id, projects))
    if references(causes, "source"):
        by_rows.append(invalidate.by_source(source.id))
    if references(causes, "mode"):
        by_rows.append(invalidate.by_gap_or_notice(source.id))
    if ranges := link_ranges(causes):
        by_rows.append(invalidate.by_links(ranges))
    below: list[int] = []
    if Cause.of_every_parent().reference in references(causes, "parent"):
        by_rows.append(invalidate.by_having_parent(source.id))
    elif changed := changed_parents(causes):
        below = await load_below(session, source.id, changed)
    rules = None
    if rule_ids := ids(causes, "rule"):
        by_rows.append(invalidate.by_rules(rule_ids))
        enabled = await session.scalars(select(RuleRow).where(RuleRow.enabled))
        rules = ChangedRules.of(map(rule_of, enabled), set(rule_ids), source)
    return AffectedEpics(source, tuple(by_rows), rules, below)


async def _linked_by_rules(session: AsyncSession, epic_ids: Collection[int]) -> dict[int, list[int | None]]:
    """The ids of the rules that link these epics as they are stored, by the epic's id."""
    if not epic_ids:
        return {}
    of_rules = select(LinkRow.epic_id, LinkRow.rule_id).where(LinkRow.origin == "rule")
    linked: dict[int, list[int | None]] = {}
    for epic_id, rule_id in await session.execute(of_rules.where(among(LinkRow.epic_id, epic_ids))):
        linked.setdefault(epic_id, []).append(rule_id)
    return linked
