"""What a row of the list of epics shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from sqlalchemy.ext.asyncio import AsyncSession

from app.api.epic_models import EpicName, LinkOut, load_names_around, show_links
from app.api.epics import ReadEpics
from app.runtime import Runtime
from app.web.templating import last_day
from mappings.checks.registry import checks_on_tickets
from mappings.evaluation.evaluator import evaluate_records, explained
from mappings.evaluation.explain import Reason, explain_briefly
from mappings.evaluation.findings import shown_row
from mappings.evaluation.known_goals import known_goals
from mappings.evaluation.load import EpicRecords
from mappings.goals.key_results import KeyResult
from mappings.governance.agenda import person_of
from mappings.governance.value import NOT_ANSWERED, ValueOfEpic
from mappings.suggestions.cache import suggest_for
from mappings.suggestions.load import EVERYTHING
from mappings.suggestions.material import Suggestion
from mappings.tables import FindingRow, SourceRow
from mappings.words import day_words

MOST_SUGGESTED = 2
NO_KEY_RESULT = "no-key-result"
# A row offers what has at least this chance to fit, and this part of the chance of the first.
LEAST_CHANCE, LEAST_OF_FIRST = 0.02, 0.1


@dataclass(frozen=True, slots=True)
class OnTicket:
    """What stands on the ticket, or would: a state, and why, in a few words. None: nothing."""

    state: str | None
    words: str
    title: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """`name`: how forms name the epic, its source and key. `says`: the one fact that counts, `notes`: what
    its ticket names that does not count. `finding`: the one that can be waived and snoozed. `value` is shown
    of initiatives, which are asked for it."""

    name: str
    page: str
    epic: Any
    says: str
    notes: Sequence[str]
    links: Sequence[LinkOut]
    suggestions: Sequence[Suggestion]
    finding: FindingRow | None
    on_ticket: OnTicket
    initiative: bool
    value: ValueOfEpic


async def read_rows(
    runtime: Runtime, session: AsyncSession, read: ReadEpics, goals: Mapping[int, KeyResult]
) -> list[Row]:
    """The rows of a page. Only what is shown is suggested for, and only what a row says is explained."""
    reasons = await _reasons(runtime, session, read)
    unaligned = [one.row.id for one in read.found if one.row.alignment == "unaligned"]
    suggested = await suggest_for(session, unaligned, EVERYTHING, read.now, MOST_SUGGESTED)
    names = await load_names_around(session, read.found, (await known_goals(session)).policy)
    rows = []
    for records in read.found:
        epic: Any = records.row
        why = reasons[epic.id]
        shown = finding_shown(records.findings)
        rows.append(
            Row(
                name=f"{epic.source} {epic.key}",
                page=page_of_epic(epic.source, epic.key),
                epic=epic,
                says=_says(why[0], shown),
                notes=[
                    reason.says.partition(", so it makes no link")[0]
                    for reason in why
                    if reason.kind == "ticket"
                ],
                links=show_links(
                    EpicName(source=epic.source, key=epic.key), records.links, goals, names.above, read.now
                ),
                suggestions=_fitting(suggested.get(epic.id, ())),
                finding=shown,
                on_ticket=on_ticket(records, shown, why),
                initiative=epic.id in names.initiatives,
                value=names.values.get(epic.id, NOT_ANSWERED),
            )
        )
    return rows


def _fitting(suggestions: Sequence[Suggestion]) -> list[Suggestion]:
    least = max(LEAST_CHANCE, LEAST_OF_FIRST * suggestions[0].score) if suggestions else 0
    return [one for one in suggestions if one.reasons and one.score >= least]


def page_of_epic(source: str, key: str) -> str:
    """The address of its page, below the base."""
    return f"/epics/{quote(source, safe='')}/{quote(key, safe='/')}"


def finding_shown(findings: Sequence[FindingRow]) -> FindingRow | None:
    """The unresolved one that the ticket shows, or would."""
    return shown_row(findings, checks_on_tickets())


async def _reasons(runtime: Runtime, session: AsyncSession, read: ReadEpics) -> dict[int, list[Reason]]:
    by_source: dict[int, list[EpicRecords]] = {}
    for records in read.found:
        by_source.setdefault(records.row.source_id, []).append(records)
    reasons: dict[int, list[Reason]] = {}
    context = None
    for source_id, found in sorted(by_source.items()):
        source = await session.get_one(SourceRow, source_id)
        context = await runtime.evaluation_context(session, source, shared=context)
        for evaluation in await evaluate_records(session, found, context, read.now):
            reasons[evaluation.row.id] = explain_briefly(explained(evaluation, context), read.now)
    return reasons


def _says(result: Reason, shown: FindingRow | None) -> str:
    """Without the state, which stands before it; in few words what most rows say."""
    if shown is not None and shown.state == "waived":
        return shown.reason or ""
    if shown is not None and shown.check == NO_KEY_RESULT:
        return "No key result"
    _, _, rest = result.says.partition(": ")
    words = rest or result.says
    return words[:1].upper() + words[1:]


def on_ticket(records: EpicRecords, shown: FindingRow | None, why: Sequence[Reason]) -> OnTicket:
    notice = records.notice
    if shown is not None and shown.state in ("snoozed", "waived", "disputed"):
        until = "" if shown.until is None else f"until {last_day(shown.until)}"
        by = f"by {person_of(shown.by)}" if shown.state == "disputed" and shown.by else ""
        return OnTicket(shown.state, until or by, shown.reason or "")
    about = next((reason.says for reason in why if reason.kind == "notice"), "")
    if notice is None and shown is None:
        return OnTicket(None, "")
    if notice is None:
        return OnTicket(None, about.removeprefix("There is no comment, for ").rstrip("."))
    return OnTicket(notice.state, _words_of(notice), notice.detail or about)


def _words_of(notice: Any) -> str:
    run = "" if notice.run_id is None else f"run {notice.run_id}"
    if notice.reason == "guard":
        return f"guard, {run}".rstrip(", ")
    if notice.reason is not None:
        words: str = notice.detail or notice.reason.replace("_", " ")
        return words.rstrip(".")
    if notice.state in ("posted", "resolved", "withdrawn"):
        return day_words(notice.updated_at)
    return run
