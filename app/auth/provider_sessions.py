"""Sessions of people who came from an OpenID provider: their role follows what the provider says of them.

The provider is asked again every five minutes in which the person does something. What it says takes effect
at once: another role, or the session's end where no group gives one any more or the grant was revoked. While
it does not answer, the person goes on with the role that it last gave, for half an hour at the most.
"""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import update

from app.auth.oidc import Grant, Provider, ProviderAway, SignInFailed
from app.auth.rate_limit import LatestValues
from app.auth.roles import highest_role
from app.auth.sessions import WebSession, begin_session, end_session, find_session, session_hash
from app.secrets import CannotDecrypt, grant_binding
from mappings.tables import WebSessionRow

if TYPE_CHECKING:
    from app.auth.oidc import Identity
    from app.auth.roles import Role
    from app.runtime import Runtime

log = structlog.get_logger()

ASKED_EVERY = timedelta(minutes=5)
UNCONFIRMED_AT_MOST = timedelta(minutes=30)
SESSIONS_ASKING = 1_000


class ProviderSessions:
    """Of one process. `provider`: None where sign-in by OpenID Connect is not set; then such sessions end."""

    def __init__(self, provider: Provider | None) -> None:
        self.provider = provider
        # One question at a time for each session: a refresh token may work once.
        self._turns: LatestValues[asyncio.Lock] = LatestValues(SESSIONS_ASKING)

    async def begin(
        self,
        runtime: Runtime,
        value: str,
        identity: Identity,
        role: Role,
        grant: Grant,
        *,
        instead_of: str | None,
    ) -> None:
        """A session of this person, whose cookie has `value`. `instead_of` as in `begin_session`."""
        hashed = session_hash(value)
        async with runtime.transaction() as session:
            now = await runtime.now(session)
            await begin_session(
                session,
                now,
                value,
                instead_of=instead_of,
                person=identity.person_id,
                name=identity.name,
                role=role,
                grant=self._sealed(runtime, hashed, grant, now),
                checked_at=now,
            )

    async def confirmed(
        self, runtime: Runtime, found: WebSession, value: str, admin_hash: bytes
    ) -> WebSession | None:
        """The session as it is now that the provider was asked, where it was time to. None: it has ended."""
        if found.unasked_for is None:
            return found
        if self.provider is None:
            await self._end(runtime, found.id)
            return None
        if found.unasked_for < ASKED_EVERY:
            return found
        turn = self._turns.get(found.id) or asyncio.Lock()
        self._turns.put(found.id, turn)
        async with turn:
            await self._ask(runtime, found.id, session_hash(value))
        return await find_session(runtime, value, admin_hash)

    async def _ask(self, runtime: Runtime, id: int, hashed: bytes) -> None:
        assert self.provider is not None
        async with runtime.sessions.begin() as session:
            now = await runtime.now(session)
            due = WebSessionRow.checked_at <= now - ASKED_EVERY
            claimed = (
                update(WebSessionRow)
                .where(WebSessionRow.id == id, due)
                .values(checked_at=now)
                .returning(WebSessionRow)
            )
            row = (await session.scalars(claimed)).one_or_none()
            if row is None:
                return  # asked meanwhile by the request before, or another server is asking
            person, sealed = row.person, row.grant
        try:
            held = runtime.cipher.decrypt(sealed or b"", grant_binding(hashed, self.provider.issuer))
        except CannotDecrypt:  # of another issuer, or sealed by a key that is gone
            await self._end(runtime, id)
            return
        grant = Grant(held["access_token"], held["refresh_token"])
        try:
            identity, fresh = await self.provider.ask_again(grant, person or "", now)
        except ProviderAway:
            if now - datetime.fromisoformat(held["confirmed_at"]) >= UNCONFIRMED_AT_MOST:
                await self._end(runtime, id)
            return
        except SignInFailed as error:
            log.info("session ended", reason=str(error))
            await self._end(runtime, id)
            return
        await self._keep(runtime, id, hashed, identity, fresh)

    async def _keep(self, runtime: Runtime, id: int, hashed: bytes, identity: Identity, grant: Grant) -> None:
        role = highest_role(runtime.settings.oidc_roles or {}, identity.groups)
        if role is None:
            log.info("session ended", reason="no group gives a role any more")
            await self._end(runtime, id)
            return
        async with runtime.sessions.begin() as session:
            now = await runtime.now(session)
            values = {"role": role, "grant": self._sealed(runtime, hashed, grant, now)}
            await session.execute(update(WebSessionRow).where(WebSessionRow.id == id).values(values))

    def _sealed(self, runtime: Runtime, hashed: bytes, grant: Grant, now: datetime) -> bytes:
        assert self.provider is not None
        held = {
            "access_token": grant.access_token,
            "refresh_token": grant.refresh_token,
            "confirmed_at": now.isoformat(),
        }
        return runtime.cipher.encrypt(held, grant_binding(hashed, self.provider.issuer))

    async def _end(self, runtime: Runtime, id: int) -> None:
        async with runtime.sessions.begin() as session:
            await end_session(session, id)
