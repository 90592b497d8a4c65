"""What the drop guard held goes at a person's word, and nothing else goes with it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import func, select

from app.runtime import Runtime
from connectors.sandbox import faults
from mappings.runs.queue import claim_run, close_run, postpone_run
from mappings.sources.operations import IN_FULL
from mappings.tables import HeldRemovalRow
from tests.support.clock import Clock, later
from tests.support.locks import holding
from tests.support.queries import gone
from tests.support.tracker_drivers import either
from tests.support.world import OFF, World

SHOP = {"projects": ["SHOP"]}
LIMIT = faults.answer(429, headers={"Retry-After": "30"})


async def held_removals(runtime: Runtime) -> dict[int, int]:
    """By the id of a run, how many removals the drop guard holds for it."""
    async with runtime.sessions() as session:
        held = select(HeldRemovalRow.run_id, func.count()).group_by(HeldRemovalRow.run_id)
        return {run_id: count for run_id, count in await session.execute(held)}


async def _connect(world: World, count: int = 10, **members: Any) -> list[str]:
    """A Jira source, read once; the keys of its epics."""
    made = [world.site.create("SHOP", f"Epic {number}").key for number in range(count)]
    await world.connect_jira(notices=OFF, scope=SHOP, **members)
    assert (await world.sync("jira"))["state"] == "succeeded"
    return made


def _delete(world: World, gone: list[str]) -> None:
    for key in gone:
        world.site.delete(key)


async def _guarded(world: World, count: int = 10, deleted: int = 7) -> tuple[Any, list[str]]:
    """A run that the guard held, and all keys there were; the first `deleted` are gone."""
    made = await _connect(world, count)
    _delete(world, made[:deleted])
    return await _held(world), made


async def _held(world: World, source: str = "jira") -> Any:
    run = await world.sync(source, "full")
    assert (run["state"], run["deleted"], run["error"]["code"]) == ("partial", 0, "drop_guard")
    return run


async def _accept(world: World, run: Any, expect: int = 202) -> Any:
    return await world.send("POST", f"/runs/{run['id']}/accept-removals", expect=expect)


async def _accepted(world: World, run: Any) -> Any:
    """The run that does it, done."""
    opened = await _accept(world, run)
    await world.drain()
    return await world.send("GET", f"/runs/{opened['id']}")


@pytest.mark.parametrize("kind", either("github"))
async def test_a_word_lets_go_what_was_held(world: World, runtime: Runtime, clock: Clock, kind: str) -> None:
    if kind == "jira":
        made = [world.site.create("SHOP", "An epic").key for _ in range(10)]
        await world.connect_jira(kind, notices=OFF, scope=SHOP)
    else:
        scope = {"repositories": ["acme/shop"]}
        made = [
            f"acme/shop#{world.host.create('acme/shop', 'An epic', labels=['epic']).number}"
            for _ in range(10)
        ]
        await world.connect_github(kind, notices=OFF, scope=scope)
    await world.sync(kind)
    for key in made[:6]:
        (world.site if kind == "jira" else world.host).delete(key)
    clock.advance(hours=1)
    held = await _held(world, kind)
    assert f"/api/v1/runs/{held['id']}/accept-removals" in held["error"]["what_to_do"]
    assert held["error"]["message"].startswith("6 of 10 epics are gone")

    opened = await _accept(world, held)
    assert (opened["mode"], opened["state"], opened["source"]) == ("full", "queued", kind)
    assert await _accept(world, held) == opened  # asked again before it ran
    await world.drain()
    run = await world.send("GET", f"/runs/{opened['id']}")
    assert (run["state"], run["deleted"], run["error"]) == ("succeeded", 6, None)
    assert (await world.keys(kind), set(await gone(runtime))) == (made[6:], set(made[:6]))
    assert (await world.health(kind))["state"] == "ok"
    assert await _accept(world, held) == run  # and after
    assert len((await world.send("GET", f"/runs?source={kind}&mode=full"))["items"]) == 2
    assert await held_removals(runtime) == {}
    message = (await world.send("GET", "/audit-log?what=run"))["items"][0]
    assert (message["action"], message["after"], message["who"]) == (
        "changed",
        {"accepts_run_id": held["id"]},
        "admin token",
    )


async def test_a_ticket_that_answers_stays(world: World, runtime: Runtime) -> None:
    """Two were put right before the word; and now the search hides what was there all along."""
    made = await _connect(world)
    for key in made[:7]:
        world.site.edit(key, type=world.site.type_named("Story"))
    held = await _held(world)
    for key in made[:2]:
        world.site.edit(key, type=world.site.type_named("Epic"))
    nothing = faults.answer(200, {"issues": [], "isLast": True})
    hidden = world.jira.faults.add("POST */search/jql", nothing)
    run = await _accepted(world, held)
    assert (run["state"], run["deleted"], hidden.struck) == ("succeeded", 5, 1)
    assert await world.keys() == [*made[:2], *made[7:]]


async def test_five_more_than_were_held_go_with_them(world: World) -> None:
    held, made = await _guarded(world, 14, 6)
    _delete(world, made[6:11])
    run = await _accepted(world, held)
    assert (run["state"], run["deleted"]) == ("succeeded", 11)
    assert await world.keys() == made[11:]


async def test_six_more_than_were_held_are_held_again(world: World) -> None:
    held, made = await _guarded(world, 14, 6)
    _delete(world, made[6:12])
    run = await _accepted(world, held)
    assert (run["state"], run["deleted"], run["error"]["code"]) == ("partial", 0, "drop_guard")
    assert "6 of 14" in run["error"]["message"]
    assert f"beyond what run {held['id']} was allowed" in run["error"]["message"]
    assert await world.keys() == made
    refused = await _accept(world, held, 409)
    assert f"Accept run {run['id']}." in refused["detail"]
    again = await _accepted(world, run)
    assert (again["state"], again["deleted"]) == ("succeeded", 12)


async def test_credentials_that_die_are_no_removal_though_allowed(world: World, runtime: Runtime) -> None:
    held, made = await _guarded(world)
    # They die once the tickets are asked for, and a stranger is answered with nothing.
    world.jira.faults.add("POST */bulkfetch", faults.answer(200, {"issues": []}))
    world.jira.faults.add("GET */myself", faults.first(world.site.revoke_credentials), skip=1)
    failed = await _accepted(world, held)
    assert (failed["state"], failed["error"]["code"], failed["deleted"]) == ("failed", "unauthorized", 0)
    assert await world.keys() == made
    world.site.restore_credentials()
    again = await _accepted(world, held)  # the word still stands, in a run of its own
    assert (again["id"] > failed["id"], again["state"], again["deleted"]) == (True, "succeeded", 7)


async def test_lookups_end_early_and_a_run_taken_up_again_holds_only_what_is_gone(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    """Such a run has forgotten what it met: without asking for each, what is there would be held too."""
    made = await _connect(world, 110)
    _delete(world, made[:104])
    world.jira.log.clear()
    held = await _held(world)
    assert held["error"]["message"].startswith("100 or more of 110 epics")
    assert len(world.jira.log.matching("POST */bulkfetch")) == 1
    assert await held_removals(runtime) == {held["id"]: 104}
    world.jira.faults.add("POST */bulkfetch", LIMIT)
    run = await world.sync("jira", "full")
    assert run["state"] == "waiting"
    await later(world, runtime, clock, minutes=1)
    run = await world.send("GET", f"/runs/{run['id']}")
    assert run["error"]["message"].startswith("104 of 110 epics")
    assert await held_removals(runtime) == {run["id"]: 104}
    assert (await _accepted(world, run))["deleted"] == 104
    assert await world.keys() == made[104:]


# --- which run the word is for, and which takes it --------------------------------------------------


async def test_a_run_that_holds_nothing_or_nothing_any_more_is_refused(
    world: World, runtime: Runtime
) -> None:
    made = await _connect(world)
    whole = await world.sync("jira", "full")
    assert "holds no removals" in (await _accept(world, whole, 409))["detail"]
    await world.refused("POST", "/runs/999/accept-removals", status=404)
    for key in made[:7]:
        world.site.edit(key, type=world.site.type_named("Story"))
    held = await _held(world)
    incremental = await world.sync("jira")
    assert "`incremental` and `succeeded`" in (await _accept(world, incremental, 409))["detail"]
    newer = await _held(world)
    assert f"Accept run {newer['id']}." in (await _accept(world, held, 409))["detail"]
    assert await held_removals(runtime) == {newer["id"]: 7}
    for key in made[:7]:
        world.site.edit(key, type=world.site.type_named("Epic"))
    last = await world.sync("jira", "full")
    assert (last["state"], await held_removals(runtime)) == ("succeeded", {})
    refused = await _accept(world, newer, 409)
    assert f"Run {last['id']} has read the source in full since" in refused["detail"]
    assert refused["detail"].endswith(IN_FULL)


async def test_the_word_is_for_one_tracker(world: World) -> None:
    held, made = await _guarded(world)
    bot = world.site.bot
    here = {"credentials": {"type": "api_token", "email": bot.email, "token": bot.token}}
    there = {**here, "base_url": world.jira_url.replace("127.0.0.1", "localhost")}
    await world.send("PATCH", "/sources/jira", there)
    assert "present tracker" in (await _accept(world, held, 409))["detail"]
    opened = await _accept(world, await _held(world))
    await world.send("PATCH", "/sources/jira", {**here, "base_url": world.jira_url})
    await world.drain()
    run = await world.send("GET", f"/runs/{opened['id']}")
    assert (run["state"], run["deleted"], run["error"]["code"]) == ("partial", 0, "drop_guard")
    assert await world.keys() == made


async def test_a_run_that_reads_already_does_not_take_the_word_and_a_queued_one_does(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    held, made = await _guarded(world)
    world.jira.faults.add("GET */myself", LIMIT)
    reading = await world.sync("jira", "full")
    assert reading["state"] == "waiting"
    queued = await world.send("POST", "/sources/jira/sync", {"mode": "incremental"})
    assert queued["id"] == reading["id"]
    opened = await _accept(world, held)
    assert opened["id"] > reading["id"]
    # Whoever syncs now gets a run that does as much, and the word stays where it is.
    asked = await world.send("POST", "/sources/jira/sync", {"mode": "full"})
    assert asked["id"] == reading["id"]
    # The second time tickets are looked up, which is in the run that has the word; it is taken up again.
    world.jira.faults.add("POST */bulkfetch", LIMIT, skip=1)
    await later(world, runtime, clock, minutes=1)
    first = await world.send("GET", f"/runs/{reading['id']}")
    assert (first["state"], first["error"]["code"]) == ("partial", "drop_guard")
    assert (await world.send("GET", f"/runs/{opened['id']}"))["state"] == "waiting"
    await later(world, runtime, clock, minutes=1)
    run = await world.send("GET", f"/runs/{opened['id']}")
    assert (run["state"], run["deleted"], await world.keys()) == ("succeeded", 7, made[7:])
    assert await held_removals(runtime) == {}


async def test_all_who_say_so_at_once_get_the_one_run_that_is_queued(world: World) -> None:
    held, made = await _guarded(world)
    queued = await world.send("POST", "/sources/jira/sync", {"mode": "incremental"})
    sync = world.send("POST", "/sources/jira/sync", {"mode": "full"})
    opened = await asyncio.gather(*(_accept(world, held) for _ in range(4)), sync)
    assert {(run["id"], run["mode"]) for run in opened} == {(queued["id"], "full")}
    await world.drain()
    assert (await world.send("GET", f"/runs/{queued['id']}"))["deleted"] == 7
    assert await world.keys() == made[7:]


# --- the order of locks -----------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["close", "wait"])
async def test_who_ends_a_run_waits_for_its_source_before_it_has_the_run(
    world: World, runtime: Runtime, clock: Clock, database_url: str, end: str
) -> None:
    """As whoever opens one takes them; the other way about the two would wait for each other."""
    await world.connect_jira(notices=OFF, scope=SHOP)
    run_id = (await world.send("POST", "/sources/jira/sync"))["id"]
    async with runtime.sessions.begin() as session:
        run = await claim_run(session, run_id, "worker", clock())
    assert run is not None

    async def ends() -> None:
        async with runtime.sessions.begin() as session:
            if end == "close":
                await close_run(session, run, "worker", "succeeded", clock(), None)
            else:
                await postpone_run(session, run, "worker", clock(), {})

    async with holding(database_url) as holder:
        await holder.hold("SELECT 1 FROM sources FOR NO KEY UPDATE")
        ending = asyncio.create_task(ends())
        await holder.until_waiting(1)
        await holder.hold("SELECT 1 FROM runs WHERE id = %s FOR UPDATE NOWAIT", run_id)
        await holder.let_go()
        await ending
