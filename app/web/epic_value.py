"""On an epic's page: how it helps the business, who said so, and who is asked."""

from __future__ import annotations

from dataclasses import dataclass

from app.web.epic_block import Block, ChangeOfEpic, PageOfEpic
from app.web.epic_changes import Changed
from app.web.undo import value_step
from mappings.governance.initiatives import initiatives_among
from mappings.governance.value import (
    UNCHANGED,
    VALUE_DRIVERS,
    AnsweredValue,
    ValueOfEpic,
    answer_value,
    value_of,
)
from mappings.policy.operations import load_policy
from mappings.tables import EpicValueRow

DRIVER_WORDS = {
    "growth": "grow",
    "cost": "cut cost",
    "experience": "serve customers better",
    "risk": "manage risk",
}
ANSWER, ASK = "answer-value", "ask-value"


@dataclass(frozen=True, slots=True)
class ValueBlock:
    """`initiative`: it is asked for an answer."""

    value: ValueOfEpic
    initiative: bool
    words = DRIVER_WORDS
    drivers = VALUE_DRIVERS


async def _load(page: PageOfEpic) -> ValueBlock:
    stored = value_of(await page.session.get(EpicValueRow, page.row.id))
    found = await initiatives_among(page.session, await load_policy(page.session), [page.row.id])
    return ValueBlock(stored, bool(found))


async def _change(change: ChangeOfEpic) -> Changed:
    form = change.form
    async with change.runtime.transaction(change.caller.who) as session:
        found = await answer_value(
            session,
            change.source,
            change.key,
            await change.runtime.now(session),
            answer=form.get("answer") if change.act == ANSWER else UNCHANGED,
            driver=(form.get("driver") or None) if change.act == ANSWER else UNCHANGED,
            asked_of=form.get("asked_of") if change.act == ASK else UNCHANGED,
        )
    return Changed(_said(change.act, found), [] if found.after == found.before else [value_step(found)], True)


def _said(act: str, found: AnsweredValue) -> str:
    key = found.epic.key
    if found.after == found.before:
        return f"Nothing of {key} changed: it said this already."
    if act == ASK:
        return f"{found.after.asked_of} is asked how {key} helps the business."
    return f"The answer of {key} was {'stored' if found.before.answer is None else 'changed'}."


VALUE = Block(
    "value",
    _load,
    {ANSWER: "PUT /epics/{source}/{key}/value", ASK: "PUT /epics/{source}/{key}/value"},
    _change,
)
