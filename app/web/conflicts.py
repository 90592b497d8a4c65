"""Conflicts, and who is to decide each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, cast
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import HTMLResponse, Response
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app import pipeline
from app.api.deps import CallerDep, RuntimeDep, SessionDep
from app.api.problems import Problem
from app.auth.roles import Caller
from app.runtime import Runtime
from app.web.forms import wrong_fields
from app.web.page import done, page
from app.web.review_forms import typed_day
from app.web.router import Form, FormDep, needs
from mappings.errors import Conflict, Invalid
from mappings.governance.conflicts import (
    ConflictShown,
    change_conflict,
    count_decided,
    load_conflicts,
    raise_conflict,
    withdraw_conflict,
)
from mappings.governance.decisions import ON_GOALS, record_decision
from mappings.governance.values import CommitteeSide, Person
from mappings.policy.document import EscalatedTo
from mappings.policy.operations import load_policy
from mappings.tables import ReviewItemRow, ReviewRow, among

router = APIRouter()

# The last step first: there it waits longest. None: no step is reached yet.
STEPS: tuple[EscalatedTo | None, ...] = ("committee", "sponsor", "lead", "owner", None)
STEP_WORDS: dict[EscalatedTo | None, str] = {
    "committee": "The committee",
    "sponsor": "The sponsor",
    "lead": "The lead",
    "owner": "The owner",
    None: "Nobody yet",
}
DECISION_WORDS = {
    "keep": "Keep: it goes on as it is",
    "remap": "Remap: it serves another key result",
    "stop": "Stop it",
    "defer": "Defer it until a day",
    "pilot": "Pilot it, with a measure and a day",
    "scale": "Scale it",
}
PEOPLE = 3  # lines of the form of a decision
DECIDED_AT_MOST, SHOWN_OF_ONE = 100, 50
_ID = Annotated[int | None, Query(ge=1, lt=2**63)]


@dataclass(frozen=True, slots=True)
class PageAddress:
    """What the page's address asks for. `decide` and `edit`: the conflict whose form is open; `goal`: the key
    of the goal that the form of a new one begins with."""

    state: Literal["open", "decided"]
    decide: int | None
    edit: int | None
    goal: str | None

    def address(self, **changes: Any) -> str:
        kept = {"state": None if self.state == "open" else self.state, **changes}
        kept = {name: value for name, value in kept.items() if value is not None}
        return f"/conflicts?{urlencode(kept)}" if kept else "/conflicts"


async def _page_address(
    state: Literal["open", "decided"] = "open",
    decide: _ID = None,
    edit: _ID = None,
    goal: Annotated[str | None, Query(max_length=64)] = None,
) -> PageAddress:
    return PageAddress(state, decide, edit, goal)


AddressDep = Annotated[PageAddress, Depends(_page_address)]


@dataclass(frozen=True, slots=True)
class Refused:
    """A form that was not taken: what it was to do, what is wrong by field, and what was typed. `people`: the
    name and side of each line that has a name."""

    act: str = ""
    errors: Mapping[str, str] = field(default_factory=dict)
    typed: Mapping[str, str] = field(default_factory=dict)
    people: Sequence[Person] = ()


@router.get("/conflicts", dependencies=[needs("GET /conflicts")])
async def show_conflicts(
    request: Request, runtime: RuntimeDep, session: SessionDep, asked: AddressDep
) -> HTMLResponse:
    return await _page(request, runtime, session, asked, Refused())


@router.post(
    "/conflicts",
    dependencies=[
        needs("POST /conflicts"),
        needs("PATCH /conflicts/{id}"),
        needs("DELETE /conflicts/{id}"),
        needs("POST /conflicts/{id}/decisions"),
    ],
    response_model=None,
)
async def change_conflicts(
    request: Request, runtime: RuntimeDep, form: FormDep, caller: CallerDep, asked: AddressDep
) -> Response:
    """`do`: raise one (on the goal `goal`, else on the epic `key` of `source`), or change, withdraw or decide
    the conflict `conflict`."""
    runs: Sequence[int] = ()
    try:
        match form.get("do"):
            case "raise":
                text = await _raise(runtime, form, caller)
            case "change":
                async with runtime.transaction(caller.who) as session:
                    sides = {"technical": form.get("technical"), "business": form.get("business")}
                    await change_conflict(session, _id(form), **sides, versions=_versions(form))
                text = "The conflict was changed; its days go on."
            case "withdraw":
                async with runtime.transaction(caller.who) as session:
                    await withdraw_conflict(session, _id(form), versions=_versions(form))
                text = "The conflict was withdrawn."
            case "decide":
                text, runs = await decide(runtime, caller, form, _id(form))
            case _:
                raise Problem(422, "This form asks for nothing that this page can do: reload it.")
    except (Invalid, Conflict) as error:
        refused = Refused(form.get("do"), wrong_fields(error), form.values(), people_in(form))
        async with runtime.transaction() as session:
            return await _page(request, runtime, session, asked, refused)
    async with runtime.transaction() as session:
        return await done(request, session, text, to=asked.address(), runs=runs)


def _id(form: Form) -> int:
    found = form.id("conflict")
    if found is None:
        raise Problem(422, "This form names no conflict: reload the page.")
    return found


def _versions(form: Form) -> list[int] | None:
    found = form.id("version")
    return None if found is None else [found]


async def _raise(runtime: Runtime, form: Form, caller: Caller) -> str:
    goal, key = form.get("goal"), form.get("key")
    if not goal and not key:
        raise Invalid("key", "name the epic, or the goal, that it is about")
    async with runtime.transaction(caller.who) as session:
        await raise_conflict(
            session,
            await runtime.now(session),
            epic=(form.get("source"), key) if key else None,
            goal=goal or None,
            technical=form.get("technical"),
            business=form.get("business"),
        )
    return f"The conflict on {key or goal} was recorded."


async def decide(runtime: Runtime, caller: Caller, form: Form, id: int) -> tuple[str, Sequence[int]]:
    """Record the decision that a form has, outside of a review; what to say, and the runs that it opened."""
    async with runtime.transaction(caller.who) as session:
        recorded = await record_decision(
            session,
            await runtime.now(session),
            decision=form.get("decision"),
            epic=None,
            key_result=form.get("key_result") or None,
            measure=form.get("measure") or None,
            by=typed_day(form, "by", needed=False),
            reason=form.get("reason"),
            decided_by=people_in(form),
            conflict_id=id,
        )
        text = " ".join([f"Decided: {recorded.row.decision}.", *recorded.says])
    return text, await pipeline.evaluate_at_once(runtime, recorded.runs)


def people_in(form: Form) -> list[Person]:
    """The fields `name` and `side` of each line that names somebody; the operation refuses a side that is
    none."""
    lines = zip(form.all("name"), form.all("side"), strict=False)
    return [Person(name.strip(), cast("CommitteeSide", side)) for name, side in lines if name.strip()]


# --- what is shown ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class OnAgenda:
    """The open review that has a conflict on its agenda, and the item."""

    review: int
    item: int


async def on_agendas(session: AsyncSession, ids: Sequence[int]) -> dict[int, OnAgenda]:
    """Of these conflicts those that an open review has on its agenda."""
    about = ReviewItemRow.about["conflict"].as_integer()
    query = (
        select(about, ReviewItemRow.review_id, ReviewItemRow.id)
        .join(ReviewRow, ReviewRow.id == ReviewItemRow.review_id)
        .where(ReviewRow.state == "open", ReviewItemRow.kind == "conflict", among(about, ids))
        .order_by(ReviewItemRow.id)
    )
    return {id: OnAgenda(review, item) for id, review, item in await session.execute(query)} if ids else {}


async def _page(
    request: Request, runtime: Runtime, session: AsyncSession, asked: PageAddress, refused: Refused
) -> HTMLResponse:
    now = await runtime.now(session)
    policy = await load_policy(session)
    pending = await load_conflicts(session, policy, now, state="open")
    decided: list[ConflictShown] = []
    if asked.state == "decided":
        decided = await load_conflicts(session, policy, now, state="decided", newest=DECIDED_AT_MOST)
    groups: list[tuple[str, EscalatedTo | None, list[ConflictShown]]] = []
    for step in STEPS:
        found = [one for one in pending if one.position.step == step]
        if found:
            groups.append((STEP_WORDS[step], step, found))
    shown = pending if asked.state == "open" else decided
    values = {
        "asked": asked,
        "groups": groups,
        "open": len(pending),
        "decided": decided[::-1],
        "decided_count": await count_decided(session),
        "agendas": await on_agendas(session, [one.row.id for one in shown]),
        "refused": refused,
        "now": now,
        "step_words": STEP_WORDS,
        "decision_words": DECISION_WORDS,
        "on_goals": ON_GOALS,
        "people": range(max(PEOPLE, len(refused.people))),
    }
    return await page(request, session, "conflicts.html", values, 422 if refused.errors else 200)
