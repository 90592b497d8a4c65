"""Record evaluations: links, findings, notices and alignment. Only changes are written."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import TextClause, text

from mappings.notices.state import PlannedNotice, cancel_writes, drop_notices, plan_notices
from mappings.tables import EpicRow, FindingRow, LinkRow, NoticeRow, among

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

    from mappings.evaluation.context import EvaluationContext
    from mappings.evaluation.model import Decision, DesiredNotice, EvaluationInput
    from mappings.links.resolve import Resolution, ResolvedLink

DERIVED_ORIGINS = ("rule", "ticket", "inherited")


@dataclass(slots=True)  # as in `mappings.evaluation.model`
class Evaluation:
    """The decision on one epic at one moment, with the rows it was made from. `on_ticket`: a comment of ours
    is on the ticket, or may be."""

    row: EpicRow
    links: Sequence[LinkRow]
    findings: Sequence[FindingRow]
    notice: NoticeRow | None
    evaluated: EvaluationInput
    decision: Decision
    on_ticket: bool = False

    @property
    def resolution(self) -> Resolution:
        return self.evaluated.resolution


@dataclass(frozen=True, slots=True)
class Recorded:
    """How many notices became held, and the epics whose links by a rule or their ticket have changed: those
    below them may inherit others now."""

    held: int
    passing_on: Sequence[EpicRow]


async def record_evaluations(
    session: AsyncSession,
    evaluations: Sequence[Evaluation],
    context: EvaluationContext,
    run_id: int,
    now: datetime,
) -> Recorded:
    """Record the evaluations of one slice, in the order of epic ids.

    A notice with a target is queued for `run_id` but not yet due: `release_writes` makes it due once
    the whole run is evaluated.
    """
    recorded = await record_links_and_findings(session, evaluations, run_id, now)
    expired = [{"id": evaluation.row.id} for evaluation in evaluations if evaluation.decision.answer_expired]
    await _bulk(
        session,
        "UPDATE command_comments SET answer = NULL FROM rows"
        " WHERE command_comments.epic_id = rows.id AND command_comments.answer IS NOT NULL",
        "id bigint",
        expired,
    )
    over = [{"id": evaluation.row.id} for evaluation in evaluations if evaluation.decision.set_aside_over]
    await _bulk(
        session,
        "UPDATE epics SET set_aside = NULL, set_aside_until = NULL, set_aside_decision_id = NULL FROM rows"
        " WHERE epics.id = rows.id",
        "id bigint",
        over,
    )
    evaluated = [
        {
            "id": evaluation.row.id,
            "alignment": evaluation.decision.alignment,
            "evaluate_at": _iso(evaluation.decision.evaluate_at),
        }
        for evaluation in evaluations
    ]
    await _bulk(
        session,
        "UPDATE epics SET alignment = new.alignment, evaluate_at = new.evaluate_at, evaluated_at = :now,"
        " evaluated_version = :version FROM rows AS new WHERE epics.id = new.id",
        "id bigint, alignment text, evaluate_at timestamptz",
        evaluated,
        now=now,
        version=context.version,
    )
    return recorded


async def record_links_and_findings(
    session: AsyncSession, evaluations: Sequence[Evaluation], run_id: int, now: datetime
) -> Recorded:
    """Record the links, findings and notices alone: the rows of the epics have the rest."""
    passing_on = await _record_links(session, evaluations)
    await _record_findings(session, evaluations)
    held = await _record_notices(session, evaluations, run_id, now)
    return Recorded(held, passing_on)


def _iso(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat()


async def _bulk(
    session: AsyncSession, statement: str, columns: str, rows: list[dict[str, Any]], **parameters: Any
) -> None:
    """Run `statement` once over `rows`, which it reads as the table `rows`."""
    if not rows:
        return
    await session.execute(
        _statement_over(columns, statement), {"rows": orjson.dumps(rows).decode(), **parameters}
    )


@cache
def _statement_over(columns: str, statement: str) -> TextClause:
    """The clause of a statement of this module, cached so that SQLAlchemy parses it once."""
    source = f"WITH rows AS (SELECT * FROM json_to_recordset(CAST(:rows AS json)) AS r({columns})) "  # noqa: S608  # the column lists of this module
    return text(source + statement)


async def _record_links(session: AsyncSession, evaluations: Sequence[Evaluation]) -> list[EpicRow]:
    """Store what changed of the links that no person made; the epics whose own ones among them changed."""
    drop: list[dict[str, Any]] = []
    unmark: list[dict[str, Any]] = []
    put: list[dict[str, Any]] = []
    passing_on: list[EpicRow] = []
    for evaluation in evaluations:
        if not evaluation.links and not evaluation.resolution.links:
            continue
        resolved = {
            _name(link): link for link in evaluation.resolution.links if link.origin in DERIVED_ORIGINS
        }
        existing = {
            (link.key_result_id, link.origin): link
            for link in evaluation.links
            if link.origin in DERIVED_ORIGINS
        }
        dropped = [name for name in existing if name not in resolved]
        changed = [
            name
            for name, link in resolved.items()
            if name not in existing or _members(existing[name]) != _values(link)
        ]
        drop += [{"id": existing[name].id} for name in dropped]
        # An epic has one primary link at most, also between two rows of one statement.
        unmark += [
            {"id": existing[name].id} for name in changed if name in existing and existing[name].is_primary
        ]
        for name in changed:
            values = dict(zip(_MEMBERS, _values(resolved[name]), strict=True))
            put.append({"epic_id": evaluation.row.id, "key_result_id": name[0], "origin": name[1], **values})
        if any([origin != "inherited" for _, origin in (*dropped, *changed)]):
            passing_on.append(evaluation.row)
    await _bulk(session, "DELETE FROM links USING rows WHERE links.id = rows.id", "id bigint", drop)
    await _bulk(
        session,
        "UPDATE links SET is_primary = false FROM rows WHERE links.id = rows.id",
        "id bigint",
        unmark,
    )
    await _bulk(session, _PUT_LINKS, _LINK_COLUMNS, put)
    return passing_on


_MEMBERS = ("why", "rule_id", "weight", "is_primary", "inherited_from")
_LINK_COLUMNS = (
    "epic_id bigint, key_result_id bigint, origin text, why text, rule_id bigint, weight double precision,"
    " is_primary boolean, inherited_from bigint"
)
_PUT_LINKS = (
    f"INSERT INTO links (epic_id, key_result_id, origin, {', '.join(_MEMBERS)})"  # noqa: S608  # column names
    f" SELECT epic_id, key_result_id, origin, {', '.join(_MEMBERS)} FROM rows"
    " ON CONFLICT (epic_id, key_result_id, origin)"
    f" DO UPDATE SET {', '.join(f'{name} = excluded.{name}' for name in _MEMBERS)}"
)


def _members(link: LinkRow) -> tuple[Any, ...]:
    return tuple(getattr(link, name) for name in _MEMBERS)


def _values(link: ResolvedLink) -> tuple[Any, ...]:
    above = link.inherited_from
    return link.why, link.rule_id, link.weight, link.primary, None if above is None else above.id


def _name(link: ResolvedLink) -> tuple[int, str]:
    return link.key_result.id, link.origin


async def _record_findings(session: AsyncSession, evaluations: Sequence[Evaluation]) -> None:
    put: list[dict[str, Any]] = []
    for evaluation in evaluations:
        existing = {found.check: found for found in evaluation.findings}
        for found in evaluation.decision.findings:
            row = {
                "epic_id": evaluation.row.id,
                "check": found.check,
                "state": found.state,
                "severity": found.severity,
                "detail": found.detail,
                "opened_at": _iso(found.opened_at),
                "resolved_at": _iso(found.resolved_at),
                "until": _iso(found.until),
                "reason": found.reason,
                "by": found.by,
                "changed_at": _iso(found.changed_at),
            }
            before = existing.get(found.check)
            if before is None or any(_plain(getattr(before, name)) != row[name] for name in row):
                put.append(row)
    await _bulk(
        session,
        'INSERT INTO findings (epic_id, "check", state, severity, detail, opened_at, resolved_at, until,'
        ' reason, by, changed_at) SELECT epic_id, "check", state, severity, detail, opened_at, resolved_at,'
        " until, reason, by, changed_at FROM rows"
        ' ON CONFLICT (epic_id, "check") DO UPDATE SET state = excluded.state,'
        " severity = excluded.severity, detail = excluded.detail, opened_at = excluded.opened_at,"
        " resolved_at = excluded.resolved_at, until = excluded.until, reason = excluded.reason,"
        " by = excluded.by, changed_at = excluded.changed_at",
        'epic_id bigint, "check" text, state text, severity text, detail text,'
        " opened_at timestamptz, resolved_at timestamptz, until timestamptz, reason text, by text,"
        " changed_at timestamptz",
        put,
    )


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


async def _record_notices(
    session: AsyncSession,
    evaluations: Sequence[Evaluation],
    run_id: int,
    now: datetime,
) -> int:
    drop: list[int] = []
    cancelled: list[int] = []
    planned: list[PlannedNotice] = []
    held = 0
    for evaluation in evaluations:
        desired, before = evaluation.decision.notice, evaluation.notice
        if evaluation.decision.keep_notice:
            if before is not None and before.target is not None:
                cancelled.append(before.id)
        elif desired is None:
            if before is not None:
                drop.append(before.id)
        else:
            notice = _planned(evaluation, desired, run_id)
            if before is None or any(getattr(before, name) != value for name, value in notice.row.items()):
                planned.append(notice)
                held += desired.state == "held" and (before is None or before.state != "held")
    await drop_notices(session, drop)
    if cancelled:
        await cancel_writes(session, among(NoticeRow.id, cancelled))
    await plan_notices(session, planned, now)
    return held


def _planned(evaluation: Evaluation, desired: DesiredNotice, run_id: int) -> PlannedNotice:
    before = evaluation.notice
    new_write = desired.target is not None and (
        before is None
        or before.target != desired.target
        or before.facts_hash != desired.facts_hash
        or (desired.answers and not before.answers)  # it waits for no edits of others any more
    )
    keeps_run = before is not None and before.run_id is not None and (not new_write or before.withdraw_action)
    return PlannedNotice(
        epic_id=evaluation.row.id,
        before=None if before is None else before.state,
        on_ticket=evaluation.on_ticket,
        state=desired.state,
        target=desired.target,
        reason=desired.reason,
        detail=desired.detail,
        facts_hash=desired.facts_hash,
        answers=desired.answers,
        run_id=before.run_id if before is not None and before.run_id is not None and keeps_run else run_id,
    )
