"""Service-desk projects: customers read the comments there, so Northing says nothing, whatever is typed."""

from __future__ import annotations

import pytest
from fastapi import FastAPI

from tests.support.tracker_drivers import JiraDriver, TrackerDriver, on_jira
from tests.support.webhook_deliveries import doors, process_everything
from tests.support.webhook_posts import SECRET
from tests.support.world import World

pytestmark = pytest.mark.database


@on_jira
async def test_no_comment_and_no_answer(driver: TrackerDriver, world: World, application: FastAPI) -> None:
    assert isinstance(driver, JiraDriver)
    driver.site.add_project("DESK", "Help", "service_desk")
    await world.send("PATCH", "/sources/jira", {"webhook_secret": SECRET})
    key = driver.add("Opening hours", project="DESK")
    driver.site.administrators.add(driver.site.bot.account_id)  # which may ask who may edit a ticket
    await driver.sync("full")
    assert (driver.comments(key), await driver.notice(key)) == ([], None)
    typed = ["/northing help", "/northing link KR-99", "/northing bogus", "/northing link KR-1"]
    async with doors(application, world):
        for number, line in enumerate(typed):
            driver.say(key, line, outsider=number == 0)
            await process_everything(world)
            assert driver.comments(key) == typed[: number + 1], "nothing beside what people wrote"
    await driver.sync("full")
    epic = await driver.epic(key)
    assert (driver.comments(key), epic["notice"]) == (typed, None)
    wrote = [call for call in (driver.creates, driver.edits) if driver.tracker.log.count(call)]
    assert wrote == []
    # The goals are none of the customers' business, and the link is.
    assert [link["key_result"] for link in epic["links"]] == ["KR-1"]


@on_jira
async def test_a_project_that_became_one_is_told_so_once_and_nothing_later(
    driver: TrackerDriver, world: World
) -> None:
    """What a project became after its comment: one line, and no answer to anything later."""
    key = driver.add("Opening hours")
    await driver.sync()
    assert isinstance(driver, JiraDriver)
    driver.site.projects["SHOP"].type_key = "service_desk"
    await driver.sync("full")
    assert driver.comments(key) == ["No longer checked."]
    (found,) = (await driver.epic(key))["findings"]
    await world.send(
        "POST", f"/findings/{found['id']}/waive", {"reason": "Law", "until": "2099-12-31"}, expect=422
    )
    await world.send("POST", f"/findings/{found['id']}/snooze", {"until": "2027-06-30"})
    await world.drain()
    assert driver.comments(key) == ["No longer checked."]
