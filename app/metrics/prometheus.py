"""The figures from the database as families of metrics. Pure. docs/operations.md lists them for people."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)

from app.jobs.queue import QUEUES
from mappings.counters import BUCKET_BOUNDS
from mappings.sources.health import ORDER, HealthState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from mappings.sources.health_facts import JobCount, LabelledCount
    from mappings.tables import CounterRow, RateLimitRow

WORK = ("run", "notice", "delivery")


@dataclass(frozen=True)
class MetricsInput:
    """What the database held at `now`, by the clock of decisions; `queue_now` is the queue's time (both UTC).

    `sources` are names by id; `workers` counts the queue's workers: one for each of `QUEUES` a process.
    """

    now: datetime
    queue_now: datetime
    sources: Mapping[int, str]
    health: Mapping[int, HealthState]
    counts: Sequence[LabelledCount]
    counters: Sequence[CounterRow]
    rate_limits: Sequence[RateLimitRow]
    jobs: Sequence[JobCount]
    workers: int


def families(found: MetricsInput | None, version: str) -> list[Metric]:
    """The families; `found` is None while the database is unreachable."""
    up = GaugeMetricFamily(
        "northing_database_up", "1 where the database answered, else 0.", found is not None
    )
    build = InfoMetricFamily("northing_build", "The version that answers.", {"version": version})
    if found is None:
        return [up, build]
    return [
        up,
        build,
        *_now(found),
        *_health(found),
        *_counter_families(found),
        *_trackers(found),
        *_queue(found),
    ]


def _now(found: MetricsInput) -> Iterable[Metric]:
    epics = GaugeMetricFamily("northing_epics", "Epics by alignment.", labels=["source", "alignment"])
    notices = GaugeMetricFamily(
        "northing_notices", "Notices by state, the held ones by reason.", labels=["source", "state", "reason"]
    )
    runs = GaugeMetricFamily(
        "northing_runs_unfinished", "Runs that have not ended.", labels=["source", "mode", "state"]
    )
    waiting = GaugeMetricFamily(
        "northing_deliveries_waiting", "Webhooks received and not yet processed.", labels=["source"]
    )
    due = GaugeMetricFamily("northing_due", "Work that is due and not claimed.", labels=["source", "what"])
    oldest = GaugeMetricFamily(
        "northing_due_oldest_seconds", "How long the oldest of it has been due.", labels=["source", "what"]
    )
    for source_id, name in found.sources.items():
        of_source = [count for count in found.counts if count.source_id == source_id]
        for count in of_source:
            match count.what:
                case "epics":
                    epics.add_metric([name, count.a], count.n)
                case "notices":
                    notices.add_metric([name, count.a, count.b], count.n)
                case "runs":
                    runs.add_metric([name, count.a, count.b], count.n)
        waiting.add_metric([name], sum(count.n for count in of_source if count.what == "waiting"))
        for what in WORK:
            lag = [count for count in of_source if count.what == "due" and count.a == what]
            due.add_metric([name, what], sum(count.n for count in lag))
            oldest.add_metric([name, what], max((_age(count.at, found.now) for count in lag), default=0.0))
    return epics, notices, runs, waiting, due, oldest


def _health(found: MetricsInput) -> Iterable[Metric]:
    health = GaugeMetricFamily(
        "northing_source_health", "1 for the state a source is in.", labels=["source", "state"]
    )
    for source_id, state in found.health.items():
        for one in ORDER:
            health.add_metric([found.sources[source_id], one], one == state)
    return (health,)


def _counter_families(found: MetricsInput) -> Iterable[Metric]:
    """The counters kept in the database, which survive restarts and cover every process."""
    totals = {
        "run": CounterMetricFamily("northing_runs", "Runs that ended.", labels=["source", "mode", "state"]),
        "delivery": CounterMetricFamily(
            "northing_deliveries", "Webhooks by how they ended.", labels=["source", "state"]
        ),
        "write": CounterMetricFamily(
            "northing_ticket_writes", "Comments by what was done with them.", labels=["source", "kind"]
        ),
        "request": CounterMetricFamily(
            "northing_tracker_requests", "Requests sent to the tracker.", labels=["source"]
        ),
        "uncounted": CounterMetricFamily(
            "northing_tracker_requests_uncounted",
            "Of these, those that the tracker does not count against its limit.",
            labels=["source"],
        ),
        "door": CounterMetricFamily(
            "northing_webhooks", "Webhooks that were received or refused.", labels=["source", "answer"]
        ),
    }
    durations = {
        "run": HistogramMetricFamily(
            "northing_run_duration_seconds", "From a run's start to its end.", labels=["source", "mode"]
        ),
        "delivery": HistogramMetricFamily(
            "northing_delivery_duration_seconds", "From a webhook's receipt to its end.", labels=["source"]
        ),
        "write": HistogramMetricFamily(
            "northing_ticket_write_duration_seconds",
            "To fetch, evaluate, write a ticket.",
            labels=["source"],
        ),
    }
    timed: dict[tuple[str, tuple[str, ...]], list[CounterRow]] = {}
    for counter in found.counters:
        if (name := found.sources.get(counter.source_id)) is None:
            continue  # the source was created after the sources were read
        labels = counter.label.split()
        totals[counter.what].add_metric([name, *labels], counter.count)
        if counter.what in durations:
            of: tuple[str, ...] = (name, labels[0]) if counter.what == "run" else (name,)
            timed.setdefault((counter.what, of), []).append(counter)
    for (what, of), some in timed.items():
        durations[what].add_metric(of, *_histogram(some))
    return *totals.values(), *durations.values()


def _histogram(some: Sequence[CounterRow]) -> tuple[list[tuple[str, float]], float]:
    """Buckets and the sum in seconds. A delivery counted at its receipt took no time and has no buckets."""
    bounds = [*(f"{bound:g}" for bound in BUCKET_BOUNDS), "+Inf"]
    counted = [counter.buckets for counter in some if counter.buckets]
    added = [float(sum(column)) for column in zip(*counted, strict=True)] or [0.0] * len(bounds)
    return list(zip(bounds, accumulate(added), strict=True)), sum(counter.seconds for counter in some)


def _trackers(found: MetricsInput) -> Iterable[Metric]:
    limit, remaining, reset, ahead = (
        GaugeMetricFamily(f"northing_tracker_{name}", values, labels=["source"])
        for name, values in (
            ("budget_limit", "Requests the tracker allows us, where it says so."),
            ("budget_remaining", "Requests the tracker still allows us."),
            ("budget_reset_timestamp_seconds", "When the tracker allows us all of them again."),
            ("clock_ahead_seconds", "By how much the tracker's clock is ahead of ours."),
        )
    )
    for limit_row in found.rate_limits:
        name = found.sources.get(limit_row.source_id)
        resets = None if limit_row.budget_resets_at is None else limit_row.budget_resets_at.timestamp()
        values = (
            (limit, limit_row.budget_limit),
            (remaining, _requests_left(limit_row, found.queue_now)),
            (reset, resets),
            (ahead, limit_row.clock_ahead),
        )
        for family, value in values:
            if name is not None and value is not None:
                family.add_metric([name], value)
    return limit, remaining, reset, ahead


def _requests_left(limit_row: RateLimitRow, now: datetime) -> int | None:
    """The whole limit once the tracker has begun to count anew, else what was left at the last response."""
    has_reset = limit_row.budget_resets_at is not None and limit_row.budget_resets_at <= now
    return limit_row.budget_limit if has_reset else limit_row.budget_remaining


def _queue(found: MetricsInput) -> Iterable[Metric]:
    jobs = GaugeMetricFamily("northing_jobs", "Jobs that wait or run now.", labels=["queue", "state"])
    oldest = GaugeMetricFamily(
        "northing_jobs_oldest_seconds", "How long the oldest job has waited.", labels=["queue"]
    )
    for queue in QUEUES:
        here = {one.state: one for one in found.jobs if one.queue == queue}
        for state, name in (("todo", "waiting"), ("doing", "doing")):
            jobs.add_metric([queue, name], here[state].n if state in here else 0)
        # The queue's timestamps come from the database's clock.
        oldest.add_metric([queue], _age(here["todo"].since, found.queue_now) if "todo" in here else 0.0)
    processes = GaugeMetricFamily("northing_workers", "Processes that run jobs.", found.workers / len(QUEUES))
    return jobs, oldest, processes


def _age(since: datetime | None, now: datetime) -> float:
    return 0.0 if since is None else max((now - since).total_seconds(), 0.0)
