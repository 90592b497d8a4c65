"""The simulated Jira Cloud as one ASGI application."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from connectors.sandbox.jira import catalog, comments, issues, permissions
from connectors.sandbox.jira.answers import route
from connectors.sandbox.jira.page_backend import JiraPageBackend
from connectors.sandbox.jira.search import Search
from connectors.sandbox.jira.site import JiraSite
from connectors.sandbox.jira.webhooks import Webhooks, new_sender
from connectors.sandbox.pages import SyncNow, page_routes
from connectors.sandbox.tracker import Tracker

if TYPE_CHECKING:
    from datetime import datetime

    from starlette.requests import Request


class JiraTracker(Tracker):
    """Serve this with `server.serve`; change the tickets through `site`, over REST, or on the pages."""

    def __init__(self, site: JiraSite | None = None, *, sync_now: SyncNow | None = None) -> None:
        super().__init__(new_sender())
        self.site = site or JiraSite()
        self.site.watchers.append(Webhooks(self.webhook_sender, self.site).tell)
        rest = [
            *catalog.handlers(),
            *permissions.handlers(),
            *Search(self.site).handlers(),
            *issues.handlers(),
            *comments.handlers(),
        ]
        pages = page_routes(self, JiraPageBackend(self.site), sync_now)
        self.routes = Starlette(
            routes=[*(route(self.site, *entry) for entry in rest), *pages],
            exception_handlers={HTTPException: _unknown},
        )

    def clock(self) -> datetime:
        return self.site.now()


async def _unknown(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    return JSONResponse(
        {"errorMessages": [f"{request.method} {request.url.path}: {status}"], "errors": {}}, status
    )
