"""What happened to one epic, as far as it is stored: what people changed, findings, writes on its ticket."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import Select, Text, cast, func, literal, null, select, union_all
from sqlalchemy.dialects.postgresql import JSONB

from mappings.policy.durations import last_day
from mappings.tables import (
    MANUAL_ORIGINS,
    AuditEntryRow,
    DecisionRow,
    EpicKeyHistoryRow,
    EpicRow,
    EpicStageRow,
    NoticeWriteRow,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from sqlalchemy.ext.asyncio import AsyncSession

    from mappings.evaluation.load import EpicRecords
    from mappings.goals.key_results import KeyResult

MOST_MOMENTS = 50
AUDITED = ("link", "finding", "rejection", "stage")


@dataclass(frozen=True, slots=True)
class Moment:
    """`run`: the run that a write belongs to."""

    at: datetime
    words: str
    run: int | None = None


async def epic_history(
    session: AsyncSession,
    source: str,
    records: EpicRecords,
    goals: Mapping[int, KeyResult],
    *,
    audited: bool,
) -> list[Moment]:
    """The newest first. `audited`: with the entries of the audit log, which not everybody may read; else with
    what the links and findings say of themselves. One statement."""
    row = records.row
    found = [
        Moment(row.tracker_created_at, "Created in the tracker"),
        *_of_findings(records, audited=audited),
    ]
    if not audited:
        found += [
            Moment(link.created_at, f"Linked to {goals[link.key_result_id].key}: {link.why}")
            for link in records.links
            if link.origin in MANUAL_ORIGINS
        ]
    stored = await session.execute(_stored(source, row, audited=audited))
    for one in stored:
        found += _moments(one)
    return sorted(found, key=lambda moment: moment.at, reverse=True)[:MOST_MOMENTS]


def _stored(source: str, row: EpicRow, *, audited: bool) -> Any:
    writes = (
        select(
            NoticeWriteRow.at,
            literal("write").label("what"),
            NoticeWriteRow.kind.label("action"),
            cast(null(), Text).label("who"),
            cast(NoticeWriteRow.run_id, Text).label("key"),
            cast(null(), JSONB).label("before"),
            cast(null(), JSONB).label("after"),
        )
        .where(NoticeWriteRow.epic_id == row.id)
        .order_by(NoticeWriteRow.id.desc())
        .limit(MOST_MOMENTS)
    )
    decisions = (
        select(
            DecisionRow.decided_at,
            literal("decision"),
            DecisionRow.decision,
            DecisionRow.recorded_by,
            DecisionRow.reason,
            cast(null(), JSONB),
            func.jsonb_build_object("undone_at", DecisionRow.undone_at, "undone_by", DecisionRow.undone_by),
        )
        .where(DecisionRow.epic_id == row.id)
        .order_by(DecisionRow.id.desc())
        .limit(MOST_MOMENTS)
    )
    if not audited:
        return union_all(writes.subquery().select(), decisions.subquery().select(), _stage_of(row))
    former = select(func.concat(source.lower() + "/", EpicKeyHistoryRow.key)).where(
        EpicKeyHistoryRow.epic_id == row.id
    )
    names = union_all(select(literal(f"{source}/{row.key}".lower())), former)
    entries = (
        select(
            AuditEntryRow.at,
            AuditEntryRow.what,
            AuditEntryRow.action,
            AuditEntryRow.who,
            AuditEntryRow.key,
            AuditEntryRow.before,
            AuditEntryRow.after,
        )
        .where(AuditEntryRow.what.in_(AUDITED))
        .where(func.lower(func.split_part(AuditEntryRow.key, " ", 1)).in_(names))
        .order_by(AuditEntryRow.id.desc())
        .limit(MOST_MOMENTS)
    )
    return union_all(writes.subquery().select(), decisions.subquery().select(), entries.subquery().select())


def _stage_of(row: EpicRow) -> Select[Any]:
    """Since when it is at its stage: what was before the audit log alone knows."""
    return select(
        EpicStageRow.entered_at,
        literal("stage"),
        literal("changed"),
        EpicStageRow.changed_by,
        literal(""),
        cast(null(), JSONB),
        func.jsonb_build_object("stage", EpicStageRow.stage),
    ).where(EpicStageRow.epic_id == row.id)


_WRITES = {
    "posted": "Comment written on the ticket",
    "edited": "Comment edited",
    "resolved": "Comment became one line",
    "withdrawn": "Comment withdrawn",
    "failed": "The comment could not be written",
}
_LINKS = {
    ("link", "created"): "linked it to {goal}",
    ("link", "changed"): "changed its link to {goal}",
    ("link", "deleted"): "took its link to {goal} back",
    ("rejection", "created"): "said that {goal} does not fit",
    ("rejection", "deleted"): "let {goal} be suggested again",
}


def _moments(one: Any) -> Iterator[Moment]:
    match one.what:
        case "write":
            yield Moment(one.at, _WRITES[one.action], int(one.key))
        case "finding":
            yield Moment(one.at, f"{one.who} {_decided(one.after or {})}")
        case "stage":
            yield Moment(one.at, f"{one.who or 'Somebody'} {_moved(one.after or {})}")
        case "decision":
            yield Moment(one.at, f"Decided to {one.action} it: {one.key}")
            if one.after["undone_at"] is not None:
                at = datetime.fromisoformat(one.after["undone_at"])
                yield Moment(
                    at, f"{one.after['undone_by'] or 'Somebody'} undid the decision to {one.action} it"
                )
        case _ if (words := _LINKS.get((one.what, one.action))) is not None:
            yield Moment(one.at, f"{one.who} {words.format(goal=one.key.rpartition(' ')[2])}")


def _moved(after: Mapping[str, Any]) -> str:
    """An entry has only what changed; where the stage was deleted, nothing."""
    words = [f"moved it to the stage {after['stage']}"] if "stage" in after else []
    if after.get("measure"):
        words.append(f"measured by {after['measure']}")
    if after.get("due"):
        words.append(f"until {after['due']}")
    return ", ".join(words) or "took its stage back"


def _decided(after: Mapping[str, Any]) -> str:
    state = {"open": "reopened the finding"}.get(
        after.get("state", ""), f"{after.get('state', 'changed')} it"
    )
    until = after.get("until")
    until = "" if until is None else f" until {last_day(datetime.fromisoformat(until))}"
    return f"{state}{until}" + (f": {after['reason']}" if after.get("reason") else "")


def _of_findings(records: EpicRecords, *, audited: bool) -> Iterator[Moment]:
    for one in records.findings:
        yield Moment(one.opened_at, f"{one.check} found: {one.detail}")
        if one.resolved_at is not None:
            yield Moment(one.resolved_at, f"{one.check} resolved")
        if not audited and one.changed_at is not None:
            after = {"state": one.state, "until": one.until and one.until.isoformat(), "reason": one.reason}
            yield Moment(one.changed_at, f"{one.by or 'Somebody'} {_decided(after)}")
