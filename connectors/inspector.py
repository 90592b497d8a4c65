"""What a check does alike for all trackers: steps, one after the other, that record facts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from difflib import get_close_matches

from connectors.base import (
    TRIES_AGAIN,
    BadPayload,
    Blocked,
    Connector,
    ConnectorError,
    Project,
    Unauthorized,
    Unavailable,
)
from connectors.diagnostics import MOST_CHOICES, Fact, Inspection, Level
from connectors.markup import quoted

_LONGEST_FACT = 2_000
MAX_PROJECTS = 100  # that are inspected; each costs one or two requests
SIGN_IN, WRITING = "sign-in", "writing"
ADDRESS_FIELD, TOKEN_FIELD = "base_url", "credentials.token"
# By setting, what it means that the tracker does not have the field that it names.
WITHOUT_FIELD = {
    "epics.key_result_field": "no ticket names a key result in it",
    "epics.start_field": "no epic has a planned start",
    "epics.due_field": "no epic has a due day",
    "epics.points_field": "no epic has story points",
}
_MOST_NEAR = 3  # names that are suggested in the place of an unknown one
_MOST_SEEN = 10  # names that are listed where none is near

Step = tuple[str, Callable[[], Awaitable[None]]]


class Inspector:
    """Collects facts. `readable`: the projects in scope that can be read, after `note_projects`. `fields`:
    by step, the member of the source that a refusal of that step is about."""

    def __init__(self, connector: Connector) -> None:
        self.connector = connector
        self.fields: dict[str, str] = {}
        self._facts: list[Fact] = []
        self.readable: list[Project] = []

    def note(
        self,
        level: Level,
        what: str,
        why: str,
        what_to_do: str = "",
        *,
        projects: Sequence[str] = (),
        writing: bool = False,
        field: str = "",
    ) -> None:
        # The tracker's words are in some of these: versions, names of types, headers.
        reason = quoted(why, _LONGEST_FACT)
        if not reason.endswith((".", "!", "?", "…")):
            reason = f"{reason}."  # for what to do follows it
        shown = quoted(what, _LONGEST_FACT), reason, quoted(what_to_do, _LONGEST_FACT)
        self._facts.append(Fact(level, *shown, tuple(projects), writing, field))

    async def go(self, steps: Sequence[Step], seconds: float | None = None) -> Inspection:
        """Run the steps in order. A step that fails becomes a fact with the step's name.

        The inspector stops when the tracker refuses the login or no longer answers, and after `seconds`.
        """
        ahead: float | None = None
        number, what = 0, ""
        try:
            async with asyncio.timeout(seconds):
                for number, (what, step) in enumerate(steps, 1):
                    try:
                        await step()
                    except ConnectorError as error:
                        self._note_error(what, error)
                        if what == SIGN_IN or isinstance(error, (Blocked, Unavailable)):
                            self._not_looked_at(steps[number:])
                            break
                    finally:
                        ahead = self.connector.response_meta.clock_ahead if ahead is None else ahead
        except TimeoutError:
            why = f"The check ended after {seconds:g} s, before the tracker had answered all its questions."
            todo = "Check again, or name fewer projects; `northing check` has no such limit."
            self.note("failed", what, why, todo, field=ADDRESS_FIELD)
            self._not_looked_at(steps[number:])
        return Inspection(tuple(self._facts), ahead)

    def _note_error(self, what: str, error: ConnectorError) -> None:
        no_answer = isinstance(error, (Unavailable, BadPayload))
        failed = what == SIGN_IN or no_answer or isinstance(error, Blocked)
        # Exactly `Blocked`: a setting of this machine's network, for which no request was sent.
        if no_answer or type(error) is Blocked:
            field = ADDRESS_FIELD
        elif isinstance(error, Unauthorized):
            field = TOKEN_FIELD
        else:
            field = self.fields.get(what, ADDRESS_FIELD)
        self.note("failed" if failed else "missing", what, error.message, remedy(error), field=field)

    def _not_looked_at(self, steps: Sequence[Step]) -> None:
        if remaining := ", ".join(name for name, _ in steps):
            self.note("unknown", remaining, "Not looked at.")

    async def near_names(self, unknown: Sequence[str]) -> dict[str, str]:
        """For each name that the tracker does not know, in words what it may have been meant to be."""
        if not unknown:
            return {}
        try:
            seen = [choice.key for choice in await self.connector.choices()]
        except Unavailable:
            raise
        except ConnectorError:
            return {}
        return {name: _near(name, seen) for name in unknown}

    def note_projects(
        self, found: Sequence[Project], why_none: str, what_to_do: str, near: dict[str, str] | None = None
    ) -> None:
        """Record which projects can be read, which cannot, and where Northing writes no comments. `near`: by
        the name of an unknown one, what to say of names like it."""
        for project in found:
            if project.problem is not None:
                todo = f"{project.what_to_do or what_to_do} {(near or {}).get(project.key, '')}".rstrip()
                field = self.scope_field(project.key)
                self.note("missing", "project", project.problem, todo, projects=[project.key], field=field)
        self.readable = [project for project in found if project.problem is None]
        if self.readable:
            keys = [project.key for project in self.readable]
            self.note("ok", "projects", f"{len(keys)} in scope can be read.", projects=keys)
        elif not found:
            self.note("missing", "projects", why_none, what_to_do, field=self.scope_field(""))
        for why in dict.fromkeys(project.read_only for project in self.readable if project.read_only):
            keys = [project.key for project in self.readable if project.read_only == why]
            self.note("warning", WRITING, f"Nothing can be written there: {why}", projects=keys, writing=True)
        if service_desks := [project.key for project in self.readable if project.service_desk]:
            why = "Service desk: Northing reads it and never writes there, because comments reach customers."
            self.note("ok", "service desk", why, projects=service_desks)
        if len(self.readable) > MAX_PROJECTS:
            self.note(
                "unknown",
                "further projects",
                f"Rights were checked in the first {MAX_PROJECTS} projects; "
                f"{len(self.readable) - MAX_PROJECTS} more are in scope.",
            )

    def scope_field(self, name: str) -> str:
        """The member of the source in which the scope names the project."""
        return "scope.projects"

    async def requests_left(self) -> None:
        """Record how many requests are left, as the latest response says."""
        budget = self.connector.response_meta.budget
        if budget is None:
            self.note("unknown", "requests left", "The tracker does not say how many requests are left.")
            return
        words = f"{budget.remaining}" if budget.limit is None else f"{budget.remaining} of {budget.limit}"
        until = "" if budget.resets_at is None else f" until {budget.resets_at:%H:%M} UTC"
        scarce = budget.limit is not None and budget.remaining * 10 < budget.limit
        self.note("warning" if scarce else "ok", "requests left", f"{words}{until}.")

    @property
    def inspected(self) -> list[Project]:
        return self.readable[:MAX_PROJECTS]


def _near(name: str, seen: Sequence[str]) -> str:
    """What may be meant by a name that is none of `seen`: those like it, else the first of all."""
    by_folded = {one.casefold(): one for one in seen}
    like = [by_folded[one] for one in get_close_matches(name.casefold(), by_folded, _MOST_NEAR)]
    if like:
        return f"Is {' or '.join(like)} meant?"
    left = f"{len(seen) - _MOST_SEEN} more" if len(seen) < MOST_CHOICES else "more"  # the list ends there
    more = f" and {left}" if len(seen) > _MOST_SEEN else ""
    return f"The login sees {', '.join(seen[:_MOST_SEEN])}{more}." if seen else ""


def remedy(error: ConnectorError) -> str:
    """What to do about `error`. A check does not retry, unlike a sync, so a person has to."""
    if isinstance(error, Unavailable) and error.what_to_do.startswith("Nothing"):
        return f"Check again in {error.retry_after:.0f} s; the other lines may be incomplete."
    retried = f"; {TRIES_AGAIN}"
    return error.what_to_do.removesuffix(retried) + "." * error.what_to_do.endswith(retried)
