"""Jira's JSON in, our values out: tables of cases."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import ValidationError

from connectors.base import (
    BadPayload,
    ConnectorError,
    Gone,
    Parent,
    Rejected,
    Unanswered,
    Unauthorized,
    Unavailable,
)
from connectors.document import Document, Paragraph, Text
from connectors.jira import payloads, search
from connectors.jira.config import JiraCredentials, JiraEpics, JiraScope
from connectors.jira.errors import Forbidden, Unsuited, error_of, messages_of
from connectors.jira.text import MOST_NODES, lines_of
from connectors.json import parse_json
from connectors.marker import Marker
from connectors.ticket_text import Cell, Line
from tests.support.ticket_text import text_lines

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
SITE = "https://acme.atlassian.net"
TYPES = [
    {"id": "10000", "name": "Epic", "untranslatedName": "Epic", "hierarchyLevel": 1},
    {"id": "10105", "name": "长篇故事", "untranslatedName": "Epic", "hierarchyLevel": 1},
    {"id": "10001", "name": "故事", "untranslatedName": "Story", "hierarchyLevel": 0},
    {"id": "10003", "name": "子任务", "untranslatedName": "Sub-task", "subtask": True, "hierarchyLevel": -1},
    {"id": "10200", "name": "Initiative", "hierarchyLevel": 2},
]


def issue(**fields: Any) -> dict[str, Any]:
    base = {
        "summary": "Checkout in one step",
        "status": {"name": "In Arbeit", "statusCategory": {"key": "indeterminate", "name": "In Arbeit"}},
        "issuetype": {"id": "10000", "name": "Epic", "hierarchyLevel": 1},
        "project": {"key": "SHOP", "projectTypeKey": "software"},
        "created": "2026-01-15T10:30:00.000+0000",
        "updated": "2026-02-01T08:00:00.123+0800",
    }
    return {
        "id": "10042", "key": "SHOP-7", "self": "https://api.atlassian.com/ex/jira/1/rest/api/3/issue/10042",
        "fields": base | fields,
    }  # fmt: skip


def test_a_whole_epic() -> None:
    raw = issue(
        labels=["growth", "q4"],
        components=[{"name": "Web"}, {"name": "API"}],
        assignee={"accountId": "1", "displayName": "Ada Example"},
        fixVersions=[{"name": "v2"}, {"name": "v3"}],
        parent={"key": "PLAN-1", "fields": {"issuetype": {"hierarchyLevel": 2}}},
        description={"type": "doc", "version": 1, "content": [para("Key-Result: KR-12")]},
        customfield_10020=[{"value": "Gold", "child": {"value": "Plus"}}, "x"],
    )
    ticket = payloads.ticket_of(raw, SITE, ["customfield_10020", "customfield_1"])
    epic = ticket.epic
    assert ticket.type_id == "10000"
    assert (epic.remote_id, epic.key, epic.project, epic.title) == (
        "10042", "SHOP-7", "SHOP", "Checkout in one step",
    )  # fmt: skip
    assert (epic.type, epic.status, epic.status_category) == ("Epic", "In Arbeit", "doing")
    assert epic.created_at == datetime(2026, 1, 15, 10, 30, tzinfo=UTC)
    assert epic.updated_at == datetime(2026, 2, 1, 0, 0, 0, 123000, tzinfo=UTC)
    assert epic.updated_at.tzinfo is UTC
    assert (epic.labels, epic.components) == (("growth", "q4"), ("Web", "API"))
    assert (epic.assignees, epic.milestone, epic.parent and epic.parent.key) == (
        ("Ada Example",),
        "v2",
        "PLAN-1",
    )
    assert epic.text == text_lines("Key-Result: KR-12")
    assert epic.fields == {"customfield_10020": ("Gold", "Plus", "x")}


def test_the_address_is_built_and_self_never_read() -> None:
    assert payloads.ticket_of(issue(), SITE).epic.url == "https://acme.atlassian.net/browse/SHOP-7"
    raw = issue()
    del raw["self"]
    assert payloads.ticket_of(raw, SITE).epic.key == "SHOP-7"


def test_a_sparse_issue_is_read() -> None:
    epic = payloads.ticket_of(
        {
            "id": 5,
            "key": "A_B-5",
            "fields": {
                "created": "2026-01-15T10:30:00.000+0000", "updated": "2026-01-15T10:30:00.000+0000",
                "assignee": None, "parent": None, "labels": None, "description": None, "fixVersions": [],
                "issuetype": {"id": "1"}, "status": {"statusCategory": {"id": 2}},
            },
        },
        SITE,
    ).epic  # fmt: skip
    assert (epic.remote_id, epic.project, epic.title, epic.status_category) == ("5", "A_B", "", "todo")


def test_the_parent_of_a_sub_task_is_a_story_and_not_taken() -> None:
    raw = issue(issuetype={"id": "10003", "subtask": True, "hierarchyLevel": -1}, parent={"key": "SHOP-1"})
    assert payloads.ticket_of(raw, SITE).epic.parent is None


@pytest.mark.parametrize(
    ("parent", "expected"),
    [
        (None, None), ({}, None), ({"id": "9"}, None), ({"key": 7}, None), ({"key": "no key"}, None),
        ({"key": "SHOP-7", "id": "10042"}, None),  # the issue itself
        ({"key": "PLAN-1"}, Parent("PLAN-1", url=f"{SITE}/browse/PLAN-1")),
        ({"key": "PLAN-1", "id": -1, "fields": None}, Parent("PLAN-1", url=f"{SITE}/browse/PLAN-1")),
        ({"key": "PLAN-1", "fields": {"summary": ["x"]}}, Parent("PLAN-1", url=f"{SITE}/browse/PLAN-1")),
        (
            {"key": "PLAN-1", "id": "9", "self": "https://elsewhere.example", "fields": {"summary": "Above"}},
            Parent("PLAN-1", "9", "Above", f"{SITE}/browse/PLAN-1"),
        ),
    ],
)  # fmt: skip
def test_a_parent_is_what_jira_says_of_it(parent: object, expected: Parent | None) -> None:
    assert payloads.ticket_of(issue(parent=parent), SITE).epic.parent == expected


@pytest.mark.parametrize(
    ("key", "category"),
    [("new", "todo"), ("indeterminate", "doing"), ("done", "done"), ("undefined", "todo"), (None, "todo")],
)
def test_status_category_goes_by_its_key(key: str | None, category: str) -> None:
    raw = issue(status={"name": "Done", "statusCategory": {"key": key, "name": "Fertig"}})
    assert payloads.ticket_of(raw, SITE).epic.status_category == category


@pytest.mark.parametrize(
    "broken",
    [
        None, [], "x", {}, {"id": "1", "key": "A-1"}, {"id": "1", "key": "A-1", "fields": []},
        issue(created=None), issue(updated="yesterday"), issue(updated="2026-01-01T00:00:00"),
        issue(status="open"), issue(labels=[1]), issue(parent="A-1"),
        issue(parent={"key": "A-1", "fields": "x"}),
        # What decides whether it is an epic, is done, or names a key result, is never guessed.
        issue(issuetype=None), issue(issuetype={}), issue(issuetype={"name": "Epic"}),
        issue(status=None), issue(status={}), issue(status={"name": "Done"}),
        issue(description=7), issue(description=["Key-Result: KR-1"]), issue(description={"type": "doc"}),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_a_bad_payload(broken: Any) -> None:
    with pytest.raises(BadPayload):
        payloads.ticket_of(broken, SITE)


def test_titles_are_freed_of_what_a_database_refuses() -> None:
    sent = json.dumps(issue(summary="a\x00b\ud83d", labels=["x\x00"])).encode()
    epic = payloads.ticket_of(parse_json(sent), SITE).epic
    assert (epic.title, epic.labels) == ("ab?", ("x",))


@pytest.mark.parametrize(
    ("value", "strings"),
    [
        (None, ()), ("x", ("x",)), (5.0, ("5",)), (2.5, ("2.5",)), (7, ("7",)), (True, ("true",)),
        ([], ()), (["a", None, {"name": "b"}], ("a", "b")), ({"value": "Gold", "id": "1"}, ("Gold",)),
        ({"displayName": "Ada", "accountId": "1"}, ("Ada",)), ({"key": "SHOP"}, ("SHOP",)), ({}, ()),
        ({"type": "doc", "content": [{"type": "text", "text": "t"}]}, ("t",)),
    ],
)  # fmt: skip
def test_custom_fields_become_strings(value: Any, strings: tuple[str, ...]) -> None:
    assert payloads.strings_of(value) == strings


# --- descriptions ---------------------------------------------------------------------------


def para(*inline: Any) -> dict[str, Any]:
    return {"type": "paragraph", "content": [text(i) if isinstance(i, str) else i for i in inline]}


def text(words: str, *marks: str) -> dict[str, Any]:
    return {"type": "text", "text": words, "marks": [{"type": mark} for mark in marks]}


def node(kind: str, *content: Any) -> dict[str, Any]:
    return {"type": kind, "content": list(content)}


BREAK = {"type": "hardBreak"}


@pytest.mark.parametrize(
    ("content", "lines"),
    [
        ([para("one"), para("two")], ("one", "two")),
        ([para("one", BREAK, "two")], ("one", "two")),
        ([para("Key", text("-Result", "strong"), ": KR-1")], ("Key-Result: KR-1",)),
        ([node("bulletList", node("listItem", para("a")), node("listItem", para("b")))], ("a", "b")),
        ([node("panel", para("in a panel"))], ("in a panel",)),
        ([node("codeBlock", text("Key-Result: KR-1")), para("after")], ("after",)),
        ([node("blockquote", para("Key-Result: KR-1")), para("after")], ("after",)),
        ([para(text("x ", "code"), "KR: KR-1", text("y", "strike"))], Line("x KR: KR-1", in_code=True)),
        ([para("Key-Result: KR-1 ", text("note", "code"))], ("Key-Result: KR-1 note",)),
        ([para("a\nKey-Result: KR-1")], ("a", "Key-Result: KR-1")),
        ([para({"type": "mention", "attrs": {"text": "@Ada"}}, " Key: KR-1")], ("@Ada Key: KR-1",)),
        ([para({"type": "emoji", "attrs": {"shortName": ":x:"}}, "Key")], ("Key",)),
        ([para({"type": "date", "attrs": {"timestamp": "1793318400000"}}, " x")], ("2026-10-30 x",)),
        ([para({"type": "date", "attrs": {"timestamp": "9" * 30}}, "x")], ("x",)),
        ([{"type": "blockCard", "attrs": {"url": "https://a/KR-1"}}], ("https://a/KR-1",)),
        ([para({"type": "inlineCard", "attrs": {"url": "https://a/KR-1"}})], ("https://a/KR-1",)),
        ([{"type": "expand", "attrs": {"title": "More"}, "content": [para("in")]}], ("More", "in")),
        ([para("nul\x00 and \u200bnothing\u202e")], ("nul and nothing",)),
        ([para(), {"type": "rule"}, None, "x", {"type": "text"}], ()),
        ([para("a" * 40_000)], ("a" * 40_000,)),
    ],
)  # fmt: skip
def test_lines_of_adf(content: list[Any], lines: tuple[str, ...] | Line) -> None:
    expected = (lines,) if isinstance(lines, Line) else text_lines(*lines)
    assert lines_of({"type": "doc", "version": 1, "content": content}) == expected


def test_headings_and_cells_of_adf() -> None:
    def cell(words: str, **attrs: int) -> Any:
        return {"type": "tableHeader", "attrs": attrs, "content": [para(words)]}

    inner = node("table", node("tableRow", node("tableCell", para("deep"))))
    table = node(
        "table",
        node("tableRow", cell("a", colspan=2), cell("b")),
        node("tableRow", node("tableCell", inner, para("after")), cell("c")),
    )
    assert lines_of({"type": "doc", "content": [node("heading", text("Goal")), table, para("x")]}) == (
        Line("Goal", "heading"),
        Line("a", "cell", cell=Cell(0, 0, 0)),
        Line("b", "cell", cell=Cell(0, 0, 2)),
        Line("deep", "cell", cell=Cell(1, 0, 0)),
        Line("after", "cell", cell=Cell(0, 1, 0)),
        Line("c", "cell", cell=Cell(0, 1, 1)),
        Line("x"),
    )


def test_deep_nesting_is_walked_without_recursion() -> None:
    deep: Any = para("deep down")
    for _ in range(20_000):
        deep = {"type": "bulletList", "content": [deep]}
    assert lines_of({"type": "doc", "content": [deep]}) == text_lines("deep down")
    for _ in range(MOST_NODES):
        deep = {"type": "bulletList", "content": [deep]}
    assert lines_of({"type": "doc", "content": [deep]}) == ()  # beyond the nodes that are looked at
    wide = {"type": "doc", "content": [para("x")] * MOST_NODES}
    assert 0 < len(lines_of(wide)) < MOST_NODES, "the rest is not looked at"


@pytest.mark.parametrize(
    ("wiki", "lines"),
    [
        (None, ()), (7, ()), ("", ()),
        ("one\r\ntwo\n\n three ", ("one", "two", "three")),
        ("* Key-Result: KR-1\n# two", ("Key-Result: KR-1", "two")),
        ("{code:java}\nKey-Result: KR-1\n{code}\nafter", ("after",)),
        ("{noformat}x{noformat}{quote}Key-Result: KR-1{quote}", ()),
        ("bq. Key-Result: KR-1\nafter", ("after",)),
        ("x {{Key-Result}}: KR-1", ("x Key-Result: KR-1",)),
        ("{code}never closed\nKey-Result: KR-1", ()),
    ],
)  # fmt: skip
def test_lines_of_wiki_text(wiki: Any, lines: tuple[str, ...]) -> None:
    assert lines_of(wiki) == text_lines(*lines)


# --- selector and search --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("names", "ids"),
    [
        (None, ["10000", "10105"]),
        (["Epic"], ["10000", "10105"]),
        (["epic", "INITIATIVE"], ["10000", "10105", "10200"]),
        (["故事"], ["10001"]),
        (["story"], ["10001"]),
    ],
)
def test_types_are_found_by_level_or_resolved_to_ids(names: list[str] | None, ids: list[str]) -> None:
    assert payloads.epic_type_ids(TYPES, names) == ids


def test_an_unknown_type_says_which_there_are() -> None:
    with pytest.raises(Rejected) as caught:
        payloads.epic_type_ids(TYPES, ["Epic", "Saga"])
    assert "Saga" in caught.value.message
    assert "Initiative" in caught.value.what_to_do
    with pytest.raises(Rejected, match="hierarchy level 1"):
        payloads.epic_type_ids(TYPES[2:4], None)
    with pytest.raises(BadPayload):
        payloads.epic_type_ids({"errors": {}}, None)


def test_time_in_jql_is_epoch_milliseconds_with_overlap() -> None:
    since = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
    start = int((since - timedelta(minutes=5)).timestamp() * 1000)
    assert search.jql_of("SHOP", ["1", "2"], None, since) == (
        f'project = "SHOP" AND issuetype in (1, 2) AND updated >= {start} ORDER BY updated ASC, key ASC'
    )
    assert search.jql_of("SHOP", ["1"], "labels = a OR labels = b", None) == (
        'project = "SHOP" AND issuetype in (1) AND (labels = a OR labels = b) ORDER BY updated ASC, key ASC'
    )


def test_every_search_names_its_fields() -> None:
    body = search.search_body("project = A", ["customfield_1"], None)
    assert {"summary", "updated", "parent", "description", "customfield_1"} <= set(body["fields"])
    assert None not in body.values()
    assert set(body) == {"jql", "fields", "maxResults"}
    assert search.search_body("project = A", [], "t")["nextPageToken"] == "t"


def test_only_a_missing_token_is_the_end() -> None:
    used: set[str] = set()
    assert search.next_token({"isLast": True, "nextPageToken": "a"}, used) == "a"
    assert search.next_token({"isLast": False, "nextPageToken": "b", "issues": []}, used) == "b"
    assert search.next_token({"isLast": False, "issues": [1]}, used) is None
    with pytest.raises(BadPayload, match="twice"):
        search.next_token({"nextPageToken": "a"}, used)


# --- comments -------------------------------------------------------------------------------


def test_a_comment_is_adf_with_its_marker_in_the_same_request() -> None:
    document = Document((Paragraph((Text("Hello\nthere"),)),))
    assert payloads.new_comment(document, Marker("inst", 5)) == {
        "body": {
            "type": "doc",
            "version": 1,
            "content": [{"type": "paragraph", "content": [{"type": "text", "text": "Hello there"}]}],
        },
        "properties": [{"key": "northing", "value": {"id": "inst/5"}}],
    }
    assert set(payloads.edited_comment(document)) == {"body"}


@pytest.mark.parametrize(
    ("properties", "carried"),
    [
        ([{"key": "northing", "value": {"id": "inst/5"}}], True),
        ([{"key": "x", "value": 1}, {"key": "northing", "value": {"id": "inst/5"}}], True),
        ([{"key": "northing", "value": {"id": "inst/51"}}], True),  # the source was made anew
        ([{"key": "northing", "value": {"id": "other/5"}}], False),
        ([{"key": "northing", "value": "inst/5"}], False),
        ([{"key": "northing", "value": {"id": "inst"}}], False),
        ([{"key": "northing", "value": {"id": 5}}], False),
        ([], False), (None, False), ([None], False),
    ],
)  # fmt: skip
def test_the_marker_is_this_installations(properties: Any, carried: bool) -> None:
    found = payloads.marker_of({"id": "1", "properties": properties})
    assert Marker("inst", 5).fits(found, "me", "me") is carried


# --- errors ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "headers", "write", "error"),
    [
        (200, {}, False, None),
        (201, {}, True, None),
        (302, {"location": "https://x.example"}, False, Rejected),
        (400, {}, False, Unsuited),
        (401, {}, False, Unauthorized),
        (403, {}, False, Forbidden),
        (403, {"x-seraph-loginreason": "AUTHENTICATION_DENIED"}, False, Unauthorized),
        (404, {}, True, Gone),
        (410, {}, False, Gone),
        (413, {}, True, Rejected),
        (429, {"retry-after": "7"}, True, Unavailable),
        (500, {}, False, Unavailable),
        (503, {"retry-after": "7"}, False, Unavailable),
        (502, {}, True, Unanswered),
        (200, {"x-seraph-loginreason": "AUTHENTICATED_FAILED"}, False, Unauthorized),
        (200, {"x-seraph-loginreason": "OK"}, False, None),
        (200, {"x-ausername": "anonymous"}, False, Unauthorized),
        (200, {"x-ausername": "ada"}, False, None),
    ],
)
def test_what_an_answer_stands_for(
    status: int, headers: dict[str, str], write: bool, error: type[ConnectorError] | None
) -> None:
    found = error_of(status, headers, b"{}", write=write, now=NOW)
    assert (None if found is None else type(found)) is error
    if found is not None:
        assert found.what_to_do or error is Gone


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7"}, 7),
        ({"retry-after": "7.5"}, 7.5),
        ({"retry-after": "0"}, 1),
        ({"retry-after": "Fri, 20 Nov 2026 12:02:00 GMT"}, 120),
        ({"retry-after": "Fri, 20 Nov 2026 11:00:00 GMT"}, 1),  # over: at once
        ({"x-ratelimit-reset": "2026-11-20T12:01:30Z"}, 90),
        ({"x-ratelimit-reset": "2026-11-20T11:59:59Z"}, 1),
        ({"retry-after": "soon"}, 60),
        ({"retry-after": "nan"}, 60),
        ({"retry-after": "inf"}, 60),
        ({}, 60),
        ({"retry-after": "99999999"}, 86400),
    ],
)
def test_the_wait_is_never_shorter_than_told(headers: dict[str, str], seconds: float) -> None:
    found = error_of(429, headers, b"", write=False, now=NOW)
    assert isinstance(found, Unavailable)
    assert found.retry_after == seconds


@pytest.mark.parametrize(
    ("body", "messages"),
    [
        (b'{"errorMessages":["no such project"],"errors":{}}', ["no such project"]),
        (b'{"errorMessages":[],"errors":{"comment":"Comment body is not valid!"}}',
         ["comment: Comment body is not valid!"]),
        (b'{"message":"m"}', ["m"]), (b'{"errorMessage":"e"}', ["e"]),
        (b"null", []), (b"[1]", []), (b"<html>", []), (b"", []), (b'{"errorMessages":"one"}', ["one"]),
        (b'{"errorMessages":[{"a":1}, 5]}', []), (b"[" * 100_000, []),
    ],
)  # fmt: skip
def test_error_bodies_in_words(body: bytes, messages: list[str]) -> None:
    assert messages_of(body) == messages


# --- configuration --------------------------------------------------------------------------


def problems(model: Any, **data: Any) -> dict[str, str]:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(data)
    return {".".join(map(str, e["loc"])): e["msg"] for e in caught.value.errors()}


def test_credentials() -> None:
    good = JiraCredentials.model_validate({"type": "api_token", "email": "bot@acme.com", "token": "s3cret"})
    assert "s3cret" not in repr(good)
    assert problems(JiraCredentials, type="bearer", token="x") == {
        "type": "bearer credentials (Jira Data Center) are not in this build;"
        ' use "api_token" with a Jira Cloud site'
    }
    assert set(problems(JiraCredentials, type="api_token", email="bot", token="")) == {"email", "token"}
    assert set(problems(JiraCredentials, type="api_token", email="a@b", token="x\r\ny")) == {"token"}
    assert set(problems(JiraCredentials, type="basic", email="a@b", token="x")) == {"type"}
    assert set(problems(JiraCredentials, type="api_token", email="a@b", token="x", extra=1)) == {"extra"}


@pytest.mark.parametrize(
    ("jql", "word"),
    [
        ("", "empty"), ("   ", "empty"),
        ("labels = a ORDER BY key", "ORDER BY"), ("a = 1 order\n by b", "ORDER BY"),
        ("labels = a) OR (project = SECRET", "pair"), ("(labels = a", "pair"),
        ('summary ~ "open', "never closed"),
    ],
)  # fmt: skip
def test_a_condition_that_would_leave_its_place_is_refused(jql: str, word: str) -> None:
    assert word in problems(JiraScope, jql=jql)["jql"]


@pytest.mark.parametrize(
    "jql", ["labels = a", 'summary ~ "order by )("', "(a = 1 OR b in (1, 2))", r'x ~ "a\" ) b"', "x = 'it(s'"]
)
def test_sound_conditions_pass(jql: str) -> None:
    assert JiraScope.model_validate({"jql": jql}).jql == jql


def test_scope_and_epics() -> None:
    assert JiraScope.model_validate({"projects": ["shop"]}).projects == ["SHOP"]
    assert JiraScope.model_validate({}).projects is None
    assert set(problems(JiraScope, projects=[])) == {"projects"}
    assert set(problems(JiraScope, projects=['A" OR 1=1'])) == {"projects.0"}
    named = ("key_result_field", "start_field", "due_field", "points_field")
    unset: dict[str, Any] = {"issue_types": None, "fields": [], **dict.fromkeys(named)}
    assert JiraEpics.model_validate({}).model_dump() == unset
    assert set(problems(JiraEpics, fields=["*all"], issue_types=[])) == {"fields.0", "issue_types"}


@pytest.mark.parametrize("hidden", [{"id": None}, {"id": "x"}, {"id": 0}, {"key": None}])
def test_a_project_that_hides_which_it_is_is_refused(hidden: dict[str, Any]) -> None:
    with pytest.raises(BadPayload):
        payloads.project_of({"id": "1", "key": "SHOP"} | hidden)
