"""Rows of open work under goals, and of reviews that froze it, for tests of the roadmap."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from mappings.tables import (
    CycleRow,
    EpicRow,
    KeyResultRow,
    LinkRow,
    ReviewEpicRow,
    ReviewRow,
    SourceRow,
)
from tests.support.epic_rows import add_epic, add_goal, add_source

TODAY = date(2026, 11, 27)
NOW = datetime(2026, 11, 27, 9, tzinfo=UTC)


@dataclass
class Company:
    """Rows of one source, with goals KR-1 (growth), KR-2 (cost) and the closed KR-9."""

    session: AsyncSession
    source: SourceRow
    goals: dict[str, KeyResultRow]

    async def epic(self, key: str, *goals: str, **members: Any) -> EpicRow:
        """An epic linked to these goals, the first of them primary; with one that is live it is aligned."""
        live = any(goal != "KR-9" for goal in goals)
        plain = {"alignment": "aligned" if live else "unaligned"}
        row = await add_epic(self.session, self.source, key, **(plain | members))
        for goal in goals:
            link = LinkRow(epic_id=row.id, key_result_id=self.goals[goal].id, origin="manual", why="")
            link.is_primary = goal == goals[0]
            self.session.add(link)
            await self.session.flush()
        return row

    async def review(self, frozen_at: datetime, *epics: EpicRow, **were: dict[str, Any]) -> ReviewRow:
        """A review that froze these epics; `were`: by the key without its dash, what was other then."""
        cycle = CycleRow(key=f"R{frozen_at:%m%d}", title="", starts=TODAY, ends=TODAY, review="monthly")
        self.session.add(cycle)
        await self.session.flush()
        review = ReviewRow(
            cycle_id=cycle.id,
            held_on=frozen_at.date(),
            attendees=[],
            frozen_at=frozen_at,
            cycle_facts={},
            coverage={},
            objectives=[],
            epics=len(epics),
        )
        self.session.add(review)
        await self.session.flush()
        for epic in epics:
            frozen: dict[str, Any] = {
                name: getattr(epic, name)
                for name in ("key", "project", "title", "url", "status", "status_category", "alignment")
            }
            frozen |= {"starts_on": epic.starts_on, "due_on": epic.due_on, "key_results": []}
            frozen |= were.get(epic.key.replace("-", ""), {})
            row = ReviewEpicRow(review_id=review.id, epic_id=epic.id, source=self.source.name, **frozen)
            self.session.add(row)
        await self.session.flush()
        return review


async def company_in(session: AsyncSession) -> Company:
    source = await add_source(session)
    goals = {
        "KR-1": await add_goal(session, "KR-1", of_objective={"driver": "growth"}),
        "KR-2": await add_goal(session, "KR-2", of_objective={"driver": "cost"}),
        "KR-9": await add_goal(session, "KR-9", state="achieved"),
    }
    return Company(session, source, goals)
