"""Cycles, objectives, key results and check-ins as they are sent and shown."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Annotated

from fastapi import Path
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)

from app.api.deps import Body, Key, Line, LongText, Moment
from mappings.goals.key_results import GoalState, Visibility
from mappings.goals.values import (
    CONFIDENCE,
    OBJECTIVE_WEIGHT,
    AgreementSide,
    Category,
    CycleValues,
    Direction,
    Driver,
    KeyResultValues,
    MetricValues,
    ObjectiveValues,
    Review,
    VoidReason,
    direction_error,
    ends_error,
    public_label_error,
)
from mappings.values import day_error, moment_error

KeyInPath = Annotated[Key, Path(description="A key, in any case.")]

# Strict: "3" and true are no numbers, nor are NaN and infinity, which JSON cannot write.
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]


def _day(value: object) -> object:
    """Pydantic would also accept seconds since 1970, and times at midnight."""
    if isinstance(value, str) and not re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
        raise ValueError("must be a day such as 2026-12-31")
    if not isinstance(value, str | date):
        raise ValueError("must be a day such as 2026-12-31, as a string")
    return value


def _time(value: object) -> object:
    if not isinstance(value, str) or not re.match(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]", value):
        raise ValueError("must be a time such as 2026-12-31T12:00:00Z")
    return value


def _in_utc(at: datetime) -> datetime:
    _refuse(moment_error(at))
    return at.astimezone(UTC)


def _in_years(day: date) -> date:
    _refuse(day_error(day))
    return day


def _refuse(error: str | None) -> None:
    if error is not None:
        raise ValueError(error)


Day = Annotated[date, BeforeValidator(_day), AfterValidator(_in_years)]
SentMoment = Annotated[datetime, BeforeValidator(_time), AfterValidator(_in_utc)]

STATE = "`achieved`, `missed` and `archived` are closed: a link to it aligns no epic. Null is `active`."
VISIBILITY = "Which tickets may show its title: `public` any, `internal` those of private projects."
PUBLIC_LABEL = "What a ticket shows where it may not show the title; `confidential` needs one."


# --- cycles -----------------------------------------------------------------------------------


class CycleIn(Body):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "key": "2026-Q4",
                    "title": "Fourth quarter",
                    "starts": "2026-10-01",
                    "ends": "2026-12-31",
                    "review": "monthly",
                }
            ]
        }
    )

    key: Key = Field(description="The name of the cycle; unique in any case.")
    title: Line = Field(description="The title for people.")
    starts: Day = Field(description="The first day, UTC.")
    ends: Day = Field(description="The last day, inclusive, UTC; its goals are live until it is past.")
    review: Review = Field(description="How often the goals are reviewed.")

    @field_validator("ends")
    @classmethod
    def _after_the_start(cls, ends: date, info: ValidationInfo) -> date:
        starts = info.data.get("starts")
        if starts is not None:
            _refuse(ends_error(starts, ends))
        return ends

    def values(self) -> CycleValues:
        return CycleValues(**self.model_dump())


class CycleOut(BaseModel):
    key: str = Field(description="Its key, as it was given.")
    title: str = Field(description="The title for people.")
    starts: date = Field(description="The first day, UTC.")
    ends: date = Field(description="The last day, inclusive, UTC.")
    review: Review = Field(description="How often the goals are reviewed.")
    objectives: int = Field(description="How many objectives are in it.")
    created_at: Moment = Field(description="When it was created in Northing.")


# --- objectives -------------------------------------------------------------------------------


class ObjectiveIn(Body):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "title": "Checkout that nobody leaves",
                    "driver": "growth",
                    "cycle": "2026-Q4",
                    "owner": "shop@acme.example",
                    "visibility": "internal",
                }
            ]
        }
    )

    key: Key | None = Field(None, description="Unique in any case; generated as `O-1` if left out.")
    title: Line = Field(description="What is to be reached.")
    description: LongText | None = Field(None, description="More about it.")
    driver: Driver | None = Field(None, description="How it helps the business.")
    cycle: Key | None = Field(None, description="The key of its cycle, in any case.")
    parent: Key | None = Field(None, description="The key of the objective it serves, in any case.")
    owner: Line | None = Field(None, description="The person responsible for it.")
    sponsor: Line | None = Field(None, description="The person that wants it and pays for it.")
    weight: Annotated[Number, Field(**OBJECTIVE_WEIGHT)] | None = Field(
        1, description="How much it counts, compared with others; null is 1."
    )
    visibility: Visibility | None = Field("internal", description=f"{VISIBILITY} Null is `internal`.")
    public_label: Line | None = Field(None, validate_default=True, description=PUBLIC_LABEL)
    state: GoalState | None = Field("active", description=STATE)

    @field_validator("public_label")
    @classmethod
    def _named_if_confidential(cls, label: str | None, info: ValidationInfo) -> str | None:
        _refuse(public_label_error(info.data.get("visibility"), label))
        return label

    def values(self) -> ObjectiveValues:
        return ObjectiveValues(**self.model_dump(exclude_none=True))


class ObjectiveOut(BaseModel):
    key: str = Field(description="Its key, as it was given or generated.")
    title: str = Field(description="What is to be reached.")
    description: str | None = Field(description="More about it.")
    driver: Driver | None = Field(description="How it helps the business.")
    cycle: str | None = Field(description="The key of its cycle.")
    parent: str | None = Field(description="The key of the objective it serves.")
    owner: str | None = Field(description="The person responsible for it.")
    sponsor: str | None = Field(description="The person that wants it and pays for it.")
    weight: float = Field(description="How much it counts, compared with others.")
    visibility: Visibility = Field(description=VISIBILITY)
    public_label: str | None = Field(description=PUBLIC_LABEL)
    state: GoalState = Field(description="Its state.")
    key_results: int = Field(description="How many key results it has.")
    created_at: Moment = Field(description="When it was created in Northing.")


# --- key results ------------------------------------------------------------------------------


class Metric(Body):
    """How success is measured. A missing member becomes a finding later, never an error."""

    unit: Line | None = Field(None, description="What the numbers count.", examples=["%"])
    baseline: Number | None = Field(None, description="The value at the start.")
    target: Number | None = Field(None, description="The value to reach.")
    direction: Direction | None = Field(None, description="Which way is better.")

    @field_validator("direction")
    @classmethod
    def _towards_the_target(cls, direction: Direction | None, info: ValidationInfo) -> Direction | None:
        _refuse(direction_error(info.data.get("baseline"), info.data.get("target"), direction))
        return direction


class KeyResultIn(Body):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "title": "Fewer carts left behind",
                    "category": "revenue",
                    "metric": {"unit": "%", "baseline": 68, "target": 55, "direction": "decrease"},
                    "due": "2026-12-15",
                }
            ]
        }
    )

    key: Key | None = Field(None, description="Unique in any case; generated as `KR-1` if left out.")
    title: Line = Field(description="What will be true when it is reached.")
    description: LongText | None = Field(None, description="More about it.")
    owner: Line | None = Field(None, description="The person responsible for it.")
    category: Category | None = Field(None, description="What kind of result it is.")
    metric: Metric | None = Field(None, description="How it is measured.")
    due: Day | None = Field(None, description="The day it is to be reached by.")
    state: GoalState | None = Field("active", description=STATE)

    def values(self) -> KeyResultValues:
        own = self.model_dump(exclude_none=True)
        metric = MetricValues(**own.pop("metric", {}))
        return KeyResultValues(**own, metric=metric)


class AgreementIn(Body):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"side": "business", "name": "Ann Lee", "note": "In the Q4 review"}]}
    )

    side: AgreementSide = Field(description="Who signs: the business or IT; the metric needs both.")
    name: Line = Field(description="The person that signs.")
    note: LongText | None = Field(None, description="Under what condition, or where it was agreed.")


class AgreementOut(BaseModel):
    id: int = Field(description="Rises with every agreement.")
    key_result: str = Field(description="The key of its key result.")
    side: AgreementSide = Field(description="Who signed.")
    name: str = Field(description="The person that signed.")
    note: str | None = Field(description="Under what condition, or where it was agreed.")
    metric: Metric = Field(description="The metric that was signed.")
    valid: bool = Field(description="Whether it counts.")
    voided_at: Moment | None = Field(description="Since when it does not count.")
    void_reason: VoidReason | None = Field(
        description="Why: the metric was changed, or the same side signed again."
    )
    created_at: Moment = Field(description="When it was signed.")


class KeyResultOut(BaseModel):
    key: str = Field(description="Its key, as it was given or generated.")
    objective: str = Field(description="The key of its objective.")
    title: str = Field(description="What will be true when it is reached.")
    description: str | None = Field(description="More about it.")
    owner: str | None = Field(description="The person responsible for it.")
    category: Category | None = Field(description="What kind of result it is.")
    metric: Metric = Field(description="How it is measured.")
    due: date | None = Field(description="The day it is to be reached by.")
    state: GoalState = Field(description="Its state.")
    live: bool = Field(description="Whether a link to it aligns an epic: not closed, its cycle not over.")
    current: float | None = Field(
        description="The value of the check-in with the latest `at`, else the baseline."
    )
    progress: float | None = Field(
        description="The share of the way from baseline to target, 0..1; null where it cannot be measured."
    )
    confidence: float | None = Field(description="The confidence of the same check-in, 0..1.")
    agreed: bool = Field(description="Whether both sides have signed the metric as it is now.")
    agreements: list[AgreementOut] = Field(
        description="The latest signature of each side; one that a change of the metric voided is shown too."
    )
    steered: bool = Field(
        description="Whether it is measured, agreed by both sides and has moved; coverage counts the epics "
        "that are aligned by a live link to such a key result."
    )
    not_steered_because: list[str] = Field(description="Why it is not steered; empty where it is.")
    links: int = Field(description="How many links from epics it has.")
    hint: str | None = Field(
        description="What to name instead, where the title names an output, no outcome; never an error."
    )
    created_at: Moment = Field(description="When it was created in Northing.")


# --- check-ins --------------------------------------------------------------------------------


class CheckInIn(Body):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"value": 61.5, "confidence": 0.7, "note": "New basket is out"}]}
    )

    value: Number = Field(description="The value of the metric.")
    confidence: Annotated[Number, Field(**CONFIDENCE)] = Field(
        description="How sure the team is that it will reach the target, 0..1."
    )
    note: LongText | None = Field(None, description="What happened.")
    at: SentMoment | None = Field(
        None, description="When it was measured, with its time zone; now if left out."
    )


class CheckInOut(BaseModel):
    id: int = Field(description="Rises with every check-in.")
    key_result: str = Field(description="The key of its key result.")
    value: float = Field(description="The value of the metric then.")
    confidence: float = Field(description="How sure the team was, 0..1.")
    note: str | None = Field(description="What happened.")
    at: Moment = Field(description="When it was measured.")
    created_at: Moment = Field(description="When it was entered in Northing.")
