"""Prepares the installation at every start: its id, its admin token, its secrets under the first key; and
the process for its work."""

from __future__ import annotations

import gc
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING

from sqlalchemy import select, update

from app.secrets import prepare_secrets
from mappings.access.operations import token_hash
from mappings.tables import InstallationRow

if TYPE_CHECKING:
    from collections.abc import Iterator

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


YOUNG_OBJECTS = 20_000  # about what a slice of epics makes and drops; Python's own is 700


@contextmanager
def after_start() -> Iterator[None]:
    """Until the block ends, the collector of cycles leaves alone what the process has made to start: modules,
    classes, routes. It would look through these again and again, a quarter of a second each time, while a
    sync makes and drops its epics; and it looks through young objects more seldom."""
    before = gc.get_threshold()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, *before[1:])
    try:
        yield
    finally:
        gc.set_threshold(*before)
        gc.unfreeze()
