"""Check-ins: the values of a key result's metric over time. No evaluation depends on them."""

from __future__ import annotations

from fastapi import APIRouter
from sqlalchemy import select

from app.api.deps import ReadingDep, RuntimeDep, SessionDep
from app.api.goal_models import CheckInIn, CheckInOut, KeyInPath
from app.api.paging import CursorParameter, Limit, Page, list_query, page_of
from app.api.problems import error_responses
from mappings.goals import operations
from mappings.lookups import goal_at
from mappings.tables import CheckInRow, KeyResultRow

router = APIRouter(prefix="/key-results/{key}/check-ins", tags=["goals"])


def _show(row: CheckInRow, key_result: KeyResultRow) -> CheckInOut:
    own = {name: getattr(row, name) for name in CheckInOut.model_fields if name != "key_result"}
    return CheckInOut(**own, key_result=key_result.key)


@router.post("", status_code=201, summary="Check in", responses=error_responses(404))
async def create_check_in(
    key: KeyInPath, body: CheckInIn, runtime: RuntimeDep, session: SessionDep
) -> CheckInOut:
    row, held = await operations.create_check_in(
        session,
        key,
        await runtime.now(session),
        value=body.value,
        confidence=body.confidence,
        note=body.note,
        at=body.at,
    )
    return _show(row, held)


@router.get("", summary="List check-ins, newest first", responses=error_responses(404))
async def list_check_ins(
    key: KeyInPath, session: ReadingDep, limit: Limit = 50, cursor: CursorParameter = None
) -> Page[CheckInOut]:
    held = await goal_at(session, KeyResultRow, key)
    step = list_query(cursor, limit, key_result=held.key)
    query = select(CheckInRow).where(CheckInRow.key_result_id == held.id)
    rows, following = await page_of(session, query, CheckInRow.id, step, newest_first=True)
    return Page(items=[_show(row, held) for (row,) in rows], next=following)
