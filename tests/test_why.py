"""The page behind "Why?": who may open it, what it shows, and that it changes nothing."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from html import unescape
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from hypothesis import given, strategies as st
from sqlalchemy import event, insert, select, update

from app.auth.rate_limit import MOST_VISITS, Visits
from app.runtime import Runtime
from app.why_signature import signed_epic_id, why_signature
from connectors.base import EpicRef, Missing
from mappings.notices.text import waive_line
from mappings.tables import (
    EpicRow,
    FindingRow,
    KeyResultRow,
    ObjectiveRow,
    SourceProjectRow,
    SourceRow,
)
from mappings.why.choices import MOST_LISTED, ON_A_PAGE, choices
from tests.support.clock import Clock
from tests.support.evaluations import NOW, goal, on
from tests.support.goals_api import send
from tests.support.queries import every_row
from tests.support.stored_epics import evaluate_due_epics, source_with, store, stored_epic

pytestmark = pytest.mark.database

KEY, OTHER_KEY = b"k" * 32, b"o" * 32
HOSTILE = '<script>alert("x")</script> & \u202etxt.exe'
NOT_HERE = "There is nothing here"


# --- the signature ----------------------------------------------------------------------------


@given(st.integers(1, 2**63 - 1))
def test_a_signature_opens_its_epic_by_its_key_alone(epic_id: int) -> None:
    signature = why_signature(KEY, epic_id)
    assert re.fullmatch(r"[A-Za-z0-9_-]{32}", signature)
    assert signed_epic_id(KEY, signature) == epic_id
    assert signed_epic_id(OTHER_KEY, signature) is None


def test_each_byte_of_a_signature_counts() -> None:
    signature = why_signature(KEY, 77)
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for at, right in enumerate(signature):
        for wrong in set(alphabet) - {right}:
            assert signed_epic_id(KEY, signature[:at] + wrong + signature[at + 1 :]) is None


@given(st.text() | st.binary().map(lambda some: some.decode("latin-1")))
def test_whatever_else_is_asked_for_opens_nothing(text: str) -> None:
    signature = why_signature(KEY, 77)
    for tried in (text, signature + text, text + signature, signature[: len(text)]):
        assert signed_epic_id(KEY, tried) in ({77} if tried == signature else {None})


def test_no_row_has_the_id_of_what_cannot_be_read() -> None:
    assert signed_epic_id(KEY, why_signature(KEY, 0)) is None


# --- the limit --------------------------------------------------------------------------------


def test_visits_are_counted_by_address_for_a_minute() -> None:
    clock = Clock(NOW)
    visits = Visits(clock)
    assert [visits.visit("192.0.2.1") for _ in range(MOST_VISITS)] == [0] * MOST_VISITS
    clock.advance(seconds=20)
    assert (visits.visit("192.0.2.1"), visits.visit("192.0.2.2")) == (40, 0)
    clock.advance(seconds=39.5)
    assert visits.visit("192.0.2.1") == 1
    clock.advance(seconds=0.5)
    assert visits.visit("192.0.2.1") == 0


# --- the list ---------------------------------------------------------------------------------


def listed(*goals: Any, public: bool = False, **members: Any) -> list[str]:
    known = {"later": (), "linked": {}, "now": NOW, **members}
    return [one.key for one in choices(goals, ticket_is_public=public, **known).items]


CLOSED = [{"state": "missed"}, {"objective_state": "archived"}, {"cycle_ends": on(15).date()}]


@pytest.mark.parametrize("members", CLOSED)
def test_what_is_over_is_not_listed(members: dict[str, Any]) -> None:
    assert listed(goal(1, **members), goal(2)) == ["KR-2"]


def test_what_the_project_serves_comes_first_then_the_present_cycle() -> None:
    goals = [goal(number) for number in range(1, 7)]
    assert listed(*goals, linked={3: 1, 5: 4, 6: 1}, later={2, 6}) == ["KR-5", "KR-3", "KR-6", "KR-1", "KR-4"]


def test_what_may_not_be_named_is_not_listed_whatever_serves_it() -> None:
    goals = [goal(1, visibility="confidential", public_label="Plan"), goal(2), goal(3, visibility="public")]
    assert listed(*goals, linked={1: 9}) == ["KR-2", "KR-3"]
    assert listed(*goals, linked={1: 9}, public=True) == ["KR-3"]


def test_the_list_is_bounded_and_a_search_reaches_the_rest() -> None:
    goals = [goal(number, title=f"Title {number} of many") for number in range(1, MOST_LISTED + 31)]
    known: dict[str, Any] = {"later": (), "linked": {}, "ticket_is_public": False, "now": NOW}
    pages = [choices(goals, page=page, **known) for page in (0, 1, 2, 5, 9999)]
    assert [(one.page, one.pages, one.left_out) for one in pages] == [
        (number, MOST_LISTED // ON_A_PAGE, 30) for number in (1, 1, 2, 5, 5)
    ]
    assert [len(one.items) for one in pages] == [ON_A_PAGE] * 5
    assert listed(*goals, words="  MANY kr-129 ") == ["KR-129"]
    assert listed(*goals, words="nowhere") == []


# --- the page ---------------------------------------------------------------------------------


@pytest.fixture
def address(runtime: Runtime) -> Callable[[str], Awaitable[str]]:
    """From an epic's key to the path of its page, as the link on its ticket has it."""

    async def of(key: str) -> str:
        async with runtime.sessions() as session:
            row = (await session.scalars(select(EpicRow).where(EpicRow.key == key))).one()
            source = await session.get_one(SourceRow, row.source_id)
            url = runtime.page_urls(source)(row)
        assert url is not None
        return url.removeprefix(runtime.settings.links_base)

    return of


@pytest.fixture
async def stranger(application: FastAPI) -> Any:
    """Somebody without any login."""
    transport = httpx.ASGITransport(application, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://northing") as client:
        yield client


Address = Callable[[str], Awaitable[str]]


async def a_goal(api: httpx.AsyncClient, key: str, title: str, **objective: Any) -> None:
    made = await send(
        api, "POST", "/objectives", {"title": "An objective", "visibility": "public", **objective}, 201
    )
    await send(api, "POST", f"/objectives/{made['key']}/key-results", {"key": key, "title": title}, 201)


async def with_epics(api: httpx.AsyncClient, runtime: Runtime, *epics: Any, grace: str = "PT0S") -> None:
    await send(api, "PATCH", "/policy", {"grace": grace, "since": None})
    await source_with(api, runtime, epics or [stored_epic(1, title="Faster checkout")])
    await evaluate_due_epics(runtime)


def words_of(answer: httpx.Response) -> str:
    inline = re.sub(r"</?(?:bdi|strong|code|time)\b[^>]*>", "", answer.text)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", inline)).split())


async def test_it_needs_no_login_and_says_to_tell_nobody(
    api: httpx.AsyncClient, runtime: Runtime, stranger: httpx.AsyncClient, address: Address
) -> None:
    await a_goal(api, "KR-1", "Checkout conversion to 4 %")
    await a_goal(api, "KR-2", "Search latency")
    await with_epics(api, runtime)
    path = await address("SHOP-1")
    answer = await stranger.get(path)
    assert answer.status_code == 200
    assert 'href="https://t/SHOP-1"' in answer.text
    assert 'value="/northing link KR-1"' in answer.text
    assert "Which key result does this epic serve?" in words_of(answer)
    policy = answer.headers["content-security-policy"]
    assert policy == (
        "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    for one in (answer, await stranger.head(path), await stranger.get("/why/nothing")):
        assert one.headers["x-robots-tag"] == "noindex"
        assert one.headers["referrer-policy"] == "no-referrer"
        assert one.headers["cache-control"] == "no-store"
        assert "set-cookie" not in one.headers
    assert '<meta name="robots" content="noindex">' in answer.text
    assert (await stranger.head(path)).status_code == 200
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert (await stranger.request(method, path)).status_code == 405
    assert (await stranger.get("/static/copy.js")).headers["content-type"].startswith("text/javascript")


async def test_what_opens_nothing_is_answered_alike(
    api: httpx.AsyncClient,
    runtime: Runtime,
    application: FastAPI,
    stranger: httpx.AsyncClient,
    address: Address,
) -> None:
    await with_epics(api, runtime, stored_epic(1), stored_epic(2))
    path, other = await address("SHOP-1"), await address("SHOP-2")
    wrong = [f"{path[:at]}{'A' if path[at] != 'A' else 'B'}{path[at + 1 :]}" for at in range(5, len(path))]
    wrong += [path[:16] + other[16:], f"{path}/", f"{path}=", "/why/", f"/why/{'%00' * 3}", "/why/%F0%9F"]
    answers = [await stranger.get(one) for one in wrong]
    assert (await stranger.get(path)).status_code == 200
    await store(runtime, "jira", (), [Missing(EpicRef("001SHOP", "SHOP-1"), "deleted")])
    answers.append(await stranger.get(path))
    login = runtime.settings.model_copy(update={"why_links": "login"})
    application.state.runtime = replace(runtime, settings=login)
    answers.append(await stranger.get(other))
    application.state.runtime = runtime
    assert (await stranger.get(other)).status_code == 200
    assert {(one.status_code, one.text) for one in answers} == {(404, answers[0].text)}
    assert len({tuple(sorted(one.headers.items())) for one in answers}) == 1
    assert NOT_HERE in answers[0].text


async def test_an_address_that_asks_too_often_waits(
    api: httpx.AsyncClient, runtime: Runtime, stranger: httpx.AsyncClient, clock: Clock
) -> None:
    answers = [(await stranger.get("/why/a")).status_code for _ in range(MOST_VISITS)]
    assert set(answers) == {404}
    busy = await stranger.get("/why/a")
    assert (busy.status_code, busy.headers["retry-after"]) == (429, "60")
    assert "One moment, please" in busy.text
    clock.advance(minutes=1)
    assert (await stranger.get("/why/a")).status_code == 404


@contextmanager
def statements(runtime: Runtime) -> Iterator[list[str]]:
    found: list[str] = []

    def note(_c: Any, _u: Any, statement: str, *_: Any) -> None:
        found.append(statement)

    event.listen(runtime.engine.sync_engine, "before_cursor_execute", note)
    yield found
    event.remove(runtime.engine.sync_engine, "before_cursor_execute", note)


async def test_opening_it_changes_nothing_and_costs_a_bounded_number_of_statements(
    api: httpx.AsyncClient, runtime: Runtime, stranger: httpx.AsyncClient, address: Address
) -> None:
    await a_goal(api, "KR-1", "Checkout conversion")
    await with_epics(api, runtime)
    path, counts, before = await address("SHOP-1"), [], None
    await stranger.get(path)  # the first visit makes the index of suggestions, in three statements more
    for _ in range(2):
        before = await every_row(runtime)
        with statements(runtime) as made:
            for query in ("", "?page=2", "?q=checkout"):
                assert (await stranger.get(path + query)).status_code == 200
            assert (await stranger.head(path)).status_code == 200
        counts.append(len(made))
        assert await every_row(runtime) == before
        async with runtime.sessions.begin() as session:
            objective = (await session.scalars(select(ObjectiveRow.id))).first()
            rows = [
                {"key": f"KR-{n}", "title": f"Goal {n}", "objective_id": objective} for n in range(2, 501)
            ]
            if len(counts) == 1:
                await session.execute(insert(KeyResultRow), rows)
    assert counts[0] == counts[1] <= 4 * 17


async def test_hostile_words_are_shown_as_typed(
    api: httpx.AsyncClient, runtime: Runtime, stranger: httpx.AsyncClient, address: Address
) -> None:
    await a_goal(api, "KR-1", f"Checkout {HOSTILE}")
    long = "x" * 60_000
    epics = [
        stored_epic(1, title=f"Checkout {HOSTILE}", labels=("kr:KR-9",)),
        stored_epic(2, title=long, url="javascript:alert(1)"),
    ]
    await with_epics(api, runtime, *epics)
    page = await stranger.get(f"{await address('SHOP-1')}?q=%3Cscript%3E%22")
    assert "<script>alert" not in page.text
    assert page.text.count("<script") == 1
    assert HOSTILE in unescape(page.text)
    page = await stranger.get(await address("SHOP-2"))
    assert "javascript:" not in page.text
    assert "x" * 501 not in page.text
    for query in ("?page=-1", "?page=1e9", "?page=99999999999", "?page=%D9%A1", "?q=%00&page=", "?other=1"):
        assert (await stranger.get(await address("SHOP-1") + query)).status_code == 200


async def test_where_nothing_is_asked_it_says_so(
    api: httpx.AsyncClient, runtime: Runtime, stranger: httpx.AsyncClient, address: Address
) -> None:
    await a_goal(api, "KR-1", "Checkout conversion")
    epics = [
        stored_epic(1, labels=("kr:KR-1",)),
        stored_epic(2, labels=("ktlo",)),
        stored_epic(3, status_category="done"),
        stored_epic(4, "CORE"),
        stored_epic(5, "DESK", labels=("kr:KR-77",)),
    ]
    await send(
        api,
        "PATCH",
        "/policy",
        {"exempt": {"labels": ["ktlo"]}, "scopes": [{"project": "DESK", "channel": "none", "since": None}]},
    )
    await with_epics(api, runtime, *epics)
    expected = {
        "SHOP-1": "Aligned. Thank you. This work serves KR-1 Checkout conversion.",
        "SHOP-2": "Work of this kind needs no key result.",
        "SHOP-3": "This work is finished",
        "DESK-5": "This ticket is not checked.",
    }
    for key, words in expected.items():
        answer = await stranger.get(await address(key))
        assert words in words_of(answer), key
        assert "/northing link" not in answer.text, key
    assert "KR-77" in (await stranger.get(await address("DESK-5"))).text
    assert "Which key result" in words_of(await stranger.get(await address("CORE-4")))


ORDER = (
    ">SHOP-1</a>",
    "<h1>Which key result",
    'class="lead"',
    "The ticket names KR-99, which does not exist.",
    'value="/northing link KR-1"',
    "Another key result",
    "None fits, not now, or we are wrong",
    'value="/northing snooze 14d"',
    'value="/northing dispute',
    "Why this ticket",
    "no-key-result, open since",
    "This page needs no login",
)

ANSWERED = [
    ("snoozed", None, "Snoozed until 2036-12-30. Nothing to do before that.", True),
    ("waived", "Upkeep", "Waived until 2036-12-30: Upkeep. Nothing to do.", False),
    ("disputed", "Not ours", "Disputed. Whoever keeps the goals here will answer", True),
]


@pytest.mark.parametrize(("state", "reason", "words", "may_choose"), ANSWERED)
async def test_what_somebody_has_answered_is_shown(
    api: httpx.AsyncClient,
    runtime: Runtime,
    stranger: httpx.AsyncClient,
    address: Address,
    state: str,
    reason: str | None,
    words: str,
    may_choose: bool,
) -> None:
    await a_goal(api, "KR-1", "Checkout conversion")
    await with_epics(api, runtime)
    until = None if state == "disputed" else datetime(2036, 12, 31, tzinfo=UTC)
    async with runtime.sessions.begin() as session:
        await session.execute(update(FindingRow).values(state=state, until=until, reason=reason))
    page = await stranger.get(await address("SHOP-1"))
    assert words in words_of(page)
    assert ("/northing link KR-1" in page.text, "Not ours" in page.text) == (may_choose, False)
    assert ("/northing dispute" in page.text) == (state == "snoozed"), "else it would change nothing"


async def test_it_is_in_order_and_folded(
    api: httpx.AsyncClient, runtime: Runtime, stranger: httpx.AsyncClient, address: Address
) -> None:
    """Each part of the page, whether it is open, and the lines to copy that are in it."""
    for number in range(1, 31):
        await a_goal(api, f"KR-{number}", "Checkout conversion to 4 %" if number == 1 else f"Aim {number}")
    await with_epics(api, runtime, stored_epic(1, title="Checkout conversion", labels=("kr:KR-99",)))
    path = await address("SHOP-1")
    for query, is_open in (("", False), ("?q=aim", True), ("?page=2", True)):
        page = (await stranger.get(path + query)).text
        places = [page.index(words) for words in ORDER]
        assert places == sorted(places), query
        folds = re.findall(r"<details([^>]*)>", page)
        assert [" open" in one for one in folds] == [is_open, False, False], query
        labelled = re.findall(r'<label for="([^"]+)"', page)
        assert labelled == re.findall(r'<input id="([^"]+)"', page)
        assert len(set(labelled)) == len(labelled)
        assert page.count('data-copy="main"') == 1
    async with runtime.sessions() as session:
        waive = waive_line(await runtime.now(session))
    assert [unescape(one) for one in re.findall(r'value="(/northing waive[^"]*)"', page)] == [waive]


async def test_within_its_grace_nothing_is_due(
    api: httpx.AsyncClient, runtime: Runtime, stranger: httpx.AsyncClient, address: Address, clock: Clock
) -> None:
    await a_goal(api, "KR-1", "Checkout conversion")
    await with_epics(api, runtime, stored_epic(1, created_at=clock()), grace="P5D")
    async with runtime.sessions.begin() as session:
        source = (await session.scalars(select(SourceRow))).one()
        source.notices = {**source.notices, "mode": "live"}
        await session.execute(update(SourceProjectRow).values(fully_synced=True))
    page = await stranger.get(await address("SHOP-1"))
    assert "Nothing is due yet." in words_of(page)
    assert "/northing link KR-1" in page.text


async def test_it_is_found_below_a_path_of_a_proxy(
    api: httpx.AsyncClient,
    runtime: Runtime,
    application: FastAPI,
    stranger: httpx.AsyncClient,
    address: Address,
) -> None:
    await with_epics(api, runtime)
    path = await address("SHOP-1")
    public = runtime.settings.model_copy(update={"public_url": "https://tools.example.com/northing"})
    application.state.runtime = replace(runtime, settings=public)
    for prefix in ("", "/northing"):
        answer = await stranger.get(prefix + path)
        assert answer.status_code == 200
        assert 'src="/northing/static/copy.js"' in answer.text
        assert 'href="/northing/static/northing.css"' in answer.text
    application.state.runtime = runtime


@pytest.mark.parametrize(
    ("why_links", "public_url", "tracker", "start"),
    [
        ("signed", "https://northing.example", "https://acme.atlassian.net", "https://northing.example/why/"),
        (
            "login",
            "https://northing.example/a",
            "https://acme.atlassian.net",
            "https://northing.example/a/epics/j%20r/",
        ),
        ("signed", "http://127.0.0.1:8000", "https://acme.atlassian.net", None),
        ("login", "http://127.0.0.1:8000", "https://acme.atlassian.net", None),
        ("signed", "http://127.0.0.1:8000", "http://127.0.0.1:9000", "http://127.0.0.1:8000/why/"),
    ],
)
def test_the_link_on_a_ticket_follows_the_setting(
    runtime: Runtime, why_links: str, public_url: str, tracker: str, start: str | None
) -> None:
    settings = runtime.settings.model_copy(update={"why_links": why_links, "public_url": public_url})
    source: Any = SimpleNamespace(name="j r", base_url=tracker)
    row: Any = SimpleNamespace(id=7, key="acme/shop#1")
    url = replace(runtime, settings=settings).page_urls(source)(row)
    assert (url is None) if start is None else (url is not None and url.startswith(start))
