"""Runs the demo: starts every part, shows what Northing does, and stops every part again."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TextIO

from cryptography.fernet import Fernet

from app import logs
from app.demo.output import (
    console_for_demo,
    print_addresses,
    print_comment,
    print_comments,
    print_coverage,
    print_findings,
    print_heading,
    print_held,
    print_projects,
    print_review,
)
from app.demo_company.client import POLL_SECONDS, WAIT_SECONDS, Api, DemoFailed
from app.demo_company.committee import steer
from app.demo_company.company import (
    SOURCES,
    Maker,
    SyncButtons,
    Trackers,
    epic_titled,
    first_syncs,
    go_live_everywhere,
    remaining_answers,
    set_up,
    trackers_running,
    webhook_url_of,
)
from app.demo_company.ticket import github_person, jira_person
from app.server.connections import ConnectionLimits, connection_limits
from app.server.server import (
    CannotListen,
    RunningServer,
    embedded_server,
    open_listener,
    run_server,
    run_until_exit,
)
from app.server.signals import CommandFailed
from app.settings import Settings, load
from connectors.sandbox.company.answers import DISPUTED, LINKED

if TYPE_CHECKING:
    import socket
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
    from pathlib import Path

    from rich.console import Console

    from connectors.sandbox.company.answers import Answer

HOST = "127.0.0.1"
LOG_BYTES = 10_000_000


def demo_settings() -> Settings:
    """The settings in force, without those of a real installation: database, keys and addresses."""
    return load(
        database_url=None,
        listen_url=None,
        admin_token=None,
        secret_key=Fernet.generate_key().decode(),
        host=HOST,
        public_url="",
        log_format="json",
    )


async def run_demo(settings: Settings, *, exit_after: bool) -> int:
    """`northing demo`. Leaves no process and no database behind, however it ends. Raises `CommandFailed`."""
    try:
        return await _demo(settings, exit_after=exit_after)
    except DemoFailed as error:
        raise CommandFailed(str(error)) from None


async def _demo(settings: Settings, *, exit_after: bool) -> int:
    console = console_for_demo()
    buttons = SyncButtons()
    limits = connection_limits()
    with closing(_next_free(settings.port)) as listener:
        async with (
            _running(settings, listener, console, limits) as northing,
            trackers_running(buttons) as trackers,
            _api_of(northing) as api,
        ):
            buttons.api = api
            linked = await run_until_exit(northing.tasks, _tell_story(console, api, trackers))
            if exit_after:
                return 0
            _print_addresses(console, northing, trackers, linked, settings)
            await run_until_exit(northing.tasks, asyncio.Event().wait())
    return 0


# --- starting --------------------------------------------------------------------------------------


def _next_free(port: int) -> socket.socket:
    for candidate in range(port, min(port + 100, 65536)):
        try:
            return open_listener(HOST, candidate)
        except CannotListen:
            continue
    return open_listener(HOST, 0)


@asynccontextmanager
async def _running(
    settings: Settings, listener: socket.socket, console: Console, limits: ConnectionLimits
) -> AsyncIterator[RunningServer]:
    """Northing on a new database. Its name holds the port, so no other running demo uses the same one."""
    name = f"northing_demo_{listener.getsockname()[1]}"
    with console.status("Starting PostgreSQL and Northing …") as waiting:
        async with embedded_server(settings) as server:
            with _log_file(settings.data_dir).open("a", encoding="utf-8") as file:
                if file.tell() > LOG_BYTES:
                    file.truncate(0)
                _log_to(file)
                await asyncio.to_thread(server.create_temporary_database, name)
                try:
                    async with run_server(settings, server.url(name), listener, limits=limits) as northing:
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
async def _api_of(northing: RunningServer) -> AsyncIterator[Api]:
    assert northing.made_token is not None, "a new database has no admin token yet"
    api = Api(northing.url, northing.made_token)
    try:
        yield api
    finally:
        await api.aclose()


# --- the story -------------------------------------------------------------------------------------


async def _tell_story(console: Console, api: Api, trackers: Trackers) -> str:
    """Print the whole story; gives the address of the ticket that is linked in it."""
    maker, now = Maker(api), datetime.now(UTC)
    counts = await set_up(maker, trackers, now, webhook_url_of)
    known = ", ".join(f"{count} {name}" for name, count in counts.items())
    console.print(f"Northing knows {known}, and two trackers: {' and '.join(SOURCES)}.")
    with console.status("Syncing both …"):
        runs = await first_syncs(maker)
    epics = [epic for source in SOURCES for epic in await api.every("epics", source=source)]
    notices = [
        notice for source in SOURCES for notice in await api.every("notices", source=source, state="posted")
    ]
    print_heading(console, f"{sum(run['seen'] for run in runs)} epics seen")
    print_projects(console, epics)
    print_heading(console, f"{len(notices)} comments posted, one on each ticket without a live key result")
    print_comments(console, notices, epics)
    print_held(console, await go_live_everywhere(maker))
    linked = await _link_in_jira(console, api, trackers)
    await _dispute_in_github(console, api, trackers)
    await remaining_answers(maker, trackers, now)
    for state in ("disputed", "waived", "snoozed"):
        print_findings(console, await api.every("findings", state=state))
    with console.status("Its committee holds a review …"):
        held = await steer(maker, now)
    print_review(console, held.review, held.decisions)
    print_coverage(console, await api.get("reports/coverage"))
    return linked


async def _link_in_jira(console: Console, api: Api, trackers: Trackers) -> str:
    """A person answers with a line as the comment shows it; the warning becomes one line of thanks."""
    ticket = await epic_titled(api, LINKED.source, LINKED.title)
    account = trackers.jira.account(LINKED.person)
    _print_answer(console, LINKED, ticket["key"], "Jira")
    async with jira_person(trackers.jira_url, account.email, account.token) as person:
        read = partial(person.comments_of, ticket["key"], trackers.jira.bot.account_id)
        await _show_answer(console, ticket["key"], read, person.say(ticket["key"], LINKED.command))
    return str(ticket["url"])


async def _dispute_in_github(console: Console, api: Api, trackers: Trackers) -> None:
    """Another says that the work needs no key result; nothing more is said until an editor decides."""
    ticket = await epic_titled(api, DISPUTED.source, DISPUTED.title)
    _print_answer(console, DISPUTED, ticket["key"], "GitHub")
    token = trackers.github.account(DISPUTED.person).token
    async with github_person(trackers.github_url, token) as person:
        read = partial(person.comments_of, ticket["key"], trackers.github.bot.login)
        await _show_answer(console, ticket["key"], read, person.say(ticket["key"], DISPUTED.command))


def _print_answer(console: Console, answer: Answer, key: str, tracker: str) -> None:
    print_heading(console, f"Now {answer.person} comments “{answer.command}” on {key} in {tracker}")


async def _show_answer(
    console: Console, key: str, read: Callable[[], Awaitable[list[str]]], change: Coroutine[Any, Any, None]
) -> None:
    """Show our comment before the change, and after the webhook of the change has led to another text."""
    before = await read()
    await change
    began = time.monotonic()
    after = before
    while after == before:
        if time.monotonic() - began > WAIT_SECONDS:
            raise DemoFailed(f"The comment on {key} did not change within {WAIT_SECONDS} s")
        await asyncio.sleep(POLL_SECONDS)
        after = await read()
    seconds = time.monotonic() - began
    if len(before) != 1 or len(after) != 1:
        raise DemoFailed(f"{key} has {len(before)} comments of Northing's, then {len(after)}, not one")
    print_comment(console, f"The comment on {key} before", before[0])
    print_comment(console, f"The same comment {seconds:.1f} s later", after[0])


def _print_addresses(
    console: Console, northing: RunningServer, trackers: Trackers, linked: str, settings: Settings
) -> None:
    print_heading(console, "Look around")
    print_addresses(
        console,
        [
            ("the overview", f"{northing.url}/"),
            ("sign in with", northing.made_token or ""),
            ("that ticket", linked),
            ("Jira, simulated", f"{trackers.jira_url}/"),
            ("GitHub, simulated", f"{trackers.github_url}/"),
            ("Northing's API", f"{northing.url}/docs"),
            ("its log", str(_log_file(settings.data_dir))),
        ],
    )
    console.print(
        "\nThat token is an admin's, and of the API too. Edit a warned ticket, label it or comment\n"
        "“/northing help”; our comment answers. The trend over days begins today.\n"
        "\nCtrl-C ends the demo and leaves nothing running."
    )
