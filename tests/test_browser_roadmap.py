"""The roadmap in a browser: read, filtered and left by its numbers, on each screen, and on paper."""

from __future__ import annotations

from datetime import timedelta

import pytest
from playwright.async_api import expect

from app.runtime import Runtime
from mappings.tables import RunRow
from tests.support.browser import Person
from tests.support.clock import Clock
from tests.support.roadmaps import NOW, TODAY, company_in

HOSTILE = "<script>document.title='x'</script>" + "y" * 460


@pytest.fixture
async def company(runtime: Runtime, clock: Clock) -> None:
    clock.now = NOW
    async with runtime.sessions.begin() as session:
        company = await company_in(session)
        session.add(RunRow(source_id=company.source.id, mode="full", state="succeeded", finished_at=NOW))
        day = timedelta(days=1)
        late = await company.epic(
            "SHOP-1", "KR-1", title=HOSTILE, starts_on=TODAY - 60 * day, due_on=TODAY + 7 * day, children=12
        )
        part = {"parent_key": "SHOP-1", "parent_remote_id": "SHOP-1"}
        await company.epic("SHOP-2", "KR-1", starts_on=TODAY, **part)
        for number in range(3, 12):
            await company.epic(f"SHOP-{number}", "KR-1", due_on=TODAY + number * day)
        await company.epic("PAY-1", "KR-2", due_on=TODAY - day)
        await company.epic("PAY-2", title=HOSTILE)
        await company.review(NOW - 20 * day, late, SHOP1={"due_on": TODAY, "key_results": ["KR-1"]})


@pytest.mark.usefixtures("company")
@pytest.mark.parametrize("person", ["desktop", "phone", "desktop dark", "phone dark"], indirect=True)
async def test_it_is_read_filtered_and_left_by_its_numbers(person: Person) -> None:
    page = person.page
    await person.go("/roadmap")
    assert await person.faults() == []
    await expect(page.get_by_role("img", name="28 Sep to 4 Dec, 0 of 12 done")).to_be_visible()
    await expect(page.get_by_text("due moved from 27 Nov, 7 days later").first).to_be_visible()
    await page.get_by_role("link", name="1 due later").click()
    await expect(page.get_by_role("heading", name="1 due later")).to_be_in_viewport()
    await page.get_by_label("Driver").select_option("cost")
    await page.get_by_role("button", name="Show", exact=True).click()
    await expect(page.locator(".kr-row")).to_have_count(1)
    await expect(page.get_by_text("was due 26 Nov")).to_be_visible()
    await page.get_by_role("link", name="Project", exact=True).click()
    await expect(page.get_by_text("for KR-2")).to_be_visible()
    await page.get_by_role("link", name="Clear").click()
    await page.get_by_role("link", name="Outcome", exact=True).click()
    await page.get_by_role("link", name="5 more", exact=True).click()
    await expect(page.locator("table.triage tbody tr")).to_have_count(11)


@pytest.mark.usefixtures("company")
@pytest.mark.parametrize("person", ["desktop"], indirect=True)
async def test_it_is_printed_whole_by_keyboard(person: Person) -> None:
    page = person.page
    await person.go("/roadmap")
    await page.evaluate("window.print = () => { document.body.dataset.printed = 'yes'; }")
    await page.get_by_role("button", name="Print").focus()
    await page.keyboard.press("Enter")
    await expect(page.locator("body[data-printed=yes]")).to_have_count(1)
    await page.emulate_media(media="print")
    await expect(page.get_by_role("button", name="Print")).to_be_hidden()
    await expect(page.get_by_text("Open work: epics in the lists")).to_be_visible()
    name = page.locator(".name").first
    assert await name.evaluate("it => it.scrollHeight <= it.clientHeight + 1")
