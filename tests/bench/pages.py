"""How long a page takes at the server against its main query alone, and the bytes of its first load."""

from __future__ import annotations

import asyncio
import gc
import re
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from statistics import median
from typing import Any

from fastapi import Response
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.api import audit_log, decisions, deliveries, key_results, reviews, rules, runs, sources, tokens
from app.api.epic_filters import EpicFilterQuery
from app.api.epics import read_epics, whole_epic
from app.api.paging import Cursors
from app.api.report_priorities import PriorityFilters, read_priorities
from app.api.rule_models import PreviewIn
from app.api.rule_preview import preview_rule
from app.runtime import Runtime
from app.web.allocation import ROWS_SHOWN
from app.web.epics import A_PAGE
from app.web.notices import ROWS
from app.web.outcomes import INITIATIVES_SHOWN
from app.web.priorities import ROWS as SCORED_SHOWN
from app.web.runs import writes_of
from app.web.sources import DELIVERIES_SHOWN, PROJECTS_SHOWN, RUNS_SHOWN, epics_by_source
from app.web.ticket import notice_on_ticket
from mappings.goals.board import load_board
from mappings.governance.conflicts import load_conflicts
from mappings.governance.review_views import in_full
from mappings.lists import notices as lists
from mappings.lists.epics import count_open_epics
from mappings.lookups import goal_at, source_at
from mappings.notices.withdrawal import count_withdrawable
from mappings.policy.operations import load_policy
from mappings.previews.known_names import known_names, open_key_results
from mappings.reports.allocation_months import RowFilters
from mappings.reports.allocation_report import allocation_report, current_rows
from mappings.reports.audit import audit_report
from mappings.reports.changes import load_week
from mappings.reports.operations import coverage_report
from mappings.reports.outcomes_rows import outcomes_report
from mappings.reports.roadmap import roadmap_report
from mappings.reports.roadmap_basis import RoadmapFilters
from mappings.reports.waiting import load_waiting
from mappings.rules.operations import rule_at
from mappings.sources.project_list import list_projects
from mappings.suggestions.cache import suggest, suggest_for
from mappings.suggestions.load import EVERYTHING
from mappings.tables import EpicRow, KeyResultRow, NoticeRow, ObjectiveRow, SourceRow
from mappings.why.page import why_page
from tests.bench.lists import TIMES, grow
from tests.bench.northing import SOURCE, Northing, Opened, northing
from tests.bench.report import Line, Report, ratio, spread
from tests.bench.reports import steer
from tests.bench.servers import Databases, Tracker

MOST_TIMES = 2.0
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
    """A page of them, the suggestions beside each, and the numbers at the tabs."""
    filters = EpicFilterQuery(alignment="unaligned", open=True)
    read = await read_epics(runtime, session, filters, "-created", A_PAGE, _cursors(runtime))
    await suggest_for(session, [one.row.id for one in read.found], EVERYTHING, read.now, 2)
    await count_open_epics(session)


async def _epic(runtime: Runtime, session: AsyncSession, id: int, key: str) -> None:
    """Why it is unaligned, with the suggestions."""
    await whole_epic(runtime, session, await source_at(session, SOURCE), key)
    await suggest(session, id, EVERYTHING, await runtime.now(session))


async def _why(runtime: Runtime, session: AsyncSession, id: int) -> None:
    row = await session.get_one(EpicRow, id)
    context = await runtime.evaluation_context(session, await source_at(session, SOURCE))
    await why_page(session, context, row, await runtime.now(session))


async def _key_results(runtime: Runtime, session: AsyncSession) -> None:
    await load_board(session, await runtime.now(session))


async def _key_result(runtime: Runtime, session: AsyncSession) -> None:
    await key_results.get_key_result("KR-1", Response(), runtime, session)


async def _objective(runtime: Runtime, session: AsyncSession) -> None:
    objective = await goal_at(session, ObjectiveRow, "O-1")
    await load_board(session, await runtime.now(session), KeyResultRow.objective_id == objective.id)


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
    """A page of them, the numbers at the tabs and by project, and the one that is shown whole."""
    listed = await lists.conditions(session, None, None)
    await lists.count_by_state(session, listed)
    await lists.count_disputes(session, listed)
    await lists.count_by_project(session, "shadow", listed)
    query = select(NoticeRow, EpicRow, SourceRow.name).join(EpicRow, EpicRow.id == NoticeRow.epic_id)
    shown = query.join(SourceRow, SourceRow.id == EpicRow.source_id).where(NoticeRow.state == "shadow")
    rows = (await session.execute(shown.where(*listed).order_by(NoticeRow.id.desc()).limit(ROWS + 1))).all()
    await notice_on_ticket(runtime, session, rows[0][0].id)


async def _sources(runtime: Runtime, session: AsyncSession) -> None:
    """With the health of each, and its epics by alignment."""
    await sources.list_sources(runtime, session, 50, _cursors(runtime))
    await session.execute(epics_by_source())


async def _source(runtime: Runtime, session: AsyncSession) -> None:
    """Its health, projects, runs and webhooks."""
    row = await source_at(session, SOURCE)
    await sources.get_source(SOURCE, Response(), runtime, session)
    await list_projects(session, row.id, after="", limit=PROJECTS_SHOWN)
    await runs.list_runs(session, SOURCE, None, None, RUNS_SHOWN, _cursors(runtime))
    await deliveries.list_deliveries(session, SOURCE, None, DELIVERIES_SHOWN, _cursors(runtime))


async def _run(runtime: Runtime, session: AsyncSession) -> None:
    """With what it wrote, and how many of its comments can be withdrawn."""
    await runs.get_run(session, 1)
    await writes_of(session, 1, _cursors(runtime))
    await count_withdrawable(session, 1)


async def _deliveries(runtime: Runtime, session: AsyncSession) -> None:
    await deliveries.list_deliveries(session, limit=50, cursor=_cursors(runtime))


async def _audit_log(runtime: Runtime, session: AsyncSession) -> None:
    await audit_log.list_audit_log(session, limit=50, cursor=_cursors(runtime))


async def _tokens(runtime: Runtime, session: AsyncSession) -> None:
    await tokens.list_tokens(session, limit=50, cursor=_cursors(runtime))


async def _roadmap(runtime: Runtime, session: AsyncSession) -> None:
    await roadmap_report(session, await runtime.now(session), RoadmapFilters())


async def _allocation(runtime: Runtime, session: AsyncSession) -> None:
    await allocation_report(session, await runtime.now(session))


async def _allocated(runtime: Runtime, session: AsyncSession) -> None:
    """A page of the epics behind a number."""
    filters = RowFilters(allocation="unaligned")
    await current_rows(session, await runtime.now(session), filters, 0, ROWS_SHOWN + 1)


async def _priorities(runtime: Runtime, session: AsyncSession) -> None:
    now, cursors = await runtime.now(session), _cursors(runtime)
    await read_priorities(session, now, PriorityFilters(), None, SCORED_SHOWN, cursors)


async def _outcomes(runtime: Runtime, session: AsyncSession) -> None:
    await outcomes_report(session, await runtime.now(session), most=INITIATIVES_SHOWN)


async def _reviews(runtime: Runtime, session: AsyncSession) -> None:
    await reviews.list_reviews(runtime, session, limit=50, cursor=_cursors(runtime))


async def _review(runtime: Runtime, session: AsyncSession) -> None:
    await in_full(session, 1)


async def _decisions(runtime: Runtime, session: AsyncSession) -> None:
    await decisions.list_decisions(session, limit=50, cursor=_cursors(runtime))


async def _conflicts(runtime: Runtime, session: AsyncSession) -> None:
    await load_conflicts(session, await load_policy(session), await runtime.now(session), state="open")


async def _audit(runtime: Runtime, session: AsyncSession) -> None:
    await audit_report(session, await runtime.now(session))


# Each by its address, with its main query: the report or list that it shows. None: it shows none.
PAGES: dict[str, Query | None] = {
    "/": _coverage,
    "/epics": _epics,
    "/goals": _key_results,
    "/goals/KR-1": _key_result,
    "/goals/O-1": _objective,
    "/rules": _rules,
    "/rules?edit=1": _rule,
    "/rules?delete=1": _without_rule,
    "/notices?state=shadow": _notices,
    "/sources": _sources,
    f"/sources/{SOURCE}": _source,
    "/sources/new": None,
    "/runs/1": _run,
    "/deliveries": _deliveries,
    "/import": None,
    "/audit-log": _audit_log,
    "/tokens": _tokens,
    "/roadmap": _roadmap,
    "/allocation": _allocation,
    "/allocation/epics?class=unaligned": _allocated,
    "/priorities": _priorities,
    "/outcomes": _outcomes,
    "/reviews": _reviews,
    "/reviews/1": _review,
    "/decisions": _decisions,
    "/conflicts": _conflicts,
    "/audit": _audit,
}


# --- measuring ------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Figures:
    """`page` and `alone`, its main query, as they were measured in turns; bytes as they are sent."""

    main: Query | None
    page: list[Opened] = field(default_factory=list)
    alone: list[Opened] = field(default_factory=list)
    bytes: int = 0


def measure(
    report: Report, runner: asyncio.Runner, databases: Databases, tracker: Tracker, rounds: int
) -> None:
    with databases.fresh("pages") as url:
        found = runner.run(_rounds(report, url, tracker, rounds))
    report.section(
        f"A page at {TIMES * tracker.epics:,} epics at the server, and against its main query alone: "
        f"median of {A_ROUND * rounds} (lowest, highest)"
    )
    for address, figures in found.items():
        report.add(Line(address, _took(figures.page)))
        if figures.main is not None:
            report.add(Line("    its main query", _took(figures.alone)))
            page, alone = ([one.seconds for one in each] for each in (figures.page, figures.alone))
            report.add(ratio("    the page against that", page, alone, most=MOST_TIMES))
    report.section("Bytes of a first load: the page, its style sheet, scripts and mark, as sent")
    for address, figures in found.items():
        met = figures.bytes <= MOST_BYTES
        report.add(Line(address, f"{figures.bytes / 1000:.1f} kB", f"at most {MOST_BYTES // 1000}", met))


def _took(opened: Sequence[Opened]) -> str:
    """By the wall's clock, and what of it this process used: that waits for nobody else on the machine."""
    wall = spread([one.seconds * 1000 for one in opened], "{:.1f}", "ms")
    return f"{wall}, {median(one.cpu for one in opened) * 1000:.1f} ms of Python"


async def _rounds(report: Report, url: str, tracker: Tracker, rounds: int) -> dict[str, _Figures]:
    async with northing(url) as instance:
        await instance.set_up(tracker)
        await instance.sync("full")
        report.progress("a notice for each gap")
        await instance.warn_all()
        report.progress(f"{TIMES} times as many epics")
        await asyncio.to_thread(grow, url)
        await steer(instance, url)
        login = await _bytes(instance, "/login")
        await instance.sign_in()
        id, key = await instance.first_unaligned()
        pages = PAGES | {
            f"/epics/{SOURCE}/{key}": partial(_epic, id=id, key=key),
            instance.why_path(id): partial(_why, id=id),
        }
        found = {address: _Figures(main) for address, main in pages.items()}
        for address, figures in found.items():
            figures.bytes = await _bytes(instance, address)
        for number in range(rounds + 1):
            report.progress(f"pages, round {number} of {rounds}")
            for address, figures in found.items():
                with _no_collection():
                    for _ in range(A_ROUND):
                        await _measure(instance, address, figures, counts=number > 0)
        # The login answers whoever is signed in with a redirect.
        found["/login"] = _Figures(None, bytes=login)
        instance.sign_out()
        for _ in range(A_ROUND * rounds):
            await _measure(instance, "/login", found["/login"], counts=True)
    return found


@contextmanager
def _no_collection() -> Iterator[None]:
    """Collects garbage before and not within, where it would be counted to whatever runs just then."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


async def _measure(instance: Northing, address: str, figures: _Figures, *, counts: bool) -> None:
    page = await instance.serve(address)
    if page.status != 200:
        raise RuntimeError(f"{address}: {page.status}")
    alone = None if figures.main is None else await instance.ask(figures.main)
    if counts:  # the first round reads what nothing has read yet
        figures.page.append(page)
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
