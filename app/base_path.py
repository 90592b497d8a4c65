"""The path under which people and trackers reach Northing, where a proxy serves it below another one.

A proxy may pass the path on as it is or without that part; both are served. The application sees the whole
path, and in `root_path` the part that is the proxy's, as ASGI has it. From that each address of ours is made,
in pages, in the OpenAPI document and in redirects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Receive, Scope, Send

# What the paths of the application begin with.
_OWN = frozenset(
    {
        "",
        "api",
        "audit-log",
        "deliveries",
        "docs",
        "epics",
        "export",
        "goals",
        "healthz",
        "import",
        "login",
        "logout",
        "metrics",
        "notices",
        "openapi.json",
        "readyz",
        "rules",
        "runs",
        "signed",
        "sources",
        "static",
        "static-offline-docs",
        "tokens",
        "undo",
        "webhooks",
        "why",
    }
)


def without_base(path: str, base: str) -> str:
    """The path without the proxy's part, where it has it: `/northing/docs` is `/docs` below `/northing`.

    A path whose rest is none of ours begins with that part by chance: `/api/v1/runs` below `/api`.
    """
    if path != base and not path.startswith(f"{base}/"):
        return path
    rest = path[len(base) :] or "/"
    return rest if rest.split("/", 2)[1] in _OWN else path


def own_path(scope: Scope) -> str:
    """The path of a request as the application's routes have it."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))


class BasePath:
    """Tells the application the path of `public_base`, and gives each request the whole path."""

    def __init__(self, app: ASGIApp, public_base: Callable[[], str]) -> None:
        self.app, self.public_base = app, public_base

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (base := self.public_base()):
            path = base + without_base(scope["path"], base)
            raw = base + without_base(scope.get("raw_path", b"").decode("latin-1"), base)
            scope = {**scope, "root_path": base, "path": path, "raw_path": raw.encode("latin-1")}
        await self.app(scope, receive, send)
