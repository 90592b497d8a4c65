"""The web application: routes, errors, and what OpenAPI says of them."""

from __future__ import annotations

from importlib.metadata import version
from types import ModuleType
from typing import Any

from fastapi import APIRouter, Depends, FastAPI
from fastapi_offline import FastAPIOffline

from app.api import (
    check_ins,
    cycles,
    epics,
    findings,
    health,
    key_results,
    links,
    notices,
    objectives,
    policy,
    problems,
    rules,
    runs,
    sources,
)
from app.api.deps import refuse_strange_parameters, require_admin
from app.api.problems import answers
from app.runtime import Runtime
from app.web import pages

DESCRIPTION = """
Northing ties every epic in Jira and GitHub to a key result, and says so on the ticket, once, when
the tie is missing.

Every call of `/api/v1` needs `Authorization: Bearer …`. Errors are RFC 9457 problem documents.
Times are RFC 3339 in UTC. Lists answer `items` and `next`; send `next` as `cursor` for more.
"""


def create_app(runtime: Runtime, admin_token_hash: bytes) -> FastAPI:
    """The application around a runtime that is ready to use."""
    # Its documentation page takes the script from an installed package, not from a CDN.
    app = FastAPIOffline(
        title="Northing",
        version=version("northing"),
        description=DESCRIPTION,
        docs_url="/docs",
        redoc_url=None,
    )
    app.state.runtime = runtime
    app.state.admin_token_hash = admin_token_hash
    problems.install(app)
    _describe_problems(app)
    app.include_router(health.router)
    app.include_router(_api())
    app.include_router(pages.router)
    app.mount("/static", pages.static)
    return app


def _describe_problems(app: FastAPI) -> None:
    """FastAPI knows models of `application/json` only, so the schema of the other is put in by hand."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        schema = problems.ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schemas.update(schema.pop("$defs"))
        schemas["ProblemDocument"] = schema
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _api() -> APIRouter:
    api = APIRouter(
        prefix="/api/v1",
        dependencies=[Depends(require_admin), Depends(refuse_strange_parameters)],
        responses=answers(401, 422),
    )
    modules: tuple[ModuleType, ...] = (
        sources,
        runs,
        cycles,
        objectives,
        key_results,
        check_ins,
        rules,
        links,
        epics,
        findings,
        notices,
        policy,
    )
    for module in modules:
        api.include_router(module.router)
    return api
