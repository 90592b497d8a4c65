"""The GitHub connector over HTTP: what it sends, what it makes of the answers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import respx

from connectors.base import (
    BadPayload,
    Comment,
    Connector,
    ConnectorError,
    Epic,
    EpicRef,
    Gone,
    Missing,
    Page,
    Project,
    Rejected,
    Unanswered,
    Unauthorized,
    Unavailable,
)
from connectors.document import Document, Paragraph, Text
from connectors.github.client import GitHubConnector
from connectors.github.comments import NOTICE as NOTICE_LINE
from connectors.github.config import GitHubCredentials, GitHubEpics, GitHubScope
from connectors.marker import Marker

API = "https://api.github.com"
SHOP = f"{API}/repos/acme/shop"
TOKEN = "ghp_s3cret"
MARKER = Marker("inst", 5)
NOTICE = Document((Paragraph((Text("No key result"),)),))
BODY = f"{NOTICE_LINE}\n<!-- northing:id inst/5 -->\n\nNo key result"
START = datetime(2026, 1, 1, tzinfo=UTC)
PROJECT = Project("acme/shop")
REF = EpicRef("7", "acme/shop#7")


def issue(number: int, repository: str = "acme/shop", **members: Any) -> dict[str, Any]:
    return {
        "id": number, "number": number, "title": f"Epic {number}", "state": "open", "labels": ["epic"],
        "repository_url": f"{API}/repos/{repository}",
        "html_url": f"https://github.com/{repository}/issues/{number}", "assignees": [],
        "created_at": "2026-01-01T00:00:00Z",
        "updated_at": (START + timedelta(hours=number)).strftime("%Y-%m-%dT%H:%M:%SZ"),
    } | members  # fmt: skip


@pytest.fixture
def github() -> Iterator[respx.MockRouter]:
    with respx.mock(assert_all_called=False) as mock:
        mock.get(f"{API}/user").respond(json={"id": 42, "login": "northing-bot"})
        yield mock


Make = Callable[..., GitHubConnector]


@pytest.fixture
async def make() -> AsyncIterator[Make]:
    made: list[GitHubConnector] = []

    def connector(
        scope: dict[str, Any] | None = None, epics: dict[str, Any] | None = None, base_url: str = API
    ) -> GitHubConnector:
        made.append(
            GitHubConnector(
                base_url,
                GitHubCredentials.model_validate({"type": "token", "token": TOKEN}),
                GitHubScope.model_validate(scope or {"repositories": ["acme/shop"]}),
                GitHubEpics.model_validate(epics or {}),
            )
        )
        return made[-1]

    yield connector
    for one in made:
        await one.aclose()


async def read(connector: Connector, since: datetime | None = None) -> list[Page]:
    return [page async for page in connector.changed_since(PROJECT, since)]


def keys(pages: list[Page]) -> list[str]:
    return [epic.key for page in pages for epic in page.epics]


def body_of(request: httpx.Request) -> Any:
    return json.loads(request.content)


# --- reading --------------------------------------------------------------------------------


async def test_every_request_says_who_and_which_version(github: respx.MockRouter, make: Make) -> None:
    connector = make()
    assert (await connector.account()).id == "42"
    request = github.calls.last.request
    assert request.headers["authorization"] == f"token {TOKEN}"
    assert request.headers["x-github-api-version"] == "2022-11-28"
    assert connector.requests == 1


async def test_pages_are_followed_as_given_and_never_computed(github: respx.MockRouter, make: Make) -> None:
    listing = github.get(f"{SHOP}/issues")
    listing.respond(
        json=[issue(1)], headers={"link": f'<{API}/repositories/5/issues?after=Y3Vyc29y&page=2>; rel="next"'}
    )
    github.get(f"{API}/repositories/5/issues", params={"after": "Y3Vyc29y", "page": "2"}).respond(
        json=[],
        headers={"link": f'<{API}/repositories/5/issues?after=ZW5k>; rel="next", <{API}/>; rel="last"'},
    )
    github.get(f"{API}/repositories/5/issues", params={"after": "ZW5k"}).respond(json=[issue(2), issue(3)])
    pages = await read(make(), START)
    assert keys(pages) == ["acme/shop#1", "acme/shop#2", "acme/shop#3"]
    assert [page.cursor for page in pages] == [START + timedelta(hours=n) for n in (1, 1, 3)]


async def test_a_listing_that_leads_back_has_no_end(github: respx.MockRouter, make: Make) -> None:
    github.get(f"{SHOP}/issues").respond(
        json=[issue(1)], headers={"link": f'<{SHOP}/issues?page=2>; rel="next"'}
    )
    with pytest.raises(BadPayload, match="already read"):
        await read(make())


async def test_closed_issues_are_listed_too_oldest_change_first(github: respx.MockRouter, make: Make) -> None:
    listing = github.get(f"{SHOP}/issues").respond(json=[issue(1, state="closed")])
    (page,) = await read(make(), START)
    assert page.epics[0].status_category == "done"
    assert dict(listing.calls.last.request.url.params) == {
        "state": "all", "sort": "updated", "direction": "asc", "per_page": "100",
        "since": "2025-12-31T23:55:00Z",
    }  # fmt: skip


async def test_pull_requests_are_dropped_and_others_named(github: respx.MockRouter, make: Make) -> None:
    rows = [issue(1), issue(2, pull_request={"url": "x"}), issue(3, labels=["bug"])]
    github.get(f"{SHOP}/issues").respond(json=rows)
    (page,) = await read(make())
    assert [e.key for e in page.epics] == ["acme/shop#1"]
    assert page.missing == (Missing(EpicRef("3", "acme/shop#3"), "not_an_epic"),)
    assert page.cursor == START + timedelta(hours=3)


async def test_redirects_are_followed_on_the_same_host(github: respx.MockRouter, make: Make) -> None:
    github.get(f"{SHOP}/issues").respond(301, headers={"location": f"{API}/repositories/5/issues?state=all"})
    moved = github.get(f"{API}/repositories/5/issues").respond(json=[issue(1, "acme/store")])
    connector = make()
    assert keys(await read(connector)) == ["acme/store#1"]
    assert moved.calls.last.request.headers["authorization"] == f"token {TOKEN}"
    assert connector.requests == 2


@pytest.mark.parametrize(
    "answer",
    [
        {"status_code": 301, "headers": {"location": "https://evil.example/issues"}},
        {"status_code": 307, "headers": {"location": "http://api.github.com/repos/acme/shop/issues"}},
        {"status_code": 302, "headers": {"location": "https://api.github.com:8443/x"}},
        {"json": [], "headers": {"link": '<https://evil.example/issues?page=2>; rel="next"'}},
    ],
)
async def test_the_token_goes_to_no_other_host(
    github: respx.MockRouter, make: Make, answer: dict[str, Any]
) -> None:
    github.get(f"{SHOP}/issues").respond(**answer)
    elsewhere = github.route().respond(json=[])
    with pytest.raises(Rejected, match="another host"):
        await read(make())
    assert not elsewhere.called


async def test_redirects_in_a_circle_end(github: respx.MockRouter, make: Make) -> None:
    circle = github.get(f"{SHOP}/issues").respond(301, headers={"location": f"{SHOP}/issues"})
    with pytest.raises(BadPayload):
        await read(make())
    assert 2 <= circle.call_count <= 5


async def test_a_missing_permission_is_not_a_limit(github: respx.MockRouter, make: Make) -> None:
    listing = github.get(f"{SHOP}/issues").respond(
        403, json={"message": "Resource not accessible"}, headers={"x-ratelimit-remaining": "4000"}
    )
    with pytest.raises(Rejected) as caught:
        await read(make())
    assert caught.value.code == Rejected.code
    assert "Resource not accessible" in caught.value.message
    assert listing.call_count == 1


async def test_a_limit_is_raised_at_once_and_not_waited_for(github: respx.MockRouter, make: Make) -> None:
    listing = github.get(f"{SHOP}/issues").respond(403, headers={"retry-after": "3600"})
    connector = make()
    with pytest.raises(Unavailable) as caught:
        await read(connector)
    assert caught.value.retry_after == 3600
    assert listing.call_count == 1


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"status_code": 401, "json": {"message": "Bad credentials"}}, Unauthorized),
        ({"status_code": 403, "json": {"message": "Resource not accessible"}}, Unauthorized),
        ({"json": {}}, Unauthorized),
        ({"json": None}, BadPayload),  # no body says nothing of the credentials
        ({"status_code": 404, "json": {"message": "Not Found"}}, Rejected),
        ({"status_code": 500}, Unavailable),
        ({"status_code": 203, "json": {"id": 1}}, BadPayload),
        ({"content": b"{", "headers": {"content-type": "application/json"}}, BadPayload),
        ({"content": b"[" * 100_000, "headers": {"content-type": "application/json"}}, BadPayload),
    ],
)
async def test_dead_credentials_are_not_believed(
    github: respx.MockRouter, make: Make, answer: dict[str, Any], error: type[ConnectorError]
) -> None:
    github.get(f"{API}/user").respond(**answer)
    with pytest.raises(error) as caught:
        await make().account()
    assert caught.value.code == error.code
    assert TOKEN not in str(caught.value)


async def test_issues_that_cannot_be_listed_are_a_matter_for_a_person(
    github: respx.MockRouter, make: Make
) -> None:
    github.get(f"{SHOP}/issues").respond(410, json={"message": "Issues are disabled for this repo"})
    with pytest.raises(Rejected, match="Issues are disabled"):
        await read(make())


async def test_projects_of_the_scope(github: respx.MockRouter, make: Make) -> None:
    repository = {"full_name": "Acme/Shop", "id": 1, "private": False, "visibility": "public"}
    github.get(SHOP).respond(json=repository)
    github.get(f"{API}/repos/acme/lost").respond(404, json={"message": "Not Found"})
    github.get(f"{API}/orgs/big/repos", params={"page": "2"}).respond(
        json=[
            {"full_name": "big/b", "id": 12, "private": True, "archived": True},
            {"full_name": "big/c", "id": 13, "private": True},
        ]
    )
    github.get(f"{API}/orgs/big/repos").respond(
        json=[{"full_name": "big/a", "id": 11, "private": True}],
        headers={"link": f'<{API}/orgs/big/repos?page=2>; rel="next"'},
    )
    github.get(f"{API}/orgs/nobody/repos").respond(404, json={"message": "Not Found"})
    scope = {
        "repositories": ["ACME/shop", "acme/lost", "acme/shop"],
        "organizations": ["big", "nobody"],
    }
    projects = await make(scope).projects()
    assert [(p.key, p.public, p.problem is None) for p in projects] == [
        ("Acme/Shop", True, True), ("acme/lost", False, False), ("big/a", False, True),
        ("big/c", False, True), ("nobody/*", False, False),
    ]  # fmt: skip


async def test_a_repository_that_cannot_be_read_hides_no_other(github: respx.MockRouter, make: Make) -> None:
    read = {"full_name": "big/a", "id": 1, "private": True}
    rows = [5, {"full_name": None}, read, {**read, "full_name": "big/b", "archived": True}]
    github.get(f"{API}/orgs/big/repos").respond(json=rows)
    projects = await make({"organizations": ["big"]}).projects()
    assert [(p.key, p.problem) for p in projects] == [
        ("big/*", "A repository in GitHub's answer could not be read."), ("big/a", None),
    ]  # fmt: skip


# --- the present state ----------------------------------------------------------------------


async def test_the_present_state_by_key_checked_by_id(github: respx.MockRouter, make: Make) -> None:
    def at(number: int) -> str:
        return f"{SHOP}/issues/{number}"

    github.get(at(1)).respond(json=issue(1))
    github.get(at(2)).respond(json=issue(2, labels=[]))
    github.get(at(3)).respond(410, json={"message": "This issue was deleted"})
    github.get(at(4)).respond(json=issue(4, id=4444))  # a new repository under the old name
    github.get(at(5)).respond(301, headers={"location": f"{API}/repositories/9/issues/50"})
    github.get(f"{API}/repositories/9/issues/50").respond(json=issue(50, "acme/web"))
    github.get(at(6)).respond(301, headers={"location": f"{API}/repositories/8/issues/60"})
    github.get(f"{API}/repositories/8/issues/60").respond(json=issue(60, "other/place"))
    github.get(at(7)).respond(json=issue(7, pull_request={"url": "x"}))
    for name in ("shop", "web"):
        github.get(f"{API}/repos/acme/{name}").respond(
            json={"full_name": f"acme/{name}", "id": len(name), "private": True}
        )
    refs = [EpicRef(str(n), f"acme/shop#{n}") for n in range(1, 8)]
    found = await make({"repositories": ["acme/shop", "acme/web"]}).fetch(refs)
    assert [f.key if isinstance(f, Epic) else f.reason for f in found] == [
        "acme/shop#1", "not_an_epic", "deleted", "deleted", "acme/web#50", "out_of_scope", "not_an_epic",
    ]  # fmt: skip
    assert isinstance(found[4], Epic)
    assert found[4].remote_id == "50"
    assert [f.ref.remote_id for f in found if isinstance(f, Missing)] == ["2", "3", "4", "6", "7"]


async def test_a_renamed_repository_stays_in_scope(github: respx.MockRouter, make: Make) -> None:
    github.get(SHOP).respond(301, headers={"location": f"{API}/repositories/5"})
    github.get(f"{API}/repositories/5").respond(json={"full_name": "acme/store", "id": 5, "private": True})
    github.get(f"{SHOP}/issues/7").respond(301, headers={"location": f"{API}/repositories/5/issues/7"})
    github.get(f"{API}/repositories/5/issues/7").respond(json=issue(7, "acme/store"))
    (found,) = await make().fetch([REF])
    assert isinstance(found, Epic)
    assert found.ref == EpicRef("7", "acme/store#7")


# --- comments -------------------------------------------------------------------------------

COMMENTS = f"{SHOP}/issues/7/comments"


async def test_a_comment_is_created_in_one_request(github: respx.MockRouter, make: Make) -> None:
    route = github.post(COMMENTS).respond(201, json={"id": 900, "html_url": "https://elsewhere.example"})
    comment = await make().put_comment(REF, None, NOTICE, MARKER)
    assert comment == Comment("900", "https://github.com/acme/shop/issues/7#issuecomment-900")
    assert body_of(route.calls.last.request) == {"body": BODY}


async def test_an_edit_goes_to_the_comment_itself(github: respx.MockRouter, make: Make) -> None:
    route = github.patch(f"{SHOP}/issues/comments/900").respond(json={"id": 900})
    assert (await make().put_comment(REF, "900", NOTICE, MARKER)).id == "900"
    assert body_of(route.calls.last.request) == {"body": BODY}


@pytest.mark.parametrize(
    "fault",
    [
        httpx.ReadTimeout("slow"), httpx.RemoteProtocolError("cut"), httpx.ReadError("reset"),
        httpx.WriteTimeout("slow"), {"status_code": 502}, {"status_code": 201, "json": {}},
        {"status_code": 201, "content": b"{", "headers": {"content-type": "application/json"}},
        {"status_code": 201}, {"status_code": 203, "json": {"id": 1}},
    ],
)  # fmt: skip
async def test_a_write_without_an_answer_is_sent_once_and_raised_as_unanswered(
    github: respx.MockRouter, make: Make, fault: Any
) -> None:
    route = github.post(COMMENTS)
    route.respond(**fault) if isinstance(fault, dict) else route.mock(side_effect=fault)
    with pytest.raises(Unanswered) as caught:
        await make().put_comment(REF, None, NOTICE, MARKER)
    assert route.call_count == 1
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (httpx.ConnectError("refused"), Unavailable),
        (httpx.ConnectTimeout("slow"), Unavailable),
        ({"status_code": 404}, Gone),
        ({"status_code": 410}, Gone),
        ({"status_code": 403, "json": {"message": "locked"}}, Rejected),
        ({"status_code": 403, "headers": {"retry-after": "60"}}, Unavailable),
        ({"status_code": 422, "json": {"message": "Validation Failed", "errors": [5]}}, Rejected),
        ({"status_code": 429}, Unavailable),
        (
            {"status_code": 301, "headers": {"location": f"{API}/repositories/9/issues/7/comments"}},
            Unavailable,
        ),
    ],
)
async def test_a_write_that_was_not_carried_out(
    github: respx.MockRouter, make: Make, fault: Any, error: type[ConnectorError]
) -> None:
    route = github.post(COMMENTS)
    route.respond(**fault) if isinstance(fault, dict) else route.mock(side_effect=fault)
    elsewhere = github.post(f"{API}/repositories/9/issues/7/comments").respond(201, json={"id": 1})
    with pytest.raises(error) as caught:
        await make().put_comment(REF, None, NOTICE, MARKER)
    assert caught.value.code == error.code
    assert route.call_count == 1
    assert not elsewhere.called


def comment(number: int, author: int | None = 42, body: str = "words") -> dict[str, Any]:
    return {"id": number, "body": body, "user": {"id": author} if author else None}


@pytest.mark.parametrize(
    ("pages", "found"),
    [
        ([[]], []),
        ([[comment(1), comment(2, None, "x"), comment(3, 9, "> " + BODY)]], []),
        (
            [[comment(1, 9, BODY), comment(4, 7, BODY)], [], [comment(2, 42, BODY), comment(3, 42, BODY)]],
            [("2", True), ("3", True), ("1", False)],
        ),
        ([[comment(1, 9, BODY)], [comment(2)]], [("1", False)]),
        ([[comment(1, None, BODY)]], []),
        ([[comment(1, 7, BODY)]], []),
        ([[comment(1, 42, BODY.replace("inst/5", "inst/51"))]], [("1", True)]),  # before a transfer
        ([[comment(1, 42, BODY.replace("inst/5", "other/5"))]], []),
        ([[comment(1, 42, BODY.replace("\n", "\r\n"))]], [("1", True)]),
    ],
)
async def test_our_comment_is_found_by_marker_and_author(
    github: respx.MockRouter, make: Make, pages: list[list[Any]], found: list[tuple[str, bool]]
) -> None:
    for number, rows in reversed(list(enumerate(pages, 1))):
        more = {"link": f'<{COMMENTS}?page={number + 1}>; rel="next"'} if number < len(pages) else {}
        params = {"page": str(number)} if number > 1 else {"per_page": "100"}
        github.get(COMMENTS, params=params).respond(json=rows, headers=more)
    got = await make().find_comments(REF, replace(MARKER, accounts=frozenset({"9"})))
    assert [(comment.id, comment.ours) for comment in got] == found


async def test_comments_of_a_ticket_that_is_gone_are_gone(github: respx.MockRouter, make: Make) -> None:
    github.get(COMMENTS).respond(404, json={"message": "Not Found"})
    with pytest.raises(Gone):
        await make().find_comments(REF, MARKER)


# --- the wire -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault", [httpx.ReadTimeout("slow"), httpx.ConnectError("x"), httpx.ReadError("cut")]
)
async def test_reading_without_an_answer_is_unavailable(
    github: respx.MockRouter, make: Make, fault: Exception
) -> None:
    github.get(f"{SHOP}/issues").mock(side_effect=fault)
    with pytest.raises(Unavailable) as caught:
        await read(make())
    assert caught.value.code == Unavailable.code
    assert caught.value.__suppress_context__


async def test_an_enterprise_server_keeps_its_path(github: respx.MockRouter, make: Make) -> None:
    base = "https://ghe.acme.com/api/v3"
    row = issue(1) | {"repository_url": f"{base}/repos/acme/shop", "html_url": None}
    github.get(f"{base}/repos/acme/shop/issues").respond(json=[row])
    (page,) = await read(make(base_url=base + "/"))
    assert page.epics[0].url == "https://ghe.acme.com/acme/shop/issues/1"


async def test_a_wait_inside_the_library_would_be_an_error(make: Make) -> None:
    with pytest.raises(RuntimeError, match="does not sleep"):
        await make()._transport.sleep(1)  # noqa: SLF001  # what the library would call
