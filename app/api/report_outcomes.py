"""The report of delivery beside outcome."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from app.api.attachments import csv_attachment
from app.api.deps import Key, Moment, RuntimeDep, SessionDep
from mappings.goals.key_results import GoalState
from mappings.governance.estimates import EstimateKind, Worth
from mappings.reports.cells import csv_text
from mappings.reports.outcomes import (
    COLUMNS,
    DEFINITION,
    Initiative,
    OutcomesReport,
    Result,
    Sign,
    WorkDone,
    outcomes_table,
)
from mappings.reports.outcomes_rows import INITIATIVES_AT_MOST, outcomes_report
from mappings.tables import EstimateRow

router = APIRouter(prefix="/reports", tags=["reports"])

SIGN = "`finished_not_moved` or `moved_without_work`; null where neither stands out."


class WorkDoneOut(BaseModel):
    epics: int = Field(description="How many epics the work is.")
    epics_done: int = Field(description="How many of them are done.")
    children: int = Field(description="How many children they have together, where they say so.")
    children_done: int = Field(description="How many of the children are done.")
    finished: bool = Field(description="Whether the work is finished; `definition` says when it is.")


class WorthOut(BaseModel):
    currency: str = Field(description="The currency; amounts are added up within one alone.")
    planned: float | None = Field(description="What it is to bring; null: nobody estimated that.")
    realised: float | None = Field(description="What it has brought; null: nobody estimated that.")


class CountingEstimate(BaseModel):
    id: int = Field(description="The estimate's id.")
    kind: EstimateKind = Field(description="Planned or realised.")
    amount: float = Field(description="In units of the currency.")
    currency: str = Field(description="Three capitals.")
    estimated_by: str = Field(description="The person that estimated it.")
    at: Moment = Field(description="When it was estimated.")


class _OutcomeOut(BaseModel):
    work: WorkDoneOut = Field(description="How far the work is.")
    progress: float | None = Field(
        description="How far the number is, 0..1; null where it cannot be measured. Of an initiative the "
        "greatest of its key results."
    )
    moved: bool = Field(description="Whether the number has moved; `definition` says when it has.")
    not_moved_because: str | None = Field(description="Why not; null where it has.")
    sign: Sign | None = Field(description=SIGN)
    worth: list[WorthOut] = Field(description="Its own estimates that count, by currency.")
    estimates: list[CountingEstimate] = Field(description="The same one by one: who estimated, and when.")


class KeyResultOutcome(_OutcomeOut):
    key_result: str = Field(description="The key result's key.")
    title: str = Field(description="Its title.")
    objective: str = Field(description="The key of its objective.")
    cycle: str | None = Field(description="The key of its cycle.")
    state: GoalState = Field(description="Its state.")
    live: bool = Field(description="Whether a link to it aligns an epic.")
    pace: float | None = Field(
        description="What a steady pace would have reached by now, 0..1; null where nothing says so."
    )
    at_risk: bool = Field(description="Whether it is at risk.")
    current: float | None = Field(description="The value of its latest check-in, else its baseline.")
    target: float | None = Field(description="The value that it is to reach.")
    unit: str | None = Field(description="What both count.")


class InitiativeOutcome(_OutcomeOut):
    source: str = Field(description="The name of its source.")
    key: str = Field(description="The epic's key.")
    title: str = Field(description="Its title.")
    url: str = Field(description="Its address in the tracker.")
    done: bool = Field(description="Whether the epic itself is done.")
    key_results: list[str] = Field(description="The keys of its key results that are in this report.")


class OutcomesOut(BaseModel):
    definition: str = Field(description="What all this means.")
    at: Moment = Field(description="The moment of the numbers.")
    finished_not_moved: int = Field(description="How many rows have their work finished and did not move.")
    moved_without_work: int = Field(description="How many key results moved without their work.")
    key_results: list[KeyResultOutcome] = Field(description="What stands out first.")
    initiatives: list[InitiativeOutcome] = Field(
        description=f"What stands out first, {INITIATIVES_AT_MOST} at most; the CSV file has all."
    )
    all_initiatives: int = Field(description="How many initiatives there are.")
    key_results_worth: list[WorthOut] = Field(description="Of all key results, by currency.")
    initiatives_worth: list[WorthOut] = Field(description="Of all initiatives, by currency.")


def _worth(worth: Sequence[Worth]) -> list[WorthOut]:
    return [WorthOut.model_validate(one, from_attributes=True) for one in worth]


def _common(one: Result | Initiative, progress: float | None) -> dict[str, Any]:
    return {
        "work": _work(one.work),
        "progress": progress,
        "moved": one.not_moved is None,
        "not_moved_because": one.not_moved,
        "sign": one.sign,
        "worth": _worth(one.worth),
        "estimates": [_estimate(row) for row in one.estimates],
    }


def _work(work: WorkDone) -> WorkDoneOut:
    return WorkDoneOut.model_validate(work, from_attributes=True)


def _estimate(row: EstimateRow) -> CountingEstimate:
    return CountingEstimate.model_validate(row, from_attributes=True)


def _key_result(one: Result) -> KeyResultOutcome:
    goal, row = one.goal, one.goal.row
    return KeyResultOutcome(
        **_common(one, goal.progress),
        key_result=row.key,
        title=row.title,
        objective=goal.objective.key,
        cycle=None if goal.cycle is None else goal.cycle.key,
        state=row.state,
        live=goal.live,
        pace=goal.steady,
        at_risk=goal.at_risk,
        current=goal.current,
        target=row.target,
        unit=row.unit,
    )


def _initiative(one: Initiative) -> InitiativeOutcome:
    own = {name: getattr(one, name) for name in ("source", "key", "title", "url", "done")}
    keys = [result.goal.row.key for result in one.key_results]
    return InitiativeOutcome(**_common(one, one.progress), **own, key_results=keys)


def _present(report: OutcomesReport) -> OutcomesOut:
    return OutcomesOut(
        definition=DEFINITION,
        at=report.at,
        finished_not_moved=report.signs["finished_not_moved"],
        moved_without_work=report.signs["moved_without_work"],
        key_results=[_key_result(one) for one in report.results],
        initiatives=[_initiative(one) for one in report.initiatives],
        all_initiatives=report.all_initiatives,
        key_results_worth=_worth(report.results_worth),
        initiatives_worth=_worth(report.initiatives_worth),
    )


_EXAMPLE = (
    *("key_result", None, "KR-1", "Fewer carts left behind", "O-1", "active", "finished_not_moved"),
    *("its latest value is its baseline", 3, 3, 24, 24, True, 0.0, 0.6, 68.0, 55.0, "%", None),
    *("planned", 120000.0, "EUR", "Controlling", None),
)


@router.get(
    "/outcomes",
    summary="How far the work is, and how far the number",
    response_model=OutcomesOut,
    responses={200: {"content": {"text/csv": {"example": csv_text(COLUMNS, [_EXAMPLE])}}}},
)
async def get_outcomes(
    runtime: RuntimeDep,
    session: SessionDep,
    cycle: Annotated[Key | None, Query(description="Of the goals of this cycle.")] = None,
    objective: Annotated[Key | None, Query(description="Of the key results of this objective.")] = None,
    finished: Annotated[
        bool | None, Query(description="Only what has its work finished, or only what has not.")
    ] = None,
    format: Annotated[  # the parameter's public name
        Literal["json", "csv"], Query(description="`csv`: a row for each key result and each initiative.")
    ] = "json",
) -> OutcomesOut | Response:
    """Each key result and each initiative: its work, its number, and what it is worth. `sign` names what
    stands out: the work is finished and the number has not moved, or the number moved without the work."""
    report = await outcomes_report(
        session,
        await runtime.now(session),
        cycle=cycle,
        objective=objective,
        finished=finished,
        most=INITIATIVES_AT_MOST if format == "json" else None,
    )
    if format == "json":
        return _present(report)
    return csv_attachment(csv_text(COLUMNS, outcomes_table(report)), "outcomes")
