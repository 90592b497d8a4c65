"""The log of decisions: why, by whom from which side, what each did; and taking one back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy import Select, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.deps import CallerDep, RuntimeDep, SessionDep
from app.api.paging import CursorParameter, Cursors, list_query, page_of
from app.web.decision_lines import decision_lines, take_decision_back
from app.web.page import done, page
from app.web.review_forms import decision_id, for_page
from app.web.router import FormDep, needs
from mappings.errors import DomainError, Invalid, NotFound
from mappings.governance.decision_log import decisions_of
from mappings.governance.values import DecisionKind
from mappings.tables import DecisionRow, ReviewRow, SourceRow

router = APIRouter()

DECISIONS_A_PAGE = 50
REVIEWS_TO_CHOOSE = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The filters in the page's address, empty ones None; `review` is an id."""

    epic_source: str | None = None
    epic_key: str | None = None
    goal: str | None = None
    review: int | None = None
    decision: str | None = None
    undone: bool | None = None

    @property
    def any(self) -> bool:
        return any(value is not None for value in asdict(self).values())

    def address(self, cursor: Cursors | None = None) -> str:
        """The list with these filters, at this place of it."""
        given = {name: value for name, value in asdict(self).items() if value is not None}
        if cursor is not None and cursor.sent is not None:
            given = {"cursor": cursor.sent}
        return f"/decisions?{urlencode(given)}" if given else "/decisions"


async def _asked(
    epic_source: Annotated[str, Query(max_length=64)] = "",
    epic_key: Annotated[str, Query(max_length=300)] = "",
    goal: Annotated[str, Query(max_length=64)] = "",
    review: Annotated[str, Query(pattern=r"^([1-9][0-9]{0,17})?$")] = "",
    decision: Annotated[DecisionKind | Literal[""], Query()] = "",
    undone: Annotated[Literal["", "true", "false"], Query()] = "",
) -> Asked:
    return Asked(
        epic_source=epic_source.strip() or None,
        epic_key=epic_key.strip() or None,
        goal=goal.strip() or None,
        review=int(review) if review else None,
        decision=decision or None,
        undone={"true": True, "false": False}.get(undone),
    )


AskedDep = Annotated[Asked, Depends(_asked)]


@router.get("/decisions", dependencies=[needs("GET /decisions")])
async def show_decisions(
    request: Request, session: SessionDep, asked: AskedDep, cursor: CursorParameter = None
) -> HTMLResponse:
    return await _show(request, session, asked, cursor)


@router.post("/decisions", dependencies=[needs("POST /decisions/{id}/undo")])
async def change_decisions(
    request: Request,
    runtime: RuntimeDep,
    caller: CallerDep,
    form: FormDep,
    asked: AskedDep,
    cursor: CursorParameter = None,
) -> Response:
    """Takes the decision `decision_id` back."""
    try:
        text = await take_decision_back(runtime, caller, decision_id(form))
    except NotFound:
        raise
    except DomainError as error:
        async with runtime.transaction() as session:
            problem = for_page(error.detail)
            return await _show(request, session, asked, cursor, problem=f"Not undone: {problem}")
    async with runtime.transaction() as session:
        return await done(request, session, text, to=asked.address(cursor))


async def _show(
    request: Request,
    session: AsyncSession,
    asked: Asked,
    cursor: Cursors | None,
    problem: str | None = None,
) -> HTMLResponse:
    step = list_query(cursor, DECISIONS_A_PAGE, **asdict(asked))
    asked = Asked(**step.filters)
    errors: Mapping[str, str] = {}
    found: Any = []
    following = None
    try:
        query = await _filtered(session, asked)
    except Invalid as error:
        errors = {field: for_page(message) for field, message in error.errors}
    else:
        found, following = await page_of(session, query, DecisionRow.id, step, newest_first=True)
    held = select(ReviewRow).order_by(ReviewRow.held_on.desc(), ReviewRow.id.desc()).limit(REVIEWS_TO_CHOOSE)
    values = {
        "asked": asked,
        "errors": errors,
        "problem": problem,
        "decisions": await decision_lines(session, [row for (row,) in found]),
        "next": following,
        "held": list(await session.scalars(held)),
    }
    status = 422 if errors else 200 if problem is None else 409
    return await page(request, session, "decisions.html", values, status)


async def _filtered(session: AsyncSession, asked: Asked) -> Select[Any]:
    """Raises `Invalid`. An epic's key without its source is looked for in every source."""
    common: dict[str, Any] = {"goal": asked.goal, "review": asked.review, "undone": asked.undone}
    if asked.epic_key is None or asked.epic_source is not None:
        query = await decisions_of(session, epic_source=asked.epic_source, epic_key=asked.epic_key, **common)
    else:
        query = await decisions_of(session, **common)
        named = [func.lower(DecisionRow.epic_key) == asked.epic_key.lower()]
        for source in await session.scalars(select(SourceRow.name)):
            of_source = await decisions_of(session, epic_source=source, epic_key=asked.epic_key)
            named += [] if of_source.whereclause is None else [of_source.whereclause]
        query = query.where(or_(*named))
    return query if asked.decision is None else query.where(DecisionRow.decision == asked.decision)
