"""What the demo prints, read from the API and the trackers just before."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING

from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from mappings.policy.durations import last_day

if TYPE_CHECKING:
    from app.demo_company.client import Json

ALIGNMENTS = ("aligned", "unaligned", "exempt")
WIDTH = 100


def console_for_demo() -> Console:
    """As wide as the terminal up to `WIDTH`; where the output is no terminal, plain text of that width."""
    console = Console(highlight=False)
    console.width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    return console


def print_heading(console: Console, text: str) -> None:
    console.print()
    console.print(Text(text, style="bold"))


def print_projects(console: Console, epics: list[Json]) -> None:
    """A table of the epics of each project, by alignment."""
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    table.add_column("source")
    table.add_column("project")
    for name in ("epics", *ALIGNMENTS):
        table.add_column(name, justify="right")
    projects = sorted({(epic["source"], epic["project"]) for epic in epics}, reverse=True)
    counts = Counter((epic["source"], epic["project"], epic["alignment"]) for epic in epics)
    for source, project in projects:
        table.add_row(source, project, *_figures([counts[source, project, name] for name in ALIGNMENTS]))
    sums = [sum(epic["alignment"] == name for epic in epics) for name in ALIGNMENTS]
    table.add_row("", "together", *_figures(sums), style="bold")
    console.print(table)


def print_coverage(console: Console, report: Json) -> None:
    """Coverage and its twin, in one sentence."""
    counted = report["total"] - report["exempt"] - report["waived"]
    print_heading(
        console,
        f"Now {report['aligned']} of {counted} open epics are aligned ({report['rate'] or 0:.0%}), "
        f"and {report['steered_epics']} of these ({report['steered'] or 0:.0%}) are steered:",
    )
    console.print("their key result is measured, agreed by the business and IT, and has moved.")


def print_held(console: Console, notices: list[Json]) -> None:
    """The comments that a guard holds, with its reason."""
    count = len(notices)
    print_heading(
        console, f"Then all of GitHub goes live, and {count} comments are held, none of them posted"
    )
    if notices:
        console.print(Text(f"{notices[0]['detail']}"))
    console.print("An editor approves or withdraws them on the page Notices:")
    for notice in notices:
        console.print(Text.assemble(("    " + notice["epic"]["key"], "bold")))


def print_findings(console: Console, findings: list[Json]) -> None:
    """Each finding that a person answered: its ticket, the state, until when and why."""
    for finding in findings:
        until = f" until {last_day(datetime.fromisoformat(finding['until']))}" if finding["until"] else ""
        why = f" ({finding['reason']})" if finding["reason"] else ""
        waits = "; an editor upholds or dismisses it" if finding["state"] == "disputed" else ""
        console.print(Text(f"{finding['epic']['key']} is {finding['state']}{until}{why}{waits}."))


def print_review(console: Console, review: Json, decisions: list[Json]) -> None:
    """How long its agenda is, and what was decided in it."""
    print_heading(
        console,
        f"Its committee holds a review: {len(review['items'])} lines on the agenda, "
        f"{len(decisions)} decisions so far",
    )
    for decision in decisions:
        by = f" until {decision['by']}" if decision["by"] else ""
        to = f" to {decision['key_result']}" if decision["key_result"] else ""
        console.print(
            Text(f"{decision['epic']['key']}: {decision['decision']}{to}{by} ({decision['reason']})")
        )
    console.print(f"It goes on at /reviews/{review['id']}, where its pack to read is, too.")


def _figures(counts: list[int]) -> list[str]:
    return [str(sum(counts)), *map(str, counts)]


def print_comments(console: Console, notices: list[Json], epics: list[Json]) -> None:
    """Each comment: its ticket, its first line and its URL; then the unaligned tickets without one."""
    titles = {(epic["source"], epic["key"]): epic["title"] for epic in epics}
    for notice in notices:
        name = notice["epic"]
        _print_ticket(console, name["key"], titles.pop((name["source"], name["key"])))
        for detail, style in ((first_line(notice["body"]), ""), (notice["url"], "dim")):
            console.print(Text(f"    {detail}", style=style), soft_wrap=True)
    for epic in epics:
        if epic["alignment"] == "unaligned" and epic["notice"] is None:
            _print_ticket(console, epic["key"], epic["title"])
            console.print("    No comment: customers can read it in a service desk.")


def _print_ticket(console: Console, key: str, title: str) -> None:
    line = Text.assemble((key, "bold"), f"  {title}")
    line.truncate(console.width, overflow="ellipsis")
    console.print(line)


def first_line(body: str) -> str:
    """The first line of a comment as a person sees it: without HTML comments and Markdown's asterisks."""
    line = next(line for line in body.splitlines() if line.strip() and not line.startswith("<!--"))
    return line.replace("*", "").replace("\u2060", "")


def print_comment(console: Console, title: str, text: str) -> None:
    console.print(Panel(Text(text.strip()), title=Text(title), title_align="left", width=console.width))


def print_addresses(console: Console, rows: list[tuple[str, str]]) -> None:
    wide = max(len(name) for name, _ in rows)
    for name, value in rows:
        console.print(Text.assemble((f"  {name:<{wide}}  ", "dim"), value), soft_wrap=True)
