"""How a check is shown: a table on a terminal, a line for each fact elsewhere, or one JSON object."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from connectors.diagnostics import WRONG

if TYPE_CHECKING:
    from collections.abc import Sequence

    from connectors.diagnostics import Fact, Level

LEVEL_WORDS: dict[Level, str] = {
    "ok": "ok",
    "missing": "missing",
    "failed": "failed",
    "not_needed": "not needed",
    "unknown": "not shown",
    "warning": "look",
}
LEVEL_STYLES: dict[Level, str] = {
    "ok": "green",
    "missing": "bold red",
    "failed": "bold red",
    "not_needed": "yellow",
    "unknown": "dim",
    "warning": "yellow",
}
MOST_NAMED = 5  # projects; of the others only the number is shown


@dataclass(frozen=True)
class Checked:
    """A source, or with `base_url` None Northing itself, and the facts about it."""

    name: str
    base_url: str | None
    facts: tuple[Fact, ...]


def show(found: Sequence[Checked], *, as_json: bool) -> None:
    console = Console(soft_wrap=True, highlight=False)
    if as_json:
        console.print(Text(json.dumps(_as_json(found), indent=2)))
        return
    for one in found:
        if console.is_terminal:
            Console(highlight=False).print(_table(one))
        else:
            for fact in one.facts:
                console.print(Text(_line(one.name, fact)))
    if len(found) == 1:
        console.print("No source is connected; `northing connect` connects one.")
    console.print(Text(_summary(found)))


def _as_json(found: Sequence[Checked]) -> dict[str, object]:
    return {
        "missing": sum(fact.level == "missing" for one in found for fact in one.facts),
        "failed": sum(fact.level == "failed" for one in found for fact in one.facts),
        "checked": [
            {"name": one.name, "base_url": one.base_url, "facts": [asdict(fact) for fact in one.facts]}
            for one in found
        ],
    }


def _table(one: Checked) -> Table:
    title = one.name if one.base_url is None else f"{one.name} ({one.base_url})"
    table = Table(title=Text(_one_line(title)), title_justify="left", expand=True)
    table.add_column("")
    table.add_column("what", ratio=2)
    table.add_column("found", ratio=4)
    table.add_column("what to do", ratio=4)
    for fact in one.facts:
        what = _one_line(fact.what) + (f"\n{_projects_text(fact)}" if fact.projects else "")
        level = Text(LEVEL_WORDS[fact.level], LEVEL_STYLES[fact.level])
        table.add_row(level, Text(what), Text(_one_line(fact.why)), Text(_one_line(fact.what_to_do)))
    return table


def _line(name: str, fact: Fact) -> str:
    projects = f" ({_projects_text(fact)})" if fact.projects else ""
    why = fact.why if fact.why.endswith((".", "!", "?")) else f"{fact.why}."
    return _one_line(f"{name}: {LEVEL_WORDS[fact.level]}: {fact.what}{projects}: {why} {fact.what_to_do}")


def _projects_text(fact: Fact) -> str:
    shown = ", ".join(fact.projects[:MOST_NAMED])
    more = len(fact.projects) - MOST_NAMED
    return _one_line(shown if more <= 0 else f"{shown} and {more} more")


def _summary(found: Sequence[Checked]) -> str:
    counts = Counter(fact.level for one in found for fact in one.facts)
    wrong = ", ".join(f"{counts[level]} {level}" for level in WRONG if counts[level])
    missing = f"{wrong}." if wrong else "Nothing is missing."
    others = [
        f"{counts[level]} {LEVEL_WORDS[level]}"
        for level in ("not_needed", "warning", "unknown")
        if counts[level]
    ]
    return " ".join([missing, f"Besides: {', '.join(others)}." if others else ""]).strip()


def _one_line(text: str) -> str:
    """One line without control characters: a tracker's text must not control a terminal."""
    return "".join(char if char.isprintable() else " " for char in " ".join(text.split()))
