"""Runs as they are asked for and shown: one at a time for each source, newest first."""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import Any

import pytest

from app import pipeline
from app.runtime import Runtime
from connectors.sandbox import faults
from tests.support.clock import Clock, later
from tests.support.queries import all_of
from tests.support.runs import counts
from tests.support.world import OFF, World

SHOP = {"projects": ["SHOP"]}


async def _ask(world: World, mode: str = "incremental", source: str = "jira") -> Any:
    return await world.send("POST", f"/sources/{source}/sync", {"mode": mode}, expect=202)


async def _running(world: World, mode: str, source: str = "jira") -> int:
    """A run under way: it waits for the tracker's limit, as it might for an answer."""
    run_id: int = (await _ask(world, mode, source))["id"]
    world.jira.faults.add("GET */myself", faults.answer(429, headers={"Retry-After": "30"}))
    await world.drain()
    return run_id


async def test_an_answer_holds_all_that_is_promised(world: World, clock: Clock) -> None:
    world.site.create("SHOP", "One")
    await world.connect_jira(notices=OFF, scope=SHOP)
    asked = await world.send("POST", "/sources/jira/sync", expect=202)
    assert (asked["state"], asked["mode"], asked["started_at"]) == ("queued", "incremental", None)
    await world.drain()
    run = await world.send("GET", f"/runs/{asked['id']}")
    assert set(run) >= {
        *("id", "source", "mode", "state", "seen", "created", "updated", "deleted", "skipped", "requests"),
        *("writes", "waiting_until", "started_at", "finished_at", "error"),
    }
    assert set(run["writes"]) == {"pending", "posted", "edited", "resolved", "withdrawn", "held", "failed"}
    assert datetime.fromisoformat(run["started_at"]) == datetime.fromisoformat(run["finished_at"]) == clock()
    # The account, the projects, who may browse them, the types, the epics, and their children.
    assert run["requests"] == world.jira.log.count() == 6
    source = await world.send("GET", "/sources/jira")
    assert source["last_run"] == run


# What is there, what is asked for; whether that is the answer if it is queued, if it is under way; its mode.
DOES_AS_MUCH = [
    ("incremental", "incremental", True, True, "incremental"),
    ("full", "incremental", True, True, "full"),
    ("full", "full", True, True, "full"),
    ("incremental", "full", True, False, "full"),  # a queued one is upgraded, one under way is followed
]


@pytest.mark.parametrize("queued", [True, False])
async def test_what_is_queued_or_under_way_is_the_answer_if_it_does_as_much(
    world: World, runtime: Runtime, clock: Clock, queued: bool
) -> None:
    world.site.create("SHOP", "One")
    for number, (there, asked, if_queued, if_under_way, mode) in enumerate(DOES_AS_MUCH):
        name = f"source-{number}"
        await world.connect_jira(name, notices=OFF, scope=SHOP)
        first = (await _ask(world, there, name))["id"] if queued else await _running(world, there, name)
        run = await _ask(world, asked, name)
        same = if_queued if queued else if_under_way
        assert ((run["id"] == first), run["mode"]) == (same, mode)
        # Asked once more, whatever it was: nothing new.
        assert (await _ask(world, asked, name))["id"] == run["id"]
        await later(world, runtime, clock, minutes=1)
        runs = (await world.send("GET", f"/runs?source={name}"))["items"]
        assert [one["id"] for one in runs] == ([first] if same else [run["id"], first])
        assert {one["state"] for one in runs} == {"succeeded"}


async def test_a_queued_run_waits_for_the_one_before_it_and_follows_at_once(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    world.site.create("SHOP", "One")
    await world.connect_jira(notices=OFF, scope=SHOP)
    first = await _running(world, "incremental")
    second = (await _ask(world, "full"))["id"]
    await world.drain()
    await pipeline.execute_run(runtime, second)
    states = {run["id"]: run["state"] for run in (await world.send("GET", "/runs"))["items"]}
    assert states == {first: "waiting", second: "queued"}
    # An incremental sync asked for now is served by the one that is under way.
    assert (await _ask(world))["id"] == first
    clock.advance(seconds=30)
    await pipeline.execute_run(runtime, first)
    # No sweep: the end of the first has woken the second.
    await world.drain()
    states = {run["id"]: run["state"] for run in (await world.send("GET", "/runs"))["items"]}
    assert states == {first: "succeeded", second: "succeeded"}


async def test_many_who_ask_at_once_get_one_run(world: World, runtime: Runtime) -> None:
    world.site.create("SHOP", "One")
    await world.connect_jira(notices=OFF, scope=SHOP)
    modes = ["incremental", "full"] * 4
    runs = await asyncio.gather(*(_ask(world, mode) for mode in modes))
    assert len({run["id"] for run in runs}) == 1
    await asyncio.gather(*(pipeline.execute_run(runtime, runs[0]["id"]) for _ in range(4)))
    (run,) = (await world.send("GET", "/runs"))["items"]
    assert (run["state"], run["mode"], counts(run)) == ("succeeded", "full", (1, 1, 0, 0, 0))
    assert world.jira.log.count("GET */myself") == 1


async def test_sources_do_not_wait_for_each_other(world: World, runtime: Runtime, clock: Clock) -> None:
    await world.connect_jira(notices=OFF, scope=SHOP)
    await world.connect_github(notices=OFF, scope={"repositories": ["acme/shop"]})
    await _running(world, "full")
    assert (await world.sync("github"))["state"] == "succeeded"


async def test_runs_are_listed_newest_first_and_filtered(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    world.site.create("SHOP", "One")
    await world.connect_jira(notices=OFF, scope=SHOP)
    await world.connect_github(notices=OFF, scope={"repositories": ["acme/nothing"]})
    done = [
        await world.sync("jira", "full"),
        await world.sync("github"),
        await world.sync("jira"),
        await world.sync("github", "full"),
        await world.sync("jira"),
    ]
    newest_first = [run["id"] for run in reversed(done)]

    async def listed(query: str = "") -> list[int]:
        return [run["id"] for run in (await world.send("GET", f"/runs?{query}"))["items"]]

    assert await listed() == newest_first == sorted(newest_first, reverse=True)
    assert await listed("source=JIRA") == [done[4]["id"], done[2]["id"], done[0]["id"]]
    assert await listed("mode=full") == [done[3]["id"], done[0]["id"]]
    assert await listed("state=partial") == [done[3]["id"], done[1]["id"]]
    assert await listed("source=jira&mode=incremental&state=succeeded") == [done[4]["id"], done[2]["id"]]
    page = await world.send("GET", "/runs?source=jira&limit=2")
    rest = await world.send("GET", f"/runs?source=jira&limit=2&cursor={page['next']}")
    assert [run["id"] for run in page["items"] + rest["items"]] == await listed("source=jira")
    assert rest["next"] is None


async def test_an_unknown_filter_is_refused(world: World) -> None:
    for query in ("source=nobody", "state=done", "mode=half", "limit=0", "sort=id"):
        assert list(await world.refused("GET", f"/runs?{query}")) == [query.partition("=")[0]]


async def test_a_sync_that_cannot_be_asked_for_is_refused(world: World) -> None:
    await world.send("POST", "/sources/nobody/sync", {"mode": "full"}, expect=404)
    await world.connect_jira(notices=OFF, scope=SHOP)
    for body, field in (
        ({"mode": "half"}, "mode"),
        ({"mode": "evaluate"}, "mode"),
        ({"mode": "full", "force": True}, "force"),
    ):
        assert list(await world.refused("POST", "/sources/jira/sync", body)) == [field]
    assert (await world.send("GET", "/runs"))["items"] == []
    await world.send("GET", "/runs/999", expect=404)
    assert (await world.health())["state"] == "unknown"


async def test_asking_and_waking_are_one_transaction(world: World, runtime: Runtime) -> None:
    await world.connect_jira(notices=OFF, scope=SHOP)
    await _ask(world)
    ((task, by),) = await all_of(runtime, "SELECT task_name, xmin::text FROM procrastinate_jobs")
    assert task == "read_source"
    assert await all_of(runtime, "SELECT state, xmin::text FROM runs") == [("queued", by)]
