"""Rules: conditions that link epics to key results, so that a person need not link each one."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.deps import (
    IfMatch,
    ReadingDep,
    RuntimeDep,
    SessionDep,
    merged,
    put_runs,
    put_version,
    response_headers,
    validated,
    versions_in,
)
from app.api.paging import CursorParameter, Limit, Page, list_query, page_of
from app.api.problems import error_responses
from app.api.rule_models import (
    OverlapOut,
    RuleIn,
    RuleOrderIn,
    RuleOrderOut,
    RuleOut,
    RulePatch,
    RuleSort,
    RuleWithOverlaps,
    WarningOut,
)
from app.api.runs import RowId, register_row_id
from app.runtime import Runtime
from mappings.lookups import key_result_in
from mappings.previews.overlaps import overlaps_of
from mappings.previews.unknown_names import warn_of_rule
from mappings.rules import operations
from mappings.rules.condition import parse_condition
from mappings.rules.index import Overlap
from mappings.rules.operations import RuleValues, rule_at
from mappings.rules.reports import cycle_length, is_unmatched, report_rules
from mappings.tables import KeyResultRow, RuleRow, among_ids
from mappings.values import FieldWarning

router = APIRouter(prefix="/rules", tags=["rules"])

_EVERY = select(RuleRow)
_KEYS = select(KeyResultRow.id, KeyResultRow.key).where(among_ids(KeyResultRow.id))


register_row_id("rule_id", "preview", "order")


async def _present(
    session: AsyncSession, rows: Sequence[RuleRow], runtime: Runtime, names: Sequence[FieldWarning] = ()
) -> list[RuleOut]:
    """`names`: warnings of names in the one rule that is shown."""
    key_results = await session.execute(_KEYS, {"ids": list({row.key_result_id for row in rows})})
    keys = {id: key for id, key in key_results}
    reports = await report_rules(session, rows, await runtime.now(session))
    shown: list[RuleOut] = []
    for row in rows:
        report = reports[row.id]
        members = {name: getattr(row, name) for name in ("id", "name", "when", "priority", "enabled")}
        shown.append(
            RuleOut(
                **members,
                says=parse_condition(row.when).words(),
                key_result=keys[row.key_result_id],
                matches=report.matches,
                last_matched_at=report.last_matched_at,
                unmatched_since=report.unmatched_since,
                warnings=[WarningOut(**asdict(warning)) for warning in (*report.warnings(), *names)],
            )
        )
    return shown


def show_overlaps(overlaps: Iterable[Overlap]) -> list[OverlapOut]:
    return [
        OverlapOut(rule=one.rule.id, name=one.rule.name, epics=one.epics, wins=one.wins) for one in overlaps
    ]


@router.post(
    "",
    status_code=201,
    summary="Add a rule",
    responses={**response_headers(201, "ETag", "Northing-Runs"), **error_responses(409)},
)
async def create_rule(body: RuleIn, response: Response, runtime: RuntimeDep, session: SessionDep) -> RuleOut:
    """Answers at once; the header `Northing-Runs` names the runs that evaluate the matching epics."""
    names = await warn_of_rule(session, body.when)  # before the operation locks the goals
    row, run_ids = await operations.create_rule(session, body.values(), await runtime.now(session))
    put_runs(response, run_ids)
    put_version(response, row.version)
    return (await _present(session, [row], runtime, names))[0]


@router.get("", summary="List rules")
async def list_rules(
    runtime: RuntimeDep,
    session: ReadingDep,
    key_result: Annotated[str | None, Query(description="To this key result.")] = None,
    enabled: Annotated[bool | None, Query(description="Enabled or disabled ones only.")] = None,
    unmatched: Annotated[
        bool | None, Query(description="Those that have linked no epic for a cycle, or the others.")
    ] = None,
    sort: Annotated[
        RuleSort | None, Query(description="`order`: as they are asked. Else in the order of their ids.")
    ] = None,
    limit: Limit = 50,
    cursor: CursorParameter = None,
) -> Page[RuleOut]:
    step = list_query(cursor, limit, key_result=key_result, enabled=enabled, unmatched=unmatched, sort=sort)
    query: Any = _EVERY
    if step.filters["key_result"] is not None:
        goal = await key_result_in(session, step.filters["key_result"], "key_result")
        query = query.where(RuleRow.key_result_id == goal.id)
    if step.filters["enabled"] is not None:
        query = query.where(RuleRow.enabled == step.filters["enabled"])
    if step.filters["unmatched"] is not None:
        now = await runtime.now(session)
        unmatched_for = is_unmatched(now, await cycle_length(session, now))
        query = query.where(unmatched_for if step.filters["unmatched"] else ~unmatched_for)
    value = RuleRow.priority if step.filters["sort"] == "order" else None
    rows, following = await page_of(session, query, RuleRow.id, step, value=value)
    return Page(items=await _present(session, [row[0] for row in rows], runtime), next=following)


@router.put(
    "/order",
    summary="Put the rules in order",
    responses={**response_headers(200, "Northing-Runs"), **error_responses(409)},
)
async def order_rules(
    body: RuleOrderIn, response: Response, runtime: RuntimeDep, session: SessionDep
) -> RuleOrderOut:
    """All of them at once or none. Priorities are given anew where that takes it, few where few rules are
    moved; 409 where a rule was added, deleted or moved since the order was read."""
    now = await runtime.now(session)
    changed, runs = await operations.reorder_rules(session, body.order, now, seen=body.seen)
    put_runs(response, runs)
    return RuleOrderOut(order=body.order, priorities=changed.priorities)


@router.get(
    "/{id:rule_id}",
    summary="Show a rule",
    responses={**response_headers(200, "ETag"), **error_responses(404)},
)
async def get_rule(
    id: RowId, response: Response, runtime: RuntimeDep, session: SessionDep
) -> RuleWithOverlaps:
    row = await rule_at(session, id)
    put_version(response, row.version)
    (shown,) = await _present(session, [row], runtime, await warn_of_rule(session, row.when))
    return RuleWithOverlaps(**dict(shown), overlaps=show_overlaps(await overlaps_of(session, row)))


@router.patch(
    "/{id:rule_id}",
    summary="Change a rule",
    responses={**response_headers(200, "ETag", "Northing-Runs"), **error_responses(404, 409, 412)},
)
async def change_rule(
    id: RowId,
    body: RulePatch,
    response: Response,
    runtime: RuntimeDep,
    session: SessionDep,
    if_match: IfMatch = None,
) -> RuleOut:
    patch = body.model_dump(exclude_unset=True)
    names = await warn_of_rule(session, patch.get("when") or (await rule_at(session, id)).when)
    row, runs = await operations.change_rule(
        session,
        id,
        lambda current: patched(asdict(current), patch),
        await runtime.now(session),
        versions=versions_in(if_match),
    )
    put_runs(response, runs)
    put_version(response, row.version)
    return (await _present(session, [row], runtime, names))[0]


def patched(before: dict[str, Any], patch: dict[str, Any]) -> RuleValues:
    """The values with those of the patch merged in; 422 naming each wrong field."""
    if patch.get("when") is not None:
        before.pop("when", None)  # a condition is replaced whole
    return validated(RuleIn, merged(before, patch)).values()


@router.delete(
    "/{id:rule_id}",
    status_code=204,
    summary="Remove a rule",
    responses={**response_headers(204, "Northing-Runs"), **error_responses(404)},
)
async def delete_rule(id: RowId, runtime: RuntimeDep, session: SessionDep) -> Response:
    response = Response(status_code=204)
    put_runs(response, await operations.delete_rule(session, id, await runtime.now(session)))
    return response
