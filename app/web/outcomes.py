"""Delivery beside outcome, of each key result and initiative."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response

from app.api.deps import RuntimeDep, SessionDep
from app.api.report_outcomes import get_outcomes
from app.web.goal_words import named
from app.web.page import page
from app.web.router import needs
from mappings.errors import Invalid
from mappings.goals.board import load_cycles
from mappings.reports.outcomes import DEFINITION
from mappings.reports.outcomes_rows import outcomes_report

router = APIRouter()

INITIATIVES_SHOWN = 100
Word = Annotated[str | None, Query(max_length=64)]
FINISHED: dict[str | None, bool | None] = {"yes": True, "no": False, None: None}


@router.get("/outcomes", dependencies=[needs("GET /reports/outcomes")])
async def show_outcomes(
    request: Request,
    runtime: RuntimeDep,
    session: SessionDep,
    cycle: Word = None,
    objective: Word = None,
    finished: Literal["yes", "no", ""] | None = None,
    format: Literal["html", "csv"] = "html",
) -> Response:
    asked = {"cycle": cycle or None, "objective": objective or None}
    is_finished = FINISHED[finished or None]
    if format == "csv":
        answer = await get_outcomes(runtime, session, asked["cycle"], asked["objective"], is_finished, "csv")
        assert isinstance(answer, Response)
        answer.headers["Cache-Control"] = "no-store"
        return answer
    values: dict[str, Any] = {
        "asked": asked,
        "finished": finished or None,
        "definition": DEFINITION,
        "named": named,
        "cycles": await load_cycles(session),
        "errors": {},
    }
    try:
        values["report"] = await outcomes_report(
            session,
            await runtime.now(session),
            cycle=asked["cycle"],
            objective=asked["objective"],
            finished=is_finished,
            most=INITIATIVES_SHOWN,
        )
    except Invalid as error:
        values["errors"] = dict(error.errors)
    return await page(request, session, "outcomes.html", values, 422 if values["errors"] else 200)
