"""A person allows the removals that the drop guard held."""

from __future__ import annotations

from fastapi import APIRouter
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.api import runs
from app.api.deps import RuntimeDep, SessionDep
from app.api.disconnecting import check_not_disconnecting
from app.api.problems import Problem, error_responses, not_found
from app.api.runs import RowId, RunOut
from mappings.runs.queue import open_run
from mappings.tables import UNFINISHED_STATES, HeldRemovalRow, RunRow, SourceRow

router = APIRouter(prefix="/runs", tags=["runs"])

IN_FULL = "Run a full sync again and see how it ends."


@router.post(
    "/{id}/accept-removals",
    status_code=202,
    summary="Allow the removals that the drop guard held",
    responses=error_responses(404, 409),
)
async def accept_removals(id: RowId, runtime: RuntimeDep, session: SessionDep) -> RunOut:
    """Opens a full run that removes the epics that run `id` did not meet; called again, returns the same run.

    The run asks for each ticket by its id once more, so an epic that is there after all stays. Other missing
    epics pass the drop guard again. 409 for a run in which the guard held nothing, and once a later run has
    read the source in full. If the run that was opened failed, the next call opens another.
    """
    run = await session.get(RunRow, id)
    # The lock that opening and ending a run take too, so the runs of this source do not change meanwhile.
    gate = select(SourceRow).where(SourceRow.id == (None if run is None else run.source_id))
    source = (await session.scalars(gate.with_for_update(key_share=True))).one_or_none()
    if run is None or source is None:
        raise not_found("run", id)
    check_not_disconnecting(source)
    done = (await session.scalars(select(RunRow).where(RunRow.accepts_run_id == run.id))).one_or_none()
    if done is not None and done.state in ("queued", *UNFINISHED_STATES, "succeeded"):
        return await runs.present_one(session, done, source.name)
    await _check_held(session, run, source)
    if done is not None:
        done.accepts_run_id = None
        await session.flush()
    # Not a run that reads already: it may have decided on removals before they were allowed.
    opened = await open_run(session, source.id, "full", runtime.clock(), afresh=True)
    opened.accepts_run_id = run.id
    await session.flush()
    await runtime.wake_run(session, opened.id, opened.mode)
    return await runs.present_one(session, opened, source.name)


async def _check_held(session: AsyncSession, run: RunRow, source: SourceRow) -> None:
    if (run.mode, run.state, _code(run)) != ("full", "partial", "drop_guard"):
        raise Problem(
            409,
            f"Run {run.id} holds no removals: only a full run that ended `partial` with the code "
            f"`drop_guard` does, and this one is `{run.mode}` and `{run.state}`.",
        )
    later = (
        select(RunRow)
        .where(RunRow.source_id == source.id, RunRow.mode == "full", RunRow.id > run.id)
        # A run that failed, or ended because the source was changed, does not tell what is gone.
        .where(RunRow.state.in_(("succeeded", "partial")))
        .where(func.coalesce(RunRow.error["code"].astext, "") != "changed")
        .order_by(RunRow.id.desc())
        .limit(1)
    )
    newer = (await session.scalars(later)).one_or_none()
    if newer is not None:
        remedy = f"Accept run {newer.id}." if _code(newer) == "drop_guard" else IN_FULL
        raise Problem(
            409, f"Run {newer.id} has read the source in full since; run {run.id} is out of date. {remedy}"
        )
    held = select(HeldRemovalRow.remote_id).where(HeldRemovalRow.run_id == run.id).limit(1)
    if run.tracker != source.tracker or (await session.scalars(held)).first() is None:
        raise Problem(409, f"Run {run.id} holds nothing for the source's present tracker. {IN_FULL}")


def _code(run: RunRow) -> str | None:
    return None if run.error is None else run.error["code"]
