"""Goals as people give them, in plain values, and what these values must be together. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Literal, get_args

from mappings.command_words import GRAMMAR_WORDS
from mappings.goals.key_results import GoalState, Visibility
from mappings.values import (
    Bounds,
    FieldErrors,
    day_error,
    is_blank,
    key_error,
    line_error,
    moment_error,
    number_error,
    one_of_error,
    text_error,
)

Review = Literal["monthly", "quarterly"]
Driver = Literal["growth", "cost", "experience", "risk"]
Category = Literal["roi", "customer", "revenue", "productivity", "quality", "risk"]
Direction = Literal["increase", "decrease"]
# Of an agreement: who signs how success is measured.
AgreementSide = Literal["business", "it"]
VoidReason = Literal["metric_changed", "signed_again"]

OBJECTIVE_WEIGHT: Bounds = {"ge": 0}
CONFIDENCE: Bounds = {"ge": 0, "le": 1}
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
    description: str | None = None
    owner: str | None = None
    category: Category | None = None
    metric: MetricValues = field(default_factory=MetricValues)
    due: date | None = None
    state: GoalState = "active"


# --- what is wrong with them, in words; None where nothing is --------------------------------------


def ends_error(starts: date, ends: date) -> str | None:
    return "must not be before starts" if ends < starts else None


def public_label_error(visibility: Visibility | None, public_label: str | None) -> str | None:
    if visibility == "confidential" and is_blank(public_label or ""):
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


def goal_key_error(key: str | None, stored: str | None) -> str | None:
    """`stored` is the key that the goal has, which it may keep; None for a new goal."""
    if key is not None and key != stored and key.lower() in GRAMMAR_WORDS:
        return f"is a word of the commands on tickets, where `{key}` is not read as a key; choose another"
    return key_error(key)


# --- all of a goal's values: each one, and together ------------------------------------------------
# `stored_key` is the key that the goal has; None for a new goal.


def cycle_errors(values: CycleValues) -> FieldErrors:
    return [
        ("key", key_error(values.key)),
        ("title", line_error(values.title)),
        ("starts", day_error(values.starts)),
        ("ends", day_error(values.ends) or ends_error(values.starts, values.ends)),
        ("review", one_of_error(values.review, get_args(Review))),
    ]


def objective_errors(values: ObjectiveValues, stored_key: str | None = None) -> FieldErrors:
    return [
        ("key", goal_key_error(values.key, stored_key)),
        ("title", line_error(values.title)),
        ("description", text_error(values.description)),
        ("driver", one_of_error(values.driver, get_args(Driver))),
        ("cycle", key_error(values.cycle)),
        ("parent", key_error(values.parent)),
        ("owner", line_error(values.owner)),
        ("sponsor", line_error(values.sponsor)),
        ("weight", number_error(values.weight, OBJECTIVE_WEIGHT)),
        ("visibility", one_of_error(values.visibility, get_args(Visibility))),
        (
            "public_label",
            public_label_error(values.visibility, values.public_label) or line_error(values.public_label),
        ),
        ("state", one_of_error(values.state, get_args(GoalState))),
    ]


def key_result_errors(values: KeyResultValues, stored_key: str | None = None) -> FieldErrors:
    metric = values.metric
    return [
        ("key", goal_key_error(values.key, stored_key)),
        ("title", line_error(values.title)),
        ("description", text_error(values.description)),
        ("owner", line_error(values.owner)),
        ("category", one_of_error(values.category, get_args(Category))),
        ("metric.unit", line_error(metric.unit)),
        ("metric.baseline", number_error(metric.baseline)),
        ("metric.target", number_error(metric.target)),
        (
            "metric.direction",
            one_of_error(metric.direction, get_args(Direction))
            or direction_error(metric.baseline, metric.target, metric.direction),
        ),
        ("due", day_error(values.due)),
        ("state", one_of_error(values.state, get_args(GoalState))),
    ]


def check_in_errors(
    value: float, confidence: float, note: str | None, at: datetime | None, now: datetime
) -> FieldErrors:
    return [
        ("value", number_error(value)),
        ("confidence", number_error(confidence, CONFIDENCE)),
        ("note", text_error(note)),
        ("at", moment_error(at) or (None if at is None else check_in_error(at, now))),
    ]


def agreement_errors(side: AgreementSide, name: str, note: str | None) -> FieldErrors:
    return [
        ("side", one_of_error(side, get_args(AgreementSide))),
        ("name", line_error(name)),
        ("note", text_error(note)),
    ]
