"""Evaluates the epics of a source that are due, in the transactions of a run.

Each transaction holds the goals' shared lock and the source's projects, locks some epics, and evaluates and
records them (`mappings.evaluation.evaluator`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import select

from app import logs
from mappings import invalidate
from mappings.evaluation.context import EvaluationContext, load_project_infos
from mappings.evaluation.evaluator import evaluate_epics
from mappings.evaluation.load import lock_due_epics, matching_epics
from mappings.locks import lock_epics, lock_goals_shared, without_synchronous_commit
from mappings.rules.condition import parse_condition
from mappings.runs.queue import renew_lease
from mappings.sources.unreadable import unreadable_ids
from mappings.tables import EpicRow, RunRow, SourceRow

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from app.runtime import Runtime

log = structlog.get_logger()

SLICE_SIZE = 400


async def evaluate_due(runtime: Runtime, run: RunRow, source: SourceRow) -> None:
    """Evaluate every due epic of the source, slice by slice. In between, other tasks can run."""
    await _mark_matching(runtime, run, source)
    slices = _Slices(runtime, run, source)
    try:
        # Two tasks: while the database stores the slice of one task, the other evaluates the next slice.
        async with asyncio.TaskGroup() as evaluating:
            for _ in range(2):
                evaluating.create_task(slices.evaluate())
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None  # its type decides what becomes of the run


@dataclass
class _Slices:
    """The due epics of a source in slices. Two tasks share this: `lock` lets one at a time take a slice,
    `after` is the id of the last epic taken."""

    runtime: Runtime
    run: RunRow
    source: SourceRow
    context: EvaluationContext | None = None
    after: int = 0
    done: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def evaluate(self) -> None:
        while not self.done:
            async with self.runtime.sessions.begin() as session:
                await without_synchronous_commit(session)
                async with self.lock:
                    now = await self.runtime.now(session)
                    context, rows = await self._lock_slice(session, now)
                held = await _evaluate_rows(session, context, rows, self.run.id, now)
                await renew_lease(
                    session, self.run, self.runtime.worker, now, ahead=self._ahead(rows), held=held
                )

    def _ahead(self, rows: Sequence[EpicRow]) -> bool:
        """Whether these epics are behind the run for good: a condition marks all of its epics once more when
        the run is taken up."""
        return bool(rows) and self.run.rule_condition is None

    async def _lock_slice(
        self, session: AsyncSession, now: datetime
    ) -> tuple[EvaluationContext, Sequence[EpicRow]]:
        version = await lock_goals_shared(session)
        if self.context is None or self.context.version != version:
            self.context = await self.runtime.evaluation_context(session, self.source)
        context = replace(
            self.context,
            project_infos=await load_project_infos(session, self.source.id, lock=True),
            unreadable=await unreadable_ids(session, self.source.id),
        )
        rows = await lock_due_epics(session, self.source.id, now, self.after, SLICE_SIZE)
        self.done = self.done or len(rows) < SLICE_SIZE
        self.after = rows[-1].id if rows else self.after
        return context, rows


async def evaluate_these(
    runtime: Runtime, source: SourceRow, run_id: int, epic_ids: Sequence[int], run: RunRow | None
) -> None:
    """Evaluate these epics in one transaction, for the run `run_id`; `run` is it, where it is claimed."""
    async with runtime.sessions.begin() as session:
        await lock_goals_shared(session)
        await load_project_infos(session, source.id, lock=True)
        rows = await lock_epics(session, epic_ids)
        context = await runtime.evaluation_context(session, source, sorted({row.project for row in rows}))
        now = await runtime.now(session)
        held = await _evaluate_rows(session, context, rows, run_id, now)
        if run is not None:
            await renew_lease(session, run, runtime.worker, now, held=held)


async def _evaluate_rows(
    session: AsyncSession, context: EvaluationContext, rows: Sequence[EpicRow], run_id: int, now: datetime
) -> int:
    _, held = await evaluate_epics(session, rows, context, run_id, now)
    if rows:
        log.info(
            "epics evaluated", epics=[row.key for row in rows[: logs.MAX_LOGGED_IDS]], evaluated=len(rows)
        )
    return held


async def _mark_matching(runtime: Runtime, run: RunRow, source: SourceRow) -> None:
    """Mark the epics that match the condition an `evaluate` run was opened with, page by page."""
    if run.rule_condition is None:
        return
    condition = parse_condition(run.rule_condition["when"])
    after: int | None = 0
    while after is not None:
        async with runtime.sessions() as session:
            matching, after = await matching_epics(session, source, condition, after)
        async with runtime.sessions.begin() as session:
            now = await runtime.now(session)
            await invalidate.mark_for_evaluation(
                session, select(EpicRow.id).where(EpicRow.id.in_(matching)), now
            )
            await renew_lease(session, run, runtime.worker, now)
