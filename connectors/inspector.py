"""What the looks at all trackers have in common: steps one after the other, each leaving facts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from connectors.base import Connector, ConnectorError, Project, Unauthorized, Unavailable
from connectors.diagnostics import Fact, Inspection, Level

MOST_PROJECTS = 100  # are looked at one by one; each costs a request or two
SIGN_IN, WRITING = "sign-in", "writing"

Step = tuple[str, Callable[[], Awaitable[None]]]


class Inspector:
    """Gathers facts. `readable`: the projects in scope that can be read, once they are known."""

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
        self._facts.append(Fact(level, what, why, what_to_do, tuple(projects), writing))

    async def go(self, steps: Sequence[Step]) -> Inspection:
        """Each step in turn; one that is refused leaves a fact of its name.

        Nothing is asked of a tracker that does not let us in or has stopped answering.
        """
        ahead: float | None = None
        for number, (what, step) in enumerate(steps, 1):
            try:
                await step()
            except ConnectorError as error:
                self.note("missing", what, error.message, _remedy(error))
                if what == SIGN_IN or isinstance(error, (Unauthorized, Unavailable)):
                    if remaining := ", ".join(name for name, _ in steps[number:]):
                        self.note("unknown", remaining, "Not looked at.")
                    break
            finally:
                ahead = self.connector.response_meta.clock_ahead if ahead is None else ahead
        return Inspection(tuple(self._facts), ahead)

    def note_projects(self, found: Sequence[Project], why_none: str, what_to_do: str) -> None:
        """What can be read, what cannot, and what is never written to."""
        for project in found:
            if project.problem is not None:
                self.note("missing", "project", project.problem, what_to_do, projects=[project.key])
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
            why = "Service desk: it is read and never written to, for comments there reach customers."
            self.note("ok", "service desk", why, projects=service_desks)
        if len(self.readable) > MOST_PROJECTS:
            self.note(
                "unknown",
                "further projects",
                f"Rights were asked in the first {MOST_PROJECTS} projects; "
                f"{len(self.readable) - MOST_PROJECTS} more are in scope.",
            )

    async def requests_left(self) -> None:
        """As the latest answer told it."""
        response_meta = self.connector.response_meta.budget
        if response_meta is None:
            self.note("unknown", "requests left", "The tracker does not say how many requests are left.")
            return
        words = (
            f"{response_meta.remaining}"
            if response_meta.limit is None
            else f"{response_meta.remaining} of {response_meta.limit}"
        )
        until = "" if response_meta.resets_at is None else f" until {response_meta.resets_at:%H:%M} UTC"
        scarce = response_meta.limit is not None and response_meta.remaining * 10 < response_meta.limit
        self.note("warning" if scarce else "ok", "requests left", f"{words}{until}.")

    @property
    def inspected(self) -> list[Project]:
        return self.readable[:MOST_PROJECTS]


def _remedy(error: ConnectorError) -> str:
    """Here nobody tries again by himself."""
    if isinstance(error, Unavailable) and error.what_to_do.startswith("Nothing"):
        return f"Check again in {error.retry_after:.0f} s; the other lines may be incomplete."
    return error.what_to_do
