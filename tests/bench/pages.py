"""How long a page takes at the server against its main query alone, and the bytes of its first load."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from fastapi import Response
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.api import audit_log, deliveries, key_results, notices, rules, runs, sources, tokens
from app.api.epic_filters import EpicFilterQuery
from app.api.epics import list_epics, whole_epic
from app.api.paging import Cursors
from app.api.rule_models import PreviewIn
from app.api.rule_preview import preview_rule
from app.runtime import Runtime
from mappings.goals.board import load_board
from mappings.lookups import epic_at, source_at
from mappings.previews.known_names import known_names, open_key_results
from mappings.reports.changes import load_week
from mappings.reports.operations import coverage_report
from mappings.reports.waiting import load_waiting
from mappings.rules.operations import rule_at
from mappings.suggestions.cache import suggest, suggest_for
from mappings.suggestions.load import EVERYTHING
from mappings.tables import EpicRow
from tests.bench.lists import TIMES, grow
from tests.bench.northing import SOURCE, Northing, northing
from tests.bench.report import Line, Report, ratio, spread
from tests.bench.servers import Databases, Tracker

MOST_TIMES = 2.0
# Seconds that a main query counts at least: of a page that shows less, all that is measured is what each has,
# its session, its frame and its rendering.
LEAST = 0.01
MOST_BYTES = 150_000
A_ROUND = 3  # of each page and its query, in turns
Query = Callable[[Runtime, AsyncSession], Awaitable[Any]]
# What a page loads with itself: style sheet, scripts, mark. Pictures are left out.
_LOADED = re.compile(
    r'<(?:link[^>]*? rel="(?:stylesheet|icon|modulepreload)"[^>]*?|script[^>]*?)(?<= )(?:href|src)="([^"]+)"'
)


def _cursors(runtime: Runtime) -> Cursors:
    return Cursors(None, runtime.signing.key("cursor"), "/bench")


# --- the pages ------------------------------------------------------------------------------------


async def _coverage(runtime: Runtime, session: AsyncSession) -> None:
    now = await runtime.now(session)
    await coverage_report(session, now)
    await load_week(session, now)
    await load_waiting(session, now, edits=True, removes=True)


async def _epics(runtime: Runtime, session: AsyncSession) -> None:
    """With the suggestions beside each."""
    filters = EpicFilterQuery(alignment="unaligned")
    await list_epics(runtime, session, filters, limit=50, cursor=_cursors(runtime))
    unaligned = select(EpicRow.id).where(EpicRow.alignment == "unaligned", EpicRow.removed_at.is_(None))
    ids = await session.scalars(unaligned.order_by(EpicRow.id).limit(50))
    await suggest_for(session, list(ids), EVERYTHING, await runtime.now(session), 2)


async def _epic(runtime: Runtime, session: AsyncSession) -> None:
    source = await source_at(session, SOURCE)
    await whole_epic(runtime, session, source, "CROWD-1")
    epic = await epic_at(session, source, "CROWD-1")
    await suggest(session, epic.id, EVERYTHING, await runtime.now(session))


async def _key_results(runtime: Runtime, session: AsyncSession) -> None:
    await load_board(session, await runtime.now(session))


async def _key_result(runtime: Runtime, session: AsyncSession) -> None:
    await key_results.get_key_result("KR-1", Response(), runtime, session)


async def _rules(runtime: Runtime, session: AsyncSession) -> None:
    await rules.list_rules(runtime, session, sort="order", limit=100, cursor=_cursors(runtime))


async def _rule(runtime: Runtime, session: AsyncSession) -> None:
    await rule_at(session, 1)
    await known_names(session)
    await open_key_results(session)


async def _without_rule(runtime: Runtime, session: AsyncSession) -> None:
    body = PreviewIn.model_validate({"id": 1, "enabled": False})
    await preview_rule(body, runtime, 25, _cursors(runtime))


async def _notices(runtime: Runtime, session: AsyncSession) -> None:
    await notices.list_notices(runtime, session, "shadow", limit=50, cursor=_cursors(runtime))


async def _sources(runtime: Runtime, session: AsyncSession) -> None:
    await sources.list_sources(runtime, session, 50, _cursors(runtime))


async def _source(runtime: Runtime, session: AsyncSession) -> None:
    await sources.get_source(SOURCE, Response(), runtime, session)


async def _run(_: Runtime, session: AsyncSession) -> None:
    await runs.get_run(session, 1)


async def _deliveries(runtime: Runtime, session: AsyncSession) -> None:
    await deliveries.list_deliveries(session, limit=50, cursor=_cursors(runtime))


async def _audit_log(runtime: Runtime, session: AsyncSession) -> None:
    await audit_log.list_audit_log(session, limit=50, cursor=_cursors(runtime))


async def _tokens(runtime: Runtime, session: AsyncSession) -> None:
    await tokens.list_tokens(session, limit=50, cursor=_cursors(runtime))


# Each by its address, with its main query: the report or list that it shows. None: it shows none.
PAGES: dict[str, Query | None] = {
    "/": _coverage,
    "/epics": _epics,
    f"/epics/{SOURCE}/CROWD-1": _epic,
    "/goals": _key_results,
    "/goals/KR-1": _key_result,
    "/rules": _rules,
    "/rules?edit=1": _rule,
    "/rules?delete=1": _without_rule,
    "/notices": _notices,
    "/sources": _sources,
    f"/sources/{SOURCE}": _source,
    "/sources/new": None,
    "/runs/1": _run,
    "/deliveries": _deliveries,
    "/import": None,
    "/audit-log": _audit_log,
    "/tokens": _tokens,
}


# --- measuring ------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Figures:
    """In seconds, and bytes as they are sent."""

    opened: list[float] = field(default_factory=list)
    alone: list[float] = field(default_factory=list)
    bytes: int = 0


def measure(
    report: Report, runner: asyncio.Runner, databases: Databases, tracker: Tracker, rounds: int
) -> None:
    with databases.fresh("pages") as url:
        found = runner.run(_rounds(report, url, tracker, rounds))
    report.section(
        f"A page at {TIMES * tracker.epics:,} epics, and against its main query alone: "
        f"median of {A_ROUND * rounds} (lowest, highest); one that takes less counts {LEAST * 1000:.0f} ms"
    )
    for address, figures in found.items():
        if not figures.opened:
            continue
        report.add(Line(address, spread([seconds * 1000 for seconds in figures.opened], "{:.1f}", "ms")))
        if figures.alone:
            report.add(
                Line(
                    "    its main query",
                    spread([seconds * 1000 for seconds in figures.alone], "{:.1f}", "ms"),
                )
            )
            alone = [max(seconds, LEAST) for seconds in figures.alone]
            report.add(ratio("    the page against that", figures.opened, alone, most=MOST_TIMES))
    report.section("Bytes of a first load: the page, its style sheet, scripts and mark, as sent")
    for address, figures in found.items():
        met = figures.bytes <= MOST_BYTES
        report.add(Line(address, f"{figures.bytes / 1000:.1f} kB", f"at most {MOST_BYTES // 1000}", met))


async def _rounds(report: Report, url: str, tracker: Tracker, rounds: int) -> dict[str, _Figures]:
    async with northing(url) as instance:
        await instance.set_up(tracker)
        await instance.sync("full")
        report.progress(f"{TIMES} times as many epics")
        await asyncio.to_thread(grow, url)
        login = _Figures(bytes=await _bytes(instance, "/login"))
        await instance.sign_in()
        found: dict[str, _Figures] = {}
        for address in PAGES:
            there = (await instance.open(address)).status_code
            if there == 404:
                report.progress(f"there is no page {address} yet")
            else:
                found[address] = _Figures(bytes=await _bytes(instance, address))
        for number in range(rounds + 1):
            report.progress(f"pages, round {number} of {rounds}")
            for address, figures in found.items():
                for _ in range(A_ROUND):
                    await _measure(instance, address, figures, counts=number > 0)
    return {**found, "/login": login}


async def _measure(instance: Northing, address: str, figures: _Figures, *, counts: bool) -> None:
    main = PAGES[address]
    start = perf_counter()
    answer = await instance.open(address)
    opened = perf_counter() - start
    if answer.status_code != 200:
        raise RuntimeError(f"{address}: {answer.status_code}")
    alone = None if main is None else await instance.ask(main)
    if counts:  # the first round reads what nothing has read yet
        figures.opened.append(opened)
        if alone is not None:
            figures.alone.append(alone)


async def _bytes(instance: Northing, address: str) -> int:
    page = await instance.open(address)
    if page.status_code != 200:
        raise RuntimeError(f"{address}: {page.status_code} {page.text[:1000]}")
    total = page.num_bytes_downloaded
    for loaded in _LOADED.findall(page.text):
        total += (await instance.open(loaded)).num_bytes_downloaded
    return total
