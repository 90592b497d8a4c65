"""What holds for every page: who may open it, whose forms it takes, and what it escapes."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts

from app.runtime import Runtime
from app.web.site import router as site
from mappings.retention import delete_expired
from tests.support.clock import Clock
from tests.support.pages import Visitor, forms_of, visiting, words_of
from tests.support.queries import all_of
from tests.support.world import World

HOSTILE = '<script>alert("x")</script> & co'
EPIC = "/epics/github/acme/shop%231"


@pytest.fixture
async def visitor(application: FastAPI) -> AsyncIterator[Visitor]:
    async with visiting(application) as somebody:
        yield somebody


async def test_page_says_why_and_escapes(world: World, visitor: Visitor) -> None:
    world.host.create("acme/shop", HOSTILE, labels=["epic"])
    await world.connect_github(scope={"repositories": ["acme/shop"]})
    await world.sync("github")
    await visitor.sign_in()
    page = await visitor.get(EPIC)
    assert "No key result is linked." in page
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


async def test_a_page_needs_a_session_and_the_login_leads_back_to_it(world: World, visitor: Visitor) -> None:
    world.host.create("acme/shop", "An epic", labels=["epic"])
    await world.connect_github(scope={"repositories": ["acme/shop"]})
    await world.sync("github")
    answer = await visitor.http.get(f"{EPIC}?a=1")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/login?next=%2Fepics%2Fgithub%2Facme%2Fshop%25231%3Fa%3D1"
    (form,) = forms_of(await visitor.get(answer.headers["location"]))
    token = world.api.headers["Authorization"].removeprefix("Bearer ")
    signed_in = await visitor.http.post("/login", data={**form.fields, "token": token})
    assert signed_in.headers["location"] == f"{EPIC}?a=1"
    await visitor.get(EPIC)


@pytest.mark.parametrize("role", ["viewer", "editor", "admin"])
async def test_a_session_ends_with_its_token(world: World, visitor: Visitor, role: str) -> None:
    made = await world.send("POST", "/tokens", {"name": role, "role": role})
    await visitor.sign_in(made["token"])
    await visitor.get("/")
    await world.send("DELETE", f"/tokens/{made['id']}")
    await visitor.get("/", expect=303)


async def test_a_session_ends_after_an_hour_without_a_request_and_after_twelve(
    visitor: Visitor, clock: Clock
) -> None:
    await visitor.sign_in()
    clock.advance(minutes=59)
    await visitor.get("/")
    clock.advance(minutes=61)
    await visitor.get("/", expect=303)
    await visitor.sign_in()
    for _ in range(12):
        await visitor.get("/")
        clock.advance(minutes=59)
    await visitor.get("/")
    clock.advance(minutes=12)
    await visitor.get("/", expect=303)


async def test_signing_out_ends_the_session_and_not_only_the_cookie(visitor: Visitor) -> None:
    await visitor.sign_in()
    value = visitor.http.cookies["northing_session"]
    await visitor.send("/", to="/logout")
    assert "northing_session" not in visitor.http.cookies
    visitor.http.cookies.set("northing_session", value)
    await visitor.get("/", expect=303)


async def test_a_form_from_elsewhere_is_refused(visitor: Visitor) -> None:
    await visitor.sign_in()
    for sent in ({}, {"_token": "x"}, {"_token": "ä"}):
        assert (await visitor.http.post("/logout", data=sent)).status_code == 403
    assert (await visitor.http.post("/login", data={"token": "x", "_token": "x"})).status_code == 403
    await visitor.get("/")
    # From another site the browser sends no cookie, and would lose it by this answer.
    visitor.http.cookies.clear()
    answer = await visitor.http.post("/logout")
    assert (answer.status_code, answer.headers.get("set-cookie")) == (303, None)


async def test_a_wrong_token_is_said_in_the_form(visitor: Visitor) -> None:
    (form,) = forms_of(await visitor.get("/login"))
    answer = await visitor.http.post("/login", data={**form.fields, "token": "wrong"})
    assert answer.status_code == 401
    assert "No such token" in answer.text
    assert "northing_session" not in visitor.http.cookies


@pytest.mark.parametrize("next", ["https://evil.example", "//evil.example", "/\\evil.example", "%09//x", ""])
async def test_the_login_leads_to_this_host_alone(visitor: Visitor, next: str) -> None:
    assert (await visitor.sign_in(next=next)).headers["location"] == "/"


async def test_an_unknown_address_is_a_page_for_a_browser_and_a_problem_for_a_program(
    visitor: Visitor,
) -> None:
    page = await visitor.http.get("/nowhere", headers={"Accept": "text/html,*/*;q=0.8"})
    assert (page.status_code, page.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "To the overview" in words_of(page.text)
    problem = await visitor.http.get("/api/v1/nowhere", headers={"Accept": "text/html"})
    assert problem.headers["content-type"] == "application/problem+json"


async def test_page_of_an_unknown_epic(world: World, visitor: Visitor) -> None:
    await world.connect_github(scope={"repositories": ["acme/shop"]})
    await visitor.sign_in()
    assert "acme/shop#9" in await visitor.get("/epics/github/acme%2Fshop%239", expect=404)


async def test_stylesheet_is_served(world: World) -> None:
    answer = await world.api.get("/static/northing.css")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/css; charset=utf-8")


async def test_no_page_may_be_framed_or_runs_what_it_does_not_bring(visitor: Visitor) -> None:
    policy = (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    asked = [visitor.http.get(path) for path in ("/login", "/why/x", "/nowhere")]
    answers = [await each for each in asked]
    await visitor.sign_in()
    answers += [await visitor.http.get(path) for path in ("/", "/tokens", "/audit-log", "/epics/x/Y-1")]
    for answer in answers:
        if not answer.headers["content-type"].startswith("text/html"):
            continue
        headers = {name: answer.headers[name] for name in ("content-security-policy", "cache-control")}
        assert headers == {"content-security-policy": policy, "cache-control": "no-store"}, answer.url
        assert re.findall(r"<style|<script>|\son\w+=|\sstyle=|javascript:|https?://", answer.text) == []
    assert len([answer for answer in answers if "html" in answer.headers["content-type"]]) >= 6


async def test_sessions_that_are_over_are_deleted(
    application: FastAPI, runtime: Runtime, visitor: Visitor, clock: Clock
) -> None:
    async with visiting(application) as another:
        await another.sign_in()
        clock.advance(minutes=61)
        await visitor.sign_in()
    first = await all_of(runtime, "SELECT id FROM web_sessions")
    assert len(first) == 1  # the other one was idle
    clock.advance(hours=11, minutes=59)
    for seconds, left in ((0, 1), (60, 0)):
        clock.advance(seconds=seconds)
        async with runtime.sessions.begin() as session:
            await delete_expired(session, clock())
        assert len(await all_of(runtime, "SELECT id FROM web_sessions")) == left


def _routes() -> Iterator[APIRoute]:
    for context in iter_route_contexts(site.routes):
        assert isinstance(context.route, APIRoute)
        yield context.route


def test_every_page_and_form_names_the_operation_whose_role_it_needs() -> None:
    """But for the undoing of what the person did themselves, which its operation guards."""
    lacking = [
        route.path
        for route in _routes()
        if not any("needs" in getattr(needed.dependency, "__qualname__", "") for needed in route.dependencies)
    ]
    assert lacking == []
