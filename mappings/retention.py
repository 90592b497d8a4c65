"""Rows that are deleted after a time; docs/bounds.md describes all that can grow.

Each call deletes a few hundred rows at most and skips rows that another transaction has locked, so any number
of processes may call it at once. `mappings.webhooks.queue.delete_old_deliveries` deletes deliveries.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import text

from mappings.tables import MANUAL_ORIGINS

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

DELETED_AT_ONCE = 500
# The cursors of a run are not used once it has ended.
RUN_CURSORS_KEPT = timedelta(hours=1)
RUNS_KEPT = REMOVED_EPICS_KEPT = timedelta(days=400)
COVERAGE_DAYS_KEPT = timedelta(days=1100)
WEB_SESSIONS_KEPT = timedelta(hours=12)  # so long is a person signed in at the most

# Our comment is on the ticket, or may be.
_POSSIBLY_ON_TICKET = (
    "(notices.remote_id IS NOT NULL OR notices.write_unconfirmed_at IS NOT NULL"
    " OR notices.claimed_by IS NOT NULL)"
)

_RUN_CURSORS = text("""
    DELETE FROM run_cursors WHERE ctid = ANY(ARRAY(
        SELECT run_cursors.ctid FROM run_cursors
        JOIN runs ON runs.id = run_cursors.run_id AND runs.finished_at < :before
        ORDER BY run_cursors.run_id LIMIT :most FOR UPDATE OF run_cursors SKIP LOCKED))
""")

# The newest run of each outcome stays: it shows whether a source was ever read in full, when, and in which
# mode. A run whose comment may still be on a ticket also stays, because a person may withdraw it.
_RUNS = text(f"""
    DELETE FROM runs WHERE id = ANY(ARRAY(
        SELECT id FROM runs WHERE finished_at < :before
        AND NOT EXISTS (SELECT FROM notices WHERE notices.run_id = runs.id)
        AND NOT EXISTS (SELECT FROM notice_writes made JOIN notices ON notices.epic_id = made.epic_id
            WHERE made.run_id = runs.id AND made.kind = 'posted'
                AND {_POSSIBLY_ON_TICKET})
        AND NOT EXISTS (SELECT FROM held_removals WHERE held_removals.run_id = runs.id)
        AND NOT EXISTS (SELECT FROM runs other WHERE other.withdraws = runs.id)
        AND NOT EXISTS (SELECT FROM runs other WHERE other.accepts_run_id = runs.id)
        AND (mode NOT IN ('incremental', 'full') OR EXISTS (
            SELECT FROM runs later WHERE later.source_id = runs.source_id AND later.id > runs.id
            AND later.mode = runs.mode AND later.state = runs.state
            AND (later.notices_mode, later.tracker, later.error ->> 'code')
                IS NOT DISTINCT FROM (runs.notices_mode, runs.tracker, runs.error ->> 'code')))
        ORDER BY id LIMIT :most FOR UPDATE SKIP LOCKED))
""")  # noqa: S608  # of this module's own parts

# An epic that comes back after its deletion is stored as new. So epics with decisions of a person or of a
# committee stay, and those with executed command comments: the commands of an old comment that is edited must
# not run again.
_REMOVED_EPICS = text(f"""
    DELETE FROM epics WHERE id = ANY(ARRAY(
        SELECT id FROM epics WHERE removed_at < :before
        AND NOT EXISTS (SELECT FROM notices WHERE epic_id = epics.id AND {_POSSIBLY_ON_TICKET})
        AND NOT EXISTS (SELECT FROM links WHERE epic_id = epics.id AND origin = ANY(:manual))
        AND NOT EXISTS (SELECT FROM findings WHERE epic_id = epics.id
            AND state IN ('snoozed', 'waived', 'disputed'))
        AND NOT EXISTS (SELECT FROM command_comments WHERE epic_id = epics.id)
        AND NOT EXISTS (SELECT FROM decisions WHERE epic_id = epics.id)
        AND NOT EXISTS (SELECT FROM conflicts WHERE epic_id = epics.id)
        AND NOT EXISTS (SELECT FROM epic_values WHERE epic_id = epics.id)
        AND NOT EXISTS (SELECT FROM epic_stages WHERE epic_id = epics.id)
        AND NOT EXISTS (SELECT FROM scores WHERE epic_id = epics.id)
        AND NOT EXISTS (SELECT FROM value_estimates WHERE epic_id = epics.id)
        ORDER BY id LIMIT :most FOR UPDATE SKIP LOCKED))
""").bindparams(manual=list(MANUAL_ORIGINS))  # noqa: S608  # of this module's own parts

_COVERAGE_DAYS = text("""
    DELETE FROM coverage_days WHERE id = ANY(ARRAY(
        SELECT id FROM coverage_days WHERE day < CAST(:before AS timestamptz)::date
        ORDER BY day LIMIT :most FOR UPDATE SKIP LOCKED))
""")

_WEB_SESSIONS = text("""
    DELETE FROM web_sessions WHERE id = ANY(ARRAY(
        SELECT id FROM web_sessions WHERE created_at <= :before
        ORDER BY created_at LIMIT :most FOR UPDATE SKIP LOCKED))
""")


async def delete_expired(session: AsyncSession, now: datetime) -> None:
    """Delete the cursors of ended runs after an hour; after 400 days also runs without a comment on a ticket,
    with their writes, and removed epics without a decision of a person; after 1,100 days a day's coverage;
    and the sessions of people that are over."""
    for statement, age in (
        (_RUN_CURSORS, RUN_CURSORS_KEPT),
        (_RUNS, RUNS_KEPT),
        (_REMOVED_EPICS, REMOVED_EPICS_KEPT),
        (_COVERAGE_DAYS, COVERAGE_DAYS_KEPT),
        (_WEB_SESSIONS, WEB_SESSIONS_KEPT),
    ):
        await session.execute(statement, {"before": now - age, "most": DELETED_AT_ONCE})
