"""Evaluates new epics in the transaction that stores them, by the page that brought them, so that each is
written once. What is better evaluated once all is read is left to the evaluation at the end of the run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from app.evaluation import log_evaluated
from mappings.evaluation.context import ProjectInfo
from mappings.evaluation.evaluator import evaluate_records
from mappings.evaluation.load import EpicRecords, new_row
from mappings.evaluation.record import record_links_and_findings
from mappings.locks import try_lock_goals_shared

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

    from app.runtime import Runtime
    from mappings.evaluation.context import EvaluationContext
    from mappings.evaluation.model import DesiredNotice
    from mappings.evaluation.record import Evaluation
    from mappings.tables import RunRow, SourceRow

log = structlog.get_logger()


class NewEpics:
    """The new epics of a run's transactions, one after the other; see `epics.upsert.NewEpicsEvaluator`.

    Those with a parent are left, for it may come with a later page; and those whose comment would be written,
    or waits until their project is read completely.
    """

    def __init__(self, runtime: Runtime, run: RunRow, source: SourceRow) -> None:
        self._runtime, self._run, self._source = runtime, run, source
        self._context: EvaluationContext | None = None
        self._evaluated: list[Evaluation] = []

    async def evaluate(self, session: AsyncSession, rows: Sequence[dict[str, Any]]) -> None:
        self._evaluated = []
        rows = [row for row in rows if row["parent_key"] is None]
        if not rows or not await try_lock_goals_shared(session):
            return  # while a person changes goals, what was read is stored all the same
        try:
            self._evaluated = await self._evaluate(session, rows)
        except SQLAlchemyError:
            raise
        except Exception:
            # Here it would be taken for an error of the data that are stored, or keep them from being stored.
            # The evaluation at the end of the run meets it again, and fails the run for it.
            log.exception("new epics not evaluated with their page")

    async def record(self, session: AsyncSession, stored: Collection[int]) -> int:
        evaluated = [one for one in self._evaluated if one.row.id in stored]
        if not evaluated:
            return 0
        now = await self._runtime.now(session)
        recorded = await record_links_and_findings(session, evaluated, self._run.id, now)
        log_evaluated([one.row for one in evaluated])
        return recorded.held

    async def _evaluate(self, session: AsyncSession, rows: Sequence[dict[str, Any]]) -> list[Evaluation]:
        now = await self._runtime.now(session)
        found = await self._lock_projects(session, rows)
        if not found:
            return []
        context = await self._present_context(session, found)
        new = [
            new_row(row, id, self._source.id, self._source.tracker, now)
            for row, id in zip(rows, found[0].ids, strict=True)
        ]
        records = [EpicRecords(row, (), (), None) for row in new]
        evaluated: list[Evaluation] = []
        for row, one in zip(rows, await evaluate_records(session, records, context, now), strict=True):
            decision = one.decision
            if row["project"] not in context.project_infos or _must_wait(decision.notice):
                continue
            row["id"], row["alignment"] = one.row.id, decision.alignment
            row["evaluate_at"] = decision.evaluate_at
            row["evaluated_at"], row["evaluated_version"] = now, context.version
            evaluated.append(one)
        return evaluated

    async def _lock_projects(self, session: AsyncSession, rows: Sequence[dict[str, Any]]) -> Sequence[Any]:
        """The projects of these epics, locked as by an evaluation, without those that another
        transaction has; each with an id for each epic, and with the versions of goals and source."""
        projects = sorted({row["project"] for row in rows})
        given = {"source": self._source.id, "projects": projects, "epics": len(rows)}
        return (await session.execute(_LOCK_PROJECTS, given)).all()

    async def _present_context(self, session: AsyncSession, projects: Sequence[Any]) -> EvaluationContext:
        present, context = projects[0], self._context
        versions = present.goals_version, present.source_version
        if context is None or versions != (context.version, context.source.version):
            context = self._context = await self._runtime.evaluation_context(session, self._source)
        infos = {one.key: ProjectInfo(one.public, one.service_desk, one.fully_synced) for one in projects}
        return replace(context, project_infos=infos)


def _must_wait(notice: DesiredNotice | None) -> bool:
    """Whether the notice is to be written, or may be once the project is read."""
    return notice is not None and (notice.target is not None or notice.reason == "stale")


_LOCK_PROJECTS = text("""
    SELECT projects.key, public, service_desk, fully_synced, goals_version, sources.version AS source_version,
        ARRAY(SELECT nextval(pg_get_serial_sequence('epics', 'id')) FROM generate_series(1, :epics)) AS ids
    FROM source_projects AS projects JOIN sources ON sources.id = projects.source_id CROSS JOIN installation
    WHERE projects.source_id = :source AND projects.key = ANY(:projects)
    ORDER BY projects.key FOR KEY SHARE OF projects SKIP LOCKED
""")
