"""A changed login: the comments of the former account stay ours, and no ticket gets a second one."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from fastapi import FastAPI

from app.runtime import Runtime
from app.writing.writer import FOREIGN_COMMENT, FOREIGN_COMMENT_TO_DO
from connectors.sandbox import faults
from tests.support.clock import Clock, later
from tests.support.queries import all_of
from tests.support.tracker_drivers import GitHubDriver, JiraDriver, TrackerDriver, both, on_either
from tests.support.webhook_deliveries import doors, process_everything
from tests.support.webhook_posts import SECRET
from tests.support.world import World

pytestmark = pytest.mark.database

ALIGNED = "Aligned with KR-1 (Checkout conversion). Thank you."
FOREIGN = f"{FOREIGN_COMMENT} {FOREIGN_COMMENT_TO_DO}"


def _be(driver: TrackerDriver, name: str | None, *, edits_others: bool) -> dict[str, str]:
    """The account whose token Northing uses is the one of that name from now on, or the first one; its
    login. `edits_others`: it may edit the comments of others."""
    if isinstance(driver, JiraDriver):
        driver.site.bot = driver.site.account(name or "northing-bot")
        driver.site.granted = {("EDIT_ALL_COMMENTS", "SHOP")} if edits_others else set()
    elif isinstance(driver, GitHubDriver):
        driver.host.bot = driver.host.account(name or "northing-bot")
        driver.host.repository("acme/shop").role = "push" if edits_others else "triage"
    return driver.credentials(name or "northing-bot")


async def _change_login(driver: TrackerDriver, name: str | None, *, edits_others: bool) -> None:
    body = {"credentials": _be(driver, name, edits_others=edits_others)}
    await driver.world.send("PATCH", f"/sources/{driver.kind}", body)


async def _accounts(runtime: Runtime) -> set[Any]:
    return {account for (account,) in await all_of(runtime, "SELECT account_id FROM tracker_accounts")}


@both
@pytest.mark.parametrize("id_known", [True, False], ids=["its id is stored", "its id is lost"])
async def test_who_may_edit_the_comments_of_others_edits_the_former_accounts(
    driver: TrackerDriver, clock: Clock, id_known: bool
) -> None:
    key = driver.add()
    await driver.sync()
    ids = driver.comment_ids(key)
    clock.advance(minutes=1)
    if id_known:
        await _change_login(driver, "second-bot", edits_others=True)
    else:
        await driver.world.send("DELETE", f"/sources/{driver.kind}?comments=leave")
        _be(driver, "second-bot", edits_others=True)
        await driver.connect()
        await driver.sync()
    driver.describe(key, "Key-Result: KR-1")
    await driver.sync()
    assert (driver.comments(key), driver.comment_ids(key)) == ([ALIGNED], ids)
    notice = await driver.notice(key)
    assert (notice["state"], notice["url"].endswith(ids[0])) == ("resolved", True)
    assert driver.tracker.log.count(driver.creates) == 1


@both
@pytest.mark.parametrize("id_known", [True, False], ids=["its id is stored", "its id is lost"])
async def test_who_may_not_says_so_writes_no_second_one_and_goes_on_with_the_former_login(
    driver: TrackerDriver, clock: Clock, id_known: bool
) -> None:
    key = driver.add()
    await driver.sync()
    if id_known:
        await _change_login(driver, "second-bot", edits_others=False)
    else:
        await driver.world.send("DELETE", f"/sources/{driver.kind}?comments=leave")
        _be(driver, "second-bot", edits_others=False)
        await driver.connect()
    clock.advance(hours=1)
    driver.describe(key, "Key-Result: KR-99")
    await driver.sync()
    notice = await driver.notice(key)
    assert (notice["state"], notice["detail"]) == ("failed", FOREIGN)
    assert len(driver.comments(key)) == 1

    await _change_login(driver, None, edits_others=False)
    driver.describe(key, "Key-Result: KR-1")
    clock.advance(hours=1)
    await driver.sync()
    assert driver.comments(key) == [ALIGNED]
    assert driver.tracker.log.count(driver.creates) == 1


@on_either("jira")
async def test_the_comments_of_a_former_account_pause_no_project(driver: TrackerDriver, clock: Clock) -> None:
    keys = [driver.add() for _ in range(5)]
    await driver.sync()
    await _change_login(driver, "second-bot", edits_others=False)
    clock.advance(hours=1)
    for key in keys:
        driver.describe(key, "Key-Result: KR-99")
    fresh = driver.add()
    run = await driver.sync()
    assert (run["writes"]["failed"], run["writes"]["posted"]) == (5, 1)
    assert (await driver.notice(fresh))["state"] == "posted"


@on_either("github")
async def test_an_account_is_remembered_before_it_writes(
    driver: TrackerDriver, world: World, runtime: Runtime, clock: Clock
) -> None:
    """Its only comment was written between two runs, with a lost answer, and then the login was changed."""
    key = driver.add()
    await world.send("PATCH", "/policy", {"grace": "P5D"})
    await driver.sync()
    await _change_login(driver, "second-bot", edits_others=False)
    driver.tracker.faults.add(driver.creates, faults.lose_answer())
    await later(world, runtime, clock, seconds=timedelta(days=8).total_seconds())
    assert len(driver.comments(key)) == 1
    await _change_login(driver, "third-bot", edits_others=True)
    await later(world, runtime, clock, seconds=120)
    notice = await driver.notice(key)
    assert (notice["state"], len(driver.comments(key))) == ("posted", 1)
    await driver.sync()
    assert len(await _accounts(runtime)) == 3


@both
async def test_a_command_of_the_former_accounts_owner_is_a_persons(
    driver: TrackerDriver, world: World, application: FastAPI
) -> None:
    await world.send("PATCH", f"/sources/{driver.kind}", {"webhook_secret": SECRET})
    key = driver.add(**({"assignee": "northing-bot"} if driver.kind == "jira" else {}))
    await driver.sync()
    await _change_login(driver, "second-bot", edits_others=True)
    async with doors(application, world):
        if isinstance(driver, JiraDriver):
            driver.site.comment(key, "/northing link KR-1", driver.site.account("northing-bot"))
        elif isinstance(driver, GitHubDriver):
            driver.host.comment(key, "/northing link KR-1", driver.host.account("northing-bot"))
        await process_everything(world)
    assert driver.comments(key) == [ALIGNED, "/northing link KR-1"]
