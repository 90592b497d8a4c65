"""Agreements: the business and IT sign how a key result is measured. No evaluation depends on them."""

from __future__ import annotations

from fastapi import APIRouter
from sqlalchemy import select

from app.api.deps import ReadingDep, RuntimeDep, SessionDep
from app.api.goal_models import AgreementIn, AgreementOut, KeyInPath, Metric
from app.api.paging import CursorParameter, Limit, Page, list_query, page_of
from app.api.problems import error_responses
from mappings.goals.agreements import metric_of, sign_key_result
from mappings.lookups import goal_at
from mappings.tables import AgreementRow, KeyResultRow

router = APIRouter(prefix="/key-results/{key}/agreements", tags=["goals"])


def present_agreement(row: AgreementRow, key_result: KeyResultRow) -> AgreementOut:
    own = {name: getattr(row, name) for name in ("id", "side", "name", "note", "voided_at", "void_reason")}
    return AgreementOut(
        **own,
        key_result=key_result.key,
        metric=Metric.model_validate(metric_of(row), from_attributes=True),
        valid=row.voided_at is None,
        created_at=row.created_at,
    )


@router.post("", status_code=201, summary="Sign a key result's metric", responses=error_responses(404))
async def create_agreement(
    key: KeyInPath, body: AgreementIn, runtime: RuntimeDep, session: SessionDep
) -> AgreementOut:
    """The metric is agreed once both sides have signed it as it is: a change of its unit, baseline, target or
    direction voids both signatures. Where the same side signs again, the latest counts. The audit log says
    through which token it was signed."""
    row, held = await sign_key_result(
        session, key, await runtime.now(session), side=body.side, name=body.name, note=body.note
    )
    return present_agreement(row, held)


@router.get("", summary="List agreements, newest first", responses=error_responses(404))
async def list_agreements(
    key: KeyInPath, session: ReadingDep, limit: Limit = 50, cursor: CursorParameter = None
) -> Page[AgreementOut]:
    """All that were ever signed; `valid` says which count."""
    held = await goal_at(session, KeyResultRow, key)
    step = list_query(cursor, limit, key_result=held.key)
    query = select(AgreementRow).where(AgreementRow.key_result_id == held.id)
    rows, following = await page_of(session, query, AgreementRow.id, step, newest_first=True)
    return Page(items=[present_agreement(row, held) for (row,) in rows], next=following)
