"""What pages for people share, and the epic's page, which is behind the login."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Depends, Request
from fastapi.responses import HTMLResponse
from fastapi.security import HTTPBasic, HTTPBasicCredentials
from fastapi.staticfiles import StaticFiles
from fastapi.templating import Jinja2Templates

from app.api.deps import RuntimeDep, SessionDep, authenticate
from app.api.epics import whole_epic
from connectors.markup import web_url
from mappings.lookups import source_at

if TYPE_CHECKING:
    pass

HERE = Path(str(files("app.web")))
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
    "Cache-Control": "no-store",
}

router = APIRouter(include_in_schema=False)
templates = Jinja2Templates(
    HERE / "templates", context_processors=[lambda request: {"base": request.scope.get("root_path", "")}]
)
templates.env.filters["web_url"] = web_url
static = StaticFiles(directory=HERE / "static")
_basic = HTTPBasic(auto_error=False)


async def require_token(
    request: Request, given: Annotated[HTTPBasicCredentials | None, Depends(_basic)]
) -> None:
    """The browser asks for a name, which may be anything, and a password, which is a token of any role."""
    await authenticate(
        request,
        None if given is None else given.password,
        "Reload the page and give any name, and a token of Northing as the password.",
        'Basic realm="Northing: any name, then the token"',
    )


@router.get("/epics/{source}/{key:path}", dependencies=[Depends(require_token)])
async def epic_page(
    source: str, key: str, request: Request, runtime: RuntimeDep, session: SessionDep
) -> HTMLResponse:
    epic = await whole_epic(runtime, session, await source_at(session, source), key)
    return templates.TemplateResponse(request, "epic.html", {"epic": epic}, headers=HEADERS)
