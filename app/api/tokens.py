"""API tokens: each allows its user what its role allows. Only the hash of a token is stored."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from sqlalchemy import select

from app.api.deps import Body, Moment, ReadingDep, RuntimeDep, SessionDep
from app.api.goal_models import SentMoment
from app.api.paging import CursorParameter, Limit, Page, list_query, page_of
from app.api.problems import error_responses
from app.api.runs import RowId
from app.auth.roles import Role
from mappings.access import operations
from mappings.tables import TokenRow
from mappings.values import NO_NUL_PATTERN

router = APIRouter(prefix="/tokens", tags=["access"])

_EVERY = select(TokenRow)

Name = Annotated[
    str,
    StringConstraints(
        min_length=1, max_length=operations.TOKEN_NAME_AT_MOST, pattern=NO_NUL_PATTERN, strip_whitespace=True
    ),
]
ROLE = "`viewer` reads; `editor` also changes goals, links, rules, policy and findings; `admin` does all."
EXPIRES = "The token is refused from then on; null: it is valid until it is deleted."


class TokenIn(Body):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "ci", "role": "editor", "expires_at": "2027-06-30T00:00:00Z"}]
        }
    )

    name: Name = Field(description="The person or program that uses it, for the audit log.", examples=["ci"])
    role: Role = Field(description=ROLE, examples=["editor"])
    expires_at: SentMoment | None = Field(
        None, description=f"With its time zone. {EXPIRES}", examples=["2027-06-30T00:00:00Z"]
    )


class _Shown(BaseModel):
    id: int = Field(description="Rises with every token.", examples=[3])
    name: str = Field(description="The person or program that uses it.", examples=["ci"])
    role: Role = Field(description=ROLE, examples=["editor"])
    expires_at: Moment | None = Field(description=EXPIRES, examples=["2027-06-30T00:00:00Z"])
    created_at: Moment = Field(description="When it was made.", examples=["2026-11-22T09:00:00Z"])


class TokenMade(_Shown):
    token: str = Field(description="The token itself; it is shown only this once.", examples=["nt_…"])


class TokenOut(_Shown):
    last_used_at: Moment | None = Field(
        description="To the minute; null: never used.", examples=["2026-11-22T09:30:00Z"]
    )


@router.post("", status_code=201, summary="Make an API token")
async def create_token(
    body: TokenIn, response: Response, runtime: RuntimeDep, session: SessionDep
) -> TokenMade:
    row, token = await operations.create_token(
        session, body.name, body.role, body.expires_at, await runtime.now(session)
    )
    response.headers["Cache-Control"] = "no-store"
    return TokenMade(
        id=row.id,
        name=row.name,
        role=body.role,
        token=token,
        expires_at=row.expires_at,
        created_at=row.created_at,
    )


@router.get("", summary="List API tokens")
async def list_tokens(
    session: ReadingDep, limit: Limit = 50, cursor: CursorParameter = None
) -> Page[TokenOut]:
    """Expired tokens are listed too, until they are deleted."""
    rows, following = await page_of(session, _EVERY, TokenRow.id, list_query(cursor, limit))
    items = [TokenOut.model_validate(vars(row)) for (row,) in rows]
    return Page(items=items, next=following)


@router.delete("/{id}", status_code=204, summary="Delete an API token", responses=error_responses(404))
async def delete_token(id: RowId, session: SessionDep) -> None:
    """Every server refuses the token from the next request on."""
    await operations.delete_token(session, id)
