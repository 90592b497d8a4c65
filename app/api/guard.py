"""What comes before each operation of the API: its token, the size of its body, its role, its parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from fastapi.security import HTTPBearer
from fastapi.security.utils import get_authorization_scheme_param
from pydantic import BaseModel
from starlette.requests import HTTPConnection
from starlette.routing import Match
from starlette.types import Receive, Scope, Send

from app.api.deps import LARGEST_BODY, authenticate, bounded
from app.api.problems import Problem
from app.auth.roles import Caller, Role, role_for
from app.base_path import own_path

_FOUND = "northing.operation"  # in the scope: what `GuardedRouter.matches` has found


@dataclass(frozen=True, slots=True)
class _Operation:
    """A method at a path of the API, and the `parameters` that its query may hold."""

    route: RouteContext
    parameters: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Found:
    """`child_scope` is what the match adds to the scope."""

    match: Match
    child_scope: Scope
    operation: _Operation


class GuardedRouter(APIRouter):
    """Checks the token before anything else is read, above all the body, and bounds the body.

    FastAPI reads and decodes the body before it calls the dependencies, so none of these can do it. Here,
    unlike in a middleware, a refusal becomes a problem document like any other.

    An operation is found by the first word of its path below the prefix. FastAPI compares a path with each
    operation in turn, and once more to handle it: with as many as ours that takes longer than the query of a
    short list.
    """

    largest_body = LARGEST_BODY

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._by_word: dict[str, list[_Operation]] | None = None

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        found = self._find(scope)
        if found is None:
            return Match.NONE, {}
        scope[_FOUND] = found
        return found.match, {}

    def _find(self, scope: Scope) -> _Found | None:
        """The first operation whose path and method match, else the first whose path does."""
        if self._by_word is None:  # when all routes exist
            self._by_word = self._operations(scope["app"])
        partial = None
        for operation in self._by_word.get(self._word(own_path(scope)), ()):
            match, child_scope = operation.route.matches(scope)
            if match is Match.FULL:
                return _Found(match, child_scope, operation)
            if match is Match.PARTIAL and partial is None:
                partial = _Found(match, child_scope, operation)
        return partial

    def _operations(self, app: FastAPI) -> dict[str, list[_Operation]]:
        own = {id(one.original_route) for one in iter_route_contexts(self.routes)}
        by_word: dict[str, list[_Operation]] = {}
        for one in iter_route_contexts(app.routes):
            if id(one.original_route) in own and isinstance(one.original_route, APIRoute):
                operation = _Operation(one, _query_names(one.original_route))
                by_word.setdefault(self._word(one.path_format or ""), []).append(operation)
        return by_word

    def _word(self, path: str) -> str:
        return path[len(self.prefix) + 1 :].partition("/")[0] if path.startswith(self.prefix) else ""

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope)
        scheme, token = get_authorization_scheme_param(request.headers.get("Authorization"))
        await authenticate(
            request,
            token if scheme.lower() == "bearer" else None,
            "Send a valid token as `Authorization: Bearer …`: one that an admin made at "
            "/api/v1/tokens, or the admin token (NORTHING_ADMIN_TOKEN, or printed at the first start).",
            "Bearer",
        )
        receive_some = bounded(request.headers, receive, self.largest_body)
        found: _Found = scope[_FOUND]
        if found.match is not Match.FULL:  # FastAPI refuses the method
            await super().handle(scope, receive_some, send)
            return
        route = found.operation.route
        scope.update(found.child_scope, route=route.original_route)
        await route.app(scope, receive_some, send)


def _query_names(route: APIRoute) -> frozenset[str]:
    names: set[str] = set()
    waiting = [route.dependant]
    while waiting:
        dependant = waiting.pop()
        waiting += dependant.dependencies
        for parameter in dependant.query_params:
            kind = parameter.field_info.annotation
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                names.update(kind.model_fields)
            else:
                names.add(parameter.alias)
    return frozenset(names)


class OperationChecks(HTTPBearer):
    """A dependency of each operation: its role, and the names in its query. FastAPI says in the OpenAPI
    document that it needs a token. One dependency, for each takes FastAPI as long as what is checked."""

    def __init__(self) -> None:
        super().__init__(
            scheme_name="HTTPBearer", auto_error=False, description="An API token, or the admin token."
        )

    async def __call__(self, request: HTTPConnection) -> None:
        """Raises a problem of 403 where the operation needs a higher role than the caller's; of 422 for a
        query parameter that it does not have, and for U+0000, which cannot be stored."""
        scope, caller = request.scope, request.state.caller
        assert isinstance(caller, Caller)
        _check_role(caller, role_for(scope["method"], scope["route"].path_format))
        found: _Found = scope[_FOUND]
        _check_parameters(request, found.operation.parameters)


def _check_role(caller: Caller, needed: Role) -> None:
    if not caller.may(needed):
        raise Problem(
            403, f"This needs the role `{needed}`, and the token's is `{caller.role}`; ask an admin for one."
        )


def _check_parameters(request: HTTPConnection, known: frozenset[str]) -> None:
    unknown = [name for name in request.query_params if name not in known]
    if unknown:
        hint = f"known here: {', '.join(sorted(known))}" if known else "this call takes none"
        raise Problem(
            422,
            f"Unknown query parameter {unknown[0]!r}; {hint}.",
            errors=[(name, f"is not a query parameter here; {hint}") for name in unknown],
        )
    for name, value in (*request.query_params.multi_items(), *request.path_params.items()):
        if "\x00" in str(value):
            raise Problem(422, f"{name}: must not hold U+0000", errors=[(name, "must not hold U+0000")])
