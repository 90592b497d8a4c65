"""Runs that changes open: one queued run takes the causes of all, and deliveries and tickets pass it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import event, select, text

from app import pipeline
from app.jobs.sweep import sweep
from app.runtime import Runtime
from app.webhooks.processor import process_deliveries
from mappings.evaluation import affected
from mappings.runs.causes import RETRY_AFTER_FAILURE, Cause, causes_of
from mappings.runs.queue import claim_run, close_run, release_runs
from mappings.runs.reevaluation import LOOKED_AT
from mappings.sources.health_facts import load_health_facts
from mappings.tables import EpicRow, RunRow, SourceRow
from tests.support.clock import Clock
from tests.support.lists import listed
from tests.support.queries import all_of, only_source
from tests.support.tracker_drivers import GitHubDriver, JiraDriver
from tests.support.webhook_deliveries import doors
from tests.support.webhook_posts import SECRET
from tests.support.world import World

pytestmark = pytest.mark.database
EVALUATED = "SELECT key FROM epics WHERE evaluated_at = '{}' ORDER BY id"


def _rule(number: int, title: str = "Checkout") -> dict[str, Any]:
    return {"name": f"Rule {number}", "when": {"title": title}, "key_result": "KR-1"}


async def _changed(world: World, method: str, path: str, body: Any = None) -> list[int]:
    """The runs that the answer names."""
    answer = await world.api.request(method, f"/api/v1{path}", json=body)
    assert answer.is_success, (method, path, answer.text)
    return [int(run) for run in answer.headers.get("Northing-Runs", "").split(",") if run]


async def _evaluate_runs(world: World) -> list[tuple[int, str]]:
    """Ids and states, oldest first."""
    runs = await listed(world, "/runs", mode="evaluate")
    return [(run["id"], run["state"]) for run in reversed(runs)]


async def _evaluated(runtime: Runtime, clock: Clock) -> list[str]:
    """The keys of the epics that were evaluated at this moment, in the order of their ids."""
    return [key for (key,) in await all_of(runtime, EVALUATED.format(clock().isoformat()))]


async def _claimed(runtime: Runtime, run_id: int) -> RunRow:
    """The run, as it is while another worker executes it."""
    async with runtime.sessions.begin() as session:
        run = await claim_run(session, run_id, "another", await runtime.now(session))
    assert run is not None
    return run


# --- what a change costs ------------------------------------------------------------------------


@contextmanager
def _costs(runtime: Runtime) -> Iterator[list[tuple[str, int]]]:
    """The statements sent while the block runs, each with the number of rows that it read or wrote."""
    sent: list[tuple[str, int]] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        sent.append((statement, cursor.rowcount))

    event.listen(runtime.engine.sync_engine, "after_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(runtime.engine.sync_engine, "after_cursor_execute", note)


_COPIES = """
    INSERT INTO epics (source_id, tracker, remote_id, key, project, title, url, type, status, status_category,
        labels, assignees, components, ticket_references, fields, tracker_created_at, tracker_updated_at,
        content_hash, read_at, alignment, evaluated_at)
    SELECT source_id, tracker, remote_id || '-' || n, key || '0000' || n, project, title, url, type, status,
        status_category, labels, assignees, components, ticket_references, fields, tracker_created_at,
        tracker_updated_at, content_hash, read_at, alignment, evaluated_at
    FROM epics, generate_series({first}, {last}) AS n WHERE key IN ('SHOP-1', 'SHOP-2')
"""
_COPIED_LINKS = """
    INSERT INTO links (epic_id, key_result_id, origin, rule_id, why)
    SELECT copy.id, key_result_id, origin, rule_id, why
    FROM links JOIN epics ON epics.id = epic_id JOIN epics copy ON copy.key LIKE epics.key || '0000%'
    ON CONFLICT DO NOTHING
"""
_TOUCHED = """
    SELECT 'epic', id, xmin::text FROM epics UNION ALL SELECT 'link', id, xmin::text FROM links
    UNION ALL SELECT 'notice', id, xmin::text FROM notices
"""
# Method, path and body, of the first time and of the second.
CHANGES: list[tuple[str, str, Any, str, Any]] = [
    ("POST", "/rules", _rule(11), "/rules", {**_rule(12), "key_result": "KR-2"}),
    ("PATCH", "/rules/1", {"priority": 7}, "/rules/2", {"priority": 8}),
    ("DELETE", "/rules/1", None, "/rules/2", None),
    ("PATCH", "/key-results/KR-1", {"state": "achieved"}, "/key-results/KR-2", {"state": "active"}),
    ("PATCH", "/key-results/KR-1", {"key": "KR-2"}, "/key-results/KR-2", {"key": "KR-3"}),
    ("POST", "/objectives/O-1/key-results", {"key": "KR-1", "title": "Named by tickets"},
     "/objectives/O-1/key-results", {"key": "KR-1", "title": "Named by tickets"}),
    ("DELETE", "/key-results/KR-1", None, "/key-results/KR-1", None),
    ("PATCH", "/objectives/O-1", {"visibility": "public"}, "/objectives/O-1", {"visibility": "internal"}),
    ("PATCH", "/objectives/O-1", {"cycle": "Q"}, "/objectives/O-1", {"cycle": "P"}),
    ("PATCH", "/cycles/Q", {"ends": "2090-12-31"}, "/cycles/P", {"ends": "2090-12-31"}),
    ("PUT", "/policy", {"grace": "P9D"}, "/policy", {"grace": "P8D"}),
    ("PATCH", "/policy", {"scopes": [{"project": "SHOP", "grace": "P1D"}]},
     "/policy", {"scopes": [{"project": "SHOP", "grace": "P2D"}]}),
    ("PATCH", "/sources/jira", {"notices": {"mode": "off"}},
     "/sources/acme", {"notices": {"mode": "shadow"}}),
    ("PATCH", "/sources/jira", {"name": "acme"}, "/sources/acme", {"name": "jira"}),
]  # fmt: skip


async def test_a_change_costs_the_same_however_many_epics_it_affects(world: World, runtime: Runtime) -> None:
    world.site.create("SHOP", "Names one", description="Key-Result: KR-1")
    world.site.create("SHOP", "Checkout")
    await world.goal("KR-1")
    await world.connect_jira()
    await world.sync("jira", "full")
    for key in ("P", "Q"):
        cycle = {"key": key, "title": key, "starts": "2026-10-01", "ends": "2091-01-01"}
        await world.send("POST", "/cycles", {**cycle, "review": "monthly"})
    await world.send("PATCH", "/objectives/O-1", {"cycle": "P"})
    for number in (1, 2):
        await world.send("POST", "/rules", _rule(number))
    await world.drain()
    costs: list[list[tuple[int, int]]] = []
    for number, copies in enumerate((400, 800)):
        async with runtime.sessions.begin() as session:
            await session.execute(text(_COPIES.format(first=1 + number * 400, last=copies)))
            await session.execute(text(_COPIED_LINKS))
        costs.append([])
        for method, *first, other_path, other_body in CHANGES:
            path, body = first if number == 0 else (other_path, other_body)
            touched = await all_of(runtime, _TOUCHED)
            with _costs(runtime) as sent:
                runs = await _changed(world, method, path, body)
            assert runs, (method, path)
            assert await all_of(runtime, _TOUCHED) == touched, (method, path)
            read = [rows for statement, rows in sent if statement.lstrip().startswith("SELECT")]
            assert sum(read) < 3 * LOOKED_AT, (method, path)
            costs[-1].append((len(sent), sum(rows for _, rows in sent) - sum(read)))
        async with runtime.sessions.begin() as session:
            await session.execute(text("UPDATE links SET rule_id = 2 WHERE rule_id = 1"))
    assert costs[0] == costs[1]


async def test_the_affected_epics_come_page_by_page_each_once(
    world: World, runtime: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(affected, "PAGE_SIZE", 7)
    for number in range(1, 4):
        await world.goal(f"KR-{number}")
    for title, key in (("Names one", "KR-1"), ("Checkout", "KR-2")):
        world.site.create("SHOP", title, description=f"Key-Result: {key}")
    await world.connect_jira()
    await world.sync("jira", "full")
    await world.send("POST", "/rules", _rule(1))
    async with runtime.sessions.begin() as session:
        await session.execute(text(_COPIES.format(first=1, last=20)))
        await session.execute(text(_COPIED_LINKS))
        source = (await session.scalars(select(SourceRow))).one()
        ids = {
            name: sorted(await session.scalars(select(EpicRow.id).where(EpicRow.title == name)))
            for name in ("Names one", "Checkout")
        }
        one, rule = Cause("key_result", "1"), Cause("rule", "1")
        for causes, expected in (
            ([one], ids["Names one"]),
            ([rule], ids["Checkout"]),
            ([one, rule], sorted(ids["Names one"] + ids["Checkout"])),
            ([Cause("source")], sorted(ids["Names one"] + ids["Checkout"])),
            ([Cause("key", "kr-2"), Cause("policy", "NONE")], ids["Checkout"]),
            ([Cause("key_result", "3"), Cause("rule", "99")], []),
        ):
            found: list[int] = []
            pages = await affected.load_affected(session, source, causes)
            after: int | None = 0
            while after is not None:
                some, after = await pages.page(session, after)
                assert len(some) <= 7
                found += some
            assert found == expected, causes


# --- one queued run -----------------------------------------------------------------------------


async def _shop(world: World) -> None:
    """SHOP-1 and SHOP-2 are for rules about Checkout, SHOP-3 is for nobody."""
    for title in ("Checkout in one step", "Checkout on phones", "Refunds"):
        world.site.create("SHOP", title)
    await world.goal("KR-1")
    await world.connect_jira()
    await world.sync("jira", "full")


async def test_many_rules_are_one_run_and_one_pass(world: World, runtime: Runtime, clock: Clock) -> None:
    await _shop(world)
    runs = set()
    for number in range(24):
        clock.advance(seconds=1)
        runs |= set(await _changed(world, "POST", "/rules", _rule(number)))
    (run,) = runs
    assert await _evaluate_runs(world) == [(run, "queued")]
    causes = (await world.send("GET", f"/runs/{run}"))["causes"]
    assert causes == [*(f"rule Rule {number}" for number in range(20)), "4 more"]
    with _costs(runtime) as sent:
        await world.drain()
    read = [statement for statement, _ in sent if "epics.title" in statement and "LIMIT" in statement]
    assert len(read) == 1  # every rule is asked in it
    assert await _evaluate_runs(world) == [(run, "succeeded")]
    assert await _evaluated(runtime, clock) == ["SHOP-1", "SHOP-2"]


async def test_while_one_is_executed_all_further_changes_are_one_more(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    await _shop(world)
    (first,) = await _changed(world, "POST", "/rules", _rule(1))
    await _claimed(runtime, first)
    (second,) = {
        run
        for number in range(2, 6)
        for run in await _changed(world, "POST", "/rules", _rule(number, "Refunds"))
    }
    await pipeline.execute_run(runtime, second)
    await world.drain()
    assert await _evaluate_runs(world) == [(first, "running"), (second, "queued")]
    async with runtime.sessions() as session:
        source = (await session.scalars(select(SourceRow.id))).one()
        facts = await load_health_facts(session, [source], clock.now)
    assert facts[source].due_since is None  # it waits, and is not late
    async with runtime.sessions.begin() as session:
        await release_runs(session, "another")
    clock.advance(minutes=1)
    await pipeline.execute_run(runtime, first)
    assert await _evaluated(runtime, clock) == ["SHOP-1", "SHOP-2"]
    clock.advance(minutes=1)
    await world.drain()  # the end of the first has woken the second
    assert await _evaluate_runs(world) == [(first, "succeeded"), (second, "succeeded")]
    assert await _evaluated(runtime, clock) == ["SHOP-3"]


async def test_deliveries_and_tickets_pass_the_runs_of_changes(
    world: World, runtime: Runtime, clock: Clock, application: FastAPI
) -> None:
    driver = GitHubDriver(world)
    await world.goal("KR-1")
    await driver.connect(webhook_secret=SECRET)
    for _ in range(4):
        driver.add("Checkout")
    await driver.sync("full")
    (first,) = await _changed(world, "POST", "/rules", _rule(1, "Nothing"))
    await _claimed(runtime, first)
    (second,) = await _changed(world, "POST", "/rules", _rule(2, "Nothing"))
    async with doors(application, world):
        driver.describe("acme/shop#1", "Key-Result: KR-1")
        driver.say("acme/shop#2", "/northing link KR-1")
        await world.github.webhook_sender.idle()
        await world.drain()
        link = {"epic": {"source": "github", "key": "acme/shop#3"}, "key_result": "KR-1"}
        await world.send("POST", "/links", link, expect=201)
        await world.drain()
        aligned = ["Aligned with KR-1 (Checkout conversion). Thank you."]
        assert [driver.comments(f"acme/shop#{n}")[:1] for n in (1, 2, 3)] == [aligned] * 3
    states = dict(await _evaluate_runs(world))
    assert (states.pop(first), states.pop(second)) == ("running", "queued")
    assert set(states.values()) == {"succeeded"}


async def test_deliveries_join_the_run_that_no_worker_has_begun(
    world: World, runtime: Runtime, application: FastAPI
) -> None:
    await _shop(world)
    await world.send("PATCH", "/sources/jira", {"webhook_secret": SECRET})
    await world.drain()
    (change,) = await _changed(world, "POST", "/rules", _rule(1))
    async with doors(application, world):
        for key in ("SHOP-1", "SHOP-2"):
            world.site.edit(key, summary="Refunds")
            await world.jira.webhook_sender.idle()
            await process_deliveries(runtime, (await only_source(runtime)).id)
        runs = {one["run"] for one in await listed(world, "/deliveries", source="jira") if one["run"]}
        (run,) = runs
        shown = await world.send("GET", f"/runs/{run}")
        assert (shown["state"], shown["seen"], shown["updated"]) == ("queued", 2, 2)
        assert (shown["causes"], run != change) == (["webhooks"], True)


async def test_withdrawing_it_takes_back_what_all_causes_made(world: World) -> None:
    driver = JiraDriver(world)
    for number in (1, 2):
        await world.goal(f"KR-{number}")
        driver.add("An epic", description=f"Key-Result: KR-{number}")
    await driver.connect()
    await driver.sync("full")
    runs = {
        run
        for number in (1, 2)
        for run in await _changed(world, "PATCH", f"/key-results/KR-{number}", {"state": "achieved"})
    }
    await world.drain()
    (run,) = runs
    shown = await world.send("GET", f"/runs/{run}")
    assert (shown["writes"]["posted"], "key result KR-1" in shown["causes"]) == (2, True)
    await world.send("POST", f"/runs/{run}/withdraw", expect=202)
    await world.drain()
    assert [driver.comments(f"SHOP-{n}") for n in (1, 2)] == [["Withdrawn. Sorry for the noise."]] * 2


# --- interrupted, failed ------------------------------------------------------------------------


async def test_one_that_is_taken_up_again_goes_on_where_it_was(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    await _shop(world)
    (run,) = await _changed(world, "POST", "/rules", _rule(1))
    async with runtime.sessions.begin() as session:
        await session.execute(
            text("UPDATE runs SET evaluated_up_to = (SELECT min(id) FROM epics) WHERE id = :run"),
            {"run": run},
        )
    clock.advance(minutes=1)
    await world.drain()
    assert await _evaluated(runtime, clock) == ["SHOP-2"]


async def test_the_causes_of_one_that_failed_are_given_to_another(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    await _shop(world)
    (failed,) = await _changed(world, "POST", "/rules", _rule(1))
    run = await _claimed(runtime, failed)
    async with runtime.sessions.begin() as session:
        await close_run(session, run, "another", "failed", await runtime.now(session), None)
    await sweep(runtime)
    assert await _evaluate_runs(world) == [(failed, "failed")]
    clock.advance(seconds=RETRY_AFTER_FAILURE.total_seconds())
    for _ in range(2):
        await sweep(runtime)
    (_, (again, state)) = await _evaluate_runs(world)
    assert state == "queued"
    async with runtime.sessions() as session:
        assert await causes_of(session, again) == await causes_of(session, failed)
    await world.drain()
    assert await _evaluated(runtime, clock) == ["SHOP-1", "SHOP-2"]
    clock.advance(seconds=RETRY_AFTER_FAILURE.total_seconds())
    await sweep(runtime)
    assert await _evaluate_runs(world) == [(failed, "failed"), (again, "succeeded")]
