"""Check-ins: the values of a key result's metric over time. No evaluation depends on them."""

from __future__ import annotations

from datetime import timedelta

from fastapi import APIRouter
from sqlalchemy import func, select

from app.api.deps import RuntimeDep, SessionDep
from app.api.goal_models import CheckInIn, CheckInOut
from app.api.goals import KeyInPath, goal_at
from app.api.paging import CursorParameter, Limit, Page, list_query, page_of
from app.api.problems import error_responses, invalid, not_found
from mappings.tables import CheckInRow, KeyResultRow

router = APIRouter(prefix="/key-results/{key}/check-ins", tags=["goals"])

# Not 0, because clocks differ; not more, because a mistyped year would hide every later check-in.
AHEAD_AT_MOST = timedelta(days=1)


def _show(row: CheckInRow, key_result: KeyResultRow) -> CheckInOut:
    own = {name: getattr(row, name) for name in CheckInOut.model_fields if name != "key_result"}
    return CheckInOut(**own, key_result=key_result.key)


@router.post("", status_code=201, summary="Check in", responses=error_responses(404))
async def create_check_in(
    key: KeyInPath, body: CheckInIn, runtime: RuntimeDep, session: SessionDep
) -> CheckInOut:
    now = runtime.clock()
    if body.at is not None and body.at > now + AHEAD_AT_MOST:
        raise invalid("at", "lies more than a day ahead; a check-in says what was measured")
    # Locked, so that the key result cannot be deleted between this read and the insert.
    query = select(KeyResultRow).where(func.lower(KeyResultRow.key) == key.lower())
    held = (await session.scalars(query.with_for_update(read=True, key_share=True))).one_or_none()
    if held is None:
        raise not_found("key result", key)
    row = CheckInRow(
        key_result_id=held.id,
        value=body.value,
        confidence=body.confidence,
        note=body.note,
        at=body.at or now,
        created_at=now,
    )
    session.add(row)
    await session.flush()
    return _show(row, held)


@router.get("", summary="List check-ins, newest first", responses=error_responses(404))
async def list_check_ins(
    key: KeyInPath, session: SessionDep, limit: Limit = 50, cursor: CursorParameter = None
) -> Page[CheckInOut]:
    held = await goal_at(session, KeyResultRow, key)
    step = list_query(cursor, limit, key_result=held.key)
    query = select(CheckInRow).where(CheckInRow.key_result_id == held.id)
    rows, following = await page_of(session, query, CheckInRow.id, step, newest_first=True)
    return Page(items=[_show(row, held) for (row,) in rows], next=following)
