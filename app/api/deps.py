"""What every operation shares: the runtime, the caller, a session that commits before the answer,
versions."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar, cast

from fastapi import Depends, Header, Path, Request, Response
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    create_model,
)
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive

from app.api.problems import Problem, field_errors
from app.auth.authenticator import Authenticator, UnknownToken
from app.auth.rate_limit import TooManyFailures
from app.auth.roles import Caller
from app.runtime import ASKED_FOR_AT, Runtime
from mappings.values import KEY_PATTERN, LINE_AT_MOST, NO_NUL_PATTERN, TEXT_AT_MOST

Model = TypeVar("Model", bound=BaseModel)
Key = Annotated[str, StringConstraints(pattern=KEY_PATTERN)]
SourceName = Annotated[str, Path(max_length=64, description="The source's name, in any case.")]
Line = Annotated[
    str,
    StringConstraints(min_length=1, max_length=LINE_AT_MOST, pattern=NO_NUL_PATTERN, strip_whitespace=True),
]
LongText = Annotated[str, StringConstraints(max_length=TEXT_AT_MOST, pattern=NO_NUL_PATTERN)]
# The database returns times in the time zone of its own settings.
Moment = Annotated[datetime, AfterValidator(lambda at: at.astimezone(UTC))]


class Body(BaseModel):
    """What a caller sends. Unknown members are refused."""

    model_config = ConfigDict(extra="forbid")


def get_runtime(request: Request) -> Runtime:
    runtime: Runtime = request.app.state.runtime
    return runtime


# Dependencies are coroutines, also where they wait for nothing: FastAPI calls any other in a thread.
async def _runtime(request: Request) -> Runtime:
    return get_runtime(request)


RuntimeDep = Annotated[Runtime, Depends(_runtime)]


# --- the caller -------------------------------------------------------------------------------


HIDDEN_CHARACTER = (
    " The token holds a blank or an invisible character, which was perhaps copied along: send it without."
)


async def authenticate(request: Request, token: str | None, what_to_do: str, scheme: str) -> None:
    """Store the token's owner as the caller, or raise 401, with `what_to_do` as its text, or 429."""
    authenticator: Authenticator = request.app.state.authenticator
    host = request.client.host if request.client is not None else None
    try:
        request.state.caller = await authenticator.authenticate(get_runtime(request), token, host)
    except UnknownToken:
        hidden = token is not None and re.search("[^!-~]", token)
        advice = what_to_do + HIDDEN_CHARACTER if hidden else what_to_do
        raise Problem(401, advice, headers={"WWW-Authenticate": scheme}) from None
    except TooManyFailures as limit:
        raise Problem(429, str(limit), headers={"Retry-After": str(limit.seconds)}) from None


LARGEST_BODY = 1024 * 1024


def bounded(headers: Headers, receive: Receive, most: int) -> Receive:
    """`receive` for a body of `most` bytes; 413 as soon as there are more, whatever Content-Length says.

    FastAPI's own limit answers in plain text, which is no problem document.
    """
    too_long = HTTPException(
        413, f"A body may have {most // 1024**2} MB at most here.", headers={"Connection": "close"}
    )
    if declared_length(headers) > most:
        raise too_long
    size = 0

    async def receive_some() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > most:
            raise too_long
        return message

    return receive_some


def declared_length(headers: Headers) -> int:
    """The bytes that the sender declares; 0 where it declares none, or no plausible number."""
    length = headers.get("content-length", "")
    return int(length) if re.fullmatch(r"[0-9]{1,18}", length) else 0


async def get_caller(request: Request) -> Caller:
    return cast(Caller, request.state.caller)


CallerDep = Annotated[Caller, Depends(get_caller)]

# --- the session ------------------------------------------------------------------------------


async def get_session(request: Request) -> AsyncIterator[AsyncSession]:
    caller: Caller | None = getattr(request.state, "caller", None)
    async with get_runtime(request).transaction(None if caller is None else caller.who) as session:
        if (asked_for := getattr(request.state, "asked_for_at", None)) is not None:
            session.info[ASKED_FOR_AT] = asked_for
        yield session


# Scope "function": committed before the answer is sent, so a failed commit is not answered with 200.
SessionDep = Annotated[AsyncSession, Depends(get_session, scope="function")]


async def _reading_session(request: Request) -> AsyncIterator[AsyncSession]:
    async with get_runtime(request).reading() as session:
        yield session


# For operations that only read, such as lists.
ReadingDep = Annotated[AsyncSession, Depends(_reading_session, scope="function")]

# --- headers of answers -----------------------------------------------------------------------

HEADERS = {
    "ETag": {"description": "The version of what is shown, for `If-Match`.", "schema": {"type": "string"}},
    "Northing-Runs": {
        "description": "Ids of the runs that evaluate the epics this change affects, separated by commas; "
        "left out where there are none.",
        "schema": {"type": "string"},
    },
    "Retry-After": {"description": "Seconds until the next try.", "schema": {"type": "integer"}},
}


def response_headers(status: int, *names: str) -> dict[int | str, dict[str, Any]]:
    """The part of an operation's `responses` that describes its headers."""
    return {status: {"headers": {name: HEADERS[name] for name in names}}}


def put_runs(response: Response, runs: Iterable[int]) -> None:
    ids = ",".join(map(str, runs))
    if ids:
        response.headers["Northing-Runs"] = ids


# --- versions ---------------------------------------------------------------------------------

IfMatch = Annotated[
    str | None, Header(description="The `ETag` last seen; where it is stale the answer is 412.")
]


def versions_in(if_match: str | None) -> frozenset[int] | None:
    """The versions that the header allows; None where it allows any, none where no tag is one of ours."""
    if if_match is None or if_match.strip() == "*":
        return None
    tags = (tag.strip().removeprefix("W/").strip('"') for tag in if_match.split(","))
    return frozenset(int(tag) for tag in tags if re.fullmatch(r"[1-9][0-9]{0,17}", tag))


def put_version(response: Response, version: int) -> None:
    response.headers["ETag"] = f'"{version}"'


# --- JSON merge patch (RFC 7396) ------------------------------------------------------------------


def patch_of(
    model: type[BaseModel], name: str, *, without: Iterable[str] = (), example: dict[str, Any] | None = None
) -> type[BaseModel]:
    """The members of `model`, each of which may be left out; a value that is sent replaces, null removes.

    What `model` requires of several members together is checked on the merged document, with `validated`.
    """
    fields: dict[str, Any] = {}
    for field, info in model.model_fields.items():
        kind: Any = Annotated[info.annotation, *info.metadata] if info.metadata else info.annotation
        if field not in without:
            fields[field] = (kind | None, Field(None, description=info.description, examples=info.examples))
    shown = ConfigDict(json_schema_extra={"examples": [example]}) if example else ConfigDict()
    return create_model(name, __config__=ConfigDict(extra="forbid", **shown), **fields)


def patch_body(
    model: type[BaseModel], name: str, example: dict[str, Any]
) -> Callable[..., Awaitable[dict[str, Any]]]:
    """A dependency that reads a merge patch for `model` and returns only the members that were sent."""

    async def read(body: BaseModel) -> dict[str, Any]:
        return body.model_dump(mode="json", exclude_unset=True)

    read.__annotations__["body"] = patch_of(model, name, example=example)
    return read


def merged(current: Any, patch: Any) -> Any:
    """RFC 7396, section 2."""
    if not isinstance(patch, dict):
        return patch
    result = dict(current) if isinstance(current, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merged(result.get(name), value)
    return result


def validated(model: type[Model], document: Any) -> Model:
    """The document as `model`; 422 naming each wrong field."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        errors = field_errors(error)
        detail = "; ".join(f"{field}: {message}" for field, message in errors)
        raise Problem(422, detail, errors=errors) from None
