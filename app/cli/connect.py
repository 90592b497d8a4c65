"""`northing connect`: from a tracker's address to what would be said on its tickets.

Nothing is stored before the tracker has confirmed all of it. What is wrong is asked for again, by its field
and nothing else; where there is no terminal, it ends the command.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from app.cli.connect_report import show
from app.cli.sync import sync_and_report
from app.diagnostics.check import check_draft
from app.server.bootstrap import open_secrets
from app.server.server import database_url, open_runtime
from app.server.signals import CommandFailed
from app.shadow_report import load_preview
from app.source_answers import (
    ALL,
    Answers,
    WrongAnswer,
    check_name,
    find_tracker,
    name_for,
    names_in,
    sign_in,
)
from app.source_drafts import create_from_draft
from connectors.diagnostics import WRONG, Choice
from mappings.audit import COMMAND_LINE

if TYPE_CHECKING:
    from app.cli.terminal import Questions
    from app.runtime import Runtime
    from app.settings import Settings
    from app.source_drafts import SourceDraft
    from connectors.diagnostics import Fact

CHECK_SECONDS = 120.0  # a person waits and sees that it goes on
LISTED = 20  # projects at a time
# By the member of the source, what gives it without a terminal.
OPTIONS = {
    "name": "--name",
    "kind": "--kind",
    "base_url": "--base-url",
    "credentials.email": "--email",
    "credentials.token": "NORTHING_CONNECT_TOKEN, or the token on standard input,",
    "scope.projects": "--projects",
    "scope.repositories": "--repositories",
    "scope.organizations": "--repositories",
    "scope.jql": "--jql",
    "epics.issue_types": "--issue-types",
    "epics.labels": "--labels",
}
# Asked for only where the tracker said that what was given is wrong.
SELECTORS = {
    "scope.jql": "Condition in JQL; empty for none",
    "epics.issue_types": "Issue types that are epics, by commas; empty for the usual ones",
    "epics.labels": "Labels that mark an epic, by commas",
}


class WrongOption(CommandFailed):
    """An answer that cannot be used, where nobody can be asked again."""

    def __init__(self, wrong: WrongAnswer) -> None:
        super().__init__(f"{OPTIONS.get(wrong.field, wrong.field)}: {wrong.message}")
        self.code = 1 if wrong.by_tracker else 2


async def connect(settings: Settings, answers: Answers, questions: Questions) -> int:
    """0 once the source is made and synced, else 1. Raises `CommandFailed` where nothing was made, and what
    `open_runtime` raises."""
    async with database_url(settings) as url, open_runtime(settings, url) as runtime:
        await open_secrets(runtime)
        return await connect_tracker(runtime, answers, questions)


async def connect_tracker(runtime: Runtime, answers: Answers, questions: Questions) -> int:
    """As `connect`, in a process whose secrets are open."""
    try:
        draft = await Connecting(runtime, answers, questions).confirmed_draft()
    except asyncio.CancelledError:
        questions.say("Stopped; nothing was made.")
        raise
    if draft is None:
        questions.say("Nothing was made.")
        return 1
    async with runtime.transaction(COMMAND_LINE) as session:
        await create_from_draft(runtime, session, draft, await runtime.now(session))
    questions.say(
        f"{draft.name} is made, in shadow: nothing is written on tickets. `northing serve` reads it again"
        " every 15 minutes. Reading its epics now."
    )
    code = await _sync(runtime, draft.name, questions)
    preview = await load_preview(runtime, draft.name)
    if code == 0 or preview.total:
        show(preview)
    return code


async def _sync(runtime: Runtime, name: str, questions: Questions) -> int:
    made = (
        f"{name} is made, but not read to its end. Go on with `northing sync {name} --full`, or remove it"
        f" with DELETE /api/v1/sources/{name}."
    )
    try:
        code = await sync_and_report(runtime, name, "full")
    except (asyncio.CancelledError, Exception):
        questions.say(made)
        raise
    if code:
        questions.say(made)
    return code


class Connecting:
    """Asks for what is not answered, until the tracker confirms a whole source."""

    def __init__(self, runtime: Runtime, answers: Answers, questions: Questions) -> None:
        self.runtime, self.answers, self.questions = runtime, answers, questions
        self._pasted_project, self._email = "", answers.email or ""
        self._again: set[str] = set()  # the selectors to ask for
        self._login: str | None = None

    async def confirmed_draft(self) -> SourceDraft | None:
        """None where something is wrong and nobody can be asked."""
        while True:
            draft = await self._complete()
            self.questions.say("Asking the tracker about all of it …")
            facts = await check_draft(self.runtime, draft, CHECK_SECONDS)
            self._say(facts)
            wrong = [fact.field or "base_url" for fact in facts if fact.level in WRONG]
            if not wrong:
                return draft
            if not self.questions.interactive:
                return None
            for member in wrong:
                self._ask_again(member)

    async def _complete(self) -> SourceDraft:
        while True:
            try:
                await self._address()
                await self._credentials()
                await self._scope()
                await self._selectors()
                await self._name()
                return self.answers.draft()
            except WrongAnswer as wrong:
                if not self.questions.interactive:
                    raise WrongOption(wrong) from None
                self.questions.say(f"{wrong.field}: {wrong.message}")
                self._ask_again(wrong.field)

    def _ask_again(self, member: str) -> None:
        self.answers.forget(member)
        if member in SELECTORS:
            self._again.add(member)

    def _say(self, facts: Sequence[Fact]) -> None:
        for fact in facts:
            places = f" ({', '.join(fact.projects[:5])}{' …' if len(fact.projects) > 5 else ''})"
            about = f"{fact.why} {fact.what_to_do}".strip()
            if fact.what != fact.field:
                about = f"{fact.what}{places if fact.projects else ''}: {about}"
            if fact.level in WRONG:
                self.questions.say(f"{fact.field or 'base_url'}: {about}")
            elif fact.what == "epics" and fact.level == "ok":
                self.questions.say(f"Epics: {fact.why}")
            elif fact.level in ("not_needed", "warning"):
                self.questions.say(f"{'Not needed' if fact.level == 'not_needed' else 'Look'}: {about}")

    # --- the parts ---

    async def _address(self) -> None:
        given = self.answers.base_url
        if given is None:
            question = "Address of Jira or GitHub, as in the browser"
            given = await self.questions.ask(question, OPTIONS["base_url"])
        found = await find_tracker(self.runtime.network, given, self.answers.kind)
        if found.base_url != given.strip().rstrip("/"):
            self.questions.say(f"{given.strip()} is taken as {found.base_url}.")
        self.answers.kind, self.answers.base_url = found.kind, found.base_url
        self._pasted_project = found.project or self._pasted_project

    async def _credentials(self) -> None:
        if self.answers.kind == "jira" and self.answers.email is None:
            self._email = self.answers.email = await self.questions.ask(
                "E-mail address of the account", OPTIONS["credentials.email"], default=self._email
            )
        if self.answers.token is None:
            what = "API token without scopes" if self.answers.kind == "jira" else "Token"
            token = await self.questions.ask(
                f"{what} (it is not shown)", OPTIONS["credentials.token"], hidden=True
            )
            self.answers.token = SecretStr(token)

    async def _scope(self) -> None:
        if self.answers.projects is not None:
            return
        member = "scope.projects" if self.answers.kind == "jira" else "scope.repositories"
        choices = await self._choices() if self.questions.interactive else []
        shown: Sequence[Choice] = choices
        while self.answers.projects is None:
            self._list(shown, choices)
            jira = self.answers.kind == "jira"
            many, every = ("Projects", ALL) if jira else ("Repositories", "OWNER/*")
            question = f"{many}: numbers or names by commas, a part of a name to search, {every} for all"
            default = self._pasted_project
            text = await self.questions.ask(question, OPTIONS[member], default=default)
            self.answers.projects, shown = chosen(text, choices)
            if self.answers.projects is None and not shown:
                self.questions.say(f"Nothing that the login sees is named like {text}.")
                shown = choices

    async def _choices(self) -> list[Choice]:
        login = await sign_in(self.runtime, self.answers)
        if self._login != login.account:
            self.questions.say(f"Signed in as {login.account}.")
            self._login = login.account
        return login.choices

    def _list(self, shown: Sequence[Choice], choices: Sequence[Choice]) -> None:
        numbers = {choice.key: number for number, choice in enumerate(choices, 1)}
        for choice in shown[:LISTED]:
            self.questions.say(f"{numbers[choice.key]:4} {choice.key}  {choice.title}".rstrip())
        if len(shown) > LISTED:
            self.questions.say(f"     … and {len(shown) - LISTED} more")

    async def _selectors(self) -> None:
        for member in sorted(self._again):
            text = await self.questions.ask(SELECTORS[member], OPTIONS[member])
            value: Any = text or None if member == "scope.jql" else names_in(text) or None
            setattr(self.answers, member.rpartition(".")[2], value)
        self._again.clear()

    async def _name(self) -> None:
        if self.answers.name is None:
            default = name_for(self.answers)
            self.answers.name = await self.questions.ask(
                "Name of the source", OPTIONS["name"], default=default
            )
        await check_name(self.runtime, self.answers.name)


# --- pure ------------------------------------------------------------------------------------------


def chosen(text: str, choices: Sequence[Choice]) -> tuple[list[str] | None, list[Choice]]:
    """What an answer chooses of `choices`, by number, key or a part of a name that only one has; else None
    and those that it may mean. `*`, `owner/*` and the whole name of what is not listed are taken as they are.
    """
    by_key = {choice.key.casefold(): choice.key for choice in choices}
    found: list[str] = []
    for part in names_in(text):
        folded = part.casefold()
        like = [one for one in choices if folded in one.key.casefold() or folded in one.title.casefold()]
        if part.isdecimal() and 0 < int(part) <= len(choices):
            found.append(choices[int(part) - 1].key)
        elif folded in by_key:
            found.append(by_key[folded])
        elif part == ALL or "/" in part or not choices:
            found.append(part)
        elif len(like) == 1:
            found.append(like[0].key)
        else:
            return None, like
    return (list(dict.fromkeys(found)) or None), list(choices)
