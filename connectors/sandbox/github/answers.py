"""What all REST routes of the simulated GitHub share: reading a request, and answering it.

Pages, ETags, redirects and rate limits follow https://docs.github.com/rest/using-the-rest-api.
"""

from __future__ import annotations

import base64
import binascii
import json
import secrets
from collections.abc import Awaitable, Callable, Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from starlette.responses import Response

from connectors.sandbox.faults import PAGE_SIZE
from connectors.sandbox.github.records import ROLES, Account, Issue, Json, Repository
from connectors.sandbox.github.views import Views, dump

if TYPE_CHECKING:
    from starlette.requests import Request

    from connectors.sandbox.github.host import GitHubHost

DOCUMENTATION = "https://docs.github.com/rest"
DEFAULT_VERSION = "2022-11-28"
VERSIONS = frozenset({DEFAULT_VERSION, "2026-03-10"})
HOUR = 3600


class GitHubError(Exception):
    """A refusal; `errors` are the details of a 422."""

    def __init__(self, status: int, message: str, errors: list[Json] | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.errors = status, message, errors


class Moved(Exception):
    """The requested repository or issue has another address now; `path` is relative to the API's root."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


class RateLimit:
    """Counts requests per hour, from the first request of the hour on. A 304 is not counted. `counted`: of
    all hours."""

    def __init__(self, host: GitHubHost) -> None:
        self.host, self.used, self.reset, self.counted = host, 0, 0, 0

    def take(self) -> bool:
        now = int(self.host.now().timestamp())
        if now >= self.reset:
            self.used, self.reset = 0, now + HOUR
        if self.used >= self.host.rate_limit:
            return False
        self.used, self.counted = self.used + 1, self.counted + 1
        return True

    def take_off(self) -> None:
        self.used, self.counted = self.used - 1, self.counted - 1

    def numbers(self) -> dict[str, int]:
        limit = self.host.rate_limit
        return {
            "limit": limit,
            "remaining": max(limit - self.used, 0),
            "used": self.used,
            "reset": self.reset,
        }


class Call:
    """One request to one host. `viewer` is its account, or None."""

    def __init__(self, host: GitHubHost, views: Views, rate: RateLimit, request: Request) -> None:
        self.host, self.views, self.rate, self.request = host, views, rate, request
        self.viewer: Account | None = None
        # The permission that a fine-grained token needs for this request.
        self.accepted = "allows_permissionless_access=true"

    def admit(self) -> None:
        """Finds the account and checks User-Agent, API version and rate limit. Raises GitHubError."""
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
        """The scopes of a classic token; None for a fine-grained token or none at all."""
        scopes = self.host.scopes.get(self.viewer.login) if self.viewer else None
        return None if scopes is None else {part.strip() for part in scopes.split(",")}

    def sees(self, repository: Repository) -> bool:
        """Whether the viewer sees it. For a private one a classic token needs the scope `repo`."""
        if repository.full_name in self.host.hidden:
            return False
        scopes = self.scopes()
        sees_private = self.viewer is not None if scopes is None else "repo" in scopes
        return sees_private or not repository.private

    def must_read_issues(self, repository: Repository) -> None:
        self.accepted = "issues=read"
        if repository.full_name in self.host.no_issues:
            raise GitHubError(403, "Resource not accessible by personal access token")

    def repository(self) -> Repository:
        """The repository that the path names, by name or id. Raises Moved for a former name."""
        params = self.request.path_params
        if "id" in params:
            found = self.host.repositories.get(params["id"])
            requested = None
        else:
            requested = f"{params['owner']}/{params['repo']}"
            found = self.host.find_repository(requested)
        self.accepted = "metadata=read"
        if found is None or not self.sees(found):
            raise GitHubError(404, "Not Found")
        if requested is not None and found.full_name.lower() != requested.lower():
            tail = self.request.url.path.partition(f"/repos/{requested}")[2]
            raise Moved(f"/repositories/{found.id}{tail}")
        return found

    def issue(self) -> Issue:
        """The issue that the path names. Raises Moved after a transfer; 410 after a deletion."""
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

    def pushes_as_bot(self, repository: Repository) -> bool:
        return self.viewer == self.host.bot and ROLES.index(repository.role) >= ROLES.index("push")

    def must_comment(self, issue: Issue, verb: str) -> None:
        """A locked issue needs the role `push`. Only the bot's role is checked, see `Repository.role`."""
        self.must_write(issue.repository)
        if issue.locked and self.viewer == self.host.bot and not self.pushes_as_bot(issue.repository):
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
        """One page and a link to the next. With `cursor`, or after a short page, the link has a cursor."""
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
        """Adds an ETag to answers of GET, another one for each token. If the client has that ETag, answers
        304, which does not count."""
        content = body if isinstance(body, bytes) else dump(body)
        own = self._headers() | (headers or {})
        if self.request.method == "GET":
            login = self.request.headers.get("authorization", "").encode()
            own["ETag"] = f'W/"{blake2b(content + login, digest_size=16).hexdigest()}"'
            if own["ETag"] in self.request.headers.get("if-none-match", ""):
                self.rate.take_off()
                return Response(None, 304, own | self._headers())
        return Response(content, status, own, "application/json; charset=utf-8")

    def done(self) -> Response:
        return Response(None, 204, self._headers())

    def _headers(self) -> dict[str, str]:
        numbers = {
            f"X-RateLimit-{name.capitalize()}": str(value) for name, value in self.rate.numbers().items()
        }
        own = {"X-RateLimit-Resource": "core", "X-GitHub-Request-Id": secrets.token_hex(8)}
        version = self.request.headers.get("x-github-api-version", DEFAULT_VERSION)
        return {**numbers, **own, **self._token_headers(), "X-GitHub-Api-Version-Selected": version}

    def _token_headers(self) -> dict[str, str]:
        """A classic token's scopes; for a fine-grained one the permission needed, never those it has."""
        if self.viewer is None:
            return {}
        login = self.viewer.login
        headers = {"X-Accepted-GitHub-Permissions": self.accepted}
        if (scopes := self.host.scopes.get(login)) is not None:
            headers = {"X-OAuth-Scopes": scopes}
        if (expiry := self.host.expires.get(login)) is not None:
            headers["GitHub-Authentication-Token-Expiration"] = expiry
        return headers

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
        """301 for GET; otherwise 307, so that the client keeps the method and the body."""
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
