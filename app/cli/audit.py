"""`northing audit`: how well each current initiative is steered, on the terminal or as a file."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text
from sqlalchemy import text

from app.cli.ready import check_ready
from app.server.server import database_url, open_runtime
from connectors.markup import clean
from mappings.reports.audit import WHAT_MAKES_ONE, audit_report
from mappings.reports.audit_document import audit_document
from mappings.reports.audit_text import (
    aside,
    csv_pieces,
    markdown,
    names_seen,
    planned,
    steered_words,
    summary,
)
from mappings.words import cut_to

if TYPE_CHECKING:
    from app.settings import Settings
    from mappings.reports.audit import AuditReport
    from mappings.reports.audit_signs import AuditInitiative

SHOWN = 50  # initiatives in the table
NAMED = 5  # things that a sign is seen on
WIDE = 110  # columns from which on owner, stage and score have room
ELSEWHERE = 120  # columns where there is no terminal


async def audit(
    settings: Settings,
    form: Literal["table", "json", "csv", "md"] | str,
    *,
    source: str | None,
    project: str | None,
    cycle: str | None,
) -> int:
    """0. Raises `Invalid` on `source` and `cycle`, and what `open_runtime` raises."""
    async with (
        database_url(settings) as url,
        open_runtime(settings, url, ready=check_ready) as runtime,
        runtime.sessions() as session,
    ):
        await session.execute(text("SET TRANSACTION READ ONLY"))
        now = await runtime.now(session)
        report = await audit_report(session, now, source=source, project=project, cycle=cycle)
    if form == "table":
        _show(report)
    elif form == "csv":
        for piece in csv_pieces(report):
            sys.stdout.buffer.write(piece.encode())
    elif form == "md":
        sys.stdout.write(markdown(report))
    else:
        document = audit_document(report, None)
        sys.stdout.write(json.dumps(document, indent=2, default=_as_json) + "\n")
    sys.stdout.flush()
    return 0


def _as_json(value: object) -> str:
    isoformat = getattr(value, "isoformat")  # noqa: B009  # of a day or a moment
    return str(isoformat()).replace("+00:00", "Z")


# --- on the terminal ----------------------------------------------------------------------------


def _show(report: AuditReport) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=min(console.width, ELSEWHERE))
    of = f", {report.of}" if report.of else ""
    console.print(Text(f"Audit of the current initiatives, {report.at:%Y-%m-%d}{of}", style="bold"))
    console.print(Text(_line(summary(report))))
    console.print()
    known = {one.id: one for one in report.initiatives}
    for seen in report.seen:
        console.print(Text.assemble((f"{seen.sign.title}. ", "bold"), seen.says))
        if names := names_seen(seen, known, NAMED):
            console.print(Text(f"  on {_line('; '.join(names))}", style="dim"))
        console.print(Text(f"  -> {seen.sign.to_do}"))
    if not report.seen:
        console.print("No sign of misalignment is seen.")
    console.print()
    if not report.initiatives:
        console.print(Text(f"There is no current initiative. {WHAT_MAKES_ONE}"))
        return
    console.print(_table(report, wide=console.width >= WIDE))
    if (more := len(report.initiatives) - SHOWN) > 0:
        console.print(f"And {more:,} more; --format csv has all.")


def _table(report: AuditReport, *, wide: bool) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), expand=True)
    table.add_column("initiative", ratio=5)
    table.add_column("value", ratio=4)
    table.add_column("key result", ratio=3)
    if wide:
        table.add_column("owner, sponsor", ratio=3)
        table.add_column("stage")
        table.add_column("score", justify="right")
    table.add_column("signs", ratio=3)
    for one in report.initiatives[:SHOWN]:
        cells = [_name(one), one.answer or "not answered", _goal(one)]
        if wide:
            goal = one.goal
            cells.append("" if goal is None else f"{goal.owner or 'none'}, {goal.sponsor or 'none'}")
            cells += [one.stage or "", "" if one.score is None else f"{one.score:.3g}"]
        table.add_row(*(Text(_line(cell)) for cell in (*cells, ", ".join(one.signs))))
    return table


def _name(one: AuditInitiative) -> str:
    notes = [words for words in (aside(one), planned(one)) if words]
    title = cut_to(80, one.title)
    about = f" ({', '.join(notes)})" if notes else ""
    return f"{one.key} {title}{about}"


def _goal(one: AuditInitiative) -> str:
    return "none" if one.goal is None else f"{one.goal.key}: {steered_words(one)}"


def _line(words: str) -> str:
    """What people wrote must not steer the terminal."""
    return " ".join(clean(words).split())
