"""What a webhook leads to: one fetch, the evaluation, the comment; and what keeps silent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from fastapi import FastAPI
from sqlalchemy import func, select

from app.jobs.sweep import sweep
from app.runtime import Runtime
from app.webhooks.processor import process_deliveries
from connectors.sandbox import faults
from connectors.sandbox.tracker import Tracker
from mappings.leases import LEASE, MOST_ATTEMPTS
from mappings.tables import DeliveryRow
from mappings.webhooks.queue import claim_deliveries, release_deliveries
from tests.support.clock import Clock, later
from tests.support.lists import listed
from tests.support.queries import gone
from tests.support.tracker_drivers import (
    GitHubDriver,
    JiraDriver,
    TrackerDriver,
    both,
    driver_of,
    on_either,
    on_github,
    on_jira,
)
from tests.support.tracker_requests import Pause
from tests.support.webhook_deliveries import doors, process_everything
from tests.support.webhook_posts import SECRET, delivery, post
from tests.support.world import World

ALIGNED = "Aligned with KR-1 (Checkout conversion). Thank you."


def fetches(driver: TrackerDriver) -> int:
    """How often a ticket was fetched."""
    tracker: Tracker = driver.tracker
    return tracker.log.count(driver.reads)


@pytest.fixture
async def driver(
    request: pytest.FixtureRequest, world: World, application: FastAPI
) -> AsyncIterator[TrackerDriver]:
    """A live source of either kind that hears of every change, one live key result, one warned epic."""
    made = driver_of(world, request.param)
    await world.goal("KR-1", "Checkout conversion")
    await made.connect(webhook_secret=SECRET)
    first = made.add("Checkout in one step")
    await made.sync("full")
    assert len(made.comments(first)) == 1
    async with doors(application, world):
        made.tracker.log.clear()
        yield made


def first(driver: TrackerDriver) -> str:
    return "SHOP-1" if driver.kind == "jira" else "acme/shop#1"


# --- what takes effect --------------------------------------------------------------------------


@both
async def test_a_line_in_the_description_closes_the_gap(driver: TrackerDriver, world: World) -> None:
    driver.describe(first(driver), "What it is.\n\nKey-Result: KR-1")
    await process_everything(world)
    assert driver.comments(first(driver)) == [ALIGNED]
    (heard,) = [one for one in await listed(world, "/deliveries", source=driver.kind) if one["run"]]
    run = await world.send("GET", f"/runs/{heard['run']}")
    assert (heard["state"], run["mode"], run["updated"], run["writes"]["resolved"]) == (
        "done",
        "evaluate",
        1,
        1,
    )
    assert fetches(driver) == 2  # one for the webhook, one just before the write


@on_either("jira")
async def test_a_label_closes_it_and_its_removal_opens_it_again(driver: TrackerDriver, world: World) -> None:
    driver.label(first(driver), "kr:KR-1")
    await process_everything(world)
    assert driver.comments(first(driver)) == [ALIGNED]
    driver.label(first(driver))
    await process_everything(world)
    (text,) = driver.comments(first(driver))
    assert "Which key result does this epic serve?" in text


@both
async def test_a_new_epic_is_stored_and_warned_of(driver: TrackerDriver, world: World) -> None:
    key = driver.add("Another epic")
    await process_everything(world)
    assert len(driver.comments(key)) == 1


@on_either("jira")
async def test_what_was_refused_is_tried_again_at_the_next_word_of_the_ticket(
    driver: TrackerDriver, world: World
) -> None:
    """Though nothing of it has changed that is stored: it was unlocked, say."""
    driver.forbid()
    key = driver.add("Another epic")
    await process_everything(world)
    assert (await driver.notice(key))["state"] == "failed"
    driver.allow()
    heard = (await listed(world, "/deliveries", source=driver.kind))[0]
    await world.send("POST", f"/deliveries/{heard['id']}/replay", expect=202)
    await process_everything(world)
    assert ((await driver.notice(key))["state"], len(driver.comments(key))) == ("posted", 1)


@both
async def test_a_deleted_ticket_leaves_the_lists(
    driver: TrackerDriver, world: World, runtime: Runtime
) -> None:
    driver.delete(first(driver))
    await process_everything(world)
    assert await world.keys(driver.kind) == []
    assert await gone(runtime) == {first(driver): "deleted"}


@on_github
async def test_a_ticket_that_is_only_out_of_sight_stays(driver: GitHubDriver, world: World) -> None:
    """A webhook that says nothing of a deletion is not believed to mean one."""
    driver.tracker.faults.add(driver.reads, faults.answer(404, {"message": "Not Found"}))
    driver.describe(first(driver), "changed")
    await process_everything(world)
    assert await world.keys(driver.kind) == [first(driver)]


@on_jira
async def test_a_moved_issue_goes_on_under_its_new_key(driver: JiraDriver, world: World) -> None:
    driver.site.add_project("CORE", "Core")
    await world.sync("jira", "full")
    driver.site.move("SHOP-1", "CORE")
    await process_everything(world)
    assert await world.keys("jira") == ["CORE-1"]
    assert (await world.epic("jira", "SHOP-1"))["key"] == "CORE-1"


@on_github
async def test_a_transferred_issue_takes_its_links_and_its_comment_along(
    driver: GitHubDriver, world: World
) -> None:
    driver.host.add_repository("acme/core")
    await world.send("PATCH", "/sources/github", {"scope": {"repositories": ["acme/shop", "acme/core"]}})
    await world.drain()
    epic = {"source": "github", "key": "acme/shop#1"}
    link = await world.send("POST", "/links", {"epic": epic, "key_result": "KR-1"})
    await process_everything(world)
    driver.host.transfer("acme/shop#1", "acme/core")
    await process_everything(world)
    assert await world.keys("github") == ["acme/core#1"]
    (there,) = (await world.epic("github", "acme/core#1"))["links"]
    assert there["id"] == link["id"]
    assert driver.comments("acme/core#1") == [ALIGNED]


@both
async def test_what_is_no_epic_any_more_leaves_the_lists(
    driver: TrackerDriver, world: World, runtime: Runtime
) -> None:
    if isinstance(driver, JiraDriver):
        driver.site.edit("SHOP-1", type=driver.site.type_named("Story"))
    else:
        assert isinstance(driver, GitHubDriver)
        driver.host.edit("acme/shop#1", labels=[])
    await process_everything(world)
    assert await gone(runtime) == {first(driver): "not_an_epic"}


# --- as little as possible ----------------------------------------------------------------------


@on_either("jira")
async def test_a_burst_on_one_epic_costs_one_fetch(driver: TrackerDriver, world: World) -> None:
    for number in range(10):
        driver.describe(first(driver), f"Version {number}")
    await process_everything(world)
    reported = await listed(world, "/deliveries", source=driver.kind)
    assert [one["state"] for one in reported] == ["done"] * 10
    assert fetches(driver) == 1


@both
async def test_trap_20_our_own_comments_wake_nobody(driver: TrackerDriver, world: World) -> None:
    """New ones and resolutions come back as webhooks and lead to no call at all."""
    key = driver.add("Another epic")
    await process_everything(world)
    driver.label(key, "kr:KR-1")
    await process_everything(world)
    reported = await listed(world, "/deliveries", source=driver.kind)
    echoes = [one for one in reported if "comment" in one["event"]]
    assert [(one["state"], one["reason"]) for one in echoes] == [("ignored", "own")] * 2
    # One for each of the two webhooks of a person, and one just before each write.
    assert fetches(driver) == 4
    driver.tracker.log.clear()
    for one in echoes:
        await world.send("POST", f"/deliveries/{one['id']}/replay", expect=202)
    await process_everything(world)
    assert driver.tracker.log.count() == 0


@both
async def test_a_comment_without_a_command_costs_no_call(driver: TrackerDriver, world: World) -> None:
    driver.say(first(driver), "I will look into it.")
    await process_everything(world)
    assert driver.tracker.log.count() == 0
    (heard,) = await listed(world, "/deliveries", source=driver.kind)
    assert (heard["state"], heard["run"]) == ("done", None)


@on_github
async def test_tickets_out_of_scope_cost_no_call(driver: GitHubDriver, world: World) -> None:
    driver.host.add_repository("acme/other")
    driver.host.create("acme/other", "An epic elsewhere", labels=["epic"])
    await process_everything(world)
    assert driver.tracker.log.count() == 0
    assert {(one["state"], one["reason"]) for one in await listed(world, "/deliveries", source="github")} == {
        ("ignored", "out_of_scope")
    }


@on_github
async def test_issues_that_are_no_epics_cost_no_call(driver: GitHubDriver, world: World) -> None:
    driver.host.create("acme/shop", "A bug")
    await process_everything(world)
    assert driver.tracker.log.count() == 0
    (heard,) = await listed(world, "/deliveries", source="github")
    assert (heard["state"], heard["reason"]) == ("ignored", "not_an_epic")


# --- trouble ------------------------------------------------------------------------------------


@on_either("jira")
async def test_a_tracker_that_asks_for_time_gets_it(
    driver: TrackerDriver, world: World, runtime: Runtime, clock: Clock
) -> None:
    driver.tracker.faults.add(driver.reads, faults.answer(429, headers={"retry-after": "90"}))
    driver.label(first(driver), "kr:KR-1")
    await process_everything(world)
    (heard,) = await listed(world, "/deliveries", source=driver.kind)
    assert (heard["state"], heard["attempts"], heard["error"]["code"]) == ("received", 0, "unavailable")
    driver.describe(first(driver), "Another change meanwhile.")
    await process_everything(world)
    await later(world, runtime, clock, seconds=60)
    assert fetches(driver) == 1
    await later(world, runtime, clock, seconds=60)
    await process_everything(world)
    assert driver.comments(first(driver)) == [ALIGNED]


@on_github
async def test_a_poison_delivery_fails_alone(driver: GitHubDriver, world: World) -> None:
    """Those before and behind it are done; sent again it is worked on once more."""
    others = [driver.add("Before"), driver.add("Poison"), driver.add("Behind")]
    poison = others[1]
    broken = driver.tracker.faults.add(
        f"GET */issues/{poison.partition('#')[2]}", faults.answer(200, {"id": "no issue"}), times=None
    )
    await process_everything(world)
    reported = [
        one for one in await listed(world, "/deliveries", source="github") if one["event"] == "issues"
    ]
    assert {one["action"] for one in reported} == {"opened", "labeled"}
    assert sorted(one["state"] for one in reported) == ["done"] * 4 + ["failed"] * 2
    failed = next(one for one in reported if one["state"] == "failed")
    assert (failed["error"]["code"], failed["attempts"]) == ("bad_payload", 1)
    assert failed["error"]["what_to_do"]
    assert sorted(await world.keys("github")) == sorted([first(driver), others[0], others[2]])
    broken.left = 0
    await world.send("POST", f"/deliveries/{failed['id']}/replay", expect=202)
    await process_everything(world)
    assert poison in await world.keys("github")


@on_github
@pytest.mark.parametrize("whole", [True, False], ids=["everything is refused", "one repository is"])
async def test_webhooks_wait_where_the_account_is_refused_and_hold_up_no_others(
    driver: GitHubDriver, world: World, runtime: Runtime, clock: Clock, whole: bool
) -> None:
    refused, other = driver.add("Refused"), driver.add("Another")
    await process_everything(world)
    number = "*[0-9]" if whole else refused.partition("#")[2]
    words = "the `acme` organization has an IP allow list enabled, and your IP address is not permitted"
    strike = driver.tracker.faults.add(
        f"GET */issues/{number}", faults.answer(403, {"message": words}), times=None
    )
    for key in (refused, other):
        driver.label(key, "kr:KR-1")
    await driver.tracker.webhook_sender.idle()
    await process_everything(world)
    labelled = [
        one for one in await listed(world, "/deliveries", source="github") if one["action"] == "labeled"
    ]
    states = [one["state"] for one in labelled]
    assert sorted(states[:2]) == (
        ["received"] * 2 if whole else ["done", "failed"]
    )  # in the order of arrival
    assert ("IP allow list" in (await world.health("github"))["what_to_do"]) is whole
    driver.tracker.faults.clear()
    assert strike.struck == (3 if whole else 2)
    await later(world, runtime, clock, minutes=61)
    assert (await world.epic("github", other))["alignment"] == "aligned"
    assert ((await world.epic("github", refused))["alignment"] == "aligned") is whole


@on_github
async def test_dead_credentials_show_in_health_and_nothing_is_lost(
    driver: GitHubDriver, world: World
) -> None:
    """What waits for better ones is worked on as soon as a person sends them."""
    world.host.revoke_credentials()
    driver.label(first(driver), "kr:KR-1")
    await process_everything(world)
    (waiting,) = await listed(world, "/deliveries", source="github")
    assert (waiting["state"], waiting["error"]["code"]) == ("received", "unauthorized")
    assert (await world.health("github"))["state"] == "failing"
    assert await world.keys("github") == [first(driver)]
    world.host.restore_credentials()
    credentials = {"type": "token", "token": world.host.bot.token}
    await world.send("PATCH", "/sources/github", {"credentials": credentials})
    await process_everything(world)
    assert driver.comments(first(driver)) == [ALIGNED]


@on_github
async def test_one_by_one_stops_where_the_tracker_asks_for_time(driver: GitHubDriver, world: World) -> None:
    await driver.set_mode("off")  # no writer asks for the same tickets
    numbers = [driver.add(f"Epic {number}").partition("#")[2] for number in range(4)]
    driver.tracker.faults.add(
        f"GET */issues/{numbers[0]}", faults.answer(422, {"message": "No."}), times=None
    )
    for number in numbers[1:]:
        asked = faults.answer(429, headers={"retry-after": "90"})
        driver.tracker.faults.add(f"GET */issues/{number}", asked, times=None, skip=1)
    await driver.tracker.webhook_sender.idle()
    driver.tracker.log.clear()
    await process_everything(world)
    limited = [seen for seen in driver.tracker.log.matching(driver.reads) if seen.status == 429]
    assert len(limited) == 1


@both
async def test_who_deletes_our_comment_has_said_no(driver: TrackerDriver, world: World) -> None:
    driver.delete_comments(first(driver))
    await process_everything(world)
    notice = await driver.notice(first(driver))
    assert (notice["state"], notice["reason"]) == ("withdrawn", "deleted_on_ticket")
    driver.describe(first(driver), "Changed again.")
    await process_everything(world)
    assert driver.comments(first(driver)) == []


@both
async def test_a_command_of_somebody_without_the_right_does_nothing(
    driver: TrackerDriver, world: World
) -> None:
    """And the person is told so, in our comment."""
    before = driver.comments(first(driver))
    driver.say(first(driver), "/northing link KR-1", outsider=True)
    await process_everything(world)
    ours, *others = driver.comments(first(driver))
    assert others == [*before[1:], "/northing link KR-1"]
    assert "A command here changed nothing" in ours
    assert (await driver.epic(first(driver)))["links"] == []
    deliveries = await listed(world, "/deliveries", source=driver.kind)
    heard = [(one["state"], one["reason"]) for one in deliveries if "comment" in one["event"]]
    assert sorted(heard) == [("ignored", "not_allowed"), ("ignored", "own")], "theirs, and our edit"


@on_github
async def test_a_label_renamed_elsewhere_reads_nothing(driver: GitHubDriver, world: World) -> None:
    for repository, state in (("acme/other", ("ignored", "out_of_scope")), ("acme/shop", ("done", None))):
        payload = {"action": "deleted", "label": {"name": "epic"}, "repository": {"full_name": repository}}
        id = repository.replace("/", "-")
        answer = await post(world, payload, x_github_event="label", x_github_delivery=id)
        await process_everything(world)
        heard = await delivery(world, answer)
        assert (heard["state"], heard["reason"]) == state
    modes = [run["mode"] for run in (await world.send("GET", "/runs?source=github"))["items"]]
    assert modes.count("full") == 2  # the first, and one for the label that matters


@on_either("jira")
async def test_a_worker_that_stops_gives_its_webhooks_back(
    driver: TrackerDriver, world: World, runtime: Runtime
) -> None:
    driver.label(first(driver), "kr:KR-1")
    await driver.tracker.webhook_sender.idle()
    async with runtime.sessions.begin() as session:
        assert await claim_deliveries(session, 1, f"{runtime.worker}/a claim", runtime.clock)
        await release_deliveries(session, runtime.worker)
    await process_everything(world)
    assert driver.comments(first(driver)) == [ALIGNED]
    assert [
        one["attempts"]
        for one in await listed(world, "/deliveries", source=driver.kind)
        if one["state"] == "done"
    ] == [1]


@on_either("jira")
async def test_trap_19_what_webhooks_lose_the_next_sync_finds(driver: TrackerDriver, world: World) -> None:
    driver.tracker.webhook_sender.muted = True
    driver.label(first(driver), "kr:KR-1")
    await process_everything(world)
    assert await listed(world, "/deliveries", source=driver.kind) == []
    await driver.sync()
    assert driver.comments(first(driver)) == [ALIGNED]


@on_either("jira")
async def test_who_dies_over_a_delivery_is_followed_by_another(
    driver: TrackerDriver, world: World, runtime: Runtime, clock: Clock
) -> None:
    driver.label(first(driver), "kr:KR-1")
    await driver.tracker.webhook_sender.idle()
    async with runtime.sessions.begin() as session:
        assert len(await claim_deliveries(session, 1, "who dies", runtime.clock)) == 1
    await process_everything(world)
    assert fetches(driver) == 0
    clock.advance(seconds=LEASE.total_seconds() + 1)
    await sweep(runtime)
    await process_everything(world)
    assert driver.comments(first(driver)) == [ALIGNED]
    assert [
        one["attempts"]
        for one in await listed(world, "/deliveries", source=driver.kind)
        if one["state"] == "done"
    ] == [2]


@on_jira
async def test_a_claim_on_deliveries_lives_as_long_as_the_work(
    driver: TrackerDriver, world: World, runtime: Runtime, clock: Clock
) -> None:
    driver.label(first(driver), "kr:KR-1")
    await driver.tracker.webhook_sender.idle()
    pause = Pause()
    driver.tracker.faults.add(driver.reads, pause)
    eager = replace(runtime, renew_every=timedelta(milliseconds=1))
    working = asyncio.create_task(process_deliveries(eager, 1))
    await asyncio.wait_for(pause.reached.wait(), 20)
    for _ in range(3):
        clock.advance(seconds=0.8 * LEASE.total_seconds())
        async with asyncio.timeout(20):
            while await _claimed_until(runtime) != clock() + LEASE:
                await asyncio.sleep(0)
        await process_deliveries(runtime, 1)
    pause.go_on.set()
    await working
    await process_everything(world)
    assert driver.comments(first(driver)) == [ALIGNED]
    assert {
        one["attempts"]
        for one in await listed(world, "/deliveries", source=driver.kind)
        if one["state"] == "done"
    } == {1}


async def _claimed_until(runtime: Runtime) -> datetime | None:
    async with runtime.sessions() as session:
        return await session.scalar(select(func.max(DeliveryRow.claimed_until)))


@on_either("jira")
async def test_a_delivery_that_takes_its_workers_down_is_given_up(
    driver: TrackerDriver, world: World, runtime: Runtime
) -> None:
    driver.label(first(driver), "kr:KR-1")
    await driver.tracker.webhook_sender.idle()
    async with runtime.sessions.begin() as session:
        (heard,) = await listed(world, "/deliveries", source=driver.kind)
        (await session.get_one(DeliveryRow, heard["id"])).attempts = MOST_ATTEMPTS
    await process_everything(world)
    (heard,) = await listed(world, "/deliveries", source=driver.kind)
    assert (heard["state"], heard["error"]["code"]) == ("failed", "given_up")
    assert fetches(driver) == 0
