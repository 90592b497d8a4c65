"""The path under which people and trackers reach Northing, where a proxy serves it below another one.

A proxy may pass the path on as it is or without that part; both are served. The application sees the whole
path, and in `root_path` the part that is the proxy's, as ASGI has it. From that each address of ours is made,
in pages, in the OpenAPI document and in redirects.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

# What the paths of the application begin with.
_OWN = frozenset(
    {
        "",
        "allocation",
        "api",
        "audit",
        "audit-log",
        "conflicts",
        "decisions",
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
        "outcomes",
        "priorities",
        "readyz",
        "reviews",
        "roadmap",
        "roadmap.csv",
        "roadmap.svg",
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
    """Tells the application the path of `public_base`, and gives each request the whole path.

    A slash too many is redirected by FastAPI to the host and scheme of the request, which behind a proxy are
    those of this process: the answer names the path alone.
    """

    def __init__(self, app: ASGIApp, public_base: Callable[[], str]) -> None:
        self.app, self.public_base = app, public_base

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (base := self.public_base()):
            path = base + without_base(scope["path"], base)
            raw = base + without_base(scope.get("raw_path", b"").decode("latin-1"), base)
            scope = {**scope, "root_path": base, "path": path, "raw_path": raw.encode("latin-1")}

        async def without_host(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == 307:
                message = {**message, "headers": [_without_host(*header) for header in message["headers"]]}
            await send(message)

        await self.app(scope, receive, without_host)


def _without_host(name: bytes, value: bytes) -> tuple[bytes, bytes]:
    """The header; a `Location` without its scheme and host."""
    if name.lower() != b"location":
        return name, value
    parts = urlsplit(value.decode("latin-1"))
    path = "/" + parts.path.lstrip("/")  # else what follows two slashes would be a host
    return name, parts._replace(scheme="", netloc="", path=path).geturl().encode("latin-1")
