"""What the judge decided, written back: links, findings, notices, alignment. Only what changed is written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

import orjson
from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncSession

from connectors.base import Marker
from mappings import tables
from mappings.linking import Linked, Resolution
from mappings.standard import Standard
from mappings.verdict import Decision, Wanted

DERIVED = ("rule", "ticket", "inherited")


@dataclass(frozen=True, slots=True)
class Ruling:
    row: tables.Epic
    links: Sequence[tables.Link]
    findings: Sequence[tables.Finding]
    notice: tables.Notice | None
    resolution: Resolution
    decision: Decision


async def record(
    session: AsyncSession, rulings: Sequence[Ruling], standard: Standard, run_id: int, now: datetime
) -> int:
    """Write the rulings of one slice, in the order of epic ids; how many notices became held.

    A notice that is to be written is queued for `run_id` but not yet released: that happens once
    the whole run is judged.
    """
    await _record_links(session, rulings)
    await _record_findings(session, rulings)
    held = await _record_notices(session, rulings, standard, run_id, now)
    over = [{"id": ruling.row.id} for ruling in rulings if ruling.decision.answer_over]
    await _bulk(
        session,
        "UPDATE command_comments SET answer = NULL FROM rows"
        " WHERE command_comments.epic_id = rows.id AND command_comments.answer IS NOT NULL",
        "id bigint",
        over,
    )
    verdicts = [
        {
            "id": ruling.row.id,
            "alignment": ruling.decision.alignment,
            "look_again_at": _moment(ruling.decision.look_again_at),
        }
        for ruling in rulings
    ]
    await _bulk(
        session,
        "UPDATE epics SET alignment = new.alignment, look_again_at = new.look_again_at, judged_at = :now"
        " FROM rows AS new WHERE epics.id = new.id",
        "id bigint, alignment text, look_again_at timestamptz",
        verdicts,
        now=now,
    )
    return held


def _moment(value: datetime | None) -> str | None:
    return None if value is None else value.isoformat()


async def _bulk(
    session: AsyncSession, statement: str, columns: str, rows: list[dict[str, Any]], **parameters: Any
) -> None:
    """Run `statement` once over `rows`, which it sees as the table of that name."""
    if not rows:
        return
    await session.execute(_over(columns, statement), {"rows": orjson.dumps(rows).decode(), **parameters})


@cache
def _over(columns: str, statement: str) -> TextClause:
    """One clause for each statement of this module, so that it is taken apart once."""
    source = f"WITH rows AS (SELECT * FROM json_to_recordset(CAST(:rows AS json)) AS r({columns})) "  # noqa: S608  (the column lists of this module)
    return text(source + statement)


async def _record_links(session: AsyncSession, rulings: Sequence[Ruling]) -> None:
    drop: list[dict[str, Any]] = []
    put: list[dict[str, Any]] = []
    for ruling in rulings:
        stood = {(link.key_result_id, link.origin): link for link in ruling.links if link.origin in DERIVED}
        hold = {_name(link): link for link in ruling.resolution.links if link.origin in DERIVED}
        drop += [{"id": link.id} for name, link in stood.items() if name not in hold]
        put += [
            {
                "epic_id": ruling.row.id,
                "key_result_id": link.key_result.id,
                "origin": link.origin,
                "rule_id": link.rule_id,
                "why": link.why,
            }
            for name, link in hold.items()
            if name not in stood or (stood[name].why, stood[name].rule_id) != (link.why, link.rule_id)
        ]
    await _bulk(session, "DELETE FROM links USING rows WHERE links.id = rows.id", "id bigint", drop)
    await _bulk(
        session,
        "INSERT INTO links (epic_id, key_result_id, origin, rule_id, why)"
        " SELECT epic_id, key_result_id, origin, rule_id, why FROM rows"
        " ON CONFLICT (epic_id, key_result_id, origin)"
        " DO UPDATE SET rule_id = excluded.rule_id, why = excluded.why",
        "epic_id bigint, key_result_id bigint, origin text, rule_id bigint, why text",
        put,
    )


def _name(link: Linked) -> tuple[int, str]:
    return link.key_result.id, link.origin


async def _record_findings(session: AsyncSession, rulings: Sequence[Ruling]) -> None:
    put: list[dict[str, Any]] = []
    for ruling in rulings:
        stood = {found.check: found for found in ruling.findings}
        for found in ruling.decision.findings:
            row = {
                "epic_id": ruling.row.id,
                "check": found.check,
                "state": found.state,
                "severity": found.severity,
                "detail": found.detail,
                "opened_at": _moment(found.opened_at),
                "until": _moment(found.until),
                "reason": found.reason,
            }
            before = stood.get(found.check)
            if before is None or any(_plain(getattr(before, name)) != row[name] for name in row):
                put.append(row)
    await _bulk(
        session,
        'INSERT INTO findings (epic_id, "check", state, severity, detail, opened_at, until, reason)'
        ' SELECT epic_id, "check", state, severity, detail, opened_at, until, reason FROM rows'
        ' ON CONFLICT (epic_id, "check") DO UPDATE SET state = excluded.state,'
        " severity = excluded.severity, detail = excluded.detail, opened_at = excluded.opened_at,"
        " until = excluded.until, reason = excluded.reason",
        'epic_id bigint, "check" text, state text, severity text, detail text,'
        " opened_at timestamptz, until timestamptz, reason text",
        put,
    )


def _plain(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


async def _record_notices(
    session: AsyncSession, rulings: Sequence[Ruling], standard: Standard, run_id: int, now: datetime
) -> int:
    drop: list[dict[str, Any]] = []
    call_off: list[dict[str, Any]] = []
    put: list[dict[str, Any]] = []
    held = 0
    for ruling in rulings:
        wanted, before = ruling.decision.notice, ruling.notice
        if ruling.decision.keep_notice:
            if before is not None and before.target is not None:
                call_off.append({"id": before.id})
        elif wanted is None:
            if before is not None:
                drop.append({"id": before.id})
        else:
            row = _notice(ruling, wanted, standard, run_id)
            if before is None or any(getattr(before, name) != value for name, value in row.items()):
                put.append(row)
                held += wanted.state == "held" and (before is None or before.state != "held")
    await _bulk(session, "DELETE FROM notices USING rows WHERE notices.id = rows.id", "id bigint", drop)
    await _bulk(
        session,
        "UPDATE notices SET target = NULL, due_at = NULL, body = coalesce(posted_body, body),"
        " facts_hash = coalesce(posted_hash, facts_hash),"
        " detail = CASE WHEN state NOT IN ('posted', 'resolved') THEN detail END"  # why it had to wait
        " FROM rows WHERE notices.id = rows.id",
        "id bigint",
        call_off,
    )
    await _bulk(session, _PUT_NOTICES, _NOTICE_COLUMNS, put, now=now)
    return held


_NOTICE_COLUMNS = (
    "epic_id bigint, state text, target text, reason text, detail text, body text,"
    " facts_hash text, run_id bigint"
)
# A write that is queued already keeps its place; one that is new, or another run's now, waits for the
# release of its run. What is withdrawn is so since it was, for only a later finding ends that. The guard's
# word holds until its reason is gone: who passed it long ago would come due with others, who is in
# shadow is asked for when the source goes live, and who is withdrawn when the finding opens anew.
_PUT_NOTICES = """
    INSERT INTO notices (epic_id, state, target, reason, detail, body, facts_hash, run_id, updated_at)
    SELECT epic_id, state, target, reason, detail, body, facts_hash, run_id, :now FROM rows
    ON CONFLICT (epic_id) DO UPDATE SET
        state = excluded.state, target = excluded.target, reason = excluded.reason,
        detail = excluded.detail, body = excluded.body, facts_hash = excluded.facts_hash,
        run_id = excluded.run_id,
        updated_at = CASE WHEN excluded.state = 'withdrawn' AND notices.state = 'withdrawn'
            THEN notices.updated_at ELSE excluded.updated_at END,
        guard = CASE WHEN excluded.state IN ('shadow', 'withdrawn') THEN NULL
            WHEN notices.guard = 'passed' AND excluded.reason IN ('grace', 'disputed') THEN NULL
            ELSE notices.guard END,
        taking_back = CASE WHEN excluded.target IS NOT NULL OR excluded.state <> 'withdrawn'
            THEN notices.taking_back END,
        due_at = CASE WHEN excluded.target IS NOT NULL AND notices.target IS NOT NULL
            AND notices.run_id = excluded.run_id THEN notices.due_at END
"""


def _notice(ruling: Ruling, wanted: Wanted, standard: Standard, run_id: int) -> dict[str, Any]:
    before = ruling.notice
    queued_anew = wanted.target is not None and (
        before is None or before.target != wanted.target or before.facts_hash != wanted.facts_hash
    )
    keeps_run = before is not None and before.run_id is not None and (not queued_anew or before.taking_back)
    return {
        "epic_id": ruling.row.id,
        "state": wanted.state,
        "target": wanted.target,
        "reason": wanted.reason,
        "detail": wanted.detail,
        "body": _text(ruling, wanted, standard),
        "facts_hash": wanted.facts_hash,
        "run_id": before.run_id if before is not None and keeps_run else run_id,
    }


def _text(ruling: Ruling, wanted: Wanted, standard: Standard) -> str:
    """As it is to stand on the tracker."""
    return standard.render(wanted.compose().document, Marker(standard.installation, ruling.row.id))


# --- what is shown before it is written -------------------------------------------------------


def is_to_come(notice: tables.Notice) -> bool:
    """Whether its text is still to be written: nothing of ours is on the ticket, or an edit is queued."""
    nothing_sent = notice.claimed_by is None and notice.unanswered_at is None
    return nothing_sent and (notice.remote_id is None or notice.target is not None)


def text_to_come(ruling: Ruling, standard: Standard) -> str | None:
    """The text that would be written now: other epics' links or the names of goals may have changed it since
    the judgement. None where the stored one holds: it is on the ticket or may be, nothing would be written,
    or the epic was read again and not judged yet, and the time shown is that of a judgement.
    """
    row, before, wanted = ruling.row, ruling.notice, ruling.decision.notice
    if before is None or not is_to_come(before) or wanted is None:
        return None
    is_judged = row.judged_at is not None and row.read_at <= row.judged_at
    return _text(ruling, wanted, standard) if is_judged else None
