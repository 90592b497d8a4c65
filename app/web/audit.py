"""The audit of the current initiatives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from app.api.deps import RuntimeDep, SessionDep
from app.api.report_audit import get_audit
from app.web.epic_rows import page_of_epic
from app.web.forms import wrong_fields
from app.web.page import page
from app.web.router import needs
from mappings.errors import Invalid
from mappings.goals.board import load_cycles
from mappings.governance.agenda import person_of
from mappings.reports.audit import DEFINITION, WHAT_MAKES_ONE, AuditReport, audit_report
from mappings.reports.audit_signs import BY_NAME, SIGNS, AuditInitiative, SeenSign
from mappings.reports.audit_text import aside, planned, steered_words, summary

router = APIRouter()

SHOWN = 50  # initiatives
NAMED = 5  # things that a sign is seen on
NAME_AT_MOST = 200
# Where a sign is dealt with.
PLACES = {
    "no-goal": ("/epics?initiative=true&alignment=unaligned", "Link them"),
    "value-unanswered": ("/epics?initiative=true&value=unanswered", "Answer them"),
    "not-agreed": ("/goals?check=not-agreed", "Sign them"),
    "not-moved": ("/outcomes", "Compare them"),
    "no-priority": ("/priorities", "Score them"),
    "no-owner": ("/goals", "Name them"),
    "no-review": ("/reviews", "To the reviews"),
    "activity-only": ("/goals", "Reword them"),
    "catch-all": ("/goals", "To the goals"),
    "stopped-in-work": ("/decisions", "To the decisions"),
    "old-conflict": ("/conflicts", "Decide them"),
}
PAGE_OF: Mapping[str, str] = {"key_result": "goals", "cycle": "goals", "conflict": "conflicts"}


@dataclass(frozen=True, slots=True)
class ShownSign:
    """`initiatives` are the first that it is seen on, `more` how many other things there are."""

    seen: SeenSign
    initiatives: Sequence[AuditInitiative]
    places: Sequence[Any]
    more: int
    to: str
    words: str


@router.get("/audit", dependencies=[needs("GET /reports/audit")])
async def show_audit(
    request: Request,
    runtime: RuntimeDep,
    session: SessionDep,
    source: Annotated[str, Query(max_length=NAME_AT_MOST)] = "",
    project: Annotated[str, Query(max_length=NAME_AT_MOST)] = "",
    cycle: Annotated[str, Query(max_length=NAME_AT_MOST)] = "",
    format: Annotated[Literal["html", "csv", "md"], Query()] = "html",
) -> Response:
    """Also as a file: the rows of all initiatives, or a report to send."""
    limits = {"source": source.strip(), "project": project.strip(), "cycle": cycle.strip()}
    asked: dict[str, Any] = {name: text or None for name, text in limits.items()}
    errors: Mapping[str, str] = {}
    report = None
    try:
        if format != "html":
            answer = await get_audit(runtime, session, **asked, format=format)
            assert isinstance(answer, Response)
            answer.headers["Content-Disposition"] = f'attachment; filename="audit.{format}"'
            return answer
        report = await audit_report(session, await runtime.now(session), **asked)
    except Invalid as error:
        errors = wrong_fields(error)
    values = {
        "report": report,
        "limits": limits,
        "query": {name: text for name, text in limits.items() if text},
        "errors": errors,
        "cycles": [row.key for row in await load_cycles(session)],
        "definition": DEFINITION,
        "what_makes_one": WHAT_MAKES_ONE,
        "signs": SIGNS,
        **(_shown(report) if report else {}),
    }
    return await page(request, session, "audit.html", values, 422 if errors else 200)


def _shown(report: AuditReport) -> dict[str, Any]:
    known = {one.id: one for one in report.initiatives}
    return {
        "summary": summary(report),
        "seen": [_sign(one, known) for one in report.seen],
        "initiatives": report.initiatives[:SHOWN],
        "more": max(0, len(report.initiatives) - SHOWN),
        "titles": {name: sign.title for name, sign in BY_NAME.items()},
        "page_of": PAGE_OF,
        "page_of_epic": page_of_epic,
        "person_of": person_of,
        "planned": planned,
        "aside": aside,
        "steered_words": steered_words,
    }


def _sign(one: SeenSign, known: Mapping[int, AuditInitiative]) -> ShownSign:
    initiatives = [known[id] for id in one.initiatives[:NAMED]]
    places = one.places[: NAMED - len(initiatives)]
    more = len(one.initiatives) + len(one.places) - len(initiatives) - len(places)
    return ShownSign(one, initiatives, places, more, *PLACES[one.sign.name])
