"""Evaluates new epics by the page that brings them, before they are stored, so that each is written once.
What is better evaluated once all is read is left to the end of the run."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import structlog
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from app.evaluation import log_evaluated
from app.sync.transaction import is_refused_data
from mappings.epics.rows import EVALUATION_COLUMNS
from mappings.evaluation.context import ProjectInfo
from mappings.evaluation.evaluator import evaluate_records
from mappings.evaluation.load import EpicRecords, new_row
from mappings.evaluation.record import record_links_and_findings
from mappings.locks import try_lock_goals_shared

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from app.runtime import Runtime
    from mappings.evaluation.context import EvaluationContext
    from mappings.evaluation.model import DesiredNotice
    from mappings.evaluation.record import Evaluation
    from mappings.tables import RunRow, SourceRow

log = structlog.get_logger()


class EvaluationRefused(Exception):
    """The database refuses what was found of new epics, whose tickets it may store."""


class NewEpics:
    """Evaluates the new epics of a run; see `epics.upsert.NewEpicsEvaluator`.

    Those with a parent are left, for it may come with a later page; and those whose comment would be written,
    or waits until their project is read completely.
    """

    def __init__(self, runtime: Runtime, run: RunRow, source: SourceRow) -> None:
        self._runtime, self._run, self._source = runtime, run, source
        self._context: EvaluationContext | None = None

    async def evaluate(
        self, session: AsyncSession, rows: Sequence[dict[str, Any]], now: datetime
    ) -> EvaluatedEpics | None:
        rows = [row for row in rows if row["parent_key"] is None]
        if not rows:
            return None
        present = _Present(self._source.id, sorted({row["project"] for row in rows}))
        await present.read(session, len(rows))
        try:
            evaluated = await self._evaluate(session, rows, present, now)
        except SQLAlchemyError:
            raise
        except Exception:
            # Here it would be taken for an error of the data that are stored, or keep them from being stored.
            # The evaluation at the end of the run meets it again, and fails the run for it.
            log.exception("new epics not evaluated with their page")
            return None
        return EvaluatedEpics(self._run.id, present, evaluated)

    async def _evaluate(
        self, session: AsyncSession, rows: Sequence[dict[str, Any]], present: _Present, now: datetime
    ) -> list[tuple[dict[str, Any], Evaluation]]:
        context = await self._present_context(session, present)
        if context is None:
            return []
        ids, source, tracker = present.ids, self._source.id, self._source.tracker
        new = [new_row(row, id, source, tracker, now) for row, id in zip(rows, ids, strict=True)]
        records = [EpicRecords(row, (), (), None) for row in new]
        evaluated: list[tuple[dict[str, Any], Evaluation]] = []
        for row, one in zip(rows, await evaluate_records(session, records, context, now), strict=True):
            decision = one.decision
            if row["project"] not in context.project_infos or _must_wait(decision.notice):
                continue
            row["id"], row["alignment"] = one.row.id, decision.alignment
            row["evaluate_at"] = decision.evaluate_at
            row["evaluated_at"], row["evaluated_version"] = now, context.version
            evaluated.append((row, one))
        return evaluated

    async def _present_context(self, session: AsyncSession, present: _Present) -> EvaluationContext | None:
        """None where the goals or the source change just now."""
        if self._context is None or not present.is_of(self._context):
            self._context = await self._runtime.evaluation_context(session, self._source)
            session.expunge(self._context.source)  # which another session's end would make unreadable
        if not present.is_of(self._context):
            return None
        return replace(self._context, project_infos=present.projects)


class EvaluatedEpics:
    """New epics, each row with its evaluation; see `epics.upsert.EvaluatedNewEpics`."""

    def __init__(
        self, run_id: int, present: _Present, evaluated: list[tuple[dict[str, Any], Evaluation]]
    ) -> None:
        self._run_id, self._present, self._evaluated = run_id, present, evaluated

    async def confirm(self, session: AsyncSession) -> None:
        # While a person changes goals, what was read is stored all the same.
        if await try_lock_goals_shared(session) and await self._present.lock_as_read(session):
            return
        for row, _ in self._evaluated:
            for name in EVALUATION_COLUMNS:
                del row[name]
        self._evaluated = []

    async def record(self, session: AsyncSession, stored: Collection[int], now: datetime) -> int:
        evaluated = [one for _, one in self._evaluated if one.row.id in stored]
        if not evaluated:
            return 0
        try:
            recorded = await record_links_and_findings(session, evaluated, self._run_id, now)
        except Exception as error:
            if is_refused_data(error):
                raise EvaluationRefused from error
            raise
        log_evaluated([one.row for one in evaluated])
        return recorded.held


class _Project(NamedTuple):
    """A project, with the versions of the goals and of its source."""

    key: str
    public: bool
    service_desk: bool
    fully_synced: bool
    goals_version: int
    source_version: int
    named_projects: dict[str, Any]


class _Present:
    """What the evaluation of these projects' epics depends on, besides the epics: as it was `read`."""

    def __init__(self, source_id: int, keys: Sequence[str]) -> None:
        self._given = {"source": source_id, "projects": keys}
        self._read: list[_Project] = []
        self.ids: Sequence[int] = ()

    async def read(self, session: AsyncSession, epics: int) -> None:
        """It, and `ids` for so many epics."""
        found = (await session.execute(_PROJECTS_AND_IDS, self._given | {"epics": epics})).all()
        self._read = [_Project(*project) for *project, _ in found]
        self.ids = found[0].ids if found else ()

    async def lock_as_read(self, session: AsyncSession) -> bool:
        """Lock it as an evaluation does, but for what another transaction holds; whether all of it is as it
        was read."""
        found = await session.execute(_LOCKED_PROJECTS, self._given)
        return [_Project(*project) for project in found] == self._read

    def is_of(self, context: EvaluationContext) -> bool:
        known = context.version, context.source.version, context.source.named_projects
        return bool(self._read) and known == self._read[0][-len(known) :]

    @property
    def projects(self) -> dict[str, ProjectInfo]:
        return {one.key: ProjectInfo(one.public, one.service_desk, one.fully_synced) for one in self._read}


def _must_wait(notice: DesiredNotice | None) -> bool:
    """Whether the notice is to be written, or may be once the project is read."""
    return notice is not None and (notice.target is not None or notice.reason == "stale")


_OF_PROJECTS = """
    FROM source_projects AS projects JOIN sources ON sources.id = projects.source_id CROSS JOIN installation
    WHERE projects.source_id = :source AND projects.key = ANY(:projects) ORDER BY projects.key
"""
_PROJECT = """
    projects.key, public, service_desk, fully_synced, goals_version, sources.version, named_projects
"""
_PROJECTS_AND_IDS = text(f"""
    SELECT {_PROJECT}, ARRAY(
        SELECT nextval(pg_get_serial_sequence('epics', 'id')) FROM generate_series(1, :epics)
    ) AS ids {_OF_PROJECTS}
""")  # noqa: S608  # of this module's own parts
_LOCKED_PROJECTS = text(f"SELECT {_PROJECT} {_OF_PROJECTS} FOR KEY SHARE OF projects SKIP LOCKED")  # as above
