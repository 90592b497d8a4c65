"""Errors as pages for people: what is wrong, and the way on."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from fastapi import Request

from app.base_path import own_path
from app.web.templating import render

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi.responses import HTMLResponse

# First parts of the addresses that programs call; a browser may open them too, and gets what a program gets.
_FOR_PROGRAMS = {"api", "docs", "healthz", "metrics", "openapi.json", "readyz", "static", "webhooks"}


def is_for_people(request: Request) -> bool:
    """Whether an error is answered with a page: on a page, and where a browser meets no route at all."""
    if getattr(request.state, "is_page", False):
        return True
    first = own_path(request.scope).split("/", 2)[1:2]
    return first != [] and first[0] not in _FOR_PROGRAMS and "text/html" in request.headers.get("accept", "")


def error_page(
    request: Request, status: int, detail: str, headers: Mapping[str, str] | None = None
) -> HTMLResponse:
    values = {
        "status": status,
        "phrase": HTTPStatus(status).phrase,
        "detail": detail,
        "me": getattr(request.state, "web_session", None),
        "seconds": (headers or {}).get("Retry-After"),
    }
    return render(request, "error.html", values, status, headers)
