"""Scores: what epics were given for the criteria, by whom and when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import Numeric, Subquery, cast, func, select

from mappings.audit import actor_of
from mappings.errors import Conflict, Invalid, check_values, check_version
from mappings.governance.criteria import load_criteria, version_of
from mappings.locks import lock_criteria_shared
from mappings.lookups import locked_epic_at
from mappings.tables import CriterionRow, ScoreRow, among
from mappings.values import Bounds, number_error

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from mappings.tables import EpicRow, SourceRow

SCORE: Bounds = {"ge": 0, "le": 5}
DECIMALS = 2
MEAN_DECIMALS = 4


@dataclass(frozen=True, slots=True)
class GivenScores:
    """After a change: the epic, the criteria, its scores by the criteria's ids, and those that changed as
    they were before, by the criteria's keys; None: not scored."""

    source: SourceRow
    epic: EpicRow
    criteria: Sequence[CriterionRow]
    scores: Mapping[int, ScoreRow]
    before: Mapping[str, float | None]


def score_error(score: float | None) -> str | None:
    wrong = number_error(score, SCORE)
    if wrong is None and score is not None and round(score, DECIMALS) != score:
        return f"must have {DECIMALS} decimals at most"
    return wrong


def scores_version(scores: Mapping[int, ScoreRow]) -> int:
    """Of an epic's scores by the criteria's ids."""
    return version_of([(id, row.score, row.at) for id, row in sorted(scores.items())])


async def set_scores(
    session: AsyncSession,
    source: str,
    key: str,
    scores: Mapping[str, float | None],
    now: datetime,
    *,
    expected: Mapping[str, float | None] | None = None,
    versions: Collection[int] | None = None,
) -> GivenScores:
    """Give an epic these scores, by the criteria's keys in any case; None takes one back. The others stay,
    and so does one that is the same already, with who gave it and when.

    `expected`: raises `Conflict` where those of the epic are others now. `versions`: those that the caller
    may have read. Raises `NotFound`, `StaleVersion`, and `Invalid` on a criterion that does not exist or a
    score that is none.
    """
    await lock_criteria_shared(session)
    held, epic = await locked_epic_at(session, source, key)  # one at a time changes an epic's scores
    criteria = await load_criteria(session)
    asked = _by_criterion(criteria, scores)
    stored = (await scores_of(session, [epic.id])).get(epic.id, {})
    check_version(scores_version(stored), versions)
    if expected is not None:
        for id, score in _by_criterion(criteria, expected).items():
            if (stored[id].score if id in stored else None) != score:
                raise Conflict("somebody has scored it since.")
    before = {}
    for row in criteria:
        current = stored.get(row.id)
        score = asked.get(row.id)
        if row.id not in asked or score == (None if current is None else current.score):
            continue
        before[row.key] = None if current is None else current.score
        if score is None and current is not None:
            await session.delete(current)
            del stored[row.id]
        elif score is not None and current is not None:
            current.score, current.by, current.at = score, actor_of(session), now
        elif score is not None:
            stored[row.id] = ScoreRow(
                epic_id=epic.id, criterion_id=row.id, score=score, by=actor_of(session), at=now
            )
            session.add(stored[row.id])
    await session.flush()
    return GivenScores(held, epic, criteria, stored, before)


def _by_criterion(
    criteria: Sequence[CriterionRow], scores: Mapping[str, float | None]
) -> dict[int, float | None]:
    """By the criteria's ids. Raises `Invalid` on what is wrong."""
    known = {row.key.lower(): row for row in criteria}
    check_values((key, _error(key, score, known)) for key, score in scores.items())
    found: dict[int, float | None] = {}
    for key, score in scores.items():
        id = known[key.lower()].id
        if id in found:
            raise Invalid(key, "is named twice, in another case")
        found[id] = score
    return found


def _error(key: str, score: float | None, known: Mapping[str, CriterionRow]) -> str | None:
    if key.lower() in known:
        return score_error(score)
    if not known:
        return "no criteria are agreed yet; PUT /api/v1/criteria first"
    return f"is no criterion; there are {', '.join(row.key for row in known.values())}"


def mean_scores() -> Subquery:
    """`epic_id`; `number`: for how many of the criteria that count an epic is scored; `mean`: its weighted
    mean, 0 to 5, rounded to `MEAN_DECIMALS`, which is its score where `number` is that of the criteria.
    Of epics that are scored for any."""
    # Decimal numbers, so that no order of adding makes two equal scores differ.
    weight = func.sum(cast(CriterionRow.weight, Numeric)).filter(CriterionRow.weight > 0)
    whole = select(weight).scalar_subquery()
    product = cast(ScoreRow.score, Numeric) * cast(CriterionRow.weight, Numeric)
    return (
        select(
            ScoreRow.epic_id,
            func.count().label("number"),
            func.round(func.sum(product) / whole, MEAN_DECIMALS, type_=Numeric).label("mean"),
        )
        .join(CriterionRow, CriterionRow.id == ScoreRow.criterion_id)
        .where(CriterionRow.weight > 0)
        .group_by(ScoreRow.epic_id)
        .subquery("marks")
    )


async def scores_of(session: AsyncSession, epic_ids: Collection[int]) -> dict[int, dict[int, ScoreRow]]:
    """Of the epics that have any, by the epic's id and the criterion's, as they are now."""
    found: dict[int, dict[int, ScoreRow]] = {}
    query = select(ScoreRow).where(among(ScoreRow.epic_id, epic_ids))
    for row in await session.scalars(query.execution_options(populate_existing=True)):
        found.setdefault(row.epic_id, {})[row.criterion_id] = row
    return found
