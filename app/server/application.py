"""The web application: routes, errors, and what OpenAPI says of them."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from fastapi.responses import JSONResponse, Response
from fastapi_offline import FastAPIOffline
from starlette.routing import Route

from app.api import (
    agreements,
    audit_log,
    check_ins,
    conflicts,
    criteria,
    cycles,
    decisions,
    deliveries,
    epic_values,
    epics,
    estimates,
    files,
    findings,
    health,
    key_results,
    links,
    links_bulk,
    metrics,
    notices,
    objectives,
    policy,
    problems,
    report_allocation,
    report_audit,
    report_outcomes,
    report_priorities,
    report_roadmap,
    reports,
    reviews,
    rule_preview,
    rules,
    runs,
    sources,
    stages,
    suggestions,
    tokens,
    webhooks,
)
from app.api.deps import response_headers
from app.api.guard import GuardedRouter, OperationChecks
from app.api.problems import error_responses
from app.auth.authenticator import Authenticator
from app.auth.oidc import Provider
from app.auth.provider_sessions import ProviderSessions
from app.auth.rate_limit import Visits
from app.base_path import BasePath
from app.demo_company.loader import DemoCompany
from app.metrics.collector import Metrics, RequestTimer, templates_of
from app.web import errors as error_pages, login, oidc, site, templating, why
from app.web.headers import Headers
from mappings.leases import ALWAYS_DUE

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

    from fastapi.responses import HTMLResponse

    from app.runtime import Runtime
    from app.webhooks.door import Intake

DESCRIPTION = """
Northing links every epic in Jira and GitHub to a key result, and says so on the ticket, once, when
the link is missing.

Every call of `/api/v1` needs `Authorization: Bearer …`. The token's role says what it may do: `viewer`,
`editor` or `admin`. Errors are RFC 9457 problem documents.
Times are RFC 3339 in UTC. Lists answer `items` and `next`; send `next` as `cursor` for more.
"""


DOCS_FILES = "/static-offline-docs"  # where FastAPIOffline mounts them


def create_app(runtime: Runtime, intake: Intake, admin_token_hash: bytes) -> FastAPI:
    """The application around a runtime that is ready to use."""
    # FastAPIOffline serves the documentation page's script from an installed package, not from a CDN. The
    # page itself is ours: its own names an address, for a login that we do not have, without the base path.
    app = FastAPIOffline(
        title="Northing", version=version("northing"), description=DESCRIPTION, docs_url=None, redoc_url=None
    )
    app.state.runtime = runtime
    app.state.intake = intake
    app.state.uploads = files.FileUploads()
    app.state.authenticator = Authenticator(admin_token_hash)
    app.state.visits = Visits(runtime.clock.running_from(ALWAYS_DUE))
    app.state.provider_sessions = provider_sessions(runtime)
    app.state.metrics = Metrics()
    app.state.demo_company = DemoCompany(app, lambda: app.state.runtime)
    app.add_middleware(Headers)
    app.add_middleware(RequestTimer, metrics=app.state.metrics, templates=partial(templates_of, app))
    app.add_middleware(BasePath, public_base=lambda: app.state.runtime.settings.base_path)
    problems.install(app, error_pages)
    _describe_problems(app)
    # First, and outside any router: routes are tried in turn, and webhooks need the fastest answer.
    app.router.routes[:0] = [webhooks.ReceivingRoute(), *webhooks.router.routes]
    app.include_router(health.router)
    app.include_router(metrics.router)
    app.include_router(_api(links_bulk.BulkRouter, (links_bulk,)))
    app.include_router(_api(files.FilesRouter, (files,)))
    app.include_router(_api(GuardedRouter, _MODULES))
    app.include_router(why.router)
    app.include_router(login.router)
    app.include_router(oidc.router)
    app.include_router(site.router)
    app.mount("/static", templating.static)
    app.add_route("/docs", _docs, include_in_schema=False)
    app.state.encoded_openapi = {}
    app.router.routes[:0] = [
        Route("/openapi.json", _openapi, include_in_schema=False)
    ]  # instead of FastAPI's
    return app


def provider_sessions(runtime: Runtime) -> ProviderSessions:
    """With the OpenID provider of the settings, where they name one."""
    if runtime.settings.oidc_issuer is None:
        return ProviderSessions(None)
    time = runtime.clock.running_from(ALWAYS_DUE)
    return ProviderSessions(Provider(runtime.settings, runtime.network, time))


async def _openapi(request: Request) -> Response:
    """The API's document, encoded once for each base path: anybody may ask for it, as often as they like, and
    nothing else is answered while it is encoded."""
    base = request.scope.get("root_path", "").rstrip("/")
    encoded: dict[str, bytes] = request.app.state.encoded_openapi
    if base not in encoded:
        document = request.app.openapi()
        encoded[base] = bytes(
            JSONResponse({**document, "servers": [{"url": base}]} if base else document).body
        )
    return Response(encoded[base], media_type="application/json")


async def _docs(request: Request) -> HTMLResponse:
    base = request.scope.get("root_path", "")
    return get_swagger_ui_html(
        openapi_url=f"{base}/openapi.json",
        title="Northing - Swagger UI",
        swagger_js_url=f"{base}{DOCS_FILES}/swagger-ui-bundle.js",
        swagger_css_url=f"{base}{DOCS_FILES}/swagger-ui.css",
        swagger_favicon_url=f"{base}{DOCS_FILES}/favicon.png",
    )


def _describe_problems(app: FastAPI) -> None:
    """Add the schema of problem documents by hand: FastAPI knows models of `application/json` only."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        document = generate()
        schema = problems.ProblemDocument.model_json_schema(ref_template="#/components/schemas/{model}")
        schemas = document.setdefault("components", {}).setdefault("schemas", {})
        schemas.update(schema.pop("$defs"))
        schemas["ProblemDocument"] = schema
        return document

    app.openapi = openapi  # type: ignore[method-assign]


_MODULES: tuple[ModuleType, ...] = (
    sources,
    runs,
    cycles,
    objectives,
    key_results,
    agreements,
    check_ins,
    rules,
    rule_preview,
    links,
    suggestions,  # these before the epics, whose keys may hold anything
    epic_values,
    stages,
    criteria,
    estimates,
    epics,
    findings,
    notices,
    policy,
    reports,
    report_roadmap,
    report_allocation,
    report_priorities,
    report_outcomes,
    report_audit,
    conflicts,
    reviews,
    decisions,
    deliveries,
    tokens,
    audit_log,
)


def _api(kind: type[GuardedRouter], modules: Iterable[ModuleType]) -> APIRouter:
    refusals = error_responses(401, 403, 408, 413, 422, 429, 503)
    for status in (429, 503):
        refusals[status] |= response_headers(status, "Retry-After")[status]
    api = kind(
        prefix="/api/v1",
        dependencies=[Depends(OperationChecks())],
        responses=refusals,
    )
    for module in modules:
        api.include_router(module.router)
    return api
