"""The roadmap as a table: all open epics, a slice at a time, so that a file of any length can be sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mappings.policy.durations import last_day
from mappings.reports.cells import csv_text
from mappings.reports.roadmap_lanes import load_drawing
from mappings.reports.roadmap_rows import open_ids

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from sqlalchemy.ext.asyncio import AsyncSession

    from mappings.reports.roadmap_basis import Basis, LiveGoal
    from mappings.reports.roadmap_lanes import Drawing, EpicOnRoadmap

SLICE = 2_000
COLUMNS = (
    "objective", "key_result", "driver", "cycle", "source", "project", "key", "title", "url", "status",
    "alignment", "is_initiative", "parent", "starts_on", "due_on", "overdue", "children", "children_done",
    "stage", "value_driver", "value", "set_aside", "set_aside_until", "disputed", "other_key_results",
    "closed_key_results", "since_last_review",
)  # fmt: skip


def table_header() -> str:
    return csv_text(COLUMNS, ())


async def table_slice(session: AsyncSession, basis: Basis, after: int) -> tuple[str, int | None]:
    """The rows of the next open epics whose ids are after this one, and the id to go on after, None at the
    end. A slice whose epics are all under goals that are not asked for is empty."""
    project = basis.filters.project
    source_id = None if basis.source is None else basis.source.id
    ids = await open_ids(session, after, SLICE, source_id=source_id, project=project)
    drawing = await load_drawing(session, basis, ids)
    lines = csv_text(COLUMNS, _lines(basis, drawing)).partition("\r\n")[2] if ids else ""
    return lines, ids[-1] if len(ids) == SLICE else None


def _lines(basis: Basis, drawing: Drawing) -> Iterator[list[Any]]:
    for id in sorted(drawing.details):
        epic = drawing.epic(drawing.details[id])
        goal = next((basis.live[id] for id in epic.details.links if id in basis.live), None)
        aligned = epic.details.row.alignment == "aligned" and goal is not None
        if not aligned or (goal is not None and goal.is_wanted):
            yield _line(epic, goal if aligned else None)


def _line(epic: EpicOnRoadmap, goal: LiveGoal | None) -> list[Any]:
    row, stage, value = epic.details.row, epic.details.stage, epic.details.value
    return [
        goal and goal.objective.key,
        goal and goal.row.key,
        goal and goal.objective.driver,
        goal and goal.cycle and goal.cycle.key,
        epic.details.source,
        row.project,
        row.key,
        row.title,
        row.url,
        row.status,
        row.alignment,
        epic.is_initiative,
        row.parent_key,
        row.starts_on,
        row.due_on,
        epic.bar.is_overdue,
        row.children,
        row.children_done,
        stage and stage.stage,
        value and value.driver,
        value and value.answer,
        row.set_aside,
        None if row.set_aside_until is None else last_day(row.set_aside_until),
        epic.details.disputed,
        ", ".join(epic.others),
        ", ".join(epic.closed),
        "; ".join(move.words for move in epic.moves),
    ]
