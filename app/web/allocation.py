"""Where work goes, against what the weights of the objectives say; now, and as months were frozen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.deps import RuntimeDep, SessionDep
from app.api.report_allocation import get_allocation, month_in
from app.web.page import page
from app.web.router import needs
from mappings.errors import Invalid
from mappings.goals.board import load_cycles
from mappings.reports.allocation import DEFINITION, Allocation, Measure, State
from mappings.reports.allocation_months import RowFilters, frozen_month, frozen_months, read_rows
from mappings.reports.allocation_report import NO_CYCLE_OF_MONTH, allocation_report, current_rows

router = APIRouter()

Word = Annotated[str | None, Query(max_length=300)]
OBJECTIVES_SHOWN = 12
ROWS_SHOWN = 50
_FILTERS = ("month", "source", "project", "cycle")


@dataclass(frozen=True, slots=True)
class Asked:
    """The filters as they were typed, None for those left out."""

    month: str | None
    source: str | None
    project: str | None
    cycle: str | None
    by: Measure

    def query(self, **more: str | None) -> str:
        """Of an address with these filters; `more` stands above them."""
        own = {name: getattr(self, name) for name in _FILTERS}
        own["by"] = None if self.by == "epics" else self.by
        return urlencode({name: value for name, value in {**own, **more}.items() if value})


@router.get("/allocation", dependencies=[needs("GET /reports/allocation")])
async def show_allocation(
    request: Request,
    runtime: RuntimeDep,
    session: SessionDep,
    month: Word = None,
    source: Word = None,
    project: Word = None,
    cycle: Word = None,
    by: Measure = "epics",
    format: Literal["html", "csv"] = "html",
) -> Response:
    asked = Asked(month or None, source or None, project or None, cycle or None, by)
    if format == "csv":
        answer = await get_allocation(
            runtime, session, asked.month, asked.source, asked.project, asked.cycle, "csv"
        )
        assert isinstance(answer, Response)
        answer.headers["Cache-Control"] = "no-store"
        return answer
    first, errors = _checked(asked)
    now = await runtime.now(session)
    values: dict[str, Any] = {
        "asked": asked,
        "errors": errors,
        "definition": DEFINITION,
        "cycles": await load_cycles(session),
        "objectives_shown": OBJECTIVES_SHOWN,
        "months": await frozen_months(session),
    }
    if not errors:
        try:
            values["report"] = await allocation_report(
                session,
                now,
                month=first,
                source=asked.source,
                project=asked.project,
                cycle=asked.cycle,
            )
        except Invalid as error:
            errors.update(error.errors)
    return await page(request, session, "allocation.html", values, 422 if errors else 200)


def _checked(asked: Asked) -> tuple[Any, dict[str, str]]:
    """The first day of the month, and what is wrong by field."""
    try:
        first = month_in(asked.month)
    except Invalid as error:
        return None, dict(error.errors)
    if first is not None and asked.cycle is not None:
        return first, {"cycle": NO_CYCLE_OF_MONTH}
    return first, {}


# --- the epics behind a number -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ListedWork:
    """An epic behind a number. Of a frozen month `evidence` says why it is in its class, and `goal` what it
    counts under; else both are None."""

    id: int
    source: str
    key: str
    title: str
    allocation: Allocation
    children: int | None
    points: float | None
    finished_at: datetime | None
    evidence: str | None = None
    made_by: str | None = None
    goal: str | None = None


@router.get("/allocation/epics", dependencies=[needs("GET /reports/allocation")])
async def show_work(
    request: Request,
    runtime: RuntimeDep,
    session: SessionDep,
    month: Word = None,
    source: Word = None,
    project: Word = None,
    cycle: Word = None,
    state: State | None = None,
    kind: Annotated[Allocation | None, Query(alias="class")] = None,
    driver: Word = None,
    objective: Word = None,
    by: Measure = "epics",
    after: Annotated[int, Query(ge=0, lt=2**63)] = 0,
) -> Response:
    asked = Asked(month or None, source or None, project or None, cycle or None, by)
    filters = RowFilters(
        source=asked.source,
        project=asked.project,
        allocation=kind or ("aligned" if driver or objective else None),
        state=state,
        driver=driver or None,
        objective=objective or None,
        cycle=asked.cycle,
    )
    first, errors = _checked(asked)
    if errors:
        raise Invalid(*next(iter(errors.items())))
    if first is None:
        rows = await _current(session, await runtime.now(session), filters, after)
        frozen = None
    else:
        frozen = frozen_month(await frozen_months(session), first)
        rows = await _frozen(session, frozen.month, filters, after)
    more = len(rows) > ROWS_SHOWN
    shown = rows[:ROWS_SHOWN]
    kept: Mapping[str, str | None] = {
        "state": state,
        "class": kind,
        "driver": driver,
        "objective": objective,
    }
    return await page(
        request,
        session,
        "allocation_epics.html",
        {
            "asked": asked,
            "filters": filters,
            "month": frozen,
            "rows": shown,
            "next_page": asked.query(**kept, after=str(shown[-1].id)) if more else None,
            "first_page": asked.query(**kept) if after else None,
        },
    )


async def _current(
    session: AsyncSession, now: datetime, filters: RowFilters, after: int
) -> Sequence[ListedWork]:
    return [
        ListedWork(
            row.id,
            row.source,
            row.key,
            row.title,
            row.allocation,
            row.children,
            row.points,
            row.finished_at if row.status_category == "done" else None,
        )
        for row in await current_rows(session, now, filters, after, ROWS_SHOWN + 1)
    ]


async def _frozen(session: AsyncSession, month: Any, filters: RowFilters, after: int) -> Sequence[ListedWork]:
    return [
        ListedWork(
            row.epic_id,
            row.source,
            row.key,
            row.title,
            row.allocation,  # type: ignore[arg-type]  # the column holds one of these
            row.children,
            row.points,
            row.finished_at,
            row.evidence,
            row.made_by,
            row.key_result,
        )
        for row in await read_rows(session, month, filters, after, ROWS_SHOWN + 1)
    ]
