"""The page of one goal: a key result, an objective or a cycle, and what may be done to it there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.decision_models import DecisionOut, show_decision
from app.api.deps import RuntimeDep, SessionDep
from app.web.conflicts import SHOWN_OF_ONE, STEP_WORDS
from app.web.estimate_form import ADD, DELETE, FIELDS as ESTIMATE, estimate_in, estimate_of, estimate_words
from app.web.goal_forms import (
    AGREEMENT,
    CHECK_IN,
    CYCLE,
    KEY_RESULT,
    OBJECTIVE,
    Filled,
    Refused,
    agreement_of,
    attempt,
    check_in_of,
    cycle_of,
    differing,
    key_result_of,
    objective_of,
    of_example,
    shown,
    typed,
    version_of,
)
from app.web.goal_words import address, history_chart, named, notes_on, progress_words
from app.web.page import done, page
from app.web.router import Form, FormDep, needs
from app.web.undo import Step, estimate_again_step, estimate_step
from mappings.errors import Invalid, NotFound
from mappings.goals import operations
from mappings.goals.agreements import sign_key_result
from mappings.goals.board import GoalOnBoard, count_epics, load_board, load_cycles, shared_keys
from mappings.goals.examples import EXAMPLES, example_named, examples_for
from mappings.goals.pace import WHEN_AT_RISK, WHEN_DUE
from mappings.governance.conflicts import load_conflicts
from mappings.governance.decision_log import load_decision_names
from mappings.governance.estimates import delete_estimate, estimate_key_result, load_history
from mappings.lookups import about_goal, find_goal
from mappings.policy.operations import load_policy
from mappings.tables import (
    AgreementRow,
    CheckInRow,
    CycleRow,
    DecisionRow,
    EpicRow,
    EstimateRow,
    KeyResultRow,
    LinkRow,
    ObjectiveRow,
    SourceRow,
)

router = APIRouter()

Kind = Literal["key-result", "objective", "cycle"]
TABLES: dict[Kind, Any] = {"key-result": KeyResultRow, "objective": ObjectiveRow, "cycle": CycleRow}
FIELDS: dict[Kind, tuple[str, ...]] = {"key-result": KEY_RESULT, "objective": OBJECTIVE, "cycle": CYCLE}
EPICS_AT_MOST = 50
CHECK_INS_AT_MOST = 200
SIGNATURES_AT_MOST = 50
DECISIONS_AT_MOST = 20


@dataclass(frozen=True, slots=True)
class Found:
    """`others`: the kinds of other goals that have the same key."""

    kind: Kind
    row: Any
    others: Sequence[Kind]

    def address(self, **query: Any) -> str:
        """Of this goal, also where another has its key."""
        return address(f"/goals/{self.row.key}", {"kind": self.kind if self.others else None, **query})


async def find(session: AsyncSession, key: str, kind: Kind | None) -> Found:
    """The key result of this key, else the objective, else the cycle; or the one of this `kind`. Raises
    `NotFound`."""
    rows = {name: await find_goal(session, table, key) for name, table in TABLES.items()}
    known = [name for name, row in rows.items() if row is not None]
    chosen = kind if kind in known else None if kind else next(iter(known), None)
    if chosen is None:
        raise NotFound(f"There is no {(kind or 'goal').replace('-', ' ')} {key}.")
    return Found(chosen, rows[chosen], [name for name in known if name != chosen])


KindParameter = Annotated[Kind | None, Query()]
Word = Annotated[str | None, Query(max_length=64)]


@router.get("/goals/{key}", dependencies=[needs("GET /key-results/{key}")])
async def show_goal(
    key: str,
    request: Request,
    runtime: RuntimeDep,
    session: SessionDep,
    kind: KindParameter = None,
    edit: Word = None,
    add: Word = None,
    check_in: Word = None,
    template: Word = None,
) -> HTMLResponse:
    found = await find(session, key, kind)
    opened = "edit" if edit else "add" if add else "check_in" if check_in else None
    filled = Filled()
    if opened == "edit":
        filled = Filled(await _stored(session, found), version=found.row.version)
    elif opened == "add" and template and (example := example_named(template)):
        filled = Filled(of_example(example))
    return await _show(request, session, await runtime.now(session), found, opened, filled)


@router.post(
    "/goals/{key}",
    dependencies=[
        needs("PATCH /key-results/{key}"),
        needs("DELETE /key-results/{key}"),
        needs("POST /key-results/{key}/check-ins"),
        needs("POST /key-results/{key}/agreements"),
        needs("POST /key-results/{key}/estimates"),
        needs("DELETE /estimates/{id}"),
        needs("POST /objectives/{key}/key-results"),
        needs("PATCH /objectives/{key}"),
        needs("PATCH /cycles/{key}"),
    ],
)
async def post_goal(
    key: str,
    request: Request,
    runtime: RuntimeDep,
    session: SessionDep,
    form: FormDep,
    kind: KindParameter = None,
) -> Response:
    found = await find(session, key, kind)
    act = _ACTS.get((found.kind, form.get("do"))) or _ACTS.get((None, form.get("do")))
    if act is None:
        raise Invalid("do", "says nothing to do; open the form again")
    now = await runtime.now(session)
    outcome = await act(session, found, form, now)
    if outcome.refused is None:
        to = outcome.to or found.address()
        return await done(request, session, outcome.text, to=to, undo=outcome.undo, runs=outcome.runs)
    opened = {
        "save": "edit",
        "delete": "edit",
        "add": "add",
        "check-in": "check_in",
        ADD: "estimate",
    }.get(form.get("do"))
    return await _show(request, session, now, found, opened or "sign", outcome.refused)


# --- acts -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """`text`: what was done, and `to` where to go, None for back to the goal; `undo`: the steps that take it
    back, where they can; `runs` evaluate the epics that it bears on. `refused`: the form again, where it was
    not done."""

    text: str = ""
    to: str | None = None
    undo: Sequence[Step] = ()
    runs: Sequence[int] = ()
    refused: Filled | None = None


async def check_in(session: AsyncSession, key: str, form: Form, now: datetime) -> tuple[str, Filled | None]:
    """Also of the list of goals."""
    values = typed(form, CHECK_IN)

    async def make() -> tuple[CheckInRow, KeyResultRow]:
        sent = check_in_of(values, now)
        return await operations.create_check_in(session, key, now, **sent.model_dump())

    made = await attempt(session, make())
    if isinstance(made, Refused):
        return "", Filled(values, made.errors, status=made.status)
    row, held = made
    return f"{held.key} checked in at {row.value:,.10g}{f' {held.unit}' if held.unit else ''}.", None


async def _check_in(session: AsyncSession, found: Found, form: Form, now: datetime) -> Outcome:
    text, filled = await check_in(session, found.row.key, form, now)
    return Outcome(text=text, refused=filled)


async def _sign(session: AsyncSession, found: Found, form: Form, now: datetime) -> Outcome:
    values = typed(form, AGREEMENT)

    async def make() -> tuple[AgreementRow, KeyResultRow]:
        sent = agreement_of(values)
        return await sign_key_result(session, found.row.key, now, **sent.model_dump())

    made = await attempt(session, make())
    if isinstance(made, Refused):
        return Outcome(refused=Filled(values, made.errors, status=made.status))
    side = {"business": "the business", "it": "IT"}[made[0].side]
    return Outcome(text=f"{made[0].name} signed for {side} how {made[1].key} is measured.")


async def _estimate(session: AsyncSession, found: Found, form: Form, now: datetime) -> Outcome:
    async def make() -> tuple[EstimateRow, KeyResultRow]:
        return await estimate_key_result(session, found.row.key, now, estimate_of(form, now))

    made = await attempt(session, make())
    if isinstance(made, Refused):
        return Outcome(refused=Filled(typed(form, ESTIMATE), made.errors, status=made.status))
    return Outcome(text=f"Estimated: {estimate_words(made[0])}.", undo=[estimate_step(made[0])])


async def _delete_estimate(session: AsyncSession, found: Found, form: Form, now: datetime) -> Outcome:
    row = await delete_estimate(session, estimate_in(form))
    return Outcome(text=f"Deleted: {estimate_words(row)}.", undo=[estimate_again_step(row)])


async def _add_key_result(session: AsyncSession, found: Found, form: Form, now: datetime) -> Outcome:
    values = typed(form, KEY_RESULT)

    async def make() -> tuple[KeyResultRow, list[int]]:
        sent = key_result_of(values).values()
        return await operations.create_key_result(session, found.row.key, sent, now)

    made = await attempt(session, make())
    if isinstance(made, Refused):
        return Outcome(refused=Filled(values, made.errors, status=made.status))
    row, runs = made
    to = (await find(session, row.key, "key-result")).address()
    return Outcome(text=f"{row.key} added to {found.row.key}.{_again(runs)}", to=to, runs=runs)


async def _save(session: AsyncSession, found: Found, form: Form, now: datetime) -> Outcome:
    model_of, change = _CHANGES[found.kind]
    values = typed(form, FIELDS[found.kind])

    async def make() -> Any:
        sent = model_of(values).values()
        return await change(session, found.row.key, lambda _: sent, now, versions=version_of(form))

    made = await attempt(session, make())
    if not isinstance(made, Refused):
        row, runs = made
        to = (await find(session, row.key, found.kind)).address()
        return Outcome(text=f"{row.key} saved.{_again(runs)}", to=to, runs=runs)
    again = await find(session, found.row.key, found.kind)
    differs = differing(values, await _stored(session, again)) if made.is_stale else {}
    version = again.row.version
    return Outcome(refused=Filled(values, made.errors, stored=differs, version=version, status=made.status))


async def _delete(session: AsyncSession, found: Found, form: Form, now: datetime) -> Outcome:
    key = found.row.key
    to, work = await _deletion(session, found, now)
    version = found.row.version
    gone = await attempt(session, work)
    if not isinstance(gone, Refused):
        return Outcome(text=f"{key} deleted.", to=to)
    again = await find(session, key, found.kind)
    stored = await _stored(session, again)
    return Outcome(refused=Filled(stored, gone.errors, version=version, status=gone.status))


async def _deletion(session: AsyncSession, found: Found, now: datetime) -> tuple[str, Awaitable[Any]]:
    """Where to go afterwards, and what deletes it."""
    key = found.row.key
    if found.kind == "key-result":
        above = await session.get_one(ObjectiveRow, found.row.objective_id)
        to = (await find(session, above.key, "objective")).address()
        return to, operations.delete_key_result(session, key, now)
    if found.kind == "objective":
        return "/goals", operations.delete_objective(session, key)
    return "/goals", operations.delete_cycle(session, key)


def _again(runs: Sequence[int]) -> str:
    return " The epics that it bears on are evaluated again:" if runs else ""


_CHANGES: dict[Kind, tuple[Callable[[Mapping[str, str]], Any], Callable[..., Awaitable[Any]]]] = {
    "key-result": (key_result_of, operations.change_key_result),
    "objective": (objective_of, operations.change_objective),
    "cycle": (cycle_of, operations.change_cycle),
}
_ACTS: dict[tuple[Kind | None, str], Callable[[AsyncSession, Found, Form, datetime], Awaitable[Outcome]]] = {
    ("key-result", "check-in"): _check_in,
    ("key-result", "sign"): _sign,
    ("key-result", ADD): _estimate,
    ("key-result", DELETE): _delete_estimate,
    ("objective", "add"): _add_key_result,
    (None, "save"): _save,
    (None, "delete"): _delete,
}


# --- showing ----------------------------------------------------------------------------------


async def _stored(session: AsyncSession, found: Found) -> dict[str, str]:
    """What the form of the goal is filled with."""
    row = found.row
    own = {name: getattr(row, name) for name in FIELDS[found.kind] if hasattr(row, name)}
    if found.kind == "key-result":
        own |= {f"metric.{name}": getattr(row, name) for name in ("unit", "baseline", "target", "direction")}
    elif found.kind == "objective":
        cycle = select(CycleRow.key).where(CycleRow.id == row.cycle_id)
        parent = select(ObjectiveRow.key).where(ObjectiveRow.id == row.parent_id)
        own |= {"cycle": await session.scalar(cycle), "parent": await session.scalar(parent)}
    return shown(own)


async def _show(
    request: Request,
    session: AsyncSession,
    now: datetime,
    found: Found,
    opened: str | None,
    filled: Filled,
) -> HTMLResponse:
    values = {
        "found": found,
        "row": found.row,
        "opened": opened,
        "form": filled,
        "now": now,
        "named": named,
        "notes_on": notes_on,
        "progress_words": progress_words,
        "when_due": WHEN_DUE,
        "when_at_risk": WHEN_AT_RISK,
        "shared": await shared_keys(session),
    }
    if found.kind == "key-result":
        own = await _key_result(session, found.row, now)
    elif found.kind == "objective":
        own = await _objective(session, found.row, now, opened)
    else:
        own = {"objectives": await _objectives(session, ObjectiveRow.cycle_id == found.row.id)}
    own["decisions"] = await _decisions(session, found)
    if found.kind != "cycle":
        about = (found.kind.replace("-", "_"), found.row.id)
        policy = await load_policy(session)
        on_it = await load_conflicts(session, policy, now, goal=about, newest=SHOWN_OF_ONE)
        own |= {"conflicts_on": on_it, "steps": STEP_WORDS}
    template = f"goal_{found.kind.replace('-', '_')}.html"
    return await page(request, session, template, values | own, filled.status)


async def _decisions(session: AsyncSession, found: Found) -> list[DecisionOut]:
    """The newest about the goal, or with it as target or measure; undone ones too."""
    if found.kind == "cycle":
        return []
    query = select(DecisionRow).where(about_goal(found.row)).order_by(DecisionRow.id.desc())
    rows = list(await session.scalars(query.limit(DECISIONS_AT_MOST)))
    names = await load_decision_names(session, rows)
    return [show_decision(row, names) for row in rows]


async def _key_result(session: AsyncSession, row: KeyResultRow, now: datetime) -> dict[str, Any]:
    (goal,) = await load_board(session, now, KeyResultRow.id == row.id)
    check_ins = await load_check_ins(session, row.id)
    signatures = (
        select(AgreementRow)
        .where(AgreementRow.key_result_id == row.id)
        .order_by(AgreementRow.id.desc())
        .limit(SIGNATURES_AT_MOST)
    )
    return {
        "goal": goal,
        "chart": history_chart(goal, check_ins, now),
        "check_ins": check_ins,
        "signatures": list(await session.scalars(signatures)),
        "history": await load_history(session, "key_result", row.id),
        "epics": await _epics(session, row.id),
        "epics_at_most": EPICS_AT_MOST,
    }


async def _objective(
    session: AsyncSession, row: ObjectiveRow, now: datetime, opened: str | None
) -> dict[str, Any]:
    goals: list[GoalOnBoard] = await load_board(session, now, ObjectiveRow.id == row.id)
    editing = opened == "edit"
    parents = await _objectives(session, ObjectiveRow.id != row.id) if editing else []
    return {
        "results": goals,
        "epics": await count_epics(session, [one.row.id for one in goals]),
        "cycle": None if row.cycle_id is None else await session.get(CycleRow, row.cycle_id),
        "parent": None if row.parent_id is None else await session.get(ObjectiveRow, row.parent_id),
        "children": await _objectives(session, ObjectiveRow.parent_id == row.id),
        "cycles": await load_cycles(session) if editing else [],
        "parents": parents,
        "examples": examples_for(row.driver) if opened == "add" else EXAMPLES[:0],  # type: ignore[arg-type]
    }


async def _objectives(session: AsyncSession, which: Any) -> list[ObjectiveRow]:
    return list(await session.scalars(select(ObjectiveRow).where(which).order_by(ObjectiveRow.id)))


async def load_check_ins(session: AsyncSession, key_result_id: int) -> list[CheckInRow]:
    """The latest, newest first."""
    query = select(CheckInRow).where(CheckInRow.key_result_id == key_result_id)
    query = query.order_by(CheckInRow.at.desc(), CheckInRow.id.desc()).limit(CHECK_INS_AT_MOST)
    return list(await session.scalars(query))


async def _epics(session: AsyncSession, key_result_id: int) -> list[Any]:
    """The first of its epics, in the order of their list, with the names of their sources."""
    linked = select(LinkRow.epic_id).where(LinkRow.key_result_id == key_result_id)
    query = (
        select(EpicRow, SourceRow.name)
        .join(SourceRow, SourceRow.id == EpicRow.source_id)
        .where(EpicRow.id.in_(linked), EpicRow.removed_at.is_(None))
        .order_by(EpicRow.id)
        .limit(EPICS_AT_MOST)
    )
    return list((await session.execute(query)).all())
