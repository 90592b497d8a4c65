"""How long each list of the API takes, its first page and its 1,000th, against what it asks the database, and
against itself at a tenth of the epics."""

from __future__ import annotations

import asyncio
import gc
import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from statistics import median
from typing import Any

import psycopg
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.paging import Cursors
from tests.bench.crowds import Crowds
from tests.bench.northing import SOURCE, Northing, northing
from tests.bench.report import Line, Report, ratio

MOST_TIMES, MOST_GROWTH = 2.0, 1.5
TIMES = 10  # more epics than the tracker has
PAGE, DEEP = 50, 1_000  # items of a page; the number of the later page, or the last where there are fewer
# Each with epics that the crowd has; one text that none has, for which all of them are searched.
QUERIES = (
    "",
    f"source={SOURCE}",
    "alignment=unaligned",
    "key_result=KR-1",
    "project=crowd",
    "label=area-1",
    "assignee=lead-3",
    "driver=growth",
    "parent=CROWD-10",
    "check=no-key-result",
    "steered=true",
    "steered=false",
    "open=true",
    "initiative=true",
    "initiative=false",
    "value=answered",
    "value=unanswered",
    "q=part",
    "q=no-title-has-this",
    "sort=-created",
    "sort=-updated",
    "sort=title",
    "label=area-1&alignment=unaligned&sort=-updated",
)
LISTS = (
    *(f"/epics?{query}" if query else "/epics" for query in QUERIES),
    "/findings",
    "/findings?check=no-key-result&state=open",
    f"/findings?source={SOURCE}",
    "/links",
    "/links?key_result=KR-1",
    f"/links?epic_source={SOURCE}",
    "/notices",
    "/notices?state=shadow",
    f"/notices?source={SOURCE}",
    "/cycles",
    "/objectives",
    "/key-results",
    "/key-results?unlinked=true",
    "/rules",
    "/sources",
    "/runs",
    "/deliveries",
    "/audit-log",
    "/decisions",
    "/conflicts",
    "/reviews",
    "/reviews/1/epics",
    "/tokens",
)
# The epics once more, under other keys, with their links and findings: as many as no bench could sync.
_GROW = (
    """
    CREATE TEMPORARY TABLE more AS SELECT epics.*, n FROM epics, generate_series(1, %s) AS n;
    UPDATE more SET key = key || '-' || n, remote_id = remote_id || '-' || n,
        tracker_updated_at = tracker_updated_at - n * interval '1 s';
    """,
    """
    INSERT INTO epics ({columns}) SELECT {columns} FROM more ORDER BY n, id;
    """,
    """
    CREATE TEMPORARY TABLE twins AS SELECT more.id AS old, epics.id AS new
        FROM more JOIN epics ON epics.tracker = more.tracker AND epics.remote_id = more.remote_id;
    INSERT INTO links (epic_id, key_result_id, origin, weight, is_primary, rule_id, why)
        SELECT new, key_result_id, origin, weight, is_primary, rule_id, why
        FROM twins JOIN links ON epic_id = old ORDER BY new;
    INSERT INTO findings (epic_id, "check", state, severity, detail, opened_at)
        SELECT new, "check", state, severity, detail, opened_at
        FROM twins JOIN findings ON epic_id = old ORDER BY new;
    INSERT INTO notices (epic_id, state, reason, detail, facts_hash, run_id)
        SELECT new, state, reason, detail, facts_hash, run_id
        FROM twins JOIN notices ON epic_id = old ORDER BY new;
    """,
)
_COLUMNS = """
    SELECT string_agg(column_name, ', ') FROM information_schema.columns
    WHERE table_name = 'epics' AND column_name <> 'id' AND is_generated = 'NEVER'
"""
Statement = tuple[str, Any]


@dataclass(slots=True)
class _Page:
    """The seconds of one page of a list and of its statements alone, and of the same page at fewer epics."""

    address: str
    fewer: str
    took: list[float] = field(default_factory=list)
    alone: list[float] = field(default_factory=list)
    took_at_fewer: list[float] = field(default_factory=list)


def measure(report: Report, runner: asyncio.Runner, crowds: Crowds, epics: int, rounds: int) -> None:
    with crowds.filled("fewer", epics) as few, crowds.filled("lists", epics) as many:
        found = runner.run(_rounds(report, few, many, epics, rounds))
    report.section(
        f"A page of {PAGE} of each list at {TIMES * epics:,} epics, against its own query (what it "
        f"asks the database, alone) and at {epics:,}: median of {rounds} rounds (lowest, highest)"
    )
    for name, page in found.items():
        took, alone = (1000 * median(seconds) for seconds in (page.took, page.alone))
        report.add(Line(name, f"{took:.1f} ms, its own query {alone:.1f} ms"))
        report.add(ratio(f"{name} / its own query", page.took, page.alone, most=MOST_TIMES))
        report.add(ratio(f"{name} / fewer epics", page.took, page.took_at_fewer, most=MOST_GROWTH))


async def _rounds(report: Report, few: str, many: str, epics: int, rounds: int) -> dict[str, _Page]:
    from tests.bench.reports import steer  # which measures by what is below

    async with AsyncExitStack() as stack:
        instances = []
        for url, times in ((few, 1), (many, TIMES)):
            report.progress(f"{times * epics:,} epics, a notice for each gap, and a review")
            instance = await stack.enter_async_context(northing(url))
            await instance.warn_all()
            if times > 1:
                await asyncio.to_thread(grow, url)
            await steer(instance, url)
            instances.append(instance)
        fewer, more = instances
        found = await _pages(fewer, few, more, many)
        for number in range(rounds + 1):
            report.progress(f"lists, round {number} of {rounds}")
            gc.collect()
            gc.disable()  # within, it would be counted to whatever runs just then
            try:
                for page in found.values():
                    await _measure(fewer, more, page, counts=number > 0)
            finally:
                gc.enable()
    return found


async def _pages(fewer: Northing, few: str, more: Northing, many: str) -> dict[str, _Page]:
    """The first page of each list, and its 1,000th where it has as many as two, by their names."""
    found = {}
    for address in LISTS:
        found[address] = _Page(address, address)
        deep, number = await _deep(more, many, address)
        if deep is not None:
            at_fewer, _ = await _deep(fewer, few, address)
            found[f"{address}, page {number:,}"] = _Page(deep, at_fewer or address)
    return found


_LIMIT = re.compile(r" \s*LIMIT %\((\w+)\)s::INTEGER\s*$")


async def _deep(instance: Northing, url: str, address: str) -> tuple[str | None, int]:
    """The address of the page `DEEP`, or of the last one, and its number; None where the first is the last.

    To walk there would take minutes: the cursor is made of the row before it."""
    with instance.statements() as statements:
        first = await instance.send("GET", address)
    if first["next"] is None:
        return None, 1
    statement, parameters = next(one for one in statements if _LIMIT.search(one[0]))
    every = _LIMIT.sub("", statement)
    with psycopg.connect(url) as rows:
        count = rows.execute(f"SELECT count(*) FROM ({every}) AS listed", parameters).fetchone()
        assert count is not None
        number = min(DEEP, -(-count[0] // PAGE))
        row = rows.execute(f"{every} LIMIT 1 OFFSET {(number - 1) * PAGE - 1}", parameters).fetchone()
    assert row is not None
    path, _, query = address.partition("?")
    cursors = Cursors(None, instance.cursor_key, f"/api/v1{path}".lower())
    _, filters = cursors.decode(first["next"])
    after = [_as_text(row[-1]), row[0]] if " AS _value" in statement else row[0]
    mark = "&" if query else "?"
    return f"{address}{mark}cursor={cursors.encode(after, filters)}", number


def _as_text(value: Any) -> Any:
    return value.isoformat() if hasattr(value, "isoformat") else value


async def _measure(fewer: Northing, more: Northing, page: _Page, *, counts: bool) -> None:
    """In turns, so that what else the machine does meets all alike."""
    with more.statements() as executed:
        took = (await more.serve(f"/api/v1{page.address}")).seconds
        statements = tuple(executed)
    alone = (await more.ask(lambda _, session: _alone(session, statements))).seconds
    at_fewer = (await fewer.serve(f"/api/v1{page.fewer}")).seconds
    if counts:  # the first round reads what nothing has read yet
        page.took.append(took)
        page.alone.append(alone)
        page.took_at_fewer.append(at_fewer)


async def _alone(session: AsyncSession, statements: Sequence[Statement]) -> None:
    """What the list asks the database, as the application does, and nothing made of it."""
    connection = await session.connection()
    for statement, parameters in statements:
        (await connection.exec_driver_sql(statement, parameters)).all()


async def beside_own_queries(
    report: Report,
    instance: Northing,
    url: str,
    what: str,
    addresses: Sequence[str],
    rounds: int,
    ask: Callable[[Northing, str], Awaitable[float]],
    alone: Callable[[psycopg.Connection, tuple[Statement, ...]], float],
) -> dict[str, tuple[list[float], list[float]]]:
    """By address the seconds that `ask` took, and those of its statements by `alone`, round by round."""
    times: dict[str, tuple[list[float], list[float]]] = {address: ([], []) for address in addresses}
    with instance.statements() as statements, psycopg.connect(url, autocommit=True) as rows:
        for number in range(rounds + 1):
            report.progress(f"{what}, round {number} of {rounds}")
            for address, (asked, own) in times.items():
                statements.clear()
                took = await ask(instance, address)
                took_alone = await asyncio.to_thread(alone, rows, tuple(statements))
                if number:  # the first reads what nothing has read yet
                    asked.append(took)
                    own.append(took_alone)
    return times


def grow(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as rows:
        found = rows.execute(_COLUMNS).fetchone()
        assert found is not None
        make, epics, rest = _GROW
        for statement in make.replace("%s", str(TIMES - 1)).split(";"):
            rows.execute(statement)
        rows.execute(epics.format(columns=found[0]))
        for statement in rest.split(";"):
            rows.execute(statement)
        rows.execute("VACUUM ANALYZE")
