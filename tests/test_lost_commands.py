"""Commands that no webhook has told of: the next sync finds them, with few requests, and each once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from fastapi import FastAPI
from sqlalchemy import func, select, update

from app.jobs.queue import run_worker_until_idle
from app.runtime import Runtime
from app.webhooks.processor import process_deliveries
from connectors.sandbox import faults
from connectors.sandbox.faults import Action
from mappings.commands.met import mark_changed
from mappings.evaluation.load import epic_of
from mappings.locks import LOCK_GOALS
from mappings.suggestions import cache
from mappings.suggestions.rank import SuggestionIndex
from mappings.tables import EpicRow, LinkRow, SourceRow
from tests.support.clock import Clock
from tests.support.lists import listed
from tests.support.locks import holding
from tests.support.queries import command_comments
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
from tests.support.webhook_deliveries import doors, process_everything
from tests.support.webhook_posts import SECRET
from tests.support.world import World

pytestmark = pytest.mark.database

LISTS = {"jira": "GET */issue/*/comment", "github": "GET */issues/comments"}
RIGHTS = {"jira": "POST */permissions/check", "github": "GET */collaborators/*"}


@pytest.fixture
async def driver(request: pytest.FixtureRequest, world: World, clock: Clock) -> TrackerDriver:
    """A live source of either kind that hears of nothing, one live key result, one warned epic."""
    made = driver_of(world, request.param)
    world.site.administrators.add(world.site.bot.account_id)
    await world.goal("KR-1", "Checkout conversion")
    await made.connect()
    made.add("Checkout in one step")
    await made.sync("full")
    # Our own comment has changed the ticket, too.
    clock.advance(minutes=1)
    await made.sync()
    clock.advance(minutes=1)
    made.tracker.log.clear()
    return made


def first(driver: TrackerDriver) -> str:
    return "SHOP-1" if driver.kind == "jira" else "acme/shop#1"


def lists(driver: TrackerDriver) -> int:
    """How often comments were asked for that may be commands."""
    seen = driver.tracker.log.matching(LISTS[driver.kind])
    return len([one for one in seen if driver.kind == "github" or "orderBy=-created" in one.query])


async def links(driver: TrackerDriver, key: str | None = None) -> list[str]:
    return [link["key_result"] for link in (await driver.epic(key or first(driver)))["links"]]


@both
async def test_the_next_sync_finds_the_command(driver: TrackerDriver, clock: Clock) -> None:
    comment = driver.say(first(driver), "/northing link KR-1")
    clock.advance(minutes=1)
    run = await driver.sync()
    assert run["state"] == "succeeded"
    assert await links(driver) == ["KR-1"]
    assert (await driver.epic(first(driver)))["notice"]["state"] == "resolved"
    assert lists(driver) == 1
    if isinstance(driver, GitHubDriver):
        _, shown = driver.host.comments[int(comment)]
        assert [one.content for one in shown.reactions] == ["+1"]


@both
async def test_an_unchanged_sync_costs_nothing_more(driver: TrackerDriver, clock: Clock) -> None:
    driver.say(first(driver), "/northing link KR-1")
    clock.advance(minutes=1)
    await driver.sync()
    clock.advance(minutes=1)
    await driver.sync()  # our answer has changed the ticket
    driver.tracker.log.clear()
    for mode in ("incremental", "full"):
        clock.advance(minutes=1)
        await driver.sync(mode)
    assert lists(driver) == 0


@both
async def test_a_version_that_was_executed_costs_no_question(driver: TrackerDriver, clock: Clock) -> None:
    driver.say(first(driver), "/northing link KR-1")
    clock.advance(minutes=1)
    await driver.sync()
    asked = driver.tracker.log.count(RIGHTS[driver.kind])
    driver.describe(first(driver), "Another text.")
    clock.advance(minutes=1)
    await driver.sync()
    assert (driver.tracker.log.count(RIGHTS[driver.kind]), asked) == (1, 1)


@both
async def test_comments_without_a_word_for_us_cost_no_question(driver: TrackerDriver, clock: Clock) -> None:
    driver.say(first(driver), "I will look into it.")
    driver.say(first(driver), "We talk about Northing here.")
    clock.advance(minutes=1)
    await driver.sync()
    assert (lists(driver), driver.tracker.log.count(RIGHTS[driver.kind])) == (1, 0)


@on_github
async def test_on_github_one_list_serves_a_repository(driver: GitHubDriver, clock: Clock) -> None:
    keys = [first(driver), *(driver.add(f"Epic {number}") for number in range(4))]
    for key in keys:
        driver.say(key, "/northing link KR-1")
    clock.advance(minutes=1)
    await driver.sync()
    assert [await links(driver, key) for key in keys] == [["KR-1"]] * 5
    assert lists(driver) == 1


@on_jira
async def test_on_jira_a_list_is_asked_for_each_changed_epic(driver: JiraDriver, clock: Clock) -> None:
    keys = [driver.add(f"Epic {number}") for number in range(3)]
    clock.advance(minutes=1)
    await driver.sync()
    clock.advance(minutes=1)
    await driver.sync()
    driver.tracker.log.clear()
    for key in keys[:2]:
        driver.say(key, "/northing link KR-1")
    clock.advance(minutes=1)
    await driver.sync()
    assert (lists(driver), [await links(driver, key) for key in keys]) == (2, [["KR-1"], ["KR-1"], []])


@on_either("github")
async def test_a_snooze_on_a_new_ticket_finds_its_finding(driver: TrackerDriver, clock: Clock) -> None:
    key = driver.add("Another epic")
    driver.say(key, "/northing snooze 14d")
    clock.advance(minutes=1)
    await driver.sync()
    (finding,) = (await driver.epic(key))["findings"]
    assert finding["state"] == "snoozed"
    assert len(driver.comments(key)) == 1


@both
async def test_comments_of_before_the_source_are_left_alone(
    world: World, clock: Clock, driver: TrackerDriver
) -> None:
    """Also where their ticket changes later."""
    await world.send("DELETE", f"/sources/{driver.kind}?comments=leave")
    await world.drain()
    driver.say(first(driver), "/northing link KR-1")
    clock.advance(minutes=1)
    await driver.connect()
    await driver.sync("full")
    driver.describe(first(driver), "Another text.")
    clock.advance(minutes=1)
    await driver.sync()
    assert await links(driver) == []


@on_either("github")
async def test_old_comments_are_left_alone(driver: TrackerDriver, clock: Clock) -> None:
    driver.say(first(driver), "/northing link KR-1")
    clock.advance(days=8)
    driver.describe(first(driver), "Another text.")
    clock.advance(minutes=1)
    await driver.sync()
    assert (await links(driver), lists(driver)) == ([], 1)


@both
async def test_a_first_sync_asks_for_no_comments(world: World, clock: Clock, driver: TrackerDriver) -> None:
    await world.send("DELETE", f"/sources/{driver.kind}?comments=leave")
    await world.drain()
    for number in range(5):
        driver.say(driver.add(f"Epic {number}"), "/northing link KR-1")
    clock.advance(minutes=1)
    driver.tracker.log.clear()
    await driver.connect(mode="shadow")
    await driver.sync("full")
    assert lists(driver) == 0


@both
@pytest.mark.parametrize("status", [403, 404, 500, 503])
async def test_trouble_never_fails_the_sync(driver: TrackerDriver, clock: Clock, status: int) -> None:
    """What could not be read is read by the next run."""
    fault = driver.tracker.faults.add(LISTS[driver.kind], faults.answer(status), times=None)
    driver.say(first(driver), "/northing link KR-1")
    clock.advance(minutes=1)
    assert (await driver.sync())["state"] == "succeeded"
    assert (await links(driver), fault.struck > 0) == ([], True)
    driver.tracker.faults.clear()
    clock.advance(minutes=1)
    assert (await driver.sync())["state"] == "succeeded"
    assert await links(driver) == (["KR-1"] if (driver.kind, status) != ("jira", 404) else [])


@on_github
async def test_a_command_takes_effect_though_its_reaction_is_refused(
    driver: TrackerDriver, clock: Clock
) -> None:
    driver.tracker.faults.add("POST */reactions", faults.answer(503), times=None)
    driver.say(first(driver), "/northing link KR-1")
    clock.advance(minutes=1)
    assert (await driver.sync())["state"] == "succeeded"
    assert (await driver.epic(first(driver)))["alignment"] == "aligned"


@on_either("jira")
async def test_what_suggestions_take_seconds_for_holds_up_no_change_of_goals(
    world: World,
    driver: TrackerDriver,
    clock: Clock,
    database_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    held: list[int] = []

    def noting(goals: Any, linked: Any) -> Any:
        with psycopg.connect(database_url) as connection:
            found = connection.execute(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND granted"
                " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
                " AND (classid::bigint << 32 | objid::bigint) = %s",
                [LOCK_GOALS],
            ).fetchone()
        held.extend(found or ())
        return SuggestionIndex(goals, linked)

    monkeypatch.setattr(cache, "_made", noting)
    await world.goal("KR-2", "Fewer returns")
    driver.add("Another one")
    await driver.sync()
    assert held == [0], "for a warning"
    await world.goal("KR-3", "Faster delivery")
    driver.say(first(driver), "/northing suggest")
    clock.advance(minutes=1)
    await driver.sync()
    assert held == [0, 0], "for a command"


@on_either("jira")
async def test_tickets_are_marked_in_the_order_of_their_ids(
    driver: TrackerDriver, runtime: Runtime, clock: Clock, database_url: str
) -> None:
    """So that nobody who locks epics in that order waits for each other."""
    driver.add("Another one")
    await driver.sync()
    async with runtime.sessions.begin() as session:
        rows = list(await session.scalars(select(EpicRow).order_by(EpicRow.id.desc())))
        source = await session.get_one(SourceRow, rows[0].source_id)
        # The older one is the later one in the table.
        await session.execute(update(EpicRow).where(EpicRow.id == rows[1].id).values(title="Renamed"))
        epics = [replace(epic_of(row), updated_at=clock()) for row in rows]

    async def mark() -> None:
        async with runtime.sessions.begin() as session:
            await mark_changed(session, source, epics, clock())

    async with holding(database_url) as holder:
        await holder.hold("SELECT 1 FROM epics WHERE id = %s FOR UPDATE", rows[1].id)
        marking = asyncio.create_task(mark())
        await holder.until_waiting(1)
        await holder.hold("SELECT 1 FROM epics WHERE id = %s FOR UPDATE", rows[0].id)
        await holder.let_go()
        await marking


@on_either("github")
async def test_a_reaction_that_fails_hides_no_other_command(driver: TrackerDriver, clock: Clock) -> None:
    """It is made up for by the next sync."""
    other = driver.add("Another epic")
    driver.tracker.faults.add("POST */reactions", faults.answer(500), times=None)
    for key in (first(driver), other):
        driver.say(key, "/northing link KR-1")
    clock.advance(minutes=1)
    assert (await driver.sync())["state"] == "succeeded"
    assert [await links(driver, key) for key in (first(driver), other)] == [["KR-1"], ["KR-1"]]
    assert driver.tracker.log.count("POST */reactions") == 1
    driver.tracker.faults.clear()
    driver.tracker.log.clear()
    clock.advance(minutes=1)
    await driver.sync()
    assert driver.tracker.log.count("POST */reactions") == 2
    clock.advance(minutes=1)
    driver.tracker.log.clear()
    await driver.sync()
    assert (lists(driver), driver.tracker.log.count("POST */reactions")) == (0, 0)


@on_jira
@pytest.mark.parametrize("action", [faults.answer(403), faults.proxy_page(200)])
async def test_on_jira_a_ticket_that_cannot_be_read_does_not_hide_the_others(
    driver: JiraDriver, clock: Clock, action: Action
) -> None:
    keys = [first(driver), driver.add("Another epic")]
    for key in keys:
        driver.say(key, "/northing link KR-1")
    driver.tracker.faults.add(f"GET */issue/{driver.site.issue(keys[0]).id}/comment", action, times=None)
    clock.advance(minutes=1)
    await driver.sync()
    assert [await links(driver, key) for key in keys] == [[], ["KR-1"]]
    driver.tracker.faults.clear()
    clock.advance(minutes=1)
    await driver.sync()
    assert [await links(driver, key) for key in keys] == [["KR-1"], ["KR-1"]]


@on_either("github")
async def test_a_hiccup_is_asked_again(driver: TrackerDriver, clock: Clock) -> None:
    driver.tracker.faults.add(LISTS[driver.kind], faults.proxy_page(200), times=2)
    driver.say(first(driver), "/northing link KR-1")
    clock.advance(minutes=1)
    await driver.sync()
    assert await links(driver) == ["KR-1"]


@on_jira
async def test_on_jira_our_own_comment_is_never_taken_for_a_command(driver: JiraDriver, clock: Clock) -> None:
    """A ticket with the word that we write ourselves, changed: our comment is known by its id."""
    driver.describe(first(driver), "Another text.")
    clock.advance(minutes=1)
    await driver.sync()
    assert driver.tracker.log.count("GET */properties/*") == 0
    assert driver.tracker.log.count(RIGHTS["jira"]) == 0


# --- beside webhooks ------------------------------------------------------------------------


@pytest.fixture
async def hearing(
    request: pytest.FixtureRequest, world: World, application: FastAPI, clock: Clock
) -> AsyncIterator[TrackerDriver]:
    made = driver_of(world, request.param)
    world.site.administrators.add(world.site.bot.account_id)
    await world.goal("KR-1", "Checkout conversion")
    await made.connect(webhook_secret=SECRET)
    made.add("Checkout in one step")
    await made.sync("full")
    clock.advance(minutes=1)
    async with doors(application, world):
        yield made


hearing_both = pytest.mark.parametrize("hearing", ["jira", "github"], indirect=True)


@hearing_both
async def test_a_lost_webhook_is_made_up_for_by_a_sync(
    hearing: TrackerDriver, world: World, clock: Clock
) -> None:
    """Also where another webhook told of a later change of the ticket."""
    hearing.tracker.webhook_sender.muted = True
    hearing.say(first(hearing), "/northing link KR-1")
    hearing.tracker.webhook_sender.muted = False
    clock.advance(seconds=5)
    hearing.describe(first(hearing), "Another text.")
    await process_everything(world)
    assert await links(hearing) == []
    clock.advance(minutes=1)
    await hearing.sync()
    assert await links(hearing) == ["KR-1"]


@hearing_both
async def test_a_webhook_and_a_sync_at_once_execute_it_once(
    hearing: TrackerDriver, world: World, runtime: Runtime, clock: Clock
) -> None:
    hearing.say(first(hearing), "/northing link KR-1")
    await hearing.tracker.webhook_sender.idle()
    clock.advance(seconds=1)
    await world.send("POST", f"/sources/{hearing.kind}/sync", {"mode": "incremental"})
    await asyncio.gather(
        *(process_deliveries(runtime, 1) for _ in range(2)),
        *(run_worker_until_idle(runtime) for _ in range(2)),
    )
    await process_everything(world)
    assert len(await command_comments(runtime)) == 1
    async with runtime.sessions() as session:
        assert await session.scalar(select(func.count()).select_from(LinkRow)) == 1
    assert len(hearing.comments(first(hearing))) == 2
    if isinstance(hearing, GitHubDriver):
        people = [
            one for one in hearing.host.issue(first(hearing)).comments if one.author != hearing.host.bot
        ]
        assert [len(one.reactions) for one in people] == [1]


# --- a command on a ticket that is not stored yet -----------------------------------------------


@hearing_both
@pytest.mark.parametrize("comment_first", [True, False])
async def test_a_command_on_a_new_ticket_is_executed_in_either_order(
    hearing: TrackerDriver, world: World, comment_first: bool
) -> None:
    sender = hearing.tracker.webhook_sender
    sender.muted = comment_first
    key = hearing.add("Another epic")
    sender.muted = False
    hearing.say(key, "/northing snooze 14d")
    await process_everything(world)
    if comment_first:
        hearing.label(key, "late")  # a webhook of the ticket, after that of its comment
        await process_everything(world)
    (finding,) = (await hearing.epic(key))["findings"]
    assert finding["state"] == "snoozed"
    assert {one["state"] for one in await listed(world, "/deliveries", source=hearing.kind)} <= {
        "done",
        "ignored",
    }


@hearing_both
async def test_a_command_on_what_is_no_epic_ends_with_the_true_reason(
    hearing: TrackerDriver, world: World
) -> None:
    if isinstance(hearing, JiraDriver):
        hearing.site.add_project("OPS", "Operations")
        no_epic, elsewhere = hearing.add(type="Story"), hearing.add(project="OPS")
    else:
        assert isinstance(hearing, GitHubDriver)
        hearing.host.add_repository("acme/other")
        no_epic = hearing.host.create("acme/shop", "A task").key
        elsewhere = hearing.add(project="acme/other")
    if isinstance(hearing, JiraDriver):
        await world.send("PATCH", "/sources/jira", {"scope": {"projects": ["SHOP"]}})
    await process_everything(world)
    for key, reason in ((no_epic, "not_an_epic"), (elsewhere, "out_of_scope")):
        hearing.say(key, "/northing link KR-1")
        await process_everything(world)
        reported = await listed(world, "/deliveries", source=hearing.kind)
        heard = next(one for one in reported if "comment" in one["event"])  # the newest comes first
        assert (heard["state"], heard["reason"]) == ("ignored", reason)


@hearing_both
async def test_a_program_commands_nothing_and_a_person_through_an_app_does(
    hearing: TrackerDriver, world: World
) -> None:
    key = first(hearing)
    if isinstance(hearing, GitHubDriver):
        hearing.host.comment(key, "/northing link KR-1", hearing.host.account("helper[bot]", "Bot"))
        await process_everything(world)
        assert await links(hearing) == []
        hearing.host.comment(key, "/northing link KR-1", relayed_by="helper")
        await process_everything(world)
        assert await links(hearing) == ["KR-1"]
    else:
        assert isinstance(hearing, JiraDriver)
        hearing.site.comment(key, "/northing link KR-1", hearing.site.add_account("helper", kind="app"))
        await process_everything(world)
        assert await links(hearing) == []
