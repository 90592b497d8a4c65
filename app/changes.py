"""A change of goals, rules or policy: answered at once, judged in runs of its own.

Marking what a change touches and opening the runs that judge it happen in the transaction of the
change itself, under the lock that keeps judging out meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.runtime import Runtime
from mappings import ledger, touching
from mappings.cases import epic_of
from mappings.conditions import parse
from mappings.tables import Epic, Run, Source

LOOKED_AT_ONCE = 1000


async def rejudge(runtime: Runtime, session: AsyncSession, which: Select[Any]) -> list[int]:
    """Have the epics `which` selects judged again; the ids of the runs, one a source touched."""
    sources = await touching.mark(session, which, runtime.clock())
    return await _open_judge_runs(runtime, session, sorted(sources))


async def open_judging(runtime: Runtime, session: AsyncSession, source_id: int, epic_id: int) -> int:
    """Mark one epic and open the run that `pipeline.judge_now` is to do after the commit; its id."""
    await touching.mark(session, select(Epic.id).where(Epic.id == epic_id), runtime.clock())
    return (await ledger.open_run(session, source_id, "judge", runtime.clock())).id


async def rejudge_rule(
    runtime: Runtime, session: AsyncSession, rule_id: int, when: dict[str, Any] | None
) -> list[int]:
    """Have judged again what a rule links now and what its new condition `when` (None: none) matches.

    The first is marked here; the second takes a look at every epic, so the runs do it.
    """
    marked = await touching.mark(session, touching.by_rule(rule_id), runtime.clock())
    if when is None:
        return await _open_judge_runs(runtime, session, sorted(marked))
    sources = await session.scalars(select(Source.id).order_by(Source.id))
    return await _open_judge_runs(runtime, session, sources, {"when": when})


async def _open_judge_runs(
    runtime: Runtime, session: AsyncSession, sources: Iterable[int], touch: dict[str, Any] | None = None
) -> list[int]:
    runs: list[int] = []
    for source_id in sources:
        run = await ledger.open_run(session, source_id, "judge", runtime.clock())
        run.touch = touch
        await session.flush()
        await runtime.wake_run(session, run.id, run.mode)
        runs.append(run.id)
    return runs


async def mark_matching(runtime: Runtime, run: Run, source: Source) -> None:
    """Mark the epics that match the condition a judge run was opened for, page by page."""
    if run.touch is None:
        return
    condition = parse(run.touch["when"])
    after = 0
    while True:
        async with runtime.sessions() as session:
            rows = (
                await session.scalars(
                    select(Epic)
                    .where(Epic.source_id == source.id, Epic.gone_at.is_(None), Epic.id > after)
                    .order_by(Epic.id)
                    .limit(LOOKED_AT_ONCE)
                )
            ).all()
        matching = [row.id for row in rows if condition.matches(source.name, epic_of(row))]
        async with runtime.sessions.begin() as session:
            await touching.mark(session, select(Epic.id).where(Epic.id.in_(matching)), runtime.clock())
            await ledger.keep_run(session, run, runtime.worker, runtime.clock())
        if len(rows) < LOOKED_AT_ONCE:
            return
        after = rows[-1].id
