"""Pages without a browser: signing in, reading what a page shows, and sending its forms."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from html.parser import HTMLParser
from typing import Any

import httpx
from starlette.types import ASGIApp
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

from tests.support.world import ADMIN_TOKEN


@dataclass
class FormOnPage:
    """`fields`: what a browser would send, without the buttons; `buttons`: the name and value of each."""

    action: str
    method: str
    fields: dict[str, str] = field(default_factory=dict)
    buttons: list[tuple[str, str]] = field(default_factory=list)


class _Forms(HTMLParser):
    """Reads the forms of a page; of a list of choices the one that is chosen, else the first."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[FormOnPage] = []
        self._by_id: dict[str, FormOnPage] = {}
        self._open: FormOnPage | None = None
        self._select = self._textarea = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        has = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._open = FormOnPage(has.get("action", ""), has.get("method", "get").lower())
            self.found.append(self._open)
            self._by_id[has.get("id", "")] = self._open
        form = self._by_id.get(has["form"]) if has.get("form") else self._open
        if form is None:
            return
        name = has.get("name", "")
        if tag == "button":
            form.buttons.append((name, has.get("value", "")))
        elif tag == "select":
            self._select = name
        elif tag == "option" and self._select and ("selected" in has or self._select not in form.fields):
            form.fields[self._select] = has.get("value", "")
        elif tag == "textarea":
            self._textarea, form.fields[name] = name, ""
        elif tag == "input" and name:
            ticked = has.get("type") not in ("checkbox", "radio") or "checked" in has
            if ticked and has.get("type") not in ("submit", "file"):
                form.fields[name] = has.get("value", "on" if has.get("type") == "checkbox" else "")

    def handle_data(self, data: str) -> None:
        if self._textarea and self._open is not None:
            self._open.fields[self._textarea] += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = None
        elif tag == "select":
            self._select = ""
        elif tag == "textarea":
            self._textarea = ""


def forms_of(html: str) -> list[FormOnPage]:
    parser = _Forms()
    parser.feed(html)
    return parser.found


def words_of(html: str) -> str:
    """The text of a page, without tags, its blanks as one each."""
    return " ".join(re.sub(r"<(script|style)\b.*?</\1>|<[^>]*>", " ", html, flags=re.DOTALL).split())


@dataclass
class Visitor:
    """A person with a browser that runs no script."""

    http: httpx.AsyncClient

    async def get(self, path: str, expect: int = 200) -> str:
        answer = await self.http.get(path)
        assert answer.status_code == expect, (path, answer.status_code, words_of(answer.text)[:500])
        return answer.text

    async def send(
        self,
        path: str,
        values: Mapping[str, Any] | None = None,
        *,
        to: str | None = None,
        files: Any = None,
        expect: int = 303,
    ) -> httpx.Response:
        """Post a form of the page at `path`, with the token that the page has. `to`: the form's action, where
        it is another address."""
        page = await self.get(path)
        tokens = [form.fields["_token"] for form in forms_of(page) if "_token" in form.fields]
        assert tokens, f"{path} has no form"
        answer = await self.http.post(to or path, data={"_token": tokens[0], **(values or {})}, files=files)
        assert answer.status_code == expect, (path, answer.status_code, words_of(answer.text)[:500])
        return answer

    async def sign_in(self, token: str = ADMIN_TOKEN, next: str = "/") -> httpx.Response:
        (form,) = forms_of(await self.get(f"/login?next={next}"))
        answer = await self.http.post("/login", data={**form.fields, "token": token})
        assert answer.status_code == 303, words_of(answer.text)
        return answer


@asynccontextmanager
async def visiting(app: ASGIApp, address: str = "http://127.0.0.1:8000") -> AsyncIterator[Visitor]:
    """Nobody is signed in yet."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=address) as http:
        yield Visitor(http)


@asynccontextmanager
async def served(app: ASGIApp) -> AsyncIterator[str]:
    """The application on a free port of this machine, in this event loop; its address."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    config = Config(app, lifespan="off", log_config=None, ws="none", interface="asgi3")
    config.load()
    state = ServerState()
    server = await asyncio.get_running_loop().create_server(
        lambda: HttpToolsProtocol(config=config, server_state=state, app_state={}), sock=listener
    )
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.close()
        for connection in list(state.connections):
            if connection.transport is not None:
                connection.transport.abort()
        if state.tasks:
            await asyncio.wait(state.tasks, timeout=5)
        await server.wait_closed()
