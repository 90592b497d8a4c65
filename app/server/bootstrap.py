"""Prepares the installation at every start: its id, its admin token, its secrets under the first key."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from sqlalchemy import select, update

from app.secrets import prepare_secrets
from mappings.access.operations import token_hash
from mappings.tables import InstallationRow

if TYPE_CHECKING:
    from app.runtime import Runtime


async def prepare_installation(runtime: Runtime) -> tuple[bytes, str | None]:
    """The hash of the admin token, and the token itself if this call made it.

    Raises `WrongSetting` if any stored secret cannot be opened.
    """
    made: str | None = None
    given = runtime.settings.admin_token
    async with runtime.sessions.begin() as session:
        runtime.signing.open(await prepare_secrets(session, runtime.cipher))
        row = (await session.scalars(select(InstallationRow).with_for_update())).one()
        expected = row.admin_token_hash
        if given is not None:
            expected = token_hash(given.get_secret_value())
        elif expected is None:
            made = secrets.token_urlsafe(32)
            expected = token_hash(made)
            await session.execute(update(InstallationRow).values(admin_token_hash=expected))
    return expected, made


async def open_secrets(runtime: Runtime) -> None:
    """What a process without an API needs of the installation. Raises `WrongSetting` as above."""
    async with runtime.sessions.begin() as session:
        runtime.signing.open(await prepare_secrets(session, runtime.cipher))
