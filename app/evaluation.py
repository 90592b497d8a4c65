"""Evaluates the epics of a source that are due, or that a change affects, in the transactions of a run.

Each transaction holds the goals' shared lock and the source's projects, locks some epics, and evaluates and
records them (`mappings.evaluation.evaluator`).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import structlog

from app import logs
from mappings.evaluation.affected import load_affected
from mappings.evaluation.context import EvaluationContext, load_project_infos
from mappings.evaluation.evaluator import evaluate_epics
from mappings.evaluation.load import due_epics, lock_due_epics, lock_these_epics
from mappings.locks import BY_INDEXES, lock_epics, lock_goals_shared, without_synchronous_commit
from mappings.runs.causes import causes_of, record_progress
from mappings.runs.queue import renew_lease
from mappings.sources.unreadable import unreadable_ids

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from app.runtime import Runtime
    from mappings.runs.causes import Cause
    from mappings.tables import EpicRow, RunRow, SourceRow

log = structlog.get_logger()

SLICE_SIZE = 400
# Ids of due epics at once: each time, all that are due are looked at.
DUE_AT_ONCE = 10_000
# Many changes may come one after the other, and each waits for the slices that are being evaluated.
AFFECTED_SLICE_SIZE = 200


async def evaluate_due(runtime: Runtime, run: RunRow, source: SourceRow) -> None:
    """Evaluate every due epic of the source, slice by slice. In between, other tasks can run."""
    await _Slices(runtime, run, source).evaluate()


async def evaluate_affected(runtime: Runtime, run: RunRow, source: SourceRow) -> None:
    """Evaluate every epic of the source that the run's causes affect, page by page, due or not.

    A run that is taken up again goes on after the last page that was evaluated whole. Where it changes the
    own links of parents, it gets causes of its own and evaluates what is below them, in a pass for these; one
    that is taken up again then begins anew, for which pass its page was of is not known.
    """
    done: set[tuple[str, str]] = set()
    after: int = run.evaluated_up_to
    while True:
        async with runtime.sessions() as session:
            causes = await causes_of(session, run.id)
        fresh = [cause for cause in causes if (cause.kind, cause.reference) not in done]
        if done and not fresh:
            return
        if done or any(cause.kind == "parent" for cause in fresh):
            after = 0
        await _evaluate_affected_by(runtime, run, source, fresh, after)
        done |= {(cause.kind, cause.reference) for cause in fresh}
        if not fresh:
            return


async def _evaluate_affected_by(
    runtime: Runtime, run: RunRow, source: SourceRow, causes: Sequence[Cause], start: int
) -> None:
    async with runtime.sessions() as session:
        affected = await load_affected(session, source, causes)
    slices = _Slices(runtime, run, source)
    after: int | None = start
    while after is not None:
        async with runtime.sessions() as session:
            ids, following = await affected.page(session, after)
        if ids:
            await slices.evaluate(ids)
        if following is not None:
            async with runtime.sessions.begin() as session:
                await record_progress(session, run.id, following)
                await renew_lease(session, run, runtime.worker, await runtime.now(session), ahead=True)
        after = following


@dataclass
class _Slices:
    """Epics of a source in slices: those with given ids, or all that are due. Two tasks share this: `lock`
    lets one at a time take a slice; `ids` are those left of the given ones. `due` are those left of the due
    ones that were looked for last, up to the id `after`; `is_end_known`: there are no others behind."""

    runtime: Runtime
    run: RunRow
    source: SourceRow
    context: EvaluationContext | None = None
    ids: Sequence[int] | None = None
    due: Sequence[int] = ()
    after: int = 0
    is_end_known: bool = False
    done: bool = False
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def evaluate(self, ids: Sequence[int] | None = None) -> None:
        """Evaluate the epics with these ids, in ascending order; None for all that are due."""
        self.ids, self.due, self.after, self.done = ids, (), 0, False
        if ids is None:
            async with self.runtime.sessions() as session:
                await self._find_due(session, await self.runtime.now(session))
            if not self.due:
                return  # as most quiet syncs: nothing is read for it, and nothing is locked
        try:
            # Two tasks: while the database stores the slice of one task, the other evaluates the next slice.
            # The second begins once the first has found that there is a next one.
            async with asyncio.TaskGroup() as evaluating:
                evaluating.create_task(self._evaluate_slices(evaluating))
        except ExceptionGroup as errors:
            raise errors.exceptions[0] from None  # its type decides what becomes of the run

    async def _evaluate_slices(self, tasks: asyncio.TaskGroup | None = None) -> None:
        while not self.done:
            async with self.runtime.transaction() as session:
                await without_synchronous_commit(session, BY_INDEXES)
                async with self.lock:
                    now = await self.runtime.now(session)
                    context, rows = await self._lock_slice(session, now)
                if tasks is not None and not self.done:
                    tasks.create_task(self._evaluate_slices())
                    tasks = None
                affected_run = self.run.id if self.run.evaluates == "affected" else None
                held = await _evaluate_rows(session, context, rows, self.run.id, now, affected_run)
                await renew_lease(
                    session, self.run, self.runtime.worker, now, ahead=self._ahead(rows), held=held
                )

    def _ahead(self, rows: Sequence[EpicRow]) -> bool:
        """Whether these epics are behind the run for good: affected ones are evaluated again from the run's
        last page when it is taken up."""
        return bool(rows) and self.ids is None

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
        return context, await self._take(session, now)

    async def _take(self, session: AsyncSession, now: datetime) -> Sequence[EpicRow]:
        if self.ids is not None:
            taken, self.ids = self.ids[:AFFECTED_SLICE_SIZE], self.ids[AFFECTED_SLICE_SIZE:]
            self.done = not self.ids
            return await lock_these_epics(session, taken)
        if not self.due:
            await self._find_due(session, now)
        taken, self.due = self.due[:SLICE_SIZE], self.due[SLICE_SIZE:]
        self.done = self.done or (self.is_end_known and not self.due)
        return await lock_due_epics(session, taken, now)

    async def _find_due(self, session: AsyncSession, now: datetime) -> None:
        self.due = await due_epics(session, self.source.id, now, self.after, DUE_AT_ONCE)
        self.is_end_known = len(self.due) < DUE_AT_ONCE
        self.after = self.due[-1] if self.due else self.after


async def evaluate_these(
    runtime: Runtime, source: SourceRow, run_id: int, epic_ids: Sequence[int], run: RunRow | None
) -> None:
    """Evaluate these epics in one transaction, for the run `run_id`; `run` is it, where it is claimed."""
    async with runtime.transaction() as session:
        await lock_goals_shared(session)
        await load_project_infos(session, source.id, lock=True)
        rows = await lock_epics(session, epic_ids)
        context = await runtime.evaluation_context(session, source)
        now = await runtime.now(session)
        held = await _evaluate_rows(session, context, rows, run_id, now)
        if run is not None:
            await renew_lease(session, run, runtime.worker, now, held=held)


async def _evaluate_rows(
    session: AsyncSession,
    context: EvaluationContext,
    rows: Sequence[EpicRow],
    run_id: int,
    now: datetime,
    affected_run: int | None = None,
) -> int:
    _, held = await evaluate_epics(session, rows, context, run_id, now, affected_run=affected_run)
    if rows:
        log_evaluated(rows)
    return held


def log_evaluated(rows: Sequence[EpicRow]) -> None:
    log.info("epics evaluated", epics=[row.key for row in rows[: logs.MAX_LOGGED_IDS]], evaluated=len(rows))
