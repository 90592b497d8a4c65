"""Runs: what each did, is doing, and still has to write."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.convertors import StringConvertor, register_url_convertor

from app.api.deps import Body, ReadingDep, RuntimeDep, SessionDep
from app.api.paging import CursorParameter, Limit, Page, list_query, page_of
from app.api.problems import error_responses
from mappings.lookups import run_at, source_in
from mappings.notices import claims, operations as notice_operations
from mappings.notices.state import WithdrawAction
from mappings.runs.causes import causes_in_words
from mappings.sources import operations as source_operations
from mappings.tables import RunRow, SourceRow

router = APIRouter(prefix="/runs", tags=["runs"])

_EVERY = select(RunRow, SourceRow.name).join(SourceRow, SourceRow.id == RunRow.source_id)

RunMode = Literal["incremental", "full", "evaluate", "withdraw"]
RunState = Literal["queued", "running", "waiting", "stalled", "succeeded", "partial", "failed"]
RowId = Annotated[int, Path(ge=1, lt=2**63, description="The id, as lists show it.")]


def register_row_id(name: str, *other_calls: str) -> None:
    """In paths, `{id:name}` is any word but those of other calls: other methods are refused there as such."""

    class WordBut(StringConvertor):
        regex = f"(?!(?:{'|'.join(other_calls)})$)[^/]+"

    register_url_convertor(name, WordBut())


class Writes(BaseModel):
    """Comments by the result of their write; `pending` are still to be written."""

    pending: int = Field(0, description="Still to be written.")
    posted: int = Field(0, description="New comments.")
    edited: int = Field(0, description="Comments that got a new full text.")
    resolved: int = Field(0, description="Comments reduced to one line.")
    withdrawn: int = Field(0, description="Comments withdrawn: reduced to one line, or deleted.")
    held: int = Field(
        0, description="Notices this run held back: grace, stale data, a dispute, quiet hours, guard, cap."
    )
    failed: int = Field(0, description="Writes the tracker refused.")


class RunError(BaseModel):
    code: str = Field(description="A code for programs.", examples=["unauthorized"])
    message: str = Field(description="What happened.")
    what_to_do: str = Field(description="What a person can do about it.")


class WithdrawIn(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"delete": False}]})

    delete: bool = Field(
        False,
        strict=True,
        description="Delete the comments; where the tracker forbids that, each becomes one line instead.",
    )


class RunOut(BaseModel):
    """One sync of a source, one evaluation of the epics that a change affects, or one withdrawal."""

    id: int = Field(description="Rises with every run.")
    source: str = Field(description="The source's name.")
    mode: RunMode = Field(
        description="`evaluate`: opened by webhooks, by time, or by a change of goals, rules, links, policy "
        "or mode."
    )
    state: RunState = Field(
        description="`waiting`: for a tracker's limit; `stalled`: no sign of life, a worker will resume it."
    )
    seen: int = Field(description="Epics found in the tracker.")
    created: int = Field(description="Epics stored for the first time.")
    updated: int = Field(description="Epics whose stored facts changed.")
    deleted: int = Field(description="Epics removed from every list.")
    skipped: int = Field(description="Epics that belong to an older source.")
    requests: int = Field(description="Calls made to the tracker.")
    uncounted_requests: int = Field(
        description="Of these, those that the tracker does not count against its limit: GitHub was asked by "
        "the tag of an answer that is still the same."
    )
    writes: Writes = Field(description="What this run wrote on tickets, and has still to write.")
    waiting_until: datetime | None = Field(description="When a waiting run continues.")
    started_at: datetime | None = Field(description="Null while it is queued.")
    finished_at: datetime | None = Field(description="The end of reading and evaluating; writes follow.")
    error: RunError | None = Field(description="Why it failed, or succeeded only in part.")
    causes: list[str] = Field(
        description="Of mode `evaluate`: what it was opened for, in words, at most 20, and then how many "
        "more. While a run is queued, further changes join it.",
        examples=[["rule Checkout work in SHOP", "key result KR-3"]],
    )


async def present(session: AsyncSession, rows: Sequence[tuple[RunRow, str]]) -> list[RunOut]:
    """The runs with their writes counted and their causes, in three statements for all runs."""
    ids = [run.id for run, _ in rows]
    writes, causes = await claims.count_writes(session, ids), await causes_in_words(session, ids)
    return [
        RunOut.model_validate(
            {
                **{
                    name: getattr(run, name)
                    for name in RunOut.model_fields
                    if name not in ("source", "writes", "causes")
                },
                "source": source,
                "writes": {**writes[run.id], "held": run.held},
                "causes": causes[run.id],
            }
        )
        for run, source in rows
    ]


async def present_one(session: AsyncSession, run: RunRow, source: str) -> RunOut:
    return (await present(session, [(run, source)]))[0]


@router.get("", summary="List runs, newest first")
async def list_runs(
    session: ReadingDep,
    source: Annotated[str | None, Query(description="Of this source.")] = None,
    state: Annotated[RunState | None, Query(description="In this state.")] = None,
    mode: Annotated[RunMode | None, Query(description="Of this mode.")] = None,
    limit: Limit = 50,
    cursor: CursorParameter = None,
) -> Page[RunOut]:
    step = list_query(cursor, limit, source=source, state=state, mode=mode)
    query: Any = _EVERY
    if step.filters["source"] is not None:
        held = await source_in(session, step.filters["source"], "source")
        query = query.where(RunRow.source_id == held.id)
    for name in ("state", "mode"):
        if step.filters[name] is not None:
            query = query.where(getattr(RunRow, name) == step.filters[name])
    rows, following = await page_of(session, query, RunRow.id, step, newest_first=True)
    return Page(items=await present(session, [(run, name) for run, name in rows]), next=following)


@router.get("/{id}", summary="Show a run", responses=error_responses(404))
async def get_run(session: SessionDep, id: RowId) -> RunOut:
    return await present_one(session, *await run_at(session, id))


@router.post(
    "/{id}/withdraw",
    status_code=202,
    summary="Take a run's comments back",
    responses=error_responses(404, 409),
)
async def withdraw_run(
    id: RowId, runtime: RuntimeDep, session: SessionDep, body: WithdrawIn | None = None
) -> RunOut:
    """Every comment that the run created becomes one line, or is deleted; its pending writes are cancelled.

    A run of mode `withdraw` does it, whatever the source's mode; called again, returns the same run.
    """
    how: WithdrawAction = "delete" if body is not None and body.delete else "edit"
    withdrawn = await notice_operations.withdraw_run(session, id, how, await runtime.now(session))
    return await present_one(session, *withdrawn)


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
    accepted = await source_operations.accept_removals(session, id, await runtime.now(session))
    return await present_one(session, *accepted)
