"""Errors as RFC 9457 problem documents: what is wrong, with which field, and what to do."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from http import HTTPStatus
from typing import Any, Protocol

import psycopg
import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.routing import iter_route_contexts
from procrastinate.exceptions import ConnectorException
from pydantic import BaseModel, Field, ValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from app.base_path import own_path
from app.outages import RETRY_SECONDS
from connectors.markup import storable
from connectors.registry import KINDS
from mappings.errors import Conflict, DomainError, Invalid, NotFound, StaleVersion
from mappings.values import HOLDS_NUL, KEY_PATTERN, NOT_A_KEY

log = structlog.get_logger()

MEDIA_TYPE = "application/problem+json"
MOST_ERRORS = 50
NOT_JSON = "is not JSON in UTF-8"
UNAVAILABLE = "Northing can store nothing now"
RETRY_LATER = {"Retry-After": str(RETRY_SECONDS)}
DEFAULT_DETAILS = {
    404: "There is nothing at this address; /docs lists what there is.",
    405: "This address does not take this method; /docs lists what it takes.",
}


class FieldError(BaseModel):
    field: str = Field(description="The member of the body or the query parameter, dotted.")
    message: str = Field(description="What is wrong with it and what to send instead.")


class ProblemDocument(BaseModel):
    """RFC 9457."""

    type: str = Field(
        description="The kind of problem; `about:blank`: see the status.", examples=["about:blank"]
    )
    title: str = Field(description="The status in words.", examples=["Unprocessable Content"])
    status: int = Field(description="The HTTP status.", examples=[422])
    detail: str = Field(description="What happened and what to do.")
    errors: list[FieldError] = Field(
        default=[], max_length=MOST_ERRORS, description="Each wrong field, with 422; the first 50."
    )


class Problem(Exception):
    """Becomes an error answer. `errors` are pairs of a field and what is wrong with it."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        errors: Sequence[tuple[str, str]] = (),
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status, self.detail, self.errors, self.headers = status, detail, errors, headers


def error_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of an operation in OpenAPI: every error it may answer with."""
    schema = {"$ref": "#/components/schemas/ProblemDocument"}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: {"schema": schema}}}
        for status in statuses
    }


def _answer(
    status: int, detail: str, errors: Sequence[tuple[str, str]] = (), headers: dict[str, str] | None = None
) -> JSONResponse:
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": _short(detail, 4_000),
    }
    if errors:
        body["errors"] = [
            {"field": _short(field, 200), "message": _short(message, 1_000)}
            for field, message in errors[:MOST_ERRORS]
        ]
    return JSONResponse(body, status, headers, media_type=MEDIA_TYPE)


def _short(text: str, most: int) -> str:
    """Cut off, because an error repeats what the caller sent, perhaps many times."""
    return storable(text if len(text) <= most else text[: most - 1] + "…")


def field_errors(error: ValidationError | RequestValidationError) -> list[tuple[str, str]]:
    """Pydantic's errors as pairs of a dotted field and a message, without the values that were sent."""
    found: list[tuple[str, str]] = []
    for item in error.errors():
        location = [str(part) for part in item["loc"]]
        if location and location[0] in ("body", "query", "path", "header"):
            location = location[1:]
        if location and location[0] in KINDS:
            # The `kind` by which the model was chosen; it is not a member of the body.
            location = location[1:]
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "json_invalid":
            location, message = [], NOT_JSON
        if item["type"] == "model_attributes_type" and not location:
            message = "must be a JSON object, sent with Content-Type: application/json"
        if item["type"] == "string_pattern_mismatch":
            message = _pattern_in_words(item.get("ctx", {}).get("pattern", "")) or message
        if item["type"].startswith("union_tag_"):
            location.append(item["ctx"]["discriminator"].strip("'"))
        if item["type"] == "extra_forbidden":
            message = "is not known here; leave it out"
        found.append((".".join(location) or "body", message))
    return found


def _pattern_in_words(pattern: str) -> str | None:
    if pattern == KEY_PATTERN:
        return NOT_A_KEY
    return HOLDS_NUL if pattern.startswith(r"^[^\x00]") else None


def _methods_at(request: Request) -> set[str]:
    """All methods of the address. The error itself knows only those of the first matching route."""
    routes = iter_route_contexts(request.app.routes)
    here = [route for route in routes if route.path_regex.match(own_path(request.scope))]
    # A mount, such as the static files, names no methods.
    return {method for route in here for method in route.methods or ("GET", "HEAD")}


STATUSES: dict[type[DomainError], int] = {NotFound: 404, Conflict: 409, StaleVersion: 412, Invalid: 422}


class Pages(Protocol):
    """How errors are shown to people."""

    def is_for_people(self, request: Request) -> bool: ...
    async def error_page(
        self, request: Request, status: int, detail: str, headers: dict[str, str] | None
    ) -> Response: ...


def install(app: FastAPI, pages: Pages) -> None:
    async def answer(
        request: Request,
        status: int,
        detail: str,
        errors: Sequence[tuple[str, str]] = (),
        headers: dict[str, str] | None = None,
    ) -> Response:
        if pages.is_for_people(request):
            return await pages.error_page(request, status, _short(detail, 4_000), headers)
        return _answer(status, detail, errors, headers)

    _install_errors(app, answer)
    _install_outages(app, answer)


def status_of(error: DomainError) -> int:
    return next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)


def _install_errors(app: FastAPI, answer: Callable[..., Awaitable[Response]]) -> None:
    @app.exception_handler(DomainError)
    async def _domain_error(request: Request, error: DomainError) -> Response:
        errors = error.errors if isinstance(error, Invalid) else ()
        return await answer(request, status_of(error), error.detail, errors)

    @app.exception_handler(Problem)
    async def _problem(request: Request, problem: Problem) -> Response:
        return await answer(request, problem.status, problem.detail, problem.errors, problem.headers)

    @app.exception_handler(RequestValidationError)
    async def _invalid(request: Request, error: RequestValidationError) -> Response:
        errors = field_errors(error)
        return await answer(
            request, 422, "; ".join(f"{field}: {message}" for field, message in errors), errors
        )

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        if error.status_code == 400:  # FastAPI's answer to a body that it cannot decode
            return await answer(request, 422, f"body: {NOT_JSON}", [("body", NOT_JSON)])
        headers = dict(error.headers) if error.headers else None
        if error.status_code == 405:
            headers = {"Allow": ", ".join(sorted(_methods_at(request)))}
        detail = DEFAULT_DETAILS.get(error.status_code, str(error.detail))
        return await answer(request, error.status_code, detail, headers=headers)

    @app.exception_handler(Exception)
    async def _unexpected(request: Request, error: Exception) -> Response:
        log.error("unexpected error", path=_unsigned(request.url.path), exc_info=error)
        return await answer(request, 500, "Something went wrong here; it is in Northing's log.")


# What the database's troubles are raised as, among other things.
MAY_BE_OUTAGES = (SQLAlchemyError, psycopg.Error, ConnectorException, OSError)


def _unsigned(path: str) -> str:
    """The path without the signature that opens a page."""
    before, why, _ = path.partition("/why/")
    return f"{before}{why}…" if why else path


def _install_outages(app: FastAPI, answer: Callable[..., Awaitable[Response]]) -> None:
    async def _outage(request: Request, error: Exception) -> Response:
        reason = request.app.state.runtime.outages.record(error)
        if reason is None:
            raise error  # no trouble of the database's: an error of ours
        return await answer(request, 503, f"{UNAVAILABLE}: {reason}. Try again.", headers=RETRY_LATER)

    # One handler for each base class: a handler of `Exception` would run after the connection is given up.
    for kind in MAY_BE_OUTAGES:
        app.add_exception_handler(kind, _outage)
