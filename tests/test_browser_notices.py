"""The page of notices in a browser: read, let go, take back and decide, by mouse, by touch and by keys."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import Route

from app.runtime import Runtime
from tests.support.browser import Person
from tests.support.clock import Clock
from tests.support.disputes import dispute
from tests.support.tracker_drivers import TrackerDriver, driver_of
from tests.support.world import World

TITLES = ('<script>alert("x")</script> & co', "x" * 500, "Loyalty points", "Outfits")


async def held(world: World, kind: str) -> tuple[TrackerDriver, list[str]]:
    """Four epics whose comments the guard holds."""
    await world.goal("KR-1", "Checkout conversion")
    driver = driver_of(world, kind)
    await driver.connect(notices={"per_run": 3})
    keys = [driver.add(title) for title in TITLES]
    await driver.sync()
    return driver, keys


@pytest.mark.parametrize("person", ["desktop", "phone dark"], indirect=True)
async def test_one_is_read_and_let_go_another_taken_back_and_the_rest_approved(
    person: Person, world: World
) -> None:
    driver, keys = await held(world, "jira")
    page = person.page
    await person.go("/notices")
    assert await person.faults() == []
    await page.get_by_role("link", name="Loyalty points").click()
    await page.get_by_role("heading", name=f"{keys[2]} as it would read in Jira").wait_for()
    assert "notice=" in page.url
    await page.get_by_role("button", name="Approve a", exact=True).click()
    await page.get_by_text(f"Approved the notice on {keys[2]}.").wait_for()
    await page.get_by_role("heading", name=f"{keys[3]} as it would read in Jira").wait_for()
    await page.get_by_role("button", name="Withdraw d", exact=True).click()
    await page.get_by_text(f"Withdrew the notice on {keys[3]}.").wait_for()
    assert await page.get_by_role("navigation", name="Main").get_by_text("2 held, waiting").count() == 1
    await page.get_by_role("button", name="Approve all 2").click()
    await page.get_by_text("Approved 2 notices of run").wait_for()
    assert await page.get_by_role("link", name="Held 0").count() == 1
    await world.drain()
    assert [len(driver.comments(key)) for key in keys] == [1, 1, 1, 0]
    await person.go("/notices?state=posted")
    assert await page.get_by_role("link", name="Posted 3").count() == 1
    await page.get_by_role("link", name="Open the comment in Jira").wait_for()
    assert await person.faults() == []


async def test_all_of_it_by_keys_alone(person: Person, world: World) -> None:
    driver, keys = await held(world, "github")
    page, press = person.page, person.page.keyboard.press
    await press("g")
    await press("n")
    await page.wait_for_url("**/notices")
    await page.get_by_role("heading", name=f"{keys[0]} as it would read in GitHub").wait_for()
    arrives = asyncio.Event()

    async def late(route: Route) -> None:
        await arrives.wait()
        await route.fallback()

    await page.route("**/notices?*notice=*", late)
    await press("j")
    await press("a")  # The notice of the row is not there yet, and the one still shown is not meant.
    assert (await driver.notice(keys[0]))["state"] == "held"
    arrives.set()
    await page.get_by_role("heading", name=f"{keys[1]} as it would read in GitHub").wait_for()
    assert (await driver.notice(keys[0]))["state"] == "held"
    await press("a")
    await page.get_by_text(f"Approved the notice on {keys[1]}.").wait_for()
    await page.get_by_role("heading", name=f"{keys[2]} as it would read in GitHub").wait_for()
    await page.locator("#withdraw:enabled").wait_for()
    await press("d")
    await page.get_by_text(f"Withdrew the notice on {keys[2]}.").wait_for()
    await page.locator("#approve:enabled").wait_for()
    await press("k")
    await press("x")
    await press("j")
    await press("x")
    await page.locator(".bulk button[value=approve]").focus()
    await press("Enter")
    await page.get_by_text("Approved 2 notices.").wait_for()
    await world.drain()
    assert [len(driver.comments(key)) for key in keys] == [1, 1, 0, 1]


@pytest.mark.parametrize("person", ["desktop dark", "phone"], indirect=True)
async def test_a_dispute_is_decided_and_the_decision_undone(
    person: Person, world: World, runtime: Runtime, clock: Clock
) -> None:
    await world.goal("KR-1", "Checkout conversion")
    driver = driver_of(world, "jira")
    key = driver.add()
    await driver.connect()
    await driver.sync()
    await dispute(runtime, key, "<b>Office</b> work", clock())
    await world.drain()
    page = person.page
    await person.go("/notices?state=disputed")
    assert await person.faults() == []
    await page.get_by_role("button", name="Dismiss it").click()
    await page.get_by_text("Say in a few words why; the ticket shows it").wait_for()
    assert ["422" in words for words in person.trouble] == [True]  # as the console names the answer
    person.trouble.clear()
    assert await page.get_by_label("Why the finding does not hold here").evaluate(
        "field => field === document.activeElement"
    )
    await page.get_by_label("Why the finding does not hold here").fill("Office work")
    await page.get_by_role("button", name="Dismiss it").click()
    await page.get_by_text(f"Dismissed: {key} is waived for 366 days").wait_for()
    await page.get_by_role("button", name="Undo").click()
    await page.get_by_text("Undone: Dismissed").wait_for()
    await page.get_by_role("button", name="Uphold the finding").click()
    await page.get_by_text(f"Upheld: the finding on {key} stands").wait_for()
    await world.drain()
    assert "Which key result does this epic serve?" in driver.comments(key)[0]
