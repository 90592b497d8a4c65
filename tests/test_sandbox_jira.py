"""The simulated Jira behaves where naive clients go wrong: search, tokens, moves, rights, comments."""

from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from connectors.sandbox.jira import adf
from connectors.sandbox.jira.jql import JqlError, parse
from connectors.sandbox.jira.records import Issue
from connectors.sandbox.jira.search import KEPT_RESULTS
from connectors.sandbox.jira.site import JiraSite
from connectors.sandbox.jira.tracker import JiraTracker
from connectors.sandbox.server import serve
from tests.support.clock import MovingClock

START = datetime(2026, 11, 20, 15, 30, tzinfo=UTC)
API = "/rest/api/3"
OLDEST = "project = SHOP ORDER BY updated ASC, key ASC"


@pytest.fixture
def site() -> JiraSite:
    made = JiraSite(MovingClock(START, seconds=1), bot_time_zone="America/New_York")
    made.add_project("SHOP", "Online shop")
    made.add_project("PAY", "Payments", team_managed=True)
    for number in range(12):
        made.create("SHOP", f"Epic {number}", labels=["even"] if number % 2 == 0 else [])
    made.create("PAY", "Pay epic", status="Done")
    made.create("SHOP", "A story", type="Story", parent="SHOP-1")
    made.create("SHOP", "A sub-task", type="Sub-task", parent="SHOP-13")
    return made


@asynccontextmanager
async def client(site: JiraSite) -> AsyncIterator[httpx.AsyncClient]:
    auth = (site.bot.email, site.bot.token)
    async with (
        serve(JiraTracker(site)) as url,
        httpx.AsyncClient(base_url=url + API, auth=auth, timeout=10) as http,
    ):
        yield http


def keys(body: dict[str, Any]) -> list[str]:
    return [issue["key"] for issue in body["issues"]]


JQL_CASES = [
    ("project = SHOP AND issuetype in (10000)", 12),
    ('project in ("Online shop", PAY)', 15),
    ("project in (SHOP, PAY) AND issuetype = Epic", 12),  # a team-managed epic type is not found by name
    ("key in (shop-1, PAY-1)", 2),
    ("parent = SHOP-1", 1),
    ("parent in (SHOP-1, SHOP-13) AND project = SHOP", 2),
    ("labels = even", 6),
    ("project = SHOP AND labels is EMPTY", 8),
    ("project = SHOP AND NOT labels = even", 8),
    ("labels in (even) OR (project = PAY AND statusCategory = Done)", 7),
    ("status != Done AND parent is not EMPTY", 2),
    ("updated >= 0", 15),
    (f"updated >= {int(START.timestamp() * 1000) + 13_000}", 3),
    ('updated >= "2026-11-20 10:30"', 15),  # New York is five hours behind
    ('updated >= "2026-11-20 10:31"', 0),
    ('updated >= "2026-11-20 15:30"', 0),
    ("updated < '2026/11/21' AND project = PAY", 1),
]


@pytest.mark.parametrize(("text", "count"), JQL_CASES)
def test_jql_finds(site: JiraSite, text: str, count: int) -> None:
    rows = parse(text, site, site.bot.time_zone).rows(list(site.indexed()))
    assert len(rows) == count


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Unbounded"),
        ("ORDER BY updated ASC", "Unbounded"),
        ("project = NOPE", "'NOPE' does not exist for the field 'project'"),
        ("issuetype = 99", "does not exist"),
        ("flavour = sweet", "Field 'flavour' does not exist"),
        ("id in (1, 2)", "does not exist for field 'id'"),
        ("updated >= yesterday", "invalid"),
        ("updated = 5", "not supported"),
        ("project = SHOP AND", "ended"),
        ("project = SHOP key = A-1", "Expecting"),
        ("project in (SHOP", "ended"),
        ("project ~ SHOP", "not supported"),
        ("project = SHOP ORDER BY colour", "sort"),
        ("project = SHOP ORDER BY id, id, id, id, id, id, id, id", "maximum"),
        ('project = "SHOP', "reserved"),
    ],
)
def test_jql_refuses(site: JiraSite, text: str, message: str) -> None:
    with pytest.raises(JqlError, match=message):
        parse(text, site, "UTC")


async def test_search_walks_by_token_and_tells_no_total(site: JiraSite) -> None:
    seen, token = [], None
    async with client(site) as http:
        for _ in range(10):
            params: dict[str, str | int] = {"jql": OLDEST, "fields": "updated", "maxResults": 5}
            if token:
                params["nextPageToken"] = token
            body = (await http.get("/search/jql", params=params)).json()
            assert not {"total", "startAt"} & set(body)
            seen += keys(body)
            token = body.get("nextPageToken")
            assert body["isLast"] is (token is None)
            if token is None:
                break
    assert seen == [f"SHOP-{number}" for number in range(1, 15)]


async def test_search_shows_only_ids_unless_asked_and_caps_pages(site: JiraSite) -> None:
    site.page_cap, site.id_page_cap = 3, 8
    async with client(site) as http:
        plain = (await http.get("/search/jql", params={"jql": OLDEST, "maxResults": 5000})).json()
        assert [set(issue) for issue in plain["issues"]] == [{"id"}] * 8
        full = await http.get("/search/jql", params={"jql": OLDEST, "maxResults": 5000, "fields": "summary"})
        assert len(full.json()["issues"]) == 3
        issue = full.json()["issues"][0]
        assert set(issue["fields"]) == {"summary"}
        assert issue["self"].startswith("https://api.atlassian.com/ex/jira/")


async def test_a_token_is_bound_to_its_query(site: JiraSite) -> None:
    async with client(site) as http:
        first = (await http.get("/search/jql", params={"jql": OLDEST, "maxResults": 2})).json()
        for jql, token in (("project = PAY", first["nextPageToken"]), (OLDEST, "made-up")):
            answer = await http.get("/search/jql", params={"jql": jql, "nextPageToken": token})
            assert (answer.status_code, "next page token" in answer.text) == (400, True)


async def test_a_walk_finds_its_issues_once_whatever_is_searched_between_its_pages() -> None:
    class CountingSite(JiraSite):
        asked = 0

        def indexed(self, current: Iterable[str] = ()) -> Iterator[Issue]:
            self.asked += 1
            return super().indexed(current)

    site = CountingSite()
    site.add_project("SHOP", "Online shop")
    pages = KEPT_RESULTS + 2
    for number in range(pages):
        site.create("SHOP", f"Epic {number}")
    params: dict[str, str | int] = {"jql": OLDEST, "maxResults": 1}
    async with client(site) as http:
        for number in range(1, pages + 1):
            body = (await http.get("/search/jql", params=params)).json()
            params["nextPageToken"] = body.get("nextPageToken", "")
            await http.get("/search/jql", params={"jql": f"key = SHOP-{number} AND labels is EMPTY"})
    assert body["isLast"]
    assert site.asked == 1 + pages  # each search once


async def test_an_issue_changed_during_a_walk_is_not_lost(site: JiraSite) -> None:
    async with client(site) as http:
        first = (
            await http.get("/search/jql", params={"jql": OLDEST, "maxResults": 4, "fields": "key"})
        ).json()
        site.edit("SHOP-2", summary="Changed")
        rest = await http.get(
            "/search/jql", params={"jql": OLDEST, "nextPageToken": first["nextPageToken"], "fields": "key"}
        )
    assert keys(first) == ["SHOP-1", "SHOP-2", "SHOP-3", "SHOP-4"]
    assert keys(rest.json()) == [*(f"SHOP-{number}" for number in range(5, 15)), "SHOP-2"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"jql": OLDEST, "startAt": 0}, "Invalid request payload"),
        ({"jql": OLDEST, "validateQuery": "strict"}, "Invalid request payload"),
        ({"jql": OLDEST, "nextPageToken": None}, "Invalid request payload"),
        ({"jql": OLDEST, "fields": "summary"}, "Invalid request payload"),
        ({"jql": OLDEST, "maxResults": "5"}, "Invalid request payload"),
        ({"jql": OLDEST, "maxResults": 0}, "'maxResults' must be greater than 0"),
        ({"jql": OLDEST, "reconcileIssues": list(range(51))}, "to reconcile is 50"),
        (["jql"], "Invalid request payload"),
    ],
)
async def test_a_search_body_is_taken_strictly(site: JiraSite, body: object, message: str) -> None:
    async with client(site) as http:
        answer = await http.post("/search/jql", json=body)
    assert answer.status_code == 400
    (shown,) = answer.json()["errorMessages"]
    assert message in shown


async def test_wrong_credentials_look_like_an_empty_site(site: JiraSite) -> None:
    async with client(site) as http:
        site.revoke_credentials()
        found = await http.get("/search/jql", params={"jql": OLDEST})
        assert (found.status_code, found.json()) == (200, {"issues": [], "isLast": True})
        assert found.headers["X-Seraph-LoginReason"] == "AUTHENTICATED_FAILED"
        assert (await http.get("/myself")).status_code == 401
        assert (await http.get("/issue/SHOP-1")).status_code == 404
        assert (await http.get("/issuetype")).json() == []
        site.restore_credentials()
        assert (await http.get("/myself")).json()["timeZone"] == "America/New_York"


async def test_a_project_without_the_right_is_silently_missing(site: JiraSite) -> None:
    site.denied.add(("BROWSE_PROJECTS", "PAY"))
    async with client(site) as http:
        found = await http.get("/search/jql", params={"jql": "project in (SHOP, PAY)", "maxResults": 100})
        assert len(found.json()["issues"]) == 14
        assert (await http.get("/issue/PAY-1")).status_code == 404
        rights = {"permissions": "BROWSE_PROJECTS", "projectKey": "PAY"}
        assert (await http.get("/mypermissions", params=rights)).status_code == 404
        assert (await http.get("/mypermissions")).status_code == 400
        site.denied.add(("ADD_COMMENTS", "SHOP"))
        answer = await http.post("/issue/SHOP-1/comment", json={"body": adf.from_text("Hello")})
        assert answer.status_code == 400
        assert "permission to comment" in answer.json()["errors"]["comment"]
        assert site.issue("SHOP-1").comments == []


async def test_a_moved_issue_keeps_its_id_and_answers_to_its_old_key(site: JiraSite) -> None:
    before = site.issue("SHOP-3").id
    site.move("SHOP-3", "PAY")
    async with client(site) as http:
        body = (await http.get("/issue/shop-3", params={"fields": "project"})).json()
        assert (body["id"], body["key"]) == (before, "PAY-2")
        assert body["fields"]["project"]["key"] == "PAY"
        site.delete("PAY-2")
        assert (await http.get(f"/issue/{before}")).status_code == 404
        found = await http.post("/issue/bulkfetch", json={"issueIdsOrKeys": ["SHOP-1", before]})
        assert [one["id"] for one in found.json()["issueErrors"]] == [before]


async def test_search_lags_behind_while_the_index_is_held(site: JiraSite) -> None:
    site.freeze_index()
    site.edit("SHOP-1", summary="Fresh")
    site.create("SHOP", "Born just now")
    site.delete("SHOP-2")
    query = {"jql": "key in (SHOP-1)", "fields": "summary"}
    async with client(site) as http:

        async def summary(**more: str) -> str:
            found = (await http.get("/search/jql", params={**query, **more})).json()
            return str(found["issues"][0]["fields"]["summary"])

        assert await summary() == "Epic 0"
        assert await summary(reconcileIssues=site.issue("SHOP-1").id) == "Fresh"
        assert (await http.get("/issue/SHOP-1")).json()["fields"]["summary"] == "Fresh"
        every: dict[str, str | int] = {"jql": "project = SHOP", "maxResults": 100, "fields": "key"}
        assert len((await http.get("/search/jql", params=every)).json()["issues"]) == 14
        site.unfreeze_index()
        assert await summary() == "Fresh"
        now = keys((await http.get("/search/jql", params=every)).json())
        assert "SHOP-15" in now
        assert "SHOP-2" not in now


@pytest.mark.parametrize(
    "body", ["Plain words", {"type": "doc", "content": []}, {"version": 1, "type": "doc"}, None, {}]
)
async def test_a_comment_must_be_a_document(site: JiraSite, body: object) -> None:
    async with client(site) as http:
        answer = await http.post("/issue/SHOP-1/comment", json={"body": body})
    assert answer.status_code == 400
    assert answer.json()["errors"] == {"comment": "Comment body is not valid!"}
    assert site.issue("SHOP-1").comments == []


async def test_comments_show_no_properties_in_a_list_and_belong_to_their_author(site: JiraSite) -> None:
    theirs = site.comment("SHOP-1", "A person's word")
    async with client(site) as http:
        made = await http.post(
            "/issue/SHOP-1/comment",
            json={"body": adf.from_text("Ours"), "properties": [{"key": "northing", "value": {"a": 1}}]},
        )
        page = (
            await http.get("/issue/SHOP-1/comment", params={"maxResults": 1, "orderBy": "-created"})
        ).json()
        assert (page["total"], [one["id"] for one in page["comments"]]) == (2, [made.json()["id"]])
        assert "properties" not in page["comments"][0]
        ids = [int(theirs.id), int(made.json()["id"]), 1]
        plain = (await http.post("/comment/list", json={"ids": ids})).json()
        assert [("properties" in one) for one in plain["values"]] == [False, False]
        full = await http.post("/comment/list", params={"expand": "properties"}, json={"ids": ids})
        assert [one["properties"] for one in full.json()["values"]] == [
            [],
            [{"key": "northing", "value": {"a": 1}}],
        ]
        answer = await http.put(
            f"/issue/SHOP-1/comment/{theirs.id}", json={"body": adf.from_text("Ours now")}
        )
        assert answer.status_code == 400
        assert (await http.delete(f"/issue/SHOP-1/comment/{theirs.id}")).status_code == 400
        too_long = await http.post("/issue/SHOP-1/comment", json={"body": adf.from_text("x" * 33_000)})
        assert too_long.status_code == 400
        assert (await http.get(f"/issue/SHOP-2/comment/{theirs.id}")).status_code == 404


async def test_an_edit_shows_at_once_everywhere(site: JiraSite) -> None:
    async with client(site) as http:
        names = {"fields": "summary,parent,subtasks,updated"}
        before = (await http.get("/issue/SHOP-13", params=names)).json()["fields"]
        assert (await http.put("/issue/SHOP-1", json={"fields": {"summary": "Renamed"}})).status_code == 204
        assert (
            await http.put("/issue/SHOP-14", json={"update": {"labels": [{"add": "x"}]}})
        ).status_code == 204
        after = (await http.get("/issue/SHOP-13", params=names)).json()["fields"]
        assert before["parent"]["fields"]["summary"] == "Epic 0"
        assert after["parent"]["fields"]["summary"] == "Renamed"
        assert after["parent"]["fields"]["issuetype"]["hierarchyLevel"] == 1
        assert [one["key"] for one in after["subtasks"]] == ["SHOP-14"]
        for fields in ({"nonsense": 1}, {"summary": ""}, {"description": "words"}, {"labels": ["a b"]}):
            answer = await http.put("/issue/SHOP-1", json={"fields": fields})
            assert (answer.status_code, list(answer.json()["errors"])) == (400, list(fields))
        assert (await http.delete("/issue/SHOP-13")).status_code == 400
        assert (await http.delete("/issue/SHOP-13", params={"deleteSubtasks": "true"})).status_code == 204
        assert site.find("SHOP-14") is None
