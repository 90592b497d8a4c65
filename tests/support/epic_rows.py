"""Rows of sources, epics and goals, for tests whose subject is what is counted over them."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from mappings.tables import CycleRow, EpicRow, KeyResultRow, ObjectiveRow, SourceRow

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)


async def add_source(session: AsyncSession, name: str = "acme", **members: Any) -> SourceRow:
    empty: dict[str, Any] = {"scope": {}, "epics": {}, "schedule": {}, "notices": {"mode": "live"}}
    row = SourceRow(
        name=name,
        kind="jira",
        base_url=f"https://{name}.example",
        tracker=name,
        credentials=b"",
        credentials_type="token",
        **(empty | members),
    )
    session.add(row)
    await session.flush()
    return row


async def add_epic(session: AsyncSession, source: SourceRow, key: str, **members: Any) -> EpicRow:
    plain: dict[str, Any] = {
        "project": key.split("-")[0],
        "title": key,
        "url": "",
        "type": "Epic",
        "status": "Open",
        "status_category": "todo",
        "labels": [],
        "assignees": [],
        "components": [],
        "ticket_references": [],
        "fields": {},
        "tracker_created_at": NOW,
        "tracker_updated_at": NOW,
        "content_hash": b"",
        "read_at": NOW,
    }
    row = EpicRow(source_id=source.id, tracker=source.tracker, remote_id=key, key=key, **(plain | members))
    session.add(row)
    await session.flush()
    return row


async def add_goal(
    session: AsyncSession,
    key: str,
    ends: date | None = None,
    of_objective: dict[str, Any] | None = None,
    **members: Any,
) -> KeyResultRow:
    """A key result in an objective, and if `ends` is given a cycle, of the same key."""
    cycle = None
    if ends is not None:
        cycle = CycleRow(key=key, title=key, starts=ends, ends=ends, review="monthly")
        session.add(cycle)
        await session.flush()
    of_cycle = {} if cycle is None else {"cycle_id": cycle.id}
    objective = ObjectiveRow(key=key, title=key, **of_cycle, **(of_objective or {}))
    session.add(objective)
    await session.flush()
    row = KeyResultRow(
        key=key, title=key, objective_id=objective.id, **({"baseline": 1, "target": 2} | members)
    )
    session.add(row)
    await session.flush()
    return row
