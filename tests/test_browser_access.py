"""Signing in, tokens, the audit log and errors, in a browser."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fastapi import FastAPI
from playwright.async_api import Browser

from app.runtime import Runtime
from app.server.application import provider_sessions
from app.settings import load
from tests.support.browser import Person
from tests.support.clock import Clock
from tests.support.oidc_provider import CLIENT, ROLES, SECRET, an_openid_provider
from tests.support.world import World

HOSTILE = "<script>document.title='x'</script>"


@pytest.mark.parametrize("person", ["desktop", "phone dark"], indirect=True)
async def test_a_token_is_made_copied_and_deleted(person: Person, world: World) -> None:
    page = person.page
    await world.goal("KR-1", HOSTILE)
    await world.goal("KR-2", "x" * 500)
    await person.go("/tokens")
    await page.get_by_label("Name").fill(HOSTILE)
    await page.get_by_text("Editor", exact=True).click()
    await page.get_by_role("button", name="Make the token").click()
    made = page.get_by_label("The new token")
    assert (await made.input_value()).startswith("nt_")
    await page.get_by_role("button", name="Copy").click()
    await page.get_by_text("Copied").or_(page.get_by_text("Selected")).first.wait_for()
    assert await person.faults() == []
    await person.go("/tokens")
    await page.get_by_role("link", name="Delete token 1").click()
    await page.get_by_role("heading", name="Delete token 1").wait_for()
    assert await person.faults() == []
    await page.get_by_role("button", name="Delete token 1").click()
    await page.get_by_text("is deleted. Whoever used it").wait_for()
    await person.go("/audit-log?key=KR-2")
    await page.get_by_text("As it was made").first.click()
    assert await page.get_by_text("x" * 500).is_visible()
    assert await person.faults() == []
    await person.go("/audit-log")
    assert await page.get_by_text(HOSTILE).count() >= 2
    assert await page.title() == "Audit log · Northing"
    assert await person.faults() == []


async def test_by_keyboard_alone(person: Person) -> None:
    page = person.page
    await person.go("/tokens")
    await page.get_by_label("Name").focus()
    for key in ("c", "i", "Tab", "ArrowDown", "Tab", "Tab", "Tab", "Tab", "Tab", "Enter"):
        await page.keyboard.press(key)
    await page.wait_for_selector("#token")
    await page.wait_for_function("document.activeElement.id === 'token'")
    await page.get_by_role("rowheader", name="ci").wait_for()


@pytest.mark.parametrize("person", ["desktop", "phone dark"], indirect=True)
async def test_errors_have_the_way_on(person: Person) -> None:
    for path, words in (("/nowhere", "There is nothing here"), ("/epics/x/Y-1", "There is nothing here")):
        await person.go(path)
        assert await person.page.get_by_role("heading", name=words).is_visible()
        assert await person.faults() == []
    await person.page.get_by_role("link", name="All open epics").wait_for()
    await person.page.context.clear_cookies()
    await person.go("/login")
    await person.page.get_by_label("Token").fill("wrong")
    await person.page.keyboard.press("Enter")
    await person.page.get_by_text("No such token").wait_for()
    assert await person.page.title() == "1 error · Sign in · Northing"
    await person.page.wait_for_function("document.activeElement.id === 'token'")
    assert await person.faults() == []
    person.trouble.clear()  # the console names each answer of 4xx


async def test_a_browser_comes_back_from_a_provider_on_another_site(
    chromium: Browser, address: str, application: FastAPI, runtime: Runtime, clock: Clock
) -> None:
    """The cookies of a sign-in come along, and the policy lets the browser go there and back."""
    async with an_openid_provider(clock) as provider:
        provider.issuer = provider.issuer.replace("127.0.0.1", "localhost")
        provider.person["groups"] = ["northing:admins"]
        openid = load(
            _env_file=None,
            oidc_issuer=provider.issuer,
            oidc_client_id=CLIENT,
            oidc_client_secret=SECRET,
            oidc_roles=",".join(f"{group}:{role}" for group, role in ROLES.items()),
        )
        names = ("oidc_issuer", "oidc_client_id", "oidc_client_secret", "oidc_roles")
        changes = {name: getattr(openid, name) for name in names} | {"public_url": address}
        application.state.runtime = replace(runtime, settings=runtime.settings.model_copy(update=changes))
        application.state.provider_sessions = provider_sessions(application.state.runtime)
        page = await chromium.new_page()
        complaints: list[str] = []
        page.on(
            "console",
            # A browser looks for an icon at the root of the host, whatever the page names.
            lambda message: (
                None if message.location["url"].endswith(".ico") else complaints.append(message.text)
            ),
        )
        await page.goto(f"{address}/audit-log?key=KR-1")
        await page.get_by_role("link", name="Go on with localhost").click()
        await page.wait_for_url(f"{address}/audit-log?key=KR-1")
        await page.get_by_text("Ada Lovelace").click()
        await page.get_by_role("button", name="Sign out").click()
        await page.wait_for_url(f"{address}/login")
        assert complaints == []
        await page.close()
