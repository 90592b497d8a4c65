"""Answers lost, workers killed, comments deleted: never a second comment of ours on a ticket."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from app import pipeline, writing
from app.runtime import Runtime
from connectors.sandbox import faults
from connectors.sandbox.faults import Action
from mappings import claims
from tests.conftest import Clock
from tests.sides import GitHubSide, JiraSide, Side, both, on_github, on_jira
from tests.synced import all_of, later
from tests.world import World

MISSING = "This epic is not linked to a key result."
FOREIGN = f"{writing.FOREIGN} {writing.FOREIGN_TO_DO}"


class Held:
    """An action that stops on its way until the test lets it go on."""

    def __init__(self, then: Action, *, after_work: bool) -> None:
        self.reached, self.go_on = asyncio.Event(), asyncio.Event()
        self.then, self.after_work = then, after_work

    async def __call__(self, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        async def held(scope: Scope, receive: Receive, send: Send) -> None:
            if self.after_work:
                await app(scope, receive, send)
            self.reached.set()
            await self.go_on.wait()
            if not self.after_work:
                await app(scope, receive, send)

        await self.then(held, scope, receive, send)


async def kill(task: asyncio.Task[Any], held: Held) -> None:
    """As if the process had died: nothing more is stored, and the connection breaks."""
    await asyncio.wait_for(held.reached.wait(), 20)
    task.cancel()
    held.go_on.set()
    await asyncio.wait({task})
    assert task.cancelled()


# --- the answer is lost -----------------------------------------------------------------------


@both
async def test_a_lost_answer_makes_no_second_comment(
    side: Side, world: World, runtime: Runtime, clock: Clock
) -> None:
    key = side.add()
    side.tracker.faults.add(side.creates, faults.lose_answer())
    run = await side.sync()
    assert run["writes"]["pending"] == 1
    assert (await side.notice(key))["state"] == "due"
    for _ in range(2):
        # Before its rest is over the ticket is not looked at again.
        await later(world, runtime, clock, seconds=29)
        assert (len(side.comments(key)), side.tracker.log.count(side.looks)) == (1, 1)
    await later(world, runtime, clock, seconds=3)
    assert side.tracker.log.count(side.creates) == 1
    notice = await side.notice(key)
    assert (notice["state"], notice["pending"]) == ("posted", False)
    assert notice["url"].endswith(side.comment_ids(key)[0])
    run = await world.send("GET", f"/runs/{run['id']}")
    assert (run["writes"]["posted"], run["writes"]["pending"]) == (1, 0)


@on_jira
async def test_a_request_that_never_arrived_is_sent_again(
    side: Side, world: World, runtime: Runtime, clock: Clock
) -> None:
    key = side.add()
    side.tracker.faults.add(side.creates, faults.drop())
    await side.sync()
    await later(world, runtime, clock, seconds=59)
    assert side.comments(key) == []
    await later(world, runtime, clock, seconds=2)
    assert len(side.comments(key)) == 1
    assert side.tracker.log.count(side.looks) == 2


@on_github
async def test_a_gap_closed_after_a_lost_answer_settles_that_comment(
    side: Side, world: World, runtime: Runtime, clock: Clock
) -> None:
    key = side.add()
    side.tracker.faults.add(side.creates, faults.lose_answer())
    await side.sync()
    side.describe(key, "Key-Result: KR-1")
    await side.sync()
    assert MISSING in side.comments(key)[0]
    await later(world, runtime, clock, seconds=61)
    assert side.comments(key) == ["Aligned with KR-1 (Checkout conversion). Thank you."]
    assert (await side.notice(key))["state"] == "resolved"


@on_jira
async def test_a_lost_answer_to_an_edit_is_just_sent_again(
    side: Side, world: World, runtime: Runtime, clock: Clock
) -> None:
    key = side.add()
    await side.sync()
    side.describe(key, "Key-Result: KR-1")
    side.tracker.faults.add(side.edits, faults.drop())
    await side.sync()
    assert MISSING in side.comments(key)[0]
    await later(world, runtime, clock, seconds=61)
    assert "Aligned with KR-1" in side.comments(key)[0]
    assert side.tracker.log.count(side.creates) == 1


# --- the worker is killed ---------------------------------------------------------------------


@both
@pytest.mark.parametrize("after_post", [False, True], ids=["before the request", "after it"])
async def test_a_killed_worker_leaves_one_comment(
    side: Side, world: World, runtime: Runtime, clock: Clock, after_post: bool
) -> None:
    key = side.add()
    source_id = await _judged_but_not_written(side, runtime)
    held = Held(faults.lose_answer(), after_work=after_post)
    side.tracker.faults.add(side.creates if after_post else side.reads, held)
    await kill(asyncio.create_task(pipeline.write_tickets(runtime, source_id)), held)
    assert len(side.comments(key)) == after_post
    await later(world, runtime, clock, seconds=claims.NOTICE_LEASE.total_seconds() - 1)
    assert len(side.comments(key)) == after_post
    await later(world, runtime, clock, seconds=1)
    assert len(side.comments(key)) == 1
    assert side.tracker.log.count(side.creates) == 1
    notice = await side.notice(key)
    assert (notice["state"], notice["pending"]) == ("posted", False)
    side.describe(key, "Key-Result: KR-1")
    await side.sync()
    assert "Aligned with KR-1" in side.comments(key)[0]


async def _judged_but_not_written(side: Side, runtime: Runtime) -> int:
    """A sync whose writes are let go and which nobody has begun; the id of its source."""
    run = await side.world.send("POST", f"/sources/{side.kind}/sync", {})
    await pipeline.carry_out(runtime, run["id"])
    async with runtime.sessions() as session:
        (source_id,) = await claims.sources_with_due_notices(session, runtime.clock())
    return source_id


# --- somebody deletes our comment -------------------------------------------------------------


async def test_who_deletes_our_comment_has_said_no(side: Side, world: World, clock: Clock) -> None:
    key = side.add()
    await side.sync()
    side.delete_comments(key)
    clock.advance(minutes=1)
    side.describe(key, "Key-Result: KR-99")
    await side.sync()
    notice = await side.notice(key)
    assert (notice["state"], notice["reason"]) == ("withdrawn", "deleted_on_ticket")
    assert (notice["pending"], notice["url"]) == (False, None)
    for text, mode in (("Key-Result: KR-98", "incremental"), ("Words.", "full")):
        clock.advance(days=30)
        side.describe(key, text)
        await side.sync(mode)
        assert (side.comments(key), (await side.notice(key))["state"]) == ([], "withdrawn")
    await side.set_mode("shadow")
    await side.set_mode("live")
    assert side.comments(key) == []

    # Another opening of the finding is another matter.
    for text in ("Key-Result: KR-1", "Words."):
        clock.advance(days=1)
        side.describe(key, text)
        await side.sync()
    assert MISSING in side.comments(key)[0]
    assert len(side.comments(key)) == 1


# --- whose comment it is ----------------------------------------------------------------------


@both
async def test_our_marker_on_a_strangers_comment_fails(
    side: Side, world: World, runtime: Runtime, clock: Clock
) -> None:
    """The source has another account's credentials now, say; the first one's comment is not ours to edit."""
    key = side.add()
    side.tracker.faults.add(side.creates, faults.lose_answer())
    await side.sync()
    if isinstance(side, JiraSide):
        side.site.issue(key).comments[0].author = side.site.account("dev-lead")
    elif isinstance(side, GitHubSide):
        side.host.issue(key).comments[0].author = side.host.account("dev-lead")
    await later(world, runtime, clock, seconds=61)
    for _ in range(2):
        notice = await side.notice(key)
        assert (notice["state"], notice["detail"]) == ("failed", FOREIGN)
        assert side.tracker.log.count(side.creates) == 1
        clock.advance(hours=2)
        side.describe(key, f"Words of {clock()}.")
        await side.sync()
    assert len(side.comments(key)) == 1


@both
async def test_a_comment_that_stood_there_before_is_never_joined_by_a_second(
    side: Side, world: World, clock: Clock
) -> None:
    """The source was deleted and made again, and with it every epic."""
    key = side.add()
    await side.sync()
    (comment,) = side.comment_ids(key)
    await world.send("DELETE", f"/sources/{side.kind}?comments=leave")
    await side.connect()
    side.describe(key, "Key-Result: KR-99")
    await side.sync()
    assert (side.comment_ids(key), side.tracker.log.count(side.creates)) == ([comment], 1)
    notice = await side.notice(key)
    assert (notice["state"], notice["url"].endswith(comment)) == ("posted", True)
    assert "KR-99" in side.comments(key)[0]
    side.describe(key, "Key-Result: KR-1")
    clock.advance(minutes=1)
    await side.sync()
    assert side.comments(key) == ["Aligned with KR-1 (Checkout conversion). Thank you."]


@both
async def test_strangers_who_copy_our_marker_silence_their_own_ticket_alone(
    side: Side, runtime: Runtime
) -> None:
    """What looks like ours and may not be edited is never joined by a second; but it says nothing of the
    project, and a marker copied from another ticket nothing at all."""
    keys = [side.add() for _ in range(7)]
    *own, elsewhere = [*range(1, 7), 1]
    ((installation,),) = await all_of(runtime, "SELECT uuid FROM installation")
    for key, epic in zip(keys, (*own, elsewhere), strict=True):
        marker = f"{installation}/{epic}"
        if isinstance(side, JiraSide):
            somebody = side.site.account("somebody-else")
            side.site.comment(key, "Copied.", somebody, {"northing": {"id": marker}})
        elif isinstance(side, GitHubSide):
            text = f"<!-- northing:notice -->\n<!-- northing:id {marker} -->\n\nCopied."
            side.host.comment(key, text, side.host.account("somebody-else"))
    run = await side.sync()
    assert (run["writes"]["failed"], run["writes"]["posted"], run["writes"]["pending"]) == (6, 1, 0)
    shown = [await side.notice(key) for key in keys]
    assert {(one["state"], one["detail"]) for one in shown[:6]} == {("failed", FOREIGN)}
    assert [len(side.comments(key)) for key in keys] == [1] * 6 + [2]


@both
async def test_another_installations_marker_is_not_ours(
    side: Side, world: World, runtime: Runtime, clock: Clock
) -> None:
    key = side.add()
    other = "0b9f4a34-0000-4000-8000-000000000000/1"
    if isinstance(side, JiraSide):
        side.site.comment(key, "Theirs.", side.site.bot, {"northing": {"id": other}})
    elif isinstance(side, GitHubSide):
        text = f"<!-- northing:notice -->\n<!-- northing:id {other} -->\n\nTheirs."
        side.host.comment(key, text, side.host.bot)
    side.tracker.faults.add(side.creates, faults.drop())
    await side.sync()
    await later(world, runtime, clock, seconds=61)
    theirs, ours = side.comments(key)
    assert (theirs, MISSING in ours) == ("Theirs.", True)


async def test_a_transferred_tickets_comment_goes_with_it(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    """GitHub gives issue and comment new addresses, and the issue a new id; ours is found by its marker."""
    side = GitHubSide(world)
    world.host.add_repository("acme/other")
    await side.connect()
    await world.send("PATCH", "/sources/github", {"scope": {"repositories": ["acme/shop", "acme/other"]}})
    await world.goal("KR-1", "Checkout conversion")
    key = side.add()
    await side.sync()
    before = await side.epic(key)
    world.host.transfer(key, "acme/other")
    link = {"epic": {"source": "github", "key": key}, "key_result": "KR-1"}
    await world.send("POST", "/links", link)
    await world.drain()
    await later(world, runtime, clock, seconds=timedelta(minutes=2).total_seconds())
    after = await side.epic(key)
    assert (after["key"], after["id"] != before["id"]) == ("acme/other#1", True)
    assert side.comments("acme/other#1") == ["Aligned with KR-1 (Checkout conversion). Thank you."]
    assert side.tracker.log.count(side.creates) == 1
    epics = await world.send("GET", "/epics")
    assert [epic["key"] for epic in epics["items"]] == ["acme/other#1"]
