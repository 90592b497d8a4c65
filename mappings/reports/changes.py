"""The entries of the audit log that the digest of a week is made of, read by an index and within a bound."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import func, select, text

from mappings.reports.week import READ, Digest, Entry, Line, digest
from mappings.rules.reports import report_rules
from mappings.tables import RuleRow

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

WEEK = timedelta(days=7)
ENTRIES_AT_MOST = 2_000  # of each kind of thing; an import or a bulk change may write far more

# Of each kind the newest, by the index of kinds; those that are alike are one row with their number.
_ENTRIES = text("""
    WITH recent AS (
        SELECT entry.*, coalesce(entry.after, entry.before) AS written
        FROM unnest(CAST(:kinds AS text[])) AS kinds (what)
        CROSS JOIN LATERAL (
            SELECT * FROM audit_log WHERE what = kinds.what ORDER BY id DESC LIMIT :most) AS entry
        WHERE entry.at > :since
    ), read AS (
        SELECT at, action, what,
            CASE what
                WHEN 'link' THEN written ->> 'key_result'
                WHEN 'finding' THEN regexp_replace(key, ' [^ ]*$', '')
                WHEN 'run' THEN coalesce(written ->> 'withdraws', written ->> 'accepts_run_id', key)
                ELSE key
            END AS key,
            CASE what
                WHEN 'source' THEN before -> 'notices' ->> 'mode' ELSE before ->> 'state'
            END AS was,
            CASE what WHEN 'source' THEN after -> 'notices' ->> 'mode' ELSE after ->> 'state' END AS now,
            CASE
                WHEN what = 'policy' THEN (
                    SELECT array_agg(member ORDER BY member)
                    FROM jsonb_object_keys(after -> 'policy') AS member
                    WHERE before -> 'policy' ? member
                        AND before -> 'policy' -> member <> after -> 'policy' -> member)
                WHEN what = 'key_result' AND action = 'changed' THEN (
                    SELECT array_agg(member ORDER BY member) FROM jsonb_object_keys(after) AS member)
                WHEN what = 'run' THEN (
                    SELECT array_agg(member ORDER BY member)
                    FROM jsonb_each_text(written) AS members (member, value) WHERE value IS NOT NULL)
            END AS members,
            CASE what WHEN 'finding' THEN after ->> 'until' END AS until,
            CASE what WHEN 'finding' THEN after ->> 'reason' END AS reason,
            CASE what WHEN 'notices' THEN jsonb_array_length(after -> 'ids') ELSE 1 END AS number,
            CASE WHEN what IN ('finding', 'key_result', 'objective', 'source') THEN id END AS apart
        FROM recent
    )
    SELECT max(at) AS at, action, what, key, was, now, members, until, reason, sum(number) AS number,
        count(*) AS entries
    FROM read
    GROUP BY action, what, key, was, now, members, until, reason, apart, date_trunc('day', at, 'UTC')
""")


@dataclass(frozen=True, slots=True)
class StoredRule:
    """`matches`: how many epics it links itself now, counted where it is the only rule of its line."""

    id: int
    matches: int | None


async def load_week(session: AsyncSession, now: datetime) -> Digest:
    """What changed in the seven days before `now`."""
    rows = await session.execute(
        _ENTRIES, {"kinds": list(READ), "most": ENTRIES_AT_MOST, "since": now - WEEK}
    )
    entries, read = [], dict.fromkeys(READ, 0)
    for row in rows:
        read[row.what] += row.entries
        entries.append(
            Entry(
                at=row.at,
                action=row.action,
                what=row.what,
                key=row.key or "",
                was=row.was,
                now=row.now,
                members=frozenset(row.members or ()),
                until=row.until,
                reason=row.reason,
                number=int(row.number),
            )
        )
    return digest(entries, cut=max(read.values()) >= ENTRIES_AT_MOST)


async def rules_of(session: AsyncSession, lines: Sequence[Line], now: datetime) -> dict[str, StoredRule]:
    """The rules that these lines name and that are still there, by their names."""
    names = {name for line in lines if line.kind.startswith("rule_") for name in line.names}
    if not names:
        return {}
    lowered = [name.lower() for name in names]
    rows = (await session.scalars(select(RuleRow).where(func.lower(RuleRow.name).in_(lowered)))).all()
    alone = {line.names[0] for line in lines if line.kind.startswith("rule_") and line.different == 1}
    reports = await report_rules(session, [row for row in rows if row.name in alone], now) if alone else {}
    return {
        row.name: StoredRule(row.id, reports[row.id].matches if row.id in reports else None) for row in rows
    }
