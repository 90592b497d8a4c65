"""Our descriptions of the vendors' interfaces find what is wrong, and describe what the trackers send."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from connectors.github import webhooks as github_webhooks
from connectors.jira import webhooks as jira_webhooks
from connectors.sandbox.github.host import GitHubHost
from connectors.sandbox.github.tracker import GitHubTracker
from connectors.sandbox.jira.tracker import JiraTracker
from connectors.sandbox.server import serve
from connectors.sandbox.tracker import Tracker
from tests.support.beside import needs_fixtures
from tests.support.exchanges import check_event, request_problems, response_problems
from tests.support.tracker_guard import Guard
from tests.support.vendor_api import Description, Json, openapi_for, vendors_openapi
from tests.support.webhook_receiver import SECRET, Receiver, change_everything_at, change_everything_on

REST = "http://tracker/rest/api/3"
REPO = "http://tracker/repos/acme/shop"
DOCUMENT = {"type": "doc", "version": 1, "content": []}


def call(method: str, url: str, **more: Any) -> httpx.Request:
    return httpx.Request(method, url, **more)


def answer(body: Any, status: int = 200) -> httpx.Response:
    return httpx.Response(status, json=body)


SEARCH = call("GET", f"{REST}/search/jql?jql=project=A&fields=id,summary&maxResults=10")
COMMENT = f"{REST}/issue/A-1/comment"
LABEL = {
    "id": 1, "node_id": "L", "url": "https://h.example/1", "name": "epic", "description": None,
    "color": "fff", "default": False,
}  # fmt: skip
ON_LABEL = call("GET", f"{REPO}/labels/epic")

# --- what is wrong is found ---------------------------------------------------------------------

REQUESTS = [
    ("an unknown member", call("POST", f"{REST}/search/jql", json={"jql": "x = 1", "startAt": 0}), "startAt"),
    ("a null", call("POST", f"{REST}/search/jql", json={"jql": "x", "nextPageToken": None}), "null"),
    ("a text for a list", call("POST", f"{REST}/search/jql", json={"jql": "x", "fields": "id"}), "fields"),
    ("an unknown parameter", call("GET", f"{REST}/search/jql?startAt=1"), "startAt: unknown"),
    ("words for a number", call("GET", f"{REST}/search/jql?maxResults=many"), "maxResults"),
    ("a number beyond the limit", call("GET", f"{REST}/project/search?maxResults=101"), "maxResults"),
    ("twice the same", call("POST", f"{REST}/comment/list", json={"ids": [1, 1]}), "ids"),
    ("a missing member of Jira", call("POST", f"{REST}/comment/list", json={}), "ids"),
    ("no document", call("POST", COMMENT, json={"body": "plain words"}), "plain words"),
    ("a document of no version", call("POST", COMMENT, json={"body": {"type": "doc", "content": []}}),
     "version"),
    ("a description in words", call("PUT", f"{REST}/issue/A-1", json={"fields": {"description": "x"}}), "x"),
    ("no body", call("POST", COMMENT), "missing"),
    ("a body too many", call("GET", f"{REST}/myself", json={}), "none is described"),
    ("another type of body", call("POST", COMMENT, content=b"{}", headers={"content-type": "text/x"}),
     "text/x"),
    ("no JSON", call("POST", COMMENT, content=b"{", headers={"content-type": "application/json"}), "JSON"),
    ("an unknown route of Jira", call("GET", f"{REST}/nothing"), "not in the description"),
    ("an unknown method", call("PATCH", f"{REST}/issue/A-1"), "not in the description"),
    ("a value that is none", call("GET", f"{REPO}/issues?state=none"), "state"),
    ("words for an id", call("GET", f"{REPO}/issues/x"), "issue_number"),
    ("no time", call("GET", f"{REPO}/issues?since=yesterday"), "since"),
    ("a missing member", call("POST", f"{REPO}/issues/1/comments", json={}), "body"),
    ("a wrong type", call("PATCH", f"{REPO}/issues/comments/1", json={"body": 7}), "7"),
    ("an unknown member of an issue", call("PATCH", f"{REPO}/issues/1", json={"colour": "red"}), "colour"),
    ("an unknown route", call("GET", f"{REPO}/pulls"), "not in the description"),
]  # fmt: skip
ANSWERS = [
    ("an unknown member", SEARCH, answer({"issues": [], "total": 0}), "total"),
    ("a wrong type", SEARCH, answer({"issues": [{"id": 1}]}), "1"),
    ("a value that is none", call("GET", f"{REST}/myself"), answer({"accountId": "1", "accountType": "x"}),
     "x"),
    ("no time", call("GET", f"{REST}/serverInfo"), answer({"serverTime": "noon"}), "noon"),
    ("an undescribed status", SEARCH, httpx.Response(418), "not described"),
    ("a status of another operation", call("GET", COMMENT), answer({}, 201), "not described"),
    ("no body", SEARCH, httpx.Response(200), "no body"),
    ("no JSON", SEARCH, httpx.Response(200, text="words"), "text/plain"),
    ("a body without content", call("DELETE", f"{COMMENT}/1"), answer({}, 204), "204"),
    ("an error in another form", SEARCH, answer({"message": "x"}, 400), "message"),
    ("a missing member", ON_LABEL, answer({"name": "epic"}), "color"),
    ("a null", ON_LABEL, answer({**LABEL, "name": None}), "null"),
    ("no address", ON_LABEL, answer({**LABEL, "url": "not an address"}), "address"),
]  # fmt: skip
# Of Atlassian's document these are no contradiction: nothing is required there, and a few objects are open.
OURS_ALONE = [
    ("a required parameter", call("GET", f"{REST}/mypermissions"), "permissions: missing"),
    ("a comment without text", call("POST", COMMENT, json={}), "body"),
]
MISSED_BY_THEIRS = [
    ("a result without issues", SEARCH, answer({"isLast": True}), "issues"),
    ("a member more on GitHub", ON_LABEL, answer({**LABEL, "colour": "red"}), "colour"),
    ("a document in an answer", call("GET", f"{COMMENT}/1"), answer({"id": "1", "body": "words"}), "words"),
]


def description_of(request: httpx.Request) -> str:
    return "jira-cloud-v3" if "/rest/api/" in request.url.path else "github"


@pytest.mark.parametrize(
    ("sent", "word"),
    [row[1:] for row in REQUESTS + OURS_ALONE],
    ids=[row[0] for row in REQUESTS + OURS_ALONE],
)
def test_a_wrong_request_is_found_by_our_description(sent: httpx.Request, word: str) -> None:
    assert word in " ".join(request_problems(openapi_for(description_of(sent)), sent))


@pytest.mark.parametrize(
    ("sent", "response", "word"),
    [row[1:] for row in ANSWERS + MISSED_BY_THEIRS],
    ids=[row[0] for row in ANSWERS + MISSED_BY_THEIRS],
)
def test_a_wrong_answer_is_found_by_our_description(
    sent: httpx.Request, response: httpx.Response, word: str
) -> None:
    api = openapi_for(description_of(sent))
    assert request_problems(api, sent) == []
    assert word in " ".join(response_problems(api, sent, response))


@pytest.mark.parametrize(
    ("sent", "response"),
    [
        (SEARCH, answer({"issues": [{"id": "1"}], "isLast": True})),
        (call("POST", COMMENT, json={"body": DOCUMENT}), answer({"id": "1", "body": DOCUMENT}, 201)),
        (ON_LABEL, answer(LABEL)),
        (ON_LABEL, answer({"message": "Not Found", "status": "404"}, 404)),
        (call("PATCH", f"{REPO}/issues/comments/1", json={"body": "x"}), answer({"message": "x"}, 403)),
    ],
)
def test_what_is_right_is_not_reported(sent: httpx.Request, response: httpx.Response) -> None:
    api = openapi_for(description_of(sent))
    assert request_problems(api, sent) + response_problems(api, sent, response) == []


@needs_fixtures
def test_the_vendors_documents_find_the_same() -> None:
    found = [
        *((what, word, request_problems(vendors_of(sent), sent)) for what, sent, word in REQUESTS),
        *(
            (what, word, response_problems(vendors_of(sent), sent, response))
            for what, sent, response, word in ANSWERS
        ),
    ]
    assert [(what, word, problems) for what, word, problems in found if word not in " ".join(problems)] == []


def vendors_of(request: httpx.Request) -> Description:
    theirs = vendors_openapi(description_of(request))
    assert theirs is not None
    return theirs


# --- an Enterprise Server -----------------------------------------------------------------------


async def read_an_epic(host: GitHubHost) -> Guard:
    """An epic is listed, read and changed, and its sub-issues are asked for, as of an Enterprise Server."""
    host.add_repository("acme/shop")
    host.create("acme/shop", "Reorder in two taps", labels=["epic"])
    guard = Guard(openapi_for("ghes-3.19"))
    headers = {"Authorization": f"Bearer {host.bot.token}"}
    async with (
        serve(GitHubTracker(host), through=guard.around) as url,
        httpx.AsyncClient(base_url=f"{url}/api/v3", headers=headers) as http,
    ):
        issues = "/repos/acme/shop/issues"
        for path in ("/user", "/meta", "/repos/acme/shop", issues, f"{issues}/1", f"{issues}/1/comments"):
            assert (await http.get(path)).status_code == 200
        assert (await http.patch(f"{issues}/1", json={"title": "Reorder"})).status_code == 200
        await http.get(f"{issues}/1/sub_issues")
    return guard


async def test_an_enterprise_server_fits_its_description() -> None:
    host = GitHubHost(features=())
    host.release = "3.19.2"
    guard = await read_an_epic(host)
    sub_issues = "GET /api/v3/repos/acme/shop/issues/1/sub_issues: not in the description"
    assert [response.status_code for _, response in guard.exchanges][-1] == 404
    assert guard.found == [sub_issues]


# --- webhooks -----------------------------------------------------------------------------------


async def sent_by(tracker: Tracker, change: Callable[[], object]) -> list[tuple[str, Json]]:
    async with serve(Receiver()) as there, serve(tracker):
        tracker.webhook_sender.set(there, SECRET)
        change()
        await tracker.webhook_sender.idle()
        return [(one.event, json.loads(one.body)) for one in tracker.webhook_sender.sent]


async def test_what_the_simulated_github_sends_is_described() -> None:
    tracker = GitHubTracker()
    sent = await sent_by(tracker, lambda: change_everything_on(tracker.host))
    assert {event for event, _ in sent} == {"issues", "issue_comment"}
    assert [problem for event, body in sent for problem in check_event("github", event, body)] == []


async def test_what_the_simulated_jira_sends_is_described() -> None:
    tracker = JiraTracker()
    sent = await sent_by(tracker, lambda: change_everything_at(tracker.site))
    assert {event for event, _ in sent} == set(openapi_for("jira-cloud-v3").events)
    assert [problem for event, body in sent for problem in check_event("jira-cloud-v3", event, body)] == []


def test_a_wrong_webhook_is_found() -> None:
    assert check_event("github", "push", {}) == ["push: not in the description"]
    missing = " ".join(check_event("github", "label", {"action": "painted", "colour": "red"}))
    for word in ("painted", "colour", '"label" is a required', '"sender" is a required'):
        assert word in missing
    comment = {"id": 7, "author": {"accountId": "1"}, "body": DOCUMENT}
    body = {"timestamp": "noon", "webhookEvent": "comment_created", "comment": comment}
    found = " ".join(check_event("jira-cloud-v3", "comment_created", body))
    for word in ('"noon" is not of type "integer"', "comment/id", "comment/body"):
        assert word in found


def test_each_event_that_we_handle_is_described() -> None:
    events = openapi_for("github").events
    # An organisation's name is stored nowhere: its event alone is answered by reading all of it again.
    assert set(events) - {"ping"} == set(github_webhooks.HANDLED) - {"organization"}
    for event, actions in github_webhooks.HANDLED.items():
        if event in events:
            known = {*actions, *github_webhooks.IGNORED_ACTIONS.get(event, ())}
            assert set(events[event]["properties"]["action"]["enum"]) == known, event
    assert set(openapi_for("jira-cloud-v3").events) == jira_webhooks.ISSUES | jira_webhooks.COMMENTS
