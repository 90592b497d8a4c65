"""Answers lost, workers killed, comments deleted: never a second comment of ours on a ticket."""

from __future__ import annotations

import asyncio
import re
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
from tests.support.queries import all_of
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

MISSING = "Which key result does this epic serve?"
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
async def test_a_former_accounts_comment_is_ours_and_is_never_joined_by_a_second(
    driver: TrackerDriver, world: World, runtime: Runtime, clock: Clock
) -> None:
    """The token's account is another one now; the comment that the first one wrote may not be edited."""
    key = driver.add()
    driver.tracker.faults.add(driver.creates, faults.lose_answer())
    await driver.sync()
    own = driver.give_comment(key, None)
    await world.send("PATCH", f"/sources/{driver.kind}", {"credentials": driver.credentials("dev-lead")})
    await later(world, runtime, clock, seconds=61)
    for _ in range(2):
        notice = await driver.notice(key)
        assert (notice["state"], notice["detail"]) == ("failed", FOREIGN)
        assert driver.tracker.log.count(driver.creates) == 1
        clock.advance(hours=2)
        driver.describe(key, f"Words of {clock()}.")
        await driver.sync()
    assert len(driver.comments(key)) == 1
    assert own in [account for (account,) in await all_of(runtime, "SELECT account_id FROM tracker_accounts")]


@both
async def test_what_a_stranger_copied_is_not_ours(
    driver: TrackerDriver, world: World, runtime: Runtime, clock: Clock
) -> None:
    """Not even our own signed marker of this ticket, and it fails no notice."""
    key = driver.add()
    driver.tracker.faults.add(driver.creates, faults.lose_answer())
    await driver.sync()
    driver.give_comment(key, "dev-lead")
    await later(world, runtime, clock, seconds=61)
    notice = await driver.notice(key)
    assert (notice["state"], len(driver.comments(key))) == ("posted", 2)
    assert notice["url"].endswith(driver.comment_ids(key)[1])


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


def _marked(driver: TrackerDriver, key: str, marker: str, name: str | None) -> None:
    """A comment with this marker, by the account of that name or by the source's own."""
    if isinstance(driver, JiraDriver):
        author = driver.site.bot if name is None else driver.site.account(name)
        driver.site.comment(key, "Copied.", author, {"northing": {"id": marker}})
    elif isinstance(driver, GitHubDriver):
        text = f"<!-- northing:notice -->\n<!-- northing:id {marker} -->\n\nCopied."
        driver.host.comment(key, text, driver.host.bot if name is None else driver.host.account(name))


def _marker_on(driver: TrackerDriver, key: str) -> str:
    if isinstance(driver, JiraDriver):
        return str(driver.site.issue(key).comments[0].properties["northing"]["id"])
    assert isinstance(driver, GitHubDriver)
    second = driver.host.issue(key).comments[0].body.splitlines()[1]
    return second.removeprefix("<!-- northing:id ").removesuffix(" -->")


@both
async def test_a_marker_counts_on_its_ticket_alone_and_by_our_account_alone(
    driver: TrackerDriver, runtime: Runtime
) -> None:
    """Copied by a stranger, made up by one, or taken by our own account's owner from another ticket."""
    first = driver.add()
    await driver.sync()
    marker = _marker_on(driver, first)
    assert re.fullmatch(r"[0-9a-f-]{36}/[0-9]+ [0-9a-f]{32}", marker)
    named = marker.split(" ")[0]
    wrong = marker[:-1] + ("0" if marker[-1] != "0" else "1")
    keys = [driver.add() for _ in range(5)]
    made_up: tuple[tuple[str, str | None], ...] = (
        (marker, "somebody-else"),
        (named, "somebody-else"),
        (named.rpartition("/")[0] + "/2", "somebody-else"),  # the number of its own epic
        (marker, None),  # signed for the first ticket
        (wrong, None),
    )
    for key, (text, name) in zip(keys, made_up, strict=True):
        _marked(driver, key, text, name)
    run = await driver.sync()
    assert (run["writes"]["failed"], run["writes"]["posted"]) == (0, 5)
    assert [len(driver.comments(key)) for key in keys] == [2] * 5


@both
async def test_a_comment_from_before_markers_were_signed_is_still_ours(
    driver: TrackerDriver, runtime: Runtime
) -> None:
    async with runtime.sessions() as session:
        installation = (await session.scalars(select(InstallationRow.uuid))).one()
    key = driver.add()
    _marked(driver, key, f"{installation}/17", None)
    await driver.sync()
    assert (await driver.notice(key))["state"] == "posted"
    assert (len(driver.comments(key)), "Copied." in driver.comments(key)[0]) == (1, False)


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


async def test_a_transferred_tickets_comment_outlives_its_source(world: World) -> None:
    """It is signed for the id that the ticket had before, and no row of the epic is left."""
    driver = GitHubDriver(world)
    world.host.add_repository("acme/other")
    await driver.connect()
    scope = {"scope": {"repositories": ["acme/shop", "acme/other"]}}
    await world.send("PATCH", "/sources/github", scope)
    key = driver.add()
    await driver.sync()
    for repository in ("acme/other", "acme/shop"):
        world.host.transfer(key, repository)
        await driver.sync("full")
        (epic,) = (await world.send("GET", "/epics"))["items"]
        key = epic["key"]
    await world.send("DELETE", "/sources/github?comments=leave")
    await driver.connect()
    await driver.sync()
    assert (len(driver.comments(key)), driver.tracker.log.count(driver.creates)) == (1, 1)
    assert (await driver.notice(key))["state"] == "posted"
