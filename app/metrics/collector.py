"""Metrics: figures of the whole installation come from the database, each process counts its own requests.

So every server of an installation shows the same runs, epics, notices and trackers, whichever process did the
work, and the figures survive restarts. Labels are names of sources, fixed words and templates of routes.
"""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import version
from typing import TYPE_CHECKING, TypeVar

import structlog
from fastapi.routing import iter_route_contexts
from prometheus_client import CollectorRegistry, Histogram, disable_created_metrics, generate_latest
from sqlalchemy import select, text

from app.metrics.prometheus import MetricsInput, families
from mappings import counters
from mappings.clock import QUEUE_CLOCK
from mappings.sources.health_facts import (
    LabelledCount,
    alive_workers,
    health_of_sources,
    load_backlog,
    load_job_counts,
    load_totals,
)
from mappings.tables import RateLimitRow, SourceRow

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    from fastapi import FastAPI
    from prometheus_client.core import Metric
    from sqlalchemy.ext.asyncio import AsyncSession
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from app.runtime import Runtime
    from app.webhooks.door import Intake

log = structlog.get_logger()

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each histogram, of no use

FRESH_SECONDS = 5.0  # a scrape needs no token, so the database is asked no more often
TOTALS_SECONDS = 30.0
# Seconds to wait for the database; then it counts as unreachable, or the totals are left out. Prometheus
# waits ten.
QUERY_SECONDS, TOTALS_QUERY_SECONDS = 3.0, 6.0
HTTP_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
T = TypeVar("T")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Metrics:
    """The metrics of one application. `seconds` is a clock that never goes back."""

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._registry = CollectorRegistry()
        self._http = Histogram(
            "northing_http_request_duration_seconds",
            "How long this process took to answer, by method, route and class of status.",
            ["method", "route", "status"],
            buckets=HTTP_BOUNDS,
            registry=self._registry,
        )
        self._series = cache(self._http.labels)  # a bounded number: method, route and class of status
        self._asking = asyncio.Lock()
        self._of: Runtime | None = None
        self._asked_at = self._totals_at = -math.inf
        self._totals: list[LabelledCount] = []
        self._shared: list[Metric] = []

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        known = method if method in METHODS else "other"
        self._series(known, route, f"{status // 100}xx").observe(seconds)

    async def scrape(self, runtime: Runtime, intake: Intake) -> str:
        """All metrics in Prometheus' text format; without those of the database while it is unreachable."""
        shared = await self._from_database(runtime, intake)
        return (generate_latest(_Samples(shared)) + generate_latest(self._registry)).decode()

    async def _from_database(self, runtime: Runtime, intake: Intake) -> list[Metric]:
        async with self._asking:  # one scrape at a time; one that waited uses the answer of the one before
            if self._of is not runtime:
                self._of, self._asked_at, self._totals_at = runtime, -math.inf, -math.inf
            now = self._seconds()
            if now - self._asked_at >= FRESH_SECONDS:
                if now - self._totals_at >= TOTALS_SECONDS:
                    self._totals = await _answer(runtime, TOTALS_QUERY_SECONDS, load_totals) or []
                    self._totals_at = self._seconds()
                found = await _answer(runtime, QUERY_SECONDS, partial(_found, runtime, intake, self._totals))
                self._shared = families(found, version("northing"))
                self._asked_at = self._seconds()
            return self._shared


class _Samples:
    """A collector that returns metrics made before."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        return self._metrics


async def _answer(runtime: Runtime, seconds: float, ask: Callable[[AsyncSession], Awaitable[T]]) -> T | None:
    """None where the database does not answer in time."""
    try:
        async with asyncio.timeout(seconds), runtime.sessions() as session:
            # A query that is no longer waited for must not go on in the database.
            await session.execute(text(f"SET LOCAL statement_timeout = '{seconds:g}s'"))
            return await ask(session)
    except Exception as error:  # whatever the error, the other metrics must be shown
        log.warning("no metrics of the database", reason=type(error).__name__)
        return None


async def _found(
    runtime: Runtime, intake: Intake, totals: Sequence[LabelledCount], session: AsyncSession
) -> MetricsInput:
    await intake.write_counts_now()
    rows = (await session.scalars(select(SourceRow))).all()
    now = await runtime.now(session)
    health = await health_of_sources(session, rows, now)
    queue_now = await QUEUE_CLOCK.read(session)
    return MetricsInput(
        now=now,
        queue_now=queue_now,
        sources={row.id: row.name for row in rows},
        health={row.id: health[row.id][1].state for row in rows},
        counts=[*totals, *await load_backlog(session, now)],
        counters=await counters.all_counters(session),
        rate_limits=(await session.scalars(select(RateLimitRow))).all(),
        jobs=await load_job_counts(session),
        workers=await alive_workers(session, queue_now),
    )


class RequestTimer:
    """Measures how long each request takes, by the template of its route: an address may hold any text."""

    def __init__(self, app: ASGIApp, metrics: Metrics, templates: Callable[[], RouteTemplates]) -> None:
        self.app, self.metrics = app, metrics
        self._templates = cache(templates)  # called at the first request, when all routes exist

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun, status = time.perf_counter(), 500

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self.app(scope, receive, watch)
        finally:
            route = self._templates().of(scope)
            self.metrics.answered(scope["method"], route, status, time.perf_counter() - begun)


def templates_of(app: FastAPI) -> RouteTemplates:
    """The templates of the routes and mounts of an application that has all its routes."""
    contexts = [(one.original_route, one.path or "/", one.methods) for one in iter_route_contexts(app.routes)]
    return RouteTemplates(
        {id(route): path for route, path, _ in contexts},
        frozenset(path for _, path, methods in contexts if methods is None),
    )


@dataclass(frozen=True)
class RouteTemplates:
    """Names for the route that answered a request; at most one for each route, and `unmatched`."""

    of_routes: Mapping[int, str]
    mounts: frozenset[str]

    def of(self, scope: Scope) -> str:
        mount = scope.get("root_path", "").removeprefix(scope.get("app_root_path", ""))
        return self.of_routes.get(id(scope.get("route")), mount if mount in self.mounts else "unmatched")
