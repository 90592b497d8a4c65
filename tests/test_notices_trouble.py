"""A tracker that refuses, limits or cannot be read, and tickets that change while they are written."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from app.runtime import Runtime
from connectors.sandbox import faults
from connectors.sandbox.faults import Action
from tests.support.clock import Clock, later
from tests.support.tracker_drivers import TrackerDriver, both, driver_of, on_either, on_github, on_jira
from tests.support.world import World

MISSING = "Which key result does this epic serve?"


def meanwhile(call: Callable[[], Awaitable[object]]) -> Action:
    """While the tracker works on the request, somebody does `call`; then the answer goes out."""

    async def act(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        await call()
        await app(scope, receive, send)

    return act


# --- refused ----------------------------------------------------------------------------------


@on_either("jira")
@pytest.mark.parametrize("then", ["incremental", "full", "an hour"])
async def test_a_refusal_fails_and_is_tried_again(
    driver: TrackerDriver, runtime: Runtime, clock: Clock, then: str
) -> None:
    key = driver.add()
    driver.forbid()
    run = await driver.sync()
    assert (run["state"], run["writes"]["failed"], run["writes"]["pending"]) == ("succeeded", 1, 0)
    notice = await driver.notice(key)
    assert (notice["state"], notice["pending"]) == ("failed", False)
    assert ("permission" if driver.kind == "jira" else "not accessible") in notice["detail"]
    health = await driver.world.health(driver.kind)
    assert (health["state"], health["message"].startswith(f"{key}: ")) == ("degraded", True)
    assert notice["detail"] == f"{health['message'].removeprefix(f'{key}: ')} {health['what_to_do']}"
    driver.allow()
    if then == "an hour":
        await later(driver.world, runtime, clock, minutes=59)
        assert driver.comments(key) == []
        await later(driver.world, runtime, clock, minutes=1)
    else:
        assert (await driver.sync(then))["writes"]["posted"] == 1
    notice = await driver.notice(key)
    assert (notice["state"], notice["detail"]) == ("posted", None)
    assert len(driver.comments(key)) == 1
    await driver.sync()
    assert (await driver.world.health(driver.kind))["state"] == "ok"


@on_jira
async def test_a_source_whose_writes_were_all_refused_is_deleted_at_once(driver: TrackerDriver) -> None:
    """Nothing of ours is or may be on its tickets, so nobody is asked what is to become of it."""
    driver.add()
    driver.forbid()
    await driver.sync()
    await driver.world.send("DELETE", "/sources/jira")
    await driver.world.send("GET", "/sources/jira", expect=404)


@on_github
async def test_a_refused_edit_leaves_the_older_text(driver: TrackerDriver, clock: Clock) -> None:
    key = driver.add()
    await driver.sync()
    driver.forbid()
    driver.describe(key, "Key-Result: KR-1")
    await driver.sync()
    assert (await driver.notice(key))["state"] == "failed"
    assert MISSING in driver.comments(key)[0]
    driver.allow()
    clock.advance(hours=1)
    await driver.sync()
    assert "Aligned with KR-1" in driver.comments(key)[0]
    assert (await driver.notice(key))["state"] == "resolved"


# --- limited ----------------------------------------------------------------------------------


@on_either("jira")
async def test_a_limit_holds_up_all_of_the_sources_tickets_until_it_ends(
    driver: TrackerDriver, world: World, runtime: Runtime, clock: Clock
) -> None:
    keys = [driver.add() for _ in range(3)]
    driver.tracker.faults.add(driver.creates, faults.answer(429, headers={"Retry-After": "120"}))
    run = await driver.sync()
    assert driver.tracker.log.count(driver.creates) == 1
    assert run["writes"]["pending"] == 3
    assert {(await driver.notice(key))["state"] for key in keys} == {"due"}
    await later(world, runtime, clock, seconds=119)
    assert driver.tracker.log.count(driver.creates) == 1
    await later(world, runtime, clock, seconds=2)
    assert [len(driver.comments(key)) for key in keys] == [1, 1, 1]
    assert (await world.send("GET", f"/runs/{run['id']}"))["writes"]["posted"] == 3


# --- not to be read ---------------------------------------------------------------------------


@on_github
async def test_a_ticket_that_cannot_be_fetched_is_held_as_stale(
    driver: TrackerDriver, world: World, runtime: Runtime, clock: Clock
) -> None:
    key, other = driver.add(), driver.add()
    driver.tracker.faults.add(driver.reads, faults.answer(502))
    await driver.sync()
    notice = await driver.notice(key)
    assert (notice["state"], notice["reason"]) == ("held", "stale")
    assert notice["detail"] == "GitHub has a problem: sandbox fault 502"
    assert driver.tracker.log.count(driver.creates) == 0
    await later(world, runtime, clock, seconds=62)
    assert [len(driver.comments(each)) for each in (key, other)] == [1, 1]


@on_jira
async def test_credentials_that_died_are_not_tried_on_every_ticket(
    driver: TrackerDriver, clock: Clock
) -> None:
    keys = [driver.add() for _ in range(3)]
    driver.tracker.faults.add(driver.reads, faults.answer(401))
    await driver.sync()
    assert driver.tracker.log.count(driver.reads) == 1
    notices = [await driver.notice(key) for key in keys]
    assert [(one["state"], one["reason"]) for one in notices] == [
        ("held", "stale"),
        ("due", None),
        ("due", None),
    ]
    assert notices[0]["detail"] == (
        "Jira does not accept the credentials. Make a new API token for this account and put it into the"
        " source's credentials."
    )
    clock.advance(hours=1)
    await driver.sync()
    assert [len(driver.comments(key)) for key in keys] == [1, 1, 1]


@on_either("jira")
async def test_a_new_token_sets_all_going_again(driver: TrackerDriver) -> None:
    """It dies between evaluating and writing, where everything of the source then rests."""
    keys = [driver.add() for _ in range(3)]
    driver.tracker.faults.add(driver.reads, faults.answer(401), times=None)
    await driver.sync()
    assert [driver.comments(key) for key in keys] == [[], [], []]
    driver.tracker.faults.clear()
    if driver.kind == "jira":
        bot = driver.world.site.bot
        credentials = {"type": "api_token", "email": bot.email, "token": bot.token}
    else:
        credentials = {"type": "token", "token": driver.world.host.bot.token}
    await driver.world.send("PATCH", f"/sources/{driver.kind}", {"credentials": credentials})
    await driver.sync()
    assert [len(driver.comments(key)) for key in keys] == [1, 1, 1]


@on_github
async def test_an_edit_whose_ticket_cannot_be_fetched_leaves_the_text_and_says_so(
    driver: TrackerDriver, clock: Clock
) -> None:
    key = driver.add()
    await driver.sync()
    driver.describe(key, "Key-Result: KR-1")
    driver.tracker.faults.add(driver.reads, faults.answer(401))
    await driver.sync()
    notice = await driver.notice(key)
    assert (notice["state"], notice["pending"]) == ("posted", True)
    assert MISSING in driver.comments(key)[0]
    assert notice["detail"].startswith("GitHub does not accept the token. Make a new token")
    clock.advance(hours=1)
    await driver.sync()
    assert "Aligned with KR-1" in driver.comments(key)[0]


async def test_a_project_that_was_not_read_to_its_end_is_stale(world: World, clock: Clock) -> None:
    driver = driver_of(world, "jira")
    await world.goal("KR-1", "Checkout conversion")
    await driver.connect(mode="shadow")
    key = driver.add()
    await driver.sync()
    listing = driver.tracker.faults.add("POST */search/jql", faults.answer(400), times=None)
    clock.advance(minutes=1)
    assert (await driver.sync())["state"] == "partial"
    await driver.set_mode("live")
    notice = await driver.notice(key)
    assert (notice["state"], notice["reason"], driver.comments(key)) == ("held", "stale", [])
    listing.left = 0
    await driver.sync()
    assert len(driver.comments(key)) == 1


# --- changed meanwhile ------------------------------------------------------------------------


@both
async def test_a_ticket_fixed_between_evaluating_and_writing_gets_no_comment(driver: TrackerDriver) -> None:
    key = driver.add()
    driver.tracker.faults.add(driver.reads, faults.first(lambda: driver.describe(key, "Key-Result: KR-1")))
    run = await driver.sync()
    assert sum(run["writes"].values()) == 0
    assert (driver.comments(key), await driver.notice(key)) == ([], None)
    assert (await driver.epic(key))["alignment"] == "aligned"


@on_github
async def test_a_ticket_deleted_between_evaluating_and_writing(driver: TrackerDriver) -> None:
    """It may only be hidden from us, so the full run is to say, which has a guard."""
    key = driver.add()
    driver.tracker.faults.add(driver.reads, faults.first(lambda: driver.delete(key)))
    run = await driver.sync()
    assert sum(run["writes"].values()) == 0
    assert driver.tracker.log.count(driver.creates) == 0
    notice = await driver.notice(key)
    assert (notice["state"], notice["reason"], notice["pending"]) == ("held", "stale", False)
    assert (await driver.sync("full"))["deleted"] == 1
    assert (await driver.world.send("GET", "/epics"))["items"] == []


@pytest.mark.parametrize(
    ("path", "change", "state"),
    [
        ("/policy", {"grace": "P5D"}, "held"),
        ("/sources/jira", {"notices": {"mode": "shadow"}}, "shadow"),
        ("/sources/jira", {"notices": {"mode": "off"}}, "due"),
    ],
)
async def test_what_may_no_longer_be_written_is_not(
    world: World, path: str, change: dict[str, object], state: str
) -> None:
    """The change comes while the ticket is fetched; its own run is still to come."""
    driver = driver_of(world, "jira")
    await driver.connect()
    key = driver.add()
    strike = driver.tracker.faults.add(driver.reads, meanwhile(lambda: world.send("PATCH", path, change)))
    await driver.sync()
    assert (strike.struck, driver.comments(key)) == (1, [])
    notice = await driver.notice(key)
    assert (notice["state"], notice["pending"]) == (state, False)


@on_either("github")
async def test_a_link_made_while_the_comment_is_written_settles_it(
    driver: TrackerDriver, world: World
) -> None:
    key = driver.add()
    link = {"epic": {"source": driver.kind, "key": key}, "key_result": "KR-1"}
    strike = driver.tracker.faults.add(driver.creates, meanwhile(lambda: world.send("POST", "/links", link)))
    await driver.sync()
    assert strike.struck == 1
    assert driver.comments(key) == ["Aligned with KR-1 (Checkout conversion). Thank you."]
    notice = await driver.notice(key)
    assert (notice["state"], notice["pending"]) == ("resolved", False)


@on_jira
async def test_switched_off_while_the_comment_is_written(driver: TrackerDriver, world: World) -> None:
    key = driver.add()
    off = {"notices": {"mode": "off"}}
    driver.tracker.faults.add(
        driver.creates, meanwhile(lambda: world.send("PATCH", f"/sources/{driver.kind}", off))
    )
    await driver.sync()
    notice = await driver.notice(key)
    assert (notice["state"], notice["pending"]) == ("posted", False)
    driver.describe(key, "Key-Result: KR-1")
    await driver.sync()
    assert MISSING in driver.comments(key)[0]


@on_github
async def test_a_link_taken_back_before_the_edit_leaves_the_text_and_says_so(
    driver: TrackerDriver, world: World
) -> None:
    key = driver.add()
    await driver.sync()
    (text,) = driver.comments(key)
    before = await driver.notice(key)
    link = {"epic": {"source": driver.kind, "key": key}, "key_result": "KR-1"}
    made = await world.send("POST", "/links", link)
    queued = await driver.notice(key)
    assert (queued["state"], queued["pending"], "Aligned with" in queued["body"]) == ("posted", True, True)
    await world.send("DELETE", f"/links/{made['id']}")
    await world.drain()
    assert driver.comments(key) == [text]
    after = await driver.notice(key)
    assert (after["pending"], after["body"]) == (False, before["body"])
    assert driver.tracker.log.count(driver.edits) == 0
