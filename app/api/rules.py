"""Rules: conditions that link epics to key results, so that a person need not link each one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.deps import (
    Body,
    IfMatch,
    Key,
    Line,
    RuntimeDep,
    SessionDep,
    merged,
    put_runs,
    put_version,
    validated,
    versions_in,
)
from app.api.paging import CursorParameter, Limit, Page, list_query, page_of
from app.api.problems import error_responses
from app.api.runs import RowId
from mappings.lookups import key_result_in
from mappings.rules import operations
from mappings.rules.condition import parse_condition
from mappings.rules.operations import PRIORITY, RuleValues, rule_at
from mappings.tables import KeyResultRow, RuleRow

router = APIRouter(prefix="/rules", tags=["rules"])

EXAMPLE = {"all": [{"project": ["SHOP"]}, {"any": [{"label": ["growth*"]}, {"title": "(?i)checkout"}]}]}

Priority = Annotated[int, Field(strict=True, **PRIORITY)]


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

    def values(self) -> RuleValues:
        return RuleValues(self.name, self.when, self.key_result, self.priority, self.enabled)


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


@router.post("", status_code=201, summary="Add a rule", responses=error_responses(409))
async def create_rule(body: RuleIn, response: Response, runtime: RuntimeDep, session: SessionDep) -> RuleOut:
    """Answers at once; the header `Northing-Runs` names the runs that evaluate the matching epics."""
    row, run_ids = await operations.create_rule(session, body.values(), await runtime.now(session))
    put_runs(response, run_ids)
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


@router.get("/{id}", summary="Show a rule", responses=error_responses(404))
async def get_rule(id: RowId, response: Response, session: SessionDep) -> RuleOut:
    row = await rule_at(session, id)
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
    patch = body.model_dump(exclude_unset=True)

    def change(current: RuleValues) -> RuleValues:
        before = asdict(current)
        if patch.get("when") is not None:
            before.pop("when")  # a condition is replaced whole
        return validated(RuleIn, merged(before, patch)).values()

    row, runs = await operations.change_rule(
        session, id, change, await runtime.now(session), versions=versions_in(if_match)
    )
    put_runs(response, runs)
    put_version(response, row.version)
    return (await _present(session, [row]))[0]


@router.delete("/{id}", status_code=204, summary="Remove a rule", responses=error_responses(404))
async def delete_rule(id: RowId, runtime: RuntimeDep, session: SessionDep) -> Response:
    response = Response(status_code=204)
    put_runs(response, await operations.delete_rule(session, id, await runtime.now(session)))
    return response
