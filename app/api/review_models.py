"""Reviews as they are sent and shown."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from app.api.deps import Body, Key, Line, Moment
from app.api.epic_models import EpicName
from app.api.goal_models import Day
from app.api.reports import FrozenCoverage
from mappings.governance.reviews import MITIGATION_AT_MOST, ItemState
from mappings.governance.values import PEOPLE_AT_MOST, CommitteeSide, DecisionKind, Person, Stage
from mappings.lists.epics import Alignment
from mappings.values import NO_NUL_PATTERN

Detail = Annotated[str, StringConstraints(max_length=MITIGATION_AT_MOST, pattern=NO_NUL_PATTERN)]


class PersonIn(Body):
    name: Line = Field(description="As people know them.", examples=["Ann Lee"])
    side: CommitteeSide = Field(description="Which side they are from.")

    def value(self) -> Person:
        return Person(self.name, self.side)


class PersonOut(BaseModel):
    name: str = Field(description="As people know them.")
    side: CommitteeSide = Field(description="Which side they are from.")


HELD_ON = "The day of the review, UTC: in its cycle, or at most 31 days after its end."
ATTENDEES = "Who is there, each once."


class ReviewIn(Body):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "cycle": "2026-Q4",
                    "held_on": "2026-11-27",
                    "attendees": [
                        {"name": "Ann Lee", "side": "business"},
                        {"name": "Bo Ek", "side": "it"},
                    ],
                }
            ]
        }
    )

    cycle: Key = Field(description="The key of the cycle that is reviewed, in any case.")
    held_on: Day = Field(description=HELD_ON)
    attendees: Annotated[list[PersonIn], Field(max_length=PEOPLE_AT_MOST)] = Field(
        default_factory=list, description=ATTENDEES
    )


class ReviewPatch(Body):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"attendees": [{"name": "Ann Lee", "side": "business"}]}]}
    )

    held_on: Day | None = Field(None, description=HELD_ON)
    attendees: Annotated[list[PersonIn], Field(max_length=PEOPLE_AT_MOST)] | None = Field(
        None, description=f"{ATTENDEES} Replaces the list."
    )


class ItemIn(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"title": "Budget of the next quarter"}]})

    title: Line = Field(description="What it is about.")
    detail: Detail = Field("", description="More about it.")


class ItemPatch(Body):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"state": "done", "mitigation": "Two people join from March on."}]}
    )

    state: ItemState | None = Field(None, description="`done` and `skipped` are dealt with.")
    mitigation: Detail | None = Field(
        None, description="What is done about it; an empty one takes it away. Asked for at-risk key results."
    )


class ReviewName(BaseModel):
    id: int = Field(description="Its id.")
    cycle: str = Field(description="The cycle's key when it was opened.")
    held_on: date = Field(description="The day of the review, UTC.")


class ReviewOut(BaseModel):
    id: int = Field(description="Rises with every review.")
    cycle: str = Field(description="The key of its cycle, as it was when the review was opened.")
    cycle_title: str = Field(description="The title of its cycle then.")
    held_on: date = Field(description="The day of the review, UTC.")
    state: Literal["open", "closed"] = Field(description="A closed one changes no more.")
    attendees: list[PersonOut] = Field(description="Who is there.")
    missing_sides: list[CommitteeSide] = Field(
        description="The sides (business, IT) that nobody of these is from."
    )
    previous: ReviewName | None = Field(
        description="The review before it, of the same cycle, else of any; null for none."
    )
    frozen_at: Moment = Field(description="When it was opened; all its figures are of this moment.")
    opened_by: str | None = Field(description="Who opened it, as the audit log names them.")
    closed_at: Moment | None = Field(description="When it was closed.")
    closed_by: str | None = Field(description="Who closed it.")
    epics: int = Field(description="How many open epics it has frozen.")
    coverage_rate: float | None = Field(description="Coverage then, 0..1.")
    all_items: int = Field(description="How many lines its agenda has.")
    open_items: int = Field(description="How many of these are not dealt with.")
    decided: int = Field(description="How many decisions were taken in it that stand.")


class DueOut(BaseModel):
    cycle: str = Field(description="The key of the cycle.")
    title: str = Field(description="Its title.")
    review: Literal["monthly", "quarterly"] = Field(description="How often it is reviewed.")
    since: date = Field(description="The first day of the month or quarter that has no review.")
    due_on: date = Field(description="Its last day.")
    late: bool = Field(description="Whether that day is past.")
    last: date | None = Field(description="When the cycle was reviewed last; null for never.")


class ReviewPage(BaseModel):
    items: list[ReviewOut] = Field(description="The reviews of this page, newest first.")
    next: str | None = Field(description="Send it as `cursor` to get the next page; null on the last.")
    due: list[DueOut] = Field(
        description="The cycles whose review of this month or quarter, or of one before, was not held; with "
        "`cycle` only that one."
    )


class SignatureOut(BaseModel):
    side: Literal["business", "it"] = Field(description="Who signed.")
    name: str = Field(description="The person that signed.")
    at: Moment = Field(description="When.")


class FrozenKeyResult(BaseModel):
    key: str = Field(description="Its key then.")
    title: str = Field(description="Its title then.")
    objective: str = Field(description="The key of its objective.")
    owner: str | None = Field(description="The person responsible for it, or else for its objective.")
    state: str = Field(description="Its state.")
    live: bool = Field(description="Whether a link to it aligned an epic.")
    unit: str | None = Field(description="What the numbers count.")
    baseline: float | None = Field(description="The value at the start.")
    target: float | None = Field(description="The value to reach.")
    direction: str | None = Field(description="Which way is better.")
    current: float | None = Field(description="The latest value.")
    progress: float | None = Field(description="The share of the way, 0..1.")
    steady: float | None = Field(description="What a steady pace would have reached, 0..1.")
    confidence: float | None = Field(description="Of the latest check-in, 0..1.")
    trend: Literal["rising", "falling", "steady"] | None = Field(
        description="Of the confidence since the check-in before."
    )
    checked_in_at: Moment | None = Field(description="When the latest value was measured.")
    note: str | None = Field(description="What its owner wrote then; at most 1,000 characters.")
    due: date | None = Field(description="The day it is to be reached by, else the cycle's last.")
    at_risk: bool = Field(description="Whether its confidence is low, or it is far behind a steady pace.")
    late_red: bool = Field(
        description="Whether it came to be at risk in the two weeks before its end, or after it."
    )
    epics: int = Field(description="How many epics were linked to it.")
    signatures: list[SignatureOut] = Field(description="The signatures that counted.")
    not_agreed: str | None = Field(description="Why its metric was not agreed; null where it was.")
    not_measured: str | None = Field(description="Why it was not measured; null where it was.")
    not_steered: list[str] = Field(description="Why it was not steered; empty where it was.")


class FrozenObjective(BaseModel):
    key: str = Field(description="Its key then.")
    title: str = Field(description="Its title then.")
    driver: str | None = Field(description="How it helps the business.")
    cycle: str | None = Field(description="The key of its cycle.")
    owner: str | None = Field(description="The person responsible for it.")
    sponsor: str | None = Field(description="The person that wants it and pays for it.")
    weight: float = Field(description="How much it counts, compared with others.")
    state: str = Field(description="Its state.")
    visibility: str | None = Field(
        None, description="Who could see it; null in reviews of before it was kept."
    )
    progress: float | None = Field(description="The mean of its measured key results, 0..1.")
    key_results: list[FrozenKeyResult] = Field(description="Its key results.")


class ItemOfElsewhere(BaseModel):
    review: int | None = Field(description="The other review; null: without a review.")
    decision: int = Field(description="The id of the decision.")
    what: DecisionKind = Field(description="What was decided.")
    decided_at: Moment = Field(description="When.")


class ItemOut(BaseModel):
    id: int = Field(description="Its id.")
    position: int = Field(description="Its place on the agenda, from 1.")
    kind: str = Field(
        description="What of; docs/steering.md lists the kinds.", examples=["at-risk", "dispute", "own"]
    )
    title: str = Field(description="What it is about; not escaped, hostile text included.")
    detail: str = Field(description="In a sentence.")
    about: dict[str, Any] = Field(
        description="What it names: `epic` (`source`, `key`), `key_result`, `goal`, `decision`, `conflict`; "
        "or `list`, a list of the API, with its `filters`."
    )
    facts: dict[str, Any] = Field(description="Its figures when the review was opened.")
    state: ItemState = Field(description="Whether it is dealt with.")
    mitigation_asked: bool = Field(description="Whether it needs a mitigation.")
    mitigation: str | None = Field(description="What is done about it.")
    changed_by: str | None = Field(description="Who changed it last.")
    changed_at: Moment | None = Field(description="When.")
    decided_elsewhere: list[ItemOfElsewhere] = Field(
        description="What was decided about the same epic outside this review since it was opened."
    )


class DecidedEpic(EpicName):
    title: str = Field(description="As it was then, like the names.")


class ReviewDecision(BaseModel):
    id: int = Field(description="Its id.")
    decision: DecisionKind = Field(description="What was decided.")
    epic: DecidedEpic | None = Field(description="The epic it is about; null: a goal.")
    goal: str | None = Field(description="The key of the goal of its conflict.")
    key_result: str | None = Field(description="The key result that it maps the epic to.")
    measure: str | None = Field(description="The key result that it is measured by.")
    by: date | None = Field(description="Until when it holds, or when it is due; UTC.")
    reason: str = Field(description="Why.")
    decided_by: list[PersonOut] = Field(description="Who decided.")
    recorded_by: str | None = Field(description="Who wrote it down.")
    decided_at: Moment = Field(description="When.")
    item: int | None = Field(description="The line of the agenda that it was taken for.")
    conflict: int | None = Field(description="The conflict that it ended.")
    undone_at: Moment | None = Field(description="When it was undone; null: it stands.")
    undone_by: str | None = Field(description="Who undid it.")


class ReviewWhole(ReviewOut):
    coverage: FrozenCoverage = Field(description="As `GET /reports/coverage` was, without the trend.")
    objectives: list[FrozenObjective] = Field(
        description="Of its cycle, and the live ones of no cycle; the heaviest first."
    )
    changes: dict[str, Any] | None = Field(
        description="What moved since the review before: `coverage`, `alignment`, `due`, `new`, `left`, "
        "`key_results`; docs/api.md has the shape. Null without one."
    )
    items: list[ItemOut] = Field(description="The lines of its agenda, in order.")
    decisions: list[ReviewDecision] = Field(
        description="The decisions taken in it, oldest first, undone ones too."
    )


class FrozenChildren(BaseModel):
    total: int = Field(description="Tickets below it.")
    done: int = Field(description="Those of them that were done.")


class FrozenEpic(BaseModel):
    source: str = Field(description="The name of its source then.")
    key: str = Field(description="Its key then.")
    project: str = Field(description="Jira project key, or owner/repository.")
    title: str = Field(description="Its title then; not escaped, hostile text included.")
    url: str = Field(description="The ticket's page.")
    status: str = Field(description="The tracker's name of its status.")
    status_category: Literal["todo", "doing"] = Field(description="One of the kinds of open status.")
    alignment: Alignment | None = Field(description="Null: it was not evaluated yet.")
    key_results: list[str] = Field(description="The live key results that it was linked to.")
    stage: Stage | None = Field(description="Its stage.")
    starts_on: date | None = Field(description="Its first planned day.")
    due_on: date | None = Field(description="Its last planned day.")
    children: FrozenChildren | None = Field(description="Null where they were not counted.")
