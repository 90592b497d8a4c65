"""What became of an epic since a review froze it, kind by kind, in words. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date
from typing import Literal

from mappings.reports.roadmap_bars import Remark, days_words
from mappings.words import day_words

MoveKind = Literal[
    "due_later",
    "due_earlier",
    "due_set",
    "due_removed",
    "start_moved",
    "key_result_moved",
    "new",
    "finished",
    "gone",
]
# By kind: what a list of them is called.
MOVE_WORDS: dict[MoveKind, str] = {
    "due_later": "due later",
    "due_earlier": "due earlier",
    "due_set": "got a due date",
    "due_removed": "lost the due date",
    "start_moved": "start moved",
    "key_result_moved": "moved to another key result",
    "new": "new",
    "finished": "finished",
    "gone": "gone",
}


@dataclass(frozen=True, slots=True)
class PlanOfEpic:
    """When it is to be done and for what: `key_results` are the live ones that it is linked to."""

    starts_on: date | None
    due_on: date | None
    key_results: frozenset[str]


@dataclass(frozen=True, slots=True)
class Move:
    kind: MoveKind
    words: str

    @property
    def remark(self) -> Remark:
        return Remark(self.words, warn=self.kind in ("due_later", "due_removed", "key_result_moved"))


def moves_of(was: PlanOfEpic | None, now: PlanOfEpic, today: date) -> list[Move]:
    """Of an epic that is open. `was`: as the review froze it, None where it was not open then."""
    if was is None:
        return [Move("new", "new since the review")]
    found = [*_due_moves(was.due_on, now.due_on, today)]
    if was.starts_on != now.starts_on:
        found.append(Move("start_moved", _start_words(was.starts_on, now.starts_on, today)))
    if was.key_results != now.key_results:
        words = f"served {_keys(was.key_results)}, now {_keys(now.key_results)}"
        found.append(Move("key_result_moved", words))
    return found


def _due_moves(was: date | None, now: date | None, today: date) -> list[Move]:
    if was == now:
        return []
    if was is None and now is not None:
        return [Move("due_set", f"due date {day_words(now, today)} set since the review")]
    assert was is not None
    if now is None:
        return [Move("due_removed", f"had the due date {day_words(was, today)}")]
    words = f"due moved from {day_words(was, today)}, {_apart(was, now)}"
    return [Move("due_later" if now > was else "due_earlier", words)]


def _start_words(was: date | None, now: date | None, today: date) -> str:
    if was is None and now is not None:
        return f"start {day_words(now, today)} set since the review"
    assert was is not None
    if now is None:
        return f"had the start {day_words(was, today)}"
    return f"start moved from {day_words(was, today)}, {_apart(was, now)}"


def _apart(was: date, now: date) -> str:
    return f"{days_words(abs((now - was).days))} {'later' if now > was else 'earlier'}"


def _keys(keys: Collection[str]) -> str:
    return ", ".join(sorted(keys)) or "none"
