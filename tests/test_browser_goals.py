"""The pages of goals in a browser: checking in where one looks, signing, a key result from an example."""

from __future__ import annotations

import re

import httpx
import pytest
from playwright.async_api import expect

from app.runtime import Runtime
from tests.support.browser import Person
from tests.support.clock import Clock
from tests.support.company_goals import company_goals
from tests.support.goals_api import send

HOSTILE = '<script>alert("x")</script>'


async def begin(person: Person, runtime: Runtime, clock: Clock) -> None:
    """At the end of November, signed in anew: the session was begun at another time."""
    await company_goals(runtime, clock)
    await person.page.context.clear_cookies()
    await person.sign_in()


@pytest.mark.parametrize("person", ["desktop", "phone dark"], indirect=True)
async def test_checking_in_in_its_place(
    person: Person, runtime: Runtime, api: httpx.AsyncClient, clock: Clock
) -> None:
    await begin(person, runtime, clock)
    page = person.page
    await send(api, "PATCH", "/key-results/KR-6", {"title": HOSTILE})
    long = {"title": "word " * 99 + "w" * 5, "metric": {"unit": "u" * 500, "target": 1e300}}
    await send(api, "PATCH", "/key-results/KR-2", long)
    await send(api, "PATCH", "/objectives/O-3", {"title": "m" * 500, "owner": "o" * 80})
    await person.go("/goals")
    await page.evaluate("window.stays = true")
    await page.get_by_role("button", name="Check in KR-8").click()
    value = page.get_by_label("Value now, in %")
    await expect(value).to_be_focused()
    await expect(page.get_by_role("img", name=re.compile("KR-8: from 55%, 57 on 30 Oct"))).to_be_visible()
    assert await person.faults() == []
    await value.fill("much")
    await page.get_by_role("button", name="Save check-in").click()
    await expect(page.get_by_text("Must be a number")).to_be_visible()
    await expect(value).to_be_focused()
    await value.fill("66")
    await page.get_by_label("What changed").fill("Searches know the customers' words")
    await page.get_by_role("button", name="Save check-in").click()
    await expect(page.get_by_text("KR-8 checked in at 66 %.")).to_be_visible()
    await expect(page.locator("#KR-8")).to_contain_text("55 → 66 → 75 %")
    await expect(page.get_by_label("What changed")).to_have_count(0)
    assert await page.evaluate("window.stays")  # in place: the page was never left
    assert page.url == f"{person.address}/goals"
    assert await person.faults() == []
    person.trouble[:] = [one for one in person.trouble if "422" not in one]  # the refused form


@pytest.mark.parametrize("person", ["desktop dark", "phone"], indirect=True)
async def test_an_objective_a_key_result_from_an_example_and_two_signatures(
    person: Person, runtime: Runtime, clock: Clock
) -> None:
    await begin(person, runtime, clock)
    page = person.page
    await person.go("/goals")
    await page.get_by_role("link", name="New objective").click()
    await page.get_by_label("Title").fill("Sleep at night")
    await page.get_by_label("Driver").select_option("risk")
    assert await person.faults() == []
    await page.get_by_role("button", name="Set objective").click()
    await page.get_by_role("link", name="Sleep at night").click()
    await page.get_by_role("link", name="Add a key result").first.click()
    await page.get_by_role("link", name="Service is back sooner after an outage").click()
    await page.get_by_label("To", exact=True).fill("30")
    assert await person.faults() == []
    await page.get_by_role("button", name="Add key result").click()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Service is back sooner after an outage")
    for side, name in (("the business", "Ann Lee"), ("IT", "Bo Kim")):
        await page.get_by_text(f"Sign for {side}").click()
        await page.get_by_label("Name").locator("visible=true").fill(name)
        await page.get_by_role("button", name="Sign KR-11").locator("visible=true").click()
        await expect(page.get_by_text(f"{name} signed for {side}")).to_be_visible()
    assert await person.faults() == []


async def test_a_key_result_is_changed_and_checked_in_with_the_keyboard_alone(
    person: Person, runtime: Runtime, clock: Clock
) -> None:
    await begin(person, runtime, clock)
    page = person.page
    await person.go("/goals")
    await _tab_to(person, "KR-4 Cloud cost of an order")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", level=1)).to_have_text("Cloud cost of an order")
    await _tab_to(person, "Edit")
    await page.keyboard.press("Enter")
    await expect(page.get_by_label("Title")).to_be_focused()
    await page.keyboard.press("End")
    await page.keyboard.type(" falls")
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("KR-4 saved.")).to_be_visible()
    await person.go("/goals")
    await _tab_to(person, "Check in")
    await page.keyboard.press("Enter")
    await expect(page.get_by_label("Value now, in %")).to_be_focused()
    await page.keyboard.type("2.9")
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("KR-1 checked in at 2.9 %.")).to_be_visible()
    await expect(page.get_by_role("button", name="Check in KR-1", exact=True)).to_be_focused()


async def _tab_to(person: Person, words: str) -> None:
    """Tab until the focus is on what has these words."""
    for _ in range(60):
        await person.page.keyboard.press("Tab")
        if await person.page.evaluate("document.activeElement.textContent.trim()") == words:
            return
    raise AssertionError(f"Tab never comes to {words!r}")
