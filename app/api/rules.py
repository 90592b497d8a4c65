"""Rules: conditions that link epics to key results, so that a person need not link each one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.deps import (
    Body,
    IfMatch,
    Key,
    Line,
    RuntimeDep,
    SessionDep,
    check_version,
    merged,
    put_runs,
    put_version,
    validated,
)
from app.api.paging import CursorParameter, Limit, Page, list_query, page_of
from app.api.problems import Problem, error_responses, invalid, not_found, taken
from app.api.runs import RowId
from mappings.locks import lock_goals_exclusive
from mappings.lookups import key_result_in
from mappings.rules.condition import InvalidCondition, fields, parse_condition
from mappings.runs.reevaluation import reevaluate_rule
from mappings.tables import KeyResultRow, RuleRow, SourceRow

router = APIRouter(prefix="/rules", tags=["rules"])

EXAMPLE = {"all": [{"project": ["SHOP"]}, {"any": [{"label": ["growth*"]}, {"title": "(?i)checkout"}]}]}


MOST_RULES = 2_000  # each evaluation reads all of them
Priority = Annotated[int, Field(strict=True, ge=-(2**31), lt=2**31)]


class RuleIn(Body):
    name: Line = Field(description="Unique, in any case.", examples=["Checkout work in SHOP"])
    when: dict[str, Any] = Field(
        description="A tree of `all`, `any`, `not` and tests: source, project, label, type, title, parent, "
        "assignee, component, milestone, field.",
        examples=[EXAMPLE],
    )
    key_result: Key = Field(description="The key of the key result.", examples=["KR-3"])
    priority: Priority = Field(100, description="The lowest is tried first, then the oldest.")
    enabled: bool = Field(True, strict=True, description="A disabled rule links nothing.")


class RulePatch(Body):
    """JSON merge patch, except for `when`: the condition is replaced as a whole."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"priority": 10, "enabled": True}]})

    name: Line | None = Field(None, description="Unique, in any case.")
    when: dict[str, Any] | None = Field(None, description="The whole condition.", examples=[EXAMPLE])
    key_result: str | None = Field(None, description="The key of the key result.")
    priority: Priority | None = Field(None, description="The lowest is tried first.", examples=[10])
    enabled: bool | None = Field(None, strict=True, description="A disabled rule links nothing.")


class RuleOut(BaseModel):
    id: int = Field(description="Among rules of the same priority the lowest id is tried first.")
    name: str = Field(description="Unique, in any case.")
    when: dict[str, Any] = Field(description="The condition.")
    says: str = Field(description="The condition in words.")
    key_result: str = Field(description="The key of the key result.")
    priority: int = Field(description="The lowest is tried first.")
    enabled: bool = Field(description="A disabled rule links nothing.")


async def _present(session: AsyncSession, rows: Sequence[RuleRow]) -> list[RuleOut]:
    key_result_ids = {row.key_result_id for row in rows}
    keys = {
        id: key
        for id, key in await session.execute(
            select(KeyResultRow.id, KeyResultRow.key).where(KeyResultRow.id.in_(key_result_ids))
        )
    }
    return [
        RuleOut(
            id=row.id,
            name=row.name,
            when=row.when,
            says=parse_condition(row.when).words(),
            key_result=keys[row.key_result_id],
            priority=row.priority,
            enabled=row.enabled,
        )
        for row in rows
    ]


async def _checked(session: AsyncSession, body: RuleIn, itself: int | None) -> int:
    """The id of the key result; 409 for a name that is taken, 422 for a condition that cannot work."""
    other = select(RuleRow.id).where(
        func.lower(RuleRow.name) == body.name.lower(), RuleRow.id != (itself or 0)
    )
    if (await session.scalars(other)).first() is not None:
        raise taken("name", body.name)
    try:
        condition = parse_condition(body.when)
    except InvalidCondition as error:
        raise invalid(error.path, error.message) from None
    read_fields: set[str] = set()
    for epics in await session.scalars(select(SourceRow.epics)):
        read_fields.update(epics.get("fields") or ())
    for name in sorted(fields(condition) - read_fields):
        raise invalid("when", f"asks for field {name!r}, which no source reads; add it to its epics.fields")
    return (await key_result_in(session, body.key_result, "key_result")).id


@router.post("", status_code=201, summary="Add a rule", responses=error_responses(409))
async def create_rule(body: RuleIn, response: Response, runtime: RuntimeDep, session: SessionDep) -> RuleOut:
    """Answers at once; the header `Northing-Runs` names the runs that evaluate the matching epics."""
    await lock_goals_exclusive(session)
    if (await session.scalars(select(func.count()).select_from(RuleRow))).one() >= MOST_RULES:
        raise Problem(409, f"There are {MOST_RULES} rules; delete one, or let one rule list more values.")
    goal_id = await _checked(session, body, None)
    row = RuleRow(
        name=body.name,
        when=body.when,
        key_result_id=goal_id,
        priority=body.priority,
        enabled=body.enabled,
        version=1,
    )
    session.add(row)
    await session.flush()
    put_runs(
        response, await reevaluate_rule(session, row.id, row.when if row.enabled else None, runtime.clock())
    )
    put_version(response, row.version)
    return (await _present(session, [row]))[0]


@router.get("", summary="List rules")
async def list_rules(
    session: SessionDep,
    key_result: Annotated[str | None, Query(description="To this key result.")] = None,
    enabled: Annotated[bool | None, Query(description="Enabled or disabled ones only.")] = None,
    limit: Limit = 50,
    cursor: CursorParameter = None,
) -> Page[RuleOut]:
    step = list_query(cursor, limit, key_result=key_result, enabled=enabled)
    query: Any = select(RuleRow)
    if step.filters["key_result"] is not None:
        goal = await key_result_in(session, step.filters["key_result"], "key_result")
        query = query.where(RuleRow.key_result_id == goal.id)
    if step.filters["enabled"] is not None:
        query = query.where(RuleRow.enabled == step.filters["enabled"])
    rows, following = await page_of(session, query, RuleRow.id, step)
    return Page(items=await _present(session, [row for (row,) in rows]), next=following)


async def _at(session: AsyncSession, id: int) -> RuleRow:
    row = await session.get(RuleRow, id)
    if row is None:
        raise not_found("rule", id)
    return row


@router.get("/{id}", summary="Show a rule", responses=error_responses(404))
async def get_rule(id: RowId, response: Response, session: SessionDep) -> RuleOut:
    row = await _at(session, id)
    put_version(response, row.version)
    return (await _present(session, [row]))[0]


@router.patch("/{id}", summary="Change a rule", responses=error_responses(404, 409, 412))
async def change_rule(
    id: RowId,
    body: RulePatch,
    response: Response,
    runtime: RuntimeDep,
    session: SessionDep,
    if_match: IfMatch = None,
) -> RuleOut:
    await lock_goals_exclusive(session)
    row = await _at(session, id)
    check_version(row.version, if_match)
    (shown,) = await _present(session, [row])
    current = {name: getattr(shown, name) for name in RuleIn.model_fields}
    patch = body.model_dump(exclude_unset=True)
    if patch.get("when") is not None:
        current.pop("when")
    new = validated(RuleIn, merged(current, patch))
    goal_id = await _checked(session, new, row.id)
    before = (row.when, row.key_result_id, row.priority, row.enabled)
    row.name, row.when, row.key_result_id = new.name, new.when, goal_id
    row.priority, row.enabled, row.version = new.priority, new.enabled, row.version + 1
    await session.flush()
    if before != (row.when, row.key_result_id, row.priority, row.enabled) or new.name != shown.name:
        put_runs(
            response,
            await reevaluate_rule(session, row.id, row.when if row.enabled else None, runtime.clock()),
        )
    put_version(response, row.version)
    return (await _present(session, [row]))[0]


@router.delete("/{id}", status_code=204, summary="Remove a rule", responses=error_responses(404))
async def delete_rule(id: RowId, runtime: RuntimeDep, session: SessionDep) -> Response:
    await lock_goals_exclusive(session)
    row = await _at(session, id)
    opened = await reevaluate_rule(session, row.id, None, runtime.clock())
    await session.delete(row)
    response = Response(status_code=204)
    put_runs(response, opened)
    return response
