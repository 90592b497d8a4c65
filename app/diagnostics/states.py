"""A fact's state as the API shows it: one of five, where `northing check` also says what to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from connectors.inspector import WRITING

if TYPE_CHECKING:
    from connectors.diagnostics import Fact, Level

State = Literal["ok", "missing", "not_needed", "not_shown", "failed"]
_STATES: dict[Level, State] = {
    "ok": "ok",
    "missing": "missing",
    "failed": "failed",
    "not_needed": "not_needed",
    "unknown": "not_shown",
}
# What a person should look at though Northing works; of all else that is so, it is `ok`.
_TO_LOOK_AT: dict[str, State] = {
    WRITING: "failed",
    "clock": "failed",
    "signature": "failed",
    "deliveries": "not_shown",
    "notices.projects": "missing",
}


def state_of(fact: Fact) -> State:
    """`not_needed` also of a right to write that the account lacks where nothing is written yet."""
    if fact.level != "warning":
        return _STATES[fact.level]
    if fact.what in _TO_LOOK_AT:
        return _TO_LOOK_AT[fact.what]
    return "not_needed" if fact.writing else "ok"
