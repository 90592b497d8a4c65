"""Connecting a tracker on a page, step by step.

What was typed goes from one step to the next in a hidden field, sealed with the key that seals the secrets of
sources, for this session alone and for an hour. So nothing of a source that is not made yet is stored, two
windows do not disturb each other, and nothing has to be tidied up. Whoever changes the address types the
login anew: no token goes to a host that it was not typed for.
"""

from __future__ import annotations

import asyncio
import dataclasses
import secrets
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse
from pydantic import SecretStr
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.deps import CallerDep, RuntimeDep, SessionDep
from app.api.problems import Problem
from app.api.source_models import FactOut, SourcePatch, facts_out
from app.api.sources import change_source, get_source
from app.diagnostics.check import check_draft
from app.runtime import Runtime
from app.secrets import Binding, CannotDecrypt
from app.shadow_report import Preview, lines_of, load_preview
from app.source_answers import (
    ALL,
    PLAN_FIELDS,
    Answers,
    WrongAnswer,
    check_name,
    find_tracker,
    name_for,
    names_in,
    sign_in,
)
from app.source_drafts import create_from_draft
from app.web.forms import for_people, wrong_fields
from app.web.page import done, page
from app.web.router import Form, FormDep, needs
from app.web.runs import load_progress
from connectors.diagnostics import MOST_CHOICES, WRONG, Choice, Fact
from connectors.registry import KINDS
from connectors.set_up import Page
from mappings.errors import Conflict, Invalid
from mappings.lookups import source_at
from mappings.tables import RunRow

router = APIRouter()

STEPS = ("where", "login", "scope", "rights")
CARRIED_FOR = timedelta(hours=1)
CARRIED = "carried"
OVER = "What you typed was for another session, or is over an hour old. Begin again."
# By the member of the source, the field of the form that asks for it.
FIELDS = {
    "base_url": "address",
    "credentials": "token",
    "scope": "more",
    "projects": "more",
    "repositories": "more",
    "organizations": "more",
    "epics": "labels",
}
STEP_OF = {"address": "where", "email": "login", "token": "login"}
ORDER = ("failed", "missing", "not_needed", "not_shown", "ok")
Result = TypeVar("Result")


def field_of(member: str) -> str:
    last = member.rpartition(".")[2]
    return FIELDS.get(last, last)


@dataclass
class Connecting:
    """How far somebody has come. `account`: whom the tracker knows the login as. `pasted`: the address as it
    was typed, and the project that its page was about. `choices`, `facts`: what the tracker just said."""

    answers: Answers = field(default_factory=Answers)
    account: str = ""
    pasted: str = ""
    pasted_project: str = ""
    step: str = "where"
    choices: Sequence[Choice] = ()
    facts: Sequence[Fact] = ()
    checked: bool = False

    def sealed(self, runtime: Runtime, session_id: int, now: datetime) -> str:
        token = None if self.answers.token is None else self.answers.token.get_secret_value()
        document = {
            "answers": {**asdict(self.answers), "token": token},
            "account": self.account,
            "pasted": self.pasted,
            "pasted_project": self.pasted_project,
            "until": (now + CARRIED_FOR).isoformat(),
        }
        return runtime.cipher.encrypt(document, _binding(session_id)).decode()

    @classmethod
    def opened(cls, runtime: Runtime, carried: str, session_id: int, now: datetime) -> Connecting | None:
        """None where it was sealed for another session, or more than an hour ago."""
        try:
            document = runtime.cipher.decrypt(carried.encode(), _binding(session_id))
        except CannotDecrypt:
            return None
        if datetime.fromisoformat(document.pop("until")) <= now:
            return None
        answers = Answers(**document.pop("answers"))
        if answers.token is not None:
            answers.token = SecretStr(str(answers.token))
        return cls(answers, **document)

    @property
    def wrong(self) -> list[Fact]:
        return [fact for fact in self.facts if fact.level in WRONG]

    def left_without(self, projects: Sequence[str]) -> list[str]:
        """The chosen projects without these; none where the scope cannot be told."""
        refused = {project.casefold() for project in projects}
        names = self.answers.projects or []
        return [] if ALL in names else [name for name in names if name.casefold() not in refused]


def _binding(session_id: int) -> Binding:
    return Binding("connecting", f"session {session_id}")


# --- the steps ------------------------------------------------------------------------------------


async def _in_time(runtime: Runtime, host: str, asked: Awaitable[Result]) -> Result:
    seconds = runtime.timeouts.read
    try:
        async with asyncio.timeout(seconds):
            return await asked
    except TimeoutError:
        message = f"{host} did not answer within {seconds:g} seconds. Try again, or see that it is reachable"
        raise WrongAnswer("base_url", message, by_tracker=True) from None


async def _where(runtime: Runtime, state: Connecting, form: Form) -> None:
    state.pasted = form.get("address")
    found = await _in_time(runtime, "The tracker", find_tracker(runtime.network, state.pasted))
    if (found.kind, found.base_url) != (state.answers.kind, state.answers.base_url):
        state.answers = Answers(kind=found.kind, base_url=found.base_url)
        state.account = ""
    state.pasted_project = found.project
    state.step = "login" if not state.account else "scope"
    if state.step == "scope":
        await _load_choices(runtime, state)


async def _login(runtime: Runtime, state: Connecting, form: Form) -> None:
    _needs_tracker(state)
    state.answers.email = form.get("email") or None
    token = form.get("token")
    if not token:
        raise WrongAnswer("credentials.token", "is needed: paste it here")
    if state.answers.email is None and "email" in KINDS[state.answers.kind or ""].credentials.model_fields:
        raise WrongAnswer("credentials.email", "is needed: that of the account whose token it is")
    state.answers.token, state.account = SecretStr(token), ""
    await _load_choices(runtime, state)
    state.step = "scope"


async def _load_choices(runtime: Runtime, state: Connecting) -> None:
    login = await _in_time(runtime, state.answers.base_url or "", sign_in(runtime, state.answers))
    state.account, state.choices = login.account, login.choices


async def _scope(runtime: Runtime, state: Connecting, form: Form) -> None:
    _needs_login(state)
    answers = state.answers
    names = [ALL] if form.get("everything") else [*form.all("project"), *names_in(form.get("more"))]
    answers.projects = list(dict.fromkeys(names))
    answers.jql = form.get("jql") or None
    answers.issue_types = names_in(form.get("issue_types")) or None
    answers.labels = names_in(form.get("labels")) or None
    answers.with_sub_issues = True if form.get("with_sub_issues") else None
    for member in PLAN_FIELDS:
        setattr(answers, member, form.get(member) or None)
    answers.name = form.get("name") or name_for(answers)
    if not answers.projects:
        raise WrongAnswer("scope", f"choose at least one of the {KINDS[answers.kind or ''].set_up.projects}")
    await _check(runtime, state)


async def _check(runtime: Runtime, state: Connecting, form: Form | None = None) -> None:
    """Ask the tracker about all of it."""
    _needs_login(state)
    draft = state.answers.draft()
    await check_name(runtime, draft.name)
    state.facts = await check_draft(runtime, draft, runtime.timeouts.read)
    state.step, state.checked = "rights", True


async def _without(runtime: Runtime, state: Connecting, form: Form) -> None:
    """Go on without the projects in which something is missing."""
    _needs_login(state)
    state.answers.projects = state.left_without(names_in(form.get("do").partition(":")[2]))
    if not state.answers.projects:
        raise WrongAnswer("scope", "nothing would be left to read")
    await _check(runtime, state)


async def _change(runtime: Runtime, state: Connecting, form: Form) -> None:
    """Back to a step that is answered."""
    step = form.get("do").partition(":")[2]
    state.step = step if step in STEPS[:3] else "where"
    if state.step == "scope":
        _needs_login(state)
        await _load_choices(runtime, state)


def _needs_tracker(state: Connecting) -> None:
    if state.answers.kind is None:
        raise WrongAnswer("base_url", "comes first: paste the tracker's address")


def _needs_login(state: Connecting) -> None:
    _needs_tracker(state)
    if not state.account:
        raise WrongAnswer("credentials.token", "comes first: sign in")


ACTIONS: dict[str, Callable[[Runtime, Connecting, Form], Awaitable[None]]] = {
    "where": _where,
    "login": _login,
    "scope": _scope,
    "check": _check,
    "without": _without,
    "change": _change,
}


# --- the page -------------------------------------------------------------------------------------


@router.get("/sources/new", dependencies=[needs("POST /sources")])
async def show_connecting(
    request: Request,
    runtime: RuntimeDep,
    session: SessionDep,
    source: Annotated[str | None, Query(max_length=64)] = None,
) -> HTMLResponse:
    if source is not None:
        return await _show_made(request, runtime, session, source)
    return await _show(request, runtime, session, Connecting(), {})


@router.post("/sources/new", dependencies=[needs("POST /sources")])
async def connect_tracker(
    request: Request,
    form: FormDep,
    runtime: RuntimeDep,
    session: SessionDep,
    caller: CallerDep,
    source: Annotated[str | None, Query(max_length=64)] = None,
) -> Response:
    """Each step, and at last the source itself. No transaction is open while the tracker is asked."""
    if source is not None:
        if form.get("do") != "secret":
            raise Problem(422, "There is no such button on this page.")
        secret = await new_webhook_secret(runtime, caller.who, source)
        return await _show_made(request, runtime, session, source, secret)
    async with runtime.sessions() as looking:
        now = await runtime.now(looking)
    carried = form.get(CARRIED)
    state = (
        Connecting.opened(runtime, carried, request.state.web_session.id, now) if carried else Connecting()
    )
    if state is None:
        return await _show(request, runtime, session, Connecting(), {"": OVER})
    do = form.get("do")
    errors: dict[str, str] = {}
    try:
        if do == "make":
            await _check(runtime, state)
            if not state.wrong:
                return await _make(request, runtime, session, caller.who, state)
        elif (action := ACTIONS.get(do.partition(":")[0])) is not None:
            await action(runtime, state, form)
        else:
            errors = {"": "There is no such step. Begin again."}
    except WrongAnswer as wrong:
        errors = {
            name: for_people(message)
            for name, message in (await _step_back(runtime, state, do, wrong)).items()
        }
    except (Conflict, Invalid) as error:
        errors = wrong_fields(error)
    return await _show(request, runtime, session, state, errors)


async def _step_back(runtime: Runtime, state: Connecting, do: str, wrong: WrongAnswer) -> dict[str, str]:
    """What is wrong, by field, on the step that asks for it."""
    name, asked = field_of(wrong.field), do.partition(":")[0]
    if name == "address" and asked not in ("", "where") and state.answers.kind is not None:
        # The address was right before: now the tracker does not answer.
        state.step = "login" if asked == "login" else "scope"
        return {"": wrong.message}
    state.step = STEP_OF.get(name, "scope")
    if state.step == "scope" and not state.choices:
        with suppress(WrongAnswer):  # without the list one types the names
            await _load_choices(runtime, state)
    return {name: wrong.message}


async def _make(
    request: Request, runtime: Runtime, session: AsyncSession, who: str, state: Connecting
) -> Response:
    draft = state.answers.draft()
    async with runtime.transaction(who) as making:
        await create_from_draft(runtime, making, draft, await runtime.now(making))
    return await done(
        request,
        session,
        f"{draft.name} is made, in shadow: nothing is written on tickets.",
        to=f"/sources/new?source={draft.name}",
    )


async def _show(
    request: Request, runtime: Runtime, session: AsyncSession, state: Connecting, errors: dict[str, str]
) -> HTMLResponse:
    now = await runtime.now(session)
    kind = KINDS.get(state.answers.kind or "")
    chosen = {name.casefold() for name in state.answers.projects or [state.pasted_project]}
    listed = {choice.key.casefold() for choice in state.choices}
    values = {
        "state": state,
        "answers": state.answers,
        "steps": STEPS,
        "carried": state.sealed(runtime, request.state.web_session.id, now),
        "errors": errors,
        "set_up": None if kind is None else kind.set_up,
        "asks": set() if kind is None else _members(kind),
        "token_page": None if kind is None else kind.set_up.token_page(state.answers.base_url or ""),
        "chosen": chosen,
        "more": ", ".join(
            name
            for name in state.answers.projects or [state.pasted_project]
            if name and name != ALL and name.casefold() not in listed
        ),
        "name": state.answers.name or _name(state),
        "facts": _shown(state.facts),
        "without": _removable(state),
        "seconds": runtime.timeouts.read,
        "cut": MOST_CHOICES if len(state.choices) >= MOST_CHOICES else None,
    }
    return await page(request, session, "connect.html", values, 422 if errors else 200)


def _name(state: Connecting) -> str:
    projects = state.answers.projects or [state.pasted_project]
    return name_for(dataclasses.replace(state.answers, projects=projects)) if state.answers.kind else ""


def _members(kind: Any) -> set[str]:
    """The members of the source that are asked for."""
    return {*kind.credentials.model_fields, *kind.scope.model_fields, *kind.epics.model_fields}


def _shown(facts: Sequence[Fact]) -> list[tuple[FactOut, str]]:
    """Each fact with the step that could mend it: what is wrong first, what is right last."""
    shown = list(zip(facts_out(facts).facts, facts, strict=True))
    shown.sort(key=lambda pair: (pair[1].level not in WRONG, ORDER.index(pair[0].state)))
    return [
        (out, STEP_OF.get(field_of(fact.field), "scope") if fact.level in WRONG and fact.field else "")
        for out, fact in shown
    ]


def _removable(state: Connecting) -> list[str]:
    """The projects in which something is missing, where something is left without them."""
    refused = sorted({project for fact in state.wrong for project in fact.projects})
    left = state.left_without(refused)
    return refused if left and len(left) < len(state.answers.projects or []) else []


# --- once it is made ------------------------------------------------------------------------------


async def new_webhook_secret(runtime: Runtime, who: str, name: str) -> str:
    """The secret, which is stored sealed and shown in this answer alone. Raises `NotFound`, `Conflict`."""
    secret = secrets.token_urlsafe(32)
    async with runtime.transaction(who) as changing:
        await change_source(name, SourcePatch(webhook_secret=secret), Response(), runtime, changing)
    return secret


def webhook_help(kind: str, base_url: str, scope: dict[str, Any]) -> tuple[list[Page], Sequence[str]]:
    """Where at the tracker a webhook is made, and how."""
    set_up = KINDS[kind].set_up
    names = [*(scope.get("repositories") or ()), *(f"{name}/*" for name in scope.get("organizations") or ())]
    return set_up.webhook_pages(base_url, names), set_up.webhook_steps


async def _show_made(
    request: Request, runtime: Runtime, session: AsyncSession, name: str, secret: str | None = None
) -> HTMLResponse:
    row = await source_at(session, name)
    shown = await get_source(row.name, Response(), runtime, session)
    first = select(RunRow).where(RunRow.source_id == row.id, RunRow.mode == "full")
    run = await session.scalar(first.order_by(RunRow.id.desc()).limit(1))
    progress = None if run is None else await load_progress(session, run, row.name)
    preview: Preview | None = None
    if progress is not None and progress.ended:
        preview = await load_preview(runtime, row.name)
    pages, steps = webhook_help(row.kind, row.base_url, row.scope)
    values = {
        "source": shown,
        "set_up": KINDS[row.kind].set_up,
        "progress": progress,
        "preview": preview,
        "lines": [] if preview is None else lines_of(preview),
        "secret": secret,
        "webhook_pages": pages,
        "webhook_steps": steps,
    }
    return await page(request, session, "connect_made.html", values)
