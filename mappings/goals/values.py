"""Goals as people give them, in plain values, and what these values must be together. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Literal

from mappings.goals.key_results import GoalState, Visibility

Review = Literal["monthly", "quarterly"]
Driver = Literal["growth", "cost", "experience", "risk"]
Category = Literal["roi", "customer", "revenue", "productivity", "quality", "risk"]
Direction = Literal["increase", "decrease"]

# Not 0, because clocks differ; not more, because a mistyped year would hide every later check-in.
AHEAD_AT_MOST = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class CycleValues:
    """`starts` and `ends` are the first and the last day, both inclusive, UTC."""

    key: str
    title: str
    starts: date
    ends: date
    review: Review


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectiveValues:
    """`cycle` and `parent` are keys, in any case. A new objective with no `key` gets the next one."""

    key: str | None = None
    title: str
    description: str | None = None
    driver: Driver | None = None
    cycle: str | None = None
    parent: str | None = None
    owner: str | None = None
    sponsor: str | None = None
    weight: float = 1.0
    visibility: Visibility = "internal"
    public_label: str | None = None
    state: GoalState = "active"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricValues:
    """How success is measured; `unit` says what `baseline` and `target` count."""

    unit: str | None = None
    baseline: float | None = None
    target: float | None = None
    direction: Direction | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyResultValues:
    """`due` is the day it is to be reached by. A new key result with no `key` gets the next one."""

    key: str | None = None
    title: str
    category: Category | None = None
    metric: MetricValues = field(default_factory=MetricValues)
    due: date | None = None
    state: GoalState = "active"


# --- what is wrong with them, in words; None where nothing is --------------------------------------


def ends_error(starts: date, ends: date) -> str | None:
    return "must not be before starts" if ends < starts else None


def public_label_error(visibility: Visibility | None, public_label: str | None) -> str | None:
    if visibility == "confidential" and public_label is None:
        return "is needed for a confidential objective: tickets show it in place of the title"
    return None


def direction_error(baseline: float | None, target: float | None, direction: Direction | None) -> str | None:
    if baseline is None or target is None:
        return None
    if direction == "increase" and target < baseline:
        return "is `increase`, but the target is below the baseline"
    if direction == "decrease" and target > baseline:
        return "is `decrease`, but the target is above the baseline"
    return None


def check_in_error(at: datetime, now: datetime) -> str | None:
    """`at` is the moment of the measurement."""
    if at > now + AHEAD_AT_MOST:
        return "lies more than a day ahead; a check-in says what was measured"
    return None
