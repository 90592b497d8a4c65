"""The demo from its first process to its last: everything is started here, shown, and taken down again."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import TextIO

from cryptography.fernet import Fernet
from rich.console import Console

from app import logs
from app.demo import account
from app.demo.company import SOURCES, Buttons, Trackers, introduce, open_for_business
from app.demo.northing import Api, Json, StoryFailed
from app.demo.ticket import tickets_at
from app.server import CannotListen, Northing, attend, embedded, listen, running
from app.settings import Settings, load
from connectors.sandbox.company import JIRA_SOURCE

HOST = "127.0.0.1"
PERSON = "dev-lead"
PROJECT, KEY_RESULT = "SHOP", "KR-1"  # whose ticket the person mends, and with which key result


def demo_settings() -> Settings:
    """The settings in force, but for what belongs to a real installation: database, keys and addresses."""
    return load(
        database_url=None,
        listen_url=None,
        admin_token=None,
        secret_key=Fernet.generate_key().decode(),
        host=HOST,
        public_url="",
        log_format="json",
    )


async def perform(settings: Settings, *, exit_after: bool) -> int:
    """`northing demo`. Leaves no process and no database behind, however it ends."""
    console = account.console_for_demo()
    buttons = Buttons()
    with closing(_next_free(settings.port)) as listener:
        async with (
            _running(settings, listener, console) as northing,
            open_for_business(buttons) as trackers,
            _api_of(northing) as api,
        ):
            buttons.api = api
            mended = await attend(northing.parts, _tell(console, api, trackers))
            if exit_after:
                return 0
            _where_to_look(console, northing, trackers, mended, settings)
            await attend(northing.parts, asyncio.Event().wait())
    return 0


# --- starting --------------------------------------------------------------------------------------


def _next_free(port: int) -> socket.socket:
    for candidate in range(port, min(port + 100, 65536)):
        try:
            return listen(HOST, candidate)
        except CannotListen:
            continue
    return listen(HOST, 0)


@asynccontextmanager
async def _running(settings: Settings, listener: socket.socket, console: Console) -> AsyncIterator[Northing]:
    """Northing on a database made anew. The port is in its name: no other demo alive has the same."""
    name = f"northing_demo_{listener.getsockname()[1]}"
    with console.status("Starting PostgreSQL and Northing …") as waiting:
        async with embedded(settings) as server:
            with _log_file(settings.data_dir).open("a", encoding="utf-8") as file:
                _log_to(file)
                await asyncio.to_thread(server.drop_database, name)
                await asyncio.to_thread(server.create_database, name)
                try:
                    async with running(settings, server.url(name), listener) as northing:
                        waiting.stop()
                        yield northing
                finally:
                    await asyncio.to_thread(server.drop_database, name)


def _log_file(data_dir: Path) -> Path:
    return data_dir / "demo.log"


def _log_to(file: TextIO) -> None:
    logs.configure("json")
    for handler in logging.getLogger().handlers:
        assert isinstance(handler, logging.StreamHandler)
        handler.setStream(file)


@asynccontextmanager
async def _api_of(northing: Northing) -> AsyncIterator[Api]:
    assert northing.made_token is not None, "a new database has no admin token yet"
    api = Api(northing.url, northing.made_token)
    try:
        yield api
    finally:
        await api.aclose()


# --- the story -------------------------------------------------------------------------------------


async def _tell(console: Console, api: Api, trackers: Trackers) -> str:
    """The whole account; the address of the ticket that was mended in it."""
    told = await introduce(api, trackers, datetime.now(UTC))
    known = ", ".join(f"{count} {name}" for name, count in told.items())
    console.print(f"Northing was told {known}, and two trackers: {' and '.join(SOURCES)}.")
    with console.status("Syncing both …"):
        runs = await asyncio.gather(*(api.sync(source, "full") for source in SOURCES))
    epics = [epic for source in SOURCES for epic in await api.every("epics", source=source)]
    notices = [
        notice for source in SOURCES for notice in await api.every("notices", source=source, state="posted")
    ]
    account.heading(console, f"{sum(run['seen'] for run in runs)} epics seen")
    account.by_project(console, epics)
    account.heading(console, f"{len(notices)} comments posted, one on each ticket without a tie to a goal")
    account.comments(console, notices, epics)
    return await _mend_one(console, api, trackers, notices)


async def _mend_one(console: Console, api: Api, trackers: Trackers, notices: list[Json]) -> str:
    """A person ties one ticket to a key result in Jira; its warning becomes one line of thanks."""
    warned = [notice["epic"]["key"] for notice in notices if notice["epic"]["source"] == JIRA_SOURCE]
    epics = await api.every("epics", source=JIRA_SOURCE, project=PROJECT, alignment="unaligned")
    fitting = [epic for epic in epics if epic["key"] in warned and not epic["links"]]
    if not fitting:
        raise StoryFailed(f"No ticket of {PROJECT} was warned")
    key, url = fitting[-1]["key"], fitting[-1]["url"]
    person, bot = trackers.jira.account(PERSON), trackers.jira.bot
    line = f"Key-Result: {KEY_RESULT}"
    account.heading(console, f"Now {PERSON} adds “{line}” to the description of {key} in Jira")
    async with tickets_at(trackers.jira_url, person.email, person.token) as tickets:
        before = await tickets.comments_of(key, bot.account_id)
        await tickets.add_line(key, line)
        await api.sync(JIRA_SOURCE)
        after = await tickets.comments_of(key, bot.account_id)
    if len(before) != 1 or len(after) != 1:
        raise StoryFailed(f"{key} has {len(before)} comments of Northing's, then {len(after)}, not one")
    account.comment(console, f"The comment on {key} before", before[0])
    account.comment(console, "The same comment after the next sync", after[0])
    return str(url)


def _where_to_look(
    console: Console, northing: Northing, trackers: Trackers, mended: str, settings: Settings
) -> None:
    account.heading(console, "Look around: open a ticket, edit it, press “Sync now”, read the comment")
    account.addresses(
        console,
        [
            ("that ticket", mended),
            ("Jira, simulated", f"{trackers.jira_url}/"),
            ("GitHub, simulated", f"{trackers.github_url}/"),
            ("Northing's API", f"{northing.url}/docs"),
            ("its admin token", northing.made_token or ""),
            ("its log", str(_log_file(settings.data_dir))),
        ],
    )
    console.print("\nCtrl-C ends the demo and leaves nothing running.")
