"""`make screenshots`: the pictures of the README, taken of the running demo by Chromium.

It starts `northing demo`, signs in, and writes the overview, a ticket with our comment and the page behind
"Why?" to `docs/`: light, 1,280 pixels wide, cut off below what matters. Only times and ports differ from one
run to the next.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from playwright.async_api import Browser, Locator, Page, async_playwright

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
WIDTH = 1280
BYTES_AT_MOST = 200_000
STARTED_WITHIN = 600  # seconds, on a machine that has other work
ADDRESS = re.compile(r"^  (\S.*?)  +(\S+)$")
TICKET = "Order service in smaller pieces"


async def take_all(folder: Path) -> None:
    """Raises `SystemExit` with a sentence where a picture cannot be taken."""
    with tempfile.TemporaryDirectory(prefix="northing-screenshots-") as data:
        Path(data).chmod(0o755)  # as root, PostgreSQL runs as another user
        demo = await asyncio.create_subprocess_exec(
            Path(sys.executable).with_name("northing"),
            "demo",
            cwd=ROOT,
            stdout=asyncio.subprocess.PIPE,
            env={**os.environ, "NORTHING_DATA_DIR": data, "NORTHING_PORT": "0", "PYTHONUNBUFFERED": "1"},
        )
        try:
            async with asyncio.timeout(STARTED_WITHIN):
                places = await _places(demo)
            async with async_playwright() as playwright:
                # Without its sandbox, which root cannot have; it opens pages of ours alone.
                browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
                await _take(browser, places, folder)
                await browser.close()
        finally:
            demo.send_signal(signal.SIGINT)
            await demo.communicate()


async def _places(demo: asyncio.subprocess.Process) -> dict[str, str]:
    """The addresses that the demo prints at its end, by what it calls them."""
    assert demo.stdout is not None
    places: dict[str, str] = {}
    async for line in demo.stdout:
        text = line.decode().rstrip("\n")
        found = ADDRESS.match(text)
        if found:
            places[found[1]] = found[2]
        if text.startswith("Ctrl-C"):
            return places
    raise SystemExit("The demo ended before it was ready; `make demo` says why.")


async def _take(browser: Browser, places: dict[str, str], folder: Path) -> None:
    context = await browser.new_context(
        viewport={"width": WIDTH, "height": 900},
        color_scheme="light",
        reduced_motion="reduce",
        timezone_id="UTC",
    )
    page = await context.new_page()
    northing = places["the overview"].rstrip("/")
    await page.goto(f"{northing}/login")
    await page.get_by_label("Token").fill(places["sign in with"])
    await page.get_by_role("button", name="Sign in with the token").click()
    await page.wait_for_url(f"{northing}/")
    await _picture(page, folder / "overview.png", page.locator("main"))

    await page.goto(places["Jira, simulated"])
    await page.get_by_role("link", name=TICKET).first.click()
    await page.get_by_text("Which key result does this epic serve?").wait_for()
    link = page.get_by_role("link", name="Why?")
    why = await link.get_attribute("href")
    await _picture(page, folder / "ticket.png", link, margin=32)
    # The demo's addresses name the port of its settings, and it may listen on another one.
    await page.goto(f"{northing}/why/{(why or '').rpartition('/why/')[2]}")
    await _picture(page, folder / "why.png", page.locator("main"))
    await context.close()


async def _picture(page: Page, file: Path, last: Locator, *, margin: int = 0) -> None:
    """The page from its top to the end of the element `last` and `margin` pixels more; a square at most."""
    box = await last.first.bounding_box()
    assert box is not None
    height = min(max(box["y"] + box["height"] + margin, WIDTH / 3), WIDTH)
    await page.evaluate("document.fonts.ready")
    await page.screenshot(
        path=file,
        full_page=True,
        clip={"x": 0, "y": 0, "width": WIDTH, "height": height},
        animations="disabled",
    )
    size = file.stat().st_size
    if size > BYTES_AT_MOST:
        raise SystemExit(f"{file.name} has {size:,} bytes; {BYTES_AT_MOST:,} are the most.")
    sys.stdout.write(f"{file.name}: {size:,} bytes\n")


def main() -> None:
    if CHROMIUM is None:
        raise SystemExit("There is no Chromium on this machine: install Debian's package `chromium`.")
    asyncio.run(take_all(Path(sys.argv[1]) if len(sys.argv) > 1 else DOCS))


main()
