"""Files of links: each line asks for one link by hand."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

from mappings.imports.outcome import Imported, LineResult, NotApplied, may_apply
from mappings.links.bulk import LinkOutcome, LinkRequest, link_many

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from mappings.imports.cells import Line
    from mappings.imports.read import Lines

WHY = "linked by hand, from a file"
NOTHING_TO_LINK = "names no key result"
NOT_BY_HAND = "a link of this origin is not made by a file"
SEVERAL = "names several; a line links to one key result, so copy the line for each other one"
_COLUMNS = {"epic.source": "source", "epic.key": "epic"}


async def import_links(
    session: AsyncSession, file: Lines, now: datetime, *, dry_run: bool, partial: bool
) -> Imported:
    """Raises `NotApplied` where lines are wrong and `partial` does not ask for the others."""
    results: list[LineResult] = []
    asked: list[tuple[LineResult, LinkRequest]] = []
    first: dict[tuple[str, str, str], LinkRequest] = {}
    lines: dict[tuple[str, str, str], int] = {}
    for line in file.lines:
        result = LineResult(line.number, "same", line.values.get("epic"))
        results.append(result)
        request = _request(file, line, result)
        if request is None:
            continue
        same = request.source.lower(), request.epic.lower(), request.key_result.lower()
        if same not in first:
            first[same], lines[same] = request, line.number
            asked.append((result, request))
        elif (request.weight, request.primary) == (first[same].weight, first[same].primary):
            result.message = f"is line {lines[same]} again"
        else:
            result.fail([("key_result", f"line {lines[same]} says otherwise of the same link")])
    wrong = any(result.outcome == "error" for result in results)
    outcomes, runs = await link_many(
        session,
        [request for _, request in asked],
        WHY,
        now,
        dry_run=dry_run or (wrong and not partial),
        change_existing=True,
    )
    for (result, _), outcome in zip(asked, outcomes, strict=True):
        _take(result, outcome)
    if not may_apply(results, partial=partial):
        raise NotApplied(results)
    return Imported(results, not dry_run, runs)


def _request(file: Lines, line: Line, result: LineResult) -> LinkRequest | None:
    """What the line asks for; None where it is wrong or asks for nothing, which its result then says."""
    values = line.values
    if file.of_epics and values.get("key_result") is None and not line.errors:
        result.message = NOTHING_TO_LINK
        return None
    origin = values.get("origin")
    known = file.kind.by_name["origin"].words
    missing = [(name, "must not be empty") for name in file.kind.needed if values.get(name, "") is None]
    errors = [*line.errors, *missing]
    if origin is not None and origin not in known:
        errors.append(("origin", f"must be one of {', '.join(known)}"))
    if re.search(r"[,;\n]", values.get("key_result") or ""):
        errors.append(("key_result", SEVERAL))
    if errors:
        result.fail(errors)
        return None
    if origin not in (None, "manual"):
        result.message = NOT_BY_HAND
        return None
    return LinkRequest(
        values["source"],
        values["epic"],
        values["key_result"],
        _given(file, line, "weight"),
        _given(file, line, "primary"),
    )


def _given(file: Lines, line: Line, name: str) -> Any:
    """None where the file has no such column; an empty cell is the column's default."""
    if name not in line.values:
        return None
    value = line.values[name]
    return file.kind.by_name[name].default if value is None else value


def _take(result: LineResult, outcome: LinkOutcome) -> None:
    if outcome.epic is not None:
        result.key = outcome.epic[1]
    if outcome.outcome == "error":
        field = _COLUMNS.get(outcome.field or "", outcome.field or "key_result")
        result.fail([(field, outcome.message)])
        return
    result.outcome = "same" if outcome.outcome == "exists" else outcome.outcome
    result.message = outcome.message
