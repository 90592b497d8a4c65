"""Reviews in a browser: opened, held on a projector by mouse, touch and keys, decided, undone and closed."""

from __future__ import annotations

import re

import httpx
import pytest
from playwright.async_api import expect

from app.runtime import Runtime
from tests.support.browser import Person
from tests.support.clock import Clock
from tests.support.goals_api import send
from tests.support.reviews import committee, decide, line_of, open_review

HOSTILE = '<script>alert("x")</script>'


async def begin(
    person: Person, runtime: Runtime, api: httpx.AsyncClient, clock: Clock, **titles: str
) -> None:
    """At the end of November, signed in anew: the session was begun at another time."""
    await committee(runtime, api, clock, **titles)
    await person.page.context.clear_cookies()
    await person.sign_in()


@pytest.mark.parametrize("person", ["desktop", "phone dark"], indirect=True)
async def test_a_review_is_opened_held_and_closed(
    person: Person, runtime: Runtime, api: httpx.AsyncClient, clock: Clock
) -> None:
    await begin(person, runtime, api, clock, CORE_4=HOSTILE, SHOP_3="w" * 500)
    page = person.page
    await person.go("/reviews")
    assert await person.faults() == []
    await page.get_by_role("link", name="Open a review of 2026-Q4").click()
    await page.get_by_label("From the business").fill("coo\ncfo")
    assert await person.faults() == []
    await page.get_by_role("button", name="Open the review").click()
    await expect(page.get_by_text("Opened: 8 open epics and the goals are frozen.")).to_be_visible()
    await page.get_by_label("What is done about it").first.fill("Two people join in January.")
    await page.get_by_role("button", name="Save what is done").click()
    await expect(page.get_by_text("Saved 1 line.")).to_be_visible()
    assert await person.faults() == []
    await page.get_by_role("link", name="Hold it on a projector").click()
    await expect(page.get_by_role("heading", level=2, name="Coverage")).to_be_focused()
    await page.get_by_role("button", name="Done and go on").click()
    await page.get_by_role("link", name=re.compile("CORE-4, disputed")).click()
    await expect(page.get_by_role("heading", level=2, name=HOSTILE)).to_be_visible()
    reason, key_result = page.get_by_label("Reason"), page.get_by_label("Key result that it serves")
    until = page.get_by_label("Until, that day included")
    await expect(reason).to_be_visible()
    await expect(key_result).to_be_hidden()
    await expect(until).to_be_hidden()
    await page.get_by_label("Defer").check()
    await expect(until).to_be_visible()
    await expect(key_result).to_be_hidden()
    await page.get_by_label("Re-map").check()
    await expect(until).to_be_hidden()
    await key_result.select_option("KR-4")
    assert await person.faults() == []
    await page.get_by_role("button", name="Record and go on").click()
    await expect(page.get_by_text("Tick who decides")).to_be_visible()
    await expect(page.get_by_label("Re-map")).to_be_checked()
    await reason.fill("Two clusters less.")
    await page.get_by_label("coo").check()
    await page.get_by_role("button", name="Record and go on").click()
    await expect(page.get_by_role("heading", level=2, name="w" * 500)).to_be_visible()
    await expect(page.get_by_text("Linked to KR-4, as its primary key result.")).to_be_visible()
    assert await person.faults() == []
    await page.get_by_role("button", name="Undo the decision on CORE-4").click()
    await expect(page.get_by_text("Undone: the decision on CORE-4 is taken back.")).to_be_visible()
    await _close(person)
    person.trouble[:] = [one for one in person.trouble if "422" not in one]  # the refused form


async def _close(person: Person) -> None:
    page = person.page
    await page.get_by_role("link", name="Close the review…").click()
    await expect(page.get_by_text("Nobody came from IT.")).to_be_visible()
    assert await person.faults() == []
    await page.get_by_role("button", name="Close the review").click()
    await expect(page.get_by_text("The review of 2026-11-27 is closed.")).to_be_visible()
    assert await person.faults() == []


async def test_a_review_is_held_with_the_keyboard_alone(
    person: Person, runtime: Runtime, api: httpx.AsyncClient, clock: Clock
) -> None:
    await begin(person, runtime, api, clock)
    review = await open_review(api)
    page, press = person.page, person.page.keyboard.press
    await person.go("/reviews/1/items")
    for number in range(2, line_of(review, "dispute")["position"] + 1):
        await _press(person, "n", f"{number} of {len(review['items'])}")
    await _press(person, "p", "KR-5 now")
    await _press(person, "n", "The work")
    await expect(page.get_by_role("heading", name="Order service in smaller pieces")).to_be_focused()
    await _tab_to(person, "decision")
    await press("ArrowRight")  # from Keep, which the focus is on, to Re-map
    await expect(page.get_by_label("Re-map")).to_be_checked()
    await press("Tab")
    await page.keyboard.type("KR-2")
    await press("Tab")
    await page.keyboard.type("nothing next, pilot nor previous")  # the letters of keys
    await press("Tab")
    await press("Space")
    await _tab_to(person, "record")
    await press("Enter")
    await expect(page.get_by_text("Linked to KR-2, as its primary key result.")).to_be_visible()
    await _press(person, "z", "Undone: Re-mapped: CORE-4.")
    await page.locator(".menu summary").click()
    await page.get_by_role("button", name="Single keys: on").click()
    await press("p")
    await expect(page.get_by_role("heading", name="Loyalty points")).to_be_visible()


async def test_forty_lines_on_a_projector(
    person: Person, runtime: Runtime, api: httpx.AsyncClient, clock: Clock
) -> None:
    await begin(person, runtime, api, clock)
    people = [{"name": f"Person {number} " + "n" * 60, "side": "it"} for number in range(20)]
    review = await open_review(api, people=people)
    for number in range(len(review["items"]), 40):
        added = await send(api, "POST", "/reviews/1/items", {"title": f"Question {number + 1} " * 8}, 201)
    page = person.page
    await page.set_viewport_size({"width": 1920, "height": 1080})
    await person.go(f"/reviews/1/items/{added['id']}")
    await expect(page.locator("[aria-current=step]")).to_be_in_viewport()
    await expect(page.get_by_role("button", name="Done and go on")).to_be_in_viewport()
    assert await person.faults() == []
    await person.go(f"/reviews/1/items/{line_of(review, 'dispute')['id']}")
    assert await person.faults() == []
    await page.set_viewport_size({"width": 320, "height": 800})
    assert await person.faults() == []


@pytest.mark.parametrize("person", ["desktop dark", "phone"], indirect=True)
async def test_the_log_is_filtered_and_a_decision_undone(
    person: Person, runtime: Runtime, api: httpx.AsyncClient, clock: Clock
) -> None:
    await begin(person, runtime, api, clock, HELP_8=HOSTILE, CORE_5="w" * 500)
    review = await open_review(api)
    await decide(api, review, "HELP-8", "stop", reason="r" * 500)
    await decide(api, review, "CORE-5", "defer", by="2027-01-15")
    page = person.page
    await person.go("/decisions")
    assert await person.faults() == []
    await page.get_by_label("Decision", exact=True).select_option("defer")
    await page.get_by_role("button", name="Show").click()
    await expect(page.get_by_role("link", name="HELP-8")).to_have_count(0)
    await page.get_by_role("button", name="Undo the decision on CORE-5").click()
    await expect(page.get_by_text("Undone: the decision on CORE-5 is taken back.")).to_be_visible()
    await expect(page.get_by_text("Undone on 27 Nov 2026, 09:00 UTC")).to_be_visible()
    assert "decision=defer" in page.url
    await person.go("/reviews/1/epics")
    assert await person.faults() == []


async def _press(person: Person, key: str, words: str) -> None:
    """A key, once the page listens to keys; it leads to a page with these words."""
    await expect(person.page.locator("#keys:not([hidden])")).to_be_attached()
    await person.page.keyboard.press(key)
    await expect(person.page.get_by_text(words).first).to_be_visible()


async def _tab_to(person: Person, value: str) -> None:
    """Tab until the focus is on the field of this name, or on the button with this value."""
    for _ in range(60):
        await person.page.keyboard.press("Tab")
        here = "[document.activeElement.name, document.activeElement.value]"
        if value in await person.page.evaluate(here):
            return
    raise AssertionError(f"Tab never comes to {value!r}")
