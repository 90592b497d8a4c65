"""What a person may do to the findings of a selection, as one change; and taking such a change back.

The caller has the epics evaluated before it answers (`pipeline.evaluate_at_once` takes `runs`).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, cast

from sqlalchemy import select

from mappings.checks.registry import checks_on_tickets
from mappings.errors import Conflict
from mappings.evaluation.findings import shown_row
from mappings.evaluation.operations import set_finding, why_not_changed
from mappings.locks import lock_epics_and_sources
from mappings.lookups import why_removed
from mappings.runs.reevaluation import open_evaluations
from mappings.tables import EpicRow, FindingRow, LinkRow, among

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

    from mappings.evaluation.model import FindingState
    from mappings.evaluation.operations import AskedState


@dataclass(frozen=True, slots=True)
class FindingValues:
    """What a person made of a finding."""

    state: FindingState
    until: datetime | None
    reason: str | None
    by: str | None
    changed_at: datetime | None

    @classmethod
    def of(cls, row: FindingRow) -> FindingValues:
        return cls(cast("FindingState", row.state), row.until, row.reason, row.by, row.changed_at)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> FindingValues:
        at = {name: stored[name] and datetime.fromisoformat(stored[name]) for name in ("until", "changed_at")}
        return cls(**{**stored, **at})

    def as_json(self) -> dict[str, Any]:
        values = asdict(self)
        return {name: _text(value) for name, value in values.items()}


def _text(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


@dataclass(frozen=True, slots=True)
class FindingChange:
    id: int
    before: FindingValues
    after: FindingValues


@dataclass(slots=True)
class ChangedFindings:
    """`left`: of each finding that stays as it is, why, by its id. `runs` evaluate the epics."""

    changes: list[FindingChange] = field(default_factory=list)
    left: dict[int, str] = field(default_factory=dict)
    runs: list[int] = field(default_factory=list)


async def change_findings(
    session: AsyncSession, finding_ids: Sequence[int], asked: AskedState, now: datetime
) -> ChangedFindings:
    """Give each of these findings on epics the state that is asked for (`operations.waiver`, …); one that is
    resolved, gone, or not what the change is about is left, and stops no other."""
    rows, epics = await _locked(session, finding_ids)
    found = ChangedFindings()
    changed: list[EpicRow] = []
    for id in dict.fromkeys(finding_ids):
        row = rows.get(id)
        if row is None or row.epic_id not in epics:
            found.left[id] = "The finding is gone."
            continue
        epic = epics[row.epic_id]
        why = why_not_changed(row, asked)
        if epic.removed_at is not None:
            why = f"{why_removed(epic.key, epic.removed_at, epic.removal_reason)}."
        if why is not None:
            found.left[id] = why
            continue
        before = FindingValues.of(row)
        await set_finding(session, row, asked.state, asked.until, asked.reason, now)
        found.changes.append(FindingChange(id, before, FindingValues.of(row)))
        changed.append(epic)
    found.runs = await open_evaluations(session, changed, now)
    return found


async def shown_findings(session: AsyncSession, epic_ids: Iterable[int]) -> dict[int, int]:
    """The id of the unresolved finding that each epic's ticket shows, or would, by the epic's id; an epic
    with none is left out."""
    on_tickets = checks_on_tickets()
    rows = await session.execute(
        select(FindingRow.epic_id, FindingRow.id, FindingRow.check, FindingRow.state)
        .where(among(FindingRow.epic_id, epic_ids), FindingRow.state != "resolved")
        .where(FindingRow.check.in_(on_tickets))
    )
    by_epic: dict[int, list[Any]] = {}
    for row in rows:
        by_epic.setdefault(row.epic_id, []).append(row)
    shown = {epic_id: shown_row(found, on_tickets) for epic_id, found in by_epic.items()}
    return {epic_id: row.id for epic_id, row in shown.items() if row is not None}


async def restore_findings(
    session: AsyncSession, changes: Sequence[FindingChange], now: datetime
) -> list[int]:
    """Give each finding what it had before the change, all or none; the ids of the runs.

    Raises `Conflict` where one is no longer as the change left it."""
    rows, epics = await _locked(session, [change.id for change in changes])
    for change in changes:
        row = rows.get(change.id)
        if row is None or (row.epic_id is not None and row.epic_id not in epics):
            raise Conflict("A finding of this change is gone. Nothing was undone.")
        if FindingValues.of(row) != change.after:
            name = "A finding" if row.epic_id is None else f"The finding of {epics[row.epic_id].key}"
            by = f" by {row.by}" if row.by else ""
            raise Conflict(f"{name} has changed since: it is {row.state}{by}. Nothing was undone.")
        before = change.before
        await set_finding(session, row, before.state, before.until, before.reason, now)
        row.by, row.changed_at = before.by, before.changed_at
    return await open_evaluations(session, epics.values(), now)


async def answers_of(session: AsyncSession, link_ids: Iterable[int]) -> dict[int, FindingValues]:
    """What persons made of the findings of the epics of these links, by the finding's id: those that are
    snoozed, waived or disputed, which a link is about to resolve."""
    answered = (
        select(FindingRow)
        .join(LinkRow, LinkRow.epic_id == FindingRow.epic_id)
        .where(among(LinkRow.id, link_ids), FindingRow.state.not_in(("open", "resolved")))
    )
    return {row.id: FindingValues.of(row) for row in await session.scalars(answered)}


async def answer_again(session: AsyncSession, answers: Mapping[int, FindingValues], now: datetime) -> None:
    """Give each of these findings that is resolved since the answer that it had, in the transaction that
    takes the link back and has the epic evaluated; one that somebody changed since stays as it is."""
    rows, _ = await _locked(session, answers)
    for id, before in answers.items():
        row = rows.get(id)
        if row is not None and row.state == "resolved":
            await set_finding(session, row, before.state, before.until, before.reason, now)
            row.by, row.changed_at, row.resolved_at = before.by, before.changed_at, None


async def _locked(
    session: AsyncSession, finding_ids: Iterable[int]
) -> tuple[dict[int, FindingRow], dict[int, EpicRow]]:
    """The findings and their epics by their ids, so locked that no evaluation undoes the change."""
    ids = sorted(set(finding_ids))
    named = select(EpicRow.id).join(FindingRow, FindingRow.epic_id == EpicRow.id)
    # The sources before the epics, as their deletion locks them; the epics before the findings.
    epic_ids = sorted(set(await session.scalars(named.where(among(FindingRow.id, ids)))))
    epics = {row.id: row for row in await lock_epics_and_sources(session, epic_ids)}
    findings = select(FindingRow).where(among(FindingRow.id, ids)).order_by(FindingRow.id)
    rows = await session.scalars(findings.with_for_update().execution_options(populate_existing=True))
    return {row.id: row for row in rows}, epics
