"""Sign-in by OpenID Connect: the calls to the provider, and what its answers are checked for.

The protocol is Authlib's and the signatures are joserfc's; the calls go through the same network settings as
those to the trackers. An answer of the provider is trusted as far as its key signed it, and no further.
"""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import orjson
import structlog
from authlib.oauth2.base import OAuth2Error
from authlib.oauth2.client import OAuth2Client
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import BadSignatureError, InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

from connectors.addresses import is_loopback
from connectors.base import ConnectorError
from connectors.markup import quoted
from connectors.network import http_client, no_connection

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from app.settings import Settings
    from connectors.network import Network

log = structlog.get_logger()

TIMEOUT = httpx.Timeout(5, read=5)
TOTAL_SECONDS = 10  # of all calls that one sign-in makes
MOST_BYTES = 1024 * 1024
METADATA_KEPT = timedelta(hours=1)
UNKNOWN_KEY_EVERY = timedelta(seconds=5)  # one is looked for no more often
LEEWAY = 60  # seconds that the provider's clock may differ from the database's
# Signed with a key of the provider's alone: neither unsigned, nor with a secret that both sides have.
ALGORITHMS = frozenset(
    {"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"}
)
_GROUP_CLAIMS = ("groups", "roles", "cognito:groups")


class SignInFailed(Exception):
    """The provider did not say who somebody is. The text is for that person, in whole sentences."""


class ProviderAway(SignInFailed):
    """The provider does not answer, or not in a way that can be used; it may later."""


class ProviderRefused(SignInFailed):
    """The provider says no: to this person, or to a code or token of theirs that is over."""


class NotProven(SignInFailed):
    """The provider's answer fails a check, so it may be somebody else's."""


@dataclass(frozen=True, slots=True)
class Identity:
    """`person_id`: the provider's, which never changes. `name`: as people read it. `groups` may be empty."""

    person_id: str
    name: str
    groups: frozenset[str]


@dataclass(frozen=True, slots=True)
class Grant:
    """What the provider is asked again with."""

    access_token: str = field(repr=False)
    refresh_token: str | None = field(default=None, repr=False)


class Provider:
    """The provider of the settings. `time` counts on from any moment: for how long its answers are kept."""

    def __init__(self, settings: Settings, network: Network, time: Callable[[], datetime]) -> None:
        self.issuer = settings.oidc_issuer or ""
        self.host = urlsplit(self.issuer).netloc
        self._client_id = settings.oidc_client_id or ""
        secret = settings.oidc_client_secret
        self._client_secret = "" if secret is None else secret.get_secret_value()
        self._network, self._time = network, time
        self._metadata: tuple[datetime, dict[str, Any]] | None = None
        self._keys: KeySet | None = None
        self._keys_at: datetime | None = None
        self._unknown_key_at: datetime | None = None  # when one was looked for
        self.redirect_uri = f"{settings.links_base}/login/oidc/callback"

    async def authorization_url(self, *, state: str, nonce: str, verifier: str) -> str:
        """Where the person goes on. Raises `ProviderAway`."""
        async with self._limited() as calls:
            metadata = await self._discovered(calls)
        client = self._client(metadata)
        url, _ = client.create_authorization_url(
            metadata["authorization_endpoint"], state=state, code_verifier=verifier, nonce=nonce
        )
        return str(url)

    async def issuer_of_answers(self) -> tuple[str, bool]:
        """The issuer, as a callback may name it in `iss`, and whether each has to. Raises `ProviderAway`."""
        async with self._limited() as calls:
            metadata = await self._discovered(calls)
        return metadata["issuer"], metadata.get("authorization_response_iss_parameter_supported") is True

    async def sign_in(self, *, code: str, verifier: str, nonce: str, now: datetime) -> tuple[Identity, Grant]:
        """Who the code of a callback is for. Raises `SignInFailed`."""
        async with self._limited() as calls:
            metadata = await self._discovered(calls)
            tokens = await self._token_call(
                calls,
                metadata,
                "authorization_code",
                code=code,
                code_verifier=verifier,
                redirect_uri=self.redirect_uri,
            )
            if not isinstance(tokens.get("id_token"), str):
                raise NotProven(f"{self.host} answered without an ID token.")
            claims = await self._checked(calls, metadata, tokens, nonce, now)
            return await self._identity(calls, metadata, tokens, claims), _grant(tokens)

    async def ask_again(self, grant: Grant, person_id: str, now: datetime) -> tuple[Identity, Grant]:
        """Who the person is by now, with the grant for the next time. Raises `SignInFailed`."""
        async with self._limited() as calls:
            metadata = await self._discovered(calls)
            tokens: dict[str, Any] = {"access_token": grant.access_token}
            claims: Mapping[str, Any] = {"sub": person_id}
            if grant.refresh_token is not None:
                tokens = await self._token_call(
                    calls, metadata, "refresh_token", refresh_token=grant.refresh_token
                )
                tokens.setdefault("refresh_token", grant.refresh_token)
                if isinstance(tokens.get("id_token"), str):
                    claims = await self._checked(calls, metadata, tokens, None, now)
            if claims["sub"] != person_id:
                raise NotProven(f"{self.host} answered for another person.")
            return await self._identity(calls, metadata, tokens, claims), _grant(tokens)

    # --- calls ------------------------------------------------------------------------------------

    def _limited(self) -> _Calls:
        return _Calls(self._network, self.host)

    def _client(self, metadata: Mapping[str, Any]) -> OAuth2Client:
        offered = metadata.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        more = metadata.get("scopes_supported") or []
        scopes = ["openid", "profile", "email", *(s for s in ("groups", "offline_access") if s in more)]
        return OAuth2Client(
            None,
            self._client_id,
            self._client_secret,
            "client_secret_basic" if "client_secret_basic" in offered else "client_secret_post",
            scope=" ".join(scopes),
            redirect_uri=self.redirect_uri,
            code_challenge_method="S256",
        )

    async def _discovered(self, calls: _Calls) -> dict[str, Any]:
        now = self._time()
        if self._metadata is not None and now - self._metadata[0] < METADATA_KEPT:
            return self._metadata[1]
        answer = await calls.get(f"{self.issuer.rstrip('/')}/.well-known/openid-configuration")
        metadata = calls.usable_document(answer)
        issuer = metadata.get("issuer")
        if not isinstance(issuer, str) or issuer.rstrip("/") != self.issuer.rstrip("/"):
            raise calls.unusable(f"its description is of the issuer {quoted(issuer)}")
        for name in ("authorization_endpoint", "token_endpoint", "jwks_uri"):
            if not self._is_safe(metadata.get(name)):
                raise calls.unusable(f"its description has no {name} with https://")
        if "userinfo_endpoint" in metadata and not self._is_safe(metadata["userinfo_endpoint"]):
            raise calls.unusable("its description has a userinfo_endpoint without https://")
        self._metadata = now, metadata
        return metadata

    def _is_safe(self, url: object) -> bool:
        if not isinstance(url, str):
            return False
        return url.startswith("https://") or (is_loopback(self.issuer) and is_loopback(url))

    async def _token_call(
        self, calls: _Calls, metadata: Mapping[str, Any], grant_type: str, **values: str
    ) -> dict[str, Any]:
        client = self._client(metadata)
        # RFC 6749, 2.3.1, has the id and the secret encoded as in a form first. Authlib does not, as few
        # providers ask for it; of letters, digits, - and _ it changes nothing.
        url, headers, body = client.client_auth(client.token_endpoint_auth_method).prepare(
            "POST",
            metadata["token_endpoint"],
            {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
            str(httpx.QueryParams({"grant_type": grant_type, **values})),
        )
        answer = await calls.send("POST", url, headers=headers, content=body)
        if answer.status_code >= 500 or answer.status_code == 429:
            raise calls.unusable(f"it answers HTTP {answer.status_code}")
        try:
            tokens = dict(client.parse_response_token(answer))
        except OAuth2Error as refused:
            if refused.error == "invalid_grant":
                raise ProviderRefused(f"{self.host} says that this sign-in is over or was used.") from None
            raise calls.unusable(f"it refuses Northing itself: {quoted(refused.error)}") from None
        except (httpx.HTTPError, ValueError):
            raise calls.unusable(f"it answers HTTP {answer.status_code} with no JSON object") from None
        if not isinstance(tokens.get("access_token"), str):
            raise NotProven(f"{self.host} answered without an access token.")
        return tokens

    async def _identity(
        self,
        calls: _Calls,
        metadata: Mapping[str, Any],
        tokens: Mapping[str, Any],
        claims: Mapping[str, Any],
    ) -> Identity:
        """From the checked claims, and from what the provider tells of the person besides."""
        details: dict[str, Any] = {}
        if "userinfo_endpoint" in metadata:
            answer = await calls.send(
                "GET",
                metadata["userinfo_endpoint"],
                headers={"Authorization": f"Bearer {tokens['access_token']}"},
            )
            if answer.status_code in (401, 403):
                raise ProviderRefused(f"{self.host} says that this sign-in is over or was used.")
            details = calls.usable_document(answer)
            if details.get("sub") != claims["sub"]:
                raise NotProven(f"{self.host} answered for another person.")
        elif len(claims) == 1:
            raise calls.unusable("it has no way to ask again")
        person_id = str(claims["sub"])
        both = {**claims, **details}
        names = (both.get(name) for name in ("name", "preferred_username", "email"))
        name = next((name for name in names if isinstance(name, str) and name.strip()), person_id)
        groups = (_groups(source.get(claim)) for source in (claims, details) for claim in _GROUP_CLAIMS)
        return Identity(person_id, quoted(name, 100).strip(), frozenset().union(*groups))

    # --- the ID token -------------------------------------------------------------------------------

    async def _checked(
        self,
        calls: _Calls,
        metadata: Mapping[str, Any],
        tokens: Mapping[str, Any],
        nonce: str | None,
        now: datetime,
    ) -> Mapping[str, Any]:
        """The claims of the ID token: signed by a key of the provider's, for us and this sign-in, in time."""
        try:
            signed = await self._signed(calls, metadata, tokens["id_token"])
            claims = CodeIDToken(
                signed.claims,
                signed.header,
                {
                    "iss": {"essential": True, "value": metadata["issuer"]},
                    "aud": {"essential": True, "value": self._client_id},
                    "sub": {"essential": True},
                    "exp": {"essential": True},
                },
                {"nonce": nonce, "client_id": self._client_id, "access_token": tokens["access_token"]},
            )
            claims.validate(int(now.timestamp()), LEEWAY)
        except (JoseError, ValueError, TypeError, KeyError) as error:
            log.warning("sign-in not proven", provider=self.host, reason=quoted(error, 200))
            raise NotProven(f"What {self.host} answered is not for this sign-in.") from None
        person_id = claims["sub"]
        if not isinstance(person_id, str) or not 0 < len(person_id) <= 255 or not person_id.isprintable():
            raise NotProven(f"{self.host} gives this person no id that can be used.")
        return dict(claims)

    async def _signed(self, calls: _Calls, metadata: Mapping[str, Any], token: str) -> jwt.Token:
        offered = metadata.get("id_token_signing_alg_values_supported") or ["RS256"]
        registry = JWSRegistry(algorithms=sorted(ALGORITHMS.intersection(offered)), strict_check_header=False)
        try:
            return jwt.decode(token, await self._key_set(calls, metadata), registry=registry)
        except (InvalidKeyIdError, BadSignatureError):  # the provider has a new key; it may be without an id
            return jwt.decode(token, await self._key_set(calls, metadata, anew=True), registry=registry)

    async def _key_set(self, calls: _Calls, metadata: Mapping[str, Any], *, anew: bool = False) -> KeySet:
        now = self._time()
        since, lasts = (self._unknown_key_at, UNKNOWN_KEY_EVERY) if anew else (self._keys_at, METADATA_KEPT)
        if self._keys is not None and since is not None and now - since < lasts:
            return self._keys
        document = calls.usable_document(await calls.get(metadata["jwks_uri"]))
        self._keys = KeySet.import_key_set(document)  # type: ignore[arg-type]  # which checks its form
        self._keys_at = now
        if anew:
            self._unknown_key_at = now
        return self._keys


def _grant(tokens: Mapping[str, Any]) -> Grant:
    refresh = tokens.get("refresh_token")
    return Grant(tokens["access_token"], refresh if isinstance(refresh, str) else None)


def _groups(value: object) -> frozenset[str]:
    """Of a claim: a list of names, or one name."""
    values = value if isinstance(value, list) else [value]
    return frozenset(each for each in values if isinstance(each, str))


class _Calls:
    """The calls of one sign-in, which together end in time. Their errors say what the log has to say."""

    def __init__(self, network: Network, host: str) -> None:
        self._network, self._host = network, host
        self._limit = asyncio.timeout(TOTAL_SECONDS)

    async def __aenter__(self) -> _Calls:
        await self._limit.__aenter__()
        return self

    async def __aexit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        try:
            await self._limit.__aexit__(kind, error, trace)
        except TimeoutError:
            raise self.unusable(f"it did not answer within {TOTAL_SECONDS} s") from None

    def unusable(self, reason: str) -> ProviderAway:
        log.warning("sign-in provider not usable", provider=self._host, reason=reason)
        return ProviderAway(f"{self._host} does not answer as it should.")

    async def get(self, url: str) -> httpx.Response:
        return await self.send("GET", url, headers={"Accept": "application/json"})

    async def send(
        self, method: str, url: str, *, headers: Mapping[str, str], content: str | None = None
    ) -> httpx.Response:
        """Raises `ProviderAway`."""
        route = self._network.route(url)
        try:
            route.check()
            async with (
                http_client(self._network, route.proxy, TIMEOUT) as http,
                http.stream(
                    method, url, headers={"Accept-Encoding": "identity", **headers}, content=content
                ) as answer,
            ):
                body = b""
                async for piece in answer.aiter_raw():
                    body += piece
                    if len(body) > MOST_BYTES:
                        raise self.unusable("its answer is too long")
                return httpx.Response(answer.status_code, content=body, request=answer.request)
        except ConnectorError as blocked:
            raise self.unusable(str(blocked)) from None
        except (httpx.HTTPError, OSError, ssl.SSLError) as error:
            raise self.unusable(str(no_connection(error, self._host, route.proxy))) from None

    def usable_document(self, answer: httpx.Response) -> dict[str, Any]:
        """The JSON object of an answer. Raises `ProviderAway`."""
        if answer.status_code != 200:
            raise self.unusable(f"it answers HTTP {answer.status_code}")
        try:
            document = orjson.loads(answer.content)
        except ValueError:
            document = None
        if not isinstance(document, dict):
            raise self.unusable("its answer is no JSON object")
        return document
