"""What of a tracker cannot be read is asked for again, then named and left out; all the rest is read."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi import FastAPI

from app import pipeline
from app.runtime import Runtime
from app.sync.hiccups import after_hiccups
from app.sync.ready import ReadyPages
from app.webhooks.processor import process_deliveries
from connectors.base import BadPayload, Epic, Page
from connectors.sandbox import faults
from mappings.sources.health import unreadable_in_words
from tests.support.changed_epics import Change, changing, unreadable
from tests.support.clock import Clock, later
from tests.support.lists import listed
from tests.support.queries import all_of, gone, projects
from tests.support.runs import counts
from tests.support.tracker_drivers import TrackerDriver, driver_of, either, on_either, on_jira
from tests.support.tracker_requests import searches
from tests.support.webhook_deliveries import doors
from tests.support.webhook_posts import SECRET
from tests.support.world import OFF, World

pytestmark = pytest.mark.database
JSON = {"Content-Type": "application/json"}


# --- a hiccup --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bad_answers", "pauses", "calls"), [(0, 3, 1), (1, 3, 2), (3, 3, 4), (4, 3, None), (1, 0, None)]
)
async def test_a_call_is_made_again_while_its_answer_cannot_be_read(
    bad_answers: int, pauses: int, calls: int | None
) -> None:
    made = 0

    async def call() -> int:
        nonlocal made
        made += 1
        if made <= bad_answers:
            raise BadPayload("No JSON.")
        return made

    if calls is None:
        with pytest.raises(BadPayload):
            await after_hiccups(call, [0] * pauses)
        assert made == pauses + 1
    else:
        assert await after_hiccups(call, [0] * pauses) == calls


async def test_another_error_is_not_a_hiccup() -> None:
    async def call() -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await after_hiccups(call, [0])


async def test_a_page_is_given_back_before_the_next_one_comes() -> None:
    """However long that takes: a page may be large."""
    stored, at_hand = asyncio.Event(), []

    async def pages() -> AsyncGenerator[Page, None]:
        for number in range(4):
            if number:
                await stored.wait()
                stored.clear()
            await asyncio.sleep(0)
            at_hand.append(sum(isinstance(one, Page) for one in gc.get_objects()))
            yield Page(())

    async with aclosing(pages()) as made, aclosing(_ready(made).lists()) as ready:
        async for together, _ in ready:
            assert [page.epics for page in together] == [()]
            del together
            stored.set()
    assert at_hand == [0, 0, 0, 0]


def _ready(pages: AsyncGenerator[Page, None]) -> ReadyPages[Page]:
    return ReadyPages(pages, lambda page: None, datetime.now(UTC))


async def _epics(world: World, number: int) -> None:
    """So many epics of one source `jira`, each changed an hour after the one before, four a page."""
    start = world.site.clock() - timedelta(days=1)
    for hour in range(number):
        world.site.create("SHOP", f"Epic {hour}", created=start + timedelta(hours=hour))
    world.site.page_cap = 4
    await world.connect_jira(notices=OFF, scope={"projects": ["SHOP"]})


CUT_SHORT = faults.answer(200, '{"issues": [{"id": "1"', JSON)


async def test_a_page_cut_short_costs_one_more_request(world: World) -> None:
    await _epics(world, 12)
    fault = world.jira.faults.add("POST */search/jql", CUT_SHORT, skip=1)
    run = await world.sync("jira", "full")
    assert fault.struck == 1
    assert (run["state"], run["error"], run["created"], run["deleted"]) == ("succeeded", None, 12, 0)
    # The first page and the bad one, then from the cursor on: nothing is read anew but its last epic.
    assert len(searches(world.jira)) == 2 + 3
    assert (await world.health())["state"] == "ok"


async def test_each_page_has_its_own_attempts_and_one_that_stays_bad_ends_the_project(world: World) -> None:
    await _epics(world, 12)
    # Three bad answers before each of two pages are six, and no page had more than three.
    world.jira.faults.add("POST */search/jql", CUT_SHORT, skip=1, times=3)
    world.jira.faults.add("POST */search/jql", CUT_SHORT, skip=2, times=3)
    assert (await world.sync("jira", "full"))["state"] == "succeeded"
    world.jira.faults.clear()
    fault = world.jira.faults.add("POST */search/jql", CUT_SHORT, skip=1, times=None)
    run = await world.sync("jira", "full")
    assert (run["state"], run["error"]["code"], run["deleted"], fault.struck) == ("partial", "unread", 0, 4)
    assert "base_url" in run["error"]["what_to_do"]


HICCUPS = {
    "jira": [("GET */myself", 0), ("GET */project/search", 0), ("POST */bulkfetch", 0), ("GET */myself", 1)],
    "github": [("GET */user", 0), ("GET */repos/acme/shop", 0), ("GET */issues", 0), ("GET */issues/1", 0)],
}


@pytest.mark.parametrize("kind", HICCUPS)
async def test_every_call_of_a_run_is_made_again(world: World, kind: str) -> None:
    driver = driver_of(world, kind)
    key = driver.add("One")
    driver.add("Two")
    await driver.connect("off")
    await driver.sync("full")
    driver.delete(key)  # one to look for by its id
    page = faults.proxy_page(200)
    hiccups = [driver.tracker.faults.add(request, page, skip=skip) for request, skip in HICCUPS[kind]]
    run = await driver.sync("full")
    assert [hiccup.struck for hiccup in hiccups] == [1] * len(hiccups)
    assert (run["state"], run["deleted"]) == ("succeeded", 1)


@on_either("github")
async def test_a_webhook_waits_for_a_hiccup_to_pass(
    driver: TrackerDriver, world: World, application: FastAPI, runtime: Runtime
) -> None:
    await world.send("PATCH", f"/sources/{driver.kind}", {"webhook_secret": SECRET, "notices": OFF})
    driver.add("One")
    await driver.sync("full")
    async with doors(application, world):
        driver.label(_key(driver, 1), "later")
        await driver.tracker.webhook_sender.idle()
        fault = driver.tracker.faults.add(driver.reads, faults.proxy_page(200), times=3)
        await world.drain()
        (heard,) = [one for one in await listed(world, "/deliveries", source=driver.kind) if one["run"]]
        assert (heard["state"], fault.struck) == ("done", 3)


def _key(driver: TrackerDriver, number: int) -> str:
    return f"SHOP-{number}" if driver.kind == "jira" else f"acme/shop#{number}"


# --- one row that cannot be read -------------------------------------------------------------------


async def _sync(world: World, runtime: Runtime, kind: str, mode: str, change: Change) -> Any:
    """A run on a tracker whose epics are changed so, and all that follows; the run as it ended."""
    run = await world.send("POST", f"/sources/{kind}/sync", {"mode": mode})
    await pipeline.execute_run(changing(runtime, change), run["id"])
    await world.drain()
    return await world.send("GET", f"/runs/{run['id']}")


async def _notices(world: World) -> dict[str, tuple[str, str | None]]:
    return {one["epic"]["key"]: (one["state"], one["reason"]) for one in await listed(world, "/notices")}


@pytest.mark.parametrize(("driver", "known"), [("jira", True), ("github", False)], indirect=["driver"])
async def test_one_unreadable_row_is_counted_named_and_kept_and_the_others_are_read(
    driver: TrackerDriver, world: World, runtime: Runtime, clock: Clock, known: bool
) -> None:
    """`known`: the row shows its id. Where it does not, the run asks for each epic that it did not meet."""
    kind = driver.kind
    await driver.set_mode("shadow")
    for title in ("Good", "Bad", "Other"):
        driver.add(title)
    await driver.sync("full")
    clock.advance(hours=1)
    driver.add("New")
    run = await _sync(world, runtime, kind, "full", unreadable("Bad", "New", ref=known))
    # Its second look by id, where the first did not show the id, finds it unreadable too.
    assert (run["state"], run["error"]["code"]) == ("partial", "unread")
    assert (run["skipped"], run["deleted"], await gone(runtime)) == (2 if known else 3, 0, {})
    assert "its creation time is missing" in run["error"]["message"]
    assert run["error"]["what_to_do"].startswith("Look in the tracker")
    if known:
        assert f"{_key(driver, 2)}: " in run["error"]["message"]
    health = await world.health(kind)
    assert (health["state"], health["message"]) == ("degraded", run["error"]["message"])
    assert all(row.fully_synced for row in (await projects(runtime)).values())
    # The warnings of the others go out; what is stored of the one may be out of date.
    await driver.set_mode("live")
    notices = await _notices(world)
    assert [notices[_key(driver, number)][0] for number in (1, 3)] == ["posted", "posted"]
    assert notices[_key(driver, 2)] == ("held", "stale")
    # A full run that meets it no more forgets it, also where nobody knows which it was.
    assert (await driver.sync("full"))["state"] == "succeeded"
    assert (await world.health(kind))["state"] == "ok"


@on_jira
async def test_health_names_an_unreadable_ticket_until_it_is_read_or_gone(
    driver: TrackerDriver, world: World, runtime: Runtime, clock: Clock
) -> None:
    await driver.set_mode("off")
    titles = [f"Bad {number}" for number in range(1, 6)]
    for title in titles:
        driver.add(title)
    clock.advance(days=3)
    driver.add("Good")
    await driver.sync("full")
    run = await _sync(world, runtime, "jira", "full", unreadable(*titles))
    assert run["error"]["message"].endswith(" and 2 more.")
    # A run that does not meet them says nothing new of them.
    clock.advance(days=3)
    driver.label("SHOP-6", "changed")
    assert (await driver.sync())["state"] == "succeeded"
    health = await world.health()
    assert health["state"] == "degraded"
    assert health["message"].startswith("5 tickets cannot be read: SHOP-1: its creation time is missing; ")
    # One is read by a run, one is gone, all others but one are read by a full run.
    clock.advance(days=3)
    driver.label("SHOP-1", "changed")
    await driver.sync()
    assert (await world.health())["message"].startswith("4 tickets")
    driver.delete("SHOP-2")
    run = await _sync(world, runtime, "jira", "full", unreadable("Bad 3"))
    assert (run["deleted"], run["skipped"]) == (1, 1)
    assert (await world.health())["message"].count("SHOP-") == 1
    assert (await driver.sync("full"))["state"] == "succeeded"
    assert (await world.health())["state"] == "ok"


@on_jira
async def test_a_ticket_that_can_be_read_again_is_warned(
    driver: TrackerDriver, world: World, runtime: Runtime
) -> None:
    await driver.set_mode("shadow")
    driver.add("Bad")
    await driver.sync("full")
    await _sync(world, runtime, "jira", "full", unreadable("Bad"))
    await driver.set_mode("live")
    assert await _notices(world) == {"SHOP-1": ("held", "stale")}
    # Nothing changed on the ticket.
    await driver.sync("full")
    assert await _notices(world) == {"SHOP-1": ("posted", None)}


@on_jira
async def test_a_ticket_that_cannot_be_read_before_its_write_waits_until_it_can(
    driver: TrackerDriver, world: World, runtime: Runtime, clock: Clock
) -> None:
    await driver.set_mode("shadow")
    driver.add("Bad")
    await driver.sync("full")
    await world.send("PATCH", "/sources/jira", {"notices": {"mode": "live"}})
    (run_id,) = [run["id"] for run in await listed(world, "/runs") if run["mode"] == "evaluate"]
    await pipeline.execute_run(runtime, run_id)
    await pipeline.write_tickets(changing(runtime, unreadable("Bad")), 1)
    assert await _notices(world) == {"SHOP-1": ("held", "stale")}
    assert "SHOP-1: its creation time is missing" in (await world.health())["message"]
    # An evaluation alone writes nothing, and asks the tracker for nothing.
    asked = world.jira.log.count()
    await later(world, runtime, clock, hours=2)
    assert world.jira.log.count() == asked
    assert await _notices(world) == {"SHOP-1": ("held", "stale")}
    await driver.sync("full")
    assert await _notices(world) == {"SHOP-1": ("posted", None)}
    assert (await world.health())["state"] == "ok"


@on_jira
async def test_a_run_that_waited_still_names_what_it_could_not_read_before(
    driver: TrackerDriver, world: World, runtime: Runtime, clock: Clock
) -> None:
    await _pages_of_one(world)
    limited = faults.answer(429, {}, {"Retry-After": "20"})
    driver.tracker.faults.add("POST */search/jql", limited, skip=2)
    run = await _sync(world, runtime, "jira", "full", unreadable("Epic 0"))
    assert run["state"] == "waiting"
    clock.advance(seconds=21)
    await pipeline.execute_run(runtime, run["id"])
    run = await world.send("GET", f"/runs/{run['id']}")
    assert (run["state"], run["error"]["code"]) == ("partial", "unread")
    assert "SHOP-1: " in run["error"]["message"]


async def _pages_of_one(world: World) -> None:
    start = world.site.clock() - timedelta(days=1)
    for hour in range(3):
        world.site.create("SHOP", f"Epic {hour}", created=start + timedelta(hours=hour))
    world.site.page_cap = 1


@on_either("jira")
async def test_a_webhook_about_an_unreadable_ticket_fails_and_its_replay_works(
    driver: TrackerDriver, world: World, runtime: Runtime, application: FastAPI
) -> None:
    await world.send("PATCH", f"/sources/{driver.kind}", {"webhook_secret": SECRET, "notices": OFF})
    for title in ("Good", "Bad"):
        driver.add(title)
    await driver.sync("full")
    async with doors(application, world):
        for number in (1, 2):
            driver.label(_key(driver, number), "later")
        await driver.tracker.webhook_sender.idle()
        await process_deliveries(changing(runtime, unreadable("Bad")), 1)
        heard = await listed(world, "/deliveries", source=driver.kind)
        failed = [one for one in heard if one["state"] == "failed"]
        assert {one["state"] for one in heard} == {"done", "failed"}
        assert failed[0]["error"]["code"] == "bad_payload"
        assert failed[0]["error"]["message"] == f"{_key(driver, 2)}: its creation time is missing"
        assert "cannot be read" in (await world.health(driver.kind))["message"]
        for one in failed:
            await world.send("POST", f"/deliveries/{one['id']}/replay")
        await world.drain()
        heard = await listed(world, "/deliveries", source=driver.kind)
        assert {one["state"] for one in heard} == {"done"}
    health = await world.health(driver.kind)
    assert "cannot be read" not in health["message"]
    assert "later" in (await driver.epic(_key(driver, 2)))["labels"]


# --- one row that cannot be stored -----------------------------------------------------------------

REFUSED: dict[str, dict[str, Any]] = {
    "U+0000 in the id": {"remote_id": "1\0"},
    "half a surrogate pair in the id": {"remote_id": "1\ud800"},
    "U+0000 in everything": {"remote_id": "1\0", "key": "A\0", "project": "SHOP\0", "title": "\0"},
    "a key that no index takes": {
        "key": "".join(chr(0x4E00 + number * 7 % 20_000) for number in range(5_000))
    },
    "no title": {"title": None},
    "a number for a text": {"labels": (2**70,)},
    "a value too deep": {"fields": {"deep": eval("[" * 80 + "]" * 80)}},
}


@pytest.mark.parametrize("kind", either("jira"))
async def test_one_row_that_the_database_refuses_leaves_the_others_of_its_page(
    world: World, runtime: Runtime, kind: str
) -> None:
    driver = driver_of(world, kind)
    titles = [*REFUSED, "Good", "Better"]
    for title in titles:
        driver.add(title)
    await driver.connect("off")

    def change(epic: Epic) -> Epic:
        members: Any = REFUSED.get(epic.title, {})
        return replace(epic, **members)

    run = await _sync(world, runtime, kind, "full", change)
    stored = {title for (title,) in await all_of(runtime, "SELECT title FROM epics")}
    assert {"Good", "Better"} <= stored
    assert (run["state"], run["error"]["code"]) == ("partial", "unread")
    assert counts(run)[0] == len(titles)
    assert run["created"] + run["skipped"] == len(titles)
    assert run["skipped"] >= 4
    assert len(run["error"]["message"]) < 1_500
    # Later runs are as if nothing had been.
    run = await driver.sync("full")
    assert (run["state"], (await world.health(kind))["state"]) == ("succeeded", "ok")
    assert len(await world.keys(kind)) == len(titles)


def test_what_is_named_is_bounded() -> None:
    named = [("SHOP-1", "SHOP", "no title."), ("", "SHOP", "no id"), ("", "", "nothing")]
    assert unreadable_in_words(5, named) == (
        "5 tickets cannot be read: SHOP-1: no title; a ticket of SHOP: no id; a ticket: nothing; and 2 more."
    )
    assert unreadable_in_words(1, named[:1]) == "1 ticket cannot be read: SHOP-1: no title."
