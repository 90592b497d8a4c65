"""Authenticates the callers of the API by their tokens."""

from __future__ import annotations

import hmac
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import or_, select, update
from sqlalchemy.exc import SQLAlchemyError

from app.auth.rate_limit import (
    ADDRESSES_KEPT,
    FailedLogins,
    LatestValues,
    TooManyFailures,
    network_of,
)
from app.auth.roles import Caller
from mappings.access.operations import token_hash
from mappings.leases import ALWAYS_DUE
from mappings.tables import TokenRow

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.ext.asyncio import AsyncConnection

    from app.runtime import Runtime

log = structlog.get_logger()


ACCEPTED_FOR = timedelta(hours=1)
TOKENS_KEPT = 1_000
USE_RECORDED_EVERY = timedelta(minutes=1)
ADMIN = Caller("admin token", "admin")


class UnknownToken(Exception):
    """No token, or one that is wrong, deleted or expired."""


class Authenticator:
    """Finds the caller of a token, and limits how often an address may guess one.

    After ten failures within a minute an address has to wait, with every token that this process has not
    accepted within the past hour. So people behind the attacker's proxy go on with their tokens, and guesses
    are not even looked up. Deleted and expired tokens are refused at once: each call asks the database.
    """

    def __init__(self, admin_token_hash: bytes) -> None:
        self.admin_token_hash = admin_token_hash
        self._time: Callable[[], datetime] | None = None
        self._accepted: LatestValues[datetime] = LatestValues(TOKENS_KEPT)
        self._addresses: LatestValues[FailedLogins] = LatestValues(ADDRESSES_KEPT)

    async def authenticate(self, runtime: Runtime, token: str | None, host: str | None) -> Caller:
        """The caller that has this token. Raises `UnknownToken`, `TooManyFailures`."""
        if not token:
            raise UnknownToken  # nothing was guessed, so nothing is counted
        hashed, name = token_hash(token), network_of(host)
        address = self._addresses.get(name) or FailedLogins()
        self._addresses.put(name, address)
        if self._is_known(hashed, self._seconds(runtime)):
            return await self._check(runtime, hashed, address, name)
        # One call at a time, or all guesses of a burst would be looked up before the first has failed.
        async with address.turn:
            now = self._seconds(runtime)
            wait = address.wait(now)
            if wait and not self._is_known(hashed, now):
                raise TooManyFailures(wait)
            return await self._check(runtime, hashed, address, name)

    def wait(self, runtime: Runtime, host: str | None) -> int:
        """Seconds until this address may try to sign in in another way than by a token; 0 for now."""
        address = self._addresses.get(network_of(host))
        return 0 if address is None else address.wait(self._seconds(runtime))

    def failed(self, runtime: Runtime, host: str | None) -> None:
        """Count a sign-in in another way that failed."""
        name = network_of(host)
        address = self._addresses.get(name) or FailedLogins()
        self._addresses.put(name, address)
        log.warning("login failed", address=name, within_a_minute=address.failed(self._seconds(runtime)))

    def _seconds(self, runtime: Runtime) -> datetime:
        """A time that counts seconds from any moment: enough to tell how long ago a login was."""
        if self._time is None:
            self._time = runtime.clock.running_from(ALWAYS_DUE)
        return self._time()

    def _is_known(self, hashed: bytes, now: datetime) -> bool:
        at = self._accepted.get(hashed)
        return at is not None and now - at < ACCEPTED_FOR

    async def _check(self, runtime: Runtime, hashed: bytes, address: FailedLogins, name: str) -> Caller:
        now = self._seconds(runtime)
        if hmac.compare_digest(hashed, self.admin_token_hash):
            caller: Caller | None = ADMIN
        else:
            caller = await _token_owner(runtime, hashed)
        if caller is None:
            self._accepted.drop(hashed)
            log.warning("login failed", address=name, within_a_minute=address.failed(now))
            raise UnknownToken
        self._accepted.put(hashed, now)
        return caller


# --- tokens -----------------------------------------------------------------------------------


async def _token_owner(runtime: Runtime, hashed: bytes) -> Caller | None:
    # Each statement is its own transaction: one round trip, and none for BEGIN and COMMIT.
    async with runtime.engine.connect() as plain:
        connection = await plain.execution_options(isolation_level="AUTOCOMMIT")
        columns = select(
            TokenRow.id, TokenRow.name, TokenRow.role, TokenRow.expires_at, TokenRow.last_used_at
        )
        row = (await connection.execute(columns.where(TokenRow.hash == hashed))).one_or_none()
        now = await runtime.now(connection)
        if row is None or (row.expires_at is not None and row.expires_at <= now):
            return None
        if row.last_used_at is None or now - row.last_used_at >= USE_RECORDED_EVERY:
            await _record_use(connection, row.id, now)
        return Caller(f"token {row.id} ({row.name})", row.role)


async def _record_use(connection: AsyncConnection, id: int, now: datetime) -> None:
    unwritten = or_(TokenRow.last_used_at.is_(None), TokenRow.last_used_at <= now - USE_RECORDED_EVERY)
    try:
        await connection.execute(
            update(TokenRow).where(TokenRow.id == id, unwritten).values(last_used_at=now)
        )
    except SQLAlchemyError as error:  # a read-only database still answers
        log.warning("last use of a token not written", token=id, reason=type(error).__name__)
