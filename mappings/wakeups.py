"""Wake-ups that a transaction asks for. The work itself is in rows; what opened the transaction defers the
jobs in it before the commit (`app.runtime.Runtime.transaction`), so both are stored or neither."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mappings.tables import READING_MODES

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

_ASKED = "wakeups"


@dataclass(frozen=True, slots=True)
class Wakeup:
    """A call of the job `task` with `arguments`."""

    task: str
    arguments: dict[str, int]


def wake(session: AsyncSession, task: str, **arguments: int) -> None:
    """Ask for a job. Without the job, the sweep finds the work within 15 seconds."""
    session.info.setdefault(_ASKED, []).append(Wakeup(task, arguments))


def job_of(mode: str, evaluates: str | None = None) -> str:
    """The job that executes a run of this mode. A run that evaluates what its causes affect may take long, so
    it has workers of its own."""
    if mode in READING_MODES:
        return "read_source"
    return "evaluate_affected" if evaluates == "affected" else "execute_run"


def wake_run(session: AsyncSession, run_id: int, mode: str) -> None:
    """Ask for the job that executes a run of this mode."""
    wake(session, job_of(mode), run_id=run_id)


def take_wakeups(session: AsyncSession) -> list[Wakeup]:
    """What was asked for since the last call."""
    asked: list[Wakeup] = session.info.pop(_ASKED, [])
    return asked
