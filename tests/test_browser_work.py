"""Allocation and outcomes in a browser: read, left by their numbers; an estimate added in place."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest
from playwright.async_api import expect

from app.runtime import Runtime
from tests.support.browser import Person
from tests.support.clock import Clock
from tests.support.work_rows import add_company


@pytest.fixture
async def company(runtime: Runtime, clock: Clock) -> None:
    clock.now = datetime(2026, 11, 28, 12, tzinfo=UTC)
    await add_company(runtime, clock.now)


@pytest.mark.usefixtures("company")
@pytest.mark.parametrize("person", ["desktop", "phone dark"], indirect=True)
async def test_work_is_read_and_left_by_its_numbers(person: Person) -> None:
    page = person.page
    await person.go("/allocation")
    assert await person.faults() == []
    await page.get_by_role("link", name="Points").click()
    await expect(page.get_by_text("6 of 10 epics have story points")).to_be_visible()
    await page.get_by_label("Month").select_option("2026-10")
    await page.get_by_role("button", name="Show", exact=True).click()
    await expect(page.get_by_text("as it was frozen")).to_be_visible()
    await page.get_by_role("link", name=re.compile("^Unaligned")).first.click()
    await expect(page.get_by_role("heading", name="Open work, unaligned")).to_be_visible()
    assert await person.faults() == []
    await person.go("/outcomes")
    await expect(page.get_by_text("finished, and the number has not moved.", exact=False)).to_be_visible()
    assert await person.faults() == []


@pytest.mark.usefixtures("company")
@pytest.mark.parametrize("person", ["desktop", "phone"], indirect=True)
async def test_an_estimate_is_added_by_keyboard_and_taken_back(person: Person) -> None:
    page = person.page
    await person.go("/epics/acme/SHOP-4")
    await page.get_by_text("Add an estimate").focus()
    await page.keyboard.press("Enter")
    await page.get_by_label("Amount").focus()
    for text in ("1200", "CHF", "Bo"):
        await page.keyboard.type(text)
        await page.keyboard.press("Tab")
    await page.get_by_label("Estimated by").press("Enter")
    await expect(page.get_by_role("status").get_by_text("Estimated: 1,200 CHF planned.")).to_be_visible()
    assert await person.faults() == []
    await page.get_by_role("button", name=re.compile("^Undo")).click()
    await expect(page.get_by_text("Undone: Estimated: 1,200 CHF planned.")).to_be_visible()
