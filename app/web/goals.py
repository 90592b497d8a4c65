"""All goals: the tree of objectives with their key results, checking in, and making cycles and objectives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import defer

from app.api.deps import RuntimeDep, SessionDep
from app.web import goal
from app.web.goal_forms import CYCLE, OBJECTIVE, Filled, Refused, attempt, cycle_of, objective_of, typed
from app.web.goal_words import address, history_chart, named, notes_on, progress_words
from app.web.page import done, page
from app.web.router import Form, FormDep, needs, redirect
from mappings.errors import Invalid
from mappings.goals import operations
from mappings.goals.board import (
    CHECKS,
    NO_CYCLE,
    BoardFilters,
    GoalOnBoard,
    fits,
    load_board,
    load_cycles,
    of_cycles,
    shared_keys,
    shown_cycles,
)
from mappings.goals.key_results import CLOSED
from mappings.goals.pace import WHEN_AT_RISK, WHEN_DUE, ends_at, share_gone, starts_at
from mappings.goals.tree import in_order
from mappings.lookups import goal_at
from mappings.tables import CycleRow, ObjectiveRow

router = APIRouter()

ROWS_A_PAGE = 75
DRIVERS = ("growth", "cost", "experience", "risk", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The parameters of the page's address, empty ones None."""

    cycle: str | None = None
    driver: str | None = None
    check: str | None = None
    steered: str | None = None
    risk: str | None = None
    state: str | None = None
    page: int = 1
    check_in: str | None = None
    add: str | None = None

    @property
    def filters(self) -> BoardFilters:
        return BoardFilters(
            driver=self.driver,
            check=self.check,
            steered=self.steered,
            risk=self.risk is not None,
            closed=self.state is not None,
        )

    def address(self, **changed: Any) -> str:
        """This list with other parameters; what is open in it and its page are left out unless given."""
        query = {**asdict(self), "page": None, "check_in": None, "add": None, **changed}
        return address("/goals", query)


Word = Annotated[str | None, Query(max_length=64)]


async def _asked(
    cycle: Word = None,
    driver: Word = None,
    check: Word = None,
    steered: Word = None,
    risk: Word = None,
    state: Word = None,
    page: Annotated[int, Query(ge=1, le=10_000)] = 1,
    check_in: Word = None,
    add: Word = None,
) -> Asked:
    known = {
        "driver": (driver, DRIVERS),
        "check": (check, tuple(CHECKS)),
        "steered": (steered, ("yes", "no")),
        "risk": (risk, ("1",)),
        "state": (state, ("closed",)),
        "add": (add, ("objective", "cycle")),
    }
    for name, (value, words) in known.items():
        if value and value not in words:
            raise Invalid(name, f"must be one of {', '.join(words)}")
    return Asked(
        cycle=cycle or None,
        driver=driver or None,
        check=check or None,
        steered=steered or None,
        risk=risk or None,
        state=state or None,
        page=page,
        check_in=check_in or None,
        add=add or None,
    )


AskedDep = Annotated[Asked, Depends(_asked)]


@router.get("/goals", dependencies=[needs("GET /key-results")])
async def show_goals(request: Request, runtime: RuntimeDep, session: SessionDep, asked: AskedDep) -> Response:
    return await _show(request, session, await runtime.now(session), asked, Filled())


@router.post(
    "/goals",
    dependencies=[
        needs("POST /key-results/{key}/check-ins"),
        needs("POST /objectives"),
        needs("POST /cycles"),
    ],
)
async def post_goals(
    request: Request, runtime: RuntimeDep, session: SessionDep, asked: AskedDep, form: FormDep
) -> Response:
    """Checks in the key result that is open in the list, or makes the objective or cycle whose form is."""
    now = await runtime.now(session)
    if asked.check_in is not None:
        text, filled = await goal.check_in(session, asked.check_in, form, now)
        if filled is None:
            return await done(request, session, text, to=asked.address(page=_later(asked.page)))
    elif asked.add == "cycle":
        text, filled = await _add_cycle(session, form, now)
        if filled is None:
            return await done(request, session, text, to=address("/goals", {"cycle": form.get("key")}))
    elif asked.add == "objective":
        text, filled = await _add_objective(session, form, now)
        if filled is None:
            to = address("/goals", {"cycle": form.get("cycle") or NO_CYCLE})
            return await done(request, session, text, to=to)
    else:
        raise Invalid("do", "says nothing to do; open the form again")
    return await _show(request, session, now, asked, filled)


async def _add_cycle(session: AsyncSession, form: Form, now: datetime) -> tuple[str, Filled | None]:
    values = typed(form, CYCLE)

    async def make() -> CycleRow:
        return await operations.create_cycle(session, cycle_of(values).values(), now)

    made = await attempt(session, make())
    if isinstance(made, Refused):
        return "", Filled(values, made.errors, status=made.status)
    return f"Cycle {made.key} made. Now set its objectives.", None


async def _add_objective(session: AsyncSession, form: Form, now: datetime) -> tuple[str, Filled | None]:
    values = typed(form, OBJECTIVE)

    async def make() -> ObjectiveRow:
        return await operations.create_objective(session, objective_of(values).values(), now)

    made = await attempt(session, make())
    if isinstance(made, Refused):
        return "", Filled(values, made.errors, status=made.status)
    return f"{made.key} set. Open it to say how it is measured.", None


# --- showing ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Group:
    """An objective with those of its key results that are shown. `depth`: how many of its ancestors are
    shown; `parent`: the one it serves, None for none; `share`: of the weights of its cycle's open
    objectives."""

    objective: ObjectiveRow
    depth: int
    parent: ObjectiveRow | None
    share: float | None
    goals: Sequence[GoalOnBoard]


async def _show(
    request: Request, session: AsyncSession, now: datetime, asked: Asked, filled: Filled
) -> Response:
    """The list. A key result to check in that is not in it is opened on its own page."""
    cycles = await load_cycles(session)
    chosen, without = await _chosen(session, cycles, asked.cycle, now)
    within = of_cycles([one.id for one in chosen], without=without)
    board = await load_board(session, now, within)
    objectives = await _objectives(session, within)
    filters = asked.filters
    of_driver = BoardFilters(driver=filters.driver)
    counted = [one for one in board if fits(one, of_driver)]
    found = [one for one in counted if fits(one, filters)]
    opened = await _opened(session, found, asked.check_in, now)
    if asked.check_in is not None and opened is None and not filled.errors:
        return redirect(request, address(f"/goals/{asked.check_in}", {"check_in": 1}))
    empty_too = filters == of_driver
    groups = list(await _groups(session, objectives, found, filters.driver, empty_too=empty_too))
    pages = _in_pages(groups)
    number = asked.page if opened is None else _page_with(pages, opened["goal"])
    on_page = pages[number - 1] if number <= len(pages) else []
    values = {
        "asked": asked,
        "cycles": cycles,
        "chosen": chosen,
        "only": asked.cycle,
        "gone": [(one, share_gone(starts_at(one.starts), ends_at(one.ends), now)) for one in chosen],
        "objectives": objectives,
        "groups": on_page,
        "number": number,
        "pages": len(pages),
        "tabs": _tabs(asked, counted),
        "is_empty": not objectives and not cycles,
        "opened": opened,
        "form": filled if asked.add is None else _new(filled, chosen),
        "parents": await _parents(session) if asked.add == "objective" else [],
        "now": now,
        "when_due": WHEN_DUE,
        "when_at_risk": WHEN_AT_RISK,
        "named": named,
        "notes_on": notes_on,
        "progress_words": progress_words,
        "shared": await shared_keys(session),
    }
    return await page(request, session, "goals.html", values, filled.status)


async def _chosen(
    session: AsyncSession, cycles: Sequence[CycleRow], key: str | None, now: datetime
) -> tuple[list[CycleRow], bool]:
    """The cycles that are shown, and whether goals without one are."""
    if key == NO_CYCLE:
        return [], True
    if key is not None:
        return [await goal_at(session, CycleRow, key)], False
    return shown_cycles(cycles, now.date()), True


async def _objectives(session: AsyncSession, within: Any) -> list[ObjectiveRow]:
    query = select(ObjectiveRow).where(within).order_by(ObjectiveRow.id)
    return list(await session.scalars(query.options(defer(ObjectiveRow.description))))


async def _parents(session: AsyncSession) -> list[ObjectiveRow]:
    """Those that an objective may serve: all that are open."""
    query = select(ObjectiveRow).where(ObjectiveRow.state.not_in(CLOSED)).order_by(ObjectiveRow.id)
    return list(await session.scalars(query.options(defer(ObjectiveRow.description))))


async def _groups(
    session: AsyncSession,
    objectives: Sequence[ObjectiveRow],
    found: Sequence[GoalOnBoard],
    driver: str | None,
    *,
    empty_too: bool,
) -> Iterator[Group]:
    by_id = {one.id: one for one in objectives}
    goals: dict[int, list[GoalOnBoard]] = {}
    for one in found:
        goals.setdefault(one.objective.id, []).append(one)
    elsewhere = {one.parent_id for one in objectives} - by_id.keys() - {None}
    above = {
        one.id: one
        for one in await session.scalars(select(ObjectiveRow).where(ObjectiveRow.id.in_(elsewhere)))
    }
    weights: dict[int | None, float] = {}
    for objective in objectives:
        if objective.state not in CLOSED:
            weights[objective.cycle_id] = weights.get(objective.cycle_id, 0) + objective.weight

    def share(one: ObjectiveRow) -> float | None:
        whole = weights.get(one.cycle_id, 0)
        return one.weight / whole if whole and one.state not in CLOSED else None

    return (
        Group(
            objective=by_id[id],
            depth=depth,
            parent=by_id.get(by_id[id].parent_id or 0) or above.get(by_id[id].parent_id or 0),
            share=share(by_id[id]),
            goals=goals.get(id, []),
        )
        for id, depth in in_order({one.id: one.parent_id for one in objectives})
        if goals.get(id) or (empty_too and driver in (None, by_id[id].driver or "none"))
    )


def _in_pages(groups: Sequence[Group]) -> list[list[Group]]:
    """The pages of rows, one at least. A group that goes on names its objective again."""
    pages: list[list[Group]] = [[]]
    left = ROWS_A_PAGE
    for group in groups:
        rest: Sequence[GoalOnBoard] = group.goals
        while True:
            if left <= 0:
                pages.append([])
                left = ROWS_A_PAGE
            pages[-1].append(replace(group, goals=rest[:left]))
            rest, left = rest[left:], left - max(1, len(rest[:left]))
            if not rest:
                break
    return pages


def _page_with(pages: Sequence[Sequence[Group]], row: GoalOnBoard) -> int:
    return next(
        number
        for number, groups in enumerate(pages, 1)
        if any(one is row for group in groups for one in group.goals)
    )


@dataclass(frozen=True, slots=True)
class Tab:
    words: str
    count: int
    to: str
    chosen: bool


def _tabs(asked: Asked, counted: Sequence[GoalOnBoard]) -> list[Tab]:
    """The views with how many key results each has, of the cycles and the driver that are chosen."""
    none: dict[str, Any] = {"check": None, "steered": None, "risk": None, "state": None}
    views: list[tuple[str, Mapping[str, Any]]] = [
        ("All", {}),
        ("To check in", {"check": "check-in"}),
        ("At risk", {"risk": "1"}),
        ("Not agreed", {"check": "not-agreed"}),
        ("Unmeasured", {"check": "unmeasured"}),
        ("Without owner", {"check": "no-owner"}),
        ("No work", {"check": "no-work"}),
        ("Not steered", {"steered": "no"}),
        ("Closed", {"state": "closed"}),
    ]
    tabs: list[Tab] = []
    for words, own in views:
        view = replace(asked, **{**none, **own})
        count = sum(fits(one, view.filters) for one in counted)
        tabs.append(Tab(words, count, view.address(), view.filters == asked.filters))
    return tabs


async def _opened(
    session: AsyncSession, listed: Sequence[GoalOnBoard], key: str | None, now: datetime
) -> dict[str, Any] | None:
    """The key result that is open for a check-in, with the chart of its history."""
    found = next((one for one in listed if key is not None and one.row.key.lower() == key.lower()), None)
    if found is None:
        return None
    check_ins = await goal.load_check_ins(session, found.row.id)
    return {"goal": found, "chart": history_chart(found, check_ins, now)}


def _new(filled: Filled, chosen: Sequence[CycleRow]) -> Filled:
    """A form with what is likely: the cycle that is shown."""
    if filled.values or not chosen:
        return filled
    return replace(filled, values={"cycle": chosen[0].key, "review": "quarterly"})


def _later(number: int) -> int | None:
    return number if number > 1 else None


router.include_router(goal.router)
