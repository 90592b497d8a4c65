"""A tracker that refuses, limits or cannot be read, and tickets that change while they are written."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from app.runtime import Runtime
from connectors.sandbox import faults
from connectors.sandbox.faults import Action
from tests.conftest import Clock
from tests.sides import Side, on_github, on_jira, side_of
from tests.synced import later
from tests.world import World

MISSING = "This epic is not linked to a key result."


def meanwhile(call: Callable[[], Awaitable[object]]) -> Action:
    """While the tracker works on the request, somebody does `call`; then the answer goes out."""

    async def act(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        await call()
        await app(scope, receive, send)

    return act


# --- refused ----------------------------------------------------------------------------------


@pytest.mark.parametrize("then", ["incremental", "full", "an hour"])
async def test_a_refusal_fails_and_is_tried_again(
    side: Side, runtime: Runtime, clock: Clock, then: str
) -> None:
    key = side.add()
    side.forbid()
    run = await side.sync()
    assert (run["state"], run["writes"]["failed"], run["writes"]["pending"]) == ("succeeded", 1, 0)
    notice = await side.notice(key)
    assert (notice["state"], notice["pending"]) == ("failed", False)
    assert "permission" in notice["detail"] or "not accessible" in notice["detail"]
    side.allow()
    if then == "an hour":
        await later(side.world, runtime, clock, minutes=59)
        assert side.comments(key) == []
        await later(side.world, runtime, clock, minutes=1)
    else:
        assert (await side.sync(then))["writes"]["posted"] == 1
    notice = await side.notice(key)
    assert (notice["state"], notice["detail"]) == ("posted", None)
    assert len(side.comments(key)) == 1


@on_github
async def test_a_refused_edit_leaves_the_older_text(side: Side, clock: Clock) -> None:
    key = side.add()
    await side.sync()
    side.forbid()
    side.describe(key, "Key-Result: KR-1")
    await side.sync()
    assert (await side.notice(key))["state"] == "failed"
    assert MISSING in side.comments(key)[0]
    side.allow()
    clock.advance(hours=1)
    await side.sync()
    assert "Aligned with KR-1" in side.comments(key)[0]
    assert (await side.notice(key))["state"] == "resolved"


# --- limited ----------------------------------------------------------------------------------


async def test_a_limit_holds_up_all_of_the_sources_tickets_until_it_ends(
    side: Side, world: World, runtime: Runtime, clock: Clock
) -> None:
    keys = [side.add() for _ in range(3)]
    side.tracker.faults.add(side.creates, faults.answer(429, headers={"Retry-After": "120"}))
    run = await side.sync()
    assert side.tracker.log.count(side.creates) == 1
    assert run["writes"]["pending"] == 3
    assert {(await side.notice(key))["state"] for key in keys} == {"due"}
    await later(world, runtime, clock, seconds=119)
    assert side.tracker.log.count(side.creates) == 1
    await later(world, runtime, clock, seconds=2)
    assert [len(side.comments(key)) for key in keys] == [1, 1, 1]
    assert (await world.send("GET", f"/runs/{run['id']}"))["writes"]["posted"] == 3


# --- not to be read ---------------------------------------------------------------------------


@on_github
async def test_a_ticket_that_cannot_be_fetched_is_held_as_stale(
    side: Side, world: World, runtime: Runtime, clock: Clock
) -> None:
    key, other = side.add(), side.add()
    side.tracker.faults.add(side.reads, faults.answer(502))
    await side.sync()
    notice = await side.notice(key)
    assert (notice["state"], notice["reason"]) == ("held", "stale")
    assert notice["detail"]
    assert side.tracker.log.count(side.creates) == 0
    await later(world, runtime, clock, seconds=62)
    assert [len(side.comments(each)) for each in (key, other)] == [1, 1]


@on_jira
async def test_credentials_that_died_are_not_tried_on_every_ticket(side: Side, clock: Clock) -> None:
    keys = [side.add() for _ in range(3)]
    side.tracker.faults.add(side.reads, faults.answer(401))
    await side.sync()
    assert side.tracker.log.count(side.reads) == 1
    notices = [await side.notice(key) for key in keys]
    assert [(one["state"], one["reason"]) for one in notices] == [
        ("held", "stale"),
        ("due", None),
        ("due", None),
    ]
    assert "new" in notices[0]["detail"].lower()
    clock.advance(hours=1)
    await side.sync()
    assert [len(side.comments(key)) for key in keys] == [1, 1, 1]


async def test_a_new_token_sets_all_going_again(side: Side, runtime: Runtime) -> None:
    """It dies between judging and writing, where everything of the source then rests."""
    keys = [side.add() for _ in range(3)]
    side.tracker.faults.add(side.reads, faults.answer(401), times=None)
    await side.sync()
    assert [side.comments(key) for key in keys] == [[], [], []]
    side.tracker.faults.clear()
    source = {"jira": {"type": "api_token", "email": "x@example.com"}, "github": {"type": "token"}}[side.kind]
    if side.kind == "jira":
        source["email"] = side.world.site.bot.email
    token = side.world.site.bot.token if side.kind == "jira" else side.world.host.bot.token
    await side.world.send("PATCH", f"/sources/{side.kind}", {"credentials": {**source, "token": token}})
    await side.sync()
    assert [len(side.comments(key)) for key in keys] == [1, 1, 1]


@on_github
async def test_an_edit_whose_ticket_cannot_be_fetched_leaves_the_text_and_says_so(
    side: Side, clock: Clock
) -> None:
    key = side.add()
    await side.sync()
    side.describe(key, "Key-Result: KR-1")
    side.tracker.faults.add(side.reads, faults.answer(401))
    await side.sync()
    notice = await side.notice(key)
    assert (notice["state"], notice["pending"]) == ("posted", True)
    assert MISSING in side.comments(key)[0]
    assert "token" in notice["detail"]
    clock.advance(hours=1)
    await side.sync()
    assert "Aligned with KR-1" in side.comments(key)[0]


async def test_a_project_that_was_not_read_to_its_end_is_stale(world: World, clock: Clock) -> None:
    side = side_of(world, "jira")
    await world.goal("KR-1", "Checkout conversion")
    await side.connect(mode="shadow")
    key = side.add()
    await side.sync()
    listing = side.tracker.faults.add("POST */search/jql", faults.answer(400), times=None)
    clock.advance(minutes=1)
    assert (await side.sync())["state"] == "partial"
    await side.set_mode("live")
    notice = await side.notice(key)
    assert (notice["state"], notice["reason"], side.comments(key)) == ("held", "stale", [])
    listing.left = 0
    await side.sync()
    assert len(side.comments(key)) == 1


# --- changed meanwhile ------------------------------------------------------------------------


async def test_a_ticket_fixed_between_judging_and_writing_gets_no_comment(side: Side) -> None:
    key = side.add()
    side.tracker.faults.add(side.reads, faults.first(lambda: side.describe(key, "Key-Result: KR-1")))
    run = await side.sync()
    assert sum(run["writes"].values()) == 0
    assert (side.comments(key), await side.notice(key)) == ([], None)
    assert (await side.epic(key))["alignment"] == "aligned"


@on_github
async def test_a_ticket_deleted_between_judging_and_writing(side: Side) -> None:
    """It may only be hidden from us, so the full run is to say, which has a guard."""
    key = side.add()
    side.tracker.faults.add(side.reads, faults.first(lambda: side.delete(key)))
    run = await side.sync()
    assert sum(run["writes"].values()) == 0
    assert side.tracker.log.count(side.creates) == 0
    notice = await side.notice(key)
    assert (notice["state"], notice["reason"], notice["pending"]) == ("held", "stale", False)
    assert (await side.sync("full"))["deleted"] == 1
    assert (await side.world.send("GET", "/epics"))["items"] == []


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
    side = side_of(world, "jira")
    await side.connect()
    key = side.add()
    strike = side.tracker.faults.add(side.reads, meanwhile(lambda: world.send("PATCH", path, change)))
    await side.sync()
    assert (strike.struck, side.comments(key)) == (1, [])
    notice = await side.notice(key)
    assert (notice["state"], notice["pending"]) == (state, False)


async def test_a_link_made_while_the_comment_is_written_settles_it(side: Side, world: World) -> None:
    key = side.add()
    link = {"epic": {"source": side.kind, "key": key}, "key_result": "KR-1"}
    strike = side.tracker.faults.add(side.creates, meanwhile(lambda: world.send("POST", "/links", link)))
    await side.sync()
    assert strike.struck == 1
    assert side.comments(key) == ["Aligned with KR-1 (Checkout conversion). Thank you."]
    notice = await side.notice(key)
    assert (notice["state"], notice["pending"]) == ("resolved", False)


@on_jira
async def test_switched_off_while_the_comment_is_written(side: Side, world: World) -> None:
    key = side.add()
    off = {"notices": {"mode": "off"}}
    side.tracker.faults.add(
        side.creates, meanwhile(lambda: world.send("PATCH", f"/sources/{side.kind}", off))
    )
    await side.sync()
    notice = await side.notice(key)
    assert (notice["state"], notice["pending"]) == ("posted", False)
    side.describe(key, "Key-Result: KR-1")
    await side.sync()
    assert MISSING in side.comments(key)[0]


@on_github
async def test_a_link_taken_back_before_the_edit_leaves_the_text_and_says_so(
    side: Side, world: World
) -> None:
    key = side.add()
    await side.sync()
    (text,) = side.comments(key)
    before = await side.notice(key)
    link = {"epic": {"source": side.kind, "key": key}, "key_result": "KR-1"}
    made = await world.send("POST", "/links", link)
    queued = await side.notice(key)
    assert (queued["state"], queued["pending"], "Aligned with" in queued["body"]) == ("posted", True, True)
    await world.send("DELETE", f"/links/{made['id']}")
    await world.drain()
    assert side.comments(key) == [text]
    after = await side.notice(key)
    assert (after["pending"], after["body"]) == (False, before["body"])
    assert side.tracker.log.count(side.edits) == 0
