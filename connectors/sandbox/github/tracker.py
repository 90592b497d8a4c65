"""The simulated GitHub host as one ASGI application, with its API both at the root and below /api/v3."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from connectors.sandbox.github import catalog, comments, issues, people
from connectors.sandbox.github.answers import Call, GitHubError, Handler, Moved, RateLimit
from connectors.sandbox.github.host import GitHubHost
from connectors.sandbox.github.page_backend import GitHubPageBackend
from connectors.sandbox.github.views import Views
from connectors.sandbox.github.webhooks import Webhooks, new_sender
from connectors.sandbox.pages import SyncNow, page_routes
from connectors.sandbox.tracker import Tracker

if TYPE_CHECKING:
    from datetime import datetime

Endpoint = Callable[[Request], Awaitable[Response]]

PREFIXES = ("/api/v3", "")
REPOSITORY = ("/repos/{owner}/{repo}", "/repositories/{id:int}")


class GitHubTracker(Tracker):
    """Serve this with `server.serve`; change the tickets through `host`, over REST, or on the pages."""

    def __init__(self, host: GitHubHost | None = None, *, sync_now: SyncNow | None = None) -> None:
        super().__init__(new_sender())
        self.host = host or GitHubHost()
        self.host.watchers.append(Webhooks(self.webhook_sender, lambda: self._views_at("")).tell)
        self.rate = RateLimit(self.host)
        self._views: dict[str, Views] = {}
        rest = [*catalog.handlers(), *issues.handlers(), *comments.handlers(), *people.handlers()]
        api = [
            route
            for prefix in PREFIXES
            for method, path, handler in rest
            for route in self._at(prefix, method, path, handler)
        ]
        pages = page_routes(self, GitHubPageBackend(self.host), sync_now)
        self.routes = Starlette(routes=[*api, *pages], exception_handlers={HTTPException: _unknown})

    def clock(self) -> datetime:
        return self.host.now()

    def listens_at(self, url: str) -> None:
        super().listens_at(url)
        self._views.clear()

    def _at(self, prefix: str, method: str, path: str, handler: Handler) -> list[Route]:
        homes = REPOSITORY if "{repository}" in path else ("",)
        return [
            Route(
                prefix + path.replace("{repository}", home), self._endpoint(prefix, handler), methods=[method]
            )
            for home in homes
        ]

    def _endpoint(self, prefix: str, handler: Handler) -> Endpoint:
        async def endpoint(request: Request) -> Response:
            call = Call(self.host, self._views_at(prefix), self.rate, request)
            try:
                call.admit()
                return await handler(call)
            except GitHubError as error:
                return call.refuse(error)
            except Moved as moved:
                return call.redirect(moved)

        return endpoint

    def _views_at(self, prefix: str) -> Views:
        if prefix not in self._views:
            self._views[prefix] = Views(
                self.base_url,
                self.base_url + prefix,
                self.host.features,
                self.host.association,
                self.host.fields,
            )
        return self._views[prefix]


async def _unknown(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    body = {"message": "Not Found" if status == 404 else "Method Not Allowed", "status": str(status)}
    return JSONResponse(body, status)
