"""A provider of OpenID Connect by hand, which can be made to answer wrongly; and a real one as a process."""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, RedirectResponse, Response
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey

from tests.support.pages import served

CLIENT, SECRET = "northing", "a-secret-of-the-client"
ROLES = {"staff": "viewer", "planners": "editor", "northing:admins": "admin"}


def at_hash(token: str) -> str:
    half = hashlib.sha256(token.encode()).digest()[:16]
    return base64.urlsafe_b64encode(half).decode().rstrip("=")


@dataclass
class Code:
    """What an authorization was asked with."""

    nonce: str
    challenge: str
    redirect_uri: str


@dataclass
class OpenIdProvider:
    """`person`: the claims of whoever signs in. `claims`, `header`, `algorithm`, `key` and `userinfo` change
    what it says of them; `statuses` makes an address of it answer with an error; `revoked`: every grant."""

    clock: Callable[[], datetime]
    issuer: str = ""
    person: dict[str, Any] = field(
        default_factory=lambda: {"sub": "p-1", "name": "Ada Lovelace", "groups": ["planners"]}
    )
    claims: dict[str, Any] = field(default_factory=dict)
    userinfo: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)
    tokens: dict[str, Any] = field(default_factory=dict)
    algorithm: str = "ES256"
    key: Any = field(default_factory=lambda: ECKey.generate_key("P-256", {"kid": "1"}))
    published: list[Any] | None = None
    statuses: dict[str, int] = field(default_factory=dict)
    bodies: dict[str, bytes] = field(default_factory=dict)
    revoked: bool = False
    calls: list[str] = field(default_factory=list)
    codes: dict[str, Code] = field(default_factory=dict)
    refresh: str = "refresh-0"

    def approve(self, location: str) -> str:
        """The query of the callback, where the person agrees to what the browser was led to."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(location).query).items()}
        assert location.startswith(f"{self.issuer}/authorize?")
        assert asked["response_type"] == "code"
        assert asked["client_id"] == CLIENT
        assert asked["code_challenge_method"] == "S256"
        assert "openid" in asked["scope"].split()
        code = secrets.token_urlsafe(12)
        self.codes[code] = Code(asked["nonce"], asked["code_challenge"], asked["redirect_uri"])
        return urlencode({"state": asked["state"], "code": code, "session_state": "x"})

    def id_token(self, access_token: str, nonce: str | None) -> str:
        now = int(self.clock().timestamp())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT,
            "iat": now,
            "exp": now + 300,
            "at_hash": at_hash(access_token),
            **self.person,
            **({} if nonce is None else {"nonce": nonce}),
            **self.claims,
        }
        claims = {name: value for name, value in claims.items() if value is not None}
        if self.algorithm == "none":
            parts = (b'{"alg":"none"}', __import__("json").dumps(claims).encode())
            return ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts) + "."
        header = {"alg": self.algorithm, "kid": self.key.kid}
        return jwt.encode(header, claims, self.key, algorithms=[self.algorithm])

    # --- what it answers ---------------------------------------------------------------------------

    def _document(self) -> dict[str, Any]:
        found = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "jwks_uri": f"{self.issuer}/keys",
            "id_token_signing_alg_values_supported": ["ES256", "HS256", "none"],
            "scopes_supported": ["openid", "groups", "offline_access"],
            **self.metadata,
        }
        return {name: value for name, value in found.items() if value is not None}

    def _token(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        login = base64.b64encode(f"{CLIENT}:{SECRET}".encode()).decode()
        if authorization != f"Basic {login}":
            return 401, {"error": "invalid_client"}
        nonce = None
        if form["grant_type"] == "refresh_token":
            if self.revoked or form["refresh_token"] != self.refresh:
                return 400, {"error": "invalid_grant"}
        else:
            code = self.codes.pop(form["code"], None)
            digest = hashlib.sha256(form["code_verifier"].encode()).digest()
            challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
            if code is None or (code.challenge, code.redirect_uri) != (challenge, form["redirect_uri"]):
                return 400, {"error": "invalid_grant"}
            nonce = code.nonce
        access, self.refresh = secrets.token_urlsafe(12), f"refresh-{secrets.token_hex(4)}"
        answer = {
            "access_token": access,
            "token_type": "Bearer",
            "expires_in": 300,
            "refresh_token": self.refresh,
            "id_token": self.id_token(access, nonce),
            **self.tokens,
        }
        return 200, {name: value for name, value in answer.items() if value is not None}

    async def answer(self, request: Request) -> Response:
        path = request.url.path
        self.calls.append(path)
        if path in self.bodies:
            return Response(self.bodies[path], media_type="application/json")
        if path in self.statuses:
            return JSONResponse({}, self.statuses[path])
        if path == "/.well-known/openid-configuration":
            return JSONResponse(self._document())
        if path == "/keys":
            keys = [self.key] if self.published is None else self.published
            public = [key.as_dict(private=False) for key in keys if not isinstance(key, OctKey)]
            return JSONResponse({"keys": public})
        if path == "/authorize":  # the person agrees at once
            query = self.approve(f"{self.issuer}{path}?{request.url.query}")
            return RedirectResponse(f"{request.query_params['redirect_uri']}?{query}", 303)
        if path == "/userinfo":
            return JSONResponse({**self.person, **self.userinfo}, 401 if self.revoked else 200)
        form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
        status, document = self._token(form, request.headers.get("Authorization", ""))
        return JSONResponse(document, status)


@asynccontextmanager
async def an_openid_provider(clock: Callable[[], datetime]) -> AsyncIterator[OpenIdProvider]:
    """On a port of this machine."""
    provider, app = OpenIdProvider(clock), FastAPI(openapi_url=None)
    app.add_api_route("/{path:path}", provider.answer, methods=["GET", "POST"], response_model=None)
    async with served(app) as url:
        provider.issuer = url
        yield provider
