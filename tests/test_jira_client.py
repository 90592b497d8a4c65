"""The Jira connector over HTTP: what it sends, what it makes of the answers."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
import responses
from requests import PreparedRequest

from connectors.base import (
    BadPayload,
    Comment,
    ConnectorError,
    Epic,
    EpicRef,
    Gone,
    Missing,
    Page,
    Rejected,
    Unanswered,
    Unauthorized,
    Unavailable,
)
from connectors.jira import payloads
from tests.support.jira_answers import (
    API,
    COMMENTS,
    MARKER,
    ME,
    NOTICE,
    REF,
    SHOP,
    SITE,
    START,
    TOKEN,
    Make,
    body,
    comment,
    issue,
    read,
    sent,
    signed_in,
)


def keys(pages: list[Page]) -> list[str]:
    return [epic.key for page in pages for epic in page.epics]


# --- reading --------------------------------------------------------------------------------


async def test_only_the_new_search_is_called(jira: responses.RequestsMock, make_jira: Make) -> None:
    jira.post(f"{API}/search", status=410, json={"errorMessages": ["The requested API has been removed."]})
    jira.post(f"{API}/search/jql", json={"issues": [issue(1)], "isLast": True})
    connector = make_jira()
    assert keys(await read(connector)) == ["SHOP-1"]
    assert not sent(jira, "/rest/api/3/search")
    assert connector.requests == len(jira.calls) == 2


async def test_fields_are_named(jira: responses.RequestsMock, make_jira: Make) -> None:
    jira.post(f"{API}/search/jql", json={"issues": []})
    await read(make_jira(epics={"fields": ["customfield_7"]}))
    (request,) = sent(jira, "/search/jql")
    assert {"summary", "description", "customfield_7"} <= set(body(request)["fields"])
    assert "startAt" not in body(request)


async def test_short_and_empty_pages_with_a_token_go_on(
    jira: responses.RequestsMock, make_jira: Make
) -> None:
    for page in (
        {"issues": [issue(1)], "nextPageToken": "a", "isLast": True},
        {"issues": [], "nextPageToken": "b", "isLast": True},
        {"issues": [issue(2), issue(3)], "nextPageToken": "c"},
        {"issues": [issue(4)], "isLast": False},
    ):
        jira.post(f"{API}/search/jql", json=page)
    pages = await read(make_jira())
    assert keys(pages) == ["SHOP-1", "SHOP-2", "SHOP-3", "SHOP-4"]
    assert [len(page.epics) for page in pages] == [1, 0, 2, 1]
    tokens = [body(r).get("nextPageToken") for r in sent(jira, "/search/jql")]
    assert tokens == [None, "a", "b", "c"]


async def test_a_repeated_token_is_an_error_and_no_end(jira: responses.RequestsMock, make_jira: Make) -> None:
    jira.post(f"{API}/search/jql", json={"issues": [issue(1)], "nextPageToken": "a"})
    jira.post(f"{API}/search/jql", json={"issues": [issue(2)], "nextPageToken": "a"})
    with pytest.raises(BadPayload, match="twice"):
        await read(make_jira())


async def test_epoch_milliseconds_overlap_and_a_cursor_of_what_was_seen(
    jira: responses.RequestsMock, make_jira: Make
) -> None:
    jira.post(f"{API}/search/jql", json={"issues": [issue(1), issue(9)], "nextPageToken": "a"})
    jira.post(f"{API}/search/jql", json={"issues": []})
    pages = await read(make_jira(), since=START)
    assert [page.cursor for page in pages] == [START + timedelta(hours=9)] * 2
    jql = body(sent(jira, "/search/jql")[0])["jql"]
    assert f"updated >= {int((START - timedelta(minutes=5)).timestamp()) * 1000} ORDER BY updated ASC" in jql
    jira.replace("POST", f"{API}/search/jql", json={"issues": []})
    assert [page.cursor for page in await read(make_jira(), since=START)] == [None]


async def test_epics_are_asked_for_by_type_id(jira: responses.RequestsMock, make_jira: Make) -> None:
    jira.post(f"{API}/search/jql", json={"issues": []})
    await read(make_jira())
    assert 'project = "SHOP" AND issuetype in (10000)' in body(sent(jira, "/search/jql")[0])["jql"]


async def test_no_address_of_the_answer_is_followed(jira: responses.RequestsMock, make_jira: Make) -> None:
    jira.post(f"{API}/search/jql", json={"issues": [issue(1)]})
    (page,) = await read(make_jira())
    assert page.epics[0].url == f"{SITE}/browse/SHOP-1"
    assert {urlsplit(c.request.url or "").netloc for c in jira.calls} == {"acme.atlassian.net"}


async def test_the_page_before_a_fault_is_handed_over_first(
    jira: responses.RequestsMock, make_jira: Make
) -> None:
    jira.post(f"{API}/search/jql", json={"issues": [issue(1)], "nextPageToken": "a"})
    jira.post(f"{API}/search/jql", status=503, headers={"Retry-After": "9"})
    pages = make_jira().changed_since(SHOP, None)
    assert keys([await anext(pages)]) == ["SHOP-1"]
    with pytest.raises(Unavailable) as caught:
        await anext(pages)
    assert caught.value.retry_after == 9


async def test_a_reader_may_stop_early(jira: responses.RequestsMock, make_jira: Make) -> None:
    jira.post(f"{API}/search/jql", json={"issues": [issue(1)], "nextPageToken": "a"})
    jira.post(f"{API}/search/jql", status=500)
    pages = make_jira().changed_since(SHOP, None)
    assert (await anext(pages)).epics[0].key == "SHOP-1"
    await pages.aclose()


async def test_an_empty_answer_to_nobody_is_no_empty_project(
    jira: responses.RequestsMock, make_jira: Make
) -> None:
    jira.post(
        f"{API}/search/jql", json={"issues": []}, headers={"X-Seraph-LoginReason": "AUTHENTICATED_FAILED"}
    )
    with pytest.raises(Unauthorized):
        await read(make_jira())
    jira.replace("POST", f"{API}/search/jql", json={"issues": []}, headers={"X-AUSERNAME": "anonymous"})
    with pytest.raises(Unauthorized):
        await read(make_jira())


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"json": ME}, None),
        ({"status": 401}, Unauthorized),
        ({"status": 403, "json": {"message": "CAPTCHA"}}, Unauthorized),
        ({"json": {}}, Unauthorized),
        ({"json": {"displayName": "Anonymous"}}, Unauthorized),
        ({"json": ME, "headers": {"X-Seraph-LoginReason": "AUTHENTICATION_DENIED"}}, Unauthorized),
        ({"status": 404, "body": "<html>"}, Rejected),
        ({"status": 302, "headers": {"Location": "https://id.example/login"}}, Rejected),
        ({"body": "<html>welcome</html>"}, BadPayload),
        ({"body": b"[" * 100_000}, BadPayload),
    ],
)
async def test_the_account(
    jira: responses.RequestsMock, make_jira: Make, answer: dict[str, Any], error: type[ConnectorError] | None
) -> None:
    jira.replace("GET", f"{API}/myself", **answer)
    if error is None:
        assert (await make_jira().account()).id == "me"
        return
    with pytest.raises(error) as caught:
        await make_jira().account()
    assert caught.value.code == error.code
    assert TOKEN not in str(caught.value)


async def test_no_redirect_is_followed_with_the_token(jira: responses.RequestsMock, make_jira: Make) -> None:
    jira.post(f"{API}/search/jql", status=308, headers={"Location": "https://evil.example/search"})
    jira.post("https://evil.example/search", json={"issues": []})
    with pytest.raises(Rejected, match="another address"):
        await read(make_jira())
    assert not any("evil.example" in (c.request.url or "") for c in jira.calls)


async def test_projects_of_the_scope(jira: responses.RequestsMock, make_jira: Make) -> None:
    shop = {"id": "1", "key": "SHOP", "projectTypeKey": "software"}
    desk = {"id": "2", "key": "DESK", "projectTypeKey": "service_desk"}

    def listed(request: PreparedRequest) -> tuple[int, dict[str, str], str]:
        """Everyone sees SHOP."""
        shown = [desk, shop] if "Authorization" in request.headers else [shop]
        return 200, {}, json.dumps({"values": shown, "isLast": True})

    jira.add_callback("GET", f"{API}/project/search", listed)
    jira.get(f"{API}/project/LOST", status=404, json={"errorMessages": ["No project could be found."]})
    projects = await make_jira({"projects": ["SHOP", "LOST", "DESK"]}).projects()
    assert [(p.key, p.remote_id, p.service_desk, p.public, p.problem is None) for p in projects] == [
        ("SHOP", "1", False, True, True), ("LOST", None, False, False, False),
        ("DESK", "2", True, False, True),
    ]  # fmt: skip
    for number, keys in enumerate((["SHOP", "LOST", "DESK"], ["SHOP", "DESK"])):
        query = parse_qs(urlsplit(sent(jira, "/project/search")[number].url or "").query)
        assert query["keys"] == keys


@pytest.mark.parametrize(
    ("answer", "public"),
    [
        ({"json": {"values": [{"id": "1", "key": "SHOP"}]}, "headers": {"X-AUSERNAME": "anonymous"}}, True),
        ({"json": {"values": []}, "headers": {"X-AUSERNAME": "anonymous"}}, False),
        ({"status": 401, "json": {"errorMessages": ["No."]}}, False),
        ({"status": 403, "body": "<html>Not from here</html>"}, False),
        ({"status": 404, "json": {"errorMessages": ["None."]}}, False),
        ({"body": '{"values": [{"key"'}, None),
        ({"status": 503}, None),
    ],
)
async def test_whether_everyone_may_read_is_asked_without_the_login_and_not_guessed(
    jira: responses.RequestsMock, make_jira: Make, answer: dict[str, Any], public: bool | None
) -> None:
    """An answer that says nothing is no answer; and a cookie of an earlier answer is a login as well."""
    values = {"values": [{"id": "1", "key": "SHOP"}], "isLast": True}
    jira.get(f"{API}/project/search", json=values, headers={"Set-Cookie": "session=abc; Path=/"})
    jira.get(f"{API}/project/search", **answer)
    (project,) = await make_jira({"projects": ["SHOP"]}).projects()
    assert (project.public, project.problem) == (public, None)
    asked = sent(jira, "/project/search")[-1]
    assert asked.headers.keys().isdisjoint({"Authorization", "Cookie"})


async def test_all_projects_are_paged(jira: responses.RequestsMock, make_jira: Make) -> None:
    a, b, c = ({"id": str(ord(key)), "key": key} for key in "ABC")
    jira.get(f"{API}/project/search", json={"values": [a], "isLast": False, "total": 3})
    jira.get(f"{API}/project/search", json={"values": [b, c], "total": 3})
    assert [p.key for p in await make_jira({"projects": None}).projects()] == ["A", "B", "C"]
    asked = signed_in(sent(jira, "/project/search"))
    assert [parse_qs(urlsplit(r.url or "").query)["startAt"] for r in asked] == [["0"], ["1"]]


@pytest.mark.parametrize("scope", [None, ["SHOP", "BAD", "WORSE"]])
async def test_a_project_that_cannot_be_read_hides_no_other(
    jira: responses.RequestsMock, make_jira: Make, scope: list[str] | None
) -> None:
    values = [{"id": "2", "key": 5}, {"id": "1", "key": "SHOP"}]
    jira.get(f"{API}/project/search", json={"values": values, "isLast": True})
    jira.get(f"{API}/project/BAD", json={"id": "2", "key": 5})
    jira.get(f"{API}/project/WORSE", status=404)
    why = "A project in Jira's answer could not be read."
    projects = {p.key: p.problem for p in await make_jira({"projects": scope}).projects()}
    expected = {"(no key)": why} if scope is None else {"BAD": why, "WORSE": payloads.NO_PROJECT}
    assert projects == {"SHOP": None, **expected}


# --- the present state ----------------------------------------------------------------------


async def test_the_present_state_is_not_asked_of_the_search(
    jira: responses.RequestsMock, make_jira: Make
) -> None:
    jira.post(f"{API}/issue/bulkfetch", json={"issues": [issue(1)], "issueErrors": []})
    (epic,) = await make_jira().fetch([EpicRef("1", "SHOP-1")])
    assert isinstance(epic, Epic)
    assert not sent(jira, "/search/jql")


async def test_identity_is_the_id_and_not_the_key(jira: responses.RequestsMock, make_jira: Make) -> None:
    answer = {
        "issues": [
            issue(4, kind="10001"), issue(3, project="CORE"), issue(2, key="SHOP-99"), issue(1),
        ],
        "issueErrors": [],  # has none that is not found
    }  # fmt: skip
    jira.post(f"{API}/issue/bulkfetch", json=answer)
    refs = [EpicRef(str(n), f"SHOP-{n}") for n in (1, 2, 3, 4, 5)]
    found = await make_jira().fetch(refs)
    assert body(sent(jira, "/bulkfetch")[0])["issueIdsOrKeys"] == ["1", "2", "3", "4", "5"]
    assert [f.key if isinstance(f, Epic) else f.reason for f in found] == [
        "SHOP-1", "SHOP-99", "out_of_scope", "not_an_epic", "deleted",
    ]  # fmt: skip
    assert found[2] == Missing(EpicRef("3", "CORE-3"), "out_of_scope")
    assert found[4] == Missing(EpicRef("5", "SHOP-5"), "deleted")


async def test_what_a_bulk_fetch_could_not_return_is_asked_for_alone(
    jira: responses.RequestsMock, make_jira: Make
) -> None:
    """Jira names it with an error that may pass; a ticket that is not there is not named."""
    errors = [{"id": "2", "errorMessage": "try again"}, {"id": "3", "errorMessage": "no such issue"}]
    jira.post(f"{API}/issue/bulkfetch", json={"issues": [issue(1)], "issueErrors": errors})
    jira.get(f"{API}/issue/2", json=issue(2))
    jira.get(f"{API}/issue/3", status=404, json={"errorMessages": ["Issue does not exist"]})
    refs = [EpicRef(str(n), f"SHOP-{n}") for n in (1, 2, 3, 4)]
    found = await make_jira().fetch(refs)
    assert [f.key if isinstance(f, Epic) else f.reason for f in found] == [
        "SHOP-1", "SHOP-2", "deleted", "deleted",
    ]  # fmt: skip


async def test_membership_is_asked_with_the_ids_reconciled(
    jira: responses.RequestsMock, make_jira: Make
) -> None:
    refs = [EpicRef(str(n), f"SHOP-{n}") for n in range(1, 121)]

    def bulk(request: PreparedRequest) -> tuple[int, dict[str, str], str]:
        ids = json.loads(request.body or b"")["issueIdsOrKeys"]
        assert len(ids) <= 100
        return 200, {}, json.dumps({"issues": [issue(int(i)) for i in ids], "issueErrors": []})

    def search(request: PreparedRequest) -> tuple[int, dict[str, str], str]:
        asked = json.loads(request.body or b"")["reconcileIssues"]
        assert len(asked) <= 50
        return 200, {}, json.dumps({"issues": [{"id": str(i)} for i in asked if i != 7]})

    jira.add_callback("POST", f"{API}/issue/bulkfetch", bulk)
    jira.add_callback("POST", f"{API}/search/jql", search)
    found = await make_jira({"projects": ["SHOP"], "jql": "labels = q4"}).fetch(refs)
    assert [f.ref.remote_id for f in found if isinstance(f, Missing)] == ["7"]
    assert all(f.reason == "out_of_scope" for f in found if isinstance(f, Missing))
    assert (len(sent(jira, "/bulkfetch")), len(sent(jira, "/search/jql"))) == (2, 3)
    assert "AND (labels = q4)" in body(sent(jira, "/search/jql")[0])["jql"]


async def test_nothing_asked_is_nothing_sent(jira: responses.RequestsMock, make_jira: Make) -> None:
    assert await make_jira().fetch([]) == []
    assert not jira.calls


# --- comments -------------------------------------------------------------------------------


async def test_a_comment_is_created_in_one_request(jira: responses.RequestsMock, make_jira: Make) -> None:
    jira.post(COMMENTS, status=201, json={"id": "900", "self": "https://elsewhere.example/900"})
    comment = await make_jira().put_comment(REF, None, NOTICE, MARKER)
    assert comment == Comment("900", f"{SITE}/browse/SHOP-1?focusedCommentId=900")
    (request,) = sent(jira, "/comment")
    assert body(request)["body"]["type"] == "doc"
    assert body(request)["properties"] == [{"key": "northing", "value": {"id": "inst/5"}}]


async def test_an_edit_sends_the_text_only(jira: responses.RequestsMock, make_jira: Make) -> None:
    jira.put(f"{COMMENTS}/900", json={"id": "900"})
    assert (await make_jira().put_comment(REF, "900", NOTICE, MARKER)).id == "900"
    assert set(body(sent(jira, "/comment/900")[0])) == {"body"}


@pytest.mark.parametrize(
    "fault",
    [
        requests.ReadTimeout("read timed out"),
        requests.ConnectionError("connection aborted"),
        requests.exceptions.ChunkedEncodingError("cut"),
        {"status": 504}, {"status": 500}, {"body": "<html>"}, {"status": 201, "json": {}},
        {"status": 201, "json": [1]},
    ],
)  # fmt: skip
async def test_a_write_without_an_answer_is_sent_once_and_raised_as_unanswered(
    jira: responses.RequestsMock, make_jira: Make, fault: Any
) -> None:
    answer = fault if isinstance(fault, dict) else {"body": fault}
    jira.post(COMMENTS, **answer)
    with pytest.raises(Unanswered):
        await make_jira().put_comment(REF, None, NOTICE, MARKER)
    assert len(jira.calls) == 1


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"status": 403, "json": {"errorMessages": ["no permission to comment"]}}, Rejected),
        ({"status": 400, "json": {"errors": {"comment": "Comment body is not valid!"}}}, Rejected),
        ({"status": 413}, Rejected),
        ({"status": 429, "headers": {"Retry-After": "30"}}, Unavailable),
        ({"body": requests.ConnectTimeout("connect")}, Unavailable),
    ],
)
async def test_a_write_that_was_not_carried_out(
    jira: responses.RequestsMock, make_jira: Make, answer: dict[str, Any], error: type[ConnectorError]
) -> None:
    jira.put(f"{COMMENTS}/900", **answer)
    with pytest.raises(error) as caught:
        await make_jira().put_comment(REF, "900", NOTICE, MARKER)
    assert caught.value.code == error.code
    assert len(jira.calls) == 1


@pytest.mark.parametrize(("shown", "error"), [(404, Gone), (200, Rejected)])
async def test_a_comment_that_is_not_there_is_asked_for_before_that_is_believed(
    jira: responses.RequestsMock, make_jira: Make, shown: int, error: type[ConnectorError]
) -> None:
    """Jira answers alike for what is gone and for what we may not change."""
    jira.put(f"{COMMENTS}/900", status=404)
    jira.get(f"{API}/myself", json={"accountId": "me", "displayName": "Me"})
    jira.get(f"{COMMENTS}/900", status=shown, json={"id": "900"})
    with pytest.raises(error) as caught:
        await make_jira().put_comment(REF, "900", NOTICE, MARKER)
    assert caught.value.code == error.code
    assert [call.request.method for call in jira.calls] == ["PUT", "GET", "GET"]


async def test_a_missing_permission_is_not_tried_again(jira: responses.RequestsMock, make_jira: Make) -> None:
    jira.post(f"{API}/search/jql", status=403, json={"errorMessages": ["forbidden"]})
    with pytest.raises(Rejected) as caught:
        await read(make_jira())
    assert caught.value.code == Rejected.code
    assert "forbidden" in caught.value.message
    assert len(sent(jira, "/search/jql")) == 1


async def test_a_limit_is_raised_at_once_and_not_waited_for(
    jira: responses.RequestsMock, make_jira: Make
) -> None:
    threads = []

    def limited(request: PreparedRequest) -> tuple[int, dict[str, str], str]:
        threads.append(threading.current_thread())
        return 429, {"Retry-After": "3600"}, ""

    jira.add_callback("POST", f"{API}/search/jql", limited)
    with pytest.raises(Unavailable) as caught:
        await read(make_jira())
    assert caught.value.retry_after == 3600
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()


class Ticket:
    """A ticket's comments, listed in pages and, by id, with their properties."""

    def __init__(self, mock: responses.RequestsMock, comments: list[dict[str, Any]], page: int = 100) -> None:
        self.comments, self.page = comments, page
        mock.add_callback("GET", COMMENTS, self.list)
        mock.add_callback("POST", f"{API}/comment/list", self.by_id)

    def list(self, request: PreparedRequest) -> tuple[int, dict[str, str], str]:
        start = int(parse_qs(urlsplit(request.url or "").query)["startAt"][0])
        bare = [{k: v for k, v in c.items() if k != "properties"} for c in self.comments]
        page = bare[start : start + self.page]
        return 200, {}, json.dumps({"startAt": start, "total": len(bare), "comments": page})

    def by_id(self, request: PreparedRequest) -> tuple[int, dict[str, str], str]:
        assert "expand=properties" in (request.url or "")
        ids = set(json.loads(request.body or b"")["ids"])
        assert len(ids) <= 100
        return 200, {}, json.dumps({"values": [c for c in self.comments if int(c["id"]) in ids]})


@pytest.mark.parametrize(
    ("comments", "found"),
    [
        ([], []),
        ([comment(1), comment(2, "ada"), comment(3, None)], []),
        ([comment(1), comment(2, "me", "inst/5"), comment(3, "me", "inst/5")], [("2", True), ("3", True)]),
        ([comment(1, "ada", "inst/5"), comment(2, "me", "inst/5")], [("2", True), ("1", False)]),
        ([comment(1, "ada", "inst/5")], [("1", False)]),
        ([comment(1, "me", "inst/51")], [("1", True)]),  # the ticket was another epic of ours once
        ([comment(1, "bob", "inst/5"), comment(2, None, "inst/5")], []),
        ([comment(1, "me", "inst"), comment(2, "me", "other/5")], []),
        ([comment(n, "ada") for n in range(1, 350)] + [comment(999, "me", "inst/5")], [("999", True)]),
        ([comment(n, "me") for n in range(1, 350)] + [comment(999, "me", "inst/5")], [("999", True)]),
    ],
)
async def test_our_comment_is_found_by_marker_and_author(
    jira: responses.RequestsMock,
    make_jira: Make,
    comments: list[dict[str, Any]],
    found: list[tuple[str, bool]],
) -> None:
    Ticket(jira, comments, page=30)  # the server gives fewer than asked for
    got = await make_jira().find_comments(REF, replace(MARKER, accounts=frozenset({"ada"})))
    assert [(comment.id, comment.ours) for comment in got] == found


async def test_comments_of_a_ticket_that_is_gone_are_gone(
    jira: responses.RequestsMock, make_jira: Make
) -> None:
    jira.get(COMMENTS, status=404, json={"errorMessages": ["Issue does not exist"]})
    with pytest.raises(Gone):
        await make_jira().find_comments(REF, MARKER)


# --- the wire -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [requests.ConnectionError("refused"), requests.ReadTimeout("slow"), requests.exceptions.SSLError("cert")],
)
async def test_reading_without_an_answer_is_unavailable(
    jira: responses.RequestsMock, make_jira: Make, fault: Exception
) -> None:
    jira.post(f"{API}/search/jql", body=fault)
    with pytest.raises(Unavailable) as caught:
        await read(make_jira())
    assert caught.value.code == Unavailable.code
    assert TOKEN not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


async def test_a_connection_refused_is_no_lost_answer(make_jira: Make, unused_tcp_port: int) -> None:
    connector = make_jira(site=f"http://127.0.0.1:{unused_tcp_port}")
    with pytest.raises(Unavailable, match="cannot be reached") as caught:
        await connector.put_comment(REF, None, NOTICE, MARKER)
    assert caught.value.code == Unavailable.code


async def test_a_gone_call_is_a_wrong_address(jira: responses.RequestsMock, make_jira: Make) -> None:
    jira.post(f"{API}/search/jql", status=404, body="<html>")
    with pytest.raises(Rejected) as caught:
        await read(make_jira())
    assert "base_url" in caught.value.what_to_do
