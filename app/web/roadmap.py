"""Work on a time axis, under the outcomes that it serves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, get_args

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.deps import RuntimeDep, SessionDep
from app.api.report_roadmap import PAGES_AT_MOST, get_roadmap
from app.web.epic_rows import page_of_epic
from app.web.forms import wrong_fields
from app.web.goal_words import address
from app.web.page import page
from app.web.roadmap_groups import goal_bar, groups_of
from app.web.roadmap_svg import roadmap_svg
from app.web.router import needs
from app.web.templating import HEADERS
from mappings.errors import Invalid
from mappings.goals.board import load_cycles
from mappings.reports.roadmap import DEFINITION, Roadmap, roadmap_report
from mappings.reports.roadmap_basis import DRIVERS, EPICS_SHOWN, MOST_EPICS, By, RoadmapFilters
from mappings.reports.roadmap_moves import MOVE_WORDS

router = APIRouter()

TEXT_AT_MOST = 200
Text = Annotated[str, Query(max_length=TEXT_AT_MOST)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The parameters of the page's address as they were sent; empty ones are not asked for."""

    by: str
    cycle: str
    source: str
    project: str
    driver: str
    first: str
    last: str
    limit: str
    page: int

    def filters(self) -> RoadmapFilters:
        """Raises `Invalid` on each that is none."""
        errors: list[tuple[str, str]] = []

        def one_of(name: str, value: str, words: Sequence[str]) -> Any:
            if value and value not in words:
                errors.append((name, f"must be one of {', '.join(words)}"))
            return value or None

        def day(name: str, value: str) -> date | None:
            try:
                return date.fromisoformat(value) if value else None
            except ValueError:
                errors.append((name, "must be a date as 2026-12-31"))
                return None

        most = int(self.limit) if self.limit.isascii() and self.limit.isdigit() else EPICS_SHOWN
        if self.limit and not (self.limit.isascii() and self.limit.isdigit() and 1 <= most <= MOST_EPICS):
            errors.append(("limit", f"must be a number from 1 to {MOST_EPICS}"))
        filters = RoadmapFilters(
            by=one_of("by", self.by, get_args(By)) or "outcome",
            cycle=self.cycle or None,
            source=self.source or None,
            project=self.project or None,
            driver=one_of("driver", self.driver, DRIVERS),
            first=day("from", self.first),
            last=day("to", self.last),
            most=most,
            page=self.page,
        )
        if errors:
            raise Invalid(*errors[0], more=errors[1:])
        return filters

    def address(self, path: str = "/roadmap", **changed: Any) -> str:
        """The same with other parameters, at its first page."""
        query = {
            "by": None if self.by == "outcome" else self.by,
            "cycle": self.cycle,
            "driver": self.driver,
            "source": self.source,
            "project": self.project,
            "from": self.first,
            "to": self.last,
            "limit": self.limit,
        }
        return address(path, query | changed)

    def epics(self, **query: Any) -> str:
        """The list of open epics with the same source and project, whatever their alignment."""
        named = {"source": self.source, "project": self.project} | query
        return address("/epics", {"alignment": None, "open": "true"} | named)


async def _asked(
    by: Text = "",
    cycle: Text = "",
    source: Text = "",
    project: Text = "",
    driver: Text = "",
    first: Annotated[str, Query(alias="from", max_length=TEXT_AT_MOST)] = "",
    last: Annotated[str, Query(alias="to", max_length=TEXT_AT_MOST)] = "",
    limit: Text = "",
    page: Annotated[int, Query(ge=1, le=PAGES_AT_MOST)] = 1,
) -> Asked:
    return Asked(
        by=by.strip(),
        cycle=cycle.strip(),
        source=source.strip(),
        project=project.strip(),
        driver=driver.strip(),
        first=first.strip(),
        last=last.strip(),
        limit=limit.strip(),
        page=page,
    )


AskedDep = Annotated[Asked, Depends(_asked)]


@router.get("/roadmap", dependencies=[needs("GET /reports/roadmap")])
async def show_roadmap(
    request: Request, runtime: RuntimeDep, session: SessionDep, asked: AskedDep
) -> Response:
    """Raises nothing for what is asked in vain: the form says so."""
    report, errors = None, {}
    try:
        report = await roadmap_report(session, await runtime.now(session), asked.filters())
    except Invalid as error:
        errors = wrong_fields(error)
    return await _show(request, session, asked, report, errors)


@router.get("/roadmap.csv", dependencies=[needs("GET /reports/roadmap")])
async def roadmap_table(
    request: Request, runtime: RuntimeDep, session: SessionDep, asked: AskedDep
) -> Response:
    answer = await get_roadmap(request, runtime, session, asked.filters(), "csv")
    assert isinstance(answer, Response)
    return answer


@router.get("/roadmap.svg", dependencies=[needs("GET /reports/roadmap")])
async def roadmap_picture(runtime: RuntimeDep, session: SessionDep, asked: AskedDep) -> Response:
    """The page as one picture, for slides; what is dashed and clipped there is so here."""
    report = await roadmap_report(session, await runtime.now(session), asked.filters())
    name = f"northing-roadmap-{report.at:%Y-%m-%d}.svg"
    return Response(
        roadmap_svg(report, groups_of(report)),
        media_type="image/svg+xml",
        headers={
            **HEADERS,
            "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
            "Content-Disposition": f'attachment; filename="{name}"',
        },
    )


# --- showing ----------------------------------------------------------------------------------


async def _show(
    request: Request,
    session: AsyncSession,
    asked: Asked,
    report: Roadmap | None,
    errors: Mapping[str, str],
) -> Response:
    values = {
        "asked": asked,
        "by": asked.by or "outcome",
        "report": report,
        "groups": [] if report is None else groups_of(report),
        "cycles": [cycle.key for cycle in await load_cycles(session)],
        "drivers": DRIVERS,
        "errors": errors,
        "definition": DEFINITION,
        "move_words": MOVE_WORDS,
        "goal_bar": goal_bar,
        "page_of_epic": page_of_epic,
    }
    return await page(request, session, "roadmap.html", values, 422 if errors else 200)
