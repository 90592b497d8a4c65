"""How long a change of goals, rules, policy or mode takes to be answered, with few epics and with many, and
how long many rules, posted one after the other, take until everything is evaluated."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import httpx
import psycopg

from tests.bench.northing import SOURCE, TOKEN, northing, serving
from tests.bench.report import Line, Report
from tests.bench.servers import Databases, Tracker

MOST_SECONDS = 60.0
# A change that paid for each epic would take longer in proportion; the rest is what a busy machine varies.
MOST_TIMES = 5.0
PATIENCE = 600
POLL_SECONDS = 0.05
_LEFT = "SELECT EXISTS (SELECT FROM runs WHERE finished_at IS NULL)"
_RUNS = "SELECT count(*) FROM runs WHERE mode = 'evaluate'"
# Each call twice: the second undoes the first.
_CALLS: tuple[tuple[str, str, tuple[Any, Any]], ...] = (
    ("PATCH a rule", "/rules/1", ({"priority": 7}, {"priority": 8})),
    ("PATCH a key result", "/key-results/KR-1", ({"state": "achieved"}, {"state": "active"})),
    ("PATCH an objective", "/objectives/{objective}", ({"visibility": "public"}, {"visibility": "internal"})),
    ("PATCH a cycle", "/cycles/{cycle}", ({"ends": "2999-01-01"}, {"ends": "2999-02-01"})),
    ("PATCH the policy", "/policy", ({"grace": "P9D"}, {"grace": "P8D"})),
    (
        "PATCH a source's mode",
        f"/sources/{SOURCE}",
        ({"notices": {"mode": "off"}}, {"notices": {"mode": "shadow"}}),
    ),
)


def measure(
    report: Report, runner: asyncio.Runner, databases: Databases, few: Tracker, many: Tracker, rules: int
) -> None:
    times = {}
    for tracker in (few, many):
        report.progress(f"changes with {tracker.epics:,} epics")
        with databases.fresh("changes") as url:
            times[tracker] = runner.run(_changes(url, tracker))
    report.section(f"A change is answered, with {few.epics:,} and with {many.epics:,} epics: medians")
    for name in times[few]:
        small, large = median(times[few][name]), median(times[many][name])
        figure = f"{small * 1000:.0f} ms, {large * 1000:.0f} ms"
        report.add(Line(name, figure, f"at most {MOST_TIMES:g} x", large <= MOST_TIMES * small))
    report.progress(f"{rules} rules over {many.epics:,} epics")
    with databases.fresh("rules") as url:
        posted, left, processor, runs = runner.run(_rules(url, many, rules))
    report.section(f"{rules} rules, posted one after the other, over {many.epics:,} epics")
    report.add(
        Line("a POST: median", f"{median(posted) * 1000:.0f} ms, the longest {max(posted) * 1000:.0f} ms")
    )
    report.add(
        Line(
            "from the last POST until all is evaluated",
            f"{left:.1f} s",
            f"at most {MOST_SECONDS:g} s",
            left <= MOST_SECONDS,
        )
    )
    report.add(Line("processor time of Northing, from the first POST", f"{processor:.1f} s"))
    report.add(Line("runs of mode evaluate", str(runs)))


@asynccontextmanager
async def _ready(url: str, tracker: Tracker) -> AsyncIterator[tuple[httpx.AsyncClient, Callable[[], Any]]]:
    """A server with all epics read; its API, and what waits until no run is left."""
    async with northing(url) as instance:
        await instance.set_up(tracker)
        await instance.sync("full")
    server = serving(url, worker=True)
    address = await asyncio.to_thread(server.__enter__)
    try:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        async with (
            httpx.AsyncClient(base_url=f"{address}/api/v1", headers=headers, timeout=60) as api,
            await psycopg.AsyncConnection.connect(url, autocommit=True) as rows,
        ):

            async def until_idle() -> int:
                async with asyncio.timeout(PATIENCE):
                    while await (await rows.execute(_LEFT)).fetchone() == (True,):
                        await asyncio.sleep(POLL_SECONDS)
                found = await (await rows.execute(_RUNS)).fetchone()
                assert found is not None
                return int(found[0])

            await until_idle()
            yield api, until_idle
    finally:
        await asyncio.to_thread(server.__exit__, None, None, None)


async def _timed(api: httpx.AsyncClient, method: str, path: str, body: Any) -> tuple[float, Any]:
    start = perf_counter()
    answer = await api.request(method, path, json=body)
    seconds = perf_counter() - start
    if not answer.is_success:
        raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text}")
    return seconds, answer.json() if answer.content else None


async def _changes(url: str, tracker: Tracker) -> dict[str, list[float]]:
    times: dict[str, list[float]] = {}
    async with _ready(url, tracker) as (api, until_idle):
        (cycle,) = (await _timed(api, "GET", "/cycles", None))[1]["items"]
        goal = (await _timed(api, "GET", "/key-results/KR-1", None))[1]
        names = {"objective": goal["objective"], "cycle": cycle["key"]}

        async def time(name: str, method: str, path: str, body: Any = None) -> Any:
            # Nothing else goes on: what a change waits for is the bench's other part.
            await until_idle()
            seconds, answer = await _timed(api, method, path, body)
            times.setdefault(name, []).append(seconds)
            return answer

        for number in range(3):
            for name, path, bodies in _CALLS:
                for body in bodies:
                    await time(name, "PATCH", path.format(**names), body)
            rule = await time("POST a rule", "POST", "/rules", _rule(number))
            await time("DELETE a rule", "DELETE", f"/rules/{rule['id']}")
            made = await time(
                "POST a key result", "POST", f"/objectives/{names['objective']}/key-results", {"title": "T"}
            )
            await time("DELETE a key result", "DELETE", f"/key-results/{made['key']}")
    return times


def _rule(number: int) -> dict[str, Any]:
    """Half of the rules match about a hundredth of the crowd, half match nothing."""
    when = {"all": [{"label": [f"area-{number % 40}"]}, {"title": rf"part \d*{number % 10}:"}]}
    return {"name": f"Bench {number}", "key_result": f"KR-{number % 9 + 1}", "when": when}


async def _rules(url: str, tracker: Tracker, count: int) -> tuple[list[float], float, float, int]:
    async with _ready(url, tracker) as (api, until_idle):
        before, runs = _processor_seconds(), await until_idle()
        posted = [(await _timed(api, "POST", "/rules", _rule(number)))[0] for number in range(count)]
        start = perf_counter()
        runs = await until_idle() - runs
        left = perf_counter() - start
        return posted, left, _processor_seconds() - before, runs


def _processor_seconds() -> float:
    """Of the processes that this one started and that run now."""
    ticks = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended
        if int(fields[1]) == os.getpid():
            ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")
