"""Signing in with a token, and signing out."""

from __future__ import annotations

import hmac
import secrets
from typing import Annotated

from fastapi import Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from app.api.deps import LARGEST_BODY, RuntimeDep, authenticate, bounded, get_runtime
from app.api.problems import Problem
from app.auth.authenticator import ADMIN
from app.auth.provider_sessions import ProviderSessions
from app.auth.sessions import begin_session, end_session, forms_token, new_session_value
from app.web.router import (
    FORMS_FIELD,
    SESSION_COOKIE,
    Form,
    OpenRouter,
    check_form,
    local_path,
    read_form,
    redirect,
    web_session,
)
from app.web.templating import render
from mappings.access.operations import token_hash
from mappings.retention import WEB_SESSIONS_KEPT

LOGIN_COOKIE = "northing_login"
UNKNOWN = "No such token, or it is over. Ask an admin for a new one."
EMPTY = "Paste the token here."

router = OpenRouter(include_in_schema=False)


@router.get("/login")
async def show_login(request: Request, next: Annotated[str, Query()] = "/") -> Response:
    if await web_session(request) is not None:
        return redirect(request, local_path(next))
    return login_page(request, local_path(next))


@router.post("/login")
async def log_in(request: Request, runtime: RuntimeDep) -> Response:
    form = await _form(request)
    to, token = local_path(form.get("next")), form.get("token")
    if not _is_of_this_browser(request, form.get(FORMS_FIELD)):
        return login_page(
            request, to, "Your browser did not send back the cookie of this page. Try once more.", 403
        )
    try:
        await authenticate(request, token, UNKNOWN if token else EMPTY, "Bearer")
    except Problem as problem:
        return login_page(request, to, problem.detail, problem.status, problem.headers)
    caller, value = request.state.caller, new_session_value()
    async with runtime.transaction() as session:
        await begin_session(
            session,
            await runtime.now(session),
            value,
            instead_of=request.cookies.get(SESSION_COOKIE),
            token_hash=token_hash(token),
            name="admin" if caller == ADMIN else caller.who,
        )
    return signed_in(request, to, value)


@router.get("/logout")
async def show_overview(request: Request) -> RedirectResponse:
    """Nobody is signed out by a link."""
    return redirect(request, "/")


@router.post("/logout")
async def log_out(request: Request, runtime: RuntimeDep) -> RedirectResponse:
    """A form of another site comes without the cookie, and the answer must not take that from the browser."""
    found = await web_session(request)
    answer = redirect(request, "/login")
    if found is None:
        return answer
    check_form(await _form(request), found)
    async with runtime.transaction() as session:
        await end_session(session, found.id)
    answer.delete_cookie(SESSION_COOKIE, path=cookie_path(request))
    return answer


async def _form(request: Request) -> Form:
    return await read_form(Request(request.scope, bounded(request.headers, request.receive, LARGEST_BODY)))


def signed_in(request: Request, to: str, value: str) -> RedirectResponse:
    """To the page `to`, with the cookie of the session of `value`."""
    answer = redirect(request, to)
    set_cookie(request, answer, SESSION_COOKIE, value, int(WEB_SESSIONS_KEPT.total_seconds()))
    answer.delete_cookie(LOGIN_COOKIE, path=cookie_path(request))
    return answer


def set_cookie(
    request: Request, answer: Response, name: str, value: str, seconds: int | None, *, path: str | None = None
) -> None:
    """Sent with links from elsewhere too, as the OpenID provider's is, but with no form from elsewhere."""
    secure = get_runtime(request).settings.links_base.startswith("https://")
    answer.set_cookie(
        name, value, seconds, path=path or cookie_path(request), httponly=True, samesite="lax", secure=secure
    )


def cookie_path(request: Request) -> str:
    return request.scope.get("root_path", "") or "/"


def login_page(
    request: Request,
    to: str,
    problem: str | None = None,
    status: int = 200,
    headers: dict[str, str] | None = None,
) -> HTMLResponse:
    """The form is bound to this browser by a cookie, so nobody can sign somebody else in as themselves."""
    value = request.cookies.get(LOGIN_COOKIE) or secrets.token_urlsafe(32)
    providers: ProviderSessions = request.app.state.provider_sessions
    values = {
        "next": to,
        "forms": forms_token(value),
        "problem": problem,
        "provider": None if providers.provider is None else providers.provider.host,
    }
    answer = render(request, "login.html", values, status, headers)
    set_cookie(request, answer, LOGIN_COOKIE, value, None)
    return answer


def _is_of_this_browser(request: Request, sent: str) -> bool:
    value = request.cookies.get(LOGIN_COOKIE, "")
    return value != "" and hmac.compare_digest(sent.encode(), forms_token(value).encode())
