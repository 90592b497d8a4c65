"""On an epic's page: what it is worth, planned and realised, in whose opinion."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from app.api.problems import Problem
from app.web.epic_block import Block, ChangeOfEpic, PageOfEpic
from app.web.epic_changes import Changed
from app.web.estimate_form import ADD, DELETE, estimate_in, estimate_of, estimate_words
from app.web.forms import wrong_fields
from app.web.goal_forms import in_words
from app.web.undo import estimate_again_step, estimate_step
from mappings.errors import Invalid
from mappings.governance.estimates import History, delete_estimate, estimate_epic, load_history


@dataclass(frozen=True, slots=True)
class EstimatesBlock:
    history: History
    today: date


async def _load(page: PageOfEpic) -> EstimatesBlock:
    now = await page.runtime.now(page.session)
    return EstimatesBlock(await load_history(page.session, "epic", page.row.id), now.date())


async def _change(change: ChangeOfEpic) -> Changed:
    async with change.runtime.transaction(change.caller.who) as session:
        if change.act == DELETE:
            row = await delete_estimate(session, estimate_in(change.form))
            return Changed(f"Deleted: {estimate_words(row)}.", [estimate_again_step(row)])
        now = await change.runtime.now(session)
        try:
            values = estimate_of(change.form, now)
        except Problem as problem:
            (first, *more) = ((name, in_words(text)) for name, text in wrong_fields(problem).items())
            raise Invalid(*first, more=more) from None
        row, _, _ = await estimate_epic(session, change.source, change.key, now, values)
        return Changed(f"Estimated: {estimate_words(row)}.", [estimate_step(row)])


ESTIMATES = Block(
    "estimates",
    _load,
    {ADD: "POST /epics/{source}/{key}/estimates", DELETE: "DELETE /estimates/{id}"},
    _change,
)
