"""The filters of epics as parameters of a list, and as a body that says which epics a change is about."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query
from pydantic import BaseModel, Field, StringConstraints

from app.api.deps import Body
from mappings.lists.epics import (
    KEY_AT_MOST,
    TEXT_AT_MOST,
    Alignment,
    DriverFilter,
    EpicFilters,
    Sort,
    ValueFilter,
)
from mappings.values import NO_NUL_PATTERN

Text = Annotated[str, StringConstraints(max_length=TEXT_AT_MOST, pattern=NO_NUL_PATTERN)]
ParentKey = Annotated[str, StringConstraints(max_length=KEY_AT_MOST, pattern=NO_NUL_PATTERN)]


class EpicFilterQuery(BaseModel):
    source: Text | None = Field(None, description="Of this source.")
    alignment: Alignment | None = Field(None, description="With this alignment.")
    key_result: Text | None = Field(None, description="Linked to this key result, live or not.")
    project: Text | None = Field(None, description="Project key or owner/repository, any case.")
    label: Text | None = Field(None, description="With this label, whole, any case.")
    assignee: Text | None = Field(None, description="Assigned to this name or login, whole, any case.")
    driver: DriverFilter | None = Field(
        None,
        description="Linked to a live key result of an objective with this driver; `none`: of one without.",
    )
    parent: ParentKey | None = Field(
        None,
        description="Below the ticket of this key, any case: an epic's present or former key, the key of a "
        "ticket that is no epic here, or a milestone's name. `source` says which, where several have it.",
    )
    check: Text | None = Field(None, description="With an unresolved finding of this check.")
    steered: bool | None = Field(
        None,
        description="Whether it is aligned by a link to a key result that is measured, agreed by both sides "
        "and has moved.",
    )
    open: bool | None = Field(None, description="Whether its status is none of those that are done.")
    initiative: bool | None = Field(
        None, description="Whether it is another epic's parent, or of a type or label that the policy names."
    )
    value: ValueFilter | None = Field(
        None, description="Whether it says how it helps the business; initiatives are asked."
    )
    q: Text | None = Field(None, description="Part of the title or key, any case.")

    def filters(self) -> EpicFilters:
        return EpicFilters(**{name: getattr(self, name) for name in EpicFilterQuery.model_fields})


class EpicFilterIn(EpicFilterQuery, Body):
    """The same as `GET /epics` takes."""

    sort: Sort | None = Field(None, description="The order of the items in the answer; `id` if left out.")


async def _of_query(query: Annotated[EpicFilterQuery, Query()]) -> EpicFilterQuery:
    return query


EpicFilterParameters = Annotated[EpicFilterQuery, Depends(_of_query)]
SortParameter = Annotated[
    Sort | None,
    Query(
        description="By id (if left out), by when it was created or changed in the tracker, or by title; "
        "`-`: greatest first."
    ),
]
