"""A sign-in that was begun in a browser and is not ended: what binds the provider's answer to that browser.

Nothing is stored here. The browser keeps a random secret in a cookie of that one sign-in, so several may be
open in several tabs, and neither a restart nor another server loses one. From the secret come the state, the
nonce and the verifier of the code (PKCE); the state also seals the rest of the cookie. Pure.
"""

from __future__ import annotations

import base64
import hmac
import re
import secrets
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

LASTS = timedelta(minutes=15)
COOKIE_PREFIX = "northing_oidc_"
_NEXT_AT_MOST = 1_000
_COOKIE = re.compile(r"([A-Za-z0-9_-]{43})\.([0-9]{1,12})\.([A-Za-z0-9_-]*)")
_STATE = re.compile(r"([0-9a-f]{16})\.[0-9a-f]{64}")


class NotThisBrowser(Exception):
    """The answer belongs to no sign-in that this browser began within the last minutes."""


@dataclass(frozen=True, slots=True)
class PendingSignIn:
    """`id`: a part of the cookie's name. `to`: the path to go to afterwards."""

    id: str
    secret: str = field(repr=False)
    begun_at: int
    to: str

    @property
    def cookie_name(self) -> str:
        return COOKIE_PREFIX + self.id

    @property
    def cookie(self) -> str:
        to = base64.urlsafe_b64encode(self.to.encode()).decode().rstrip("=")
        return f"{self.secret}.{self.begun_at}.{to}"

    @property
    def state(self) -> str:
        return f"{self.id}.{self._derived(f'state {self.id} {self.begun_at} {self.to}')}"

    @property
    def nonce(self) -> str:
        return self._derived(f"nonce {self.id}")

    @property
    def verifier(self) -> str:
        return self._derived(f"verifier {self.id}")

    def _derived(self, purpose: str) -> str:
        return hmac.digest(self.secret.encode(), purpose.encode(), "sha256").hex()


def begin(to: str, now: datetime) -> PendingSignIn:
    """`to` is a path of ours; a very long one is left out."""
    to = to if len(to) <= _NEXT_AT_MOST else "/"
    return PendingSignIn(secrets.token_hex(8), secrets.token_urlsafe(32), int(now.timestamp()), to)


def id_of(state: str) -> str | None:
    """Of the sign-in that a state of ours names; None for any other text."""
    found = _STATE.fullmatch(state)
    return None if found is None else found[1]


def continued(state: str, cookie: str, now: datetime) -> PendingSignIn:
    """The sign-in of this browser that `state` came back for. Raises `NotThisBrowser`."""
    id, parts = id_of(state), _COOKIE.fullmatch(cookie)
    if id is None or parts is None:
        raise NotThisBrowser
    try:
        to = base64.urlsafe_b64decode(parts[3] + "=" * (-len(parts[3]) % 4)).decode()
    except ValueError:
        raise NotThisBrowser from None
    pending = PendingSignIn(id, parts[1], int(parts[2]), to)
    if not hmac.compare_digest(state, pending.state):
        raise NotThisBrowser
    if not timedelta(minutes=-1) <= now - datetime.fromtimestamp(pending.begun_at, UTC) <= LASTS:
        raise NotThisBrowser
    return pending
