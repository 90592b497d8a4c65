"""The value question: how an initiative helps the business, who was asked, and who answered."""

from __future__ import annotations

from fastapi import APIRouter, Response
from pydantic import ConfigDict, Field

from app.api.deps import (
    Body,
    IfMatch,
    Line,
    RuntimeDep,
    SessionDep,
    put_version,
    response_headers,
    versions_in,
)
from app.api.epic_models import ANSWER, ValueOut
from app.api.problems import error_responses
from app.api.suggestions import EpicInPath, SourceInPath
from mappings.goals.values import Driver
from mappings.governance.value import UNCHANGED, answer_value, load_value

router = APIRouter(prefix="/epics", tags=["epics"])


class ValueIn(Body):
    """What is left out stays as it is; null takes it back."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"answer": "Cuts the cost of a refund by half, for no clerk types it.", "driver": "cost"},
                {"asked_of": "Dana Reyes"},
            ]
        }
    )

    answer: Line | None = Field(None, description=ANSWER)
    driver: Driver | None = Field(None, description="Which of the four ways it names.")
    asked_of: Line | None = Field(None, description="Who is asked for the answer.")


@router.get(
    "/{source}/{key:path}/value",
    summary="Show how an epic helps the business",
    responses={**response_headers(200, "ETag"), **error_responses(404)},
)
async def get_value(
    source: SourceInPath, key: EpicInPath, response: Response, session: SessionDep
) -> ValueOut:
    """All members are null where nobody has answered and nobody was asked."""
    _, value = await load_value(session, source, key)
    put_version(response, value.version)
    return ValueOut.of(value)


@router.put(
    "/{source}/{key:path}/value",
    summary="Say how an epic helps the business, or whom to ask",
    responses={**response_headers(200, "ETag"), **error_responses(404, 412)},
)
async def put_value(
    source: SourceInPath,
    key: EpicInPath,
    body: ValueIn,
    response: Response,
    runtime: RuntimeDep,
    session: SessionDep,
    if_match: IfMatch = None,
) -> ValueOut:
    """Any epic may have an answer; initiatives are asked for one. To ask, send `asked_of` alone."""
    sent = {name: getattr(body, name) for name in body.model_fields_set}
    answered = await answer_value(
        session,
        source,
        key,
        await runtime.now(session),
        answer=sent.get("answer", UNCHANGED),
        driver=sent.get("driver", UNCHANGED),
        asked_of=sent.get("asked_of", UNCHANGED),
        versions=versions_in(if_match),
    )
    put_version(response, answered.after.version)
    return ValueOut.of(answered.after)
