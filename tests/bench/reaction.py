"""How long it takes from an edit on a ticket until the tracker has Northing's comment on it.

The simulated trackers run in this process, which so sees the moment a write arrives; Northing serves in its
own. On an idle machine: the next edit comes when nothing of the one before is left to do.
"""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from statistics import median, quantiles
from time import perf_counter
from typing import Any

import psycopg
from starlette.types import ASGIApp, Receive, Scope, Send

from connectors.sandbox.company.bulk import add_epics, add_issues
from connectors.sandbox.github.host import GitHubHost
from connectors.sandbox.github.tracker import GitHubTracker
from connectors.sandbox.jira.site import JiraSite
from connectors.sandbox.jira.tracker import JiraTracker
from connectors.sandbox.server import serve
from connectors.sandbox.tracker import Tracker as Sandbox
from tests.bench.bare import PROJECT
from tests.bench.load import Line as Connection, request
from tests.bench.northing import REPOSITORY, SECRET, northing, serving
from tests.bench.report import Line, Report
from tests.bench.servers import Databases, Tracker

EPICS = 20
NUMBER = 2  # of the ticket that is edited: it is open and names no key result
LABEL, OTHERS = "kr:KR-1", ["epic", "area-1"]
PATIENCE = 30  # seconds for one comment
POLL_SECONDS = 0.02
# Between two edits in one tracker. Its times have whole seconds: the same edit twice within one has the same
# body, which counts as a repeat and waits a minute. And no person's edit follows our own comment at once.
PAUSE_SECONDS = 0.6
MOST_BEYOND = 0.150  # seconds of the median beyond the tracker's own round trips
_WRITE = re.compile(r"(POST|PUT|PATCH) .*/comments?(/\d+)?")
_LEFT = """
    SELECT EXISTS (SELECT FROM deliveries WHERE due_at IS NOT NULL)
        OR EXISTS (SELECT FROM runs WHERE finished_at IS NULL)
        OR EXISTS (SELECT FROM notices WHERE target IS NOT NULL OR claimed_by IS NOT NULL)
        OR EXISTS (SELECT FROM procrastinate_jobs)
"""


@dataclass
class _Tracker:
    """A tracker, how to edit the ticket on it, and how to ask for the ticket bare."""

    name: str
    sandbox: Sandbox
    edit: Callable[[list[str]], object]
    path: str
    headers: list[tuple[str, str]]
    account: Callable[[str], Tracker]
    url: str = ""
    arrived: asyncio.Event = field(default_factory=asyncio.Event)
    at: float = 0.0
    answered: int = 0
    trips: list[float] = field(default_factory=list)
    took: list[float] = field(default_factory=list)
    requests: list[int] = field(default_factory=list)
    before_write: list[int] = field(default_factory=list)  # requests that were answered before it arrived

    def watched(self, app: ASGIApp) -> ASGIApp:
        """The tracker's application, which notes when a comment is written."""

        async def watch(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http" and _WRITE.fullmatch(f"{scope['method']} {scope['path']}"):
                self.at = perf_counter()
                self.answered = self.sandbox.log.count()
                self.arrived.set()
            await app(scope, receive, send)

        return watch


def measure(report: Report, runner: asyncio.Runner, databases: Databases, edits: int) -> None:
    """So many edits, in turn on both trackers; each adds or removes the label of a key result."""
    with databases.fresh("reaction") as database:
        drivers = runner.run(_measure(report, database, edits))
    report.section(f"From an edit on a ticket until the tracker has our comment: {edits} times")
    for driver in drivers:
        took, trip = driver.took, median(driver.trips)
        last = quantiles(took, n=20, method="inclusive")[-1]
        report.add(Line(f"{driver.name}: one GET of the ticket", f"{trip * 1000:.2f} ms"))
        report.add(Line(f"{driver.name}: median", _in_words(median(took), trip)))
        beyond = median(took) - median(driver.before_write) * trip
        report.add(
            Line(
                f"{driver.name}: median beyond the tracker's own round trips",
                f"{beyond * 1000:.0f} ms",
                f"at most {MOST_BEYOND * 1000:g} ms",
                beyond <= MOST_BEYOND,
            )
        )
        report.add(Line(f"{driver.name}: 95th percentile", _in_words(last, trip)))
        calls = f"{median(driver.requests):.0f}"
        report.add(Line(f"{driver.name}: requests to the tracker for one comment", calls))


def _in_words(seconds: float, trip: float) -> str:
    return f"{seconds * 1000:.0f} ms, {seconds / trip:,.0f} round trips"


async def _measure(report: Report, database: str, edits: int) -> list[_Tracker]:
    drivers = [_jira(), _github()]
    async with AsyncExitStack() as stack:
        for driver in drivers:
            driver.url = await stack.enter_async_context(serve(driver.sandbox, through=driver.watched))
        await _set_up(database, [driver.account(driver.url) for driver in drivers])
        ours = await stack.enter_async_context(_serving(database))
        rows = await stack.enter_async_context(
            await psycopg.AsyncConnection.connect(database, autocommit=True, connect_timeout=10)
        )
        lines = []
        for driver in drivers:
            driver.sandbox.webhook_sender.set(f"{ours}/webhooks/{driver.name}", SECRET)
            lines.append(await Connection.to(driver.url))
            stack.push_async_callback(lines[-1].close)
        for number in range(edits):
            if number % 25 == 0:
                report.progress(f"webhook to comment, edit {number + 1} of {edits}")
            driver, line = drivers[number % 2], lines[number % 2]
            await _all_arrived(drivers, rows)
            driver.trips.append(await line.ask(request("GET", driver.url + driver.path, driver.headers)))
            await asyncio.sleep(max(0.0, driver.at + PAUSE_SECONDS - perf_counter()))
            await _time(driver, OTHERS if len(driver.took) % 2 else [*OTHERS, LABEL])
        await _all_arrived(drivers, rows)
    return drivers


@asynccontextmanager
async def _serving(database: str) -> AsyncIterator[str]:
    """Started and stopped in a thread, for the trackers of this process have to answer meanwhile."""
    server = serving(database, worker=True)
    url = await asyncio.to_thread(server.__enter__)
    try:
        yield url
    finally:
        await asyncio.to_thread(server.__exit__, None, None, None)


async def _time(driver: _Tracker, labels: list[str]) -> None:
    driver.arrived.clear()
    before = driver.sandbox.log.count()
    start = perf_counter()
    driver.edit(labels)
    async with asyncio.timeout(PATIENCE):
        await driver.arrived.wait()
    driver.took.append(driver.at - start)
    driver.requests.append(driver.sandbox.log.count() - before)
    driver.before_write.append(driver.answered - before)


async def _all_arrived(drivers: list[_Tracker], rows: psycopg.AsyncConnection[Any]) -> None:
    """Until the trackers have told all, our own echo among it, and Northing has nothing left to do."""
    async with asyncio.timeout(PATIENCE):
        while True:
            for driver in drivers:
                await driver.sandbox.webhook_sender.idle()
            if await (await rows.execute(_LEFT)).fetchone() == (False,):
                return
            await asyncio.sleep(POLL_SECONDS)


async def _set_up(database: str, trackers: list[Tracker]) -> None:
    """Both sources read and evaluated, and a comment on the ticket that is to be edited."""
    async with northing(database) as instance:
        await instance.set_up_goals()
        await instance.send("PATCH", "/policy", {"since": None, "grace": "PT0S"})
        for tracker in trackers:
            notices = {"mode": "live", "per_run": 10_000, "per_day": 10_000, "max_share": 1}
            await instance.connect(tracker.kind, tracker, webhook_secret=SECRET, notices=notices)
            await instance.sync("full", tracker.kind)


def _jira() -> _Tracker:
    site = JiraSite()
    add_epics(site, PROJECT, EPICS)
    basic = base64.b64encode(f"{site.bot.email}:{site.bot.token}".encode()).decode()
    return _Tracker(
        "jira",
        JiraTracker(site),
        lambda labels: site.edit(f"{PROJECT}-{NUMBER}", labels=labels),
        f"/rest/api/3/issue/{PROJECT}-{NUMBER}",
        [("Authorization", f"Basic {basic}"), ("Accept", "application/json")],
        lambda url: Tracker(url, site.bot.token, EPICS, site.bot.email, "jira"),
    )


def _github() -> _Tracker:
    host = GitHubHost()
    add_issues(host, REPOSITORY, EPICS)
    return _Tracker(
        "github",
        GitHubTracker(host),
        lambda labels: host.edit(f"{REPOSITORY}#{NUMBER}", labels=labels),
        f"/repos/{REPOSITORY}/issues/{NUMBER}",
        [("Authorization", f"Bearer {host.bot.token}"), ("User-Agent", "bench")],
        lambda url: Tracker(url, host.bot.token, EPICS, kind="github"),
    )
