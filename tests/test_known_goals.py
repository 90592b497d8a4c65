"""The goals that a process keeps: those that were committed, and no others."""

from __future__ import annotations

import pytest

from app.runtime import Runtime
from mappings.evaluation.known_goals import known_goals
from mappings.locks import lock_goals_exclusive
from mappings.tables import KeyResultRow
from tests.support.world import World

pytestmark = pytest.mark.database


async def _titles(runtime: Runtime) -> list[str]:
    async with runtime.sessions() as session:
        known = await known_goals(session)
        return [one.title for one in known.goals.key_results.values()]


async def test_what_a_change_reads_that_is_rolled_back_is_not_kept(world: World, runtime: Runtime) -> None:
    """The next change gives the goals the same version once more."""
    await world.goal("KR-1", "Before")
    async with runtime.sessions() as session:
        await lock_goals_exclusive(session)
        await known_goals(session)
        await session.rollback()
    await world.send("PATCH", "/key-results/KR-1", {"title": "After"})
    assert await _titles(runtime) == ["After"]


async def test_what_a_change_reads_before_its_end_is_not_kept(world: World, runtime: Runtime) -> None:
    await world.goal("KR-1", "Before")
    async with runtime.sessions.begin() as session:
        await lock_goals_exclusive(session)
        known = await known_goals(session)
        row = await session.get_one(KeyResultRow, next(iter(known.goals.key_results)))
        row.title = "After"
        await session.flush()
        changed = await known_goals(session)
        assert [one.title for one in changed.goals.key_results.values()] == ["After"]
    assert await _titles(runtime) == ["After"]
