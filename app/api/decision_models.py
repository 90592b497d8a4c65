"""Decisions and stages as they are sent and shown."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, cast

from pydantic import BaseModel, ConfigDict, Field

from app.api.deps import Body, Key, Line, Moment
from app.api.epic_models import EpicName
from app.api.goal_models import Day
from app.api.links import EpicRefIn
from app.api.review_models import DecidedEpic, PersonIn, PersonOut
from mappings.governance.decision_log import goal_decided
from mappings.governance.values import (
    CommitteeSide,
    DecisionKind,
    Stage,
    missing_sides,
    people_from_json,
)

if TYPE_CHECKING:
    from datetime import datetime

    from mappings.governance.decision_log import Names
    from mappings.tables import DecisionRow, EpicStageRow

KIND = (
    "`keep`: the work goes on as it is, and a dispute about it ends. `remap`: it serves `key_result` from "
    "now on. `stop` and `defer`: it is set aside, and its alignment is `waived` while that holds. `pilot`, "
    "`scale`: its stage."
)
BY = (
    "The last day that it holds, or that it is looked at again, UTC: of `defer` and `pilot` it is needed, of "
    "the others it may be left out. At most 366 days ahead."
)


class DecisionIn(Body):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "epic": {"source": "acme-jira", "key": "SHOP-12"},
                    "decision": "defer",
                    "by": "2027-01-31",
                    "reason": "The payment provider comes first",
                    "decided_by": [
                        {"name": "Ann Lee", "side": "business"},
                        {"name": "Bo Chen", "side": "it"},
                    ],
                }
            ]
        }
    )

    epic: EpicRefIn | None = Field(None, description="What it is about; for a goal send `goal` instead.")
    goal: Key | None = Field(
        None,
        description="The key of the goal that the conflict is on; then only `keep`, and `stop`, which "
        "archives the goal.",
    )
    decision: DecisionKind = Field(description=KIND)
    key_result: Key | None = Field(None, description="Of `remap`: the live key result that it serves.")
    measure: Key | None = Field(
        None, description="Of `pilot`: the key result, with baseline and target, that tells whether it works."
    )
    by: Day | None = Field(None, description=BY)
    reason: Line = Field(description="Why, in one line; the ticket of a set-aside epic shows it.")
    decided_by: list[PersonIn] = Field(
        min_length=1, description="Who decided; in a review each is one of its attendees."
    )
    item: int | None = Field(
        None, ge=1, lt=2**63, strict=True, description="The item of the review's agenda that it ends."
    )
    conflict: int | None = Field(None, ge=1, lt=2**63, strict=True, description="The conflict that it ends.")


class DecisionOut(BaseModel):
    id: int = Field(description="Rises with every decision.")
    decision: DecisionKind = Field(description=KIND)
    epic: DecidedEpic | None = Field(description="The epic, by its names of then; null for a goal.")
    epic_now: EpicName | None = Field(description="Its names of today; null where it is in no list any more.")
    goal: str | None = Field(description="The key of the objective or key result that it is about.")
    key_result: str | None = Field(description="Of `remap`: the key result.")
    measure: str | None = Field(description="Of `pilot`: the key result.")
    by: date | None = Field(description="The last day that it holds, or that it is looked at again, UTC.")
    reason: str = Field(description="Why.")
    decided_by: list[PersonOut] = Field(description="Who decided.")
    missing_sides: list[CommitteeSide] = Field(
        description="Of business and IT, the side that nobody decided from."
    )
    review: int | None = Field(description="The id of the review that it was taken in.")
    held_on: date | None = Field(description="The day of that review.")
    item: int | None = Field(description="The item of that review's agenda.")
    conflict: int | None = Field(description="The conflict that it ended.")
    effects: list[str] = Field(description="What it changed, in sentences, by the names of then.")
    left: list[str] = Field(
        description="In the answer to an undo: what stays because a person changed it since."
    )
    decided_at: Moment = Field(description="When it was recorded.")
    recorded_by: str | None = Field(description="Who recorded it, as the audit log names them.")
    undone_at: Moment | None = Field(description="When it was undone.")
    undone_by: str | None = Field(description="Who undid it, as the audit log names them.")


def show_decision(row: DecisionRow, names: Names, left: Sequence[str] = ()) -> DecisionOut:
    people = people_from_json(row.decided_by)
    epic = None
    if row.epic_source is not None and row.epic_key is not None:
        epic = DecidedEpic(source=row.epic_source, key=row.epic_key, title=row.epic_title or "")
    present = None if row.epic_id is None else names.epics.get(row.epic_id)
    goals = names.key_results
    return DecisionOut(
        id=row.id,
        decision=cast("DecisionKind", row.decision),
        epic=epic,
        epic_now=None if present is None else EpicName(source=present[0], key=present[1]),
        goal=goal_decided(row, goals, names.objectives),
        key_result=goals.get(row.key_result_id or 0),
        measure=goals.get(row.measure_id or 0),
        by=row.by_date,
        reason=row.reason,
        decided_by=[PersonOut(name=person.name, side=person.side) for person in people],
        missing_sides=missing_sides(people),
        review=row.review_id,
        held_on=names.reviews.get(row.review_id or 0),
        item=row.item_id,
        conflict=row.conflict_id,
        effects=row.effects.get("says", []),
        left=list(left),
        decided_at=row.decided_at,
        recorded_by=row.recorded_by,
        undone_at=row.undone_at,
        undone_by=row.undone_by,
    )


class StageIn(Body):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"stage": "pilot", "measure": "KR-12", "by": "2027-01-31"}]}
    )

    stage: Stage = Field(description="Where it stands.")
    measure: Key | None = Field(
        None, description="Of a pilot, needed: the key result, with baseline and target, that measures it."
    )
    by: Day | None = Field(None, description="Of a pilot, needed: its last day, UTC.")


class StageOut(BaseModel):
    epic: EpicName = Field(description="The epic.")
    stage: Stage | None = Field(description="Null: nobody set one.")
    measure: str | None = Field(
        description="The key of the key result that its pilot is, or was, measured by."
    )
    by: date | None = Field(description="The last day of the pilot, UTC.")
    overdue: bool = Field(description="It is a pilot and its last day is past.")
    entered_at: Moment | None = Field(description="Since when it is at this stage.")
    changed_by: str | None = Field(description="Who changed it last, as the audit log names them.")


def show_stage(epic: EpicName, row: EpicStageRow | None, measure: str | None, now: datetime) -> StageOut:
    if row is None:
        nothing = dict.fromkeys(("stage", "measure", "by", "entered_at", "changed_by"))
        return StageOut(epic=epic, overdue=False, **nothing)
    return StageOut(
        epic=epic,
        stage=cast("Stage", row.stage),
        measure=measure,
        by=row.due,
        overdue=row.stage == "pilot" and row.due is not None and row.due < now.date(),
        entered_at=row.entered_at,
        changed_by=row.changed_by,
    )
