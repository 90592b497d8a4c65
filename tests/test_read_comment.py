"""A person's comment read afresh from both trackers, and whether its author may steer the ticket."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import requests
import responses
import respx

from connectors.base import (
    BadPayload,
    CommentRef,
    Connector,
    Epic,
    EpicRef,
    Missing,
    Rejected,
    Unanswered,
    Unauthorized,
    Unavailable,
)
from connectors.comments import TicketComment
from connectors.github.comments import NOTICE
from connectors.registry import KINDS
from tests.support.exchanges import check_exchange, from_requests, kept
from tests.support.ticket_text import text_lines

HIDDEN = "s3cret-token"


# --- GitHub ---------------------------------------------------------------------------------

API = "https://api.github.com"
ON_GITHUB = f"{API}/repos/acme/shop/issues/comments/900"
ISSUE = f"{API}/repos/acme/shop/issues/7"
ASKED = CommentRef(EpicRef("7001", "acme/shop#7"), "900")


def user(number: int, login: str, kind: str = "User") -> dict[str, Any]:
    links = (
        "avatar_url", "html_url", "followers_url", "following_url", "gists_url", "starred_url",
        "subscriptions_url", "organizations_url", "repos_url", "events_url", "received_events_url", "url",
    )  # fmt: skip
    filled = {name: f"https://github.example/{login}" for name in links}
    return filled | {
        "id": number, "node_id": f"U{number}", "login": login, "type": kind, "site_admin": False,
        "gravatar_id": None,
    }  # fmt: skip


DEV = user(5, "dev-lead")


def message(**members: Any) -> dict[str, Any]:
    return {
        "id": 900, "node_id": "C900", "url": ON_GITHUB, "issue_url": ISSUE, "user": DEV,
        "html_url": "https://github.com/acme/shop/issues/7#issuecomment-900",
        "created_at": "2026-01-01T00:00:00Z", "updated_at": "2026-01-01T00:00:00Z",
        "author_association": "MEMBER", "body": "/northing link KR-3",
    } | members  # fmt: skip


@pytest.fixture
def github() -> Iterator[respx.MockRouter]:
    with respx.mock(assert_all_called=False) as mock:
        yield mock


@pytest.fixture
async def octo() -> AsyncIterator[Connector]:
    kind = KINDS["github"]
    connector = kind.connect(
        API,
        kind.credentials.model_validate({"type": "token", "token": HIDDEN}),
        kind.scope.model_validate({"repositories": ["acme/shop"]}),
        kind.epics.model_validate({}),
    )
    yield connector
    await connector.aclose()


async def read_whole(connector: Connector, asked: CommentRef) -> TicketComment | None:
    """The comment with its author's right, as one that says something to Northing is read."""
    found = await connector.read_comment(asked)
    return None if found is None else await connector.with_right(asked.ticket, found)


async def test_a_comment_on_github_is_read_in_one_request(github: respx.MockRouter, octo: Connector) -> None:
    github.get(ON_GITHUB).respond(json=message())
    assert await octo.read_comment(ASKED) == TicketComment(
        "900",
        "dev-lead",
        text_lines("/northing link KR-3"),
        ours=False,
        may_steer=False,
        author_id=str(DEV["id"]),
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    assert octo.requests == 1
    assert [problem for call in github.calls for problem in check_exchange(call.request, call.response)] == []


async def test_commands_stand_outside_code_and_quotes(github: respx.MockRouter, octo: Connector) -> None:
    body = (
        "Hello `/northing a`\r\n/northing b\r\n\r\n> /northing c\r\n\r\n"
        "```\n/northing d\n```\n\n    /northing e\n"
        "\n<!-- \n/northing f\n-->\n\n<div>\n/northing g\n</div>\n\n<b>x</b>/northing h\n\n- /northing i\n"
    )
    github.get(ON_GITHUB).respond(json=message(body=body))
    found = await octo.read_comment(ASKED)
    assert found is not None
    commands = [line.text for line in found.lines if line.text.startswith("/northing") and not line.in_code]
    assert commands == ["/northing b", "/northing g", "/northing i"]


PERSON = {"body": "words"}


@pytest.mark.parametrize(
    ("members", "ours"),
    [
        ({"body": f"{NOTICE}\n<!-- northing:id inst/5 -->\n\nNo key result."}, True),
        ({"body": f"{NOTICE}\r\n/northing help"}, True),
        ({"body": f"> {NOTICE}\n/northing help"}, False),
        ({"body": f"Look: {NOTICE}"}, False),
        ({"body": ""}, False),
        ({"body": None}, False),
        ({"user": user(6, "helper[bot]", "Bot")}, True),
        ({"user": user(6, "helper[bot]", "Bot"), "performed_via_github_app": {"id": 1}}, True),
        ({"performed_via_github_app": {"id": 1, "slug": "helper"}}, False),
        ({"performed_via_github_app": None}, False),
    ],
)
async def test_a_programs_comment_on_github(
    github: respx.MockRouter, octo: Connector, members: dict[str, Any], ours: bool
) -> None:
    """Whoever else wrote it is a person, the token's owner too, and by an app that relays it."""
    github.get(ON_GITHUB).respond(json=message(author_association="OWNER", **members))
    found = await read_whole(octo, ASKED)
    assert found is not None
    assert (found.ours, found.may_steer, found.restricted) == (ours, not ours, False)
    assert octo.requests == 1


PERMISSION = f"{API}/repos/acme/shop/collaborators/dev-lead/permission"
NO_COLLABORATOR: dict[str, Any] = {"status_code": 404, "json": {"message": "Not Found"}}
NOBODYS = {"user": user(9, "other"), "assignees": []}
OTHERS = ["MEMBER", "COLLABORATOR", "CONTRIBUTOR", "FIRST_TIMER", "NONE", None, "owner"]


OLD_RIGHTS = {"permissions": {"pull": True, "push": False, "admin": False}}


def permission(role: str, *rights: str, legacy: str = "read", of: Any = DEV) -> dict[str, Any]:
    """An answer about a role and what it may do."""
    names = ("pull", "triage", "push", "maintain", "admin")
    person = of | {"role_name": role, "permissions": {name: name in rights for name in names}}
    return {"json": {"permission": legacy, "role_name": role, "user": person}}


@pytest.mark.parametrize("association", ["OWNER", *OTHERS])
async def test_the_association_spares_an_owner_the_question(
    github: respx.MockRouter, octo: Connector, association: str | None
) -> None:
    """A member may have the right to read alone, and who contributed code may have any."""
    github.get(ON_GITHUB).respond(json=message(author_association=association))
    github.get(PERMISSION).respond(**NO_COLLABORATOR)
    github.get(ISSUE).respond(json=NOBODYS)
    found = await read_whole(octo, ASKED)
    assert found is not None
    assert (found.may_steer, octo.requests) == ((True, 1) if association == "OWNER" else (False, 3))


@pytest.mark.parametrize(
    ("answer", "may"),
    [
        (permission("read", "pull"), False),
        (permission("triage", "pull", "triage"), True),  # `permission` says read
        (permission("write", "pull", "triage", "push", legacy="write"), True),
        (permission("maintain", "pull", "triage", "push", "maintain", legacy="write"), True),
        (permission("admin", "pull", "triage", "push", "maintain", "admin", legacy="admin"), True),
        (permission("security-reader", "pull"), False),  # roles of the organisation's own
        (permission("issue-keeper", "pull", "triage"), True),
        # Without the rights, a role of an old server; an unknown role is none.
        ({"json": {"permission": "write", "role_name": "write", "user": DEV}}, True),
        ({"json": {"permission": "read", "role_name": "triage", "user": None}}, True),
        ({"json": {"permission": "admin"}}, True),
        ({"json": {"permission": "read", "role_name": "issue-keeper", "user": DEV}}, False),
        ({"json": {"permission": "write", "role_name": "security-writer", "user": DEV}}, True),
        # An old server has no right of this name.
        ({"json": {"permission": "read", "role_name": "triage", "user": DEV | OLD_RIGHTS}}, True),
        # The login belongs to another account by now.
        (permission("admin", "pull", "triage", "admin", of=user(9, "dev-lead")), False),
        (NO_COLLABORATOR, False),
        ({"status_code": 403, "json": {"message": "Must have push access to view a permission."}}, False),
    ],
)
async def test_who_may_triage_or_more_may_steer(
    github: respx.MockRouter, octo: Connector, answer: dict[str, Any], may: bool
) -> None:
    github.get(ON_GITHUB).respond(json=message(author_association="CONTRIBUTOR"))
    github.get(PERMISSION).respond(**answer)
    github.get(ISSUE).respond(json=NOBODYS)
    found = await read_whole(octo, ASKED)
    assert found is not None
    assert (found.may_steer, octo.requests) == ((True, 2) if may else (False, 3))


async def test_the_question_is_the_described_one(github: respx.MockRouter, octo: Connector) -> None:
    github.get(ON_GITHUB).respond(json=message())
    github.get(PERMISSION).respond(**permission("triage", "pull", "triage"))
    assert await read_whole(octo, ASKED) is not None
    assert [problem for call in github.calls for problem in check_exchange(call.request, call.response)] == []


@pytest.mark.parametrize("login", ["../../acme", "dev lead", ""])
async def test_what_is_no_login_stands_in_no_address(
    github: respx.MockRouter, octo: Connector, login: str
) -> None:
    github.get(ON_GITHUB).respond(json=message(user=DEV | {"login": login}))
    github.get(ISSUE).respond(json=NOBODYS)
    github.get(url__regex=".*collaborators.*").respond(**NO_COLLABORATOR)
    found = await read_whole(octo, ASKED)
    assert found is not None
    assert not found.may_steer
    assert not any("lead/" in str(call.request.url) or ".." in str(call.request.url) for call in github.calls)


@pytest.mark.parametrize(
    ("author", "issue", "may"),
    [
        (DEV, {"user": DEV, "assignees": []}, True),
        (DEV, {"user": DEV}, True),
        (DEV, {"user": None, "assignees": [user(9, "other"), None, DEV]}, True),
        (DEV, {"user": user(9, "other"), "assignees": [user(8, "third")]}, False),
        # A name can be taken again, an id cannot.
        (DEV, {"user": user(9, "dev-lead"), "assignees": None}, False),
        (None, {"user": None, "assignees": [{}]}, False),
    ],
)  # fmt: skip
async def test_who_takes_part_in_the_issue_may_steer_it(
    github: respx.MockRouter, octo: Connector, author: Any, issue: dict[str, Any], may: bool
) -> None:
    github.get(ON_GITHUB).respond(json=message(author_association="NONE", user=author))
    github.get(PERMISSION).respond(**NO_COLLABORATOR)
    github.get(ISSUE).respond(json=issue)
    found = await read_whole(octo, ASKED)
    assert found is not None
    assert (found.may_steer, found.author) == (may, "dev-lead" if author else "ghost")


@pytest.mark.parametrize(
    "answer",
    [
        {"status_code": 404, "json": {"message": "Not Found"}},
        {"status_code": 410},
        {"json": message(issue_url=f"{API}/repos/acme/shop/issues/17")},
        {"json": message(issue_url=f"{API}/repos/acme/shop/issues/71")},
    ],
)
async def test_a_comment_gone_or_of_another_issue(
    github: respx.MockRouter, octo: Connector, answer: dict[str, Any]
) -> None:
    github.get(ON_GITHUB).respond(**answer)
    assert await octo.read_comment(ASKED) is None


async def test_the_issue_may_go_between_the_two_requests(github: respx.MockRouter, octo: Connector) -> None:
    github.get(ON_GITHUB).respond(json=message(author_association="NONE"))
    github.get(PERMISSION).respond(**NO_COLLABORATOR)
    github.get(ISSUE).respond(410, json={"message": "This issue was deleted"})
    assert await read_whole(octo, ASKED) is None


async def test_a_comment_in_a_renamed_repository(github: respx.MockRouter, octo: Connector) -> None:
    there = f"{API}/repositories/1/issues/comments/900"
    github.get(ON_GITHUB).respond(301, headers={"location": there})
    github.get(there).respond(json=message(issue_url=f"{API}/repos/acme/store/issues/7"))
    found = await octo.read_comment(ASKED)
    assert found is not None
    assert found.lines == text_lines("/northing link KR-3")


BROKEN = {"content": b"[" * 9, "headers": {"content-type": "application/json"}}


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"status_code": 401, "json": {"message": "Bad credentials"}}, Unauthorized),
        ({"status_code": 403, "json": {"message": "Resource not accessible"}}, Rejected),
        ({"status_code": 429}, Unavailable),
        ({"status_code": 502}, Unavailable),
        (httpx.ReadTimeout("slow"), Unavailable),
        (BROKEN, BadPayload),
        ({"json": []}, BadPayload),
        ({"json": {}}, BadPayload),
        ({"json": message(issue_url=None)}, BadPayload),
        ({"json": message(user=5)}, BadPayload),
        ({"json": message(body=["x"])}, BadPayload),
    ],
)
@pytest.mark.parametrize("where", [ON_GITHUB, PERMISSION, ISSUE])
async def test_trouble_while_reading_on_github(
    github: respx.MockRouter, octo: Connector, fault: Any, error: type[Exception], where: str
) -> None:
    if error is Rejected and where == PERMISSION:
        return  # who may not ask for a permission goes on without it, see the test above
    answers: dict[str, dict[str, Any]] = {
        ON_GITHUB: {"json": message(author_association="NONE")},
        PERMISSION: NO_COLLABORATOR,
    }
    for url, answer in answers.items():
        if url != where:
            github.get(url).respond(**answer)
    if where != ON_GITHUB and error is BadPayload and "json" in fault:
        fault = {"json": {"user": 5}}
    route = github.get(where)
    route.respond(**fault) if isinstance(fault, dict) else route.mock(side_effect=fault)
    with pytest.raises(error) as caught:
        await read_whole(octo, ASKED)
    assert not isinstance(caught.value, Unanswered)
    assert HIDDEN not in str(caught.value)


# --- Jira -----------------------------------------------------------------------------------

SITE = "https://acme.atlassian.net"
REST = f"{SITE}/rest/api/3"
TICKET = CommentRef(EpicRef("10040", ""), "10019")  # as a comment event without an issue names it
PERSON_ON_JIRA = {
    "accountId": "5b10a2844c20165700ede21g", "accountType": "atlassian", "active": True,
    "displayName": "Dev Lead",
}  # fmt: skip
ADMINS_ONLY = {"errorMessages": ["Only Jira administrators can perform this operation."], "errors": {}}


def adf(*nodes: dict[str, Any]) -> dict[str, Any]:
    return {"type": "doc", "version": 1, "content": list(nodes)}


def words(text: str, *marks: str) -> dict[str, Any]:
    node: dict[str, Any] = {"type": "text", "text": text}
    marked = node | {"marks": [{"type": mark} for mark in marks]} if marks else node
    return {"type": "paragraph", "content": [marked]}


def reported(**members: Any) -> dict[str, Any]:
    return {
        "id": "10019", "self": f"{REST}/issue/10040/comment/10019", "author": PERSON_ON_JIRA,
        "body": adf(words("/northing link KR-3")),
        "created": "2026-01-01T00:00:00.000+0000", "updated": "2026-01-01T00:00:00.000+0000",
    } | members  # fmt: skip


def granted(*issues: int) -> dict[str, Any]:
    grant = {"permission": "EDIT_ISSUES", "issues": list(issues), "projects": []}
    return {"globalPermissions": [], "projectPermissions": [grant]}


@pytest.fixture
def jira() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock(assert_all_requests_are_fired=False, response_callback=kept) as mock:
        mock.get(f"{REST}/myself", json={"accountId": "me", "displayName": "Northing"})
        yield mock


@pytest.fixture
async def atlas() -> AsyncIterator[Connector]:
    kind = KINDS["jira"]
    connector = kind.connect(
        SITE,
        kind.credentials.model_validate({"type": "api_token", "email": "bot@acme.com", "token": HIDDEN}),
        kind.scope.model_validate({"projects": ["SHOP"]}),
        kind.epics.model_validate({}),
    )
    yield connector
    await connector.aclose()


NOT_THERE = {"status": 404, "json": {"errorMessages": ["It does not exist."], "errors": {}}}


def answer(
    mock: responses.RequestsMock,
    comment: Any,
    check: dict[str, Any] | None = None,
    marked: dict[str, Any] = NOT_THERE,
) -> None:
    shown = comment if isinstance(comment, dict) and "id" not in comment else {"json": comment}
    mock.get(f"{REST}/issue/10040/comment/10019", **shown)
    mock.get(f"{REST}/comment/10019/properties/northing", **marked)
    mock.post(f"{REST}/permissions/check", **(check or {"json": granted(10040)}))


async def test_a_comment_on_jira_is_read_in_three_requests(
    jira: responses.RequestsMock, atlas: Connector
) -> None:
    answer(jira, reported())
    assert await read_whole(atlas, TICKET) == TicketComment(
        "10019",
        "Dev Lead",
        text_lines("/northing link KR-3"),
        ours=False,
        may_steer=True,
        author_id=str(PERSON_ON_JIRA["accountId"]),
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    assert len(jira.calls) == atlas.requests == 3
    assert json.loads(jira.calls[2].request.body or "") == {
        "accountId": PERSON_ON_JIRA["accountId"],
        "projectPermissions": [{"permissions": ["EDIT_ISSUES"], "issues": [10040]}],
    }
    assert [p for call in jira.calls for p in check_exchange(*from_requests(call.response))] == []


async def test_commands_stand_outside_code_and_quotes_of_adf(
    jira: responses.RequestsMock, atlas: Connector
) -> None:
    broken = {"type": "paragraph", "content": [
        {"type": "text", "text": "Hello"}, {"type": "hardBreak"}, {"type": "text", "text": "/northing b"},
    ]}  # fmt: skip
    body = adf(
        words("/northing a", "code"), broken, words("/northing c", "strong"),
        {"type": "codeBlock", "content": [{"type": "text", "text": "/northing d"}]},
        {"type": "blockquote", "content": [words("/northing e")]},
        {"type": "bulletList", "content": [{"type": "listItem", "content": [words("/northing f")]}]},
    )  # fmt: skip
    answer(jira, reported(body=body))
    found = await read_whole(atlas, TICKET)
    assert found is not None
    commands = [line.text for line in found.lines if line.text.startswith("/northing") and not line.in_code]
    assert commands == ["/northing b", "/northing c", "/northing f"]


@pytest.mark.parametrize(
    ("members", "marked", "asked"),
    [
        ({}, {"json": {"key": "northing", "value": {"id": "inst/5"}}}, 2),
        ({}, {"json": {"key": "northing", "value": None}}, 2),
        ({"author": PERSON_ON_JIRA | {"accountType": "app"}}, NOT_THERE, 1),
    ],
)
async def test_a_programs_comment_on_jira(
    jira: responses.RequestsMock,
    atlas: Connector,
    members: dict[str, Any],
    marked: dict[str, Any],
    asked: int,
) -> None:
    answer(jira, reported(**members), marked=marked)
    found = await read_whole(atlas, TICKET)
    assert found is not None
    assert (found.ours, found.may_steer, atlas.requests) == (True, False, asked)


@pytest.mark.parametrize(
    "members",
    [
        {"author": PERSON_ON_JIRA | {"accountId": "me"}},  # the token's owner is a person too
        {"self": f"{REST}/issue/1/comment/1"},  # where it says it stands is not looked at
        {"self": 5},
    ],
)
async def test_a_persons_comment_on_jira(
    jira: responses.RequestsMock, atlas: Connector, members: dict[str, Any]
) -> None:
    answer(jira, reported(**members))
    found = await read_whole(atlas, TICKET)
    assert found is not None
    assert (found.ours, found.may_steer, atlas.requests) == (False, True, 3)


@pytest.mark.parametrize(
    ("check", "may"),
    [
        (granted(10040), True),
        (granted(10039, 10040), True),
        (granted(10039), False),
        (granted(), False),
        ({"globalPermissions": [], "projectPermissions": []}, False),
        ({"projectPermissions": [{"permission": "ADD_COMMENTS", "issues": [10040], "projects": []}]}, False),
    ],
)
async def test_the_right_as_jira_says_it(
    jira: responses.RequestsMock, atlas: Connector, check: dict[str, Any], may: bool
) -> None:
    answer(jira, reported(author=PERSON_ON_JIRA | {"accountType": "customer"}), {"json": check})
    found = await read_whole(atlas, TICKET)
    assert found is not None
    assert found.may_steer is may


@pytest.mark.parametrize(
    "refusal",
    [
        {"status": 403, "json": ADMINS_ONLY},
        {"status": 403, "body": "<html>"},
        {"status": 400, "json": ADMINS_ONLY},
        {"status": 401, "json": {"errorMessages": ["You are not authenticated."]}},
    ],
)
@pytest.mark.parametrize(
    ("fields", "may"),
    [
        ({"reporter": PERSON_ON_JIRA}, True),
        ({"assignee": PERSON_ON_JIRA, "reporter": None}, True),
        ({"creator": PERSON_ON_JIRA}, True),
        ({"reporter": PERSON_ON_JIRA | {"active": False}}, False),
        ({"reporter": PERSON_ON_JIRA | {"accountId": "somebody-else"}, "assignee": None}, False),
        ({}, False),
    ],
)
async def test_where_jira_does_not_let_us_ask_the_ticket_names_its_people(
    jira: responses.RequestsMock, atlas: Connector, refusal: dict[str, Any], fields: dict[str, Any], may: bool
) -> None:
    answer(jira, reported(author=PERSON_ON_JIRA), refusal)
    jira.get(f"{REST}/issue/10040", json={"id": "10040", "key": "SHOP-1", "fields": fields})
    found = await read_whole(atlas, TICKET)
    assert found is not None
    assert found.may_steer is may


@pytest.mark.parametrize("author", [None, {}, {"displayName": "Anonymous"}, {"accountId": 5, "active": True}])
async def test_anonymous_steers_nothing_and_is_not_asked_about(
    jira: responses.RequestsMock, atlas: Connector, author: Any
) -> None:
    answer(jira, reported(author=author))
    found = await read_whole(atlas, TICKET)
    assert found is not None
    assert found.may_steer is False
    assert found.author
    assert atlas.requests == 2


async def test_a_comment_that_jira_does_not_have_on_the_ticket(
    jira: responses.RequestsMock, atlas: Connector
) -> None:
    answer(jira, NOT_THERE)
    assert await read_whole(atlas, TICKET) is None


async def test_the_ticket_may_go_while_its_people_are_asked_for(
    jira: responses.RequestsMock, atlas: Connector
) -> None:
    answer(jira, reported(), {"status": 403, "json": ADMINS_ONLY})
    jira.get(f"{REST}/issue/10040", **NOT_THERE)
    assert await read_whole(atlas, TICKET) is None


async def test_trap_21_nothing_shown_to_nobody_is_no_comment_gone(
    jira: responses.RequestsMock, atlas: Connector
) -> None:
    answer(jira, NOT_THERE)
    jira.replace("GET", f"{REST}/myself", status=401)
    with pytest.raises(Unauthorized):
        await read_whole(atlas, TICKET)


async def test_trap_21_a_401_to_the_question_may_mean_that_the_token_died(
    jira: responses.RequestsMock, atlas: Connector
) -> None:
    answer(jira, reported(), {"status": 401})
    jira.replace("GET", f"{REST}/myself", status=401)
    with pytest.raises(Unauthorized):
        await read_whole(atlas, TICKET)


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        ({"status": 429, "headers": {"Retry-After": "30"}}, Unavailable),
        ({"status": 503}, Unavailable),
        ({"body": requests.ReadTimeout("slow")}, Unavailable),
        ({"status": 400, "json": {"errorMessages": ["Invalid account ID"]}}, Rejected),
        ({"json": {"author": 5, "projectPermissions": 5}}, BadPayload),
        ({"json": [1]}, BadPayload),
        ({"json": {}}, BadPayload),
        ({"body": "<html>"}, BadPayload),
    ],
)
@pytest.mark.parametrize("second", [False, True])
async def test_trouble_while_reading_on_jira(
    jira: responses.RequestsMock, atlas: Connector, fault: Any, error: type[Exception], second: bool
) -> None:
    answer(jira, reported() if second else fault, fault)
    with pytest.raises(error) as caught:
        await read_whole(atlas, TICKET)
    assert not isinstance(caught.value, Unanswered)
    assert atlas.requests == (3 if second else 1)


@pytest.mark.parametrize("members", [{"author": 5}, {"author": "x"}])
async def test_a_comment_that_cannot_be_read(
    jira: responses.RequestsMock, atlas: Connector, members: dict[str, Any]
) -> None:
    answer(jira, reported(**members))
    with pytest.raises(BadPayload):
        await read_whole(atlas, TICKET)


@pytest.mark.parametrize("ref", [CommentRef(TICKET.ticket, "x"), CommentRef(EpicRef("../1", ""), "10019")])
async def test_ids_that_are_none_of_jiras_are_not_sent(
    jira: responses.RequestsMock, atlas: Connector, ref: CommentRef
) -> None:
    answer(jira, reported(self="https://acme.atlassian.net"))
    with pytest.raises(BadPayload):
        await atlas.read_comment(ref)


async def test_a_ticket_without_a_key_is_fetched_by_its_id(
    jira: responses.RequestsMock, atlas: Connector
) -> None:
    jira.get(f"{REST}/issuetype", json=[{"id": "1", "name": "Epic", "hierarchyLevel": 1}])
    fields = {
        "summary": "s", "issuetype": {"id": "1", "name": "Epic"}, "project": {"key": "SHOP"},
        "status": {"name": "To Do", "statusCategory": {"key": "new"}},
        "created": "2026-01-01T00:00:00.000+0000", "updated": "2026-01-01T00:00:00.000+0000",
    }  # fmt: skip
    jira.post(
        f"{REST}/issue/bulkfetch", json={"issues": [{"id": "10040", "key": "SHOP-41", "fields": fields}]}
    )
    refs = [EpicRef("10040", ""), EpicRef("10041", "")]
    found, gone = await atlas.fetch(refs)
    assert isinstance(found, Epic)
    assert found.ref == EpicRef("10040", "SHOP-41")
    assert gone == Missing(refs[1], "deleted")
    assert json.loads(jira.calls[-1].request.body or "")["issueIdsOrKeys"] == ["10040", "10041"]


@pytest.mark.parametrize(
    ("members", "restricted"),
    [
        ({}, False),
        ({"jsdPublic": True}, False),
        ({"visibility": {"type": "role", "value": "Administrators"}}, True),
        ({"visibility": {"type": "group", "value": "jira-users", "identifier": "x"}}, True),
        ({"jsdPublic": False}, True),
    ],
)
async def test_a_comment_that_not_everybody_sees(
    jira: responses.RequestsMock, atlas: Connector, members: dict[str, Any], restricted: bool
) -> None:
    answer(jira, reported(**members))
    found = await read_whole(atlas, TICKET)
    assert found is not None
    assert (found.restricted, found.may_steer) == (restricted, True)


# --- comments that changed --------------------------------------------------------------------

LISTED = f"{API}/repos/acme/shop/issues/comments"
SINCE = datetime(2026, 1, 1, tzinfo=UTC)
TICKETS = [EpicRef("7001", "acme/shop#7"), EpicRef("8001", "acme/shop#8")]


def on_issue(number: int, id: int, **members: Any) -> dict[str, Any]:
    return message(issue_url=f"{API}/repos/acme/shop/issues/{number}", id=id, **members)


async def test_one_list_of_the_repository_has_the_comments_of_its_tickets(
    github: respx.MockRouter, octo: Connector
) -> None:
    """Those of other issues, and those that cannot be read, are left out."""
    rows = [on_issue(7, 1), on_issue(9, 2), on_issue(8, 3) | {"user": 5}, on_issue(8, 4)]
    following = {"link": f'<{LISTED}?page=2>; rel="next"'}
    github.get(LISTED, params={"page": "2"}).respond(json=[on_issue(7, 5)])
    first = github.get(LISTED).respond(json=rows, headers=following)
    found = await octo.recent_comments(TICKETS, SINCE)
    assert [(ref.key, one.id) for ref, one in found.found] == [
        ("acme/shop#7", "1"),
        ("acme/shop#8", "4"),
        ("acme/shop#7", "5"),
    ]
    assert (found.until, octo.requests) == (None, 2)
    asked = dict(first.calls[0].request.url.params)
    assert asked == {
        "sort": "updated", "direction": "asc", "since": "2026-01-01T00:00:00Z", "per_page": "100",
    }  # fmt: skip


async def test_a_list_too_long_says_how_far_it_was_read(github: respx.MockRouter, octo: Connector) -> None:
    def page(request: httpx.Request) -> httpx.Response:
        number = int(request.url.params.get("page", "1"))
        row = on_issue(7, number, updated_at=f"2026-01-{number:02}T00:00:00Z")
        link = {"link": f'<{LISTED}?page={number + 1}>; rel="next"'}
        return httpx.Response(200, json=[row], headers=link)

    github.get(url__startswith=LISTED).mock(side_effect=page)
    found = await octo.recent_comments(TICKETS, SINCE)
    assert (len(found.found), octo.requests) == (10, 10)
    assert found.until == datetime(2026, 1, 10, tzinfo=UTC)


async def test_on_jira_one_ticket_hides_no_command_on_others(
    jira: responses.RequestsMock, atlas: Connector
) -> None:
    jira.get(f"{REST}/issue/10040/comment", json={"comments": 5})
    jira.get(f"{REST}/issue/10041/comment", json={"comments": [reported(id="3")], "total": 1, "startAt": 0})
    found = await atlas.recent_comments([EpicRef("10040", "S-1"), EpicRef("10041", "S-2")], SINCE)
    assert [(ref.key, one.id) for ref, one in found.found] == [("S-2", "3")]


async def test_on_jira_each_ticket_has_a_list_of_its_own(
    jira: responses.RequestsMock, atlas: Connector
) -> None:
    """The newest come first; what did not change since, what cannot be read, and tickets that are gone are
    left out."""
    old = {"created": "2025-12-01T00:00:00.000+0000", "updated": "2025-12-01T00:00:00.000+0000"}
    rows = [reported(id="3"), {"id": "2"}, reported(id="1", **old)]
    jira.get(f"{REST}/issue/10040/comment", json={"comments": rows, "total": 3, "startAt": 0})
    jira.get(f"{REST}/issue/10041/comment", **NOT_THERE)
    found = await atlas.recent_comments([EpicRef("10040", "S-1"), EpicRef("10041", "S-2")], SINCE)
    assert [(ref.key, one.id) for ref, one in found.found] == [("S-1", "3")]
    assert (found.until, atlas.requests) == (None, 2)
    assert "orderBy=-created" in str(jira.calls[0].request.url)
