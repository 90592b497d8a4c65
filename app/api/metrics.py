"""What a monitoring system reads. No token is needed: only counts and names of sources, no ticket content."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse

from app.api.deps import RuntimeDep
from app.metrics.collector import Metrics

router = APIRouter(tags=["operation"])

EXAMPLE = """# HELP northing_epics Epics by source and alignment.
# TYPE northing_epics gauge
northing_epics{alignment="unaligned",source="acme-jira"} 12.0
"""


@router.get(
    "/metrics",
    summary="Counts for a monitoring system",
    response_class=PlainTextResponse,
    responses={
        200: {"description": "Prometheus text format", "content": {"text/plain": {"example": EXAMPLE}}}
    },
)
async def metrics(request: Request, runtime: RuntimeDep) -> PlainTextResponse:
    """Prometheus' text format. While the database is unreachable, only this process's own metrics are shown,
    and `northing_database_up` is 0. Figures from the database may be five seconds old."""
    found: Metrics = request.app.state.metrics
    return PlainTextResponse(await found.scrape(runtime, request.app.state.intake))
