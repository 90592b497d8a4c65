"""Pages in a real browser: Debian's Chromium, driven by Playwright; Northing on a local port."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal

import httpx
import pytest
from axe_playwright_python.async_playwright import Axe
from fastapi import FastAPI
from playwright.async_api import Browser, Page, Route, async_playwright

from app.web.router import SESSION_COOKIE
from tests.support.pages import Visitor, served
from tests.support.world import ADMIN_TOKEN

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
# Without its sandbox, which root cannot have; it opens pages of ours alone. The rest is what Playwright gives
# it: nothing in the background, no window, a mouse.
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--remote-debugging-port=0",
    "--blink-settings=primaryHoverType=2,availableHoverTypes=2,primaryPointerType=4,availablePointerTypes=4",
    "--disable-back-forward-cache",
    "--disable-background-networking",
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-features=HttpsUpgrades,MediaRouter,OptimizationHints,PaintHolding,Translate",
    "--disable-gpu",
    "--disable-ipc-flooding-protection",
    "--disable-renderer-backgrounding",
    "--disable-sync",
    "--force-color-profile=srgb",
    "--hide-scrollbars",
    "--no-default-browser-check",
    "--no-first-run",
    "--password-store=basic",
)
SIZES = {"desktop": (1280, 800), "phone": (390, 844)}
Screen = Literal["desktop", "phone"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.stem.startswith("test_browser_"):
            item.add_marker(pytest.mark.browser)
            if CHROMIUM is None:
                item.add_marker(pytest.mark.skip(reason="no Chromium on this machine"))


@dataclass
class Person:
    """Somebody in front of a browser. `trouble`: what the browser complained about, and each request that
    would have left this machine."""

    page: Page
    address: str
    trouble: list[str] = field(default_factory=list)

    async def go(self, path: str) -> None:
        await self.page.goto(self.address + path)

    async def sign_in(self, token: str = ADMIN_TOKEN) -> None:
        """And to the overview. By the cookie alone: the form has tests of its own."""
        async with httpx.AsyncClient(base_url=self.address) as http:
            await Visitor(http).sign_in(token)
            value = http.cookies[SESSION_COOKIE]
        await self.page.context.add_cookies(
            [
                {
                    "name": SESSION_COOKIE,
                    "value": value,
                    "url": self.address,
                    "httpOnly": True,
                    "sameSite": "Lax",
                }
            ]
        )
        await self.go("/")

    async def faults(self) -> list[str]:
        """What axe finds that is serious, and what is wider than the screen."""
        found = (await Axe().run(self.page)).response["violations"]
        serious = [
            f"{one['id']}: {one['help']} ({one['nodes'][0]['html'][:200]})"
            for one in found
            if one["impact"] in ("serious", "critical")
        ]
        # Not `innerWidth`: on a phone that grows with what is too wide.
        assert self.page.viewport_size is not None
        right = await self.page.evaluate("document.documentElement.scrollWidth")
        wide = right - self.page.viewport_size["width"]
        return [*serious, *([f"the page is {wide} px wider than the screen"] if wide > 0 else [])]


@pytest.fixture
async def address(application: FastAPI) -> AsyncIterator[str]:
    """Of Northing, for a browser."""
    async with served(application) as url:
        yield url


@pytest.fixture(scope="session")
def chromium_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Of one Chromium for all tests of this process: to start it takes as long as a test."""
    assert CHROMIUM is not None
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}", "about:blank"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        announced = (re.search(r"DevTools listening on (ws://\S+)", line) for line in process.stderr)
        found = next((match for match in announced if match is not None), None)
        assert found is not None, "Chromium did not start"
        # What else it says is read, so that it never waits for that.
        reader = threading.Thread(target=list, args=(process.stderr,))
        reader.start()
        yield found[1]
        process.terminate()
        reader.join()


@pytest.fixture
async def chromium(chromium_address: str) -> AsyncIterator[Browser]:
    """What a test opens in it is its own, and closed at its end."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.connect_over_cdp(chromium_address)
        yield browser
        await browser.close()


@pytest.fixture
async def person(request: pytest.FixtureRequest, chromium: Browser, address: str) -> AsyncIterator[Person]:
    """Signed in with the admin token. Parametrised indirectly: `desktop` (if left out), `phone`, or one of
    them and `dark`. The test fails where the browser complained, or something would have been loaded from
    elsewhere."""
    words = str(getattr(request, "param", "desktop")).split()
    size = next((SIZES[word] for word in words if word in SIZES), SIZES["desktop"])
    options: dict[str, Any] = {"viewport": {"width": size[0], "height": size[1]}, "timezone_id": "UTC"}
    if "phone" in words:
        options |= {"has_touch": True, "is_mobile": True}
    context = await chromium.new_context(color_scheme="dark" if "dark" in words else "light", **options)
    context.set_default_timeout(15_000)
    somebody = Person(await context.new_page(), address)

    async def stay_here(route: Route) -> None:
        if route.request.url.startswith(address):
            await route.continue_()
        else:
            somebody.trouble.append(f"asked for {route.request.url}")
            await route.abort()

    await context.route("**/*", stay_here)
    somebody.page.on("pageerror", lambda error: somebody.trouble.append(f"script: {error}"))
    somebody.page.on(
        "console",
        lambda message: somebody.trouble.append(message.text) if message.type == "error" else None,
    )
    await somebody.sign_in()
    yield somebody
    await context.close()
    assert somebody.trouble == []
