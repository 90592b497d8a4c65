"""What a line of the agenda is shown with, as it is now: the epic and its work, the key result that it may
serve, and what coverage would be if it were re-mapped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from urllib.parse import urlencode

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.web.epic_rows import finding_shown
from mappings.evaluation.context import load_key_results
from mappings.goals.board import GoalOnBoard, load_board
from mappings.goals.key_results import is_live
from mappings.goals.progress import whole_percent
from mappings.governance.stages import load_stage
from mappings.lists.epics import count_open_epics
from mappings.reports.counts import rate_if_linked
from mappings.suggestions.cache import suggest
from mappings.suggestions.load import EVERYTHING
from mappings.tables import (
    EpicRow,
    EpicStageRow,
    FindingRow,
    KeyResultRow,
    LinkRow,
    ReviewItemRow,
    SourceRow,
    among,
)
from mappings.words import day_words, percent

GOALS_AT_MOST = 20
Choices = Mapping[str, Sequence[tuple[str, Sequence[tuple[str, str]]]]]


@dataclass(frozen=True, slots=True)
class HeldEpic:
    """`goal`: the key result that it serves (`serves`), or the best suggestion; `suggested`: keys. `rate`:
    coverage now, `rate_then` if it were linked to a live key result, both None where nothing counts."""

    row: EpicRow
    source: str
    finding: FindingRow | None
    stage: EpicStageRow | None
    measure: str | None
    goal: GoalOnBoard | None
    serves: bool
    suggested: Sequence[str]
    rate: float | None
    rate_then: float | None

    @property
    def is_there(self) -> bool:
        return self.row.removed_at is None

    @property
    def state(self) -> str | None:
        """Its one word: a dispute or a snooze before the alignment."""
        if self.finding is not None and self.finding.state in ("disputed", "snoozed"):
            return str(self.finding.state)
        return self.row.alignment

    @property
    def points(self) -> int:
        """How many points of a hundred coverage would go up."""
        return points_between(self.rate, self.rate_then)


def points_between(before: float | None, after: float | None) -> int:
    """By how many points of a hundred a share rose, as both are shown."""
    return 0 if before is None or after is None else whole_percent(after) - whole_percent(before)


async def coverage_now(session: AsyncSession) -> float | None:
    return rate_if_linked(await count_open_epics(session), None)


async def held_epic(session: AsyncSession, epic_id: int, now: datetime) -> HeldEpic | None:
    """None where its source was deleted with all of it."""
    query = select(EpicRow, SourceRow.name).join(SourceRow, SourceRow.id == EpicRow.source_id)
    found = (await session.execute(query.where(EpicRow.id == epic_id))).one_or_none()
    if found is None:
        return None
    row, source = found
    findings = list(await session.scalars(select(FindingRow).where(FindingRow.epic_id == epic_id)))
    linked = await session.scalars(
        select(LinkRow.key_result_id)
        .where(LinkRow.epic_id == epic_id)
        .order_by(LinkRow.is_primary.desc(), LinkRow.id)
    )
    goals = await load_key_results(session)
    live = [id for id in linked if id in goals and is_live(goals[id], now)]
    suggested = [one.key_result for one in await suggest(session, epic_id, EVERYTHING, now) if one.reasons]
    shown = live[:1] or [one.id for one in suggested[:1]]
    board = await load_board(session, now, among(KeyResultRow.id, shown), count_epics=False) if shown else []
    counts = await count_open_epics(session)
    stage, measure = await load_stage(session, epic_id)
    return HeldEpic(
        row=row,
        source=source,
        finding=finding_shown(findings),
        stage=stage,
        measure=measure,
        goal=board[0] if board else None,
        serves=bool(live),
        suggested=[one.key for one in suggested],
        rate=rate_if_linked(counts, None),
        rate_then=rate_if_linked(counts, _counted_as(row)),
    )


def _counted_as(row: EpicRow) -> str | None:
    """The alignment that a link would end; None where it would not. What the policy exempts stays exempt."""
    if row.removed_at is not None or row.status_category == "done":
        return None
    exempt_by_policy = row.alignment == "exempt" and row.set_aside is None
    return None if exempt_by_policy or row.alignment == "aligned" else row.alignment


async def goals_of(session: AsyncSession, item: ReviewItemRow, now: datetime) -> Sequence[GoalOnBoard]:
    """The key results that the line names, as they are now."""
    if item.key_result_id is not None:
        which: Any = KeyResultRow.id == item.key_result_id
    elif keys := item.facts.get("key_results"):
        which = KeyResultRow.key.in_(keys[:GOALS_AT_MOST])
    else:
        return ()
    return await load_board(session, now, which)


async def goals_to_choose(session: AsyncSession, epic: HeldEpic | None, now: datetime) -> Choices:
    """By the field of the form: groups of keys with titles. `measure`: those that are measured."""
    goals = await load_key_results(session)
    measured = set(
        await session.scalars(
            select(KeyResultRow.id).where(
                KeyResultRow.baseline.is_not(None), KeyResultRow.target.is_not(None)
            )
        )
    )
    first = [] if epic is None else list(epic.suggested)
    if epic is not None and epic.goal is not None and epic.serves:
        first.insert(0, epic.goal.row.key)
    live = [goal for goal in goals.values() if is_live(goal, now)]

    def grouped(which: Sequence[Any]) -> Sequence[tuple[str, Sequence[tuple[str, str]]]]:
        fit = sorted((goal for goal in which if goal.key in first), key=lambda goal: first.index(goal.key))
        rest = [goal for goal in which if goal.key not in first]
        return (
            ("May fit", [(goal.key, goal.title) for goal in fit]),
            ("Others" if fit else "Key results", [(goal.key, goal.title) for goal in rest]),
        )

    return {"key_result": grouped(live), "measure": grouped([goal for goal in live if goal.id in measured])}


def in_short(item: ReviewItemRow) -> str:
    """A line of the agenda in a few words, as it was when the review was opened."""
    about, facts = item.about, item.facts
    key = about.get("epic", {}).get("key") or about.get("key_result") or about.get("objective") or ""
    until = day_words(date.fromisoformat(facts["day"])) if facts.get("day") else "its day"
    words = {
        "coverage": percent(facts.get("rate")),
        "at-risk": f"at {percent(facts.get('progress'))}",
        "late-red": f"at {percent(facts.get('progress'))}, red late",
        "dispute": "disputed",
        "conflict": "IT and business differ",
        "findings": _counted(facts.get("findings", 0), "open finding"),
        "closed-goal": f"closed, {_counted(facts.get('epics', 0), 'epic')} left",
        "to-sign": ", ".join(facts.get("key_results", ())),
        "value": f"{facts.get('count', 0):,} unanswered",
        "waiver": f"waived until {until}",
        "decision": f"decided until {until}",
        "pilot": f"pilot until {until}",
        "stopped": "stopped, still in work",
    }.get(item.kind, item.detail)
    if "list" in about and "count" in facts and item.kind not in ("to-sign", "value"):
        return "more of these"
    return f"{key}, {words}" if key else words


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def list_page(about: Mapping[str, Any]) -> str | None:
    """The address of the page that lists what a line is about, below the base; None where it is no list."""
    filters = {name: str(value) for name, value in about.get("filters", {}).items()}
    match about.get("list"):
        case "epics":
            return f"/epics?{urlencode(filters)}"
        case "goals":
            return f"/goals?{urlencode({'risk': '1'} if 'risk' in filters else filters)}"
        case "findings":
            state = filters.get("state")
            listed = {"disputed": "/notices?state=disputed", "waived": "/epics?alignment=waived"}
            return listed.get(state or "", "/epics?alignment=unaligned")
        case "conflicts" | "decisions" as name:
            return f"/{name}"
        case "stages":
            return "/audit"
    return None
