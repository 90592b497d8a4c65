"""The pages of epics in a browser: settled row by row by mouse or touch, and by keys alone."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from app.runtime import Runtime
from tests.support.browser import Person
from tests.support.goals_api import send
from tests.support.triage import fill


async def _links(api: httpx.AsyncClient, key: str) -> list[Any]:
    return [one["key_result"] for one in (await send(api, "GET", f"/epics/jira/{key}"))["links"]]


async def _at(person: Person) -> str:
    """The epic at the cursor, which holds the focus on its title."""
    row = person.page.locator('tr.at[aria-current="true"]')
    assert await row.locator("[data-title]").evaluate("one => one === document.activeElement")
    return str(await row.get_attribute("data-row"))


@pytest.mark.parametrize("person", ["desktop", "phone", "desktop dark"], indirect=True)
async def test_epics_are_settled_where_they_are_listed(
    person: Person, api: httpx.AsyncClient, runtime: Runtime
) -> None:
    await fill(api, runtime)
    page = person.page
    await person.go("/epics?alignment=unaligned&sort=title")
    assert await person.faults() == []
    row = page.locator('tr[data-row="jira SHOP-2"]')
    await row.hover()
    await row.get_by_role("button", name="Link KR-1 to SHOP-2").click()
    line = page.locator("#said")
    await line.get_by_text("SHOP-2 linked to KR-1.").wait_for()
    await row.wait_for(state="detached")
    assert page.url.endswith("/epics?alignment=unaligned&sort=title"), "filters stay"
    assert await page.locator("#views").get_by_text("Unaligned 3").count() == 1
    await line.get_by_role("button", name="Undo").click()
    await line.get_by_text("Undone: SHOP-2 linked to KR-1.").wait_for()
    await row.wait_for()
    assert await _links(api, "SHOP-2") == []

    bar = page.get_by_role("region", name="Selected epics")
    assert not await bar.is_visible()
    for key in ("SHOP-2", "SHOP-6"):
        await page.get_by_role("checkbox", name=f"Select {key}").check()
    await bar.get_by_text("2 selected").wait_for()
    await bar.get_by_role("button", name="Waive…").click()
    await bar.get_by_label("Reason").fill("Law")
    assert await person.faults() == []
    await bar.get_by_role("button", name="Waive 2").click()
    await line.get_by_text("2 epics waived until").wait_for()
    await page.locator("#views").get_by_text("Waived 2").wait_for()
    assert not await bar.is_visible()

    await page.get_by_role("link", name='<script>alert("x")</script> & co').click()
    await page.get_by_role("heading", name='<script>alert("x")</script> & co').wait_for()
    await page.locator("summary", has_text="Why").click()
    await page.locator("summary", has_text="History").click()
    assert await person.faults() == []
    await page.get_by_label("Words of another key result").fill("RATINGS")
    await page.get_by_role("button", name="Search", exact=True).click()
    await page.get_by_role("button", name="Link KR-3").click()
    await page.get_by_text("Linked to KR-3").first.wait_for()
    await page.locator("#said").get_by_role("button", name="Undo").click()
    await page.get_by_text("It is linked to no key result.").first.wait_for()
    await person.go("/epics/jira/Core-4")
    assert await person.faults() == []


async def test_epics_are_settled_by_keys_alone(
    person: Person, api: httpx.AsyncClient, runtime: Runtime
) -> None:
    await fill(api, runtime)
    page, press = person.page, person.page.keyboard.press
    await person.go("/epics")
    for key in "jjjj":
        await press(key)
    assert await _at(person) == "jira SHOP-2", "the last row"
    assert await page.locator("tr.at .fit .btn.main").count() == 1
    await press("1")
    await page.locator("#said").get_by_text("SHOP-2 linked to KR-1.").wait_for()
    assert await _at(person) == "jira SHOP-3", "the row in its place"
    await press("z")
    await page.locator("#said").get_by_text("Undone:").wait_for()
    assert await _at(person) == "jira SHOP-3"

    await press("x")
    await press("k")
    await press("Shift+X")
    await page.get_by_text("2 selected").wait_for()
    await press("w")
    reason = page.get_by_label("Reason")
    await reason.wait_for()
    await page.wait_for_function("document.activeElement.id === 'reason'")
    await page.keyboard.type("zjx")  # single keys are off in a field
    assert await reason.input_value() == "zjx"
    await press("Enter")
    await page.locator("#said").get_by_text("Core-4 waived until").wait_for()
    assert await page.get_by_text("1 selected").is_visible(), "what is left of the selection stays"
    await press("Escape")
    assert not await page.get_by_text("1 selected").is_visible()
    await press("s")
    await reason.wait_for()
    await press("Escape")
    await reason.wait_for(state="detached")


async def test_keys_are_listed_lead_to_pages_and_can_be_switched_off(
    person: Person, api: httpx.AsyncClient, runtime: Runtime
) -> None:
    await fill(api, runtime)
    page, press = person.page, person.page.keyboard.press
    await press("g")
    await press("e")
    await page.wait_for_url("**/epics")
    await press("?")
    keys = page.locator("#keys")
    assert await keys.get_by_text("Undo the last change").is_visible()
    assert await person.faults() == []
    await press("?")
    assert not await keys.get_by_text("Undo the last change").is_visible()
    await press("/")
    assert await page.evaluate("document.activeElement.id") == "by-q"
    await press("Escape")
    await press("j")
    await press("o")
    await page.wait_for_url("**/epics/jira/*")

    await page.locator(".menu summary").click()
    await page.get_by_role("button", name="Single keys: on").click()
    await person.go("/epics")
    await press("j")
    assert await page.locator("tr.at").count() == 0
    await page.locator(".menu summary").click()
    await page.get_by_role("button", name="Single keys: off").click()
    await press("j")
    assert await page.locator("tr.at").count() == 1
