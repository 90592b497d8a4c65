"""The page that imports files, in a browser: a file dropped, looked at and applied."""

from __future__ import annotations

import httpx
import pytest
from playwright.async_api import FilePayload

from tests.support.browser import Person
from tests.support.goals_api import send

GOALS = "key,title,driver\nO-1,<script>alert(1)</script>,growth\nO-2," + "x" * 500 + ",cost\n"
DROP = """(text) => {
  const dropped = new DataTransfer();
  dropped.items.add(new File([text], "goals.csv", { type: "text/csv" }));
  const zone = document.getElementById("drop");
  for (const name of ["dragenter", "dragover", "drop"])
    zone.dispatchEvent(new DragEvent(name, { dataTransfer: dropped, bubbles: true, cancelable: true }));
}"""


@pytest.mark.parametrize("person", ["desktop", "phone dark"], indirect=True)
async def test_a_dropped_file_is_looked_at_and_applied(person: Person, api: httpx.AsyncClient) -> None:
    await person.go("/import")
    assert await person.faults() == []
    await person.page.evaluate(DROP, GOALS)
    await person.page.get_by_text("Nothing is applied yet. 2 new.").wait_for()
    assert await person.faults() == []
    await person.page.get_by_role("button", name="Apply 2 lines").click()
    await person.page.get_by_text("Applied: 2 created.").wait_for()
    keys = [one["key"] for one in (await send(api, "GET", "/objectives"))["items"]]
    assert keys == ["O-1", "O-2"]


async def test_columns_are_chosen_and_lines_applied_by_keyboard_alone(
    person: Person, api: httpx.AsyncClient
) -> None:
    page = person.page
    await person.go("/import")
    file = FilePayload(name="goals.csv", mimeType="text/csv", buffer=b"Nr,title\nO-1,Grow\nO-2,Save\n")
    await page.set_input_files("#file", file)  # the system's own dialog
    await page.get_by_role("button", name="Show what it would do").focus()
    await page.keyboard.press("Enter")
    await page.get_by_text("This file cannot be read yet.").wait_for()
    assert await person.faults() == []
    # The browser reports each answer to a script that is no success, also one that is a page to show.
    person.trouble[:] = [text for text in person.trouble if "422" not in text]
    while await page.evaluate("document.activeElement.id") != "ours-1":
        await page.keyboard.press("Tab")
    await page.keyboard.type("key")
    while await page.evaluate("document.activeElement.textContent") != "Look again":
        await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    apply = page.get_by_role("button", name="Apply 2 lines")
    await apply.wait_for()
    while await page.evaluate("document.activeElement.textContent") != "Apply 2 lines":
        await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await page.get_by_text("Applied: 2 created.").wait_for()
    assert (await send(api, "GET", "/objectives/O-2"))["title"] == "Save"
