"""What all REST routes of the simulated Jira share: reading a request, and answering it."""

from __future__ import annotations

import base64
import binascii
import json
import secrets
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from starlette.responses import Response
from starlette.routing import Route

from connectors.sandbox.jira.rights import may
from connectors.sandbox.jira.views import dump

if TYPE_CHECKING:
    from starlette.requests import Request

    from connectors.sandbox.jira.records import Account, Issue, Json, Project
    from connectors.sandbox.jira.site import JiraSite

NO_ISSUE = "Issue does not exist or you do not have permission to see it."
BAD_PAYLOAD = "Invalid request payload. Refer to the REST API documentation and try again."


class JiraError(Exception):
    """A refusal, with Jira's `errorMessages` and `errors`."""

    def __init__(self, status: int, *messages: str, **errors: str) -> None:
        super().__init__(*messages)
        self.status, self.messages, self.errors = status, messages, errors


class Call:
    """One request to one site. `viewer` is its account, or None: Jira also answers anonymous requests."""

    def __init__(self, site: JiraSite, request: Request) -> None:
        self.site, self.request = site, request
        self.headers = {"X-AREQUESTID": secrets.token_hex(8)}
        self.viewer = self._authenticate()

    def _authenticate(self) -> Account | None:
        header = self.request.headers.get("authorization")
        if header is None:
            return None
        self.headers["X-Seraph-LoginReason"] = "AUTHENTICATED_FAILED"
        kind, _, value = header.partition(" ")
        try:
            email, _, token = base64.b64decode(value, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return None
        account = self.site.accounts.get(email)
        if kind.lower() != "basic" or account is None or not secrets.compare_digest(account.token, token):
            return None
        self.headers["X-Seraph-LoginReason"] = "OK"
        return account

    def known(self) -> Account:
        """The account that sent the request. An anonymous request gets a 401."""
        if self.viewer is None:
            raise JiraError(401, "Client must be authenticated to access this resource.")
        return self.viewer

    def may(self, permission: str, project: Project) -> bool:
        return may(self.site, self.viewer, permission, project)

    def sees(self, issue: Issue) -> bool:
        if issue.closed_to_bot and self.viewer == self.site.bot:
            return False
        return self.may("BROWSE_PROJECTS", issue.project)

    def issue(self) -> Issue:
        """The issue that the path names. 404 if there is none, and also if the viewer may not see it."""
        found = self.site.find(self.request.path_params["issue"])
        if found is None or not self.sees(found):
            raise JiraError(404, NO_ISSUE)
        return found

    async def body(self, members: dict[str, Callable[[Any], bool]] | None = None) -> Json:
        """The JSON object in the request. With `members`, other members and wrong types get a 400."""
        try:
            body = json.loads(await self.request.body())
        except ValueError:
            raise JiraError(400, BAD_PAYLOAD) from None
        if not isinstance(body, dict):
            raise JiraError(400, BAD_PAYLOAD)
        if members is not None and not all(name in members and members[name](body[name]) for name in body):
            raise JiraError(400, BAD_PAYLOAD)
        return body

    def number(self, name: str, default: int) -> int:
        value = self.request.query_params.get(name, str(default))
        if not value.isdigit():
            raise JiraError(400, f"The value '{value}' is not valid for the parameter '{name}'.")
        return int(value)

    def reply(self, body: Any, status: int = 200) -> Response:
        content = body if isinstance(body, bytes) else dump(body)
        return Response(content, status, self.headers, "application/json")

    def done(self, status: int = 204) -> Response:
        return Response(None, status, self.headers)


Handler = Callable[[Call], Awaitable[Response]]


def route(site: JiraSite, method: str, path: str, handler: Handler) -> Route:
    async def endpoint(request: Request) -> Response:
        call = Call(site, request)
        try:
            return await handler(call)
        except JiraError as error:
            return call.reply({"errorMessages": list(error.messages), "errors": error.errors}, error.status)

    return Route(f"/rest/api/3/{path}", endpoint, methods=[method])
