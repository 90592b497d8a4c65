"""What the demo's company is made of, what a person made that refers to it, and what its committee kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, or_, select

from mappings.tables import (
    AllocationMonthRow,
    AllocationRow,
    ConflictRow,
    CriterionRow,
    CycleRow,
    DecisionRow,
    EpicRow,
    EpicStageRow,
    EstimateRow,
    InstallationRow,
    KeyResultRow,
    LinkRow,
    ObjectiveRow,
    ReviewRow,
    RuleRow,
    SourceRow,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncSession

NAMED_AT_MOST = 20
# The tables of what is made, each with the column that names a row; later ones refer to earlier ones.
NAMES: dict[str, Any] = {
    "cycle": CycleRow.key,
    "objective": ObjectiveRow.key,
    "key_result": KeyResultRow.key,
    "rule": RuleRow.name,
    "source": SourceRow.name,
}


async def names_of(session: AsyncSession, kind: str, ids: Sequence[int]) -> list[str]:
    """Their present names, the latest first."""
    column = NAMES[kind]
    query = select(column).where(column.class_.id.in_(ids)).order_by(column.class_.id.desc())
    return list(await session.scalars(query))


async def what_refers(
    session: AsyncSession, ids: Mapping[str, Sequence[int]], scopes: Sequence[dict[str, Any]]
) -> list[str]:
    """What a person made that refers to what would be removed, in words."""
    objectives, key_results = ids["objective"], ids["key_result"]
    found = [
        f"key result {key} is under {above}"
        for key, above in await session.execute(
            select(KeyResultRow.key, ObjectiveRow.key)
            .join(ObjectiveRow, ObjectiveRow.id == KeyResultRow.objective_id)
            .where(ObjectiveRow.id.in_(objectives), KeyResultRow.id.not_in(key_results))
            .order_by(KeyResultRow.id)
            .limit(NAMED_AT_MOST)
        )
    ]
    found += [
        f"objective {key} is in its cycle, or under one of its objectives"
        for key in await session.scalars(
            select(ObjectiveRow.key)
            .where(ObjectiveRow.parent_id.in_(objectives) | ObjectiveRow.cycle_id.in_(ids["cycle"]))
            .where(ObjectiveRow.id.not_in(objectives))
            .order_by(ObjectiveRow.id)
            .limit(NAMED_AT_MOST)
        )
    ]
    found += [
        f"rule “{name}” links to {key}"
        for name, key in await session.execute(
            select(RuleRow.name, KeyResultRow.key)
            .join(KeyResultRow, KeyResultRow.id == RuleRow.key_result_id)
            .where(KeyResultRow.id.in_(key_results), RuleRow.id.not_in(ids["rule"]))
            .order_by(RuleRow.id)
            .limit(NAMED_AT_MOST)
        )
    ]
    found += [
        f"epics of source {name} are linked to {key}"
        for name, key in await session.execute(
            select(SourceRow.name, KeyResultRow.key)
            .select_from(LinkRow)
            .join(EpicRow, EpicRow.id == LinkRow.epic_id)
            .join(SourceRow, SourceRow.id == EpicRow.source_id)
            .join(KeyResultRow, KeyResultRow.id == LinkRow.key_result_id)
            .where(LinkRow.key_result_id.in_(key_results), SourceRow.id.not_in(ids["source"]))
            .where(LinkRow.origin == "manual")
            .distinct()
            .limit(NAMED_AT_MOST)
        )
    ]
    found += [
        f"decision {id} on {key}"
        for id, key in await session.execute(
            select(DecisionRow.id, DecisionRow.epic_key)
            .join(EpicRow, EpicRow.id == DecisionRow.epic_id)
            .where(EpicRow.source_id.not_in(ids["source"]))
            .where(DecisionRow.key_result_id.in_(key_results) | DecisionRow.measure_id.in_(key_results))
            .order_by(DecisionRow.id)
            .limit(NAMED_AT_MOST)
        )
    ]
    found += [
        f"the pilot of {key} is measured by {measure}"
        for key, measure in await session.execute(
            select(EpicRow.key, KeyResultRow.key)
            .select_from(EpicStageRow)
            .join(EpicRow, EpicRow.id == EpicStageRow.epic_id)
            .join(KeyResultRow, KeyResultRow.id == EpicStageRow.measure_id)
            .where(EpicStageRow.measure_id.in_(key_results), EpicRow.source_id.not_in(ids["source"]))
            .order_by(EpicRow.id)
            .limit(NAMED_AT_MOST)
        )
    ]
    named = {name.lower() for name in await names_of(session, "source", ids["source"])}
    policy = (await session.scalars(select(InstallationRow.policy))).one()
    found += [
        f"the policy has a scope of yours for {scope['source']}"
        for scope in policy.get("scopes", ())
        if scope.get("source", "").lower() in named and scope not in scopes
    ]
    return found


async def remove_steering(
    session: AsyncSession, ids: Mapping[str, Sequence[int]], criteria: Sequence[str]
) -> None:
    """What a committee keeps of the company's goals, epics and cycle goes with them, before them."""
    epics = select(EpicRow.id).where(EpicRow.source_id.in_(ids["source"]))
    reviews = select(ReviewRow.id).where(ReviewRow.cycle_id.in_(ids["cycle"]))
    objectives, key_results = ids["objective"], ids["key_result"]
    decisions = or_(
        DecisionRow.review_id.in_(reviews),
        DecisionRow.epic_id.in_(epics),
        DecisionRow.about_objective_id.in_(objectives),
        DecisionRow.about_key_result_id.in_(key_results),
    )
    conflicts = or_(ConflictRow.objective_id.in_(objectives), ConflictRow.key_result_id.in_(key_results))
    names = select(SourceRow.name).where(SourceRow.id.in_(ids["source"]))
    for row, which in (
        (DecisionRow, decisions),
        (ConflictRow, conflicts),
        (ReviewRow, ReviewRow.id.in_(reviews)),
        (EpicStageRow, EpicStageRow.epic_id.in_(epics)),
        (EstimateRow, EstimateRow.key_result_id.in_(key_results)),
        (CriterionRow, CriterionRow.key.in_(criteria)),
        (AllocationRow, AllocationRow.source.in_(names)),
        (AllocationMonthRow, AllocationMonthRow.month.not_in(select(AllocationRow.month))),
    ):
        await session.execute(delete(row).where(which))
