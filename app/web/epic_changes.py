"""What the pages of epics change, evaluated before they answer, with the words for it and the way back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from app import pipeline
from app.auth.roles import Caller
from app.runtime import Runtime
from app.web.forms import for_people
from app.web.undo import Step, finding_steps, unlink_steps
from mappings.errors import Invalid
from mappings.evaluation.many import answers_of, change_findings, shown_findings
from mappings.evaluation.operations import OPEN, UPHELD, AskedState, dismissal, snooze, waiver
from mappings.links.bulk import EVALUATED_AT_ONCE, LinkRequest, ids_of_created, link_many
from mappings.lookups import FoundEpic, find_epics, find_sources, no_epic, why_removed
from mappings.policy.durations import LONGEST_DAYS, last_day

WHY_LINKED = "linked by hand"
# What a waiver and a snooze begin with where they are asked for; the comment on the ticket says 14 days too.
DAYS_AHEAD = {"waive": 90, "snooze": 14}


def days_to_choose(now: datetime) -> dict[str, Any]:
    """For the field of a day: `today`, the `latest` there may be, and where each act begins (`ahead`)."""
    today = now.date()
    return {
        "today": today,
        "latest": today + timedelta(days=LONGEST_DAYS),
        "ahead": {act: today + timedelta(days=days) for act, days in DAYS_AHEAD.items()},
    }


@dataclass(frozen=True, slots=True)
class Asked:
    """A waiver or snooze that is asked for and lacks its day or its reason. `place`: in the `row` of the
    epic, or for all that are selected, in the `bulk` bar."""

    act: str
    epics: Sequence[str]
    place: str
    values: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class Changed:
    """`text`: what was done, and what was not and why. `fine`: nothing was to be done."""

    text: str
    steps: list[Step] = field(default_factory=list)
    fine: bool = False


def split_name(name: str) -> tuple[str, str]:
    """The source and the key of an epic as forms name it."""
    source, _, key = name.partition(" ")
    return source, key


async def link_selected(runtime: Runtime, caller: Caller, pairs: Sequence[tuple[str, str]]) -> Changed:
    """Link each epic to its key result."""
    check_number(pairs)
    requests = [LinkRequest(*split_name(name), goal) for name, goal in pairs]
    async with runtime.transaction(caller.who) as session:
        now = await runtime.now(session)
        outcomes, runs = await link_many(session, requests, WHY_LINKED, now, dry_run=False)
        made = await ids_of_created(session, outcomes)
        answers = await answers_of(session, made)
    await pipeline.evaluate_at_once(runtime, runs)
    wrong = [
        f"{'' if one.field == 'key_result' else f'{request.epic}: '}{for_people(one.message or '')}"
        for request, one in zip(requests, outcomes, strict=True)
        if one.outcome == "error"
    ]
    new = [one for one in outcomes if one.outcome == "created"]
    stands = [one for one in outcomes if one.outcome == "exists"]
    parts = (
        [f"{_epics([one.epic[1] for one in new if one.epic])} linked to {new[0].key_result}."] if new else []
    )
    if stands:
        names = _epics([one.epic[1] for one in stands if one.epic])
        parts.append(
            f"{names} {'was' if len(stands) == 1 else 'were'} linked to {stands[0].key_result} before."
        )
    return Changed(" ".join([*parts, *_once(wrong)]), unlink_steps(made, answers), fine=bool(stands))


async def change_selected(
    runtime: Runtime, caller: Caller, act: str, names: Sequence[str], until: str, reason: str
) -> Changed:
    """Waive or snooze the finding that each epic's ticket shows, or would."""
    check_number(names)
    async with runtime.transaction(caller.who) as session:
        now = await runtime.now(session)
        asked = waiver(until, reason, now) if act == "waive" else snooze(until, reason or None, now)
        changed, runs = await _change(session, names, act, asked, now)
    await pipeline.evaluate_at_once(runtime, runs)
    return changed


async def decide(runtime: Runtime, caller: Caller, act: str, name: str, reason: str) -> Changed:
    """End a waiver, snooze or dispute (`reopen`), or decide a dispute (`uphold`, `dismiss`)."""
    async with runtime.transaction(caller.who) as session:
        now = await runtime.now(session)
        asked = {"reopen": OPEN, "uphold": UPHELD}.get(act) or dismissal(reason, now)
        changed, runs = await _change(session, [name], act, asked, now)
    await pipeline.evaluate_at_once(runtime, runs)
    return changed


async def _change(
    session: AsyncSession, names: Sequence[str], act: str, asked: AskedState, now: datetime
) -> tuple[Changed, list[int]]:
    epics, wrong = await _found(session, names)
    findings = await shown_findings(session, [epic.id for epic in epics])
    of_finding = {id: epic.key for epic in epics if (id := findings.get(epic.id)) is not None}
    nothing = [epic.key for epic in epics if epic.id not in findings]
    found = await change_findings(session, list(of_finding), asked, now)
    keys = [of_finding[change.id] for change in found.changes]
    parts = [f"{_epics(keys)} {_state_words(asked)}."] if keys else []
    if nothing:
        parts.append(f"{_epics(nothing)}: nothing is missing, so there is nothing to {act}.")
    parts += [f"{of_finding[id]}: {why}" for id, why in found.left.items()]
    return Changed(" ".join([*parts, *wrong]), finding_steps(found.changes)), found.runs


def _state_words(asked: AskedState) -> str:
    if asked.state == "open":
        return "stands: the finding is open again" if asked.of_disputed else "is open again"
    until = "" if asked.until is None else f" until {last_day(asked.until)}"
    return f"{asked.state}{until}"


async def _found(session: AsyncSession, names: Sequence[str]) -> tuple[list[FoundEpic], list[str]]:
    """The epics that are in a list, and of each other one why it is not."""
    sources = await find_sources(session)
    pairs = [split_name(name) for name in dict.fromkeys(names)]
    asked = {(sources[source.lower()][0], key.lower()) for source, key in pairs if source.lower() in sources}
    known = await find_epics(session, asked)
    found, wrong = [], []
    for source, key in pairs:
        epic = known.get((sources.get(source.lower(), (0, ""))[0], key.lower()))
        if epic is None:
            wrong.append(f"{key}: {no_epic(source, key)}.")
        elif epic.removed_at is not None:
            wrong.append(f"{why_removed(epic.key, epic.removed_at, epic.removal_reason)}.")
        else:
            found.append(epic)
    return found, wrong


def check_number(chosen: Sequence[object]) -> None:
    """A page shows no more than are evaluated before the answer."""
    if len(chosen) > EVALUATED_AT_ONCE:
        raise Invalid("", f"{len(chosen)} epics are too many at a time: select {EVALUATED_AT_ONCE} at most.")


def _epics(keys: Sequence[str]) -> str:
    return keys[0] if len(keys) == 1 else f"{len(keys)} epics"


def _once(messages: Sequence[str]) -> list[str]:
    """Each message once, as a sentence; how often, where that is more than once."""
    return [
        f"{text.rstrip('.').capitalize() if text.islower() else text.rstrip('.')}."
        for text in Counter(messages)
    ]
