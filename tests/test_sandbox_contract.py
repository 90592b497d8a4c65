"""Every route of the simulated trackers, over HTTP, held against the vendors' descriptions both ways."""

import base64
import csv
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import httpx
import pytest
import requests
from starlette.applications import Starlette
from starlette.routing import Route

from connectors.sandbox.company import github_host, jira_site
from connectors.sandbox.github.recorded import load_recorded as load_github
from connectors.sandbox.github.tracker import GitHubTracker
from connectors.sandbox.jira import adf
from connectors.sandbox.jira.recorded import load_recorded as load_jira
from connectors.sandbox.jira.site import JiraSite
from connectors.sandbox.jira.tracker import JiraTracker
from connectors.sandbox.server import serve, serve_in_thread
from connectors.sandbox.tracker import Tracker
from tests.support.exchanges import check_exchange, from_requests, operation_of
from tests.support.recorded import REMADE, Payloads, expecting
from tests.support.tracker_guard import Guard
from tests.support.vendor_api import openapi_for

NOW = datetime(2026, 11, 20, 15, 30, tzinfo=UTC)
WORDS = adf.from_text("No key result is linked.")
LOCKED = "Unable to create comment because issue is locked."
ARCHIVED = "Repository was archived so is read-only."
csv.field_size_limit(sys.maxsize)


@asynccontextmanager
async def guarded(
    tracker: Tracker,
    description: str,
    *,
    auth: tuple[str, str] | None = None,
    headers: dict[str, str] | None = None,
) -> AsyncIterator[tuple[httpx.AsyncClient, Guard]]:
    guard = Guard(openapi_for(description))
    async with (
        serve(tracker, through=guard.around) as url,
        httpx.AsyncClient(base_url=url, timeout=10, auth=auth, headers=headers) as http,
    ):
        yield http, guard


def unvisited(tracker: Tracker, guard: Guard) -> list[str]:
    """The REST routes, each with its method, that no request reached."""
    assert isinstance(tracker.routes, Starlette)
    routes = [one for one in tracker.routes.routes if isinstance(one, Route)]
    visited = set()
    for request, _ in guard.exchanges:
        hit = next(
            (
                one
                for one in routes
                if request.method in (one.methods or ()) and one.path_regex.match(request.url.path)
            ),
            None,
        )
        assert hit is not None, f"{request.method} {request.url.path} reached no route"
        visited.add((request.method, hit.path))
    ours = ("/-/", "/browse/")
    return [
        f"{method} {one.path}"
        for one in routes
        for method in (one.methods or set()) - {"HEAD"}
        if (method, one.path) not in visited
        and one.path != "/"
        and not one.path.startswith((*ours, "/{owner}/"))
    ]


def unserved(guard: Guard) -> list[str]:
    """The described operations, each with its method, that no request reached."""
    reached = [operation_of(guard.description, request) for request, _ in guard.exchanges]
    visited = {(one.method, one.path) for one in reached if one is not None}
    return [
        f"{one.method} {one.path}"
        for one in guard.description.operations
        if (one.method, one.path) not in visited
    ]


async def ask_about_rights(http: httpx.AsyncClient, site: JiraSite, issue: int) -> None:
    """For oneself, and for another person first without and then with the right to ask."""
    check = "/rest/api/3/permissions/check"
    entry = {"permissions": ["EDIT_ISSUES"], "issues": [issue, 1], "projects": [1]}
    asked = {"globalPermissions": ["ADMINISTER"], "projectPermissions": [entry]}
    granted = {"permission": "EDIT_ISSUES", "issues": [issue], "projects": []}
    assert (await http.post(check, json=asked)).json() == {
        "globalPermissions": [],
        "projectPermissions": [granted],
    }
    of_another = {**asked, "accountId": site.account("dev-lead").account_id}
    assert (await http.post(check, json=of_another)).status_code == 403
    site.administrators.add(site.bot.account_id)
    assert (await http.post(check, json=of_another)).json()["projectPermissions"] == [granted]


async def list_with_properties(http: httpx.AsyncClient, comment: int, author: str) -> None:
    """Who wrote a comment, and what hangs on it: the list of an issue's comments says the first alone."""
    listed = await http.post(
        "/rest/api/3/comment/list", params={"expand": "properties"}, json={"ids": [comment]}
    )
    [value] = listed.json()["values"]
    assert {one["key"] for one in value["properties"]} == {"northing", "other"}
    message = {name: value["author"][name] for name in ("accountId", "accountType", "active")}
    assert message == {"accountId": author, "accountType": "atlassian", "active": True}


async def ask_for_projects(http: httpx.AsyncClient) -> None:
    api = "/rest/api/3"
    first = (await http.get(f"{api}/project/search", params={"maxResults": 3})).json()
    assert [one["key"] for one in first["values"]] == ["CORE", "HELP", "PAY"]
    assert not first["isLast"]
    assert {one["projectTypeKey"] for one in first["values"]} == {"software", "service_desk"}
    core = (await http.get(f"{api}/project/CORE")).json()
    by_id = await http.get(f"{api}/project/search", params={"id": core["id"]})
    assert [one["key"] for one in by_id.json()["values"]] == ["CORE"]
    assert (await http.get(f"{api}/project/NONE")).status_code == 404


async def ask_about_conditions(http: httpx.AsyncClient) -> None:
    api = "/rest/api/3"
    asked = {"queries": ["project = SHOP", "colour = red"]}
    parsed = await http.post(f"{api}/jql/parse", params={"validation": "strict"}, json=asked)
    right, wrong = parsed.json()["queries"]
    assert (right.get("errors"), len(wrong["errors"])) == (None, 1)
    assert (await http.post(f"{api}/jql/parse", params={"validation": "no"}, json=asked)).status_code == 400
    counted = await http.post(f"{api}/search/approximate-count", json={"jql": "project = SHOP"})
    assert counted.json()["count"] > 10


async def test_every_jira_route_fits_the_description() -> None:
    tracker = JiraTracker(jira_site(lambda: NOW))
    bot = tracker.site.bot
    async with guarded(tracker, "jira-cloud-v3", auth=(bot.email, bot.token)) as (http, guard):
        api = "/rest/api/3"
        for path in ("myself", "serverInfo", "issuetype", "field"):
            assert (await http.get(f"{api}/{path}")).status_code == 200
        await ask_for_projects(http)
        await ask_about_conditions(http)
        rights = {"permissions": "BROWSE_PROJECTS,ADD_COMMENTS,EDIT_OWN_COMMENTS", "projectKey": "SHOP"}
        held = (await http.get(f"{api}/mypermissions", params=rights)).json()["permissions"]
        assert all(one["havePermission"] for one in held.values())

        found = await http.get(f"{api}/search/jql", params={"jql": "project = SHOP", "fields": "*all"})
        issue = found.json()["issues"][0]
        assert issue["fields"]["issuetype"]["hierarchyLevel"] is not None
        body = {
            "jql": "project in (SHOP)",
            "fields": ["summary"],
            "maxResults": 5,
            "reconcileIssues": [int(issue["id"])],
        }
        assert "nextPageToken" in (await http.post(f"{api}/search/jql", json=body)).json()
        assert (await http.get(f"{api}/search", params={"jql": "project = SHOP"})).status_code == 410
        assert (await http.post(f"{api}/search", json={"jql": "project = SHOP"})).status_code == 410
        fetched = await http.post(f"{api}/issue/bulkfetch", json={"issueIdsOrKeys": ["SHOP-1", "NONE-1"]})
        assert len(fetched.json()["issues"]) == len(fetched.json()["issueErrors"]) == 1

        one = f"{api}/issue/SHOP-2"
        assert (await http.get(one, params={"fields": "summary,status"})).status_code == 200
        edit = {"fields": {"description": WORDS, "labels": ["a"], "duedate": "2026-12-01"}}
        assert (await http.put(one, json=edit)).status_code == 204
        properties = [{"key": "northing", "value": {"notice": 1}}]
        made = await http.post(f"{one}/comment", json={"body": WORDS, "properties": properties})
        assert made.status_code == 201
        comment = f"{one}/comment/{made.json()['id']}"
        assert (await http.get(f"{one}/comment", params={"orderBy": "-created"})).json()["total"] == 1
        assert (await http.get(comment)).status_code == 200
        assert (await http.put(comment, json={"body": adf.from_text("Aligned.")})).status_code == 200
        held_at = f"{api}/comment/{made.json()['id']}/properties"
        assert (await http.put(f"{held_at}/other", json={"a": 1})).status_code == 201
        assert (await http.get(f"{held_at}/northing")).json()["value"] == {"notice": 1}
        await list_with_properties(http, int(made.json()["id"]), bot.account_id)
        await ask_about_rights(http, tracker.site, int(issue["id"]))
        assert (await http.delete(comment)).status_code == 204
        assert (await http.delete("/rest/api/3/issue/SHOP-12")).status_code == 204
        assert (await http.get(f"{api}/issue/SHOP-12")).status_code == 404
        assert (await http.get(f"{api}/myself", auth=("nobody", "wrong"))).status_code == 401
        assert (await http.get(f"{api}/project/search", auth=("nobody", "wrong"))).json()["total"] == 0
    assert unvisited(tracker, guard) == []
    assert unserved(guard) == []
    assert guard.found == []


async def list_own_repositories(http: httpx.AsyncClient, prefix: str) -> None:
    own = await http.get(f"{prefix}/user/repos", params={"per_page": 1, "sort": "full_name"})
    assert [one["full_name"] for one in own.json()] == ["acme/docs"]
    assert (await http.get(own.links["next"]["url"])).json()[0]["full_name"] == "acme/mobile"


async def react_and_ask_for_rights(http: httpx.AsyncClient, home: str, comment: str) -> None:
    query = {"sort": "updated", "direction": "asc", "since": "2025-01-01T00:00:00Z", "per_page": "1"}
    assert (await http.get(f"{home}/issues/comments", params=query)).status_code == 200
    assert (await http.get(f"{home}/issues/comments", params={"sort": "size"})).status_code == 422
    made = await http.post(f"{comment}/reactions", json={"content": "+1"})
    again = await http.post(f"{comment}/reactions", json={"content": "+1"})
    assert (made.status_code, again.status_code, again.json()) == (201, 200, made.json())
    assert (await http.get(comment)).json()["reactions"]["+1"] == 1
    assert (await http.post(f"{comment}/reactions", json={"content": "-2"})).status_code == 422
    there = f"{comment}/reactions/{made.json()['id']}"
    assert [(await http.delete(there)).status_code for _ in range(2)] == [204, 404]
    person = (await http.get(f"{home}/collaborators/dev-lead/permission")).json()
    assert (person["permission"], person["role_name"]) == ("write", "write")
    assert (await http.get(f"{home}/collaborators/passer-by/permission")).status_code == 404


async def ask_for_what_is_not_there(http: httpx.AsyncClient, home: str) -> None:
    assert (await http.get(f"{home}/issues/12")).status_code == 301
    assert (await http.post(f"{home}/issues/12/comments", json={"body": "x"})).status_code == 307
    assert (await http.get(f"{home}/issues/11")).status_code == 410
    assert (await http.get(f"{home}/issues/999")).status_code == 404
    assert (await http.get(f"{home}/issues", params={"state": "ope"})).status_code == 422


@pytest.mark.parametrize("prefix", ["", "/api/v3"])
async def test_every_github_route_fits_the_description(prefix: str) -> None:
    tracker = GitHubTracker(github_host(lambda: NOW))
    tracker.host.transfer("acme/mobile#12", "acme/platform")
    tracker.host.delete("acme/mobile#11")
    headers = {"Authorization": f"Bearer {tracker.host.bot.token}", "X-GitHub-Api-Version": "2022-11-28"}
    async with guarded(tracker, "github", headers=headers) as (http, guard):
        organization = ("/orgs/acme/issue-types", "/orgs/acme/issue-fields")
        for path in ("/user", "/meta", "/rate_limit", *organization, "/repos/acme/docs"):
            assert (await http.get(prefix + path)).status_code == 200
        await list_own_repositories(http, prefix)
        listed = await http.get(f"{prefix}/orgs/acme/repos", params={"per_page": 2, "sort": "full_name"})
        assert [one["name"] for one in listed.json()] == ["docs", "mobile"]
        repository = (await http.get(f"{prefix}/repos/acme/mobile")).json()
        query = {"state": "all", "since": "2025-01-01T00:00:00Z", "sort": "updated", "direction": "asc"}
        for home in (f"{prefix}/repos/acme/mobile", f"{prefix}/repositories/{repository['id']}"):
            assert (await http.get(home)).status_code == 200
            assert (await http.get(f"{home}/labels/EPIC")).json()["name"] == "epic"
            assert (await http.get(f"{home}/labels/none")).status_code == 404
            page = await http.get(f"{home}/issues", params={**query, "per_page": 4})
            assert len(page.json()) == 4
            assert (await http.get(page.links["next"]["url"])).status_code == 200
            one = f"{home}/issues/1"
            assert (await http.get(one)).json()["sub_issues_summary"]["total"] == 3
            assert (await http.get(f"{one}/sub_issues", params={"per_page": 1})).links["next"]
            assert (await http.get(f"{home}/issues/13/parent")).json()["number"] == 1
            assert (await http.get(f"{one}/parent")).status_code == 404
            assert (await http.patch(one, json={"labels": ["epic"], "body": "New"})).json()["body"] == "New"
            made = await http.post(f"{one}/comments", json={"body": "<!-- northing:notice -->\nHello"})
            assert made.status_code == 201
            comment = f"{home}/issues/comments/{made.json()['id']}"
            shown = (await http.get(comment)).json()
            assert shown["performed_via_github_app"] is None
            assert shown["author_association"] == "MEMBER"
            assert shown["issue_url"].endswith("/repos/acme/mobile/issues/1")
            assert (await http.patch(comment, json={"body": "Aligned"})).json()["body"] == "Aligned"
            await react_and_ask_for_rights(http, home, comment)
            assert (await http.get(f"{one}/comments", params={"per_page": 100})).status_code == 200
            assert (await http.delete(comment)).status_code == 204
            new = await http.post(
                f"{home}/issues", json={"title": "New", "labels": ["epic"], "assignees": ["dev-lead"]}
            )
            assert new.status_code == 201
            await ask_for_what_is_not_there(http, home)
        assert (await http.get(f"{prefix}/user", headers={"Authorization": "token no"})).status_code == 401
    assert [line for line in unvisited(tracker, guard) if ("/api/v3/" in line) == bool(prefix)] == []
    assert unserved(guard) == []
    assert guard.found == []


async def test_what_is_closed_to_us_on_jira_refuses_as_described() -> None:
    """Archived: in no list, to be read and not written. On a security level without us: not there at all."""
    tracker = JiraTracker(jira_site(lambda: NOW))
    bot, api = tracker.site.bot, "/rest/api/3"
    tracker.site.archive("SHOP")
    tracker.site.close_to_bot("PAY-1")
    async with guarded(tracker, "jira-cloud-v3", auth=(bot.email, bot.token)) as (http, guard):
        listed = (await http.get(f"{api}/project/search")).json()["values"]
        assert "SHOP" not in {one["key"] for one in listed}
        jql: dict[str, str | int] = {"jql": "project in (SHOP, PAY)", "fields": "summary", "maxResults": 100}
        found = {one["key"] for one in (await http.get(f"{api}/search/jql", params=jql)).json()["issues"]}
        assert "PAY-2" in found
        assert not found & {"SHOP-1", "PAY-1"}
        fetched = await http.post(f"{api}/issue/bulkfetch", json={"issueIdsOrKeys": ["SHOP-1", "PAY-1"]})
        assert [one["key"] for one in fetched.json()["issues"]] == ["SHOP-1"]
        message = [
            await http.post(f"{api}/issue/{key}/comment", json={"body": WORDS}) for key in ("SHOP-1", "PAY-1")
        ]
        assert [one.status_code for one in message] == [400, 404]
    assert guard.found == []


async def test_what_is_closed_to_us_on_github_refuses_as_described() -> None:
    tracker = GitHubTracker(github_host(lambda: NOW))
    tracker.host.lock("acme/mobile#1")
    tracker.host.repository("acme/docs").archived = True
    headers = {"Authorization": f"Bearer {tracker.host.bot.token}"}
    async with guarded(tracker, "github", headers=headers) as (http, guard):
        assert (await http.get("/repos/acme/mobile/issues/1")).json()["locked"] is True
        message = await http.post("/repos/acme/mobile/issues/1/comments", json={"body": "x"})
        assert (message.status_code, message.json()["message"]) == (403, LOCKED)
        assert (await http.get("/repos/acme/docs")).json()["archived"] is True
        message = await http.post("/repos/acme/docs/issues/1/comments", json={"body": "x"})
        assert (message.status_code, message.json()["message"]) == (403, ARCHIVED)
        tracker.host.repository("acme/mobile").role = "push"
        message = await http.post("/repos/acme/mobile/issues/1/comments", json={"body": "x"})
        assert message.status_code == 201
    assert guard.found == []


@expecting(remade=10, recorded=33)
async def test_recorded_jira_issues_are_served_as_recorded(payloads: Payloads, expected: int) -> None:
    tracker = JiraTracker()
    bot = tracker.site.bot
    recorded = payloads.jira_issues()
    for raw in recorded:
        load_jira(tracker.site, raw)
    async with guarded(tracker, "jira-cloud-v3", auth=(bot.email, bot.token)) as (http, guard):
        found = await http.get(
            "/rest/api/3/search/jql",
            params={"jql": "updated >= 0 ORDER BY key ASC", "fields": "*all", "maxResults": 100},
        )
        served = {one["id"]: one for one in found.json()["issues"]}
        for raw in recorded:
            one = served[raw["id"]]
            assert one["key"] == raw["key"]
            same = {
                name: value
                for name, value in raw["fields"].items()
                if name in one["fields"] and name != "comment"
            }
            assert {name: one["fields"][name] for name in same} == same
            assert (await http.get(f"/rest/api/3/issue/{raw['key']}")).status_code == 200
    assert len(served) == len(recorded) == expected
    assert guard.found == []


@expecting(remade=38, recorded=38)
async def test_recorded_github_issues_are_served_as_recorded(payloads: Payloads, expected: int) -> None:
    tracker = GitHubTracker()
    names = []
    recorded = [body for _, body in payloads.github_webhooks() if {"issue", "repository"} <= set(body)]
    for number, body in enumerate(recorded):
        raw = body["issue"]
        # Many examples are of the same issue, so each gets a repository of its own.
        name = f"{body['repository']['full_name']}-{number}"
        load_github(tracker.host, name, raw)
        names.append((name, raw))
    headers = {"Authorization": f"token {tracker.host.bot.token}"}
    async with serve(tracker) as url, httpx.AsyncClient(base_url=url, headers=headers) as http:
        for name, raw in names:
            one = (await http.get(f"/repos/{name}/issues/{raw['number']}")).json()
            assert one["id"] == raw["id"]
            assert one["updated_at"] == raw["updated_at"]
            assert [label["name"] for label in one["labels"]] == [
                label["name"] for label in raw.get("labels") or []
            ]
            listed = (await http.get(f"/repos/{name}/issues", params={"state": "all"})).json()
            assert [entry["title"] for entry in listed] == [raw["title"]]
    assert len(names) == expected


async def test_an_edited_recording_shows_the_edit() -> None:
    tracker = JiraTracker()
    raw = REMADE.jira_issues()[0]
    load_jira(tracker.site, raw)
    tracker.site.edit(raw["key"], summary="New words")
    bot = tracker.site.bot
    login = base64.b64encode(f"{bot.email}:{bot.token}".encode()).decode()
    async with serve(tracker) as url, httpx.AsyncClient(headers={"Authorization": f"Basic {login}"}) as http:
        fields = (await http.get(f"{url}/rest/api/3/issue/{raw['id']}")).json()["fields"]
    assert fields["summary"] == "New words"
    assert fields["updated"] > raw["fields"]["updated"]
    assert fields["project"] == raw["fields"]["project"]


def test_an_exchange_of_the_library_requests_is_checked_alike() -> None:
    tracker = JiraTracker(jira_site(lambda: NOW))
    auth = (tracker.site.bot.email, tracker.site.bot.token)
    with serve_in_thread(tracker) as url:
        search = f"{url}/rest/api/3/search/jql"
        fine = requests.post(
            search, json={"jql": "project = SHOP", "fields": ["summary"]}, auth=auth, timeout=10
        )
        unknown: dict[str, str | int] = {"jql": "project = SHOP", "startAt": 0}
        wrong = requests.get(search, params=unknown, auth=auth, timeout=10)
    assert check_exchange(*from_requests(fine)) == []
    assert check_exchange(*from_requests(wrong)) == ["GET /rest/api/3/search/jql: query startAt: unknown"]
