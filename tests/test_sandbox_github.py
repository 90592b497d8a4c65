"""The simulated GitHub behaves where naive clients go wrong: pages, redirects, limits, rights."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from connectors.sandbox.github.host import GitHubHost
from connectors.sandbox.github.tracker import GitHubTracker
from connectors.sandbox.server import serve
from tests.support.clock import MovingClock

START = datetime(2026, 11, 20, 15, 30, tzinfo=UTC)


@pytest.fixture
def clock() -> MovingClock:
    return MovingClock(START, minutes=1)


@pytest.fixture
def host(clock: MovingClock) -> GitHubHost:
    made = GitHubHost(clock)
    made.add_repository("acme/shop")
    made.add_repository("acme/docs", private=False)
    for number in range(7):
        made.create("acme/shop", f"Issue {number}", labels=["epic", "Web"] if number % 2 else ["epic"])
    made.create("acme/shop", "A pull request", pull_request=True, labels=["epic"])
    made.create("acme/shop", "Part", parent="acme/shop#1", type="Task", assignees=["dev-lead"])
    made.edit("acme/shop#2", state="closed")
    return made


@asynccontextmanager
async def client(host: GitHubHost) -> AsyncIterator[httpx.AsyncClient]:
    headers = {"Authorization": f"Bearer {host.bot.token}"}
    async with (
        serve(GitHubTracker(host)) as url,
        httpx.AsyncClient(base_url=url, headers=headers, timeout=10) as http,
    ):
        yield http


def numbers(answer: httpx.Response) -> list[int]:
    return [issue["number"] for issue in answer.json()]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, [9, 8, 7, 6, 5, 4, 3, 1]),  # open, newest first, the pull request among them
        ({"state": "closed"}, [2]),
        ({"state": "all", "sort": "updated", "direction": "asc"}, [1, 3, 4, 5, 6, 7, 8, 9, 2]),
        ({"labels": "EPIC,web"}, [6, 4]),
        ({"type": "Task"}, [9]),
        ({"assignee": "dev-lead"}, [9]),
        ({"assignee": "none", "labels": "web"}, [6, 4]),
        ({"milestone": "*"}, []),
        ({"creator": "product-owner", "per_page": "2", "page": "2"}, [7, 6]),
        ({"per_page": "1000", "page": "2"}, []),
    ],
)
async def test_the_list_of_issues(host: GitHubHost, query: dict[str, str], found: list[int]) -> None:
    async with client(host) as http:
        assert numbers(await http.get("/repos/acme/shop/issues", params=query)) == found


async def test_since_is_at_or_after(host: GitHubHost) -> None:
    changed = host.issue("acme/shop#2").updated
    async with client(host) as http:
        query = {"state": "all", "since": changed.isoformat().replace("+00:00", "Z")}
        assert numbers(await http.get("/repos/acme/shop/issues", params=query)) == [2]
        query["since"] = (changed + timedelta(seconds=1)).isoformat()
        assert numbers(await http.get("/repos/acme/shop/issues", params=query)) == []


async def test_pages_are_followed_by_link(host: GitHubHost) -> None:
    seen, sizes = [], []
    async with client(host) as http:
        url: str | None = "/api/v3/repos/acme/shop/issues?state=all&direction=asc&per_page=4"
        while url:
            answer = await http.get(url)
            seen += numbers(answer)
            sizes.append(len(answer.json()))
            url = answer.links.get("next", {}).get("url")
            assert url is None or "/api/v3/repositories/" in url
    assert (seen, sizes) == (list(range(1, 10)), [4, 4, 1])


async def test_an_unchanged_page_costs_nothing(host: GitHubHost) -> None:
    async with client(host) as http:
        first = await http.get("/repos/acme/shop/issues")
        same = await http.get("/repos/acme/shop/issues", headers={"If-None-Match": first.headers["etag"]})
        assert (same.status_code, same.content) == (304, b"")
        assert same.headers["x-ratelimit-remaining"] == first.headers["x-ratelimit-remaining"]
        host.comment("acme/shop#1", "Changed")
        other = await http.get("/repos/acme/shop/issues", headers={"If-None-Match": first.headers["etag"]})
        assert other.status_code == 200


async def test_the_hours_requests_run_out_and_come_back(host: GitHubHost, clock: MovingClock) -> None:
    host.rate_limit = 2
    async with client(host) as http:
        assert [(await http.get("/user")).status_code for _ in range(3)] == [200, 200, 403]
        refused = await http.get("/user")
        assert refused.headers["x-ratelimit-remaining"] == "0"
        clock.now = datetime.fromtimestamp(int(refused.headers["x-ratelimit-reset"]), UTC)
        assert (await http.get("/user")).status_code == 200


async def test_moved_things_redirect_and_deleted_ones_are_gone(host: GitHubHost) -> None:
    host.comment("acme/shop#3", "Before the transfer")
    old = host.issue("acme/shop#3").id
    host.transfer("acme/shop#3", "acme/docs")
    host.rename_repository("acme/shop", "store")
    host.delete("acme/store#4")
    async with client(host) as http:
        answer = await http.get("/repos/acme/shop/issues/1")
        assert answer.status_code == 301
        assert "/repositories/" in answer.headers["location"]
        assert (
            (await http.get(answer.headers["location"]))
            .json()["repository_url"]
            .endswith("/repos/acme/store")
        )
        moved = await http.get("/repos/acme/store/issues/3/comments")
        assert moved.status_code == 301
        assert [one["body"] for one in (await http.get(moved.headers["location"])).json()] == [
            "Before the transfer"
        ]
        new = (await http.get("/repos/acme/docs/issues/1")).json()
        assert new["id"] != old
        assert (await http.get("/repos/acme/store/issues/4")).status_code == 410
        assert (await http.post("/repos/acme/shop/issues/1/comments", json={"body": "x"})).status_code == 307
        assert host.issue("acme/store#1").comments == []


async def test_credentials_and_rights(host: GitHubHost) -> None:
    theirs = host.comment("acme/shop#1", "A person's word")
    async with client(host) as http:
        assert (await http.get("/user", headers={"Authorization": "Bearer wrong"})).status_code == 401
        anonymous = {"Authorization": ""}
        assert (await http.get("/repos/acme/docs", headers=anonymous)).status_code == 200
        assert (await http.get("/repos/acme/shop", headers=anonymous)).status_code == 404
        assert (
            await http.patch(f"/repos/acme/shop/issues/comments/{theirs.id}", json={"body": "x"})
        ).status_code == 403
        nameless = await http.get("/user", headers={"User-Agent": ""})
        assert (nameless.status_code, "User-Agent" in nameless.text) == (403, True)
        assert (await http.get("/user", headers={"X-GitHub-Api-Version": "2020-01-01"})).status_code == 400
        host.read_only.add("acme/shop")
        answer = await http.post("/repos/acme/shop/issues/1/comments", json={"body": "x"})
        assert answer.status_code == 403
        assert "retry-after" not in answer.headers
        host.hidden.add("acme/shop")
        assert (await http.get("/repos/acme/shop")).status_code == 404
        host.revoke_credentials()
        assert (await http.get("/user")).json()["message"] == "Bad credentials"


@pytest.mark.parametrize("body", [{}, {"body": " "}, {"body": 5}, {"body": "x" * 65_537}])
async def test_a_comment_needs_words_but_not_too_many(host: GitHubHost, body: dict[str, object]) -> None:
    async with client(host) as http:
        answer = await http.post("/repos/acme/shop/issues/1/comments", json=body)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["field"] == "body"


async def test_closing_the_part_moves_the_sum_of_the_whole(host: GitHubHost) -> None:
    async with client(host) as http:
        before = (await http.get("/repos/acme/shop/issues/1")).json()["sub_issues_summary"]
        await http.patch("/repos/acme/shop/issues/9", json={"state": "closed", "state_reason": "completed"})
        after = (await http.get("/repos/acme/shop/issues/1")).json()["sub_issues_summary"]
        part = (await http.get("/repos/acme/shop/issues/9")).json()
    assert (before["completed"], after["completed"], after["percent_completed"]) == (0, 1, 100)
    assert part["parent_issue_url"].endswith("/repos/acme/shop/issues/1")
    assert part["closed_at"] is not None


async def test_an_older_server_lacks_sub_issues_and_types() -> None:
    host = GitHubHost(MovingClock(START, minutes=1), features=())
    host.add_repository("acme/shop")
    host.create("acme/shop", "An issue", type="Epic")
    async with client(host) as http:
        assert (await http.get("/api/v3/orgs/acme/issue-types")).status_code == 404
        assert (await http.get("/api/v3/repos/acme/shop/issues/1/sub_issues")).status_code == 404
        assert not {"type", "sub_issues_summary"} & set(
            (await http.get("/api/v3/repos/acme/shop/issues/1")).json()
        )
