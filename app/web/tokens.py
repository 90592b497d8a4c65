"""API tokens: listed, made and deleted by admins. A token's value is in one answer and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.api.deps import CallerDep, RuntimeDep, SessionDep, validated
from app.api.paging import CursorParameter
from app.api.problems import Problem
from app.api.tokens import TokenIn, list_tokens
from app.auth.roles import Caller
from app.runtime import Runtime
from app.web.forms import document_of, wrong_fields
from app.web.page import done, page
from app.web.router import Form, FormDep, needs
from mappings.access import operations
from mappings.errors import DomainError, NotFound
from mappings.retention import WEB_SESSIONS_KEPT
from mappings.tables import TokenRow, WebSessionRow

router = APIRouter()


@dataclass(frozen=True, slots=True)
class Deletion:
    """What the confirmation says. `people`: who signed in with the token. `is_own`: the reader is one."""

    id: int
    name: str
    role: str
    last_used_at: datetime | None
    people: int
    is_own: bool


@router.get("/tokens", dependencies=[needs("GET /tokens")])
async def show_tokens(
    request: Request,
    runtime: RuntimeDep,
    session: SessionDep,
    caller: CallerDep,
    cursor: CursorParameter,
    delete: Annotated[int | None, Query(ge=1, lt=2**63)] = None,
) -> Response:
    deletion = None if delete is None else await _deletion(runtime, session, caller, delete)
    return await page(
        request, session, "tokens.html", await _values(runtime, session, cursor, deletion=deletion)
    )


@router.post("/tokens", dependencies=[needs("POST /tokens")])
async def change_tokens(
    request: Request, runtime: RuntimeDep, session: SessionDep, cursor: CursorParameter, form: FormDep
) -> Response:
    if form.get("do") == "delete":
        return await _delete(request, session, form)
    fields = {name: form.get(name) for name in ("name", "role", "expires_at")}
    try:
        body = validated(TokenIn, document_of(_with_time(fields)))
        row, token = await operations.create_token(
            session, body.name, body.role, body.expires_at, await runtime.now(session)
        )
    except (DomainError, Problem) as error:
        errors = wrong_fields(error)
        values = await _values(runtime, session, cursor, errors=errors, fields=fields)
        return await page(request, session, "tokens.html", values, 422)
    # Answered at once instead of by way of a redirect: nothing can show the token a second time.
    values = await _values(runtime, session, cursor, made={"id": row.id, "name": row.name, "token": token})
    return await page(request, session, "tokens.html", values, 201)


async def _delete(request: Request, session: AsyncSession, form: Form) -> Response:
    row = await operations.delete_token(session, form.id("id") or 0)
    text = f"Token {row.id} ({row.name}) is deleted. Whoever used it is refused from now on."
    return await done(request, session, text, to="/tokens")


def _with_time(fields: dict[str, str]) -> dict[str, str]:
    """A day means its first moment in UTC; anything else is left to the model to refuse."""
    at = fields["expires_at"]
    return fields | {"expires_at": f"{at}T00:00:00Z" if len(at) == len("2027-01-31") else at}


async def _values(
    runtime: Runtime,
    session: AsyncSession,
    cursor: Any,
    *,
    deletion: Deletion | None = None,
    made: dict[str, Any] | None = None,
    errors: dict[str, str] | None = None,
    fields: dict[str, str] | None = None,
) -> dict[str, Any]:
    listed = await list_tokens(session, 50, cursor)
    return {
        "tokens": listed.items,
        "next": listed.next,
        "now": await runtime.now(session),
        "deletion": deletion,
        "made": made,
        "errors": errors or {},
        "fields": fields or {"name": "", "role": "viewer", "expires_at": ""},
    }


async def _deletion(runtime: Runtime, session: AsyncSession, caller: Caller, id: int) -> Deletion:
    """Raises `NotFound`."""
    row = await session.get(TokenRow, id)
    if row is None:
        raise NotFound.of("token", id)
    since = await runtime.now(session) - WEB_SESSIONS_KEPT
    signed_in = (
        select(func.count())
        .select_from(WebSessionRow)
        .where(WebSessionRow.token_hash == row.hash, WebSessionRow.created_at > since)
    )
    return Deletion(
        row.id,
        row.name,
        row.role,
        row.last_used_at,
        await session.scalar(signed_in) or 0,
        caller.who == f"token {row.id} ({row.name})",
    )
