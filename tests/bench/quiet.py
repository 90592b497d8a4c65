"""What many projects cost a tracker: a sync that finds nothing new, and the first one, side by side."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from connectors.sandbox.jira.site import JiraSite
from connectors.sandbox.jira.tracker import JiraTracker
from connectors.sandbox.server import serve
from tests.bench.northing import SOURCE, Synced, northing
from tests.bench.report import Line, Report
from tests.bench.servers import Databases, Tracker

PROJECTS = 200
LATENCY = 0.03  # seconds before each answer
MOST_REQUESTS = 5
# Of the time that the same requests would take one after the other. Four are read side by side.
MOST_SHARE = 0.5


def measure(report: Report, runner: asyncio.Runner, databases: Databases) -> None:
    report.progress(f"{PROJECTS} projects")
    with databases.fresh("quiet") as url:
        first, quiet = runner.run(_synced(url))
    asked, seconds = int(first.run["requests"]), first.seconds
    in_turn = asked * LATENCY
    requests = int(quiet.run["requests"])
    report.section(f"{PROJECTS} projects of Jira, with {LATENCY * 1000:g} ms before each answer")
    met = requests <= MOST_REQUESTS
    report.add(
        Line("requests of an incremental sync without a change", f"{requests}", f"{MOST_REQUESTS}", met)
    )
    report.add(Line("requests of the first sync", f"{asked}"))
    report.add(Line("the same one after the other, by their number", f"{in_turn:.1f} s"))
    share = seconds / in_turn
    report.add(Line("the first sync", f"{seconds:.1f} s"))
    report.add(Line("its share of that", f"{share:.2f}", f"{MOST_SHARE:g}", share <= MOST_SHARE))


async def _synced(url: str) -> tuple[Synced, Synced]:
    """The first sync, which is full, and then an incremental one."""
    async with _jira() as tracker, northing(url) as instance:
        await instance.connect(SOURCE, tracker)
        return await instance.sync("full"), await instance.sync("incremental")


@asynccontextmanager
async def _jira() -> AsyncIterator[Tracker]:
    """A site with two epics in each project, changed some days ago."""
    site = JiraSite()
    now = site.clock()
    for number in range(PROJECTS):
        site.add_project(f"P{number}", f"Project {number}")
        for age in (number % 17 + 1, number % 29 + 18):
            site.create(
                f"P{number}", f"Epic {age} days old", created=now - timedelta(days=age, minutes=number)
            )
    tracker = JiraTracker(site)
    tracker.latency = LATENCY
    async with serve(tracker) as url:
        yield Tracker(url, site.bot.token, 2 * PROJECTS, site.bot.email)
