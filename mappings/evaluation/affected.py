"""The epics that the causes of a run affect, page by page in the order of their ids."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, select, union

from mappings import invalidate
from mappings.evaluation.load import EVALUATED_COLUMNS, epic_of
from mappings.parents import load_below
from mappings.policy.names import former_names
from mappings.rules.index import RuleIndex
from mappings.rules.operations import rule_of
from mappings.runs.causes import Cause, by_goals, changed_parents, ids, link_ranges, references
from mappings.tables import EpicRow, RuleRow, SourceRow, among

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

# Epics at a time: affected ones, or, where rules are to be matched, all of the source.
PAGE_SIZE = 1000
MATCHED_AT_A_TIME = 100


@dataclass(frozen=True, slots=True)
class AffectedEpics:
    """`by_rows` selects what links, comments, projects and notices say; `rules` are those of the causes that
    are enabled now, None where there are none; `below` are the ids of the epics below the causes' parents, in
    order. All are asked in one pass, however many causes there are."""

    source: SourceRow
    by_rows: tuple[Select[Any], ...]
    rules: RuleIndex | None
    below: Sequence[int] = ()

    async def page(self, session: AsyncSession, after: int) -> tuple[list[int], int | None]:
        """The ids of the next affected epics with ids above `after`; and where the next page begins, None
        after the last."""
        matching: list[int] = []
        last: int | None = None
        if self.rules is not None:
            matching, last = await self._matching(session, after)
        selected = await self._selected(session, after, last)
        if self.rules is None and len(selected) == PAGE_SIZE:
            last = selected[-1]
        start = bisect_right(self.below, after)
        end = len(self.below) if last is None else bisect_right(self.below, last)
        ids = sorted({*matching, *selected, *self.below[start:end]})
        if self.rules is None and len(ids) > PAGE_SIZE:
            ids = ids[:PAGE_SIZE]
            last = ids[-1]
        return ids, last

    async def _matching(self, session: AsyncSession, after: int) -> tuple[list[int], int | None]:
        assert self.rules is not None
        of_source = EpicRow.source_id == self.source.id, EpicRow.removed_at.is_(None), EpicRow.id > after
        page = select(*EVALUATED_COLUMNS).select_from(EpicRow).where(*of_source)
        rows: Sequence[Any] = (await session.execute(page.order_by(EpicRow.id).limit(PAGE_SIZE))).all()
        matching: list[int] = []
        former = cache(partial(former_names, self.source.named_projects))
        for number, row in enumerate(rows, 1):
            if self.rules.first_match(self.source.name, epic_of(row, former(row.project))) is not None:
                matching.append(row.id)
            if not number % MATCHED_AT_A_TIME:
                await asyncio.sleep(0)  # so that other tasks can run
        return matching, rows[-1].id if len(rows) == PAGE_SIZE else None

    async def _selected(self, session: AsyncSession, after: int, last: int | None) -> list[int]:
        """Up to the id `last`, else at most a page."""
        if not self.by_rows:
            return []
        some = union(*self.by_rows).subquery()
        query = select(EpicRow.id).where(
            EpicRow.source_id == self.source.id, EpicRow.id.in_(select(some.c.epic_id)), EpicRow.id > after
        )
        if last is not None:
            query = query.where(EpicRow.id <= last)
        elif self.rules is None:
            query = query.limit(PAGE_SIZE)
        return list(await session.scalars(query.order_by(EpicRow.id)))


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
        rules = await _enabled(session, rule_ids)
    return AffectedEpics(source, tuple(by_rows), rules, below)


async def _enabled(session: AsyncSession, rule_ids: Sequence[int]) -> RuleIndex | None:
    rows = (await session.scalars(select(RuleRow).where(among(RuleRow.id, rule_ids), RuleRow.enabled))).all()
    return RuleIndex(map(rule_of, rows)) if rows else None
