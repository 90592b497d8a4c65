"""Trackers in trouble: credentials that die, limits, faults, answers that cannot be read."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from app.runtime import Runtime
from connectors.sandbox import faults
from connectors.sandbox.tracker import Tracker
from mappings.tables import SourceRow
from tests.support.clock import Clock, later
from tests.support.queries import gone, projects
from tests.support.runs import counts
from tests.support.tracker_requests import searches
from tests.support.world import OFF, World

SHOP = {"projects": ["SHOP"]}


async def _connect(world: World, kind: str, epics: int = 8, **members: Any) -> Tracker:
    """A source `source` with so many epics, read once."""
    for number in range(epics):
        if kind == "jira":
            world.site.create("SHOP", f"Epic {number}")
        else:
            world.host.create("acme/shop", f"Epic {number}", labels=["epic"])
    if kind == "jira":
        await world.connect_jira("source", scope=SHOP, **{"notices": OFF, **members})
    else:
        scope = {"repositories": ["acme/shop"]}
        await world.connect_github("source", scope=scope, **{"notices": OFF, **members})
    await world.sync("source")
    tracker: Tracker = world.jira if kind == "jira" else world.github
    tracker.log.clear()
    return tracker


# --- credentials --------------------------------------------------------------------------------

MOMENTS = {
    "jira": [
        ("GET */myself", 0),  # before anything
        ("GET */project/search", 0),
        ("POST */search/jql", 0),  # in the middle: the search answers 200 and nothing
        ("POST */search/jql", 1),
        ("POST */bulkfetch", 0),  # while what seems to be gone is looked up
        ("GET */myself", 1),  # just before the removal
    ],
    "github": [
        ("GET */user", 0),
        ("GET */issues", 0),
        ("GET */issues/{number}", 0),
        ("GET */user", 1),
    ],
}


@pytest.mark.parametrize("kind", MOMENTS)
async def test_credentials_that_die_never_mean_that_all_is_deleted(
    world: World, clock: Clock, kind: str
) -> None:
    tracker = await _connect(world, kind, 12)
    site: Any = world.site if kind == "jira" else world.host
    world.site.page_cap = 4
    for number, (request, skip) in enumerate(MOMENTS[kind], 1):
        clock.advance(hours=1)
        # One is truly gone, so that there is something to look up and to remove.
        site.delete(f"SHOP-{number}" if kind == "jira" else f"acme/shop#{number}")
        message = (request, skip)
        dies = faults.first(site.revoke_credentials)
        death = tracker.faults.add(request.format(number=number), dies, skip=skip)
        run = await world.sync("source", "full")
        assert death.struck == 1, message
        assert (run["state"], run["error"]["code"], run["deleted"]) == ("failed", "unauthorized", 0), message
        assert "token" in run["error"]["what_to_do"]
        assert len(await world.keys("source")) == 13 - number, message
        shown = await world.health("source")
        assert (shown["state"], shown["message"]) == ("failing", run["error"]["message"])
        assert (shown["what_to_do"], shown["checked_at"]) == (run["error"]["what_to_do"], run["finished_at"])
        # With good credentials all goes on as if nothing had been.
        site.restore_credentials()
        run = await world.sync("source", "full")
        assert (run["state"], run["deleted"], await world.health("source")) == (
            "succeeded",
            1,
            {**shown, "state": "ok", "message": "The last sync read everything.", "what_to_do": ""},
        ), message


async def test_a_site_that_answers_strangers_with_nothing_and_does_not_say_so(
    world: World, clock: Clock
) -> None:
    """Every answer is 200 and empty, without a header that tells; only the question who we are tells."""
    tracker = await _connect(world, "jira")
    nothing = {"issues": [], "isLast": True}
    tracker.faults.add("POST */search/jql", faults.answer(200, nothing), times=None)
    tracker.faults.add("POST */bulkfetch", faults.answer(200, nothing), times=None)
    tracker.faults.add("GET */myself", faults.first(world.site.revoke_credentials), skip=1)
    run = await world.sync("source", "full")
    assert (run["state"], run["error"]["code"], run["deleted"]) == ("failed", "unauthorized", 0)
    assert len(await world.keys("source")) == 8


async def test_a_run_whose_credentials_no_key_opens_waits_and_then_fails(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    """Another process may have the key, for some minutes."""
    await _connect(world, "jira")
    async with runtime.sessions.begin() as session:
        await session.execute(update(SourceRow).values(credentials=b"spoiled"))
    run = await world.sync("source")
    assert (run["state"], run["error"], run["requests"]) == ("queued", None, 0)
    await later(world, runtime, clock, minutes=6)
    run = await world.send("GET", f"/runs/{run['id']}")
    assert (run["state"], run["error"]["code"], run["requests"]) == ("failed", "sealed", 0)
    health = await world.health("source")
    assert (health["state"], "PATCH" in health["what_to_do"]) == ("failing", True)
    assert {key: row.fully_synced for key, row in (await projects(runtime)).items()} == {"SHOP": False}


# --- one project in trouble ---------------------------------------------------------------------


async def test_one_project_in_trouble_is_not_evaluated_as_fresh_and_the_others_are(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    world.site.add_project("CORE", "Core")
    for project in ("CORE", "SHOP"):
        world.site.create(project, "Epic", created=world.site.clock())
    await world.no_grace()
    await world.connect_jira(notices={"mode": "shadow"}, scope={"projects": ["CORE", "SHOP"]})
    await world.sync("jira")
    clock.advance(hours=1)
    world.site.denied.add(("BROWSE_PROJECTS", "CORE"))
    run = await world.sync("jira", "full")
    assert (run["state"], run["error"]["code"], run["deleted"]) == ("partial", "unread", 0)
    assert "CORE: " in run["error"]["message"]
    assert (sorted(await world.keys()), await gone(runtime)) == (["CORE-1", "SHOP-1"], {})
    shown = await world.health()
    assert (shown["state"], shown["message"]) == ("degraded", run["error"]["message"])
    assert "scope" in shown["what_to_do"]
    # Nobody is warned about what was not read to its end.
    await world.send("PATCH", "/sources/jira", {"notices": {"mode": "live"}})
    await world.drain()
    notices = {n["epic"]["key"]: n for n in (await world.send("GET", "/notices"))["items"]}
    assert (notices["CORE-1"]["state"], notices["CORE-1"]["reason"]) == ("held", "stale")
    assert notices["SHOP-1"]["state"] == "posted"
    # When it can be read again, its warning goes out.
    world.site.denied.clear()
    clock.advance(hours=1)
    assert (await world.sync("jira"))["state"] == "succeeded"
    notices = {n["epic"]["key"]: n["state"] for n in (await world.send("GET", "/notices"))["items"]}
    assert notices == {"CORE-1": "posted", "SHOP-1": "posted"}


async def test_a_refusal_in_one_repository_leaves_the_others(world: World, clock: Clock) -> None:
    world.host.add_repository("acme/core")
    for name in ("acme/core", "acme/shop"):
        world.host.create(name, name, labels=["epic"])
    await world.connect_github(notices=OFF, scope={"repositories": ["acme/core", "acme/shop"]})
    refusal = faults.answer(403, {"message": "Resource not accessible by personal access token"})
    world.github.faults.add("GET */repos/acme/core/issues", refusal)
    run = await world.sync("github")
    assert (run["state"], counts(run)) == ("partial", (1, 1, 0, 0, 0))
    assert "acme/core: GitHub forbids it" in run["error"]["message"]
    # The other's list is still the same, as GitHub says.
    assert counts(await world.sync("github"))[:2] == (1, 1)


async def test_an_unknown_project_is_named(world: World) -> None:
    await world.connect_jira(notices=OFF, scope={"projects": ["SHOP", "SHOPP"]})
    run = await world.sync("jira")
    assert run["state"] == "partial"
    assert "SHOPP: Jira has no project with this key" in run["error"]["message"]


async def test_a_ticket_that_may_not_be_looked_up_removes_nothing(world: World, clock: Clock) -> None:
    tracker = await _connect(world, "github", 3)
    world.host.delete("acme/shop#1")
    world.host.delete("acme/shop#2")
    tracker.faults.add("GET */issues/1", faults.answer(403, {"message": "Forbidden"}))
    run = await world.sync("source", "full")
    assert (run["state"], run["deleted"], run["error"]["code"]) == ("partial", 0, "unread")
    assert (await world.sync("source", "full"))["deleted"] == 2


# --- limits and faults --------------------------------------------------------------------------

LIMIT = faults.answer(429, {"message": "limit"}, {"Retry-After": "120"})


@pytest.mark.parametrize(
    ("mode", "trouble", "wait"),
    [
        ("full", LIMIT, 120),
        ("incremental", faults.answer(500, "<html>Oh no</html>"), 5),
        ("full", faults.drop(), 5),
    ],
)
async def test_a_limit_or_fault_lets_the_run_wait_and_go_on_where_it_was(
    world: World, runtime: Runtime, clock: Clock, mode: str, trouble: faults.Action, wait: int
) -> None:
    world.site.add_project("CORE", "Core")
    start = world.site.clock() - timedelta(days=1)
    for project in ("CORE", "SHOP"):
        for number in range(4):
            world.site.create(project, f"Epic {number}", created=start + timedelta(hours=number))
    world.site.page_cap = 2
    await world.connect_jira(notices=OFF, scope={"projects": ["CORE", "SHOP"]})
    # Of each project a page is asked for, and one more of one of them; the trouble may come before all of
    # them are stored.
    world.jira.faults.add("POST */search/jql", trouble, skip=3)
    run = await world.sync("jira", mode)
    until = clock() + timedelta(seconds=wait)
    assert (run["state"], run["created"] in (2, 4, 6), run["finished_at"]) == ("waiting", True, None)
    assert datetime.fromisoformat(run["waiting_until"]) == until
    assert run["error"]["message"]
    shown = await world.health()
    assert shown["state"] == "degraded"
    assert f"{until:%H:%M:%S} UTC" in shown["message"]
    # It is the same run that goes on, asked for or not, and not before its time.
    assert (await world.send("POST", "/sources/jira/sync", {"mode": mode}))["id"] == run["id"]
    await later(world, runtime, clock, seconds=wait - 1)
    assert (await world.send("GET", f"/runs/{run['id']}"))["state"] == "waiting"
    world.jira.log.clear()
    await later(world, runtime, clock, seconds=1)
    run = await world.send("GET", f"/runs/{run['id']}")
    assert (run["state"], run["created"], run["waiting_until"], run["error"]) == ("succeeded", 8, None, None)
    assert len(await world.keys()) == 8
    # Of each project only what stands at or behind its cursor is read.
    assert len(searches(world.jira)) <= 4
    assert len((await world.send("GET", "/runs?source=jira"))["items"]) == 1
    assert (await world.health())["state"] == "ok"


async def test_a_run_that_went_on_removes_what_is_gone_and_only_that(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    """What was met before the pause is not taken for gone after it."""
    start = world.site.clock() - timedelta(days=1)
    for number in range(6):
        world.site.create("SHOP", f"Epic {number}", created=start + timedelta(hours=number))
    await world.connect_jira(notices=OFF, scope=SHOP)
    await world.sync("jira")
    world.site.delete("SHOP-2")
    world.site.page_cap = 2
    world.jira.faults.add("POST */search/jql", LIMIT, skip=1)
    run = await world.sync("jira", "full")
    assert run["state"] == "waiting"
    await later(world, runtime, clock, minutes=3)
    run = await world.send("GET", f"/runs/{run['id']}")
    assert (run["state"], run["deleted"], await gone(runtime)) == ("succeeded", 1, {"SHOP-2": "deleted"})


async def test_github_says_how_long(world: World, runtime: Runtime, clock: Clock) -> None:
    tracker = await _connect(world, "github", 3)
    limited = faults.answer(403, {"message": "secondary rate limit"}, {"Retry-After": "90"})
    tracker.faults.add("GET */issues", limited)
    run = await world.sync("source")
    assert run["state"] == "waiting"
    assert datetime.fromisoformat(run["waiting_until"]) == clock() + timedelta(seconds=90)
    await later(world, runtime, clock, seconds=90)
    assert (await world.send("GET", f"/runs/{run['id']}"))["state"] == "succeeded"


HTML = "<html>Log in</html>"
UNREADABLE = {
    "jira": [
        ("POST */search/jql", HTML, "partial", "unread"),
        ("POST */search/jql", '{"issues": [{"id": "1"', "partial", "unread"),
        ("POST */search/jql", '{"issues": [{"id": "1"}]}', "partial", "unread"),
        ("GET */myself", HTML, "failed", "bad_payload"),
        ("GET */myself", "[1]", "failed", "unauthorized"),
        ("GET */project/search", "[1]", "failed", "bad_payload"),
    ],
    "github": [
        ("GET */issues", "[1, 2]", "partial", "unread"),
        ("GET */issues", HTML, "partial", "unread"),
        ("GET */user", '{"id": 1', "failed", "bad_payload"),
    ],
}


ROWS = {'{"issues": [{"id": "1"}]}', "[1, 2]"}


@pytest.mark.parametrize("kind", UNREADABLE)
async def test_an_answer_that_cannot_be_read_is_said_so(world: World, kind: str) -> None:
    tracker = await _connect(world, kind, 2)
    for request, body, state, code in UNREADABLE[kind]:
        answer = faults.answer(200, body, {"Content-Type": "application/json"})
        fault = tracker.faults.add(request, answer, times=None)
        run = await world.sync("source", "full")
        tracker.faults.clear()
        # What can be read but for its rows is not asked for again.
        assert fault.struck == (1 if code == "unauthorized" or body in ROWS else 4), (request, body)
        assert (run["state"], run["deleted"], run["error"]["code"]) == (state, 0, code), (request, body)
        assert run["error"]["message"]
        assert run["error"]["what_to_do"]
        shown = await world.health("source")
        assert shown["state"] == ("degraded" if state == "partial" else "failing")
        assert len(await world.keys("source")) == 2


async def test_a_tracker_that_is_away_for_long_is_failing(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    """A wait is nothing to worry about, one in which nothing was read for a quarter of an hour is."""
    await world.connect_jira()
    world.jira.faults.add("*", faults.answer(503), times=None)
    await world.sync("jira")
    assert (await world.health())["state"] == "degraded"
    await later(world, runtime, clock, minutes=16)
    assert (await world.health())["state"] == "failing"
    world.jira.faults.clear()
    await later(world, runtime, clock, minutes=2)
    assert (await world.health())["state"] == "ok"
