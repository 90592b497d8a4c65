"""The value of an epic and the audit in a browser: answered by mouse or touch, and by keyboard alone."""

from __future__ import annotations

import httpx
import pytest

from app.runtime import Runtime
from connectors.base import Parent
from tests.support.browser import Person
from tests.support.stored_epics import evaluate_due_epics, source_with, stored_epic
from tests.support.triage import HOSTILE, LONG

pytestmark = pytest.mark.database


async def _fill(api: httpx.AsyncClient, runtime: Runtime) -> None:
    parts = [stored_epic(10 + number, parent=Parent(f"SHOP-{number}")) for number in (1, 2)]
    await source_with(api, runtime, [stored_epic(1, title=HOSTILE), stored_epic(2, title=LONG), *parts])
    await evaluate_due_epics(runtime)


@pytest.mark.parametrize("person", ["desktop", "phone", "phone dark"], indirect=True)
async def test_from_the_audit_to_an_answer_and_back(
    person: Person, api: httpx.AsyncClient, runtime: Runtime
) -> None:
    await _fill(api, runtime)
    await person.sign_in()
    await person.go("/audit")
    page = person.page
    assert await person.faults() == []
    await page.get_by_role("link", name="Not answered").first.click()
    await page.get_by_label("In one sentence: how does it help").fill("Fewer carts are left behind.")
    await page.get_by_label("It helps to").select_option("growth")
    assert await person.faults() == []
    await page.get_by_role("button", name="Answer", exact=True).click()
    await page.get_by_text("The answer of SHOP-1 was stored.").wait_for()
    assert await person.faults() == []
    await person.go("/audit")
    await page.get_by_text("Fewer carts are left behind.").wait_for()
    await person.go("/epics?initiative=true")
    await page.get_by_text("Fewer carts are left behind.").wait_for()
    assert await person.faults() == []


async def test_by_the_keyboard_alone(person: Person, api: httpx.AsyncClient, runtime: Runtime) -> None:
    await _fill(api, runtime)
    await person.sign_in()
    await person.go("/epics/jira/SHOP-1")
    page = person.page
    await page.get_by_label("In one sentence: how does it help").focus()
    await page.keyboard.type("tbd")
    for key in ("Tab", "Tab", "Enter"):
        await page.keyboard.press(key)
    await page.get_by_text("is no answer: write one sentence").wait_for()
    assert await page.evaluate("document.activeElement.id") == "value-answer"
    await page.keyboard.press("Control+a")
    await page.keyboard.type("Fewer carts are left behind.")
    for key in ("Tab", "Tab", "Enter"):
        await page.keyboard.press(key)
    await page.get_by_text("The answer of SHOP-1 was stored.").wait_for()
    await page.keyboard.press("z")
    await page.get_by_text("Undone: The answer of SHOP-1 was stored.").wait_for()
    await page.get_by_text("Not answered.").wait_for()
