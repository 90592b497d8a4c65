"""Sessions of people on the pages: begun, found by the value of a cookie, and ended.

A session lasts twelve hours, and ends after one without a request. Only the hash of the cookie's value is
stored, so nobody who reads the database can go on with it. Where a person signed in with a token, the session
has the token's role of the moment, and ends with it. Where they came from an OpenID provider, that is asked
again every few minutes: see `app.auth.provider_sessions`.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, delete, literal_column, or_, select, update

from app.auth.authenticator import ADMIN
from app.auth.roles import Caller
from mappings.retention import WEB_SESSIONS_KEPT
from mappings.tables import TokenRow, WebSessionRow

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from app.runtime import Runtime

IDLE = timedelta(hours=1)
SEEN_RECORDED_EVERY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class WebSession:
    """One request's session. `forms` is the token against forgery that each of its forms carries. `at`: the
    time when it was found, UTC. `last_action`: what was said of the latest change, None for nothing.
    `unasked_for`: how long ago an OpenID provider was asked who the person is; None for a session that a
    token opened."""

    id: int
    caller: Caller
    name: str
    forms: str = field(repr=False)
    at: datetime
    last_action: dict[str, Any] | None = None
    unasked_for: timedelta | None = None


def session_hash(value: str) -> bytes:
    """What is stored of a cookie's value."""
    return hashlib.sha256(value.encode()).digest()


def forms_token(value: str) -> str:
    """Of the session with this cookie. Whoever has it cannot compute the cookie from it."""
    return hmac.digest(session_hash(value), b"forms", "sha256").hex()


def new_session_value() -> str:
    """The value of a cookie that no session has yet: it is never one that the browser brought along."""
    return secrets.token_urlsafe(32)


async def begin_session(
    session: AsyncSession, now: datetime, value: str, *, instead_of: str | None, **members: Any
) -> None:
    """`members` are those of `WebSessionRow` that say who it is. The session of the cookie that the browser
    had before (`instead_of`) ends, and those that are over are deleted."""
    over = or_(WebSessionRow.created_at <= now - WEB_SESSIONS_KEPT, WebSessionRow.seen_at <= now - IDLE)
    if instead_of:
        over |= WebSessionRow.hash == session_hash(instead_of)
    await session.execute(delete(WebSessionRow).where(over))
    session.add(WebSessionRow(hash=session_hash(value), created_at=now, seen_at=now, **members))
    await session.flush()


async def find_session(runtime: Runtime, value: str, admin_hash: bytes) -> WebSession | None:
    """The session of this cookie, None where there is none any more. `admin_hash`: of the admin token.

    Every page asks for it: one statement, which reads the time too, without a transaction around it.
    """
    now_there = literal_column(runtime.clock.in_sql(), type_=WebSessionRow.seen_at.type).label("now")
    async with runtime.engine.connect() as connection:
        await connection.execution_options(isolation_level="AUTOCOMMIT")
        found = await connection.execute(_FOUND.add_columns(now_there), {"hash": session_hash(value)})
        row = found.one_or_none()
    if row is None or not row.now - WEB_SESSIONS_KEPT < row.created_at or not row.now - IDLE < row.seen_at:
        return None
    caller = _caller(row, admin_hash, row.now)
    if caller is None:
        return None
    if row.now - row.seen_at >= SEEN_RECORDED_EVERY:
        async with runtime.sessions.begin() as session:
            seen = update(WebSessionRow).where(WebSessionRow.id == row.id).values(seen_at=row.now)
            await session.execute(seen)
    unasked_for = None if row.checked_at is None else row.now - row.checked_at
    return WebSession(row.id, caller, row.name, forms_token(value), row.now, row.last_action, unasked_for)


_FOUND = (
    select(
        WebSessionRow.id,
        WebSessionRow.token_hash,
        WebSessionRow.person,
        WebSessionRow.name,
        WebSessionRow.role,
        WebSessionRow.checked_at,
        WebSessionRow.created_at,
        WebSessionRow.seen_at,
        WebSessionRow.last_action,
        TokenRow.id.label("token"),
        TokenRow.name.label("token_name"),
        TokenRow.role.label("token_role"),
        TokenRow.expires_at.label("token_expires_at"),
    )
    .outerjoin(TokenRow, TokenRow.hash == WebSessionRow.token_hash)
    .where(WebSessionRow.hash == bindparam("hash"))
)


def _caller(row: Any, admin_hash: bytes, now: datetime) -> Caller | None:
    if row.token_hash is None:
        # The name is for people, who may have the same one; the id is the provider's, which no two have.
        return Caller(f"{row.name} (person {row.person})", row.role)
    if row.token is not None:
        over = row.token_expires_at is not None and row.token_expires_at <= now
        return None if over else Caller(f"token {row.token} ({row.token_name})", row.token_role)
    return ADMIN if hmac.compare_digest(row.token_hash, admin_hash) else None


async def end_session(session: AsyncSession, id: int) -> None:
    await session.execute(delete(WebSessionRow).where(WebSessionRow.id == id))
