"""Evaluating epics again after goals, rules or policy changed: the caller answers at once, runs do the work.

The caller marks the affected epics and opens the runs in the transaction of the change itself, under the
exclusive goals lock, so that no evaluation is under way meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.runtime import Runtime
from mappings.evaluation import invalidate
from mappings.evaluation.load import epic_of
from mappings.rules.condition import parse_condition
from mappings.runs.queue import open_run, renew_lease
from mappings.tables import EpicRow, RunRow, SourceRow

MATCHED_AT_ONCE = 1000


async def reevaluate(runtime: Runtime, session: AsyncSession, which: Select[Any]) -> list[int]:
    """Mark the epics that `which` selects, and open one run for each of their sources; the runs' ids."""
    sources = await invalidate.mark_for_evaluation(session, which, runtime.clock())
    return await _open_evaluate_runs(runtime, session, sorted(sources))


async def open_evaluation(runtime: Runtime, session: AsyncSession, source_id: int, epic_id: int) -> int:
    """Mark one epic and open the run that `pipeline.evaluate_now` executes after the commit; the run's id."""
    await invalidate.mark_for_evaluation(
        session, select(EpicRow.id).where(EpicRow.id == epic_id), runtime.clock()
    )
    return (await open_run(session, source_id, "evaluate", runtime.clock())).id


async def reevaluate_rule(
    runtime: Runtime, session: AsyncSession, rule_id: int, when: dict[str, Any] | None
) -> list[int]:
    """Evaluate again the epics that a rule links now, and those that its new condition `when` matches.

    `when` is None where the rule has no condition any more. The linked epics are marked here. To find the
    matching ones, every epic must be read, so the runs do that. Returns the ids of the runs.
    """
    marked = await invalidate.mark_for_evaluation(session, invalidate.by_rule(rule_id), runtime.clock())
    if when is None:
        return await _open_evaluate_runs(runtime, session, sorted(marked))
    sources = await session.scalars(select(SourceRow.id).order_by(SourceRow.id))
    return await _open_evaluate_runs(runtime, session, sources, {"when": when})


async def _open_evaluate_runs(
    runtime: Runtime,
    session: AsyncSession,
    sources: Iterable[int],
    rule_condition: dict[str, Any] | None = None,
) -> list[int]:
    runs: list[int] = []
    for source_id in sources:
        run = await open_run(session, source_id, "evaluate", runtime.clock())
        run.rule_condition = rule_condition
        await session.flush()
        await runtime.wake_run(session, run.id, run.mode)
        runs.append(run.id)
    return runs


async def mark_matching(runtime: Runtime, run: RunRow, source: SourceRow) -> None:
    """Mark the epics that match the condition an `evaluate` run was opened with, page by page."""
    if run.rule_condition is None:
        return
    condition = parse_condition(run.rule_condition["when"])
    after = 0
    while True:
        async with runtime.sessions() as session:
            rows = (
                await session.scalars(
                    select(EpicRow)
                    .where(EpicRow.source_id == source.id, EpicRow.removed_at.is_(None), EpicRow.id > after)
                    .order_by(EpicRow.id)
                    .limit(MATCHED_AT_ONCE)
                )
            ).all()
        matching = [row.id for row in rows if condition.matches(source.name, epic_of(row))]
        async with runtime.sessions.begin() as session:
            await invalidate.mark_for_evaluation(
                session, select(EpicRow.id).where(EpicRow.id.in_(matching)), runtime.clock()
            )
            await renew_lease(session, run, runtime.worker, runtime.clock())
        if len(rows) < MATCHED_AT_ONCE:
            return
        after = rows[-1].id
