"""The pack of a review as CSV. Pure."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from mappings.files.harmless import visible
from mappings.files.write import csv_rows
from mappings.governance.agenda import coverage_words
from mappings.governance.pack import Pack, dealt_words, mitigation_words, people_words, state_words

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

CSV_COLUMNS = (
    *("row", "review", "cycle", "held_on", "key", "title", "objective", "driver", "owner", "unit"),
    *("baseline", "target", "current", "progress", "steady", "confidence", "state", "epics"),
    *("detail", "mitigation", "decided_by", "by", "at"),
)


def pack_csv(pack: Pack) -> str:
    """A row for coverage, each objective, key result, line of the agenda and decision."""
    return csv_rows([CSV_COLUMNS, *(_csv_row(pack, members) for members in _csv_rows(pack))])


def _csv_row(pack: Pack, members: Mapping[str, Any]) -> list[Any]:
    common = {"review": pack.id, "cycle": pack.cycle["key"], "held_on": pack.held_on}
    return [_csv_cell({**common, **members}.get(name)) for name in CSV_COLUMNS]


def _csv_cell(value: Any) -> Any:
    if isinstance(value, str):
        return visible(value)
    return f"{value:%Y-%m-%dT%H:%M:%SZ}" if isinstance(value, datetime) else value


def _csv_rows(pack: Pack) -> Iterator[dict[str, Any]]:
    yield {
        "row": "coverage",
        "progress": pack.coverage["rate"],
        "epics": pack.epics,
        "detail": coverage_words(pack.coverage, pack.changes),
        "at": pack.frozen_at,
    }
    for objective, key_results in pack.objectives:
        members = ("key", "title", "driver", "owner", "progress", "state")
        yield {"row": "objective", **{name: objective[name] for name in members}}
        for one in key_results:
            facts = one["facts"]
            kept = ("owner", "unit", "baseline", "target", "current", "progress", "steady", "confidence")
            yield {
                "row": "key result",
                "key": one["key"],
                "title": one["title"],
                "objective": one["objective"],
                "driver": objective["driver"],
                **{name: facts[name] for name in kept},
                "state": state_words(facts),
                "epics": facts["epics"],
                "detail": facts["note"],
                "by": facts["due"],
                "at": facts["checked_in_at"],
            }
    for item in pack.items:
        yield {
            "row": f"agenda: {item.kind}",
            "key": item.about.get("epic", {}).get("key") or item.about.get("key_result"),
            "title": item.title,
            "state": dealt_words(pack, item) or item.state,
            "detail": item.detail,
            "mitigation": mitigation_words(item),
        }
    for taken in pack.decisions:
        yield {
            "row": f"decision: {taken.what}",
            "key": taken.about,
            "title": taken.title,
            "detail": taken.reason,
            "objective": taken.extra,
            "state": "undone" if taken.undone else None,
            "decided_by": people_words(taken.people),
            "by": taken.by,
            "at": taken.decided_at,
        }
