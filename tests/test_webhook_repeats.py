"""Bodies that come again under new ids: no event is lost, and no full run is bought."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from app.runtime import Runtime
from tests.support.clock import Clock, later
from tests.support.queries import all_of
from tests.support.tracker_requests import Pause
from tests.support.webhook_posts import EDITED, SECRET, connect, delivery, post, signature
from tests.support.world import World

pytestmark = pytest.mark.database

RENAMED = {
    "action": "edited",
    "label": {"id": 1, "name": "epic"},
    "changes": {"name": {"from": "epik"}},
    "repository": {"full_name": "acme/shop"},
}
LABEL = {"x_github_event": "label"}


async def again(world: World, name: str, payload: Any, **others: Any) -> Any:
    """What is stored of a payload that is sent under this id."""
    return await delivery(world, await post(world, payload, x_github_delivery=name, **others))


async def full_runs(runtime: Runtime) -> int:
    return len(await all_of(runtime, "SELECT id FROM runs WHERE mode = 'full'"))


def of(one: Any) -> tuple[str, str | None]:
    return one["state"], one["reason"]


def epic_edited(world: World) -> dict[str, Any]:
    issue = world.host.create("acme/shop", "Reorder in two taps", labels=["epic"])
    names = {"id": issue.id, "number": issue.number, "labels": [{"name": "epic"}]}
    return {"action": "edited", "issue": names, "repository": {"full_name": "acme/shop"}}


async def test_a_body_is_dropped_only_while_its_twin_waits(world: World) -> None:
    """One that is being worked on has perhaps been read already."""
    edited = epic_edited(world)
    await connect(world)
    first = await again(world, "first", edited)
    twins = [await again(world, name, edited) for name in ("FIRST", "second")]
    assert of(first) == ("received", None)
    assert [of(twin) for twin in twins] == [("ignored", "repeated")] * 2
    assert len({first["id"], *(twin["id"] for twin in twins)}) == 3
    assert (await again(world, "second", edited))["id"] == twins[1]["id"]

    held = Pause()
    world.github.faults.add("GET */issues/*", held)
    working = asyncio.ensure_future(world.drain())
    await held.reached.wait()
    assert of(await again(world, "third", edited)) == ("received", None)
    assert of(await again(world, "fourth", edited)) == ("ignored", "repeated")
    held.go_on.set()
    await working


async def test_what_a_body_names_is_read_again_once_a_minute(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    edited = epic_edited(world)
    await connect(world)
    await again(world, "first", edited)
    await world.drain()
    reads = world.github.log.count("GET */issues/*")
    clock.advance(seconds=10)
    for number in range(5):
        await again(world, f"early-{number}", edited)
    await world.drain()
    assert world.github.log.count("GET */issues/*") == reads
    await later(world, runtime, clock, seconds=50)
    assert world.github.log.count("GET */issues/*") == reads + 1
    stored = await all_of(runtime, "SELECT remote_id, state, reason FROM deliveries ORDER BY id")
    assert stored[1:3] == [("early-0", "done", None), ("early-1", "ignored", "repeated")]
    clock.advance(minutes=5)
    await again(world, "much later", edited)
    await world.drain()
    assert world.github.log.count("GET */issues/*") == reads + 2
    assert await full_runs(runtime) == 0


async def test_a_replayed_body_buys_no_full_run(world: World, runtime: Runtime, clock: Clock) -> None:
    await connect(world)
    for number in range(9):
        await again(world, f"replayed-{number}", RENAMED, **LABEL)
        await later(world, runtime, clock, seconds=20)
    await later(world, runtime, clock, seconds=60)
    reading = "SELECT mode, count(*) FROM runs GROUP BY mode ORDER BY mode"
    assert await all_of(runtime, reading) == [("full", 1), ("incremental", 3)]
    assert set(await all_of(runtime, "SELECT state FROM deliveries")) == {("done",), ("ignored",)}


async def test_many_renamed_labels_buy_a_full_run_a_minute(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    await connect(world)
    for number in range(6):
        await again(world, f"{number}", {**RENAMED, "label": {"id": number}}, **LABEL)
        await world.drain()
    assert await full_runs(runtime) == 2  # the second waits, and is the answer to all but the first
    await later(world, runtime, clock, seconds=60)
    done = "SELECT count(*) FROM runs WHERE mode = 'full' AND state = 'succeeded'"
    assert await all_of(runtime, done) == [(2,)]
    assert await all_of(runtime, "SELECT DISTINCT state FROM deliveries") == [("done",)]


async def test_a_person_does_not_wait_for_that_minute(world: World, runtime: Runtime) -> None:
    await connect(world)
    for number in range(2):
        await again(world, f"{number}", {**RENAMED, "label": {"id": number}}, **LABEL)
        await world.drain()
    run = await world.sync("github", "full")
    assert (run["mode"], run["state"]) == ("full", "succeeded")
    assert await full_runs(runtime) == 2


async def test_a_replay_is_a_persons_word(world: World, runtime: Runtime, clock: Clock) -> None:
    await connect(world)
    for name in ("first", "second"):
        repeat = await again(world, name, RENAMED, **LABEL)
        await later(world, runtime, clock, minutes=2)
    assert await full_runs(runtime) == 1
    await world.send("POST", f"/deliveries/{repeat['id']}/replay")
    await later(world, runtime, clock, minutes=1)
    assert await full_runs(runtime) == 2


async def test_within_a_burst_one_body_is_worked_on_once(world: World) -> None:
    edited = epic_edited(world)
    await connect(world)
    old = await again(world, "old", edited)
    await world.drain()
    names = ["old", *(f"new-{number}" for number in range(5))]
    answers = await asyncio.gather(*(post(world, edited, x_github_delivery=name) for name in names))
    stored = [await delivery(world, answer) for answer in answers]
    assert stored[0]["id"] == old["id"]
    assert [of(one) for one in stored[1:]] == [("received", None), *[("ignored", "repeated")] * 4]


async def test_another_event_or_source_with_the_same_body_is_no_repeat(world: World) -> None:
    await connect(world)
    scope = {"repositories": ["acme/shop"]}
    await world.connect_github("second", scope=scope, webhook_secret=SECRET)
    await again(world, "first", EDITED)
    assert of(await again(world, "second", EDITED, **LABEL)) == ("received", None)
    assert of(await delivery(world, await post(world, EDITED, name="second"))) == ("received", None)


async def test_a_failed_twin_hides_nothing(world: World, runtime: Runtime) -> None:
    await connect(world)
    failed = await again(world, "first", RENAMED, **LABEL)
    async with runtime.engine.begin() as connection:
        await connection.exec_driver_sql("UPDATE deliveries SET state = 'failed', due_at = NULL")
    second = await again(world, "second", RENAMED, **LABEL)
    assert of(second) == ("received", None)
    assert of(await again(world, "first", RENAMED, **LABEL)) == ("received", None)
    await world.drain()
    assert await full_runs(runtime) == 1
    assert failed["id"] != second["id"]


async def test_jira_repeats_alike(world: World, runtime: Runtime, clock: Clock) -> None:
    """Cloud names each delivery; Data Center names none, so that the body is the id."""
    await world.connect_jira(webhook_secret=SECRET)
    ticket = world.site.create("SHOP", "One-page checkout")
    updated = {"webhookEvent": "jira:issue_updated", "issue": {"id": ticket.id, "key": ticket.key}}

    async def sent(name: str | None) -> Any:
        body = json.dumps(updated).encode()
        signed: dict[str, Any] = {"x_hub_signature": signature(body), "x_atlassian_webhook_identifier": name}
        return await delivery(world, await post(world, name="jira", body=body, **signed))

    first = await sent("one")
    assert (await sent("one"))["id"] == first["id"]
    assert of(await sent("two")) == ("ignored", "repeated")
    await later(world, runtime, clock, seconds=90)
    unnamed = await sent(None)
    assert of(unnamed) == ("received", None)
    await world.drain()
    assert (await sent(None))["id"] == unnamed["id"]
