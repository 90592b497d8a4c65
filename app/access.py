"""Who is asking, and what they may do."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import math
from collections import OrderedDict, deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv6Address, ip_address
from typing import Generic, Literal, TypeVar

import structlog
from sqlalchemy import or_, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.runtime import Runtime
from mappings.tables import ROLES, Token

log = structlog.get_logger()

Role = Literal["viewer", "editor", "admin"]
Value = TypeVar("Value")

# Each operation of /api/v1, by its path below that and its method, with the least role that may do it.
OPERATIONS: dict[str, dict[str, Role]] = {
    "/sources": {"GET": "viewer", "POST": "admin"},
    "/sources/{name}": {"GET": "viewer", "PATCH": "admin", "DELETE": "admin"},
    "/sources/{name}/sync": {"POST": "admin"},
    "/runs": {"GET": "viewer"},
    "/runs/{id}": {"GET": "viewer"},
    "/runs/{id}/accept-removals": {"POST": "admin"},
    "/runs/{id}/withdraw": {"POST": "editor"},
    "/cycles": {"GET": "viewer", "POST": "editor"},
    "/cycles/{key}": {"GET": "viewer", "PATCH": "editor", "DELETE": "editor"},
    "/objectives": {"GET": "viewer", "POST": "editor"},
    "/objectives/{key}": {"GET": "viewer", "PATCH": "editor", "DELETE": "editor"},
    "/objectives/{key}/key-results": {"POST": "editor"},
    "/key-results": {"GET": "viewer"},
    "/key-results/{key}": {"GET": "viewer", "PATCH": "editor", "DELETE": "editor"},
    "/key-results/{key}/check-ins": {"GET": "viewer", "POST": "editor"},
    "/rules": {"GET": "viewer", "POST": "editor"},
    "/rules/{id}": {"GET": "viewer", "PATCH": "editor", "DELETE": "editor"},
    "/links": {"GET": "viewer", "POST": "editor"},
    "/links/{id}": {"DELETE": "editor"},
    "/epics": {"GET": "viewer"},
    "/epics/{source}/{key}": {"GET": "viewer"},
    "/findings": {"GET": "viewer"},
    "/findings/{id}/waive": {"POST": "editor"},
    "/findings/{id}/snooze": {"POST": "editor"},
    "/findings/{id}/reopen": {"POST": "editor"},
    "/notices": {"GET": "viewer"},
    "/notices/approve": {"POST": "editor"},
    "/policy": {"GET": "viewer", "PUT": "editor", "PATCH": "editor"},
    "/deliveries": {"GET": "viewer"},
    "/deliveries/{id}": {"GET": "admin"},
    "/deliveries/{id}/replay": {"POST": "admin"},
    "/tokens": {"GET": "admin", "POST": "admin"},
    "/tokens/{id}": {"DELETE": "admin"},
    "/audit-log": {"GET": "admin"},
}


def role_for(method: str, path: str) -> Role:
    """The least role for an operation; one that nobody has thought of is the admin's."""
    return OPERATIONS.get(path, {}).get(method, "admin")


@dataclass(frozen=True)
class Caller:
    """`who` is how the audit log names them."""

    who: str
    role: Role

    def may(self, role: Role) -> bool:
        return ROLES.index(self.role) >= ROLES.index(role)


def token_hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


# --- the door ---------------------------------------------------------------------------------

MOST_FAILURES, WINDOW = 10, timedelta(minutes=1)
KNOWN_FOR = timedelta(hours=1)
TOKENS_KEPT, ADDRESSES_KEPT = 1_000, 10_000
USE_WRITTEN_EVERY = timedelta(minutes=1)


class NotKnown(Exception):
    """No token, or one that is wrong, deleted or expired."""


class TooManyFailures(Exception):
    """The address has to wait for `seconds`; its token was not looked at."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"too many failed logins, next try in {seconds} s")
        self.seconds = seconds


class Door:
    """Lets in who has a token, and wears out who guesses one.

    An address that failed ten times within a minute waits, with every token this process has not let
    in within the past hour. People behind the attacker's proxy go on with theirs; guesses are not
    even looked up. Deleted and expired tokens are refused at once: the database is asked each time.
    """

    def __init__(self, admin_token_hash: bytes) -> None:
        self._admin = admin_token_hash
        self._let_in: Latest[datetime] = Latest(TOKENS_KEPT)
        self._addresses: Latest[_Address] = Latest(ADDRESSES_KEPT)

    async def admit(self, runtime: Runtime, token: str | None, host: str | None) -> Caller:
        """Who has this token. Raises `NotKnown`, `TooManyFailures`."""
        if not token:
            raise NotKnown  # nothing was guessed, so nothing is counted
        hashed, name = token_hash(token), _network(host)
        address = self._addresses.get(name) or _Address()
        self._addresses.put(name, address)
        if self._is_known(hashed, runtime.clock()):
            return await self._check(runtime, hashed, address, name)
        # One at a time, or all guesses of a burst would be looked up before the first has failed.
        async with address.turn:
            now = runtime.clock()
            wait = address.wait(now)
            if wait and not self._is_known(hashed, now):
                raise TooManyFailures(wait)
            return await self._check(runtime, hashed, address, name)

    def _is_known(self, hashed: bytes, now: datetime) -> bool:
        at = self._let_in.get(hashed)
        return at is not None and now - at < KNOWN_FOR

    async def _check(self, runtime: Runtime, hashed: bytes, address: _Address, name: str) -> Caller:
        now = runtime.clock()
        if hmac.compare_digest(hashed, self._admin):
            caller: Caller | None = Caller("admin token", "admin")
        else:
            caller = await _owner(runtime, hashed, now)
        if caller is None:
            self._let_in.drop(hashed)
            log.warning("login failed", address=name, within_a_minute=address.failed(now))
            raise NotKnown
        self._let_in.put(hashed, now)
        return caller


class _Address:
    """When the latest logins from an address failed, oldest first."""

    def __init__(self) -> None:
        self._failures: deque[datetime] = deque(maxlen=MOST_FAILURES)
        self.turn = asyncio.Lock()

    def failed(self, now: datetime) -> int:
        """One more; how many that makes within the window."""
        self._forget(now)
        self._failures.append(now)
        return len(self._failures)

    def wait(self, now: datetime) -> int:
        """Seconds until the next try, 0 if it may be now."""
        self._forget(now)
        if len(self._failures) < MOST_FAILURES:
            return 0
        return math.ceil((self._failures[0] + WINDOW - now).total_seconds())

    def _forget(self, now: datetime) -> None:
        while self._failures and now - self._failures[0] >= WINDOW:
            self._failures.popleft()


class Latest(Generic[Value]):
    """The values used last, at most so many."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[object, Value] = OrderedDict()

    def get(self, key: object) -> Value | None:
        return self._values.get(key)

    def put(self, key: object, value: Value) -> None:
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self._most:
            self._values.popitem(last=False)

    def drop(self, key: object) -> None:
        self._values.pop(key, None)


def _network(host: str | None) -> str:
    """The address to count for: of IPv6 its /64, which one machine has for itself."""
    try:
        address = ip_address(host or "")
    except ValueError:
        return host or "unknown"
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return f"{IPv6Address(int(address) >> 64 << 64)}/64"


# --- tokens -----------------------------------------------------------------------------------


async def _owner(runtime: Runtime, hashed: bytes, now: datetime) -> Caller | None:
    # Each statement its own transaction: one round trip, and no other for BEGIN and COMMIT.
    async with runtime.engine.connect() as plain:
        connection = await plain.execution_options(isolation_level="AUTOCOMMIT")
        columns = select(Token.id, Token.name, Token.role, Token.expires_at, Token.last_used_at)
        row = (await connection.execute(columns.where(Token.hash == hashed))).one_or_none()
        if row is None or (row.expires_at is not None and row.expires_at <= now):
            return None
        if row.last_used_at is None or now - row.last_used_at >= USE_WRITTEN_EVERY:
            await _note_use(connection, row.id, now)
        return Caller(f"token {row.id} ({row.name})", row.role)


async def _note_use(connection: AsyncConnection, id: int, now: datetime) -> None:
    unwritten = or_(Token.last_used_at.is_(None), Token.last_used_at <= now - USE_WRITTEN_EVERY)
    try:
        await connection.execute(update(Token).where(Token.id == id, unwritten).values(last_used_at=now))
    except SQLAlchemyError as error:  # a read-only database still answers
        log.warning("last use of a token not written", token=id, reason=type(error).__name__)
