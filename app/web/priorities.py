"""Epics ranked by their scores, and scored in place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.deps import CallerDep, RuntimeDep, SessionDep
from app.api.paging import CURSOR_AT_MOST, CursorParameter, Cursors
from app.api.problems import Problem
from app.api.report_priorities import PriorityFilters, priorities_csv, read_priorities
from app.runtime import Runtime
from app.web.forms import wrong_fields
from app.web.page import done, page
from app.web.router import Form, FormDep, needs
from app.web.undo import scores_step
from mappings.errors import Conflict, DomainError, Invalid
from mappings.governance.criteria import (
    CRITERIA_AT_MOST,
    EXAMPLE,
    CriterionValues,
    criteria_version,
    replace_criteria,
)
from mappings.governance.scores import GivenScores, set_scores
from mappings.lists.epics import DRIVERS
from mappings.reports.priorities import DEFINITION, Scored
from mappings.tables import CriterionRow, CycleRow

router = APIRouter()

ROWS = 50
NEW_LINES = 2  # empty lines of the form of criteria
TABS: dict[Scored, str] = {"fully": "Ranked", "partly": "Partly scored", "none": "Unscored"}
Word = Annotated[str | None, Query(max_length=200)]


@dataclass(frozen=True, slots=True)
class PageAddress:
    """What the page's address asks for. `edit`: the criteria are open for a change."""

    scored: Scored
    filters: PriorityFilters
    cursor: str | None
    edit: bool

    def address(self, **changes: Any) -> str:
        """The page with other values; a page of a list is left."""
        own = {name: getattr(self.filters, name) for name in ("source", "project", "cycle", "driver")}
        values = {"scored": None if self.scored == "fully" else self.scored, **own, **changes}
        kept = {name: value for name, value in values.items() if value is not None}
        return f"/priorities?{urlencode(kept)}" if kept else "/priorities"

    @property
    def is_filtered(self) -> bool:
        return self.filters != PriorityFilters()


async def _page_address(
    scored: Scored | None = None,
    source: Word = None,
    project: Word = None,
    cycle: Word = None,
    driver: Word = None,
    cursor: Annotated[str | None, Query(max_length=CURSOR_AT_MOST)] = None,
    edit: Word = None,
) -> PageAddress:
    filters = PriorityFilters(source or None, project or None, cycle or None, driver or None)  # type: ignore[arg-type]  # checked with the other filters
    return PageAddress(scored or "fully", filters, cursor, bool(edit))


AddressDep = Annotated[PageAddress, Depends(_page_address)]


@dataclass(frozen=True, slots=True)
class CriterionLine:
    """A line of the form of criteria, as it was typed."""

    key: str = ""
    title: str = ""
    weight: str = ""
    errors: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Refused:
    """A form that was not taken. `of`: the source and key of the epic whose scores were wrong. `errors`: by
    criterion, of a whole form under the empty name. `lines`: those of the criteria. `drops`: the criteria
    that are left out have scores."""

    errors: Mapping[str, str] = field(default_factory=dict)
    typed: Mapping[str, str] = field(default_factory=dict)
    of: tuple[str, str] | None = None
    lines: Sequence[CriterionLine] | None = None
    drops: bool = False

    @property
    def faults(self) -> int:
        return len(self.errors) + sum(len(line.errors) for line in self.lines or ())


@router.get("/priorities", dependencies=[needs("GET /reports/priorities")], response_model=None)
async def show_priorities(
    request: Request,
    runtime: RuntimeDep,
    session: SessionDep,
    asked: AddressDep,
    format: Annotated[Literal["csv"] | None, Query()] = None,  # the parameter's public name
    cursor: CursorParameter = None,
) -> Response:
    """With `format=csv` the file of all that the filters let through."""
    if format == "csv":
        return await priorities_csv(session, await runtime.now(session), asked.filters, asked.scored)
    return await _page(request, runtime, session, asked, cursor, Refused())


@router.post(
    "/priorities",
    dependencies=[needs("PUT /epics/{source}/{key}/scores"), needs("PUT /criteria")],
    response_model=None,
)
async def change_priorities(
    request: Request,
    runtime: RuntimeDep,
    form: FormDep,
    caller: CallerDep,
    asked: AddressDep,
    cursor: CursorParameter = None,
) -> Response:
    """`do`: score (the epic `key` of `source`, a field for each criterion), criteria (the whole list), or
    example (the list to start from)."""
    act = form.get("do")
    undo: list[dict[str, Any]] = []
    to = asked.address() if asked.cursor is None else None
    try:
        async with runtime.transaction(caller.who) as session:
            now = await runtime.now(session)
            if act == "score":
                given = await set_scores(session, form.get("source"), form.get("key"), scores_in(form), now)
                text, undo = scored_words(given), [scores_step(given)] if given.before else []
            elif act == "criteria":
                criteria = [line_values(line) for line in _lines(form)]
                versions = [int(form.get("version"))] if form.get("version").isdigit() else None
                drop = form.get("drop") == "yes"
                rows = await replace_criteria(session, criteria, now, drop_scores=drop, versions=versions)
                text = f"{len(rows)} {'criterion is' if len(rows) == 1 else 'criteria are'} agreed."
            elif act == "example":
                await replace_criteria(session, EXAMPLE, now, versions=[criteria_version([])])
                text = "These four are a start: change their words and weights to what you agree on."
            else:
                raise Problem(422, "This form asks for nothing that this page can do: reload it.")
    except DomainError as error:
        refused = _refused(form, error)
        async with runtime.transaction() as session:
            return await _page(request, runtime, session, asked, cursor, refused)
    async with runtime.transaction() as session:
        return await done(request, session, text, to=to, undo=undo)


def scores_in(form: Form) -> dict[str, float | None]:
    """The fields of scores, an empty one as None. Raises `Invalid` on one that is no number."""
    found: dict[str, float | None] = {}
    wrong = []
    for name, text in form.values().items():
        criterion = name.removeprefix("score.")
        if criterion == name:
            continue
        try:
            found[criterion] = float(text.replace(",", ".")) if text else None
        except ValueError:
            wrong.append((criterion, "must be a number from 0 to 5"))
    if wrong:
        raise Invalid(*wrong[0], more=wrong[1:])
    return found


def scored_words(given: GivenScores) -> str:
    """What changed, in a sentence."""
    key = given.epic.key
    if not given.before:
        return f"Nothing of {key} changed: it has these scores already."
    now = {row.key: given.scores.get(row.id) for row in given.criteria}
    parts = []
    for name in given.before:
        row = now[name]
        parts.append(f"{name} {row.score:g}" if row is not None else f"{name} not scored any more")
    return f"{key}: {', '.join(parts)}."


def _lines(form: Form) -> list[CriterionLine]:
    """Those that are not empty."""
    columns = zip(form.all("c-key"), form.all("c-title"), form.all("c-weight"), strict=False)
    lines = [CriterionLine(key.strip(), title.strip(), weight.strip()) for key, title, weight in columns]
    return [line for line in lines if line.key or line.title]


def line_values(line: CriterionLine) -> CriterionValues:
    try:
        weight = float(line.weight.replace(",", "."))
    except ValueError:
        weight = float("nan")
    return CriterionValues(line.key, line.title, weight)


def _refused(form: Form, error: DomainError) -> Refused:
    if form.get("do") == "score":
        return Refused(wrong_fields(error), form.values(), (form.get("source"), form.get("key")))
    whole = {"": error.detail} if not isinstance(error, Invalid) else {}
    lines = _lines(form)
    if isinstance(error, Invalid):
        by_line: dict[str, dict[str, str]] = {}
        for name, message in wrong_fields(error).items():
            number, _, column = name.partition(".")
            by_line.setdefault(number, {})[column] = message
        whole = by_line.pop("", {})
        lines = [
            CriterionLine(line.key, line.title, line.weight, by_line.get(str(number), {}))
            for number, line in enumerate(lines)
        ]
    return Refused(whole, form.values(), lines=lines, drops=isinstance(error, Conflict))


async def _page(
    request: Request,
    runtime: Runtime,
    session: AsyncSession,
    asked: PageAddress,
    cursor: Cursors | None,
    refused: Refused,
) -> HTMLResponse:
    now = await runtime.now(session)
    report, following, step = await read_priorities(
        session, now, asked.filters, asked.scored if asked.cursor is None else None, ROWS, cursor
    )
    if asked.cursor is not None:
        held = dict(step.filters)
        scored: Scored = held.pop("scored") or "fully"
        asked = PageAddress(scored, PriorityFilters(**held), asked.cursor, asked.edit)
    counts = {"fully": report.ranked, "partly": report.partly, "none": report.unscored}
    lines = refused.lines
    if lines is None:
        lines = [_line_of(row) for row in report.criteria]
    blank = min(NEW_LINES, CRITERIA_AT_MOST - len(lines))
    values = {
        "asked": asked,
        "report": report,
        "definition": DEFINITION,
        "following": following,
        "tabs": [
            (tab, words, counts[tab], asked.address(scored=None if tab == "fully" else tab))
            for tab, words in TABS.items()
        ],
        "cycles": list(await session.scalars(select(CycleRow.key).order_by(CycleRow.starts.desc()))),
        "drivers": DRIVERS,
        "example": EXAMPLE,
        "refused": refused,
        "edit": asked.edit or refused.lines is not None,
        "lines": [*lines, *[CriterionLine()] * blank],
        "version": criteria_version(report.criteria),
        "whole_weight": sum(row.weight for row in report.criteria),
    }
    return await page(request, session, "priorities.html", values, 422 if refused.faults else 200)


def _line_of(row: CriterionRow) -> CriterionLine:
    return CriterionLine(row.key, row.title, f"{row.weight:g}")
