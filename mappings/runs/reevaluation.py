"""Evaluating epics again after goals, rules or policy changed: the caller answers at once, runs do the work.

These functions mark the affected epics and open the runs, in the transaction of the change itself. For a
change of goals, rules, links or policy the caller holds the goals' exclusive lock, so that no evaluation is
under way; for one of a finding it holds the lock of its epic alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, select

from mappings import invalidate
from mappings.runs.queue import open_run, start_run
from mappings.tables import EpicRow, SourceRow

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


@dataclass(frozen=True, slots=True)
class ChangedEpic:
    """The epic that a change is about, and the run that `pipeline.evaluate_now` executes after the commit."""

    epic: EpicRow
    run_id: int


async def reevaluate(session: AsyncSession, which: Select[Any], now: datetime) -> list[int]:
    """Mark the epics that `which` selects, and open one run for each of their sources; the runs' ids."""
    sources = await invalidate.mark_for_evaluation(session, which, now)
    return await _open_evaluate_runs(session, sorted(sources), now)


async def open_evaluation(session: AsyncSession, epic: EpicRow, now: datetime) -> ChangedEpic:
    """Mark one epic and open the run that evaluates it."""
    await invalidate.mark_for_evaluation(session, select(EpicRow.id).where(EpicRow.id == epic.id), now)
    return ChangedEpic(epic, (await open_run(session, epic.source_id, "evaluate", now)).id)


async def reevaluate_rule(
    session: AsyncSession, rule_id: int, when: dict[str, Any] | None, now: datetime
) -> list[int]:
    """Evaluate again the epics that a rule links now, and those that its new condition `when` matches.

    `when` is None where the rule has no condition any more. The linked epics are marked here. To find the
    matching ones, every epic must be read, so the runs do that. Returns the ids of the runs.
    """
    marked = await invalidate.mark_for_evaluation(session, invalidate.by_rule(rule_id), now)
    if when is None:
        return await _open_evaluate_runs(session, sorted(marked), now)
    sources = await session.scalars(select(SourceRow.id).order_by(SourceRow.id))
    return await _open_evaluate_runs(session, sources, now, {"when": when})


async def _open_evaluate_runs(
    session: AsyncSession,
    sources: Iterable[int],
    now: datetime,
    rule_condition: dict[str, Any] | None = None,
) -> list[int]:
    runs: list[int] = []
    for source_id in sources:
        run = await start_run(session, source_id, "evaluate", now)
        run.rule_condition = rule_condition
        runs.append(run.id)
    await session.flush()
    return runs
