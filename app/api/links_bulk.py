"""Many links by hand in one call, of a list or of what a filter of epics lets through."""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Annotated, Literal, cast

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from sqlalchemy.ext.asyncio import AsyncSession

from app import pipeline
from app.api.deps import (
    LARGEST_BODY,
    Body,
    CallerDep,
    Key,
    RuntimeDep,
    put_runs,
    response_headers,
)
from app.api.epic_filters import EpicFilterIn
from app.api.epic_models import EpicName
from app.api.goal_models import Number
from app.api.guard import GuardedRouter
from app.api.problems import error_responses
from app.runtime import Runtime
from mappings.errors import Invalid
from mappings.links.bulk import LinkOutcome, LinkRequest, link_many
from mappings.lists.epics import listed_epics
from mappings.lookups import key_result_in

router = APIRouter(prefix="/links", tags=["links"])

MOST_LINKS = 10_000
# With a constraint pydantic refuses half a surrogate pair, which no answer could repeat.
Text = Annotated[str, StringConstraints(min_length=0)]


class BulkRouter(GuardedRouter):
    """Has room for so many links, each with the longest names in use."""

    largest_body = 4 * LARGEST_BODY


class BulkEpicRefIn(Body):
    source: Text = Field(description="The source's name.", examples=["acme-jira"])
    key: Text = Field(description="The epic's key, or a former one.", examples=["SHOP-12"])


class BulkLinkIn(Body):
    """As a link alone; a wrong value is an error of its item."""

    epic: BulkEpicRefIn = Field(description="The epic.")
    key_result: Text = Field(description="The key of the key result.", examples=["KR-12"])
    weight: Number | None = Field(None, description="Relative to the epic's other links; 1 if left out.")
    primary: bool | None = Field(None, strict=True, description="Make this the epic's primary link.")


class BulkIn(Body):
    """Either `links`, or `filter` and `key_result`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "links": [{"epic": {"source": "acme-jira", "key": "SHOP-12"}, "key_result": "KR-12"}],
                    "dry_run": True,
                },
                {"filter": {"label": "growth", "alignment": "unaligned"}, "key_result": "KR-12"},
            ]
        }
    )

    links: list[BulkLinkIn] | None = Field(None, description=f"At most {MOST_LINKS:,}.")
    filter: EpicFilterIn | None = Field(
        None, description=f"Link each epic that `GET /epics` shows for it, at most {MOST_LINKS:,}."
    )
    key_result: Key | None = Field(None, description="To this one; only with `filter`.", examples=["KR-12"])
    dry_run: bool = Field(False, strict=True, description="Answer the same and change nothing.")


class BulkItem(BaseModel):
    epic: EpicName = Field(description="The epic by its present key; as it was asked for if there is none.")
    key_result: str = Field(description="The key of the key result.")
    outcome: Literal["created", "exists", "error"] = Field(
        description="`exists`: a person linked it before, which stays as it is."
    )
    message: str = Field(description="The outcome in words; of an error, first the field that is wrong.")


class BulkCounts(BaseModel):
    created: int = Field(description="Links that are new, or would be.")
    exists: int = Field(description="Links that stand.")
    error: int = Field(description="Items that are wrong, and made no link.")


class BulkOut(BaseModel):
    items: list[BulkItem] = Field(description="In the order of `links`, or of the list of epics.")
    counts: BulkCounts = Field(description="How many items have each outcome.")


@router.post(
    "/bulk",
    summary="Link many epics to key results",
    responses={**response_headers(200, "Northing-Runs"), **error_responses()},
)
async def create_links(body: BulkIn, response: Response, runtime: RuntimeDep, caller: CallerDep) -> BulkOut:
    """An item with an error makes no link and stops no other. Up to 50 epics are evaluated before the answer,
    more in the runs that `Northing-Runs` names.
    """
    async with runtime.transaction(caller.who) as session:
        now = await runtime.now(session)
        if body.filter is None:
            requests = _requests(body)
        else:
            requests = await _filtered(runtime, session, body, now)
        outcomes, runs = await link_many(
            session, requests, "linked by hand through the API, with others", now, dry_run=body.dry_run
        )
    put_runs(response, await pipeline.evaluate_at_once(runtime, runs))
    items = [_item(request, outcome) for request, outcome in zip(requests, outcomes, strict=True)]
    counts: Counter[str] = Counter(item.outcome for item in items)
    names = BulkCounts.model_fields
    return BulkOut(items=items, counts=BulkCounts(**{name: counts[name] for name in names}))


def _requests(body: BulkIn) -> list[LinkRequest]:
    if body.links is None:
        raise Invalid("links", "is needed, or else filter and key_result")
    if body.key_result is not None:
        raise Invalid("key_result", "goes with filter; each of links has its own")
    if len(body.links) > MOST_LINKS:
        raise Invalid("links", f"are {len(body.links):,}; send at most {MOST_LINKS:,} at a time")
    return [
        LinkRequest(one.epic.source, one.epic.key, one.key_result, one.weight, one.primary)
        for one in body.links
    ]


async def _filtered(
    runtime: Runtime, session: AsyncSession, body: BulkIn, now: datetime
) -> list[LinkRequest]:
    """A request for each epic that the filter lets through."""
    assert body.filter is not None
    if body.links is not None:
        raise Invalid("filter", "cannot be sent together with links")
    if body.key_result is None:
        raise Invalid("key_result", "is needed with filter")
    filters = body.filter.filters()
    if not filters:
        raise Invalid("filter", "names nothing, so it would link every epic; name at least one filter")
    goal = await key_result_in(session, body.key_result, "key_result")
    epics = await listed_epics(
        session, filters, body.filter.sort or "id", runtime.checks, now, most=MOST_LINKS
    )
    return [LinkRequest(source, key, goal.key) for source, key in epics]


def _item(request: LinkRequest, outcome: LinkOutcome) -> BulkItem:
    source, key = outcome.epic or (request.source, request.epic)
    return BulkItem(
        epic=EpicName(source=source, key=key),
        key_result=outcome.key_result or request.key_result,
        outcome=cast("Literal['created', 'exists', 'error']", outcome.outcome),
        message=outcome.message if outcome.field is None else f"{outcome.field}: {outcome.message}",
    )
