"""Evaluate goals and sources: the findings of the checks about them, all at once.

Only changes are written.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from mappings.checks.check import Check, GoalFacts, ObjectiveFacts, SourceFacts
from mappings.checks.registry import CHECKS
from mappings.evaluation.context import load_key_results
from mappings.evaluation.findings import next_finding
from mappings.evaluation.load import finding_of
from mappings.locks import lock_goals_shared
from mappings.policy.document import CheckPolicy, effective_policy
from mappings.policy.operations import load_policy
from mappings.tables import CycleRow, FindingRow, ObjectiveRow, SourceRow, among

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from mappings.evaluation.model import Finding
    from mappings.goals.key_results import GoalState

Column = Literal["objective_id", "key_result_id", "source_id"]
COLUMNS: tuple[Column, ...] = get_args(Column)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a finding belongs: the column and id of a goal or source, and the check."""

    column: Column
    id: int
    check: str


@dataclass(frozen=True, slots=True)
class _Answer:
    """A check's answer: the gap in words, None where there is none, and how severe it would be."""

    gap: str | None
    severity: str

    def finding(self, check: str, before: FindingRow | None, now: datetime) -> Finding | None:
        return next_finding(
            check, None if before is None else finding_of(before), self.gap, self.severity, now
        )


async def evaluate_goals_and_sources(
    session: AsyncSession, now: datetime, checks: Sequence[Check[Any]] = CHECKS
) -> None:
    """Open, keep, resolve and open again the findings on goals and sources.

    Those of checks that left the registry are resolved. Any number of callers may do so at once. The
    transaction must hold no other lock yet.
    """
    if all(check.about == "epic" for check in checks) and not await _any_unresolved(session):
        return
    await lock_goals_shared(session)
    answers = await _answers(session, checks, now)
    rows = await session.scalars(select(FindingRow).where(FindingRow.epic_id.is_(None)))
    before = {_place(row): row for row in rows}
    for place, row in before.items():
        # No check of the registry asks there any more, so there is no gap.
        answers.setdefault(place, _Answer(None, row.severity))
    opened: dict[_Place, Finding] = {}
    changed: list[int] = []
    for place, answer in answers.items():
        existing = before.get(place)
        finding = answer.finding(place.check, existing, now)
        if existing is None and finding is not None:
            opened[place] = finding
        elif existing is not None and finding != finding_of(existing):
            changed.append(existing.id)
    await _change(session, changed, answers, now)
    await _open(session, opened)


async def _any_unresolved(session: AsyncSession) -> bool:
    """Whether a finding on a goal or a source is unresolved."""
    unresolved = select(FindingRow.id).where(FindingRow.epic_id.is_(None), FindingRow.state != "resolved")
    return await session.scalar(unresolved.limit(1)) is not None


async def _answers(
    session: AsyncSession, checks: Sequence[Check[Any]], now: datetime
) -> dict[_Place, _Answer]:
    """What each check says of each goal or source that it is about."""
    policy = await load_policy(session)
    answers: dict[_Place, _Answer] = {}
    of_goals = [check for check in checks if check.about == "goal"]
    if of_goals:
        settings = effective_policy(policy, "", "", of_goals).checks
        for column, id, goal in await _goals(session):
            answers.update(_ask(of_goals, settings, column, id, goal, now))
    of_sources = [check for check in checks if check.about == "source"]
    if of_sources:
        for id, source in await _sources(session):
            settings = effective_policy(policy, source.name, "", of_sources).checks
            answers.update(_ask(of_sources, settings, "source_id", id, source, now))
    return answers


def _ask(
    checks: Iterable[Check[Any]],
    settings: Mapping[str, CheckPolicy],
    column: Column,
    id: int,
    facts: GoalFacts | SourceFacts,
    now: datetime,
) -> Iterator[tuple[_Place, _Answer]]:
    for check in checks:
        setting = settings[check.name]
        gap = check.find(facts, now) if setting.on else None
        yield _Place(column, id, check.name), _Answer(gap, setting.severity)


async def _goals(session: AsyncSession) -> list[tuple[Column, int, GoalFacts]]:
    rows = await session.execute(
        select(ObjectiveRow, CycleRow.ends)
        .outerjoin(CycleRow, CycleRow.id == ObjectiveRow.cycle_id)
        .order_by(ObjectiveRow.id)
    )
    goals: list[tuple[Column, int, GoalFacts]] = [
        (
            "objective_id",
            row.id,
            ObjectiveFacts(
                key=row.key,
                title=row.title,
                driver=row.driver,
                owner=row.owner,
                sponsor=row.sponsor,
                state=cast("GoalState", row.state),
                cycle_ends=ends,
            ),
        )
        for row, ends in rows
    ]
    key_results = await load_key_results(session)
    return goals + [("key_result_id", id, goal) for id, goal in key_results.items()]


async def _sources(session: AsyncSession) -> list[tuple[int, SourceFacts]]:
    return [
        (
            row.id,
            SourceFacts(
                name=row.name,
                kind=row.kind,
                created_at=row.created_at,
                health_state=row.health_state,
                health_checked_at=row.health_checked_at,
            ),
        )
        for row in await session.scalars(select(SourceRow).order_by(SourceRow.id))
    ]


# --- writing ----------------------------------------------------------------------------------


def _place(row: FindingRow) -> _Place:
    for column in COLUMNS:
        id = getattr(row, column)
        if id is not None:
            return _Place(column, id, row.check)
    raise LookupError(f"finding {row.id} is on no goal and no source")


async def _change(
    session: AsyncSession, ids: Sequence[int], answers: Mapping[_Place, _Answer], now: datetime
) -> None:
    """Write the findings that changed. Each is locked and decided once more: a person may have waived it."""
    if not ids:
        return
    query = select(FindingRow).where(among(FindingRow.id, ids)).order_by(FindingRow.id).with_for_update()
    for row in await session.scalars(query.execution_options(populate_existing=True)):
        place = _place(row)
        finding = answers[place].finding(place.check, row, now)
        if finding is not None:
            for name, value in _values(finding).items():
                setattr(row, name, value)


async def _open(session: AsyncSession, opened: Mapping[_Place, Finding]) -> None:
    """Store new findings, but for those that another caller has stored, or whose source is locked: it may be
    about to be deleted, and else has its turn at the next sweep."""
    ids = {place.id for place in opened if place.column == "source_id"}
    kept = select(SourceRow.id).where(among(SourceRow.id, ids)).order_by(SourceRow.id)
    kept = kept.with_for_update(read=True, key_share=True, skip_locked=True)
    sources = set(await session.scalars(kept)) if ids else ids
    new = [
        {**dict.fromkeys(COLUMNS), place.column: place.id, "check": place.check, **_values(finding)}
        for place, finding in opened.items()
        if place.column != "source_id" or place.id in sources
    ]
    if new:
        await session.execute(insert(FindingRow).on_conflict_do_nothing(), new)


def _values(finding: Finding) -> dict[str, Any]:
    return {
        "state": finding.state,
        "severity": finding.severity,
        "detail": finding.detail,
        "opened_at": finding.opened_at,
        "resolved_at": finding.resolved_at,
        "until": finding.until,
        "reason": finding.reason,
        "by": finding.by,
        "changed_at": finding.changed_at,
    }
