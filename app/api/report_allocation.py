"""The report of where work goes, and the months that were frozen."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from app.api.attachments import csv_attachment
from app.api.deps import Key, Moment, RuntimeDep, SessionDep
from app.api.problems import error_responses
from app.runtime import Runtime
from mappings.errors import Invalid
from mappings.goals.values import Driver
from mappings.reports.allocation import (
    COLUMNS,
    DEFINITION,
    AllocationReport,
    FrozenMonth,
    GoalShare,
    State,
    Work,
    allocation_table,
    rounded,
)
from mappings.reports.allocation_months import (
    ROW_COLUMNS,
    ROWS_AT_ONCE,
    RowFilters,
    read_rows,
    row_cells,
)
from mappings.reports.allocation_report import allocation_report
from mappings.reports.cells import csv_lines, csv_text
from mappings.values import day_error

router = APIRouter(prefix="/reports", tags=["reports"])


class WorkOut(BaseModel):
    epics: float = Field(description="How many epics; parts of them by driver and objective.")
    children: float = Field(description="How many children they have together.")
    points: float = Field(description="Their story points together.")
    serving: int = Field(description="How many epics have a part in it, each counted whole.")
    with_children: int = Field(description="Of how many of these the children are known.")
    with_points: int = Field(description="How many of these have story points.")


class PartOut(WorkOut):
    epics_share: float | None = Field(
        description="Its share of the aligned epics, 0..1; null where there are none."
    )
    children_share: float | None = Field(description="The same by children.")
    points_share: float | None = Field(description="The same by points.")
    weight: float | None = Field(
        description="Its share of the weights of the objectives of the cycles under way, as these are now; "
        "null where none is given."
    )


class DriverPart(PartOut):
    driver: Driver | None = Field(description="The driver; null: the goals without one.")


class ObjectivePart(PartOut):
    objective: str | None = Field(description="The objective's key; null: no key result is known.")
    title: str | None = Field(description="Its title, as it is now.")


class ClassesOut(BaseModel):
    aligned: WorkOut = Field(description="The epics with a link to a key result that counts.")
    exempt: WorkOut = Field(description="Those that the policy exempts.")
    unaligned: WorkOut = Field(description="All others, waived ones among them.")


class BlockOut(BaseModel):
    total: WorkOut = Field(description="All of them.")
    classes: ClassesOut = Field(description="By class; the three add up to the total.")
    waived: int = Field(description="How many of the unaligned ones are waived.")
    not_evaluated: int = Field(description="How many of the unaligned ones are not evaluated yet.")
    by_driver: list[DriverPart] = Field(description="The aligned ones, shared out by driver.")
    by_objective: list[ObjectivePart] = Field(description="The aligned ones, shared out by objective.")


class MonthOut(BaseModel):
    month: str = Field(description="The month, UTC.", examples=["2026-11"])
    frozen_at: Moment = Field(description="When it was frozen.")
    late: bool = Field(description="Whether that was more than a day after its end.")
    epics: int = Field(description="How many epics it has.")


class AllocationOut(BaseModel):
    definition: str = Field(description="What all these numbers mean.")
    at: Moment = Field(description="When they were read.")
    month: MonthOut | None = Field(description="The frozen month; null: now.")
    starts: Moment = Field(description="What was finished since then is finished work.")
    ends: Moment = Field(description="The first moment after the month.")
    open: BlockOut = Field(description="The work that is not done, or was not at the month's end.")
    finished: BlockOut = Field(description="The work finished in the month, so far.")
    months: list[MonthOut] = Field(description="The months that are frozen, the latest first.")


def _work(work: Work) -> dict[str, Any]:
    return {name: rounded(getattr(work, name)) for name in WorkOut.model_fields}


def _part(part: GoalShare) -> dict[str, Any]:
    shares = {f"{measure}_share": rounded(share) for measure, share in part.shares.items()}
    return {**_work(part.work), **shares, "weight": rounded(part.weight)}


def _block(report: AllocationReport, state: State) -> BlockOut:
    block = report.blocks[state]
    return BlockOut(
        total=WorkOut(**_work(block.total)),
        classes=ClassesOut(**{name: WorkOut(**_work(work)) for name, work in block.classes.items()}),
        waived=block.waived,
        not_evaluated=block.not_evaluated,
        by_driver=[DriverPart(driver=part.name, **_part(part)) for part in report.drivers(state)],
        by_objective=[
            ObjectivePart(objective=part.name, title=part.title, **_part(part))
            for part in report.objectives(state)
        ],
    )


def _month(month: FrozenMonth) -> MonthOut:
    return MonthOut(
        month=f"{month.month:%Y-%m}", frozen_at=month.frozen_at, late=month.late, epics=month.epics
    )


def _present(report: AllocationReport) -> AllocationOut:
    return AllocationOut(
        definition=DEFINITION,
        at=report.at,
        month=None if report.month is None else _month(report.month),
        starts=report.starts,
        ends=report.ends,
        open=_block(report, "open"),
        finished=_block(report, "finished"),
        months=[_month(one) for one in report.months],
    )


def month_in(text: str | None) -> date | None:
    """The first day of a month such as 2026-11. Raises `Invalid`."""
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{4}-(0[1-9]|1[0-2])", text, re.ASCII) or text.startswith("0000"):
        raise Invalid("month", "must be a month such as 2026-11")
    day = date(int(text[:4]), int(text[5:]), 1)
    if (error := day_error(day)) is not None:
        raise Invalid("month", error)
    return day


_NOW_EXAMPLE = (*("open", "driver", "growth", None, 12.5, 40.0, 30.0, 14, 12, 6), *(0.5, 0.4, 0.6, 0.5))
_ROW_EXAMPLE = (
    *(
        "2026-11",
        "acme-jira",
        "SHOP",
        "SHOP-12",
        "Faster basket",
        "https://acme.atlassian.net/browse/SHOP-12",
    ),
    *("finished", datetime(2026, 11, 20, 9, tzinfo=UTC), "aligned", "growth", "O-1", "KR-1", "rule"),
    *("Checkout", "the rule Checkout matches", 8, 13.0, datetime(2026, 12, 1, 0, 5, tzinfo=UTC), False),
)
CSV_EXAMPLES = {
    "now": {"summary": "Without `month`", "value": csv_text(COLUMNS, [_NOW_EXAMPLE])},
    "month": {"summary": "Of a frozen month", "value": csv_text(ROW_COLUMNS, [_ROW_EXAMPLE])},
}


@router.get(
    "/allocation",
    summary="Where work goes, against the weights of the objectives",
    response_model=AllocationOut,
    responses={200: {"content": {"text/csv": {"examples": CSV_EXAMPLES}}}, **error_responses(404)},
)
async def get_allocation(
    runtime: RuntimeDep,
    session: SessionDep,
    month: Annotated[
        str | None, Query(description="A frozen month, such as 2026-11; left out: now.", max_length=20)
    ] = None,
    source: Annotated[str | None, Query(description="Of this source.")] = None,
    project: Annotated[str | None, Query(description="Project key or owner/repository, any case.")] = None,
    cycle: Annotated[Key | None, Query(description="Of the goals of this cycle; not with `month`.")] = None,
    format: Annotated[  # the parameter's public name
        Literal["json", "csv"],
        Query(description="`csv`: a row for each number; with `month` a row for each epic, for finance."),
    ] = "json",
) -> AllocationOut | Response:
    """Open and finished work by class, driver and objective, by number, children and story points.
    `definition` says what the numbers mean. A month is frozen once after its end; 404 for one that is not."""
    first = month_in(month)
    report = await allocation_report(
        session, await runtime.now(session), month=first, source=source, project=project, cycle=cycle
    )
    if format == "json":
        return _present(report)
    if report.month is not None:
        filters = RowFilters(source=source, project=project)
        pieces = _finance_pieces(runtime, report.month, filters)
        return csv_attachment(pieces, f"allocation-{month}")
    return csv_attachment(csv_text(COLUMNS, allocation_table(report)), "allocation")


async def _finance_pieces(runtime: Runtime, month: FrozenMonth, filters: RowFilters) -> AsyncIterator[bytes]:
    """The rows some at a time, each slice a statement of its own: what is frozen does not change."""
    yield csv_text(ROW_COLUMNS, []).encode()
    after = 0
    while True:
        async with runtime.sessions() as session:
            rows = await read_rows(session, month.month, filters, after)
        cells = [row_cells(row, month) for row in rows]
        # In a thread: another request waits for a few of these lines, not for all.
        yield (await asyncio.to_thread(csv_lines, cells)).encode()
        if len(rows) < ROWS_AT_ONCE:
            return
        after = rows[-1].epic_id
