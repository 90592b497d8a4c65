"""Scoring in place and deciding a conflict in a browser: by hand, and by keyboard alone."""

from __future__ import annotations

import httpx
import pytest
from playwright.async_api import expect

from app.runtime import Runtime
from tests.support.browser import Person
from tests.support.goals_api import send
from tests.support.stored_epics import source_with, stored_epic

HOSTILE = '<script>alert("x")</script>'


async def _company(api: httpx.AsyncClient, runtime: Runtime) -> None:
    titles = ("Pay by invoice", HOSTILE, "w" * 500, "Gift cards")
    await source_with(api, runtime, [stored_epic(n, title=title) for n, title in enumerate(titles, 1)])
    criteria = [{"key": key, "title": key * 9, "weight": 1} for key in ("VALUE", "URGENCY", "RISK", "EASE")]
    await send(api, "PUT", "/criteria", criteria)
    for number in (1, 2, 3):
        scores = dict.fromkeys(("VALUE", "URGENCY", "RISK", "EASE"), number)
        await send(api, "PUT", f"/epics/jira/SHOP-{number}/scores", scores)


@pytest.mark.parametrize("person", ["desktop", "phone dark"], indirect=True)
async def test_a_score_moves_the_row_in_place(
    person: Person, runtime: Runtime, api: httpx.AsyncClient
) -> None:
    await _company(api, runtime)
    page = person.page
    await person.go("/priorities")
    await page.evaluate("window.stays = true")
    assert await person.faults() == []
    first = page.locator("tr[data-row]").first
    await expect(first).to_contain_text("SHOP-3")
    await page.get_by_label("VALUE of SHOP-1").fill("5")
    await page.get_by_label("EASE of SHOP-1").fill("5")
    row = page.locator("tr[data-row]", has_text="SHOP-1")
    await row.hover()
    await row.get_by_role("button", name="Save").click()
    await expect(page.get_by_text("SHOP-1: VALUE 5, EASE 5.")).to_be_visible()
    await expect(first).to_contain_text("=1")
    await page.get_by_role("button", name="Undo").click()
    await expect(page.get_by_text("Undone: SHOP-1")).to_be_visible()
    await expect(page.get_by_label("VALUE of SHOP-1")).to_have_value("1")
    assert await page.evaluate("window.stays")
    assert await person.faults() == []


@pytest.mark.parametrize("person", ["desktop dark"], indirect=True)
async def test_scoring_by_keyboard(person: Person, runtime: Runtime, api: httpx.AsyncClient) -> None:
    await _company(api, runtime)
    page = person.page
    await person.go("/priorities?scored=none")
    await page.keyboard.press("j")
    await expect(page.get_by_role("link", name="Gift cards")).to_be_focused()
    for score in ("4", "3", "2", "1"):
        await page.keyboard.press("Tab")
        await page.keyboard.type(score)
    await page.keyboard.press("Enter")
    await expect(page.get_by_text("SHOP-4: VALUE 4, URGENCY 3, RISK 2, EASE 1.")).to_be_visible()
    await expect(page.get_by_text("Every open epic has scores.")).to_be_visible()


@pytest.mark.parametrize("person", ["desktop dark", "phone"], indirect=True)
async def test_a_conflict_is_recorded_and_decided(
    person: Person, runtime: Runtime, api: httpx.AsyncClient
) -> None:
    await _company(api, runtime)
    page = person.page
    await person.go("/conflicts")
    await page.get_by_text("Record a conflict").click()
    await page.get_by_label("Epic", exact=True).fill("SHOP-3")
    await page.get_by_label("What technology does not allow").fill(HOSTILE)
    await page.get_by_label("What the business asks for").fill("b" * 500)
    await page.get_by_role("button", name="Record it").click()
    await expect(page.get_by_text("The conflict on SHOP-3 was recorded.")).to_be_visible()
    assert await person.faults() == []
    await page.get_by_role("link", name="Decide conflict").click()
    await expect(page.get_by_label("Decision")).to_be_focused()
    assert await person.faults() == []
    await page.get_by_label("Why, in one line").fill("It goes on")
    await page.get_by_label("Name 1", exact=True).fill("Ann Lee")
    await page.get_by_role("button", name="Record the decision").click()
    await expect(page.get_by_text("No conflict is open.")).to_be_visible()
    await page.get_by_role("link", name="Decided 1").click()
    await expect(page.get_by_text("Decided by Ann Lee")).to_be_visible()
    assert await person.faults() == []
