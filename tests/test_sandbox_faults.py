"""Faults strike as scripted, and the server survives each of them."""

import asyncio
import threading
from typing import Any

import httpx
import pytest

from connectors.sandbox import faults, limits, vendor_faults
from connectors.sandbox.fault_names import NAMED
from connectors.sandbox.github.host import GitHubHost
from connectors.sandbox.github.tracker import GitHubTracker
from connectors.sandbox.jira import adf
from connectors.sandbox.jira.tracker import JiraTracker
from connectors.sandbox.server import serve, serve_in_thread

ME = "/rest/api/3/myself"
SEARCH = "/rest/api/3/search/jql"


@pytest.fixture
def tracker() -> JiraTracker:
    made = JiraTracker()
    made.site.add_project("SHOP", "Online shop")
    for number in range(7):
        made.site.create("SHOP", f"Epic {number}")
    return made


def client(tracker: JiraTracker, url: str, timeout: float = 5) -> httpx.AsyncClient:
    bot = tracker.site.bot
    return httpx.AsyncClient(base_url=url, auth=(bot.email, bot.token), timeout=timeout)


async def walk(http: httpx.AsyncClient) -> list[dict[str, Any]]:
    """Every page until there is no token, at most twenty."""
    pages, token = [], None
    for _ in range(20):
        params: dict[str, str | int] = {
            "jql": "project = SHOP ORDER BY key ASC",
            "fields": "key",
            "maxResults": 3,
        }
        if token:
            params["nextPageToken"] = token
        body = (await http.get(SEARCH, params=params)).json()
        pages.append(body)
        token = body.get("nextPageToken")
        if not token:
            break
    return pages


async def test_faults_strike_in_order_as_often_as_told(tracker: JiraTracker) -> None:
    limited = tracker.faults.add(
        f"GET {ME}", faults.answer(429, headers={"Retry-After": "3"}), times=2, skip=1
    )
    tracker.faults.add("GET *", faults.answer(503, "busy"))
    async with serve(tracker) as url, client(tracker, url) as http:
        answers = [await http.get(ME) for _ in range(5)]
    assert [one.status_code for one in answers] == [503, 429, 429, 200, 200]
    assert answers[1].headers["Retry-After"] == "3"
    assert answers[0].text == "busy"
    assert limited.struck == 2
    assert [seen.status for seen in tracker.log.matching(f"GET {ME}")] == [503, 429, 429, 200, 200]


async def test_a_lost_answer_means_the_work_is_done(tracker: JiraTracker) -> None:
    comment = "/rest/api/3/issue/SHOP-1/comment"
    tracker.faults.add("POST */comment", faults.lose_answer())
    tracker.faults.add("POST */comment", faults.drop())
    async with serve(tracker) as url, client(tracker, url) as http:
        for done in (1, 1):
            with pytest.raises((httpx.RemoteProtocolError, httpx.ReadError)):  # as the loop tells of it
                await http.post(comment, json={"body": adf.from_text("Once")})
            assert len(tracker.site.issue("SHOP-1").comments) == done
        assert (await http.get(ME)).status_code == 200
    assert [seen.status for seen in tracker.log.matching("POST *")] == [None, None]


async def test_a_truncated_answer_breaks_off(tracker: JiraTracker) -> None:
    tracker.faults.add(f"GET {ME}", faults.truncate())
    async with serve(tracker) as url, client(tracker, url) as http:
        with pytest.raises(httpx.RemoteProtocolError):
            await http.get(ME)


async def test_a_hanging_request_ends_with_the_client_or_the_server(tracker: JiraTracker) -> None:
    tracker.faults.add(f"GET {ME}", faults.hang(), times=2)
    async with serve(tracker) as url, client(tracker, url, timeout=0.2) as http:
        with pytest.raises(httpx.ReadTimeout):
            await http.get(ME)
        async with client(tracker, url, timeout=60) as patient:
            waiting = asyncio.create_task(patient.get(ME))
            while tracker.log.count() < 2:
                await asyncio.sleep(0)
    with pytest.raises(httpx.TransportError):
        await waiting


async def test_short_and_empty_pages_lose_nothing(tracker: JiraTracker) -> None:
    tracker.faults.add(f"* {SEARCH}", faults.page_size(1))
    tracker.faults.add(f"* {SEARCH}", faults.page_size(0), times=2)
    async with serve(tracker) as url, client(tracker, url) as http:
        pages = await walk(http)
    assert [len(page["issues"]) for page in pages] == [1, 0, 0, 3, 3]
    assert [one["key"] for page in pages for one in page["issues"]] == [f"SHOP-{n}" for n in range(1, 8)]
    tokens = [page.get("nextPageToken") for page in pages]
    assert len(set(tokens)) == len(tokens)


async def test_an_empty_first_page_still_has_a_token(tracker: JiraTracker) -> None:
    tracker.faults.add(f"* {SEARCH}", faults.page_size(0))
    async with serve(tracker) as url, client(tracker, url) as http:
        pages = await walk(http)
    assert [len(page["issues"]) for page in pages] == [0, 3, 3, 1]


async def test_is_last_may_lie_and_tokens_may_repeat(tracker: JiraTracker) -> None:
    tracker.faults.add(f"* {SEARCH}", faults.is_last(True))
    async with serve(tracker) as url, client(tracker, url) as http:
        first = (await walk(http))[0]
        assert first["isLast"]
        assert "nextPageToken" in first
        tracker.faults.add(f"* {SEARCH}", faults.repeat_token(), times=None)
        pages = await walk(http)
    assert len(pages) == 20
    assert len({page["nextPageToken"] for page in pages}) == 1


async def test_credentials_may_die_in_the_middle_of_a_walk(tracker: JiraTracker) -> None:
    tracker.faults.add(f"* {SEARCH}", faults.first(tracker.site.revoke_credentials), skip=1)
    async with serve(tracker) as url, client(tracker, url) as http:
        pages = await walk(http)
        assert (await http.get(ME)).status_code == 401
    assert [len(page["issues"]) for page in pages] == [3, 0]


async def test_a_short_page_on_github_goes_on_by_cursor() -> None:
    host = GitHubHost()
    host.add_repository("acme/shop")
    host.create("acme/shop", "An issue")
    for number in range(5):
        host.comment("acme/shop#1", f"Comment {number}")
    tracker = GitHubTracker(host)
    tracker.faults.add("GET */comments", faults.page_size(1))
    seen = []
    async with (
        serve(tracker) as url,
        httpx.AsyncClient(headers={"Authorization": f"token {host.bot.token}"}) as http,
    ):
        following: str | None = f"{url}/repos/acme/shop/issues/1/comments?per_page=2"
        while following:
            answer = await http.get(following)
            seen.append([one["body"][-1] for one in answer.json()])
            following = answer.links.get("next", {}).get("url")
    assert seen == [["0"], ["1", "2"], ["3", "4"]]


async def test_the_log_counts_and_forgets(tracker: JiraTracker) -> None:
    tracker.latency = 0.001
    async with serve(tracker) as url, client(tracker, url) as http:
        await walk(http)
        await http.get(ME)
        counted = (await http.get("/-/requests")).json()
        assert counted == {"total": 4, "by_line": {f"GET {SEARCH}": 3, f"GET {ME}": 1}}
        assert tracker.log.count("GET */search/jql") == 3
        assert "maxResults=3" in tracker.log.matching(f"* {SEARCH}")[0].query
        assert (await http.delete("/-/requests")).status_code == 204
        assert tracker.log.count() == 0


def test_a_tracker_serves_from_a_thread_and_stops(tracker: JiraTracker) -> None:
    bot = tracker.site.bot
    with serve_in_thread(tracker) as url:
        assert "sandbox" in {thread.name for thread in threading.enumerate()}
        assert httpx.get(url + ME, auth=(bot.email, bot.token)).status_code == 200
        port = int(url.rpartition(":")[2])
        with serve_in_thread(JiraTracker(), port) as other:
            assert other != url  # a port in use means the next free one
    assert "sandbox" not in {thread.name for thread in threading.enumerate()}
    with pytest.raises(httpx.ConnectError):
        httpx.get(url + ME)


# --- set from another process ---------------------------------------------------------------------


async def test_a_fault_is_set_by_name_and_counted_and_ended(tracker: JiraTracker) -> None:
    async with serve(tracker) as url, client(tracker, url) as http:
        asked_for = {
            "fault": "limit",
            "match": f"GET {ME}",
            "with": {"form": "jira", "seconds": 30},
            "skip": 1,
        }
        answer = await http.put("/-/faults", json=asked_for | {"times": 2})
        assert (answer.status_code, answer.json()["left"]) == (201, 2)
        statuses = [(await http.get(ME)).status_code for _ in range(4)]
        assert statuses == [200, 429, 429, 200]
        (shown,) = (await http.get("/-/faults")).json()
        assert shown == {"fault": "limit", "match": f"GET {ME}", "skip": 0, "left": 0, "struck": 2}
        assert (
            await http.put("/-/faults", json={"fault": "answer", "match": "*", "times": None,
                                              "with": {"status": 503, "headers": {"Retry-After": "9"}}})
        ).status_code == 201  # fmt: skip
        assert (await http.get(ME)).headers["Retry-After"] == "9"
        assert (await http.delete("/-/faults")).status_code == 204
        assert ((await http.get(ME)).status_code, (await http.get("/-/faults")).json()) == (200, [])


async def test_a_lost_answer_is_set_by_name(tracker: JiraTracker) -> None:
    comment = "/rest/api/3/issue/SHOP-1/comment"
    async with serve(tracker) as url, client(tracker, url) as http:
        await http.put("/-/faults", json={"fault": "drop", "match": "POST */comment", "after_work": True})
        with pytest.raises(httpx.RemoteProtocolError):
            await http.post(comment, json={"body": adf.from_text("Once")})
    assert len(tracker.site.issue("SHOP-1").comments) == 1


MEMBERS = {
    "answer": {"status": 418, "body": {"message": "no"}, "headers": {}},
    "proxy_page": {"status": 502},
    "redirect": {"location": "https://elsewhere.example/", "status": 307},
    "limit": {"form": "jira_silent", "seconds": 0},
    "drip": {"seconds": 0.01},
    "page_size": {"items": 1},
    "is_last": {"value": True},
    "in_zone": {"name": "Asia/Tokyo"},
}


def test_every_fault_has_a_name() -> None:
    """But those that take a function, and those that are made of another by `after_work`."""
    made = {
        name
        for module in (faults, limits, vendor_faults)
        for name, function in vars(module).items()
        if not name.startswith("_") and getattr(function, "__annotations__", {}).get("return") == "Action"
    }
    assert made - {"first", "rewrite", "after_work", "lose_answer"} == set(NAMED)


@pytest.mark.parametrize("name", NAMED)
async def test_a_fault_that_is_set_by_its_name_strikes(tracker: JiraTracker, name: str) -> None:
    async with serve(tracker) as url, client(tracker, url) as http:
        asked_for = {"fault": name, "match": f"GET {SEARCH}", "with": MEMBERS.get(name, {})}
        assert (await http.put("/-/faults", json=asked_for)).status_code == 201
        params: dict[str, str | int] = {"jql": "project = SHOP", "fields": "created", "maxResults": 3}
        try:
            async with asyncio.timeout(0.5):  # the client's own begins anew with every byte
                answer = await http.get(SEARCH, params=params)
            message = (answer.status_code, answer.text)
        except (httpx.TransportError, TimeoutError) as error:
            message = (0, type(error).__name__)
        assert (await http.get("/-/faults")).json()[0]["struck"] == 1
        healthy = await http.get(SEARCH, params=params)
    if name not in ("repeat_token", "is_last", "empty_last_page"):
        assert message != (200, healthy.text), "nothing was disturbed"


REFUSED = [
    ({"fault": "earthquake", "match": "*"}, "there are answer"),
    ({"fault": ["answer"], "match": "*"}, "there are answer"),
    ({"fault": "drop"}, "fault and match"),
    ({"fault": "drop", "match": ""}, "glob"),
    ({"fault": "drop", "match": 7}, "glob"),
    ({"fault": "drop", "match": "*", "colour": 1}, "at most"),
    ({"fault": "drop", "match": "*", "times": 0}, "times"),
    ({"fault": "drop", "match": "*", "times": True}, "times"),
    ({"fault": "drop", "match": "*", "skip": -1}, "skip"),
    ({"fault": "drop", "match": "*", "with": {"status": 1}}, "nothing"),
    ({"fault": "drop", "match": "*", "after_work": "yes"}, "after_work"),
    ({"fault": "answer", "match": "*"}, "needs more"),
    ({"fault": "answer", "match": "*", "with": {"status": "503"}}, "with.status"),
    ({"fault": "answer", "match": "*", "with": {"status": 99}}, "with.status"),
    ({"fault": "answer", "match": "*", "with": {"status": 503, "headers": {"A": 1}}}, "with.headers"),
    ({"fault": "limit", "match": "*", "with": {"form": "speed", "seconds": 1}}, "with.form"),
    ({"fault": "in_zone", "match": "*", "with": {"name": "../../etc"}}, "time zone"),
    ([], "fault and match"),
]


@pytest.mark.parametrize(("asked_for", "words"), REFUSED)
async def test_a_fault_that_is_not_known_is_refused_in_words(
    tracker: JiraTracker, asked_for: object, words: str
) -> None:
    async with serve(tracker) as url, client(tracker, url) as http:
        answer = await http.put("/-/faults", json=asked_for)
        assert (answer.status_code, words in answer.json()["message"]) == (422, True), answer.text
        assert (await http.get("/-/faults")).json() == []


async def test_no_page_of_another_site_sets_a_fault(tracker: JiraTracker) -> None:
    async with serve(tracker) as url, client(tracker, url) as http:
        http.headers["Origin"] = "https://elsewhere.example"
        for method in ("PUT", "DELETE"):
            answer = await http.request(method, "/-/faults", json={"fault": "drop", "match": "*"})
            assert answer.status_code == 403
        assert (await http.put("/-/faults", content=b"{")).status_code == 403
        del http.headers["Origin"]
        assert (await http.put("/-/faults", content=b"{")).status_code == 400
