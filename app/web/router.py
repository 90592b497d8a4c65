"""The routes of pages: behind the login, with forms that nobody else can send."""

from __future__ import annotations

import hmac
import re
from collections.abc import Mapping
from typing import Annotated, Any, cast
from urllib.parse import quote, unquote, urlsplit

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse
from python_multipart.multipart import parse_options_header
from starlette.datastructures import FormData, UploadFile
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from app.api.deps import LARGEST_BODY, CallerDep, bounded, get_runtime
from app.api.problems import Problem
from app.auth.authenticator import Authenticator
from app.auth.provider_sessions import ProviderSessions
from app.auth.roles import OPERATIONS, Caller
from app.auth.sessions import WebSession, find_session
from app.base_path import own_path

SESSION_COOKIE = "northing_session"
FORMS_FIELD = "_token"
FIELDS_AT_MOST = 5_000  # each selected row of a list is one
FORGED = "This form is not of a page that you have open: reload the page, and send the form again."


def id_in(text: str) -> int | None:
    """The id of a row that a field names; None where it names none."""
    return int(text) if re.fullmatch(r"[1-9][0-9]{0,17}", text, re.ASCII) else None


class Form:
    """The fields of a posted form."""

    def __init__(self, data: FormData) -> None:
        self._data = data

    def get(self, name: str) -> str:
        """The value without blanks around it; empty where the field is left out."""
        value = self._data.get(name)
        return value.strip() if isinstance(value, str) else ""

    def id(self, name: str) -> int | None:
        """The id of a row; None where the field is left out or holds none."""
        return id_in(self.get(name))

    def all(self, name: str) -> list[str]:
        return [value for value in self._data.getlist(name) if isinstance(value, str)]

    def file(self, name: str) -> UploadFile | None:
        """The file that was chosen, None for none."""
        value = self._data.get(name)
        return value if isinstance(value, UploadFile) and value.filename else None

    async def close(self) -> None:
        """Free what its files take."""
        await self._data.close()

    def values(self) -> dict[str, str]:
        """Each field with its first value, to show the form once more."""
        return {name: self.get(name) for name in self._data}


def _of_page(scope: Scope) -> tuple[Request, Scope]:
    """The request, marked as one for a page, and its scope for the route. HEAD is as GET: of the answer the
    server sends the head alone, for its own scope still says HEAD."""
    request = Request(scope)
    request.state.is_page = True
    return request, {**scope, "method": "GET"} if scope["method"] == "HEAD" else scope


class OpenRouter(APIRouter):
    """Pages that need no session."""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        _, scope = _of_page(scope)
        await super().handle(scope, receive, send)


class PagesRouter(APIRouter):
    """Finds who is signed in before anything else is read, and leads everybody else to the login.

    A posted form is read here, so that no route can forget to check its token against forgery.
    """

    largest_form = LARGEST_BODY
    larger_forms: Mapping[str, int] = {}  # by the path of the page

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        request, scope = _of_page(scope)
        found = await web_session(request)
        if found is None:
            await to_login(request)(scope, receive, send)
            return
        request.state.caller, request.state.web_session = found.caller, found
        if "\x00" in unquote(f"{request.url.path}?{request.url.query}"):
            raise Problem(422, "This address holds U+0000, which can be stored nowhere; leave it out.")
        if request.method == "POST":
            most = self.larger_forms.get(own_path(scope), self.largest_form)
            form = await read_form(Request(scope, bounded(request.headers, receive, most)))
            try:
                check_form(form, found)
                request.state.form = form
                await super().handle(scope, receive, send)
            finally:
                await form.close()
            return
        request.state.asked_for_at = found.at  # no page that only reads asks for the time again
        await super().handle(scope, receive, send)


def check_form(form: Form, of: WebSession) -> None:
    """Raises a problem of 403 for a form that is not of a page of this session."""
    if not hmac.compare_digest(form.get(FORMS_FIELD).encode(), of.forms.encode()):
        raise Problem(403, FORGED)


async def read_form(request: Request) -> Form:
    """Raises a problem of 400 or 422 where it cannot be read.

    Browsers name no charset beside UTF-8; others may raise what is no error of decoding, or leave surrogates.
    """
    unreadable = Problem(400, "This form could not be read. Reload the page, and send it again.")
    _, options = parse_options_header(request.headers.get("content-type"))
    if options.get(b"charset", b"utf-8").lower() != b"utf-8":
        raise unreadable
    try:
        data = await request.form(max_files=1, max_fields=FIELDS_AT_MOST)
    except HTTPException as error:
        if error.status_code != 400:
            raise
        raise unreadable from None
    if any(isinstance(text, str) and "\x00" in text for field in data.multi_items() for text in field):
        raise Problem(422, "A field holds U+0000, which can be stored nowhere; take it out.")
    return Form(data)


async def web_session(request: Request) -> WebSession | None:
    """Of the request's cookie; None where nobody is signed in, or not any more."""
    value = request.cookies.get(SESSION_COOKIE)
    if not value:
        return None
    authenticator: Authenticator = request.app.state.authenticator
    providers: ProviderSessions = request.app.state.provider_sessions
    runtime, admin_hash = get_runtime(request), authenticator.admin_token_hash
    found = await find_session(runtime, value, admin_hash)
    return None if found is None else await providers.confirmed(runtime, found, value, admin_hash)


def here(request: Request) -> str:
    """The address of the page as the application has it, its query included."""
    path = own_path(request.scope)
    return f"{quote(path)}?{request.url.query}" if request.url.query else quote(path)


def to_login(request: Request) -> RedirectResponse:
    """To the login, and from there back to this page. A form is posted to the address of its page."""
    return redirect(request, f"/login?next={quote(here(request), safe='')}")


def redirect(request: Request, to: str) -> RedirectResponse:
    """To an address of ours, as the application has it; the browser gets it with GET."""
    return RedirectResponse(request.scope.get("root_path", "") + to, 303)


def local_path(sent: str | None) -> str:
    """Where to go after the login: `sent` if it is an address of this host, as a path, else the overview."""
    if (
        not sent
        or not sent.startswith("/")
        or sent[1:2] in ("/", "\\")
        or any(ord(sign) < 33 for sign in sent)
    ):
        return "/"
    parts = urlsplit(sent)
    return "/" if parts.scheme or parts.netloc else sent


# --- dependencies ---------------------------------------------------------------------------------


async def _form(request: Request) -> Form:
    return cast(Form, request.state.form)


async def _web_session(request: Request) -> WebSession:
    return cast(WebSession, request.state.web_session)


FormDep = Annotated[Form, Depends(_form)]
WebSessionDep = Annotated[WebSession, Depends(_web_session)]


def may(caller: Caller, operation: str) -> bool:
    """Whether the caller's role allows an operation of the API, named as `POST /links`."""
    method, path = operation.split(" ")
    return caller.may(OPERATIONS[path][method])


def check_may(caller: Caller, operation: str) -> None:
    """Raises a problem of 403 where the caller's role does not allow this operation of the API."""
    method, path = operation.split(" ")
    least = OPERATIONS[path][method]
    if not caller.may(least):
        raise Problem(
            403,
            f"This needs the role {least}, and you are signed in as {caller.role}. An admin can give you "
            "a token, or your group, that role.",
        )


def needs(operation: str) -> Any:
    """A dependency: the page or form does what this operation of the API does, and needs the same role."""

    async def check(caller: CallerDep) -> None:
        check_may(caller, operation)

    return Depends(check)
