"""API tokens: made and deleted. Only the hash of a token is stored."""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING

from mappings.errors import Invalid, NotFound, check_values
from mappings.tables import ROLES, TokenRow
from mappings.values import line_error, moment_error, one_of_error

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

TOKEN_NAME_AT_MOST = 100


def token_hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


async def create_token(
    session: AsyncSession, name: str, role: str, expires_at: datetime | None, now: datetime
) -> tuple[TokenRow, str]:
    """The new token's row, and the token itself, which nothing can show again.

    `role` is one of `ROLES`; the token is refused from `expires_at` on, None: it is valid until it is
    deleted. Raises `Invalid`.
    """
    check_values(
        [
            ("name", line_error(name, TOKEN_NAME_AT_MOST)),
            ("role", one_of_error(role, ROLES)),
            ("expires_at", moment_error(expires_at)),
        ]
    )
    if expires_at is not None and expires_at <= now:
        raise Invalid("expires_at", "is in the past; such a token would never work")
    token = "nt_" + secrets.token_urlsafe(32)
    row = TokenRow(
        name=name,
        role=role,
        hash=token_hash(token),
        expires_at=expires_at,
        last_used_at=None,
        created_at=now,
    )
    session.add(row)
    await session.flush()
    return row, token


async def delete_token(session: AsyncSession, id: int) -> TokenRow:
    """Every server refuses the token from the commit on; what it was. Raises `NotFound`."""
    row = await session.get(TokenRow, id, with_for_update=True)
    if row is None:
        raise NotFound.of("token", id)
    await session.delete(row)
    return row
