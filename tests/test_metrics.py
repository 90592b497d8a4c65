"""What a monitoring system reads: right whoever did the work, cheap, and there without a database."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from fastapi import FastAPI
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import event, select

from app.database import engine_for, sessions_for
from app.metrics.collector import FRESH_SECONDS, TOTALS_SECONDS, Metrics
from app.runtime import Runtime
from app.webhooks.door import Intake
from connectors.sandbox.faults import answer
from mappings import counters
from mappings.tables import RateLimitRow, SourceRow
from tests.support.clock import Clock
from tests.support.metrics import samples
from tests.support.tracker_drivers import KINDS, driver_of
from tests.support.webhook_posts import SECRET, post
from tests.support.world import World

pytestmark = pytest.mark.database

OPERATIONS = Path(__file__).parents[1] / "docs/operations.md"


async def scraped(runtime: Runtime, intake: Intake) -> dict[str, float]:
    """Each sample as it is written, `name{label="value"}`, labels by name; nothing remembered."""
    return samples(await Metrics().scrape(runtime, intake))


@pytest.mark.parametrize("kind", KINDS)
async def test_the_main_job_is_seen_in_counts(
    world: World, runtime: Runtime, intake: Intake, clock: Clock, kind: str
) -> None:
    driver = driver_of(world, kind)
    await world.goal()
    await world.no_grace()
    key, _ = driver.add("One"), driver.add("Two", description="Key-Result: KR-1")
    await driver.connect(notices={"mode": "live"})
    await world.sync(kind, "full")
    seen = await scraped(runtime, intake)

    def of(name: str, **labels: str) -> float:
        every = {"source": kind, **labels}
        listed = ",".join(f'{name}="{every[name]}"' for name in sorted(every))
        return seen[f"northing_{name}{{{listed}}}"]

    assert of("epics", alignment="unaligned") == of("epics", alignment="aligned") == 1
    assert of("notices", state="posted", reason="") == 1
    assert of("runs_total", mode="full", state="succeeded") == 1
    assert of("run_duration_seconds_count", mode="full") == 1
    assert of("ticket_writes_total", kind="posted") == of("ticket_write_duration_seconds_count") == 1
    assert of("tracker_requests_total") == driver.tracker.log.count()
    assert of("source_health", state="ok") == 1
    assert {of("due", what=what) for what in ("run", "notice", "delivery")} == {0}
    assert abs(of("tracker_clock_ahead_seconds")) < 5
    if kind == "github":
        limit, remaining = of("tracker_budget_limit"), of("tracker_budget_remaining")
        assert limit - remaining == driver.tracker.log.count()
        assert of("tracker_budget_reset_timestamp_seconds") > clock.now.timestamp()
    # Nothing of a ticket is a label.
    assert not [line for line in seen if key in line or "One" in line]


async def test_work_that_is_late_is_seen_with_its_age(
    world: World, runtime: Runtime, intake: Intake, clock: Clock
) -> None:
    world.site.create("SHOP", "One")
    await world.connect_jira()
    await world.send("POST", "/sources/jira/sync")
    clock.advance(seconds=90)
    seen = await scraped(runtime, intake)
    assert seen['northing_due{source="jira",what="run"}'] == 1
    assert seen['northing_due_oldest_seconds{source="jira",what="run"}'] == pytest.approx(90, abs=1)
    assert seen['northing_runs_unfinished{mode="incremental",source="jira",state="queued"}'] == 1
    assert seen['northing_jobs{queue="reading",state="waiting"}'] == 1
    assert 0 <= seen['northing_jobs_oldest_seconds{queue="reading"}'] < 60
    assert seen["northing_workers{}"] == 0
    world.jira.faults.add("*", answer(503))
    await world.drain()
    seen = await scraped(runtime, intake)
    assert seen['northing_runs_unfinished{mode="incremental",source="jira",state="waiting"}'] == 1
    assert seen['northing_due{source="jira",what="run"}'] == 0
    assert seen['northing_source_health{source="jira",state="degraded"}'] == 1


async def test_webhooks_are_counted_at_the_door_and_at_their_end(
    world: World, runtime: Runtime, intake: Intake, clock: Clock
) -> None:
    issue = world.host.create("acme/shop", "One", labels=["epic"])
    await world.connect_github(scope={"repositories": ["acme/shop"]}, webhook_secret=SECRET)
    await world.sync("github")
    payload = {
        "action": "edited",
        "issue": {"id": issue.id, "number": 1, "labels": []},
        "repository": {"full_name": "acme/shop"},
    }
    for id, name, secret, status in (
        ("one", "issues", SECRET, 202), ("two", "issues", SECRET, 202), ("three", "unheard-of", SECRET, 202),
        ("two", "issues", SECRET, 202), ("four", "issues", "another", 401),
    ):  # fmt: skip
        # Each body is another: one that comes again while it waits is not worked on a second time.
        posted = await post(
            world,
            {**payload, "sender": {"login": id}},
            secret=secret,
            x_github_delivery=id,
            x_github_event=name,
        )
        assert posted.status_code == status
    seen = await scraped(runtime, intake)
    assert seen['northing_webhooks_total{answer="received",source="github"}'] == 3
    assert seen['northing_webhooks_total{answer="refused",source="github"}'] == 1
    assert seen['northing_deliveries_total{source="github",state="ignored"}'] == 1
    assert seen['northing_deliveries_waiting{source="github"}'] == 2
    clock.advance(seconds=7)
    await world.drain()
    seen = await scraped(runtime, intake)
    assert seen['northing_deliveries_total{source="github",state="done"}'] == 2
    assert seen['northing_deliveries_waiting{source="github"}'] == 0
    assert seen['northing_delivery_duration_seconds_sum{source="github"}'] == pytest.approx(14, abs=0.5)
    assert seen['northing_delivery_duration_seconds_bucket{le="5",source="github"}'] == 0
    assert seen['northing_delivery_duration_seconds_bucket{le="10",source="github"}'] == 2
    assert seen['northing_delivery_duration_seconds_bucket{le="+Inf",source="github"}'] == 2


# --- requests to us -----------------------------------------------------------------------------


async def test_requests_are_timed_by_route_never_by_address(api: httpx.AsyncClient) -> None:
    for method, path in (
        ("GET", "/healthz"), ("GET", "/api/v1/epics/secret-name/SECRET-1"), ("GET", "/secret/path"),
        ("BREW", "/api/v1/sources"), ("POST", "/webhooks/secret-name"), ("GET", "/static/secret.css"),
    ):  # fmt: skip
        await api.request(method, path)
    answered = await api.get("/metrics")
    assert answered.headers["content-type"] == "text/plain; charset=utf-8"
    assert "secret" not in answered.text.lower()
    counted = {
        name.split("{", 1)[1][:-1]
        for name in samples(answered.text)
        if name.startswith("northing_http_request_duration_seconds_count")
    }
    assert {
        'method="GET",route="/healthz",status="2xx"',
        'method="GET",route="/api/v1/epics/{source}/{key:epic_key}",status="4xx"',
        'method="GET",route="unmatched",status="4xx"',
        'method="other",route="/api/v1/sources",status="4xx"',
        'method="POST",route="/webhooks/{source}",status="4xx"',
        'method="GET",route="/static",status="4xx"',
    } <= counted


# --- a scrape costs little ----------------------------------------------------------------------


async def test_a_scrape_is_a_fixed_number_of_statements_and_asked_again_after_a_while(
    world: World, runtime: Runtime, intake: Intake
) -> None:
    asked: list[str] = []

    @event.listens_for(runtime.engine.sync_engine, "before_cursor_execute")
    def note(*arguments: Any) -> None:
        asked.append(arguments[2])

    metrics, counts, seconds = Metrics(), [], 0.0
    for number in range(3):
        world.site.add_project(f"P{number}", "A project")
        world.site.create(f"P{number}", "One")
        await world.connect_jira(f"jira-{number}", scope={"projects": [f"P{number}"]})
        await world.sync(f"jira-{number}")
        asked.clear()
        metrics = Metrics(lambda: seconds)
        await metrics.scrape(runtime, intake)
        counts.append(len(asked))
    assert len(set(counts)) == 1, counts
    before = len(asked)
    await metrics.scrape(runtime, intake)
    assert len(asked) == before
    seconds += FRESH_SECONDS
    await metrics.scrape(runtime, intake)
    # All is asked again but the totals, which count every epic and notice.
    left_out = set(asked[:before]) - set(asked[before:])
    (totals,) = (one for one in left_out if "FROM epics" in one and "FROM notices" in one)
    asked.clear()
    seconds += TOTALS_SECONDS
    await metrics.scrape(runtime, intake)
    assert totals in asked


async def test_a_database_that_is_away_leaves_the_metrics_of_the_process(
    api: httpx.AsyncClient, application: FastAPI, runtime: Runtime
) -> None:
    await api.get("/healthz")
    engine = engine_for("postgresql://northing@127.0.0.1:1/northing")
    application.state.runtime = replace(runtime, engine=engine, sessions=sessions_for(engine))
    answered = await api.get("/metrics")
    await engine.dispose()
    assert answered.status_code == 200
    seen = samples(answered.text)
    assert seen["northing_database_up{}"] == 0
    assert any(name.startswith("northing_http_request") for name in seen)
    assert not any(name.startswith("northing_epics") for name in seen)


async def test_a_database_that_hangs_is_not_waited_for(
    runtime: Runtime, intake: Intake, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ("QUERY_SECONDS", "TOTALS_QUERY_SECONDS")
    with psycopg.connect(database_url) as other, monkeypatch.context() as while_it_hangs:
        for name in names:
            while_it_hangs.setattr(f"app.metrics.collector.{name}", 0.3)
        other.execute("LOCK TABLE sources, epics")
        assert (await scraped(runtime, intake))["northing_database_up{}"] == 0
    for name in names:  # a busy machine is not to look like a database that hangs
        monkeypatch.setattr(f"app.metrics.collector.{name}", 60)
    assert (await scraped(runtime, intake))["northing_database_up{}"] == 1


# --- what is written of them --------------------------------------------------------------------


def documented() -> dict[str, set[str]]:
    """Each metric of the table in docs/operations.md with its labels."""
    rows = re.findall(r"^\| `(northing_\w+)` \|([^|]*)\|", OPERATIONS.read_text(), re.MULTILINE)
    return {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows}


async def _fill_every_metric(runtime: Runtime) -> None:
    """A row behind each metric."""
    listed: list[tuple[counters.CounterName, str]] = [
        ("run", "full failed"), ("delivery", "done"), ("write", "posted"), ("request", ""),
        ("uncounted", ""),        ("door", "refused"),
    ]  # fmt: skip
    async with runtime.sessions.begin() as session:
        source_id = (await session.scalars(select(SourceRow.id))).one()
        for what, label in listed:
            await counters.add_count(session, source_id, what, label, took=[1.0])
        reset = await runtime.now(session)
        limit = {"budget_limit": 10, "budget_remaining": 9, "budget_resets_at": reset, "clock_ahead": 0}
        await session.merge(RateLimitRow(source_id=source_id, **limit))


async def test_the_table_of_metrics_is_whole_and_right(world: World, runtime: Runtime) -> None:
    world.site.create("SHOP", "One")
    await world.no_grace()
    await world.connect_jira()
    await world.sync("jira")
    await world.send("POST", "/sources/jira/sync")
    await _fill_every_metric(runtime)
    shown: dict[str, set[str]] = {}
    for family in text_string_to_metric_families((await world.api.get("/metrics")).text):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        for sample in family.samples:
            shown.setdefault(name, set()).update(set(sample.labels) - {"le"})
    assert shown == documented()
