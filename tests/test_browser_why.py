"""The page behind "Why?" in a browser: a line is copied, nothing leaves this machine, there is a way in."""

from __future__ import annotations

import httpx
import pytest
from playwright.async_api import expect
from sqlalchemy import select

from app.runtime import Runtime
from mappings.tables import EpicRow, SourceRow
from tests.support.browser import Person
from tests.support.goals_api import send
from tests.support.stored_epics import evaluate_due_epics, source_with, stored_epic

HOSTILE = "<script>document.title = 'x'</script> " + "w" * 500


async def _asked(api: httpx.AsyncClient, runtime: Runtime) -> str:
    """The path of the page of an epic without a key result, where there is much to choose from."""
    await send(api, "PATCH", "/policy", {"grace": "PT0S", "since": None})
    await send(api, "POST", "/objectives", {"key": "O-1", "title": "Aim", "visibility": "public"}, 201)
    for number in range(1, 30):
        title = "Checkout conversion to 4 %" if number == 1 else HOSTILE if number == 2 else f"Aim {number}"
        body = {"key": f"KR-{number}", "title": title[:500]}
        await send(api, "POST", "/objectives/O-1/key-results", body, 201)
    await source_with(api, runtime, [stored_epic(1, title=f"Checkout conversion {HOSTILE}")])
    await evaluate_due_epics(runtime)
    async with runtime.sessions() as session:
        row = (await session.scalars(select(EpicRow))).one()
        url = runtime.page_urls(await session.get_one(SourceRow, row.source_id))(row)
    assert url is not None
    return url.removeprefix(runtime.settings.links_base)


@pytest.mark.parametrize("person", ["desktop", "phone dark"], indirect=True)
async def test_a_line_is_copied_and_the_rest_folds_out(
    person: Person, api: httpx.AsyncClient, runtime: Runtime
) -> None:
    page, path = person.page, await _asked(api, runtime)
    await page.context.clear_cookies()
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=person.address)
    await person.go(path)
    assert await person.faults() == []
    assert "Which key result" in await page.title()
    await page.get_by_role("button", name="Copy /northing link KR-1", exact=True).click()
    await expect(page.get_by_role("status")).to_have_text("Copied /northing link KR-1")
    assert await page.evaluate("navigator.clipboard.readText()") == "/northing link KR-1"
    await page.get_by_text("None fits, not now, or we are wrong").click()
    await page.get_by_role("button", name="Copy /northing snooze 14d").click()
    assert await page.evaluate("navigator.clipboard.readText()") == "/northing snooze 14d"
    assert await person.faults() == []
    await page.get_by_role("link", name="Sign in").click()
    await page.get_by_label("Token").wait_for()
    assert "next=/signed/" in page.url


async def test_without_a_mouse_and_without_a_clipboard(
    person: Person, api: httpx.AsyncClient, runtime: Runtime
) -> None:
    """What is selected is copied with the keys that everybody knows; a search goes to the list itself."""
    page, path = person.page, await _asked(api, runtime)
    await page.add_init_script("delete Navigator.prototype.clipboard; document.execCommand = () => false")
    await person.go(path)
    button = page.get_by_role("button", name="Copy /northing link KR-1", exact=True)
    await button.focus()
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("status")).to_have_text("Selected: press Ctrl or Command and C")
    selected = "document.activeElement.value.slice(...[document.activeElement.selectionStart])"
    assert await page.evaluate(selected) == "/northing link KR-1"
    await page.locator("#another summary").focus()
    await page.keyboard.press("Enter")
    await page.get_by_label("Words of its key or title").fill("aim 29")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**q=aim+29#another")
    await expect(page.get_by_role("button", name="Copy /northing link KR-29")).to_be_visible()
