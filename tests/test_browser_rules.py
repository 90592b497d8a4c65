"""Rules in a browser: the editor whose preview follows, and the order by drag, buttons, numbers and keys."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.async_api import expect

from tests.support.browser import Person
from tests.support.world import World

HOSTILE = '<script>alert("x")</script>'


async def _epics(world: World) -> None:
    for number, labels in enumerate((["growth-1"], ["growth-2"], ["infra"]), 1):
        world.site.create("SHOP", f"{HOSTILE} {number}", labels=labels)
    for number in (1, 2):
        await world.goal(f"KR-{number}")
    await world.no_grace()
    await world.connect_jira()
    await world.sync("jira", "full")


async def _rules(world: World, *names: str) -> None:
    for name in names:
        body: dict[str, Any] = {"name": name, "key_result": "KR-1", "when": {"label": ["growth*"]}}
        await world.send("POST", "/rules", body)


def _order(person: Person) -> Any:
    return person.page.locator("#rules tbody .what")


@pytest.mark.parametrize("person", ["desktop", "phone dark"], indirect=True)
async def test_the_preview_follows_what_is_typed_and_saving_says_the_run(
    world: World, person: Person
) -> None:
    await _epics(world)
    page = person.page
    await person.go("/rules")
    await page.get_by_role("link", name="Add a rule").first.click()
    await page.get_by_label("Name", exact=True).fill(HOSTILE + " rule")
    await page.get_by_label("Key result").fill("KR-1")
    await page.get_by_label("Values, with commas between them").fill("growth*")
    preview = page.locator("#preview")
    await expect(preview).to_contain_text("2 epics match, 2 would have other links")
    await page.get_by_role("button", name="Add a test").click()
    added = page.get_by_role("group", name="Test 2")
    await expect(added.get_by_label("What is asked")).to_be_focused()
    await added.get_by_label("What is asked").select_option("title")
    await added.get_by_label("Values, with commas between them").fill(" 2$")
    await expect(preview).to_contain_text("1 epic matches")
    await added.get_by_label("Is or is not").select_option("not")
    await expect(preview).to_contain_text("SHOP-1")
    await expect(preview).not_to_contain_text("SHOP-2")
    assert await person.faults() == []
    await page.get_by_role("button", name="Remove test 2").click()
    await expect(added).to_have_count(0)
    await expect(preview).to_contain_text("2 epics match")
    await page.get_by_role("button", name="Edit as JSON").click()
    await expect(page.get_by_label("The condition as JSON")).to_have_value(re.compile("growth"))
    await page.get_by_role("button", name="Save").click()
    await expect(page.locator("#said")).to_contain_text(f"Rule “{HOSTILE} rule” is saved.")
    await expect(page.locator("#said a")).to_have_text(re.compile("Run [0-9]+"))
    assert await person.faults() == []
    (rule,) = (await world.send("GET", "/rules"))["items"]
    assert rule["when"] == {"all": [{"label": ["growth*"]}]}


async def test_rules_are_dragged_and_moved_by_keys(world: World, person: Person) -> None:
    await _epics(world)
    await _rules(world, "A", "B", HOSTILE + "y" * 450)
    page = person.page
    await person.go("/rules")
    rows = page.locator("#rules tbody tr")
    await rows.nth(0).locator(".grip").drag_to(rows.nth(1), target_position={"x": 300, "y": 40})
    await expect(_order(person).nth(0)).to_have_text("B")
    await expect(page.locator("#said")).to_contain_text("Rule “A” is asked at place 2 of 3.")
    assert await person.faults() == []
    await rows.nth(2).locator(".grip").drag_to(rows.nth(0), target_position={"x": 300, "y": 4})
    await expect(_order(person).nth(1)).to_have_text("B")
    # Keys alone: a row's buttons, Alt with an arrow, and the number.
    await page.get_by_role("button", name="Up A").focus()
    await page.keyboard.press("Enter")
    await expect(_order(person).nth(1)).to_have_text("A")
    await expect(page.get_by_role("button", name="Up A")).to_be_focused()
    await page.keyboard.press("Alt+ArrowUp")
    await expect(_order(person).nth(0)).to_have_text("A")
    await page.get_by_label("Place of A").fill("3")
    await page.keyboard.press("Enter")
    await expect(_order(person).nth(2)).to_have_text("A")
    order = (await world.send("GET", "/rules?sort=order"))["items"]
    assert [rule["name"][:1] for rule in order] == ["<", "B", "A"]


@pytest.mark.parametrize("person", ["phone", "desktop dark"], indirect=True)
async def test_a_rule_is_moved_switched_and_deleted_by_buttons(world: World, person: Person) -> None:
    await _epics(world)
    await _rules(world, "A", HOSTILE + "y" * 450)
    page = person.page
    await person.go("/rules")
    assert await person.faults() == []
    await page.get_by_role("button", name="Down A").click()
    await expect(_order(person).nth(1)).to_have_text("A")
    await page.locator("#rules tbody tr").nth(1).hover()
    await page.get_by_role("button", name="Disable A").click()
    await expect(page.locator("#said")).to_contain_text("is disabled")
    await page.locator("#rules tbody tr").nth(1).hover()
    await page.get_by_role("link", name="Delete A").click()
    assert await person.faults() == []
    await page.get_by_role("button", name="Delete the rule").click()
    await expect(_order(person)).to_have_count(1)
