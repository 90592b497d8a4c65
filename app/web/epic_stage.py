"""On an epic's page: its stage, and the form that moves it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from pydantic import ValidationError

from app.api.decision_models import StageIn, StageOut, show_stage
from app.api.epic_models import EpicName
from app.api.problems import field_errors
from app.auth.roles import Caller
from app.web.epic_block import Block, ChangeOfEpic, PageOfEpic
from app.web.epic_changes import Changed
from app.web.forms import document_of
from app.web.router import may
from app.web.undo import stage_step
from mappings.errors import check_values
from mappings.governance.stages import load_stage, set_stage, stored_stage
from mappings.lookups import epic_at, source_at
from mappings.tables import STAGES

SET = "set-stage"
OPERATION = "PUT /epics/{source}/{key}/stage"
# What each stage means, in the words of the form.
STAGE_WORDS = {
    "idea": "Idea: nothing is built yet",
    "pilot": "Pilot: tried in the small, measured until a day",
    "scale": "Scale: the pilot showed that it works",
    "done": "Done: nothing more is planned",
}


@dataclass(frozen=True, slots=True)
class StageBlock:
    stage: StageOut
    today: date
    stages = STAGES
    words = STAGE_WORDS


async def _load(page: PageOfEpic) -> StageBlock | None:
    """None where there is nothing to say and nothing to do."""
    row, measure = await load_stage(page.session, page.row.id)
    if row is None and not _may_set(page.caller):
        return None
    now = await page.runtime.now(page.session)
    name = EpicName(source=page.source.name, key=page.row.key)
    return StageBlock(show_stage(name, row, measure, now), now.date())


def _may_set(caller: Caller) -> bool:
    return may(caller, OPERATION)


async def _change(change: ChangeOfEpic) -> Changed:
    form = change.form
    fields = {name: form.get(name) for name in ("stage", "measure", "by")}
    try:
        sent = StageIn.model_validate(document_of(fields))
    except ValidationError as error:
        check_values(field_errors(error))
        raise
    async with change.runtime.transaction(change.caller.who) as session:
        now = await change.runtime.now(session)
        epic = await epic_at(session, await source_at(session, change.source), change.key)
        held, _ = await load_stage(session, epic.id)
        before = stored_stage(held)
        row = await set_stage(session, change.source, change.key, sent.stage, sent.measure, sent.by, now)
        step = stage_step(epic.id, before, stored_stage(row))
    return Changed(f"{epic.key} is at the stage {row.stage} now.", [step], True)


STAGE = Block("stage", _load, {SET: OPERATION}, _change)
