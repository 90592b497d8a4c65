"""Jira servers that lack a call, page in their own way, or answer with something else than JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import responses
from requests import PreparedRequest

from connectors.base import (
    BadPayload,
    CommentRef,
    ConnectorError,
    Epic,
    EpicRef,
    Missing,
    Rejected,
    Unauthorized,
)
from connectors.jira.search import FIELDS
from connectors.sandbox import faults
from connectors.sandbox.jira.tracker import JiraTracker
from tests.support.connector_calls import MARKER as ON_SANDBOX, WORDS, target
from tests.support.jira_answers import API, COMMENTS, MARKER, REF, Make, comment, issue, read, sent, signed_in

Answer = tuple[int, dict[str, str], str]
LACKING = [
    {"status": 404, "json": {"errorMessages": ["null for uri"], "errors": {}}},
    {"status": 404, "body": "<html>"},
    {"status": 405, "body": ""},  # there is a path of this form, for another method
]


def path_of(request: PreparedRequest) -> str:
    return urlsplit(request.url or "").path.removeprefix("/rest/api/3/")


# --- no bulk fetch --------------------------------------------------------------------------


def without_bulk_fetch(mock: responses.RequestsMock, lacking: dict[str, Any]) -> None:
    mock.post(f"{API}/issue/bulkfetch", **lacking)
    mock.get(f"{API}/issue/1", json=issue(1))
    mock.get(f"{API}/issue/2", status=404, json={"errorMessages": ["Issue does not exist"]})
    mock.get(f"{API}/issue/3", json=issue(3, kind="10001"))


@pytest.mark.parametrize("lacking", LACKING)
async def test_without_bulk_fetch_issues_are_read_one_by_one(
    jira: responses.RequestsMock, make_jira: Make, lacking: dict[str, Any]
) -> None:
    without_bulk_fetch(jira, lacking)
    connector = make_jira(epics={"fields": ["customfield_7"]})
    refs = [EpicRef(str(n), f"SHOP-{n}") for n in (1, 2, 3)]
    one, gone, story = await connector.fetch(refs)
    assert isinstance(one, Epic)
    assert (one.key, gone) == ("SHOP-1", Missing(refs[1], "deleted"))
    assert story == Missing(EpicRef("3", "SHOP-3"), "not_an_epic")
    (request,) = sent(jira, "/issue/1")
    asked = parse_qs(urlsplit(request.url or "").query)
    assert asked == {"fields": [",".join([*FIELDS, "customfield_7", "duedate"])]}
    await connector.fetch(refs[:1])
    assert len(sent(jira, "/bulkfetch")) == 1  # what is not there is not asked for again


@pytest.mark.parametrize(("status", "error"), [(401, Unauthorized), (404, Rejected)])
async def test_an_issue_is_not_gone_where_we_are_nobody_or_not_at_jira(
    jira: responses.RequestsMock, make_jira: Make, status: int, error: type[ConnectorError]
) -> None:
    without_bulk_fetch(jira, LACKING[0])
    jira.replace("GET", f"{API}/myself", status=status)
    with pytest.raises(error) as caught:
        await make_jira().fetch([EpicRef("2", "SHOP-2")])
    assert caught.value.code == error.code


async def test_trouble_with_bulk_fetch_is_no_reason_to_go_one_by_one(
    jira: responses.RequestsMock, make_jira: Make
) -> None:
    without_bulk_fetch(jira, {"status": 403, "json": {"errorMessages": ["no bulk fetch for you"]}})
    with pytest.raises(Rejected, match="no bulk fetch for you"):
        await make_jira().fetch([EpicRef("1", "SHOP-1")])
    assert not sent(jira, "/issue/1")


# --- no list of comments with their properties ----------------------------------------------


def without_comment_list(mock: responses.RequestsMock, comments: list[dict[str, Any]]) -> None:
    mock.post(f"{API}/comment/list", **LACKING[0])
    bare = [{k: v for k, v in c.items() if k != "properties"} for c in comments]
    mock.get(COMMENTS, json={"startAt": 0, "total": len(bare), "comments": bare})
    for one in comments:
        held = {"json": one["properties"][0]} if one["properties"] else {"status": 404}
        mock.get(f"{API}/comment/{one['id']}/properties/northing", **held)


@pytest.mark.parametrize(
    ("comments", "found"),
    [
        ([], []),
        ([comment(1), comment(2, "ada")], []),
        ([comment(1, "ada"), comment(2, "me"), comment(3, "me", "inst/5")], ["3"]),
        ([comment(7, "me", "inst/5"), comment(2, "me", "inst/5")], ["2", "7"]),
        ([comment(1, "me", "other/5")], []),
    ],
)
async def test_our_comment_is_found_by_its_own_property(
    jira: responses.RequestsMock, make_jira: Make, comments: list[dict[str, Any]], found: list[str]
) -> None:
    without_comment_list(jira, comments)
    got = await make_jira().find_comments(REF, MARKER)
    assert [(one.id, one.ours) for one in got] == [(i, True) for i in found]
    ours = [c["id"] for c in comments if (c.get("author") or {}).get("accountId") == "me"]
    asked = [path_of(r).split("/")[1] for r in sent(jira, "/properties/northing")]
    assert sorted(asked) == sorted(ours)  # nobody else's are asked for


async def test_too_many_comments_of_ours_are_not_looked_through(
    jira: responses.RequestsMock, make_jira: Make
) -> None:
    without_comment_list(jira, [comment(n) for n in range(1, 102)])
    with pytest.raises(Rejected, match="101 comments") as caught:
        await make_jira().find_comments(REF, MARKER)
    assert "account" in caught.value.what_to_do
    assert not sent(jira, "/properties/northing")


async def test_a_property_not_shown_to_nobody_is_no_missing_one(
    jira: responses.RequestsMock, make_jira: Make
) -> None:
    without_comment_list(jira, [comment(1)])
    connector = make_jira()
    await connector.account()
    jira.replace("GET", f"{API}/myself", status=401)
    with pytest.raises(Unauthorized):
        await connector.find_comments(REF, MARKER)


# --- no question of rights ------------------------------------------------------------------


@pytest.mark.parametrize("lacking", LACKING)
@pytest.mark.parametrize("reporter", ["ada", "somebody-else"])
async def test_where_rights_cannot_be_asked_for_the_ticket_names_its_people(
    jira: responses.RequestsMock, make_jira: Make, lacking: dict[str, Any], reporter: str
) -> None:
    jira.get(f"{COMMENTS}/7", json=comment(7, "ada"))
    jira.get(f"{API}/comment/7/properties/northing", status=404)
    jira.post(f"{API}/permissions/check", **lacking)
    jira.get(f"{API}/issue/1", json={"fields": {"reporter": {"accountId": reporter, "active": True}}})
    connector = make_jira()
    found = await connector.read_comment(CommentRef(REF, "7"))
    found = found and await connector.with_right(REF, found)
    assert found is not None
    assert found.may_steer is (reporter == "ada")


async def test_a_site_without_any_of_these_calls() -> None:
    """Over real HTTP, on the simulated tracker."""
    lacking = ["POST */issue/bulkfetch", "POST */comment/list", "POST */permissions/check"]
    async with target("jira") as on:
        assert isinstance(on.tracker, JiraTracker)
        site = on.tracker.site
        reporters = site.comment(on.epic.key, "Words.", site.issue(on.epic.key).reporter)
        struck = [on.tracker.faults.add(route, faults.answer(404), times=None) for route in lacking]
        made = await on.connector.put_comment(on.epic, None, WORDS, ON_SANDBOX)
        assert [(one.id, one.ours) for one in await on.connector.find_comments(on.epic, ON_SANDBOX)] == [
            (made.id, True)
        ]
        epic, gone = await on.connector.fetch([on.epic, EpicRef("999", "SHOP-999")])
        assert isinstance(epic, Epic)
        assert epic.ref == on.epic
        assert gone == Missing(EpicRef("999", "SHOP-999"), "deleted")
        own = await on.connector.read_comment(CommentRef(on.epic, made.id))
        theirs = await on.connector.read_comment(CommentRef(on.epic, reporters.id))
        assert own is not None
        assert theirs is not None
        own = await on.connector.with_right(on.epic, own)
        theirs = await on.connector.with_right(on.epic, theirs)
        elsewhere = await on.connector.read_comment(CommentRef(EpicRef("999", ""), reporters.id))
        assert own is not None
        assert theirs is not None
        assert (own.ours, theirs.ours, theirs.may_steer, elsewhere) == (True, False, True, None)
        assert all(fault.struck for fault in struck)


# --- lists ----------------------------------------------------------------------------------


def pages(*, items: int, size: int, member: str, **says: Any) -> Callable[[PreparedRequest], Answer]:
    """A list of so many items; `respects`: whether it looks at `startAt`; what else it says goes with it."""
    respects = says.pop("respects", True)

    def reply(request: PreparedRequest) -> Answer:
        start = int(parse_qs(urlsplit(request.url or "").query)["startAt"][0]) if respects else 0
        shown = range(start, min(start + size, items))
        return 200, {}, json.dumps({member: [{"id": str(n + 1), "key": f"P{n}"} for n in shown]} | says)

    return reply


@pytest.mark.parametrize("says", [{}, {"isLast": False}, {"total": 9}, {"total": 9, "isLast": False}])
async def test_a_list_that_does_not_respect_where_to_start_is_not_read_for_ever(
    jira: responses.RequestsMock, make_jira: Make, says: dict[str, Any]
) -> None:
    lists = pages(items=9, size=3, member="values", respects=False, **says)
    jira.add_callback("GET", f"{API}/project/search", lists)
    with pytest.raises(BadPayload, match="nothing new"):
        await make_jira({"projects": None}).projects()
    assert len(jira.calls) == 2


async def test_comments_that_do_not_respect_where_to_start_are_not_read_for_ever(
    jira: responses.RequestsMock, make_jira: Make
) -> None:
    jira.add_callback("GET", COMMENTS, pages(items=9, size=3, member="comments", respects=False))
    with pytest.raises(BadPayload, match="nothing new"):
        await make_jira().find_comments(REF, MARKER)


async def test_a_short_page_is_not_the_end_of_a_list(jira: responses.RequestsMock, make_jira: Make) -> None:
    jira.add_callback("GET", f"{API}/project/search", pages(items=8, size=3, member="values"))
    assert len(await make_jira({"projects": None}).projects()) == 8
    asked = signed_in(sent(jira, "/project/search"))
    starts = [parse_qs(urlsplit(r.url or "").query)["startAt"][0] for r in asked]
    assert starts == ["0", "3", "6", "8"]


async def test_what_moved_to_the_next_page_is_not_counted_twice(
    jira: responses.RequestsMock, make_jira: Make
) -> None:
    """Something was put in before it while the list was read."""
    rows = [["A", "B"], ["B", "C"], ["D"]]
    for row in rows:
        jira.get(
            f"{API}/project/search",
            json={"values": [{"id": ord(key), "key": key} for key in row], "total": 4},
        )
    assert [p.key for p in await make_jira({"projects": None}).projects()] == ["A", "B", "C", "D"]


async def test_a_list_of_named_projects_ends_when_all_are_there(
    jira: responses.RequestsMock, make_jira: Make
) -> None:
    jira.add_callback("GET", f"{API}/project/search", pages(items=1, size=3, member="values", respects=False))
    (project,) = await make_jira({"projects": ["P0"]}).projects()
    asked = signed_in(sent(jira, "/project/search"))
    assert (project.key, project.problem, len(asked)) == ("P0", None, 1)


# --- words ----------------------------------------------------------------------------------


@pytest.mark.parametrize("body", ["<html>Sign in</html>", '{"issues": [{"id"', "[1, 2]", ""])
async def test_an_answer_that_cannot_be_read_is_said_to_be_one(
    jira: responses.RequestsMock, make_jira: Make, body: str
) -> None:
    jira.post(f"{API}/search/jql", body=body)
    with pytest.raises(BadPayload) as caught:
        await read(make_jira())
    assert "base_url" in caught.value.what_to_do
    assert "proxy" in caught.value.what_to_do


async def test_a_call_that_jira_lacks_is_named(jira: responses.RequestsMock, make_jira: Make) -> None:
    jira.post(f"{API}/search/jql", status=405, body="")
    with pytest.raises(Rejected, match="search/jql") as caught:
        await read(make_jira())
    assert "base_url" in caught.value.what_to_do
