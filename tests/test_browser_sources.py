"""Sources in a browser: from the address of a tracker to the shadow report, and on to one live project."""

from __future__ import annotations

import pytest

from tests.support.browser import Person
from tests.support.pages import forms_of
from tests.support.world import World

HOSTILE = '<script>alert("x")</script> & co'
LONG = "wide" * 125
RIGHT_TO_LEFT = "تقليل خطوات الدفع"


async def works(person: Person, world: World, source: str) -> None:
    """The rest of the story, once the source is made: its first sync is followed to the report."""
    await person.page.wait_for_url(f"**/sources/new?source={source}")
    await person.page.get_by_text("waiting its turn").wait_for()
    assert await person.faults() == []
    await world.drain()
    # The page reads itself again.
    await person.page.get_by_text("word by word.").wait_for()
    assert await person.page.get_by_text("3 epics: 3 unaligned.").is_visible()
    assert await person.page.get_by_text("Which key result does this epic serve?").count() == 2
    assert await person.faults() == []


@pytest.mark.parametrize("person", ["desktop"], indirect=True)
async def test_jira_from_its_address_to_the_report_and_one_project_live(person: Person, world: World) -> None:
    world.site.add_project("CORE", "Core systems")
    for title in (HOSTILE, LONG):
        world.site.create("SHOP", title)
    world.site.create("CORE", RIGHT_TO_LEFT)
    await world.no_grace()
    page = person.page
    await person.go("/sources")
    await page.get_by_role("link", name="Connect a tracker").click()
    await page.get_by_label("Address of Jira or GitHub").fill(f"{world.jira_url}/browse/SHOP-1")
    await page.get_by_role("button", name="Look").click()
    assert await page.get_by_label("E-mail address of the account").evaluate(
        "e => e === document.activeElement"
    )
    await page.get_by_label("E-mail address of the account").fill(world.site.bot.email)
    await page.get_by_label("Token", exact=True).fill(world.site.bot.token)
    assert await person.faults() == []
    await page.get_by_role("button", name="Sign in", exact=True).click()
    assert await page.get_by_label("SHOP Shop").is_checked()  # the page that was pasted is of it
    await page.get_by_label("CORE Core systems").check()
    await page.get_by_label("Name of the source").fill("acme-jira")
    assert await person.faults() == []
    await page.get_by_role("button", name="Check the rights there").click()
    await page.get_by_text("Nothing is missing.").wait_for()
    assert await person.faults() == []
    assert world.site.bot.token not in await page.content()
    await page.get_by_role("button", name="Make acme-jira").click()
    await works(person, world, "acme-jira")
    await page.get_by_role("button", name="Make a secret").click()
    secret = await page.get_by_label("Secret", exact=True).input_value()
    assert len(secret) > 40
    await page.get_by_role("button", name=f"Copy {secret}").click()
    await page.get_by_role("link", name="Go live, project by project").click()
    await page.locator("tr", has_text="SHOP").get_by_role("link", name="Go live").click()
    await page.wait_for_url("**/sources/acme-jira?live=SHOP#live")
    await page.get_by_text("2 comments are prepared in SHOP").wait_for()
    assert await person.faults() == []
    await page.get_by_role("button", name="Set SHOP live").click()
    await page.get_by_text("SHOP is live.").wait_for()
    await takes_back(person, world)


async def takes_back(person: Person, world: World) -> None:
    """From a source's page to the run that went live, and its comments back."""
    page = person.page
    await world.drain()
    await page.reload()
    await page.get_by_role("table").last.get_by_text("2 posted").wait_for()
    await page.get_by_role("table").last.get_by_role("link", name="2").click()
    await page.wait_for_url("**/runs/2")
    await page.get_by_text("2 comments of this run are on tickets.").wait_for()
    assert await person.faults() == []
    await page.get_by_role("button", name="Reduce 2 to one line").click()
    await page.wait_for_url("**/runs/3")
    await world.drain()
    await page.get_by_text("2 withdrawn").wait_for()


@pytest.mark.parametrize("person", ["phone dark"], indirect=True)
async def test_github_on_a_phone_by_touch_with_a_wrong_token_first(person: Person, world: World) -> None:
    for title in (HOSTILE, LONG, RIGHT_TO_LEFT):
        world.host.create("acme/shop", title, labels=["epic"])
    page = person.page
    await person.go("/sources/new")
    await page.get_by_label("Address of Jira or GitHub").fill(f"{world.github_url}/acme/shop/issues/1")
    await page.get_by_role("button", name="Look").tap()
    await page.get_by_label("Token", exact=True).fill("a-wrong-token")
    await page.get_by_role("button", name="Sign in", exact=True).tap()
    await page.get_by_text("GitHub does not accept the token.").wait_for()
    person.trouble.clear()  # the browser notes that the answer was 422
    assert (await page.title()).startswith("1 fault")
    assert await page.get_by_label("Token", exact=True).evaluate("e => e === document.activeElement")
    assert await person.faults() == []
    await page.get_by_label("Token", exact=True).fill(world.host.bot.token)
    await page.get_by_role("button", name="Sign in", exact=True).tap()
    assert await page.get_by_label("acme/shop").is_checked()
    await page.get_by_role("button", name="Check the rights there").tap()
    await page.get_by_role("button", name="Make acme-github").tap()
    await works(person, world, "acme-github")
    await person.go("/sources")
    assert await person.faults() == []
    await page.get_by_role("link", name="acme-github", exact=True).tap()
    await page.wait_for_url("**/sources/acme-github")
    assert await person.faults() == []


@pytest.mark.parametrize("person", ["desktop dark"], indirect=True)
async def test_by_keyboard_alone(person: Person, world: World) -> None:
    for title in (HOSTILE, LONG, RIGHT_TO_LEFT):
        world.site.create("SHOP", title)
    page, keys = person.page, person.page.keyboard
    await person.go("/sources/new")
    await page.wait_for_selector("#f-address:focus")
    await keys.type(f"{world.jira_url}/browse/SHOP-1")
    await keys.press("Enter")
    await page.wait_for_selector("#f-email:focus")
    await keys.type(world.site.bot.email)
    await keys.press("Tab")
    await keys.type(world.site.bot.token)
    await keys.press("Enter")
    await page.wait_for_selector("[name=project]:focus")
    await keys.press("Enter")  # the project of the page is chosen, and the name is given
    await page.wait_for_selector("[value=make]:focus")
    await keys.press("Enter")
    await works(person, world, "jira")
    assert await person.faults() == []


@pytest.mark.parametrize("person", ["desktop"], indirect=True)
async def test_what_is_waited_for_is_said_and_sent_once(person: Person, world: World) -> None:
    page = person.page
    await person.go("/sources/new")
    (form,) = [one for one in forms_of(await page.content()) if ("do", "where") in one.buttons]
    assert form.fields["carried"]
    await page.get_by_label("Address of Jira or GitHub").fill(world.jira_url)
    # So that the page stays while it waits.
    await page.evaluate("addEventListener('submit', event => event.preventDefault())")
    await page.get_by_role("button", name="Look").click()
    await page.get_by_text(
        "Waiting for the tracker: 30 seconds at most. Nothing is stored meanwhile."
    ).wait_for()
    assert await page.get_by_role("button", name="Look").is_disabled()
