"""Errors are pages for people, each with the way on; and what a role may not do, no page does."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from sqlalchemy import text

from app.auth.roles import OPERATIONS, Role, role_for
from app.runtime import Runtime
from app.web.site import router as site
from mappings.tables import ROLES
from tests.support.clock import Clock
from tests.support.pages import Visitor, forms_of, served, visiting, words_of
from tests.support.world import World

BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}


@pytest.fixture
async def visitor(application: FastAPI) -> AsyncIterator[Visitor]:
    async with visiting(application) as somebody:
        somebody.http.headers.update(BROWSER)
        yield somebody


async def with_role(world: World, visitor: Visitor, role: Role) -> None:
    made = await world.send("POST", "/tokens", {"name": role, "role": role})
    await visitor.sign_in(made["token"])


# --- each error -------------------------------------------------------------------------------------


async def test_an_unknown_address_has_the_header_of_whoever_is_signed_in(visitor: Visitor) -> None:
    stranger = await visitor.get("/nowhere", expect=404)
    assert "/docs" not in words_of(stranger)
    assert [link in stranger for link in ('href="/login"', 'href="/"', "<nav")] == [True, True, False]
    await visitor.sign_in()
    page = await visitor.get("/nowhere/<script>", expect=404)
    assert 'aria-label="Main"' in page
    assert "There is nothing here" in words_of(page)
    assert "<script>" not in page.replace("<script type", "").replace("<script src", "")
    assert any(form.action == "/logout" for form in forms_of(page))


async def test_an_epic_that_is_gone_says_what_it_was(world: World, visitor: Visitor) -> None:
    await world.goal("KR-1", "Checkout conversion")
    world.host.create("acme/shop", "<b>Gift lists</b>", labels=["epic"])
    await world.connect_github(scope={"repositories": ["acme/shop"]})
    await world.sync("github")
    epic = {"source": "github", "key": "acme/shop#1"}
    await world.send("POST", "/links", {"epic": epic, "key_result": "KR-1"})
    world.host.delete("acme/shop#1")
    await world.sync("github", "full")
    await visitor.sign_in()
    page = await visitor.get("/epics/github/acme%2Fshop%231", expect=404)
    for words in (
        "acme/shop#1 is no longer here",
        "was deleted in the tracker, or is no longer visible",
        "&lt;b&gt;Gift lists&lt;/b&gt;",
        "KR-1",
        'href="/epics?q=acme%2Fshop%231"',
    ):
        assert words in page, words
    never = await visitor.get("/epics/github/acme%2Fshop%239", expect=404)
    assert "What it was" not in never
    assert "Search for acme/shop#9" in never
    await visitor.get("/epics/nobody/X-1", expect=404)
    await visitor.get("/epics/github/a%00b", expect=422)


async def test_a_lapsed_session_and_a_form_of_before_lead_back(visitor: Visitor, clock: Clock) -> None:
    await visitor.sign_in()
    (form, *_) = [form for form in forms_of(await visitor.get("/tokens?a=1")) if form.action == "/tokens"]
    clock.advance(hours=2)
    lapsed = await visitor.http.post("/tokens?a=1", data={**form.fields, "do": "make"})
    assert (lapsed.status_code, lapsed.headers["location"]) == (303, "/login?next=%2Ftokens%3Fa%3D1")
    await visitor.sign_in()
    stale = await visitor.http.post("/tokens?a=1", data={**form.fields, "do": "make"})
    assert stale.status_code == 403
    assert "reload the page" in words_of(stale.text)
    assert 'href="/tokens?a=1"' in stale.text
    await visitor.get("/logout", expect=303)


async def test_a_body_that_is_too_large_or_no_form(visitor: Visitor) -> None:
    for path in ("/login", "/tokens", "/logout"):
        if path == "/tokens":
            await visitor.sign_in()
        large = await visitor.http.post(path, data={"token": "x" * 2_000_000})
        assert large.status_code == 413
        assert "This is too large" in words_of(large.text), path
        nul = await visitor.http.post(path, content=b"_token=%00", headers={"content-type": FORM})
        assert nul.status_code == 422, path
        broken = await visitor.http.post(
            path, content=b"--x", headers={"content-type": "multipart/form-data; boundary=y"}
        )
        assert broken.status_code in (400, 403), path


FORM = "application/x-www-form-urlencoded"


async def test_methods_that_a_page_does_not_have(application: FastAPI, visitor: Visitor) -> None:
    await visitor.sign_in()
    for path, allowed in (("/tokens", "GET, POST"), ("/login", "GET, POST"), ("/logout", "GET, POST")):
        answer = await visitor.http.delete(path)
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed), path
        assert "Nothing can be sent here this way" in words_of(answer.text)


async def test_head_is_get_without_the_page(application: FastAPI, visitor: Visitor) -> None:
    async with served(application) as url, visiting(application, url) as other:
        signed_in = await other.sign_in()
        cookie = signed_in.headers["set-cookie"].partition(";")[0]
        async with httpx.AsyncClient(base_url=url) as http:
            for path, status in (("/login", 200), ("/", 303), ("/tokens", 303), ("/why/x", 404)):
                answer = await http.head(path)
                assert (answer.status_code, answer.content) == (status, b""), path
            for path, status in (("/", 200), ("/tokens", 200), ("/epics/x/Y-1", 404)):
                answer = await http.head(path, headers={"Cookie": cookie})
                assert (answer.status_code, answer.content) == (status, b""), path
                assert (await http.get(path, headers={"Cookie": cookie})).status_code == status


async def test_no_right_says_who_can_give_it(world: World, visitor: Visitor) -> None:
    await with_role(world, visitor, "viewer")
    page = words_of(await visitor.get("/audit-log", expect=403))
    assert "needs the role admin, and you are signed in as viewer. An admin can give you" in page
    assert "Tokens" not in page


async def test_while_the_database_is_away_a_page_tries_again_by_itself(
    application: FastAPI, runtime: Runtime, visitor: Visitor
) -> None:
    await visitor.sign_in()
    async with runtime.sessions.begin() as session:
        await session.execute(text("ALTER TABLE web_sessions RENAME TO away"))
        await session.execute(
            text(
                "CREATE FUNCTION stopping() RETURNS bigint LANGUAGE plpgsql AS"
                " $$ BEGIN RAISE EXCEPTION USING ERRCODE = '57P03'; END $$"
            )
        )
        await session.execute(
            text("CREATE VIEW web_sessions AS SELECT stopping() AS x, away.* FROM away WHERE stopping() > 0")
        )
    answer = await visitor.http.get("/tokens?a=1")
    assert (answer.status_code, answer.headers["refresh"]) == (503, answer.headers["retry-after"])
    words = words_of(answer.text)
    assert f"Nothing is lost; this page tries again in {answer.headers['retry-after']} seconds." in words
    assert "<nav" not in answer.text
    assert 'href="/tokens?a=1"' in answer.text
    sent = await visitor.http.post("/tokens", data={"do": "make"})
    assert (sent.status_code, "refresh" in sent.headers) == (503, False)
    assert "What you sent was not stored" in words_of(sent.text)
    unknown = await visitor.http.get("/nowhere")  # which needs no database, but for whose header it is
    assert (unknown.status_code, "<nav" in unknown.text) == (404, False)


# --- roles ------------------------------------------------------------------------------------------


def _posts() -> Iterator[tuple[str, Role]]:
    """The address of each form, with the least role of the operation that it names."""
    for context in iter_route_contexts(site.routes):
        route = context.route
        assert isinstance(route, APIRoute)
        if "POST" not in (route.methods or ()):
            continue
        named = [
            cell.cell_contents
            for needed in route.dependencies
            for cell in getattr(needed.dependency, "__closure__", None) or ()
        ]
        least = [role_for(*one.split(" ", 1)) for one in named if isinstance(one, str)]
        # A form of many buttons names an operation for each, and all of them are asked.
        yield str(context.path), max(least, key=ROLES.index)


async def test_no_form_does_more_than_the_role_allows(world: World, visitor: Visitor) -> None:
    """Whatever its fields are: the role is looked at before them."""
    posts = sorted(set(_posts()))
    assert ("/tokens", "admin") in posts
    for role in ("viewer", "editor"):
        await with_role(world, visitor, role)
        token = next(f.fields["_token"] for f in forms_of(await visitor.get("/")) if "_token" in f.fields)
        for path, least in posts:
            if ROLES.index(role) >= ROLES.index(least):
                continue
            answer = await visitor.http.post(re.sub(r"{.*?}", "1", path), data={"_token": token})
            assert answer.status_code == 403, (role, path)
            assert f"needs the role {least}" in words_of(answer.text), (role, path)
        await visitor.send("/", to="/logout")


@pytest.mark.parametrize(("role", "shown"), [("viewer", False), ("editor", False), ("admin", True)])
async def test_what_a_role_may_not_do_is_not_offered(
    world: World, visitor: Visitor, role: Role, shown: bool
) -> None:
    await with_role(world, visitor, role)
    page = await visitor.get("/")
    for path in ("/tokens", "/audit-log"):
        assert OPERATIONS[path]["GET"] == "admin"
        assert (f'href="{path}"' in page) == shown
        await visitor.get(path, expect=200 if shown else 403)
