"""Answers lost, workers killed, comments deleted: never a second comment of ours on a ticket."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select
from starlette.types import ASGIApp, Receive, Scope, Send

from app import pipeline
from app.runtime import Runtime
from app.writing.writer import FOREIGN_COMMENT, FOREIGN_COMMENT_TO_DO
from connectors.sandbox import faults
from connectors.sandbox.faults import Action
from mappings.leases import LEASE, UNCONFIRMED_WAIT
from mappings.notices import claims
from mappings.tables import InstallationRow, NoticeRow
from tests.support.clock import Clock, later
from tests.support.tracker_drivers import (
    GitHubDriver,
    JiraDriver,
    TrackerDriver,
    both,
    on_either,
    on_github,
    on_jira,
)
from tests.support.tracker_requests import Pause
from tests.support.world import World

MISSING = "This epic is not linked to a key result."
FOREIGN = f"{FOREIGN_COMMENT} {FOREIGN_COMMENT_TO_DO}"


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
    driver: TrackerDriver, world: World, runtime: Runtime, clock: Clock
) -> None:
    key = driver.add()
    driver.tracker.faults.add(driver.creates, faults.lose_answer())
    run = await driver.sync()
    assert run["writes"]["pending"] == 1
    assert (await driver.notice(key))["state"] == "due"
    for _ in range(2):
        # Before its rest is over the ticket is not looked at again.
        await later(world, runtime, clock, seconds=29)
        assert (len(driver.comments(key)), driver.tracker.log.count(driver.looks)) == (1, 1)
    await later(world, runtime, clock, seconds=3)
    assert driver.tracker.log.count(driver.creates) == 1
    notice = await driver.notice(key)
    assert (notice["state"], notice["pending"]) == ("posted", False)
    assert notice["url"].endswith(driver.comment_ids(key)[0])
    run = await world.send("GET", f"/runs/{run['id']}")
    assert (run["writes"]["posted"], run["writes"]["pending"]) == (1, 0)


@on_jira
async def test_a_request_that_never_arrived_is_sent_again(
    driver: TrackerDriver, world: World, runtime: Runtime, clock: Clock
) -> None:
    key = driver.add()
    driver.tracker.faults.add(driver.creates, faults.drop())
    await driver.sync()
    await later(world, runtime, clock, seconds=59)
    assert driver.comments(key) == []
    await later(world, runtime, clock, seconds=2)
    assert len(driver.comments(key)) == 1
    assert driver.tracker.log.count(driver.looks) == 2


@on_github
async def test_a_gap_closed_after_a_lost_answer_resolves_that_comment(
    driver: TrackerDriver, world: World, runtime: Runtime, clock: Clock
) -> None:
    key = driver.add()
    driver.tracker.faults.add(driver.creates, faults.lose_answer())
    await driver.sync()
    driver.describe(key, "Key-Result: KR-1")
    await driver.sync()
    assert MISSING in driver.comments(key)[0]
    await later(world, runtime, clock, seconds=61)
    assert driver.comments(key) == ["Aligned with KR-1 (Checkout conversion). Thank you."]
    assert (await driver.notice(key))["state"] == "resolved"


@on_jira
async def test_a_lost_answer_to_an_edit_is_just_sent_again(
    driver: TrackerDriver, world: World, runtime: Runtime, clock: Clock
) -> None:
    key = driver.add()
    await driver.sync()
    driver.describe(key, "Key-Result: KR-1")
    driver.tracker.faults.add(driver.edits, faults.drop())
    await driver.sync()
    assert MISSING in driver.comments(key)[0]
    await later(world, runtime, clock, seconds=61)
    assert "Aligned with KR-1" in driver.comments(key)[0]
    assert driver.tracker.log.count(driver.creates) == 1


@on_jira
@pytest.mark.parametrize(
    ("trouble", "written"),
    [(faults.lose_answer, 1), (faults.drop, 0)],
    ids=["the answer lost", "never arrived"],
)
async def test_a_write_without_an_answer_counts_as_a_comment_when_its_source_is_deleted(
    driver: TrackerDriver, world: World, trouble: Callable[[], Action], written: int
) -> None:
    """Whether it arrived nobody knows, so the deletion asks what is to become of it."""
    key = driver.add()
    driver.tracker.faults.add(driver.creates, trouble())
    await driver.sync()
    notice = await driver.notice(key)
    assert (notice["state"], notice["pending"], notice["url"]) == ("due", True, None)
    problem = await world.send("DELETE", "/sources/jira", expect=409)
    assert "?comments=leave" in problem["detail"]
    await world.send("DELETE", "/sources/jira?comments=leave")
    await world.send("GET", "/sources/jira", expect=404)
    assert len(driver.comments(key)) == written


# --- the worker is killed ---------------------------------------------------------------------


@both
@pytest.mark.parametrize("after_post", [False, True], ids=["before the request", "after it"])
async def test_a_killed_worker_leaves_one_comment(
    driver: TrackerDriver, world: World, runtime: Runtime, clock: Clock, after_post: bool
) -> None:
    key = driver.add()
    source_id = await _evaluated_but_not_written(driver, runtime)
    held = Held(faults.lose_answer(), after_work=after_post)
    driver.tracker.faults.add(driver.creates if after_post else driver.reads, held)
    await kill(asyncio.create_task(pipeline.write_tickets(runtime, source_id)), held)
    assert len(driver.comments(key)) == after_post
    await later(world, runtime, clock, seconds=LEASE.total_seconds() - 1)
    assert (len(driver.comments(key)), len(await _claims(runtime))) == (after_post, 1)
    await later(world, runtime, clock, seconds=1)
    assert await _claims(runtime) == []
    await later(world, runtime, clock, seconds=(UNCONFIRMED_WAIT - LEASE).total_seconds() - 1)
    assert len(driver.comments(key)) == after_post
    await later(world, runtime, clock, seconds=1)
    assert len(driver.comments(key)) == 1
    assert driver.tracker.log.count(driver.creates) == 1
    notice = await driver.notice(key)
    assert (notice["state"], notice["pending"]) == ("posted", False)
    driver.describe(key, "Key-Result: KR-1")
    await driver.sync()
    assert "Aligned with KR-1" in driver.comments(key)[0]


@both
async def test_a_claim_outlasts_a_request_that_is_longer_than_a_lease(
    driver: TrackerDriver, runtime: Runtime, clock: Clock
) -> None:
    """The tracker thinks about the comment for a minute; no other writer takes the ticket meanwhile."""
    key = driver.add()
    source_id = await _evaluated_but_not_written(driver, runtime)
    held = Pause()
    driver.tracker.faults.add(driver.creates, held)
    eager = replace(runtime, renew_every=timedelta(milliseconds=1))
    writing = asyncio.create_task(pipeline.write_tickets(eager, source_id))
    await asyncio.wait_for(held.reached.wait(), 20)
    for _ in range(3):
        clock.advance(seconds=0.8 * LEASE.total_seconds())
        async with asyncio.timeout(20):
            while await _claims(runtime) != [clock() + LEASE]:
                await asyncio.sleep(0)
        await pipeline.write_tickets(runtime, source_id)
    held.go_on.set()
    await writing
    notice = await driver.notice(key)
    assert (notice["state"], notice["pending"]) == ("posted", False)
    assert (len(driver.comments(key)), driver.tracker.log.count(driver.creates)) == (1, 1)
    assert await _claims(runtime) == []


async def _claims(runtime: Runtime) -> list[datetime | None]:
    """Until when each claimed notice is claimed."""
    async with runtime.sessions() as session:
        claimed = select(NoticeRow.claimed_until).where(NoticeRow.claimed_by.is_not(None))
        return list(await session.scalars(claimed))


async def _evaluated_but_not_written(driver: TrackerDriver, runtime: Runtime) -> int:
    """A sync whose writes are let go and which nobody has begun; the id of its source."""
    run = await driver.world.send("POST", f"/sources/{driver.kind}/sync", {})
    await pipeline.execute_run(runtime, run["id"])
    async with runtime.sessions() as session:
        (source_id,) = await claims.sources_with_due_notices(session, await runtime.now(session))
    return source_id


# --- somebody deletes our comment -------------------------------------------------------------


@on_either("jira")
async def test_a_comment_that_a_person_deleted_is_not_made_again(
    driver: TrackerDriver, world: World, clock: Clock
) -> None:
    key = driver.add()
    await driver.sync()
    driver.delete_comments(key)
    clock.advance(minutes=1)
    driver.describe(key, "Key-Result: KR-99")
    await driver.sync()
    notice = await driver.notice(key)
    assert (notice["state"], notice["reason"]) == ("withdrawn", "deleted_on_ticket")
    assert (notice["pending"], notice["url"]) == (False, None)
    for text, mode in (("Key-Result: KR-98", "incremental"), ("Words.", "full")):
        clock.advance(days=30)
        driver.describe(key, text)
        await driver.sync(mode)
        assert (driver.comments(key), (await driver.notice(key))["state"]) == ([], "withdrawn")
    await driver.set_mode("shadow")
    await driver.set_mode("live")
    assert driver.comments(key) == []

    # Another opening of the finding is another matter.
    for text in ("Key-Result: KR-1", "Words."):
        clock.advance(days=1)
        driver.describe(key, text)
        await driver.sync()
    assert MISSING in driver.comments(key)[0]
    assert len(driver.comments(key)) == 1


# --- whose comment it is ----------------------------------------------------------------------


@both
async def test_our_marker_on_a_strangers_comment_fails(
    driver: TrackerDriver, world: World, runtime: Runtime, clock: Clock
) -> None:
    """The source has another account's credentials now, say; the first one's comment is not ours to edit."""
    key = driver.add()
    driver.tracker.faults.add(driver.creates, faults.lose_answer())
    await driver.sync()
    if isinstance(driver, JiraDriver):
        driver.site.issue(key).comments[0].author = driver.site.account("dev-lead")
    elif isinstance(driver, GitHubDriver):
        driver.host.issue(key).comments[0].author = driver.host.account("dev-lead")
    await later(world, runtime, clock, seconds=61)
    for _ in range(2):
        notice = await driver.notice(key)
        assert (notice["state"], notice["detail"]) == ("failed", FOREIGN)
        assert driver.tracker.log.count(driver.creates) == 1
        clock.advance(hours=2)
        driver.describe(key, f"Words of {clock()}.")
        await driver.sync()
    assert len(driver.comments(key)) == 1


@both
async def test_a_comment_that_stood_there_before_is_never_joined_by_a_second(
    driver: TrackerDriver, world: World, clock: Clock
) -> None:
    """The source was deleted and made again, and with it every epic."""
    key = driver.add()
    await driver.sync()
    (comment,) = driver.comment_ids(key)
    await world.send("DELETE", f"/sources/{driver.kind}?comments=leave")
    await driver.connect()
    driver.describe(key, "Key-Result: KR-99")
    await driver.sync()
    assert (driver.comment_ids(key), driver.tracker.log.count(driver.creates)) == ([comment], 1)
    notice = await driver.notice(key)
    assert (notice["state"], notice["url"].endswith(comment)) == ("posted", True)
    assert "KR-99" in driver.comments(key)[0]
    driver.describe(key, "Key-Result: KR-1")
    clock.advance(minutes=1)
    await driver.sync()
    assert driver.comments(key) == ["Aligned with KR-1 (Checkout conversion). Thank you."]


@both
async def test_strangers_who_copy_our_marker_silence_their_own_ticket_alone(
    driver: TrackerDriver, runtime: Runtime
) -> None:
    """What looks like ours and may not be edited is never joined by a second; but it says nothing of the
    project, and a marker copied from another ticket nothing at all."""
    keys = [driver.add() for _ in range(7)]
    *own, elsewhere = [*range(1, 7), 1]
    async with runtime.sessions() as session:
        installation = (await session.scalars(select(InstallationRow.uuid))).one()
    for key, epic in zip(keys, (*own, elsewhere), strict=True):
        marker = f"{installation}/{epic}"
        if isinstance(driver, JiraDriver):
            somebody = driver.site.account("somebody-else")
            driver.site.comment(key, "Copied.", somebody, {"northing": {"id": marker}})
        elif isinstance(driver, GitHubDriver):
            text = f"<!-- northing:notice -->\n<!-- northing:id {marker} -->\n\nCopied."
            driver.host.comment(key, text, driver.host.account("somebody-else"))
    run = await driver.sync()
    assert (run["writes"]["failed"], run["writes"]["posted"], run["writes"]["pending"]) == (6, 1, 0)
    shown = [await driver.notice(key) for key in keys]
    assert {(one["state"], one["detail"]) for one in shown[:6]} == {("failed", FOREIGN)}
    assert [len(driver.comments(key)) for key in keys] == [1] * 6 + [2]


@both
async def test_another_installations_marker_is_not_ours(
    driver: TrackerDriver, world: World, runtime: Runtime, clock: Clock
) -> None:
    key = driver.add()
    other = "0b9f4a34-0000-4000-8000-000000000000/1"
    if isinstance(driver, JiraDriver):
        driver.site.comment(key, "Theirs.", driver.site.bot, {"northing": {"id": other}})
    elif isinstance(driver, GitHubDriver):
        text = f"<!-- northing:notice -->\n<!-- northing:id {other} -->\n\nTheirs."
        driver.host.comment(key, text, driver.host.bot)
    driver.tracker.faults.add(driver.creates, faults.drop())
    await driver.sync()
    await later(world, runtime, clock, seconds=61)
    theirs, ours = driver.comments(key)
    assert (theirs, MISSING in ours) == ("Theirs.", True)


async def test_a_transferred_tickets_comment_goes_with_it(
    world: World, runtime: Runtime, clock: Clock
) -> None:
    """GitHub gives issue and comment new addresses, and the issue a new id; ours is found by its marker."""
    driver = GitHubDriver(world)
    world.host.add_repository("acme/other")
    await driver.connect()
    await world.send("PATCH", "/sources/github", {"scope": {"repositories": ["acme/shop", "acme/other"]}})
    await world.goal("KR-1", "Checkout conversion")
    key = driver.add()
    await driver.sync()
    before = await driver.epic(key)
    world.host.transfer(key, "acme/other")
    link = {"epic": {"source": "github", "key": key}, "key_result": "KR-1"}
    await world.send("POST", "/links", link)
    await world.drain()
    await later(world, runtime, clock, seconds=timedelta(minutes=2).total_seconds())
    after = await driver.epic(key)
    assert (after["key"], after["id"] != before["id"]) == ("acme/other#1", True)
    assert driver.comments("acme/other#1") == ["Aligned with KR-1 (Checkout conversion). Thank you."]
    assert driver.tracker.log.count(driver.creates) == 1
    epics = await world.send("GET", "/epics")
    assert [epic["key"] for epic in epics["items"]] == ["acme/other#1"]
