"""Whether the process is alive, and whether it can work. No token is needed."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel, Field

from app.api.deps import RuntimeDep
from app.api.problems import Problem, error_responses
from app.database import why_not_ready

router = APIRouter(tags=["operation"])


class Alive(BaseModel):
    status: str = Field(description="`ok`.", examples=["ok"])


@router.get("/healthz", summary="Is the process alive?")
async def healthz() -> Alive:
    return Alive(status="ok")


@router.get("/readyz", summary="Can it work?", responses=error_responses(503))
async def readyz(runtime: RuntimeDep) -> Alive:
    """503 with the reason while the database or its schema is not ready, or takes no writes."""
    reason = await why_not_ready(runtime.engine) or await runtime.outages.why_no_writes(runtime.engine)
    if reason is not None:
        raise Problem(503, f"Not ready: {reason}.")
    return Alive(status="ok")
