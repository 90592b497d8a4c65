"""What a quiet incremental sync of many GitHub repositories costs: how many requests GitHub counts."""

from __future__ import annotations

import asyncio
from time import process_time

from connectors.sandbox.github.host import GitHubHost
from connectors.sandbox.github.tracker import GitHubTracker
from connectors.sandbox.server import serve
from tests.bench.northing import SOURCE, northing
from tests.bench.report import Line, Report, spread
from tests.bench.servers import Databases, Tracker

REPOSITORIES, EPICS = 200, 5


def measure(report: Report, runner: asyncio.Runner, databases: Databases, rounds: int) -> None:
    report.progress("quiet sync of GitHub")
    with databases.fresh("quiet_github") as url:
        runner.run(_measure(report, url, rounds))


async def _measure(report: Report, url: str, rounds: int) -> None:
    tracker = GitHubTracker(_host())
    names = [repository.full_name for repository in tracker.host.repositories.values()]
    seconds: list[float] = []
    async with serve(tracker) as address, northing(url) as instance:
        login = Tracker(address, tracker.host.bot.token, REPOSITORIES * EPICS, kind="github")
        await instance.connect(SOURCE, login, scope={"repositories": names}, notices={"mode": "off"})
        first = await instance.sync("full")
        counted = tracker.rate.counted
        for _ in range(rounds):
            cpu = process_time()
            quiet = (await instance.sync("incremental")).run
            seconds.append(process_time() - cpu)
        by_tracker, by_us = tracker.rate.counted - counted, quiet["requests"] - quiet["uncounted_requests"]
        counted = tracker.rate.counted
        tracker.host.edit(f"{names[0]}#1", title="In other words")
        changed = (await instance.sync("incremental")).run
        after_change = tracker.rate.counted - counted
    if (first.run["created"], changed["updated"]) != (REPOSITORIES * EPICS, 1):
        raise RuntimeError(f"read {first.run['created']} epics, then {changed['updated']} changed ones")
    report.section(f"Quiet incremental sync of {REPOSITORIES} GitHub repositories")
    report.add(Line("requests sent", f"{quiet['requests']:,}"))
    report.add(Line("counted, by the tracker, of all rounds", f"{by_tracker:,}", "0", by_tracker == 0))
    report.add(Line("counted, by the run", f"{by_us:,}", "0", by_us == 0))
    report.add(Line("counted after one issue changed", f"{after_change:,}"))
    report.add(Line("processor, ours and the simulated GitHub's, s", spread(seconds)))


def _host() -> GitHubHost:
    host = GitHubHost()
    for number in range(REPOSITORIES):
        name = f"acme/r{number:03}"
        host.add_repository(name)
        for one in range(EPICS):
            host.create(name, f"{name}: epic {one}", labels=["epic"])
    return host
