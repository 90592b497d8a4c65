"""On an epic's page: what was decided about it, and the form that undoes the newest decision that stands."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select

from app.api.decision_models import DecisionOut, show_decision
from app.web.decision_lines import take_decision_back
from app.web.epic_block import Block, ChangeOfEpic, PageOfEpic
from app.web.epic_changes import Changed
from app.web.router import id_in
from mappings.errors import Invalid
from mappings.governance.decision_log import load_decision_names
from mappings.tables import DecisionRow

UNDO = "undo-decision"
SHOWN = 20


@dataclass(frozen=True, slots=True)
class DecisionsBlock:
    """The newest first. `newest`: the id of the newest that stands, which alone may be undone. `more`: there
    are older ones."""

    decisions: Sequence[DecisionOut]
    newest: int | None
    more: bool


async def _load(page: PageOfEpic) -> DecisionsBlock | None:
    """None where nothing was decided."""
    of_epic = select(DecisionRow).where(DecisionRow.epic_id == page.row.id)
    query = of_epic.order_by(DecisionRow.id.desc()).limit(SHOWN + 1)
    rows = list(await page.session.scalars(query))
    if not rows:
        return None
    names = await load_decision_names(page.session, rows)
    newest = next((row.id for row in rows if row.undone_at is None), None)
    return DecisionsBlock([show_decision(row, names) for row in rows[:SHOWN]], newest, len(rows) > SHOWN)


async def _change(change: ChangeOfEpic) -> Changed:
    id = id_in(change.form.get("decision"))
    if id is None:
        raise Invalid("", "There is no such decision.")
    return Changed(await take_decision_back(change.runtime, change.caller, id), [], True)


DECISIONS = Block("decisions", _load, {UNDO: "POST /decisions/{id}/undo"}, _change)
