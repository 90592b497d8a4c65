"""GitHub's JSON in, our values out: tables of cases."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qsl

import pytest
from pydantic import ValidationError

from connectors.base import (
    BadPayload,
    Children,
    ConnectorError,
    EpicRef,
    Gone,
    Parent,
    Rejected,
    Unanswered,
    Unauthorized,
    Unavailable,
)
from connectors.document import Document, Paragraph, Text
from connectors.github import comments, payloads
from connectors.github.config import GitHubCredentials, GitHubEpics, GitHubScope
from connectors.github.errors import Forbidden, Moved, error_of, message_of
from connectors.github.listing import Listing
from connectors.github.text import lines_of
from connectors.marker import Marker
from connectors.ticket_text import Cell, Line
from tests.support.ticket_text import text_lines

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
WEB = "https://github.com"
MARKER = Marker("inst", 5)


def issue(**members: Any) -> dict[str, Any]:
    base = {
        "id": 3001, "number": 7, "title": "Faster checkout", "state": "open", "body": "Key-Result: KR-12",
        "repository_url": "https://api.github.com/repos/Acme/Shop",
        "html_url": "https://github.com/Acme/Shop/issues/7",
        "created_at": "2026-01-15T10:30:00Z", "updated_at": "2026-02-01T08:00:00Z",
        "labels": [{"id": 1, "name": "epic"}], "assignees": [], "user": {"id": 9, "login": "ada"},
    }  # fmt: skip
    return base | members


def read(raw: Any, **selector: Any) -> payloads.Issue | None:
    return payloads.issue_of(raw, "acme/shop", WEB, GitHubEpics.model_validate(selector))


def test_a_whole_epic() -> None:
    found = read(
        issue(
            labels=[{"name": "epic"}, "growth"],
            assignees=[{"login": "ada"}, None, {"login": "bob"}],
            assignee={"login": "somebody else"},
            milestone={"title": "Q4", "due_on": None},
            type={"id": 1, "name": "Feature"},
            parent_issue_url="https://api.github.com/repos/acme/plan/issues/2",
        )
    )
    assert found is not None
    assert found.fits
    epic = found.epic
    assert (epic.remote_id, epic.key, epic.project) == ("3001", "Acme/Shop#7", "Acme/Shop")
    assert (epic.title, epic.url) == ("Faster checkout", "https://github.com/Acme/Shop/issues/7")
    assert (epic.type, epic.status, epic.status_category) == ("Feature", "open", "todo")
    assert epic.created_at == datetime(2026, 1, 15, 10, 30, tzinfo=UTC)
    assert (epic.labels, epic.assignees) == (("epic", "growth"), ("ada", "bob"))
    # Of a parent issue, which goes before the milestone, its address alone is there.
    parent = Parent("acme/plan#2", url="https://github.com/acme/plan/issues/2")
    assert (epic.milestone, epic.parent, epic.text) == ("Q4", parent, text_lines("Key-Result: KR-12"))


SUMMARY = {"total": 3, "completed": 1, "percent_completed": 33}
HUGE = 10**30


NO_COUNTS: list[Any] = [
    None, "3", 3, [], {}, SUMMARY | {"total": -1}, SUMMARY | {"total": HUGE}, SUMMARY | {"total": "3"},
    SUMMARY | {"total": 3.5}, SUMMARY | {"total": True}, SUMMARY | {"total": None},
    SUMMARY | {"completed": -1}, SUMMARY | {"completed": 4}, SUMMARY | {"completed": [1]},
    {"total": HUGE, "completed": HUGE}, {"total": 2**31, "completed": 0},
]  # fmt: skip


@pytest.mark.parametrize(
    ("summary", "children"),
    [
        (SUMMARY, Children(3, 1)),
        ({"total": 0, "completed": 0}, Children(0, 0)),
        *[(wrong, None) for wrong in NO_COUNTS],
    ],
)
def test_a_count_that_is_none_is_left_out(summary: object, children: Children | None) -> None:
    found = read(issue(sub_issues_summary=summary))
    assert found is not None
    assert found.epic.children == children


QUARTER = {"number": 3, "title": "Q4", "html_url": "https://elsewhere.example/", "state": "closed"}
OF_QUARTER = Parent("Acme/Shop/milestone/3", title="Q4", url="https://github.com/Acme/Shop/milestone/3")


NO_ADDRESSES: list[Any] = [
    None, 7, [], "", "https://api.github.com/repos/acme/shop/issues/7", "javascript:alert(1)",
    "https://api.github.com/repos/acme/shop/issues/0", "https://api.github.com/repositories/1/issues/2",
    f"https://api.github.com/repos/acme/shop/issues/{HUGE}",
]  # fmt: skip


@pytest.mark.parametrize(
    ("members", "parent"),
    [
        ({}, None), ({"milestone": None}, None), ({"milestone": QUARTER}, OF_QUARTER),
        # An issue that is its own parent, and an address that is none, leave the milestone.
        *[
            ({"milestone": QUARTER, "parent_issue_url": url}, OF_QUARTER)
            for url in NO_ADDRESSES
        ],
        *[
            ({"milestone": QUARTER | wrong}, None)
            for wrong in ({"title": None}, {"title": ""}, {"number": None}, {"number": -3}, {"number": HUGE})
        ],
    ],
)  # fmt: skip
def test_a_parent_that_is_none_is_left_out(members: dict[str, Any], parent: Parent | None) -> None:
    found = read(issue(**members))
    assert found is not None
    assert found.epic.parent == parent
    assert payloads.parent_issue(found.epic) is None


@pytest.mark.parametrize("milestone", ["Q4", [1], 7, {"number": 3, "title": ["Q4"]}])
def test_an_issue_whose_milestone_is_none_cannot_be_read(milestone: object) -> None:
    with pytest.raises(BadPayload):
        read(issue(milestone=milestone))


@pytest.mark.parametrize(
    "raw", [None, [], "x", {}, issue(id="x"), issue(number=-1), issue(repository_url=None, html_url="x")]
)
def test_a_parent_whose_answer_says_nothing_stays_as_it_is_known(raw: Any) -> None:
    parent = Parent("acme/plan#2", url="https://github.com/acme/plan/issues/2")
    assert payloads.named_parent(raw, parent, WEB) == parent


def test_what_older_servers_leave_out_is_tolerated() -> None:
    raw = issue(body=None, user=None, labels=[], assignees=None, milestone=None, type=None)
    del raw["repository_url"]
    found = read(raw, with_sub_issues=True)
    assert found is not None
    assert not found.fits
    assert (found.epic.key, found.epic.type, found.epic.status) == ("Acme/Shop#7", "Issue", "open")
    bare = {k: raw[k] for k in ("id", "number", "labels", "state", "created_at", "updated_at")}
    assert (again := read(bare)) is not None
    assert again.epic.key == "acme/shop#7"


def test_closed_is_done() -> None:
    found = read(issue(state="closed", state_reason="not_planned"))
    assert found is not None
    assert (found.epic.status, found.epic.status_category) == ("closed", "done")


@pytest.mark.parametrize(
    "raw",
    [
        issue(pull_request={"url": "https://api.github.com/repos/acme/shop/pulls/7"}),
        issue(html_url="https://github.com/Acme/Shop/pull/7"),
    ],
)
def test_a_pull_request_is_no_issue(raw: dict[str, Any]) -> None:
    assert read(raw) is None


@pytest.mark.parametrize(
    ("members", "selector", "fits"),
    [
        ({}, {}, True),
        ({"labels": ["EPIC"]}, {}, True),
        ({"labels": [{"name": "epics"}]}, {}, False),
        ({"labels": []}, {"labels": ["epic"], "with_sub_issues": True}, False),
        ({"type": {"name": "epic"}, "labels": []}, {"issue_types": ["Epic"]}, True),
        ({"type": None}, {"issue_types": ["Epic"]}, False),
        ({"sub_issues_summary": {"total": 2}}, {"with_sub_issues": True}, True),
        ({"sub_issues_summary": {"total": 0}}, {"with_sub_issues": True}, False),
        ({"sub_issues_summary": None}, {"with_sub_issues": True}, False),
        ({"labels": ["big"]}, {"labels": ["epic", "big"], "issue_types": ["Epic"]}, True),
    ],
)
def test_any_selector_is_enough(members: dict[str, Any], selector: dict[str, Any], fits: bool) -> None:
    found = read(issue(**members), **selector)
    assert found is not None
    assert found.fits is fits


@pytest.mark.parametrize(
    "raw",
    [None, [], "x", {}, issue(number="x"), issue(created_at=None), issue(updated_at="2026-01-01T00:00:00"),
     issue(labels=5), issue(type="Epic"), issue(assignees=["ada"]),
     # What decides whether it is an epic, and whether it is asked for a key result, is never guessed.
     issue(labels=None), issue(labels={}), issue(labels=""), issue(labels=[None]), issue(labels=[{}]),
     issue(state=None), issue(state=""), issue(state="reopened"), issue(state=["open"]),
     issue(pull_request=7), issue(pull_request="x"), issue(pull_request=[{}])],
)  # fmt: skip
def test_what_cannot_be_read_is_a_bad_payload(raw: Any) -> None:
    with pytest.raises(BadPayload):
        read(raw)


@pytest.mark.parametrize(
    ("api", "web"),
    [
        ("https://api.github.com", "https://github.com"),
        ("https://api.github.com/", "https://github.com"),
        ("https://ghe.acme.com/api/v3", "https://ghe.acme.com"),
        ("https://api.acme.ghe.com", "https://acme.ghe.com"),
        ("http://127.0.0.1:8123/github", "http://127.0.0.1:8123/github"),
        ("http://127.0.0.1:8123/api/v3/", "http://127.0.0.1:8123"),
    ],
)
def test_the_web_address_behind_an_api(api: str, web: str) -> None:
    assert payloads.web_base(api) == web


def test_the_listing_asks_for_closed_ones_too_with_overlap() -> None:
    assert dict(parse_qsl((Listing(NOW).url or "").partition("?")[2])) == {
        "state": "all", "sort": "updated", "direction": "asc", "per_page": "100",
        "since": "2026-11-20T11:55:00Z",
    }  # fmt: skip
    assert "since" not in (Listing(None).url or "")


@pytest.mark.parametrize(
    ("markdown", "lines"),
    [
        (None, ()), ("", ()),
        ("one\ntwo\r\n\r\nthree", ("one", "two", "three")),
        ("- Key-Result: KR-1\n- [x] done\n1. two", ("Key-Result: KR-1", "done", "two")),
        ("text\n**Key-Result**: KR-1", ("text", "Key-Result: KR-1")),
        ("```\nKey-Result: KR-1\n```\nafter", ("after",)),
        ("    Key-Result: KR-1\n\nafter", ("after",)),
        ("~~~\nnever closed\nKey-Result: KR-1", ()),
        ("> Key-Result: KR-1\n> - and more\n\nafter", ("after",)),
        ("> quoted\nlazily continued", ()),
        ("<!-- Key-Result: KR-1 -->\nafter", ("after",)),
        ("<!--\nKey-Result: KR-1\n\nKey-Result: KR-2\n-->\nafter", ("after",)),
        ("<details>\n<summary>s</summary>\n\nKey-Result: KR-1\n\n</details>", ("s", "Key-Result: KR-1")),
        ("<pre>\nKey-Result: KR-1\n</pre>", ()),
        ("~~Key-Result: KR-1~~", ()), ("~x~ y <del>Key-Result: KR-1</del>", ("y",)),
        ("<b>Key-Result: KR-1</b>", ("Key-Result: KR-1",)), ("a<br>b<br/>c", ("a", "b", "c")),
        ("<div>\nKey-Result: KR-1\n</div>", ("Key-Result: KR-1",)),
        ("Key-Result: KR-1 `note`", ("Key-Result: KR-1 note",)),
        ("[Key-Result](https://x.example): KR-1", ("Key-Result: KR-1",)),
        ("![Key-Result: KR-1](x.png)", ()),
        ("a\x00b", ("a\ufffdb",)), ("Key\\-Result: KR\\_1 &amp; x", ("Key-Result: KR_1 & x",)),
    ],
)  # fmt: skip
def test_lines_of_markdown(markdown: str | None, lines: tuple[str, ...]) -> None:
    assert lines_of(markdown) == text_lines(*lines)


def test_deep_nesting_is_read_without_recursion() -> None:
    assert lines_of(">" * 5_000 + " x\n" + "- " * 3_000 + "y\n" + "*" * 9_000 + "\n\nafter") == ()
    assert len(lines_of("[" * 20_000 + "x" + "](" * 20_000)) == 1


def test_headings_cells_and_code_of_markdown() -> None:
    markdown = "# Goal #\nUnder\n===\n\n| a | `b` |\n|---|---|\n|  | c |\n\n`x` y\n<table><tr><td>d</table>"
    cells = (("a", 0, 0, 0, False), ("b", 0, 0, 1, True), ("c", 0, 1, 1, False))
    assert lines_of(markdown) == (
        Line("Goal", "heading"),
        Line("Under", "heading"),
        *(Line(text, "cell", in_code, Cell(*place)) for text, *place, in_code in cells),
        Line("x y", in_code=True),
        Line("d", "cell", cell=Cell(1, 0, 0)),
    )


def test_a_text_is_read_for_epics_only() -> None:
    found = read(issue(labels=[]))
    assert found is not None
    assert found.epic.text == ()


# --- comments -------------------------------------------------------------------------------


def test_the_first_two_lines_are_the_marker() -> None:
    body = comments.comment_body(Document((Paragraph((Text("No key result"),)),)), MARKER)["body"]
    assert body == "<!-- northing:notice -->\n<!-- northing:id inst/5 -->\n\nNo key result"
    assert MARKER.fits(comments.marker_of({"body": body}), "me", "me")


@pytest.mark.parametrize(
    ("body", "carried"),
    [
        ("<!-- northing:notice -->\r\n<!-- northing:id inst/5 -->\r\n\r\nx", True),
        ("<!-- northing:notice -->\n<!-- northing:id inst/51 -->\nx", True),  # before a transfer
        ("<!-- northing:notice -->\n<!-- northing:id other/5 -->\nx", False),
        ("> <!-- northing:notice -->\n> <!-- northing:id inst/5 -->", False),
        ("look:\n<!-- northing:notice -->\n<!-- northing:id inst/5 -->", False),
        ("<!-- northing:notice -->", False), ("", False), (None, False),
    ],
)  # fmt: skip
def test_the_marker_stands_at_the_very_top(body: str | None, carried: bool) -> None:
    assert MARKER.fits(comments.marker_of({"body": body}), "me", "me") is carried


@pytest.mark.parametrize(
    ("ref", "epic_id", "replaced"),
    [
        (EpicRef("3001", "acme/shop#7"), 3001, False),
        (EpicRef("3001", "Acme/Shop#7"), 4000, True),
        (EpicRef("3001", "acme/old#1"), 4000, False),
    ],
)
def test_a_key_alone_is_no_identity(ref: EpicRef, epic_id: int, replaced: bool) -> None:
    found = read(issue(id=epic_id))
    assert found is not None
    assert payloads.replaced(ref, found.epic) is replaced


@pytest.mark.parametrize("key", ["acme/shop", "acme#7", "a/b/c#7", "acme/shop#x", "../..#7x", ""])
def test_what_is_no_key_is_not_called(key: str) -> None:
    with pytest.raises(BadPayload):
        payloads.repository_and_number(key)


@pytest.mark.parametrize(
    ("raw", "public", "problem"),
    [
        ({"visibility": "public"}, True, None), ({"visibility": "internal", "private": False}, False, None),
        ({"private": False}, True, None), ({"private": True}, False, None),
        ({"private": True, "archived": True, "has_issues": False}, False, "turned off"),
        ({"private": True, "has_issues": False}, False, "turned off"),
    ],
)  # fmt: skip
def test_repositories(raw: dict[str, Any], public: bool, problem: str | None) -> None:
    project = payloads.project_of({"full_name": "Acme/Shop", "id": 1} | raw)
    assert (project.key, project.public, project.service_desk) == ("Acme/Shop", public, False)
    assert (problem is None) == (project.problem is None)
    assert problem is None or problem in str(project.problem)


@pytest.mark.parametrize(
    "hidden", [{"id": None}, {"id": "x"}, {"full_name": 5}, {"private": None}, {"visibility": 7}]
)
def test_a_repository_that_hides_which_it_is_or_who_reads_it_is_refused(hidden: dict[str, Any]) -> None:
    with pytest.raises(BadPayload):
        payloads.project_of({"full_name": "Acme/Shop", "id": 1, "private": True} | hidden)


# --- errors ---------------------------------------------------------------------------------

RESET = {"x-ratelimit-remaining": "0", "x-ratelimit-reset": str(int(NOW.timestamp()) + 90)}


@pytest.mark.parametrize(
    ("status", "headers", "write", "error"),
    [
        (200, {}, False, None), (201, {}, True, None), (204, {}, True, None),
        (301, {}, True, Moved), (400, {}, False, Rejected), (401, {}, False, Unauthorized),
        (403, {}, False, Forbidden), (403, {"x-ratelimit-remaining": "4999"}, False, Forbidden),
        (403, RESET, False, Unavailable), (403, {"retry-after": "9"}, True, Unavailable),
        (404, {}, False, Gone), (410, {}, True, Gone), (451, {}, False, Gone), (422, {}, True, Rejected),
        (429, {}, True, Unavailable), (500, {}, False, Unavailable), (502, {}, True, Unanswered),
    ],
)  # fmt: skip
def test_what_an_answer_stands_for(
    status: int, headers: dict[str, str], write: bool, error: type[ConnectorError] | None
) -> None:
    found = error_of(status, headers, b"{}", write=write, now=NOW)
    assert (None if found is None else type(found)) is error


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (403, {"retry-after": "9"} | RESET, 9), (403, RESET, 90), (429, RESET, 90), (429, {}, 60),
        (403, {"x-ratelimit-remaining": "0"}, 60), (429, {"retry-after": "0"}, 1),
        (429, {"retry-after": "Fri, 20 Nov 2026 12:02:00 GMT"}, 120), (429, {"retry-after": "soon"}, 60),
        (429, {"retry-after": "nan"}, 60), (429, {"retry-after": "1e9"}, 86400),
        (403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1"}, 1), (503, {"retry-after": "5"}, 5),
    ],
)  # fmt: skip
def test_the_wait_is_never_shorter_than_told(status: int, headers: dict[str, str], seconds: float) -> None:
    found = error_of(status, headers, b"", write=False, now=NOW)
    assert isinstance(found, Unavailable)
    assert found.retry_after == seconds


@pytest.mark.parametrize(
    ("body", "message"),
    [(b'{"message":"Not Found"}', "Not Found"), (b"[1]", ""), (b"null", ""), (b"<html>", ""), (b"", ""),
     (b'{"message":5}', ""), (b"[" * 100_000, ""),
     (b'{"message":"Validation Failed","errors":[{"resource":"IssueComment","code":"custom","field":"body",'
      b'"message":"body is\\u0007 too\\nlong"}]}', "Validation Failed (body: custom: body is too long)"),
     (b'{"message":"Validation Failed","errors":[{"resource":"Issue","code":"missing"},"Not \\u202eyou"]}',
      "Validation Failed (Issue: missing; Not you)"),
     (b'{"errors":[{"message":"body is spam"}]}', "(body is spam)"),
     (b'{"message":"No","errors":[null,5,{},[],{"code":7}]}', "No"), (b'{"message":"No","errors":{}}', "No"),
     (b'{"message":"No","errors":["%s","b","c","d"]}' % (b"a" * 999), f"No ({'a' * 200}; b; c)")],
)  # fmt: skip
def test_error_bodies_in_words(body: bytes, message: str) -> None:
    assert message_of(body) == message


# --- configuration --------------------------------------------------------------------------


def problems(model: Any, **data: Any) -> dict[str, str]:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(data)
    return {".".join(map(str, e["loc"])): e["msg"] for e in caught.value.errors()}


def test_credentials() -> None:
    assert "s3cret" not in repr(GitHubCredentials.model_validate({"type": "token", "token": "ghp_s3cret"}))
    assert problems(GitHubCredentials, type="app", app_id=1, private_key="x") == {
        "type": 'app credentials (GitHub App) are not in this build; use "token" with a personal access token'
    }
    assert set(problems(GitHubCredentials, type="token", token="a\nb")) == {"token"}
    assert set(problems(GitHubCredentials, type="token")) == {"token"}


def test_scope() -> None:
    assert GitHubScope.model_validate({"organizations": ["acme"]}).repositories == []
    assert "at least one" in problems(GitHubScope)[""]
    for bad in ("acme", "acme/..", "a/b/c", "/x", "acme/shop#1", "https://github.com/acme/shop"):
        assert set(problems(GitHubScope, repositories=[bad])) == {"repositories.0"}, bad
    assert set(problems(GitHubScope, organizations=["acme/shop"])) == {"organizations.0"}


@pytest.mark.parametrize(
    ("given", "labels"),
    [
        ({}, ["epic"]), ({"labels": ["big"]}, ["big"]), ({"issue_types": ["Epic"]}, []),
        ({"with_sub_issues": True}, []), ({"issue_types": ["Epic"], "labels": ["epic"]}, ["epic"]),
        ({"issue_types": [], "with_sub_issues": False}, ["epic"]),
    ],
)  # fmt: skip
def test_the_label_epic_is_the_selector_of_those_who_name_none(
    given: dict[str, Any], labels: list[str]
) -> None:
    assert GitHubEpics.model_validate(given).labels == labels


def test_no_selector_at_all_is_refused() -> None:
    assert "labels, issue_types or with_sub_issues" in problems(GitHubEpics, labels=[])[""]
