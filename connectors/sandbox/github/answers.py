"""How every REST route of the simulated GitHub takes a request in and gives an answer out.

Pages, ETags, redirects and rate limits follow https://docs.github.com/rest/using-the-rest-api.
"""

from __future__ import annotations

import base64
import binascii
import json
import secrets
from collections.abc import Awaitable, Callable, Sequence
from hashlib import blake2b
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response

from connectors.sandbox.faults import PAGE_SIZE
from connectors.sandbox.github.host import GitHubHost
from connectors.sandbox.github.records import ROLES, Account, Issue, Json, Repository
from connectors.sandbox.github.views import Views, dump

DOCUMENTATION = "https://docs.github.com/rest"
DEFAULT_VERSION = "2022-11-28"
VERSIONS = frozenset({DEFAULT_VERSION, "2026-03-10"})
HOUR = 3600


class GitHubError(Exception):
    """An answer that refuses; `errors` are the details of a 422."""

    def __init__(self, status: int, message: str, errors: list[Json] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.errors = status, message, errors


class Moved(Exception):
    """The thing asked for lives elsewhere; `path` is below the API's root."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


class RateLimit:
    """Requests an hour, counted from the first one of the hour. A 304 is given back."""

    def __init__(self, host: GitHubHost) -> None:
        self.host, self.used, self.reset = host, 0, 0

    def take(self) -> bool:
        now = int(self.host.now().timestamp())
        if now >= self.reset:
            self.used, self.reset = 0, now + HOUR
        if self.used >= self.host.rate_limit:
            return False
        self.used += 1
        return True

    def numbers(self) -> dict[str, int]:
        limit = self.host.rate_limit
        return {
            "limit": limit,
            "remaining": max(limit - self.used, 0),
            "used": self.used,
            "reset": self.reset,
        }


class Call:
    """One request to one host, with the account that stands behind it, or none."""

    def __init__(self, host: GitHubHost, views: Views, rate: RateLimit, request: Request) -> None:
        self.host, self.views, self.rate, self.request = host, views, rate, request
        self.viewer: Account | None = None
        self.accepted = "allows_permissionless_access=true"  # what a fine-grained token needs here

    def admit(self) -> None:
        """Who asks, in which version, and whether the hour's requests are used up."""
        headers = self.request.headers
        if not headers.get("user-agent"):
            raise GitHubError(
                403, "Request forbidden by administrative rules. Please add a User-Agent header."
            )
        if headers.get("x-github-api-version", DEFAULT_VERSION) not in VERSIONS:
            raise GitHubError(400, "The requested API version is not supported.")
        if authorization := headers.get("authorization"):
            kind, _, token = authorization.partition(" ")
            self.viewer = self.host.tokens.get(token) if kind.lower() in {"bearer", "token"} else None
            if self.viewer is None:
                raise GitHubError(401, "Bad credentials")
        if not self.rate.take():
            raise GitHubError(
                403, f"API rate limit exceeded for user ID {self.viewer.id if self.viewer else 0}."
            )

    def known(self) -> Account:
        if self.viewer is None:
            raise GitHubError(401, "Requires authentication")
        return self.viewer

    def scopes(self) -> set[str] | None:
        """A classic token's; None for a fine-grained one and for nobody."""
        changes = self.host.scopes.get(self.viewer.login) if self.viewer else None
        return None if changes is None else {part.strip() for part in changes.split(",")}

    def sees(self, repository: Repository) -> bool:
        """Of a classic token's scopes only `repo` opens what is private."""
        if repository.full_name in self.host.hidden:
            return False
        scopes = self.scopes()
        reach = self.viewer is not None if scopes is None else "repo" in scopes
        return reach or not repository.private

    def must_read_issues(self, repository: Repository) -> None:
        self.accepted = "issues=read"
        if repository.full_name in self.host.no_issues:
            raise GitHubError(403, "Resource not accessible by personal access token")

    def repository(self) -> Repository:
        """The one the path names, by name or by id; Moved for a name of the past."""
        params = self.request.path_params
        if "id" in params:
            found = self.host.repositories.get(params["id"])
            asked = None
        else:
            asked = f"{params['owner']}/{params['repo']}"
            found = self.host.find_repository(asked)
        self.accepted = "metadata=read"
        if found is None or not self.sees(found):
            raise GitHubError(404, "Not Found")
        if asked is not None and found.full_name.lower() != asked.lower():
            tail = self.request.url.path.partition(f"/repos/{asked}")[2]
            raise Moved(f"/repositories/{found.id}{tail}")
        return found

    def issue(self) -> Issue:
        """The one the path names; Moved after a transfer, 410 after a deletion."""
        repository, number = self.repository(), self.request.path_params["number"]
        self.must_read_issues(repository)
        if number in repository.issues:
            return repository.issues[number]
        if number not in repository.gone:
            raise GitHubError(404, "Not Found")
        now_at = repository.gone[number]
        if now_at is None:
            raise GitHubError(410, "This issue was deleted")
        if not self.sees(now_at.repository):
            raise GitHubError(404, "Not Found")
        tail = self.request.url.path.partition(f"/issues/{number}")[2]
        raise Moved(f"/repositories/{now_at.repository.id}/issues/{now_at.number}{tail}")

    def must_write(self, repository: Repository) -> None:
        self.known()
        self.accepted = "issues=write"
        scopes = self.scopes()
        if scopes is not None and not scopes & {"repo", "public_repo"}:
            raise GitHubError(404, "Not Found")
        if repository.full_name in self.host.read_only:
            raise GitHubError(403, "Resource not accessible by personal access token")
        if repository.archived:
            raise GitHubError(403, "Repository was archived so is read-only.")

    def must_comment(self, issue: Issue, verb: str) -> None:
        """A locked conversation is for those who may push. The bot has its own role, people are members."""
        self.must_write(issue.repository)
        pushes = ROLES.index(issue.repository.role) >= ROLES.index("push")
        if issue.locked and self.viewer == self.host.bot and not pushes:
            raise GitHubError(403, f"Unable to {verb} comment because issue is locked.")

    async def body(self) -> Json:
        try:
            body = json.loads(await self.request.body() or b"{}")
        except ValueError:
            raise GitHubError(400, "Problems parsing JSON") from None
        if not isinstance(body, dict):
            raise GitHubError(400, "Body should be a JSON object")
        return body

    def choice(self, name: str, default: str, allowed: set[str]) -> str:
        value = self.request.query_params.get(name, default)
        if value not in allowed:
            raise invalid("Issue", name)
        return value

    def page(self, items: Sequence[Any], render: Callable[[Any], bytes], *, cursor: bool = False) -> Response:
        """One page and where the next is. With `cursor`, or after a short page, the link has a cursor."""
        query = self.request.query_params
        per_page = max(min(self._number("per_page", 30), 100), 1)
        number = max(self._number("page", 1), 1)
        start = self._cursor(query["after"]) if "after" in query else (number - 1) * per_page
        size = min(per_page, self.request.scope.get(PAGE_SIZE, per_page))
        end = start + size
        headers = {}
        if end < len(items):
            following = {**dict(query), "per_page": str(per_page), "page": str(number + 1)}
            if cursor or size < per_page or "after" in query:
                following["after"] = base64.b64encode(f"cursor:{end}".encode()).decode()
            headers["Link"] = f'<{self._list_url()}?{urlencode(following)}>; rel="next"'
        content = b"[" + b",".join(render(item) for item in items[start:end]) + b"]"
        return self.reply(content, headers=headers)

    def _list_url(self) -> str:
        path, params = self.request.url.path, self.request.path_params
        tail = path.partition(f"/repos/{params.get('owner')}/{params.get('repo')}")[2]
        if tail and "owner" in params:
            return f"{self.views.api}/repositories/{self.repository().id}{tail}"
        return f"{self.views.web}{path}"

    def _number(self, name: str, default: int) -> int:
        value = self.request.query_params.get(name, "")
        return int(value) if value.isdigit() else default

    def _cursor(self, value: str) -> int:
        try:
            return int(base64.b64decode(value, validate=True).decode().partition(":")[2])
        except (binascii.Error, ValueError):
            raise invalid("Issue", "after") from None

    def reply(self, body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Response:
        """A reading is answered with an ETag, and with 304 and no cost if the client has it already."""
        content = body if isinstance(body, bytes) else dump(body)
        own = self._headers() | (headers or {})
        if self.request.method == "GET":
            own["ETag"] = f'W/"{blake2b(content, digest_size=16).hexdigest()}"'
            if own["ETag"] in self.request.headers.get("if-none-match", ""):
                self.rate.used -= 1
                return Response(None, 304, own | self._headers())
        return Response(content, status, own, "application/json; charset=utf-8")

    def done(self) -> Response:
        return Response(None, 204, self._headers())

    def _headers(self) -> dict[str, str]:
        numbers = {
            f"X-RateLimit-{name.capitalize()}": str(value) for name, value in self.rate.numbers().items()
        }
        own = {"X-RateLimit-Resource": "core", "X-GitHub-Request-Id": secrets.token_hex(8)}
        asked = self.request.headers.get("x-github-api-version", DEFAULT_VERSION)
        return {**numbers, **own, **self._about_token(), "X-GitHub-Api-Version-Selected": asked}

    def _about_token(self) -> dict[str, str]:
        """Scopes of a classic token; of a fine-grained one what was needed, never what it has."""
        if self.viewer is None:
            return {}
        login = self.viewer.login
        changes = {"X-Accepted-GitHub-Permissions": self.accepted}
        if (scopes := self.host.scopes.get(login)) is not None:
            changes = {"X-OAuth-Scopes": scopes}
        if (ends := self.host.expires.get(login)) is not None:
            changes["GitHub-Authentication-Token-Expiration"] = ends
        return changes

    def refuse(self, error: GitHubError) -> Response:
        body: Json = {
            "message": error.message,
            "documentation_url": DOCUMENTATION,
            "status": str(error.status),
        }
        if error.errors is not None:
            body = {"message": error.message, "errors": error.errors, "documentation_url": DOCUMENTATION}
        return Response(dump(body), error.status, self._headers(), "application/json; charset=utf-8")

    def redirect(self, moved: Moved) -> Response:
        """301 for reading; 307 otherwise, so that the method and the body stay."""
        query = self.request.url.query
        url = f"{self.views.api}{moved.path}" + (f"?{query}" if query else "")
        status, message = (
            (301, "Moved Permanently") if self.request.method == "GET" else (307, "Temporary Redirect")
        )
        body = {"message": message, "url": url, "documentation_url": DOCUMENTATION}
        headers = self._headers() | {"Location": url}
        return Response(dump(body), status, headers, "application/json; charset=utf-8")


Handler = Callable[[Call], Awaitable[Response]]


def invalid(resource: str, field: str, code: str = "invalid") -> GitHubError:
    """A 422 that names one field."""
    return GitHubError(422, "Validation Failed", [{"resource": resource, "field": field, "code": code}])
