"""The health of sources and their backlog, read from our rows with a fixed number of statements.

Big tables are counted by index-only scans. The other parts are small, or limited by an index on unfinished
work.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import orjson
from sqlalchemy import text

from mappings.clock import QUEUE_CLOCK
from mappings.leases import IS_FREE
from mappings.sources.health import (
    MOST_NAMED,
    NONE_REFUSED,
    Health,
    HealthConcern,
    HealthFacts,
    HealthInput,
    HealthState,
    MachineClock,
    RefusedSignatures,
    UnreadableValues,
    assess_health,
    names_unknown,
    renamed_projects,
)
from mappings.sources.machine_clocks import machine_clocks_apart
from mappings.sources.refused_signatures import REFUSED_FACTS

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

    from mappings.tables import SourceRow

FAILED_WITHIN = timedelta(days=7)
WORKER_DEAD = timedelta(seconds=60)

# Due and unclaimed work, and since when. A run that waits for another of its source is not late.
_DUE = f"""
    SELECT runs.source_id, 'run' AS what, NULL AS label, count(*) AS n,
        min(greatest(due_at, runs.created_at, least(coalesce(claimed_until, due_at), :now))) AS at,
        NULL AS words
    FROM runs
    WHERE state IN ('queued', 'running', 'waiting', 'stalled') AND due_at <= :now
        AND {IS_FREE}
        AND NOT (state = 'queued' AND EXISTS (
            SELECT FROM runs other WHERE other.source_id = runs.source_id
                AND other.state IN ('running', 'waiting', 'stalled')
                AND (runs.mode IN ('incremental', 'full') AND other.mode IN ('incremental', 'full')
                    OR runs.evaluates = 'affected' AND other.evaluates = 'affected')))
    GROUP BY 1
    UNION ALL
    SELECT epics.source_id, 'notice', NULL, count(*),
        min(greatest(due_at, least(coalesce(claimed_until, due_at), :now))), NULL
    FROM notices JOIN epics ON epics.id = notices.epic_id
    WHERE due_at <= :now AND target IS NOT NULL AND {IS_FREE}
    GROUP BY 1
    UNION ALL
    SELECT source_id, 'delivery', NULL, count(*),
        min(greatest(due_at, received_at, least(coalesce(claimed_until, due_at), :now))), NULL
    FROM deliveries
    WHERE due_at <= :now AND {IS_FREE}
    GROUP BY 1
"""  # noqa: S608  # of this module's own parts

_FACTS = f"""
    SELECT * FROM ({_DUE}) AS due WHERE source_id = ANY(:sources)
    UNION ALL
    SELECT source_id, 'unknown', NULL, count(*), NULL, NULL
    FROM deliveries WHERE reason = 'unknown' AND source_id = ANY(:sources) GROUP BY 1
    UNION ALL
    SELECT source_id, 'failed', NULL, count(*), NULL, NULL FROM deliveries
    WHERE state = 'failed' AND received_at > :recently AND source_id = ANY(:sources) GROUP BY 1
    UNION ALL
    SELECT id, 'heard', NULL, 0,
        (SELECT received_at FROM deliveries WHERE source_id = sources.id ORDER BY id DESC LIMIT 1), NULL
    FROM sources WHERE id = ANY(:sources)
    UNION ALL
    SELECT id, 'paused', NULL, 0, waiting.due_at, waiting.error ->> 'message'
    FROM sources CROSS JOIN LATERAL (SELECT due_at, error FROM deliveries
        WHERE source_id = sources.id AND due_at > :now AND error IS NOT NULL LIMIT 1) AS waiting
    WHERE id = ANY(:sources)
    UNION ALL
    SELECT source_id, 'stopped', key, 0, writes_paused_at, writes_paused_reason FROM source_projects
    WHERE writes_paused_at IS NOT NULL AND source_id = ANY(:sources)
    UNION ALL
    SELECT epics.source_id, 'guard', notices.run_id::text, count(*), NULL, NULL
    FROM notices JOIN epics ON epics.id = notices.epic_id
    WHERE notices.reason = 'guard' AND notices.state = 'held' AND epics.source_id = ANY(:sources)
    GROUP BY 1, 3
    UNION ALL
    SELECT runs.source_id, 'removals', runs.id::text, count(*), NULL, NULL
    FROM held_removals JOIN runs ON runs.id = held_removals.run_id
    WHERE runs.source_id = ANY(:sources) GROUP BY 1, 3
    UNION ALL
    SELECT id, 'unreadable', NULL,
        (SELECT count(*) FROM unreadable_tickets WHERE source_id = sources.id), NULL,
        (SELECT json_agg(json_build_array(key, project, reason) ORDER BY named.id)::text
            FROM (SELECT * FROM unreadable_tickets WHERE source_id = sources.id
                ORDER BY id LIMIT {MOST_NAMED}) AS named)
    FROM sources
    WHERE id = ANY(:sources) AND EXISTS (SELECT FROM unreadable_tickets WHERE source_id = sources.id)
    UNION ALL
    SELECT source_id, 'clock', NULL, 0, clock_at, clock_ahead::text FROM rate_limits
    WHERE clock_ahead IS NOT NULL AND source_id = ANY(:sources)
    UNION ALL {REFUSED_FACTS}
"""  # noqa: S608  # of this module's own parts

_WORKERS = "SELECT count(*) FROM procrastinate_workers WHERE last_heartbeat > :heard"

# Counts every epic and notice, by index-only scans.
_TOTALS = """
    SELECT source_id, 'epics' AS what, coalesce(alignment, 'unevaluated') AS a, '' AS b, count(*) AS n,
        NULL::timestamptz AS at
    FROM epics WHERE removed_at IS NULL GROUP BY 1, 3
    UNION ALL
    SELECT epics.source_id, 'notices', notices.state, coalesce(notices.reason, ''), count(*), NULL
    FROM notices JOIN epics ON epics.id = notices.epic_id WHERE epics.removed_at IS NULL GROUP BY 1, 3, 4
"""

_BACKLOG = f"""
    SELECT source_id, 'runs' AS what, mode AS a, state AS b, count(*) AS n, NULL::timestamptz AS at
    FROM runs WHERE state IN ('queued', 'running', 'waiting', 'stalled') GROUP BY 1, 3, 4
    UNION ALL
    SELECT source_id, 'waiting', '', '', count(*), NULL FROM deliveries WHERE due_at IS NOT NULL GROUP BY 1
    UNION ALL
    SELECT source_id, 'due', what, '', n, at FROM ({_DUE}) AS due
"""  # noqa: S608  # of this module's own parts

# `deferred` is an entry in procrastinate's event table; it is deleted together with its job.
_JOBS = """
    SELECT jobs.queue_name, jobs.status::text, count(*), min(events.at)
    FROM procrastinate_jobs jobs
    LEFT JOIN procrastinate_events events ON events.job_id = jobs.id AND events.type = 'deferred'
    WHERE jobs.status IN ('todo', 'doing') GROUP BY 1, 2
"""


class LabelledCount(NamedTuple):
    """One count; `a` and `b` are its labels, `at` is since when the oldest item waits (UTC)."""

    source_id: int
    what: str
    a: str
    b: str
    n: int
    at: datetime | None


class JobCount(NamedTuple):
    queue: str
    state: str
    n: int
    since: datetime | None


async def load_health_facts(
    session: AsyncSession, source_ids: Collection[int], now: datetime
) -> dict[int, HealthFacts]:
    """The facts for each source's health at `now` (UTC), besides the last run's result in its row."""
    queue_now = await QUEUE_CLOCK.read(session)
    workers = await alive_workers(session, queue_now)
    clocks = tuple(await machine_clocks_apart(session, queue_now))
    parameters = {"sources": list(source_ids), "now": now, "recently": now - FAILED_WITHIN}
    found: dict[int, list[Any]] = defaultdict(list)
    for row in await session.execute(text(_FACTS), parameters):
        found[row.source_id].append(row)
    return {source_id: _facts(found[source_id], workers, clocks) for source_id in source_ids}


def _facts(rows: Sequence[Any], workers: int, clocks: tuple[MachineClock, ...]) -> HealthFacts:
    by: dict[str, list[Any]] = defaultdict(list)
    for row in rows:
        by[row.what].append(row)
    due = [row.at for what in ("run", "notice", "delivery") for row in by[what]]
    return HealthFacts(
        has_worker=workers > 0,
        due_since=min(due, default=None),
        unknown_deliveries=sum(row.n for row in by["unknown"]),
        failed_deliveries=sum(row.n for row in by["failed"]),
        last_delivery_at=next((row.at for row in by["heard"]), None),
        webhooks_wait=next(((row.words or "", row.at) for row in by["paused"]), None),
        paused_projects=tuple((row.label, row.words or "") for row in by["stopped"]),
        held_by_guard=tuple((None if row.label is None else int(row.label), row.n) for row in by["guard"]),
        unreadable=next(((row.n, _named(row.words)) for row in by["unreadable"]), (0, ())),
        removals=tuple((int(row.label), row.n) for row in by["removals"]),
        refused=next(
            (RefusedSignatures(int(row.words or 0), row.n, row.at) for row in by["refused"]),
            NONE_REFUSED,
        ),
        clock_ahead=next((float(row.words) for row in by["clock"]), None),
        machine_clocks=clocks,
    )


def _named(rows: str) -> tuple[tuple[str, str, str], ...]:
    return tuple((key, project, reason) for key, project, reason in orjson.loads(rows))


async def health_of_sources(
    session: AsyncSession, rows: Sequence[SourceRow], now: datetime
) -> dict[int, tuple[HealthFacts, Health]]:
    """The health of each of these sources at `now` (UTC), by id, with the facts it is computed from."""
    known = await load_health_facts(session, [row.id for row in rows], now)
    return {row.id: (known[row.id], assess_health(_health_input(row), known[row.id], now)) for row in rows}


def _health_input(row: SourceRow) -> HealthInput:
    state = cast("HealthState", row.health_state)
    last_run = HealthConcern(state, row.health_message, row.health_what_to_do)
    renamed = renamed_projects(row.scope, row.notices, row.named_projects)
    unknown = names_unknown(row.epics, row.notices, row.unknown_names)
    return HealthInput(
        row.name,
        row.webhook_secret is not None,
        row.signature_refused_at,
        last_run,
        renamed,
        unknown,
        row.unopened_since,
        tuple(UnreadableValues(setting, **one) for setting, one in sorted(row.unreadable_fields.items())),
    )


async def alive_workers(session: AsyncSession, queue_now: datetime) -> int:
    """The number of job queue workers with a heartbeat in the last 60 s before `queue_now`, the queue's time;
    one process has several workers."""
    heard = {"heard": queue_now - WORKER_DEAD}
    alive: int = (await session.execute(text(_WORKERS), heard)).scalar_one()
    return alive


async def load_totals(session: AsyncSession) -> list[LabelledCount]:
    """Epics by alignment, notices by state and reason."""
    return [LabelledCount(*row) for row in await session.execute(text(_TOTALS))]


async def load_backlog(session: AsyncSession, now: datetime) -> list[LabelledCount]:
    """Unfinished runs and deliveries, and the work that is due and unclaimed at `now` (UTC)."""
    return [LabelledCount(*row) for row in await session.execute(text(_BACKLOG), {"now": now})]


async def load_job_counts(session: AsyncSession) -> list[JobCount]:
    return [JobCount(*row) for row in await session.execute(text(_JOBS))]
