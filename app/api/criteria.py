"""The criteria of priorities, and the scores that epics were given."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Body as BodyOf, Query, Response
from pydantic import BaseModel, Field

from app.api.deps import (
    Body,
    IfMatch,
    Key,
    Line,
    Moment,
    RuntimeDep,
    SessionDep,
    put_version,
    response_headers,
    versions_in,
)
from app.api.epic_models import EpicName
from app.api.goal_models import Number
from app.api.problems import error_responses
from app.api.suggestions import EpicInPath, SourceInPath
from mappings.governance.criteria import (
    CRITERIA_AT_MOST,
    EXAMPLE,
    GREATEST_WEIGHT,
    CriterionValues,
    criteria_version,
    load_criteria,
    replace_criteria,
)
from mappings.governance.scores import SCORE, scores_of, scores_version, set_scores
from mappings.lookups import epic_at, source_at
from mappings.reports.priorities import GivenScore, given_scores
from mappings.tables import CriterionRow, ScoreRow

router = APIRouter(tags=["priorities"])


class Criterion(Body):
    key: Key = Field(description="Its key, unique in any case.", examples=["VALUE"])
    title: Line = Field(description="What is scored.", examples=["What it is worth to customers"])
    weight: Number = Field(
        ge=0,
        le=GREATEST_WEIGHT,
        description="Relative to the others; 0 counts nothing. Not all may be 0.",
        examples=[3],
    )


class CriterionOut(BaseModel):
    key: str = Field(description="Its key.", examples=["VALUE"])
    title: str = Field(description="What is scored.", examples=["What it is worth to customers"])
    weight: float = Field(description="Relative to the others.", examples=[3])


def show_criteria(rows: list[CriterionRow]) -> list[CriterionOut]:
    return [CriterionOut(key=row.key, title=row.title, weight=row.weight) for row in rows]


@router.get("/criteria", summary="List the criteria of priorities", responses=response_headers(200, "ETag"))
async def get_criteria(response: Response, session: SessionDep) -> list[CriterionOut]:
    """In the order that was agreed; empty until the first are."""
    rows = await load_criteria(session)
    put_version(response, criteria_version(rows))
    return show_criteria(rows)


@router.put(
    "/criteria",
    summary="Replace the criteria of priorities",
    responses={**response_headers(200, "ETag"), **error_responses(409, 412)},
)
async def put_criteria(
    body: Annotated[
        list[Criterion],
        BodyOf(
            max_length=CRITERIA_AT_MOST,
            examples=[[{"key": one.key, "title": one.title, "weight": one.weight} for one in EXAMPLE]],
        ),
    ],
    response: Response,
    runtime: RuntimeDep,
    session: SessionDep,
    scores: Annotated[
        Literal["keep", "drop"],
        Query(description="`drop` deletes the scores of criteria that are not in the list any more."),
    ] = "keep",
    if_match: IfMatch = None,
) -> list[CriterionOut]:
    """The whole list, in its order. One that keeps its key keeps its scores; 409 where one that is left out
    has scores: the answer says of how many epics."""
    rows = await replace_criteria(
        session,
        [CriterionValues(one.key, one.title, one.weight) for one in body],
        await runtime.now(session),
        drop_scores=scores == "drop",
        versions=versions_in(if_match),
    )
    put_version(response, criteria_version(rows))
    return show_criteria(rows)


class GivenScoreOut(BaseModel):
    criterion: str = Field(description="The criterion's key.", examples=["VALUE"])
    score: float = Field(description="0 to 5.", examples=[4])
    by: str | None = Field(description="Who gave it.")
    at: Moment = Field(description="When.")


class ScoresOut(BaseModel):
    epic: EpicName = Field(description="The epic.")
    scores: dict[str, float] = Field(description="Its scores by criterion.", examples=[{"VALUE": 4}])
    given: list[GivenScoreOut] = Field(description="The same with who gave each and when.")
    missing: list[str] = Field(description="The criteria that count and that it is not scored for.")


def show_given(given: list[GivenScore]) -> dict[str, Any]:
    return {
        "scores": {one.criterion: one.score for one in given},
        "given": [
            GivenScoreOut(criterion=one.criterion, score=one.score, by=one.by, at=one.at) for one in given
        ],
    }


def _show(source: str, key: str, criteria: Any, scores: dict[int, ScoreRow]) -> ScoresOut:
    return ScoresOut(
        epic=EpicName(source=source, key=key),
        **show_given(given_scores(criteria, scores)),
        missing=[row.key for row in criteria if row.weight and row.id not in scores],
    )


@router.get(
    "/epics/{source}/{key:path}/scores",
    summary="Show an epic's scores",
    responses={**response_headers(200, "ETag"), **error_responses(404)},
)
async def get_scores(
    source: SourceInPath, key: EpicInPath, response: Response, session: SessionDep
) -> ScoresOut:
    held = await source_at(session, source)
    epic = await epic_at(session, held, key)
    scores = (await scores_of(session, [epic.id])).get(epic.id, {})
    put_version(response, scores_version(scores))
    return _show(held.name, epic.key, await load_criteria(session), scores)


Score = Annotated[Number, Field(**SCORE)]


@router.put(
    "/epics/{source}/{key:path}/scores",
    summary="Score an epic",
    responses={**response_headers(200, "ETag"), **error_responses(404, 412)},
)
async def put_scores(
    source: SourceInPath,
    key: EpicInPath,
    body: Annotated[
        dict[str, Score | None], BodyOf(max_length=100, examples=[{"VALUE": 4, "URGENCY": 2.5, "RISK": None}])
    ],
    response: Response,
    runtime: RuntimeDep,
    session: SessionDep,
    if_match: IfMatch = None,
) -> ScoresOut:
    """By criterion, 0 to 5 with two decimals at most; null takes one back, and what is left out stays."""
    now = await runtime.now(session)
    given = await set_scores(session, source, key, body, now, versions=versions_in(if_match))
    put_version(response, scores_version(given.scores))
    return _show(given.source.name, given.epic.key, given.criteria, dict(given.scores))
