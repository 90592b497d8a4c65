"""Signing in by OpenID Connect: to the provider, and back from it."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request
from fastapi.responses import RedirectResponse, Response

from app.api.deps import RuntimeDep
from app.api.problems import Problem
from app.auth import pending
from app.auth.authenticator import Authenticator
from app.auth.oidc import NotProven, Provider, ProviderAway, ProviderRefused, SignInFailed
from app.auth.pending import NotThisBrowser, PendingSignIn
from app.auth.provider_sessions import ProviderSessions
from app.auth.rate_limit import TooManyFailures
from app.auth.roles import highest_role
from app.auth.sessions import new_session_value
from app.runtime import Runtime
from app.web.login import cookie_path, set_cookie, signed_in
from app.web.router import SESSION_COOKIE, OpenRouter, local_path, redirect, web_session
from app.web.templating import render
from connectors.markup import quoted

ANOTHER_BROWSER = (
    "This sign-in was not begun in this browser within the past quarter of an hour, or is done already."
)
NO_GROUP = (
    "You are {name}, and none of your groups has a right here. Ask an admin of Northing which group to join,"
    " or for a token."
)

router = OpenRouter(include_in_schema=False)


@router.get("/login/oidc")
async def begin(request: Request, runtime: RuntimeDep, next: Annotated[str, Query()] = "/") -> Response:
    """To the provider. A link does it: what a form leads to would have to be on this host."""
    provider, to = _provider(request), local_path(next)
    if await web_session(request) is not None:
        return redirect(request, to)
    async with runtime.sessions() as session:
        begun = pending.begin(to, await runtime.now(session))
    try:
        url = await provider.authorization_url(state=begun.state, nonce=begun.nonce, verifier=begun.verifier)
    except ProviderAway as away:
        return _failed(request, away, to)
    answer = RedirectResponse(url, 303, {"Cache-Control": "no-store"})
    seconds = int(pending.LASTS.total_seconds())
    set_cookie(request, answer, begun.cookie_name, begun.cookie, seconds, path=_callback_path(request))
    return answer


@router.get("/login/oidc/callback")
async def end(
    request: Request,
    runtime: RuntimeDep,
    state: Annotated[str, Query()] = "",
    code: Annotated[str, Query()] = "",
    error: Annotated[str, Query()] = "",
    iss: Annotated[str, Query()] = "",
) -> Response:
    """Back from the provider. It sends other parameters too, which say nothing to us."""
    provider = _provider(request)
    try:
        begun = await _begun(request, runtime, state)
    except NotThisBrowser:
        # Reloaded, or come back to, by somebody who is signed in: nothing to do, and nothing to say.
        if await web_session(request) is not None:
            return redirect(request, "/")
        return _page(request, "Begin once more", ANOTHER_BROWSER, 400, "/")
    try:
        await _check_answer(provider, code, error, iss)
        answer = await _sign_in(request, runtime, provider, begun, code)
    except SignInFailed as failed:
        answer = _failed(request, failed, begun.to)
    answer.delete_cookie(begun.cookie_name, path=_callback_path(request))
    return answer


def _provider(request: Request) -> Provider:
    providers: ProviderSessions = request.app.state.provider_sessions
    if providers.provider is None:
        raise Problem(404, "Sign-in by OpenID Connect is not set up here. Sign in with a token.")
    return providers.provider


async def _begun(request: Request, runtime: Runtime, state: str) -> PendingSignIn:
    """The sign-in of this browser that `state` names. Raises `NotThisBrowser`."""
    cookie = request.cookies.get(f"{pending.COOKIE_PREFIX}{pending.id_of(state)}", "")
    async with runtime.sessions() as session:
        return pending.continued(state, cookie, await runtime.now(session))


async def _check_answer(provider: Provider, code: str, error: str, iss: str) -> None:
    """Raises `SignInFailed` where the provider says no, or another one answers (RFC 9207)."""
    if error:
        raise ProviderRefused(f"{provider.host} did not let you in: {quoted(error)}.")
    issuer, always = await provider.issuer_of_answers()
    if iss != issuer and (iss or always):
        raise NotProven(f"This answer does not come from {provider.host}.")
    if not code:
        raise NotProven(f"{provider.host} answered without a code.")


async def _sign_in(
    request: Request, runtime: Runtime, provider: Provider, begun: PendingSignIn, code: str
) -> Response:
    authenticator: Authenticator = request.app.state.authenticator
    host = request.client.host if request.client is not None else None
    if wait := authenticator.wait(runtime, host):
        return _page(
            request, "Too many tries", str(TooManyFailures(wait)), 429, begun.to, {"Retry-After": str(wait)}
        )
    async with runtime.sessions() as session:
        now = await runtime.now(session)
    try:
        identity, grant = await provider.sign_in(
            code=code, verifier=begun.verifier, nonce=begun.nonce, now=now
        )
    except (NotProven, ProviderRefused):
        authenticator.failed(runtime, host)
        raise
    role = highest_role(runtime.settings.oidc_roles or {}, identity.groups)
    if role is None:
        return _page(request, "No right here", NO_GROUP.format(name=identity.name), 403, begun.to)
    value = new_session_value()
    providers: ProviderSessions = request.app.state.provider_sessions
    await providers.begin(
        runtime, value, identity, role, grant, instead_of=request.cookies.get(SESSION_COOKIE)
    )
    return signed_in(request, begun.to, value)


# --- what did not work ------------------------------------------------------------------------


def _failed(request: Request, error: SignInFailed, to: str) -> Response:
    if isinstance(error, ProviderAway):
        return _page(request, "The login does not answer", f"{error} Try again, or use a token.", 503, to)
    status = 403 if isinstance(error, ProviderRefused) else 400
    return _page(request, "Not signed in", str(error), status, to)


def _page(
    request: Request,
    heading: str,
    detail: str,
    status: int,
    to: str,
    headers: dict[str, str] | None = None,
) -> Response:
    values = {"heading": heading, "detail": detail, "next": to}
    return render(request, "sign_in_failed.html", values, status, headers)


def _callback_path(request: Request) -> str:
    return f"{cookie_path(request).rstrip('/')}/login/oidc/callback"
