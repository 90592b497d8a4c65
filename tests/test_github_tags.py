"""Requests to GitHub by the tag of a known answer: what is sent, what is known, how fast they go."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import respx
from hypothesis import given, strategies as st

from connectors.answers import KnownAnswer
from connectors.base import BadPayload, EpicRef, Page, Project, Unavailable
from connectors.document import Document, Paragraph, Text
from connectors.github.client import GitHubConnector
from connectors.github.config import GitHubCredentials, GitHubEpics, GitHubScope
from connectors.github.listing import Listing
from connectors.github.pace import AT_ONCE, BURST, PER_SECOND, Pace
from connectors.marker import Marker
from connectors.side_by_side import side_by_side

API = "https://api.github.com"
CONNECTORS = Path(__file__).parent.parent / "connectors"
ISSUES = f"{API}/repos/acme/shop/issues"
WEAK = 'W/"0123456789abcdef"'
NOON = datetime(2026, 1, 10, 12, tzinfo=UTC)
PROJECT = Project("acme/shop")


def issue(number: int, updated: datetime = NOON, **members: Any) -> dict[str, Any]:
    return {
        "id": number, "number": number, "title": f"Epic {number}", "state": "open", "labels": ["epic"],
        "repository_url": f"{API}/repos/acme/shop", "assignees": [],
        "html_url": f"https://github.com/acme/shop/issues/{number}",
        "created_at": "2026-01-01T00:00:00Z", "updated_at": updated.strftime("%Y-%m-%dT%H:%M:%SZ"),
    } | members  # fmt: skip


@pytest.fixture
def github() -> Iterator[respx.MockRouter]:
    with respx.mock(assert_all_called=False) as mock:
        mock.get(f"{API}/user").respond(json={"id": 42, "login": "northing-bot"}, headers={"etag": WEAK})
        yield mock


@pytest.fixture
async def connector() -> AsyncIterator[GitHubConnector]:
    made = GitHubConnector(
        API,
        GitHubCredentials(type="token", token="ghp_s3cret"),
        GitHubScope(repositories=["acme/shop"]),
        GitHubEpics(),
    )
    yield made
    await made.aclose()


async def pages(connector: GitHubConnector, since: datetime | None = None) -> list[Page]:
    return [page async for page in connector.changed_since(PROJECT, since)]


def asked_by(github: respx.MockRouter) -> list[str | None]:
    return [call.request.headers.get("if-none-match") for call in github.calls]


# --- what is sent ---------------------------------------------------------------------------


async def test_a_known_answer_is_asked_for_by_its_tag_as_it_came(
    github: respx.MockRouter, connector: GitHubConnector
) -> None:
    account = await connector.account()
    kept = connector.answers.take()
    assert ([one.tag for one in kept], connector.answers.take()) == ([WEAK], [])
    connector.answers.restore(kept)
    github.get(f"{API}/user").respond(304)
    assert await connector.account() == account
    assert asked_by(github) == [None, WEAK]
    assert (connector.requests, connector.uncounted_requests) == (2, 1)


@pytest.mark.parametrize("tag", ["", "no quotes", '"' + "x" * 201 + '"', '"a"b"'])
async def test_what_is_no_tag_is_not_kept(
    github: respx.MockRouter, connector: GitHubConnector, tag: str
) -> None:
    user = {"id": 42, "login": "northing-bot"}
    github.get(f"{API}/user").respond(json=user, headers=[(b"etag", tag.encode())])
    await connector.account()
    assert [one.tag for one in connector.answers.take()] == [""]


async def test_a_304_without_a_tag_in_the_request_cannot_be_read(
    github: respx.MockRouter, connector: GitHubConnector
) -> None:
    github.get(f"{API}/user").respond(304)
    with pytest.raises(BadPayload):
        await connector.account()
    assert connector.uncounted_requests == 0


async def test_the_limit_is_that_of_the_latest_answer_though_it_was_not_counted(
    github: respx.MockRouter, connector: GitHubConnector
) -> None:
    await connector.account()
    connector.answers.restore(connector.answers.take())
    reset = int((datetime.now(UTC) + timedelta(minutes=5)).timestamp())
    limit = {"x-ratelimit-limit": "5000", "x-ratelimit-remaining": "0", "x-ratelimit-reset": str(reset)}
    github.get(f"{API}/user").respond(304, headers=limit)
    await connector.account()
    with pytest.raises(Unavailable):
        await connector.account()
    assert connector.requests == 2


async def test_a_write_names_no_tag(github: respx.MockRouter, connector: GitHubConnector) -> None:
    address = f"{ISSUES}/7/comments"
    connector.answers.restore([KnownAnswer("/user", "/user", WEAK), KnownAnswer(address, address, WEAK)])
    github.post(address).respond(201, json={"id": 1, "user": {"id": 42}}, headers={"etag": WEAK})
    text = Document((Paragraph((Text("No key result"),)),))
    await connector.put_comment(EpicRef("7", "acme/shop#7"), None, text, Marker("inst", 5))
    assert asked_by(github) == [None]
    assert connector.answers.take() == []


# --- lists of issues ------------------------------------------------------------------------


async def test_a_list_of_one_page_is_known_and_what_has_not_changed_gives_no_page(
    github: respx.MockRouter, connector: GitHubConnector
) -> None:
    github.get(ISSUES).respond(json=[issue(1)], headers={"etag": WEAK})
    [page] = await pages(connector)
    assert page.answer is not None
    assert (page.answer.tag, page.answer.value) == (WEAK, {"since": None, "issues": 1})
    connector.answers.restore([page.answer])
    github.get(ISSUES).respond(304)
    assert await pages(connector, page.cursor) == []
    assert asked_by(github) == [None, WEAK]
    assert "since" not in github.calls.last.request.url.params


async def test_of_a_changed_list_only_what_may_have_changed_is_read(
    github: respx.MockRouter, connector: GitHubConnector
) -> None:
    old, newer = NOON - timedelta(days=3), NOON + timedelta(hours=1)
    github.get(ISSUES).respond(json=[issue(1, old), issue(2)], headers={"etag": WEAK})
    [page] = await pages(connector)
    assert page.answer is not None
    connector.answers.restore([page.answer])
    rows = [issue(1, old), issue(2), issue(3, newer), {"updated_at": 5, "number": 4}]
    github.get(ISSUES).respond(json=rows, headers={"etag": '"another"'})
    [page] = await pages(connector, NOON)
    assert [epic.key for epic in page.epics] == ["acme/shop#2", "acme/shop#3"]
    assert (len(page.unreadable), page.cursor) == (1, newer)
    # One that cannot be read is asked for again, so the list is not known.
    assert page.answer is not None
    assert page.answer.tag == ""


@pytest.mark.parametrize(
    ("headers", "rows"),
    [
        ({}, [issue(1)]),
        ({"etag": WEAK, "link": f'<{ISSUES}?page=2>; rel="next"'}, [issue(1)]),
        ({"etag": WEAK}, [issue(1), {"number": 2}]),
    ],
)
async def test_what_is_not_whole_on_one_page_with_a_tag_is_forgotten_with_the_first_page(
    github: respx.MockRouter, connector: GitHubConnector, headers: dict[str, str], rows: list[Any]
) -> None:
    known = KnownAnswer("issues acme/shop", "/repos/{owner}/{repo}/issues?since=2026-01-01T00:00:00Z", WEAK)
    value = {"since": "2026-01-01T00:00:00Z", "issues": 1}
    github.get(ISSUES, params={"page": "2"}).respond(json=[issue(2)], headers={"etag": WEAK})
    github.get(ISSUES).respond(json=rows, headers=headers)
    first, *more = await pages(connector, NOON)
    assert [page.answer for page in [first, *more]] == [None] * (1 + len(more))  # nothing was known
    connector.answers.restore([KnownAnswer(known.name, known.address, known.tag, value)])
    first, *more = await pages(connector, NOON)
    assert first.answer is not None
    assert (first.answer.tag, [page.answer for page in more]) == ("", [None] * len(more))


MOMENTS = st.none() | st.datetimes(datetime(2026, 1, 1), datetime(2026, 2, 1)).map(
    lambda moment: moment.replace(tzinfo=UTC, microsecond=0)
)


@given(began=MOMENTS, since=MOMENTS, issues=st.integers(0, 2))
def test_a_known_list_is_used_only_where_it_shows_all_that_is_asked_for(
    began: datetime | None, since: datetime | None, issues: int
) -> None:
    before = Listing(began)
    known = before.known_by(WEAK, issues)
    assert known is not None
    listing = Listing(since, "issues", known)
    fresh = Listing(since)
    if listing.tag is None:
        assert listing.url == fresh.url
    else:
        assert (listing.tag, listing.url) == (WEAK, before.url)
        assert since is not None or (began is None and issues == 0)
        assert began is None or (since is not None and began <= since)


# --- side by side, within the limits ----------------------------------------------------------


async def test_calls_go_side_by_side_in_order_and_the_first_error_ends_them() -> None:
    running, most, go_on = 0, 0, asyncio.Event()

    async def call(value: int) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == AT_ONCE:
            go_on.set()
        try:
            await go_on.wait()
            if value == 30:
                raise Unavailable("enough")
            return -value
        finally:
            running -= 1

    assert await side_by_side(call, range(20), AT_ONCE) == [-value for value in range(20)]
    assert most == AT_ONCE
    with pytest.raises(Unavailable):
        await side_by_side(call, range(40), AT_ONCE)
    assert running == 0


@given(st.lists(st.floats(0, 5), max_size=3000))
def test_no_minute_has_more_requests_than_github_takes(pauses: list[float]) -> None:
    pace, now, sent = Pace(), 0.0, []
    for pause in pauses:
        now += pause
        sent.append(now + pace.take(now))
    assert all(sum(at <= one < at + 60 for one in sent) <= 900 for at in sent[:: max(len(sent) // 20, 1)])


LIMIT = {"x-ratelimit-limit": "5000", "x-ratelimit-remaining": "4000", "x-ratelimit-reset": "2000000000"}


async def test_the_caller_waits_and_the_connector_does_not(
    github: respx.MockRouter, connector: GitHubConnector
) -> None:
    waits: list[float] = []

    async def wait(seconds: float) -> None:
        waits.append(seconds)

    github.get(f"{API}/user").respond(json={"id": 42, "login": "northing-bot"}, headers=LIMIT)
    for keeps in (False, True):
        if keeps:
            connector.keep_pace(wait)
        for _ in range(2 * BURST):  # on a busy machine some are allowed anew meanwhile
            await connector.account()
            if waits:
                break
        assert bool(waits) is keeps
    assert max(waits) < 2


async def test_without_a_pace_repositories_are_asked_one_after_the_other(github: respx.MockRouter) -> None:
    names = [f"acme/r{number}" for number in range(2 * AT_ONCE)]
    connector = GitHubConnector(
        API,
        GitHubCredentials(type="token", token="ghp_s3cret"),
        GitHubScope(repositories=names),
        GitHubEpics(),
    )
    running = most = 0

    async def answer(_: httpx.Request) -> httpx.Response:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        return httpx.Response(404, json={})

    github.get(url__startswith=f"{API}/repos/").mock(side_effect=answer)
    await connector.projects()
    assert most == 1
    connector.keep_pace(asyncio.sleep)
    await connector.projects()
    await connector.aclose()
    assert most == AT_ONCE


def test_no_connector_sleeps() -> None:
    """A pause is the caller's, who knows what else waits for it."""
    modules = [path for path in CONNECTORS.rglob("*.py") if "sandbox" not in path.parts]
    sleeping = ("asyncio.sleep", "time.sleep")
    assert [path.name for path in modules if any(name in path.read_text() for name in sleeping)] == []


def test_a_burst_goes_at_once_and_then_one_after_the_other() -> None:
    pace = Pace()
    waits = [pace.take(1000.0) for _ in range(BURST + 900)]
    assert waits[:BURST] == [0.0] * BURST
    assert waits[BURST] == pytest.approx(1 / PER_SECOND)
    assert sum(wait < 60 for wait in waits) <= 900
    assert pace.take(1000.0 + 3600) == 0.0
