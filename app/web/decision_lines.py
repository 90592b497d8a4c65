"""Decisions as the pages show them: what, about which epic or goal, why, by whom, and what it did."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from app import pipeline
from app.auth.roles import Caller
from app.runtime import Runtime
from app.web.epic_rows import page_of_epic
from app.web.undo import Step
from mappings.governance.decision_log import goal_decided, load_decision_names
from mappings.governance.decisions import Recorded, undo_decision
from mappings.governance.values import DECIDED, missing_sides, people_from_json
from mappings.tables import DecisionRow


@dataclass(frozen=True, slots=True)
class DecisionLine:
    """`about`: the present key of its epic or goal, where that is gone the one it had; `page`: its address,
    None where it has none any more. `key_result` and `measure` are keys, `says` what it changed."""

    row: DecisionRow
    about: str
    title: str
    page: str | None
    key_result: str | None
    measure: str | None
    held_on: date | None

    @property
    def says(self) -> Sequence[str]:
        says: list[str] = self.row.effects.get("says", [])
        return says

    @property
    def missing_sides(self) -> Sequence[str]:
        """The sides that nobody of those who decided is from."""
        return missing_sides(people_from_json(self.row.decided_by))

    @property
    def decided_by(self) -> Sequence[dict[str, Any]]:
        return self.row.decided_by


async def decision_lines(session: AsyncSession, rows: Sequence[DecisionRow]) -> list[DecisionLine]:
    """At most four statements, whatever their number."""
    names = await load_decision_names(session, rows)
    lines = []
    for row in rows:
        present = names.epics.get(row.epic_id or 0)
        goal = goal_decided(row, names.key_results, names.objectives)
        page = page_of_epic(*present) if present else f"/goals/{goal}" if goal else None
        lines.append(
            DecisionLine(
                row=row,
                about=present[1] if present else row.epic_key or goal or "",
                title=row.epic_title or "",
                page=page,
                key_result=names.key_results.get(row.key_result_id or 0),
                measure=names.key_results.get(row.measure_id or 0),
                held_on=names.reviews.get(row.review_id or 0),
            )
        )
    return lines


def decided_words(line: DecisionLine) -> str:
    """What was recorded, in a sentence."""
    return " ".join([f"{DECIDED[line.row.decision]}: {line.about}.", *line.says])


def decision_step(decision_id: int) -> Step:
    """For `done`: takes the decision back."""
    return {"act": "decision", "decision_id": decision_id}


async def take_decision_back(runtime: Runtime, caller: Caller, decision_id: int) -> str:
    """Undo it, evaluated before the answer; what was done, in words. Raises a `DomainError`."""
    async with runtime.transaction(caller.who) as session:
        undone = await undo_decision(session, decision_id, await runtime.now(session))
        (line,) = await decision_lines(session, [undone.row])
    await pipeline.evaluate_at_once(runtime, undone.runs)
    return undone_words(line, undone)


def undone_words(line: DecisionLine, undone: Recorded) -> str:
    return " ".join([f"Undone: the decision on {line.about} is taken back.", *undone.says])
