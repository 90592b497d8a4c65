"""Prepares the installation at every start: its id, its admin token, its secrets under the first key."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING
from uuid import uuid4

import structlog
from sqlalchemy import select, text, update

from app.secrets import reencrypt_secrets
from mappings.access.operations import token_hash
from mappings.tables import InstallationRow

if TYPE_CHECKING:
    from app.runtime import Runtime

log = structlog.get_logger()


async def prepare_installation(runtime: Runtime) -> tuple[bytes, str | None]:
    """The hash of the admin token, and the token itself if this call made it.

    Raises `WrongSetting` if the keys decrypt none of the stored secrets.
    """
    made: str | None = None
    given = runtime.settings.admin_token
    async with runtime.sessions.begin() as session:
        await session.execute(
            text("INSERT INTO installation (id, uuid) VALUES (1, :uuid) ON CONFLICT DO NOTHING"),
            {"uuid": str(uuid4())},
        )
        row = (await session.scalars(select(InstallationRow).with_for_update())).one()
        expected = row.admin_token_hash
        if given is not None:
            expected = token_hash(given.get_secret_value())
        elif expected is None:
            made = secrets.token_urlsafe(32)
            expected = token_hash(made)
            await session.execute(update(InstallationRow).values(admin_token_hash=expected))
        for name in await reencrypt_secrets(session, runtime.cipher):
            log.error("no key opens the credentials of a source", source=name)
    return expected, made
