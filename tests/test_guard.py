"""The guard: a run that would make too many new comments makes none of them until a person says so."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from fastapi import FastAPI
from sqlalchemy import select

from app import pipeline
from app.runtime import Runtime
from mappings import invalidate
from mappings.locks import LOCK_SOURCE_NOTICES
from mappings.notices.burst_guard import why_too_many
from mappings.notices.operations import approve_notices
from mappings.runs.queue import open_run
from mappings.tables import EpicRow, SourceRow
from tests.support.clock import Clock, later
from tests.support.locks import holding
from tests.support.queries import spent
from tests.support.tracker_drivers import JiraDriver, TrackerDriver, driver_of, either
from tests.support.webhook_deliveries import doors, process_everything
from tests.support.webhook_posts import SECRET
from tests.support.world import World

SUGGESTED = {"per_run": 10, "per_day": 25, "max_share": 0.2}  # the defaults
HIGH_DAY = {"per_run": 10, "per_day": 1000, "max_share": 1}


@pytest.mark.parametrize(
    ("new", "open_epics", "limits", "why"),
    [
        ({"SHOP": 10}, {"SHOP": 100}, (10, 0.2), None),
        ({"SHOP": 11}, {"SHOP": 100}, (10, 0.2), "11 new comments at once; per_run is 10"),
        ({"SHOP": 6, "CORE": 5}, {"SHOP": 100, "CORE": 100}, (10, 0.2), "11 new comments at once"),
        ({"SHOP": 1}, {"SHOP": 100}, (0, 0.2), "1 new comments at once; per_run is 0"),
        ({"SHOP": 4}, {"SHOP": 20}, (10, 0.2), None),  # just the share
        (
            {"SHOP": 5},
            {"SHOP": 20},
            (10, 0.2),
            "5 new comments on the 20 open epics of SHOP; max_share is 0.2",
        ),
        ({"SHOP": 3}, {"SHOP": 3}, (10, 0.2), None),  # three are never too many
        ({"SHOP": 4}, {"SHOP": 4}, (10, 0.2), "4 new comments on the 4 open epics of SHOP"),
        ({"SHOP": 4}, {"SHOP": 4}, (10, 1), None),
        ({"SHOP": 7}, {"SHOP": 4}, (10, 1), None),  # of runs that count together
        ({"SHOP": 4}, {"SHOP": 100}, (10, 0), "4 new comments on the 100 open epics of SHOP; max_share is 0"),
        ({"SHOP": 29}, {"SHOP": 100}, (50, 0.29), None),  # 0.29 of 100 is a little less in binary
        (
            {"SHOP": 2, "CORE": 5},
            {"SHOP": 9, "CORE": 9},
            (10, 0.2),
            "5 new comments on the 9 open epics of CORE",
        ),
    ],
)
def test_why_so_many_new_comments_are_too_many(
    new: dict[str, int], open_epics: dict[str, int], limits: tuple[int, float], why: str | None
) -> None:
    message = why_too_many(new, open_epics, *limits)
    assert message == why if why is None else (message is not None and message.startswith(why))


# --- on the tickets -------------------------------------------------------------------------------


async def _guarded(world: World, kind: str = "jira", limits: Any = HIGH_DAY, **members: Any) -> TrackerDriver:
    driver = driver_of(world, kind)
    await world.goal("KR-1", "Checkout conversion")
    await driver.connect(notices=limits, **members)
    return driver


def _posted(driver: TrackerDriver, keys: list[str]) -> int:
    counts = [len(driver.comments(key)) for key in keys]
    assert set(counts) <= {0, 1}
    return sum(counts)


async def _held(driver: TrackerDriver, reason: str = "guard") -> list[Any]:
    page = await driver.world.send("GET", f"/notices?state=held&source={driver.kind}&limit=500")
    return [item for item in page["items"] if item["reason"] == reason]


async def _last_run(world: World) -> Any:
    return (await world.send("GET", "/runs"))["items"][0]


@pytest.mark.parametrize("kind", either("github"))
async def test_a_sync_with_too_many_makes_none(
    world: World, runtime: Runtime, clock: Clock, kind: str
) -> None:
    driver = await _guarded(world, kind)
    keys = [driver.add(f"Epic {number}") for number in range(11)]
    run = await driver.sync()
    assert (run["writes"]["held"], run["writes"]["pending"], _posted(driver, keys)) == (11, 0, 0)
    assert driver.tracker.log.count(driver.creates) == 0
    notice = await driver.notice(keys[0])
    assert (notice["state"], notice["reason"], notice["run"]) == ("held", "guard", run["id"])
    assert notice["detail"] == (
        f"Run {run['id']} asked for 11 new comments at once; per_run is 10. A person has to approve them."
    )
    assert "Which key result does this epic serve?" in notice["body"]
    # Later runs neither release nor repeat it, and count it no more.
    driver.label(keys[3], "growth")
    newest = driver.add("New")
    run = await driver.sync("full")
    await later(world, runtime, clock, hours=30)
    assert (run["writes"]["held"], run["writes"]["posted"]) == (0, 1)
    assert _posted(driver, keys) == 0
    assert _posted(driver, [newest]) == 1
    held = await _held(driver)
    assert ([item["run"] for item in held], len(held)) == ([notice["run"]] * 11, 11)


async def test_what_closes_its_gap_is_held_no_more(world: World) -> None:
    driver = await _guarded(world)
    keys = [driver.add() for _ in range(11)]
    await driver.sync()
    driver.describe(keys[0], "Key-Result: KR-1")
    await driver.sync()
    assert (await driver.notice(keys[0]), len(await _held(driver))) == (None, 10)


async def test_half_of_a_small_project_is_too_many(world: World) -> None:
    driver = await _guarded(world, limits=SUGGESTED)
    linked = [driver.add("Linked", labels=["kr:KR-1"]) for _ in range(4)]
    keys = [driver.add("New") for _ in range(4)]
    await driver.sync()
    (first, *_) = await _held(driver)
    assert "4 new comments on the 8 open epics of SHOP; max_share is 0.2" in first["detail"]
    # Finished epics are not open, and three at a time are never too many.
    for key in (*linked, *keys):
        driver.finish(key)
    await driver.sync()
    few = [driver.add("Few") for _ in range(3)]
    await driver.sync()
    assert (_posted(driver, keys), _posted(driver, few)) == (0, 3)


async def test_a_storm_of_webhooks_makes_no_more_comments_than_one_run(
    world: World, application: FastAPI
) -> None:
    """They come in batches, each of which would pass by itself, and in one that would not."""
    driver = await _guarded(world, "jira", {**HIGH_DAY, "mode": "live"}, webhook_secret=SECRET)
    keys = [driver.add(f"Epic {number}", labels=["kr:KR-1"]) for number in range(60)]
    await driver.sync()
    async with doors(application, world):
        for batch in (keys[:8], keys[8:16], keys[16:18], keys[18:]):
            for key in batch:
                driver.label(key)
            await process_everything(world)
    # The third batch would pass with the first alone: what the second asked for counts, though it is held.
    assert _posted(driver, keys[:8]) == _posted(driver, keys) == 8
    assert len(await _held(driver)) == 52
    runs = (await world.send("GET", "/runs?limit=500"))["items"]
    assert [run["mode"] for run in runs].count("evaluate") >= 4


async def test_evaluate_runs_count_together_over_an_hour(world: World, clock: Clock) -> None:
    driver = await _guarded(world, limits={**HIGH_DAY, "per_run": 3})
    keys = [driver.add("Linked") for _ in range(6)]
    await driver.sync("full")
    # All are held: that run asked for 6. What follows is asked for anew.
    assert len(await _held(driver)) == 6
    for key in keys:
        driver.describe(key, "Key-Result: KR-1")
    await driver.sync()

    async def unlink(some: list[str]) -> None:
        """Each in an `evaluate` run of its own."""
        for key in some:
            await world.send("POST", "/links", {"epic": {"source": "jira", "key": key}, "key_result": "KR-1"})
            driver.describe(key, "")
        await driver.sync()
        for item in (await world.send("GET", "/links?limit=500"))["items"]:
            if item["origin"] == "manual" and item["epic"]["key"] in some:
                await world.send("DELETE", f"/links/{item['id']}")
        await world.drain()

    await unlink(keys[:3])
    assert _posted(driver, keys) == 3
    clock.advance(minutes=59)
    await unlink(keys[3:4])
    (held,) = await _held(driver)
    assert "the evaluate runs of the hour before" in held["detail"]
    assert "asked for 4 new comments" in held["detail"]
    clock.advance(minutes=61)
    await unlink(keys[4:])
    assert _posted(driver, keys[4:]) == 2
    assert _posted(driver, keys[3:4]) == 0


async def test_a_change_of_policy_and_the_switch_to_live_ask_too(world: World) -> None:
    driver = await _guarded(world, limits={**HIGH_DAY, "mode": "shadow"})
    keys = [driver.add(labels=["quiet"]) for _ in range(11)]
    await driver.sync()
    await driver.set_mode("live")
    run = await _last_run(world)
    assert (run["mode"], run["writes"]["held"], _posted(driver, keys)) == ("evaluate", 11, 0)
    await world.send("PATCH", "/policy", {"exempt": {"labels": ["quiet"]}})
    await world.drain()
    assert await _held(driver) == []
    await world.send("PATCH", "/policy", {"exempt": {"labels": []}})
    await world.drain()
    run = await _last_run(world)
    assert (run["mode"], run["writes"]["held"], _posted(driver, keys)) == ("evaluate", 11, 0)
    # Back in shadow nothing is held, and going live asks again.
    await driver.set_mode("shadow")
    assert {(await driver.notice(key))["state"] for key in keys} == {"shadow"}
    for key in keys[:2]:
        driver.finish(key)
    await driver.sync()
    await driver.set_mode("live")
    held = await _held(driver)
    assert (len(held), _posted(driver, keys)) == (9, 0)
    assert {item["run"] for item in held} == {(await _last_run(world))["id"]}


async def test_what_waits_for_other_reasons_is_still_the_guards_afterwards(
    world: World, clock: Clock
) -> None:
    driver = await _guarded(world)
    keys = [driver.add() for _ in range(11)]
    run = await driver.sync()
    await world.send("PATCH", "/policy", {"grace": "PT2H"})
    await world.drain()
    assert {(await driver.notice(key))["reason"] for key in keys} == {"grace"}
    await world.send("PATCH", "/policy", {"grace": "PT0S"})
    await world.drain()
    held = await _held(driver)
    assert ({item["run"] for item in held}, len(held)) == ({run["id"]}, 11)
    assert f"Run {run['id']} asked for 11" in held[0]["detail"]


async def test_two_runs_at_the_barrier_at_once_count_together(
    world: World, runtime: Runtime, clock: Clock, database_url: str
) -> None:
    driver = await _guarded(world, limits={**HIGH_DAY, "mode": "shadow"})
    keys = [driver.add() for _ in range(12)]
    await driver.sync()
    runs: list[int] = []
    closing: list[asyncio.Task[None]] = []
    async with runtime.sessions.begin() as session:
        source = (await session.scalars(select(SourceRow))).one()
        source.notices = {**source.notices, "mode": "live"}
        source_id = source.id
    async with holding(database_url) as holder:
        await holder.hold("SELECT pg_advisory_xact_lock(%s, %s)", LOCK_SOURCE_NOTICES, source_id)
        for half in (keys[:6], keys[6:]):
            runs.append(await _evaluate(runtime, source_id, half))
            closing.append(asyncio.create_task(pipeline.execute_run(runtime, runs[-1])))
            await holder.until_waiting(len(closing))
    await asyncio.gather(*closing)
    await world.drain()
    assert (_posted(driver, keys), len(await _held(driver))) == (6, 6)


async def _evaluate(runtime: Runtime, source_id: int, keys: list[str]) -> int:
    """An `evaluate` run for these epics; its id."""
    async with runtime.sessions.begin() as session:
        for epic_id in await session.scalars(select(EpicRow.id).where(EpicRow.key.in_(keys))):
            await invalidate.mark_for_evaluation(session, [epic_id], await runtime.now(session))
        return (await open_run(session, source_id, "evaluate", await runtime.now(session))).id


# --- a person's word ------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", either("github"))
async def test_approved_by_run_all_are_written(world: World, kind: str) -> None:
    driver = await _guarded(world, kind)
    keys = [driver.add() for _ in range(12)]
    run = await driver.sync()
    driver.describe(keys[0], "Key-Result: KR-1")  # nobody has synced it yet
    driver.tracker.log.clear()
    answer = await world.send("POST", "/notices/approve", {"run": run["id"]}, expect=202)
    assert answer == {"approved": 12, "skipped": []}
    await world.drain()
    # Each was fetched and evaluated again before it was written.
    assert _posted(driver, keys[1:]) == 11
    assert _posted(driver, keys[:1]) == 0
    assert driver.tracker.log.count(driver.reads) == 12
    after = await world.send("GET", f"/runs/{run['id']}")
    assert (after["writes"]["posted"], after["writes"]["pending"]) == (11, 0)
    again = await world.send("POST", "/notices/approve", {"run": run["id"]}, expect=202)
    assert again == {"approved": 0, "skipped": []}


async def test_approved_past_the_cap_takes_its_slots(world: World, runtime: Runtime, clock: Clock) -> None:
    driver = await _guarded(world, limits={"per_run": 5, "per_day": 3, "max_share": 1})
    keys = [driver.add() for _ in range(6)]
    run = await driver.sync()
    assert len(await _held(driver)) == 6
    await world.send("POST", "/notices/approve", {"run": run["id"]})
    await world.drain()
    assert _posted(driver, keys) == 6
    more = [driver.add(), driver.add()]
    await driver.sync()
    held = await _held(driver, "cap")
    assert (len(held), _posted(driver, more)) == (2, 0)
    answer = await world.send("POST", "/notices/approve", {"ids": [held[0]["id"]]})
    assert answer["approved"] == 1
    await world.drain()
    assert _posted(driver, more) == 1
    await later(world, runtime, clock, hours=24)
    assert _posted(driver, more) == 2


async def test_only_what_guard_or_cap_hold_is_approved(world: World) -> None:
    driver = await _guarded(world)
    posted = driver.add()
    await driver.sync()
    keys = [driver.add() for _ in range(11)]
    run = await driver.sync()
    ids = [(await driver.notice(key))["id"] for key in (posted, *keys[:2])]
    answer = await world.send("POST", "/notices/approve", {"ids": [*ids, 999]}, expect=202)
    assert answer["approved"] == 2
    assert answer["skipped"] == [
        {"id": ids[0], "reason": "It is posted, and not held by the guard or the cap."},
        {"id": 999, "reason": "There is no such notice."},
    ]
    await world.drain()
    assert _posted(driver, keys) == 2
    await world.send("PATCH", "/sources/jira", {"notices": {"mode": "off"}})
    answer = await world.send("POST", "/notices/approve", {"run": run["id"]})
    assert (answer["approved"], len(answer["skipped"])) == (0, 9)
    assert answer["skipped"][0]["reason"] == "Its source is not live there but off; nothing new is written."
    await world.drain()
    assert _posted(driver, keys) == 2


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "body"),
        ({"run": 1, "ids": [1]}, "body"),
        ({"ids": []}, "ids"),
        ({"run": 77}, "run"),
        ({"run": 0}, "run"),
        ({"ids": ["x"]}, "ids.0"),
        ({"all": True}, "all"),
    ],
)
async def test_approving_takes_exactly_one_of_both(world: World, body: Any, field: str) -> None:
    assert [*await world.refused("POST", "/notices/approve", body)] == [field]


async def test_approving_without_an_actor_leaves_no_entry_in_the_audit_log(
    world: World, runtime: Runtime
) -> None:
    driver = await _guarded(world, limits={"per_run": 0})
    driver.add()
    await driver.sync()
    (held,) = await _held(driver)
    entries = await world.send("GET", "/audit-log")
    async with runtime.transaction() as session:
        done = await approve_notices(session, await runtime.now(session), ids=[held["id"]])
    assert done.approved == [held["id"]]
    assert await world.send("GET", "/audit-log") == entries


async def test_an_approved_one_that_has_to_wait_goes_by_itself_afterwards(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    driver = await _guarded(world)
    keys = [driver.add() for _ in range(11)]
    run = await driver.sync()
    await world.send("POST", "/notices/approve", {"run": run["id"]})
    await world.send("PATCH", "/policy", {"grace": "PT2H"})
    await world.drain()
    assert _posted(driver, keys) == 0
    await later(world, runtime, clock, hours=2)
    assert _posted(driver, keys) == 11


# --- edits ----------------------------------------------------------------------------------------


async def test_sixty_edits_an_hour_and_resolutions_first(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    driver = JiraDriver(world)
    await world.goal("KR-1", "Checkout conversion")
    await driver.connect()
    changed, closed = [driver.add(), driver.add()], [driver.add() for _ in range(3)]
    await driver.sync()
    clock.advance(minutes=1)
    for key in changed:
        driver.describe(key, "Key-Result: KR-99")
    for key in closed:
        driver.label(key, "kr:KR-1")
    await spent(runtime, 56, clock.now)
    run = await driver.sync()

    def edited() -> tuple[int, int]:
        texts = [driver.comments(key)[0] for key in (*changed, *closed)]
        return sum("KR-99" in text for text in texts), sum("Aligned with" in text for text in texts)

    assert edited() == (1, 3)
    writes = (await world.send("GET", f"/runs/{run['id']}"))["writes"]
    assert (writes["resolved"], writes["pending"]) == (3, 1)
    # A new comment is no edit, and nobody asks the tracker in vain meanwhile.
    newest = driver.add()
    await driver.sync()
    assert _posted(driver, [newest]) == 1
    driver.tracker.log.clear()
    for _ in range(5):
        await later(world, runtime, clock, minutes=11)
    assert (edited(), driver.tracker.log.count()) == ((1, 3), 0)
    await later(world, runtime, clock, minutes=5)
    assert edited() == (2, 3)


async def test_a_wait_that_is_over_is_told_of_no_more(world: World, runtime: Runtime, clock: Clock) -> None:
    driver = JiraDriver(world)
    await driver.connect()
    key = driver.add()
    await driver.sync()
    await spent(runtime, 60, clock.now)
    reported = []
    for description in ("Key-Result: KR-99", "As it was."):
        driver.describe(key, description)
        clock.advance(minutes=1)
        await driver.sync()
        notice = await driver.notice(key)
        reported.append((notice["state"], notice["pending"], (notice["detail"] or "")[:32]))
    assert reported == [("posted", True, "60 comments were edited within t"), ("posted", False, "")]
