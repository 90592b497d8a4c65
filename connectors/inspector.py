"""What `northing check` does alike for all trackers: steps, one after the other, that record facts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from connectors.base import Blocked, Connector, ConnectorError, Project, Unavailable
from connectors.diagnostics import Fact, Inspection, Level
from connectors.markup import quoted

_LONGEST_FACT = 2_000
MAX_PROJECTS = 100  # that are inspected; each costs one or two requests
SIGN_IN, WRITING = "sign-in", "writing"

Step = tuple[str, Callable[[], Awaitable[None]]]


class Inspector:
    """Collects facts. `readable`: the projects in scope that can be read, after `note_projects`."""

    def __init__(self, connector: Connector) -> None:
        self.connector = connector
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
    ) -> None:
        # The tracker's words are in some of these: versions, names of types, headers.
        shown = quoted(what, _LONGEST_FACT), quoted(why, _LONGEST_FACT), quoted(what_to_do, _LONGEST_FACT)
        self._facts.append(Fact(level, *shown, tuple(projects), writing))

    async def go(self, steps: Sequence[Step]) -> Inspection:
        """Run the steps in order. A step that fails becomes a fact with the step's name.

        The inspector stops when the tracker refuses the login or no longer answers.
        """
        ahead: float | None = None
        for number, (what, step) in enumerate(steps, 1):
            try:
                await step()
            except ConnectorError as error:
                self.note("missing", what, error.message, _remedy(error))
                if what == SIGN_IN or isinstance(error, (Blocked, Unavailable)):
                    if remaining := ", ".join(name for name, _ in steps[number:]):
                        self.note("unknown", remaining, "Not looked at.")
                    break
            finally:
                ahead = self.connector.response_meta.clock_ahead if ahead is None else ahead
        return Inspection(tuple(self._facts), ahead)

    def note_projects(self, found: Sequence[Project], why_none: str, what_to_do: str) -> None:
        """Record which projects can be read, which cannot, and where Northing writes no comments."""
        for project in found:
            if project.problem is not None:
                todo = project.what_to_do or what_to_do
                self.note("missing", "project", project.problem, todo, projects=[project.key])
        self.readable = [project for project in found if project.problem is None]
        if self.readable:
            keys = [project.key for project in self.readable]
            self.note("ok", "projects", f"{len(keys)} in scope can be read.", projects=keys)
        elif not found:
            self.note("missing", "projects", why_none, what_to_do)
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


def _remedy(error: ConnectorError) -> str:
    """What to do about `error`. `northing check` does not retry, unlike a sync, so a person has to."""
    if isinstance(error, Unavailable) and error.what_to_do.startswith("Nothing"):
        return f"Check again in {error.retry_after:.0f} s; the other lines may be incomplete."
    return error.what_to_do
