"""What can grow has a bound, and what has an end is cleaned up; docs/bounds.md tells of each."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, insert, select

from app.jobs.sweep import sweep
from app.runtime import Runtime
from app.webhooks.body_budget import SMALL, SMALLEST_RESERVATION, BodyBudget, BudgetExhausted
from app.webhooks.door import Intake
from mappings.tables import Base, CommandCommentRow, EpicRow, NoticeRow, RuleRow, RunCursorRow
from tests.support.clock import Clock
from tests.support.queries import all_of, every_row, number_of
from tests.support.runs import all_runs
from tests.support.webhook_posts import connect, headers, post
from tests.support.world import World

pytestmark = pytest.mark.database

ROOT = Path(__file__).parents[1]
BOUNDS = (ROOT / "docs" / "bounds.md").read_text(encoding="utf-8")


# --- the text ---------------------------------------------------------------------------------


def test_every_table_is_told_of() -> None:
    named = set(re.findall(r"`(\w+)`", BOUNDS))
    assert set(Base.metadata.tables) - named == set()
    assert "procrastinate_jobs" in named


def test_every_test_that_is_named_is_there() -> None:
    named = re.findall(r"`(test_\w+\.py)(?:::(\w+))?`", BOUNDS)
    assert len(named) > 20
    for file, test in named:
        source = (ROOT / "tests" / file).read_text(encoding="utf-8")
        assert not test or re.search(rf"^(async )?def {test}\(", source, re.MULTILINE), (file, test)


# --- bodies in the door -----------------------------------------------------------------------


def test_a_place_holds_what_a_body_has_grown_to() -> None:
    body_budget = BodyBudget(small=3 * SMALL, large=4 * SMALL)
    with body_budget.reserve() as reservation:
        assert (body_budget.small, body_budget.large) == (3 * SMALL - SMALLEST_RESERVATION, 4 * SMALL)
        reservation.grow(SMALL)
        assert (body_budget.small, body_budget.large) == (2 * SMALL, 4 * SMALL)
        reservation.grow(SMALL + 1)
        assert (body_budget.small, body_budget.large) == (3 * SMALL, 3 * SMALL - 1)
        reservation.grow(4 * SMALL)
        assert body_budget.large == 0
        with pytest.raises(BudgetExhausted):
            reservation.grow(4 * SMALL + 1)
    assert (body_budget.small, body_budget.large) == (3 * SMALL, 4 * SMALL)


def test_large_bodies_leave_room_for_small_ones() -> None:
    body_budget = BodyBudget(small=2 * SMALLEST_RESERVATION, large=SMALL)
    with body_budget.reserve(), pytest.raises(BudgetExhausted), body_budget.reserve() as large:
        large.grow(2 * SMALL)
    with body_budget.reserve(), body_budget.reserve(), pytest.raises(BudgetExhausted), body_budget.reserve():
        pass
    assert (body_budget.small, body_budget.large) == (2 * SMALLEST_RESERVATION, SMALL)


class Slow:
    """A body that stops on its way until it is told to go on."""

    def __init__(self, size: int) -> None:
        self.size, self.reached, self.go_on = size, asyncio.Event(), asyncio.Event()

    async def body(self) -> AsyncIterator[bytes]:
        yield b" " * self.size
        self.reached.set()
        await self.go_on.wait()
        yield b" "


async def test_a_full_door_asks_to_come_again_and_takes_small_ones_still(
    world: World, intake: Intake, monkeypatch: pytest.MonkeyPatch
) -> None:
    await connect(world)
    monkeypatch.setattr(intake, "body_budget", BodyBudget(small=3 * SMALLEST_RESERVATION, large=2 * SMALL))
    slow = Slow(SMALL + 1)
    sending = asyncio.create_task(
        world.api.post("/webhooks/github", content=slow.body(), headers=headers(b""))
    )
    await slow.reached.wait()
    refused = await post(world, body=b" " * SMALL + b" " * SMALL)
    assert (refused.status_code, refused.headers["retry-after"]) == (503, "10")
    assert refused.headers["content-type"] == "application/problem+json"
    assert (await post(world)).status_code == 202
    slow.go_on.set()
    assert (await sending).status_code == 401
    assert (await post(world, body=b" " * SMALL + b" " * (SMALL - 9))).status_code == 400
    assert intake.body_budget == BodyBudget(small=3 * SMALLEST_RESERVATION, large=2 * SMALL)


# --- what is cleaned up -----------------------------------------------------------------------


async def stored_epics(runtime: Runtime) -> set[str]:
    """The epics whose rows are there, also those in no list."""
    async with runtime.sessions() as session:
        return set(await session.scalars(select(EpicRow.key)))


async def test_where_an_ended_run_stood_is_forgotten_within_the_hour(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    world.site.create("SHOP", "One")
    await world.connect_jira(scope={"projects": ["SHOP"]})
    await world.sync("jira", "full")
    assert await number_of(runtime, RunCursorRow) == 1
    clock.advance(minutes=59)
    await sweep(runtime)
    assert await number_of(runtime, RunCursorRow) == 1
    clock.advance(minutes=2)
    await sweep(runtime)
    assert await number_of(runtime, RunCursorRow) == 0
    clock.advance(hours=1)
    assert (await world.sync("jira"))["state"] == "succeeded"


async def test_old_runs_go_but_for_the_newest_reading_ones(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    await world.connect_jira(scope={"projects": ["SHOP"]})
    for mode in ("full", "full", "incremental", "full", "incremental"):
        await world.sync("jira", mode)
    await world.goal()
    await world.drain()
    before = await all_runs(world)
    clock.advance(days=399)
    await sweep(runtime)
    assert await all_runs(world) == before
    clock.advance(days=2)
    await sweep(runtime)
    assert await all_runs(world) == [(4, "full", "succeeded"), (5, "incremental", "succeeded")]
    assert await number_of(runtime, RunCursorRow) == 0
    await world.sync("jira", "full")
    await sweep(runtime)
    assert [id for id, *_ in await all_runs(world)] == [5, 6]


async def test_a_run_whose_comment_stands_stays_and_can_be_withdrawn(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    key = world.site.create("SHOP", "An epic").key
    await world.no_grace()
    await world.connect_jira(scope={"projects": ["SHOP"]}, notices={"mode": "live"})
    made = (await world.sync("jira", "full"))["id"]
    clock.advance(days=1)
    world.site.edit(key, description="Key-Result: KR-404")
    edited = (await world.sync("jira", "full"))["id"]
    assert (await world.epic("jira", key))["notice"]["run"] == edited
    clock.advance(days=450)
    await sweep(runtime)
    assert {made, edited} <= {id for id, *_ in await all_runs(world)}
    await world.send("POST", f"/runs/{made}/withdraw", {"delete": True})
    await world.drain()
    assert world.site.issue(key).comments == []
    clock.advance(days=450)
    await sweep(runtime)
    # The withdrawal is what the notice names now, and it names what it withdrew.
    assert made in {id for id, *_ in await all_runs(world)}
    async with runtime.sessions.begin() as session:
        await session.execute(delete(NoticeRow))
    for _ in range(2):
        await sweep(runtime)
    assert await all_runs(world) == [(edited, "full", "succeeded")]


async def test_epics_long_gone_go_but_for_what_a_person_or_a_comment_of_ours_holds(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    titles = ("Commented", "Plain", "Linked", "Waived", "Commanded", "Of late", "There")
    keys = {title: world.site.create("SHOP", title).key for title in titles}
    await world.goal("KR-1")
    await world.no_grace()
    notices = {"mode": "live", "per_day": 1, "per_run": 100, "max_share": 1.0}
    await world.connect_jira(scope={"projects": ["SHOP"]}, notices=notices)
    await world.sync("jira", "full")
    assert world.site.issue(keys["Commented"]).comments
    linked = {"epic": {"source": "jira", "key": keys["Linked"]}, "key_result": "KR-1"}
    await world.send("POST", "/links", linked)
    findings = (await world.send("GET", "/findings?limit=500"))["items"]
    waived = next(found for found in findings if found["epic"]["key"] == keys["Waived"])
    soon = (clock() + timedelta(days=60)).date().isoformat()
    await world.send("POST", f"/findings/{waived['id']}/waive", {"reason": "Why not", "until": soon})
    async with runtime.sessions.begin() as session:
        epics = {epic.title: epic for epic in await session.scalars(select(EpicRow))}
        for title in titles[:-1]:
            epics[title].removed_at = clock()
        epics["Of late"].removed_at = clock() + timedelta(days=2)
        commanded = CommandCommentRow(epic_id=epics["Commanded"].id, remote_id="1", author="ann", commands=[])
        session.add(commanded)
    clock.advance(days=400, hours=1)
    await sweep(runtime)
    assert await stored_epics(runtime) == set(keys.values()) - {keys["Plain"]}
    clock.advance(days=2)
    await sweep(runtime)
    assert await stored_epics(runtime) == set(keys.values()) - {keys["Plain"], keys["Of late"]}


async def test_there_are_two_thousand_rules_at_most(world: World, runtime: Runtime) -> None:
    await world.goal("KR-1")
    rule = {"name": "The first", "when": {"label": "x"}, "key_result": "KR-1", "enabled": False}
    first = await world.send("POST", "/rules", rule)
    async with runtime.sessions.begin() as session:
        when = {"when": {"label": "x"}, "key_result_id": 1, "priority": 100, "enabled": False}
        await session.execute(insert(RuleRow), [{"name": f"Rule {number}", **when} for number in range(1999)])
    problem = await world.send("POST", "/rules", rule | {"name": "One more"}, expect=409)
    assert "2000 rules" in problem["detail"]
    await world.send("DELETE", f"/rules/{first['id']}")
    await world.send("POST", "/rules", rule | {"name": "One more"})


async def test_calls_for_the_same_work_are_one(runtime: Runtime, world: World) -> None:
    async with runtime.sessions.begin() as session:
        for number in range(50):
            await runtime.wake(session, "process_deliveries", source_id=7)
            await runtime.wake(session, "write_tickets", source_id=number % 2)
    before = await all_of(
        runtime, "SELECT max(id), task_name, args::text FROM procrastinate_jobs GROUP BY 2, 3"
    )
    rows = await every_row(runtime)
    assert len(rows["procrastinate_jobs"]) == 100
    await sweep(runtime)
    left = await all_of(runtime, "SELECT id, task_name, args::text FROM procrastinate_jobs")
    assert sorted(left) == sorted(before)
    await world.drain()
    rows = await every_row(runtime)
    assert (rows["procrastinate_jobs"], rows["procrastinate_events"]) == ([], [])
