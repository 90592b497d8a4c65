"""Key results that may fit an epic. Nothing here links one."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response
from pydantic import BaseModel, Field

from app.api.deps import RuntimeDep, SessionDep
from app.api.problems import error_responses
from mappings.lookups import epic_at, source_at
from mappings.suggestions.cache import suggest
from mappings.suggestions.load import EVERYTHING
from mappings.suggestions.material import MOST_SUGGESTIONS
from mappings.suggestions.operations import accept_suggestion_again, reject_suggestion

router = APIRouter(prefix="/epics", tags=["suggestions"])

SourceInPath = Annotated[str, Path(description="The source's name.")]
EpicInPath = Annotated[str, Path(description="The epic's key, or a former one, percent-encoded.")]
KeyResultInPath = Annotated[str, Path(description="The key result's key.")]
MOST_ASKED = 50


class SuggestionOut(BaseModel):
    key_result: str = Field(description="Its key.", examples=["KR-12"])
    title: str = Field(description="Its title.", examples=["Checkout conversion from 2.1 to 4 %"])
    score: float = Field(
        ge=0, le=1, description="How well it fits; of the first, about the chance that it does."
    )
    confident: bool = Field(description="Good enough to be named on a ticket.")
    reasons: list[str] = Field(
        description="Clauses, the strongest first; empty where only parts of words agree.",
        examples=[["shares “checkout”, “conversion” with its title"]],
    )


class SuggestionsOut(BaseModel):
    items: list[SuggestionOut] = Field(description="The best first, confident or not.")


@router.get(
    "/{source}/{key:path}/suggestions",
    summary="Suggest key results for an epic",
    responses=error_responses(404),
)
async def list_suggestions(
    source: SourceInPath,
    key: EpicInPath,
    runtime: RuntimeDep,
    session: SessionDep,
    limit: Annotated[int, Query(ge=1, le=MOST_ASKED, description="At most so many.")] = MOST_SUGGESTIONS,
) -> SuggestionsOut:
    """Live key results that the epic is not linked to, ranked by all that stands behind the login. A ticket
    shows the confident ones alone, ranked by what may be read there."""
    row = await epic_at(session, await source_at(session, source), key)
    found = await suggest(session, row.id, EVERYTHING, await runtime.now(session), limit)
    return SuggestionsOut(
        items=[
            SuggestionOut(
                key_result=one.key_result.key,
                title=one.key_result.title,
                score=one.score,
                confident=one.confident,
                reasons=list(one.reasons),
            )
            for one in found
        ]
    )


@router.post(
    "/{source}/{key:path}/suggestions/{key_result}/reject",
    status_code=204,
    summary="Never suggest a key result for an epic again",
    responses=error_responses(404),
)
async def reject(
    source: SourceInPath,
    key: EpicInPath,
    key_result: KeyResultInPath,
    runtime: RuntimeDep,
    session: SessionDep,
) -> Response:
    """On the ticket neither, from the next text that is written there. DELETE takes it back."""
    await reject_suggestion(session, source, key, key_result, await runtime.now(session))
    return Response(status_code=204)


@router.delete(
    "/{source}/{key:path}/suggestions/{key_result}/reject",
    status_code=204,
    summary="Take the rejection of a suggestion back",
    responses=error_responses(404),
)
async def take_back(
    source: SourceInPath, key: EpicInPath, key_result: KeyResultInPath, session: SessionDep
) -> Response:
    await accept_suggestion_again(session, source, key, key_result)
    return Response(status_code=204)
