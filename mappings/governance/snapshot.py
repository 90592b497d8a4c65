"""What a review freezes when it is opened: coverage, goals with their figures, and every open epic.

All of it is read in one transaction that sees one moment (`see_one_moment`). The epics never leave the
database, so that 100,000 of them cost one statement and no memory here. What is frozen refers to nothing by
foreign key and is never written again.
"""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, func, insert, literal, or_, select, text
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by, distinct_on
from sqlalchemy.types import Text

from mappings.evaluation.context import load_key_results
from mappings.goals.board import GoalOnBoard, load_board, span_of, steady_progress
from mappings.goals.key_results import is_live
from mappings.goals.pace import LAST_DAYS, is_at_risk
from mappings.goals.progress import progress_of
from mappings.tables import (
    CheckInRow,
    CycleRow,
    EpicRow,
    EpicStageRow,
    KeyResultRow,
    LinkRow,
    ObjectiveRow,
    ReviewEpicRow,
    ReviewKeyResultRow,
    ReviewRow,
    SourceRow,
    among,
)
from mappings.words import cut_to

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

_ONE_MOMENT = text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
NOTE_AT_MOST = 1_000  # characters of a check-in's note that are kept
LATE = 2 * LAST_DAYS  # red only since then: there is no time left to do anything about it


async def see_one_moment(session: AsyncSession) -> None:
    """Let all that this transaction reads be of one moment. To be called before its first statement."""
    await session.execute(_ONE_MOMENT)


def plain(value: Any) -> Any:
    """The value as JSON holds it: a day as such, a moment as RFC 3339 in UTC."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, dict):
        return {name: plain(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [plain(member) for member in value]
    return value


# --- goals -------------------------------------------------------------------------------------


async def review_board(session: AsyncSession, cycle: CycleRow, now: datetime) -> list[GoalOnBoard]:
    """The key results of the review's cycle, and the live ones of no cycle."""
    shown = or_(ObjectiveRow.cycle_id == cycle.id, ObjectiveRow.cycle_id.is_(None))
    board = await load_board(session, now, shown)
    return [goal for goal in board if goal.cycle is not None or goal.live]


def freeze_objectives(board: Sequence[GoalOnBoard]) -> list[dict[str, Any]]:
    """The objectives of the board in the order of their drivers' weight: heaviest first, then by id.
    `progress`: the mean of its key results that can be measured, None where none can."""
    by_id: dict[int, list[GoalOnBoard]] = {}
    for goal in board:
        by_id.setdefault(goal.objective.id, []).append(goal)
    return [_objective(goals) for goals in sorted(by_id.values(), key=_heaviest_first)]


def _heaviest_first(goals: Sequence[GoalOnBoard]) -> tuple[float, int]:
    return -goals[0].objective.weight, goals[0].objective.id


def _objective(goals: Sequence[GoalOnBoard]) -> dict[str, Any]:
    objective, cycle = goals[0].objective, goals[0].cycle
    measured = [goal.progress for goal in goals if goal.progress is not None]
    members = ("key", "title", "driver", "owner", "sponsor", "weight", "state", "visibility")
    return {
        **{name: getattr(objective, name) for name in members},
        "cycle": None if cycle is None else cycle.key,
        "progress": sum(measured) / len(measured) if measured else None,
        "key_results": [goal.row.key for goal in goals],
    }


async def freeze_key_results(
    session: AsyncSession, review: ReviewRow, board: Sequence[GoalOnBoard], now: datetime
) -> list[dict[str, Any]]:
    """Store the key results' figures and return them, in the order of the objectives."""
    order = {key: place for place, one in enumerate(review.objectives) for key in one["key_results"]}
    board = sorted(board, key=lambda goal: (order[goal.row.key], goal.row.id))
    notes = await _latest_notes(session, [goal.row.id for goal in board])
    late = await _late_red(session, [goal for goal in board if goal.at_risk], now)
    rows = [
        {
            "review_id": review.id,
            "key_result_id": goal.row.id,
            "key": goal.row.key,
            "title": goal.row.title,
            "objective": goal.objective.key,
            "facts": plain(_figures(goal, notes.get(goal.row.id), goal.row.id in late)),
        }
        for goal in board
    ]
    if rows:
        await session.execute(insert(ReviewKeyResultRow), rows)
    return rows


def _figures(goal: GoalOnBoard, note: str | None, late_red: bool) -> dict[str, Any]:
    row = goal.row
    return {
        **{name: getattr(row, name) for name in ("unit", "baseline", "target", "direction", "state")},
        **{name: getattr(goal, name) for name in ("current", "progress", "steady", "confidence", "trend")},
        "due": row.due or (None if goal.cycle is None else goal.cycle.ends),
        "owner": goal.owner,
        "live": goal.live,
        "at_risk": goal.at_risk,
        "late_red": late_red,
        "checked_in_at": goal.checked_in_at,
        "note": note,
        "epics": goal.epics,
        "signatures": [
            {"side": one.side, "name": one.name, "at": one.created_at}
            for one in goal.agreements
            if one.voided_at is None
        ],
        "not_agreed": goal.not_agreed,
        "not_measured": goal.not_measured,
        "not_steered": list(goal.not_steered),
    }


async def _latest_notes(session: AsyncSession, ids: Sequence[int]) -> dict[int, str]:
    """What the owner wrote at the latest check-in, where anything."""
    query = (
        select(CheckInRow.key_result_id, func.left(CheckInRow.note, NOTE_AT_MOST + 1))
        .where(among(CheckInRow.key_result_id, ids))
        .ext(distinct_on(CheckInRow.key_result_id))
        .order_by(CheckInRow.key_result_id, CheckInRow.at.desc(), CheckInRow.id.desc())
    )
    return {
        id: cut_to(NOTE_AT_MOST, note) for id, note in await session.execute(query) if note and note.strip()
    }


async def _late_red(session: AsyncSession, at_risk: Sequence[GoalOnBoard], now: datetime) -> set[int]:
    """Those of the key results at risk that were not yet two weeks before their end."""
    turned = {goal.row.id: end - LATE for goal in at_risk if (end := span_of(goal.row, goal.cycle)[1])}
    turned = {id: moment for id, moment in turned.items() if moment <= now}
    if not turned:
        return set()
    query = (
        select(CheckInRow.key_result_id, CheckInRow.value, CheckInRow.confidence)
        .where(or_(*(_until(id, moment) for id, moment in turned.items())))
        .ext(distinct_on(CheckInRow.key_result_id))
        .order_by(CheckInRow.key_result_id, CheckInRow.at.desc(), CheckInRow.id.desc())
    )
    then = {id: (value, confidence) for id, value, confidence in await session.execute(query)}
    return {
        goal.row.id
        for goal in at_risk
        if goal.row.id in then and not _was_at_risk(goal, *then[goal.row.id], turned[goal.row.id])
    }


def _until(key_result_id: int, moment: datetime) -> Any:
    return and_(CheckInRow.key_result_id == key_result_id, CheckInRow.at <= moment)


def _was_at_risk(goal: GoalOnBoard, value: float, confidence: float, moment: datetime) -> bool:
    progress = progress_of(goal.row.baseline, goal.row.target, value)
    return is_at_risk(progress, steady_progress(goal.row, goal.cycle, moment), confidence)


# --- epics -------------------------------------------------------------------------------------


async def live_key_results(session: AsyncSession, now: datetime) -> list[int]:
    """The ids of all that are live, of whatever cycle."""
    return [id for id, goal in (await load_key_results(session)).items() if is_live(goal, now)]


_KEPT = (
    *("key", "project", "title", "url", "status", "status_category", "alignment"),
    *("starts_on", "due_on", "children", "children_done"),
)


async def freeze_epics(session: AsyncSession, review_id: int, live: Sequence[int]) -> int:
    """Store every open epic by one statement; how many they are. `live` as
    `live_key_results` returns them."""
    serving = (
        select(
            LinkRow.epic_id,
            func.array_agg(aggregate_order_by(KeyResultRow.key.distinct(), KeyResultRow.key)).label("keys"),
        )
        .join(KeyResultRow, KeyResultRow.id == LinkRow.key_result_id)
        .where(among(KeyResultRow.id, live))
        .group_by(LinkRow.epic_id)
        .subquery()
    )
    columns = {
        "review_id": literal(review_id),
        "epic_id": EpicRow.id,
        "source": SourceRow.name,
        **{name: getattr(EpicRow, name) for name in _KEPT},
        "key_results": func.coalesce(serving.c["keys"], literal([], ARRAY(Text))),
        "stage": EpicStageRow.stage,
    }
    frozen = (
        select(*columns.values())
        .select_from(EpicRow)
        .join(SourceRow, SourceRow.id == EpicRow.source_id)
        .outerjoin(serving, serving.c.epic_id == EpicRow.id)
        .outerjoin(EpicStageRow, EpicStageRow.epic_id == EpicRow.id)
        .where(EpicRow.removed_at.is_(None), EpicRow.status_category != "done")
    )
    # Compiling the plan would take longer than the statement.
    await session.execute(select(func.set_config("jit", "off", True)))
    stored = insert(ReviewEpicRow).from_select(list(columns), frozen)
    connection = await session.connection()  # a session would not tell how many they are
    return (await connection.execute(stored.execution_options(preserve_rowcount=True))).rowcount
