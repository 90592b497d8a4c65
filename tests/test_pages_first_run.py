"""The page that greets where little is yet, and the line that each page has while the demo's company is
loaded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from app.demo_company.loader import STEPS, DemoCompany
from app.runtime import Runtime
from mappings import demo_company
from tests.support.clock import Clock
from tests.support.goals_api import send
from tests.support.pages import Visitor, forms_of, visiting, words_of
from tests.support.world import World

WHO = "admin token"


@pytest.fixture
def company(application: FastAPI, runtime: Runtime) -> DemoCompany:
    """With it nothing happens once it is there."""

    async def nothing_more(*_: object) -> None:
        return None

    made = DemoCompany(application, lambda: runtime, nothing_more)
    made.has_worker = True
    application.state.demo_company = made
    return made


@pytest.fixture
async def visitor(company: DemoCompany, application: FastAPI) -> AsyncIterator[Visitor]:
    async with visiting(application) as made:
        await made.sign_in()
        yield made


async def test_an_empty_installation_greets_with_three_steps(visitor: Visitor) -> None:
    html = await visitor.get("/")
    assert "Three steps to your first report" in words_of(html)
    for target in ("/sources/new?kind=jira", "/sources/new?kind=github", "/import", "/goals?add=objective"):
        assert f'href="{target}"' in html
    assert html.count('aria-current="step"') == 1
    assert "with 60 epics and 11 key results" in words_of(html)
    assert ("do", "load") in [button for form in forms_of(html) for button in form.buttons]


async def test_the_steps_left_stand_above_the_overview_until_all_are_done(
    api: httpx.AsyncClient, world: World, visitor: Visitor
) -> None:
    await world.goal("KR-1")
    words = words_of(await visitor.get("/"))
    assert "Connect Jira or GitHub : there are goals, and no epics yet" in words
    assert "Load the demo company" not in words
    await world.connect_jira(schedule={"every": None, "full": None})
    assert "The epics are not read yet." in words_of(await visitor.get("/"))
    await world.sync("jira", "full")
    assert "Before these figures say much" not in words_of(await visitor.get("/"))


@pytest.mark.parametrize(
    ("role", "words", "may"),
    [
        ("viewer", "An editor adds goals. You are signed in as a viewer", []),
        ("editor", "An admin connects trackers. You are signed in as an editor", ['href="/import"']),
    ],
)
async def test_others_see_what_they_may_do_and_whom_to_ask(
    api: httpx.AsyncClient, application: FastAPI, visitor: Visitor, role: str, words: str, may: list[str]
) -> None:
    token = (await send(api, "POST", "/tokens", {"name": role, "role": role}, 201))["token"]
    async with visiting(application) as somebody:
        await somebody.sign_in(token)
        html = await somebody.get("/")
        assert words in words_of(html)
        assert "An admin can load it." in words_of(html)
        assert all(link in html for link in may)
        assert "/sources/new" not in html
        await somebody.send("/", {"do": "load"}, expect=403)


async def until_state(visitor: Visitor, words: str) -> str:
    async with asyncio.timeout(60):
        while words not in (html := await visitor.get("/")):
            await asyncio.sleep(0.1)
    return html


async def test_one_click_loads_the_company_and_one_removes_it(
    api: httpx.AsyncClient, visitor: Visitor, runtime: Runtime, company: DemoCompany
) -> None:
    assert (await visitor.http.post("/", data={"do": "load"})).status_code == 403  # forged
    await visitor.send("/", {"do": "load"})
    html = await visitor.get("/")
    assert "The demo company is being loaded" in html
    assert f'max="{STEPS}"' in html
    assert 'data-follow="1"' in html
    await visitor.send("/", {"do": "load"})  # a second click
    await until_state(visitor, "This is Acme, the made-up company of the demo.")
    epics = await visitor.get("/import")  # as any page
    assert "This is Acme, the made-up company of the demo." in epics
    assert (await visitor.send("/", {"do": "nothing"}, expect=422)).status_code == 422
    await visitor.send("/import", {"do": "remove"}, to="/")
    html = await visitor.get("/")
    assert "The demo company is removed" in words_of(html)
    assert "Three steps" in html
    assert (await send(api, "GET", "/objectives"))["items"] == []


async def test_what_hangs_on_it_is_shown_and_nothing_is_removed(
    api: httpx.AsyncClient, visitor: Visitor, runtime: Runtime, company: DemoCompany, clock: Clock
) -> None:
    async with runtime.transaction(WHO) as session:
        await demo_company.begin_loading(session, "killed", WHO, await runtime.now(session))
    await send(api, "POST", "/objectives", {"key": "O-1", "title": "Made up"}, 201)
    await send(api, "POST", "/objectives/O-1/key-results", {"key": "KR-7", "title": "Mine"}, 201)
    async with runtime.sessions.begin() as session:
        await demo_company.note_made(session, "killed", "objective", "O-1")
    html = await visitor.get("/")
    assert "The demo company is being loaded" in html
    clock.advance(minutes=1)
    html = await visitor.get("/")
    assert "Loading the demo company was cut short" in html
    assert "data-follow" not in html
    answer = await visitor.send("/", {"do": "remove"}, expect=409)
    assert "Key result KR-7 is under O-1." in words_of(answer.text)
    assert (await send(api, "GET", "/objectives/O-1"))["key"] == "O-1"
    await send(api, "DELETE", "/key-results/KR-7", None, 204)
    await visitor.send("/", {"do": "remove"})
    assert (await send(api, "GET", "/objectives"))["items"] == []


async def test_where_it_cannot_be_loaded_the_page_says_why(
    api: httpx.AsyncClient, visitor: Visitor, company: DemoCompany
) -> None:
    company.has_worker = False
    html = await visitor.get("/")
    assert "does its own jobs" in html
    assert ("do", "load") not in [button for form in forms_of(html) for button in form.buttons]
    refused = await visitor.send("/", {"do": "load"}, expect=409)
    assert "does its own jobs" in refused.text
