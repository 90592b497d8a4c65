"""Signing in with a token, and signing out."""

from __future__ import annotations

import hmac
import secrets
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from app.api.deps import LARGEST_BODY, RuntimeDep, authenticate, bounded, get_runtime
from app.api.problems import Problem
from app.auth.authenticator import ADMIN
from app.auth.sessions import LASTS, begin_session, end_session, forms_token
from app.web.router import FORGED, FORMS_FIELD, SESSION_COOKIE, local_path, read_form, redirect, web_session
from app.web.templating import render
from mappings.access.operations import token_hash

LOGIN_COOKIE = "northing_login"
UNKNOWN = "No such token, or it is over. Ask an admin for a new one."

router = APIRouter(include_in_schema=False)


@router.get("/login")
async def show_login(request: Request, next: Annotated[str, Query()] = "/") -> Response:
    if await web_session(request) is not None:
        return redirect(request, local_path(next))
    return _form(request, local_path(next))


@router.post("/login")
async def log_in(request: Request, runtime: RuntimeDep) -> Response:
    form = await read_form(Request(request.scope, bounded(request.headers, request.receive, LARGEST_BODY)))
    request.state.is_page = True
    _check_forms_token(request, form.get(FORMS_FIELD))
    to, token = local_path(form.get("next")), form.get("token")
    try:
        await authenticate(request, token, UNKNOWN, "Bearer")
    except Problem as problem:
        return _form(request, to, problem)
    caller = request.state.caller
    async with runtime.transaction() as session:
        value = await begin_session(
            session,
            await runtime.now(session),
            token_hash=token_hash(token),
            name="admin" if caller == ADMIN else caller.who,
        )
    answer = redirect(request, to)
    set_cookie(request, answer, SESSION_COOKIE, value, int(LASTS.total_seconds()))
    answer.delete_cookie(LOGIN_COOKIE, path=_path(request))
    return answer


@router.get("/logout")
async def show_overview(request: Request) -> RedirectResponse:
    """Nobody is signed out by a link."""
    return redirect(request, "/")


@router.post("/logout")
async def log_out(request: Request, runtime: RuntimeDep) -> RedirectResponse:
    request.state.is_page = True
    found = await web_session(request)
    answer = redirect(request, "/login")
    if found is not None:
        form = await read_form(request)
        if not hmac.compare_digest(form.get(FORMS_FIELD).encode(), found.forms.encode()):
            raise Problem(403, FORGED)
        async with runtime.transaction() as session:
            await end_session(session, found.id)
    answer.delete_cookie(SESSION_COOKIE, path=_path(request))
    return answer


def set_cookie(request: Request, answer: Response, name: str, value: str, seconds: int | None) -> None:
    """Sent with links from elsewhere too, as the OpenID provider's is, but with no form from elsewhere."""
    secure = get_runtime(request).settings.links_base.startswith("https://")
    answer.set_cookie(name, value, seconds, path=_path(request), httponly=True, samesite="lax", secure=secure)


def _path(request: Request) -> str:
    return request.scope.get("root_path", "") or "/"


def _form(request: Request, to: str, problem: Problem | None = None) -> HTMLResponse:
    """The form is bound to this browser by a cookie, so nobody can sign somebody else in as themselves."""
    value = request.cookies.get(LOGIN_COOKIE) or secrets.token_urlsafe(32)
    values = {"next": to, "forms": forms_token(value), "problem": None if problem is None else problem.detail}
    status, headers = (200, None) if problem is None else (problem.status, problem.headers)
    answer = render(request, "login.html", values, status, headers)
    set_cookie(request, answer, LOGIN_COOKIE, value, None)
    return answer


def _check_forms_token(request: Request, sent: str) -> None:
    value = request.cookies.get(LOGIN_COOKIE, "")
    if not value or not hmac.compare_digest(sent.encode(), forms_token(value).encode()):
        raise Problem(403, "Your browser did not send back the cookie of the login page. Open it once more.")
