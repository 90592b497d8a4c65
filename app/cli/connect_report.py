"""The shadow report on a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.text import Text

from app.shadow_report import lines_of
from connectors.markup import clean

if TYPE_CHECKING:
    from app.shadow_report import Preview


def show(preview: Preview) -> None:
    console = Console(soft_wrap=True, highlight=False)
    for line in lines_of(preview):
        console.print(Text(line))
    if preview.comments:
        console.print(Text("The comment that a ticket would get, word by word:"))
    for comment in preview.comments:
        title = clean(f"{comment.key} {comment.title}")[:100]
        shown = Text("\n".join(clean(line) for line in comment.body.splitlines()))
        if console.is_terminal:
            Console(highlight=False).print(Panel(shown, title=escape(title), title_align="left"))
        else:
            console.print(Text(title))
            console.print(shown)
    for line in next_steps(preview):
        console.print(Text(line))


def next_steps(preview: Preview) -> list[str]:
    goals = "Enter your goals by POST /api/v1/objectives, or from a spreadsheet with `northing import`."
    rules = "Map epics by POST /api/v1/rules, or by hand with POST /api/v1/links."
    steps = [rules if preview.live_key_results else goals]
    steps.append(f"See all that is prepared: GET /api/v1/notices?source={preview.source}&state=shadow.")
    page = f"Look, while `northing serve` runs: {preview.pages[0]}" if preview.pages else ""
    return [f"Next: {steps[0]}", steps[1], *([page] if page else [])]
