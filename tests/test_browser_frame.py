"""The frame around every page, and the script that all share: by keyboard, on a small screen, on errors."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Route, expect

from tests.support.browser import Person

_FORM = """() => {
    const main = document.getElementById("main");
    document.getElementById("said")?.remove();
    const token = document.querySelector("input[name=_token]").value;
    main.insertAdjacentHTML("beforeend", `<div id="said" role="status">before</div><div id="part">before</div>
        <form id="tried" method="post" action="${location.pathname}" data-replace="part said">
        <input type="hidden" name="_token" value="${token}"><input id="field" name="field">
        <button id="press" name="do" value="it">Press</button></form>`);
}"""
_PAGE = """<!doctype html><title>Answered</title><ul><li id="held">7</li></ul><main id="main">
<div id="said" role="status"><p>Done.</p></div><div id="part">{part}</div></main>"""


async def _answering(person: Person, *, status: int = 200, part: str = "after", body: str = "") -> list[str]:
    """The page's posted forms are answered so; what each of them sent."""
    sent: list[str] = []

    async def answer(route: Route) -> None:
        if route.request.method != "POST":
            await route.continue_()
            return
        sent.append(route.request.post_data or "")
        html = body or _PAGE.replace("{part}", part)
        await route.fulfill(status=status, content_type="text/html; charset=utf-8", body=html)

    await person.page.route(f"{person.address}/", answer)
    await person.page.evaluate(_FORM)
    return sent


async def test_all_of_the_frame_is_reached_by_keyboard_and_paper_has_the_content(person: Person) -> None:
    page = person.page
    focused: list[str] = []
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.className") == "skip"
    await page.keyboard.press("Enter")
    assert await page.evaluate("document.activeElement.id") == "main"
    await person.go("/")
    for _ in range(11):
        await page.keyboard.press("Tab")
        focused.append(await page.evaluate("document.activeElement.textContent.trim().split('\\n')[0]"))
        seen = "getComputedStyle(document.activeElement).outlineStyle"
        assert await page.evaluate(seen) != "none" or focused[-1].startswith("Skip")
    sections = ["Overview", "Epics", "Goals", "Roadmap", "Reviews", "Notices", "Sources"]
    assert focused[1:9] == ["Northing", *sections]
    assert focused[10].startswith("admin")
    await page.keyboard.press("Enter")
    menu = page.locator("details.menu")
    await expect(menu).to_have_attribute("open", "")
    await page.keyboard.press("Tab")
    await expect(menu.get_by_role("link", name="Delivery and outcome")).to_be_focused()
    await page.keyboard.press("Escape")
    await expect(menu).not_to_have_attribute("open", "")
    assert await page.evaluate("document.activeElement.tagName") == "SUMMARY"
    await page.keyboard.press("Enter")
    await page.get_by_role("heading", level=1).click()
    await expect(menu).not_to_have_attribute("open", "")
    await page.emulate_media(media="print")
    await expect(page.locator("header.top")).to_be_hidden()
    await expect(page.get_by_role("heading", level=1)).to_be_visible()


@pytest.mark.parametrize("person", ["phone dark"], indirect=True)
async def test_it_fits_320_pixels_and_more_contrast(person: Person) -> None:
    await person.page.set_viewport_size({"width": 320, "height": 640})
    await person.page.emulate_media(contrast="more")
    assert await person.faults() == []
    await person.page.locator("details.menu summary").tap()
    wide = await person.page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert wide <= 0
    await expect(person.page.get_by_role("button", name="Sign out")).to_be_in_viewport()


async def test_a_form_in_place_is_sent_once_and_says_what_was_done(person: Person) -> None:
    page, sent = person.page, await _answering(person)
    status = await page.evaluate_handle("document.getElementById('said')")
    await page.evaluate("""() => {
        const form = document.getElementById("tried"), button = document.getElementById("press");
        button.focus(); form.requestSubmit(button); form.requestSubmit(button);
    }""")
    await expect(page.locator("#part")).to_have_text("after")
    assert len(sent) == 1
    assert 'name="do"' in sent[0], "with the button that was pressed"
    assert await status.evaluate("element => element.isConnected && element.textContent") == "Done.", (
        "what is read aloud is a change within the same element"
    )
    await expect(page).to_have_title("Answered")
    await expect(page.locator("#held")).to_have_text("7")
    assert await page.evaluate("document.activeElement.id") == "press"


async def test_an_error_stands_where_the_content_was(person: Person) -> None:
    wrong = '<main id="main"><p>Wrong</p><input id="field" autofocus></main>'
    for status, body, words in (
        (403, '<main id="main"><h1>Not allowed</h1></main>', "Not allowed"),
        (422, wrong, "Wrong"),
    ):
        await person.go("/")
        await _answering(person, status=status, body=body)
        await person.page.locator("#press").click()
        await expect(person.page.locator("main")).to_have_text(words)
        await person.page.unroute_all()
    await expect(person.page.locator("#field")).to_be_focused()
    person.trouble.clear()  # the browser notes each status of 400 and more


async def test_a_lost_answer_sends_nothing_twice_and_keeps_what_was_typed(person: Person) -> None:
    sent: list[Any] = []

    async def lose(route: Route) -> None:
        if route.request.method == "POST":
            sent.append(1)
            await route.abort()
        else:
            await route.continue_()

    await person.page.route(f"{person.address}/", lose)
    await person.page.evaluate(_FORM)
    await person.page.locator("#field").fill("typed")
    await person.page.locator("#press").click()
    await expect(person.page.locator("#said")).to_contain_text("it is not known whether this was done")
    assert len(sent) == 1
    assert await person.page.locator("#field").input_value() == "typed"
    person.trouble.clear()


async def test_back_from_a_filter_in_place_is_the_list_before(person: Person) -> None:
    """A form that is sent with GET changes the address, so that the button back leads to the former one."""
    page = person.page
    await page.evaluate(
        """() => document.getElementById("main").insertAdjacentHTML("beforeend",
        `<form data-replace="main" action="/"><button id="press" name="kept" value=1>Go</button></form>`)"""
    )
    await page.locator("#press").click()
    await page.wait_for_url(f"{person.address}/?kept=1")
    await page.go_back()
    await page.wait_for_url(f"{person.address}/")
    await expect(page.get_by_role("heading", level=1)).to_be_visible()


async def test_a_page_that_follows_stops_when_it_is_over(person: Person) -> None:
    page, asked = person.page, []

    async def answer(route: Route) -> None:
        asked.append(1)
        more = ' data-follow="0.05"' if len(asked) < 3 else ""
        html = f'<!doctype html><main id="main"><div id="run"{more}>reading {len(asked)}</div></main>'
        await route.fulfill(status=200, content_type="text/html", body=html)

    await page.route(f"{person.address}/", answer)
    await page.evaluate("""() => {
        document.getElementById("main").innerHTML = '<div id="run" data-follow="0.05">reading 0</div>';
        document.dispatchEvent(new Event("visibilitychange"));
    }""")
    await expect(page.locator("#run")).to_have_text("reading 3")
    await expect(page.locator("#run")).not_to_have_attribute("data-follow", "0.05")
    assert (
        await page.evaluate("Object.keys(window).filter((name) => /north|follow|replace/.test(name))") == []
    )
