"""GitHub's webhooks: the signature, and what each delivery points at."""

from __future__ import annotations

import copy
import hashlib
import hmac
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from hypothesis import given, strategies as st

from connectors.base import CommentRef, EpicRef
from connectors.github.comments import NOTICE
from connectors.github.webhooks import HANDLED, IGNORED_ACTIONS, IGNORED_EVENTS, parse_event
from connectors.members import remote_number
from connectors.registry import KINDS
from connectors.webhooks import Hint, signed
from tests.support.recorded import Payloads, both_folders, expecting

REF = EpicRef("7001", "acme/shop#7")
ISSUE = {"id": 7001, "number": 7, "repository_url": "https://api.github.com/repos/acme/shop"}
SHOP = {"full_name": "acme/shop"}
CORE = {"full_name": "acme/core"}
OTHER = {"id": 8001, "number": 8, "repository_url": "https://api.github.com/repos/acme/core"}
OTHER_REF = EpicRef("8001", "acme/core#8")
PULL = ISSUE | {"pull_request": {"url": "https://api.github.com/repos/acme/shop/pulls/7"}}
PEOPLES = {"id": 900, "body": "/northing help"}


# --- the signature --------------------------------------------------------------------------

SECRET = "It's a Secret to Everybody"
JIRA_VECTOR = "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9"
GITHUB_VECTOR = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"


@pytest.mark.parametrize(
    ("secret", "body", "header", "good"),
    [
        (SECRET, b"Hello World!", JIRA_VECTOR, True),
        (SECRET, b"Hello, World!", GITHUB_VECTOR, True),
        (SECRET, b"Hello, World!", "sha256=" + GITHUB_VECTOR[7:].upper(), True),
        (SECRET, b"Hello, World! ", GITHUB_VECTOR, False),
        (SECRET + ".", b"Hello, World!", GITHUB_VECTOR, False),
        (SECRET, b"Hello, World!", GITHUB_VECTOR[:-1] + "8", False),
        (SECRET, b"Hello, World!", GITHUB_VECTOR[:-2], False),
        (SECRET, b"Hello, World!", GITHUB_VECTOR[7:], False),
        (SECRET, b"Hello, World!", GITHUB_VECTOR + "\n", False),
        (SECRET, b"Hello, World!", " " + GITHUB_VECTOR, False),
        (SECRET, b"Hello, World!", "", False),
        (SECRET, b"Hello, World!", None, False),
        (SECRET, b"Hello, World!", "sha256=" + "é" * 64, False),
        (SECRET, b"Hello, World!", "sha256=" + "\u0663" * 64, False),
        (SECRET, b"x", "sha1=" + hmac.new(SECRET.encode(), b"x", hashlib.sha1).hexdigest(), False),
        (SECRET, b"x", "sha512=" + hmac.new(SECRET.encode(), b"x", hashlib.sha512).hexdigest(), False),
        ("", b"x", "sha256=" + hmac.new(b"", b"x", hashlib.sha256).hexdigest(), False),
        ("grüße", b"\xff", "sha256=" + hmac.new("grüße".encode(), b"\xff", "sha256").hexdigest(), True),
    ],
)  # fmt: skip
def test_a_signature(secret: str, body: bytes, header: str | None, good: bool) -> None:
    assert signed(secret, body, header) is good


@given(st.text(max_size=5), st.binary(max_size=20), st.none() | st.text(max_size=80))
def test_no_other_header_is_a_signature(secret: str, body: bytes, header: str | None) -> None:
    assert signed(secret, body, header) is False


def test_the_headers() -> None:
    message = KINDS["github"].webhooks
    assert (message.signature_header, message.id_header, message.event_header, message.takes_forms) == (
        "X-Hub-Signature-256", "X-GitHub-Delivery", "X-GitHub-Event", True,
    )  # fmt: skip
    assert message.parse_event is parse_event


# --- what a delivery points at --------------------------------------------------------------


def issues(action: str, **members: Any) -> Hint:
    return parse_event("issues", {"action": action, "issue": ISSUE, "repository": SHOP} | members)


@pytest.mark.parametrize("action", sorted(HANDLED["issues"]))
def test_a_change_of_an_issue_names_it(action: str) -> None:
    assert issues(action) == Hint("issues", action, tickets=(REF,), removed=action == "deleted")


def test_a_transfer_names_both_issues_from_either_side() -> None:
    gone = issues("transferred", changes={"new_issue": OTHER, "new_repository": CORE})
    assert gone == Hint("issues", "transferred", tickets=(REF, OTHER_REF))
    bare = {k: v for k, v in OTHER.items() if k != "repository_url"}
    assert issues("transferred", changes={"new_issue": bare, "new_repository": CORE}) == gone
    come = issues("opened", changes={"old_issue": OTHER, "old_repository": CORE})
    assert come.tickets == (REF, OTHER_REF)
    assert issues("transferred", changes={"new_issue": {"id": "x"}}).tickets == (REF,)
    assert issues("edited", changes={"new_issue": OTHER}).tickets == (REF,)


@pytest.mark.parametrize(
    ("action", "repository", "more", "tickets"),
    [
        ("sub_issue_added", SHOP, {"sub_issue_repo": CORE}, (REF, OTHER_REF)),
        ("sub_issue_removed", SHOP, {}, (REF,)),
        ("parent_issue_added", CORE, {"parent_issue_repo": SHOP}, (REF, OTHER_REF)),
        ("parent_issue_removed", CORE, {}, (OTHER_REF,)),
    ],
)
def test_parent_and_child_each_in_its_own_repository(
    action: str, repository: Any, more: dict[str, Any], tickets: tuple[EpicRef, ...]
) -> None:
    """Neither is looked for in the other's, where its number is somebody else's."""
    bare = [{k: v for k, v in one.items() if k != "repository_url"} for one in (ISSUE, OTHER)]
    payload = {"action": action, "repository": repository, "parent_issue": bare[0], "sub_issue": bare[1]}
    assert parse_event("sub_issues", payload | more) == Hint("sub_issues", action, tickets=tickets)
    full = payload | {"parent_issue": ISSUE, "sub_issue": OTHER}
    assert parse_event("sub_issues", full).tickets == (REF, OTHER_REF)


def comment(action: str, message: Any = PEOPLES, issue: Any = ISSUE) -> Hint:
    return parse_event(
        "issue_comment", {"action": action, "issue": issue, "comment": message, "repository": SHOP}
    )


OURS = {"id": 900, "body": f"{NOTICE}\r\n<!-- northing:id inst/5 -->\r\n\r\nNo key result."}


@pytest.mark.parametrize(
    ("action", "message", "found"),
    [
        ("created", PEOPLES, CommentRef(REF, "900")),
        ("edited", PEOPLES, CommentRef(REF, "900")),
        ("deleted", PEOPLES, CommentRef(REF, "900", removed=True)),
        ("deleted", OURS, CommentRef(REF, "900", removed=True)),
        ("created", {"id": 900, "body": None}, CommentRef(REF, "900")),
        ("created", {"id": 900, "body": f"> {OURS['body']}"}, CommentRef(REF, "900")),
        ("created", OURS, "own"),
        ("edited", OURS, "own"),
        ("created", OURS | {"body": f"{NOTICE}\n<!-- northing:id other/9 -->\n/northing help"}, "own"),
        ("created", {"id": "x"}, "names no comment"),
    ],
)
def test_a_comment(action: str, message: Any, found: CommentRef | str) -> None:
    """It costs no fetch of the issue. A notice's echo wakes nobody, its deletion does."""
    if isinstance(found, str):
        assert comment(action, message) == Hint("issue_comment", action, "ignored", found)
    else:
        assert comment(action, message) == Hint("issue_comment", action, comment=found)


@pytest.mark.parametrize("issue", [PULL, ISSUE | {"html_url": "https://github.com/acme/shop/pull/7"}])
def test_trap_13_pull_requests_are_no_issues(issue: Any) -> None:
    reason = "is about a pull request"
    assert issues("opened", issue=issue) == Hint("issues", "opened", "ignored", reason)
    assert comment("created", issue=issue) == Hint("issue_comment", "created", "ignored", reason)


def test_a_repository_named_pull_has_issues() -> None:
    issue = ISSUE | {"html_url": "https://github.com/acme/pull/issues/7", "repository_url": None}
    assert issues("opened", issue=issue).tickets == (EpicRef("7001", "acme/pull#7"),)


@pytest.mark.parametrize(
    ("event", "action", "changes", "reread"),
    [
        ("repository", "renamed", {"repository": {"name": {"from": "x"}}}, True),
        ("repository", "transferred", {}, True),
        ("repository", "deleted", None, True),
        ("repository", "archived", None, True),
        ("repository", "unarchived", None, True),
        ("repository", "privatized", None, True),
        ("repository", "publicized", None, True),
        ("organization", "renamed", None, True),
        ("label", "edited", {"name": {"from": "x"}}, True),
        ("label", "edited", None, True),
        ("label", "edited", {"color": {"from": "cb1f00"}}, False),
        ("label", "deleted", None, True),
        ("label", "deleted", {}, True),
        ("milestone", "edited", {"title": {"from": "x"}}, True),
        ("milestone", "edited", {"due_on": {"from": None}}, True),
        ("milestone", "edited", {"description": {"from": "x"}}, False),
        ("milestone", "deleted", None, True),
    ],
)
def test_what_changes_names_or_visibility_of_many(
    event: str, action: str, changes: Any, reread: bool
) -> None:
    found = parse_event(event, {"action": action, "repository": SHOP, "changes": changes})
    assert (found.kind, found.reread, found.tickets) == ("handled" if reread else "ignored", reread, ())


@pytest.mark.parametrize(
    ("event", "action", "kind"),
    [
        ("issues", "locked", "ignored"),
        ("issues", "pinned", "ignored"),
        ("issues", "invented", "unknown"),
        ("issues", None, "unknown"),
        ("ping", None, "ignored"),
        ("push", None, "ignored"),
        ("pull_request", "invented", "ignored"),
        ("invented", "created", "unknown"),
        ("", None, "unknown"),
        (None, "opened", "unknown"),
    ],
)
def test_the_other_two_sets(event: str | None, action: str | None, kind: str) -> None:
    found = parse_event(event, {"action": action, "issue": ISSUE, "repository": SHOP})
    assert (found.kind, found.tickets, found.action) == (kind, (), action)
    assert (found.reason == "unknown") is (kind == "unknown")


def test_the_three_sets_do_not_meet() -> None:
    assert not IGNORED_EVENTS.keys() & (HANDLED.keys() | IGNORED_ACTIONS.keys())
    assert IGNORED_ACTIONS.keys() <= HANDLED.keys()
    assert not any(HANDLED[event] & actions.keys() for event, actions in IGNORED_ACTIONS.items())
    reasons = [
        *IGNORED_EVENTS.values(),
        *(r for actions in IGNORED_ACTIONS.values() for r in actions.values()),
    ]
    assert all(reason and reason not in {"unknown", "own"} for reason in reasons)


# --- what strangers may send ----------------------------------------------------------------


@pytest.mark.parametrize(
    "issue",
    [
        None, [], "7", {}, ISSUE | {"id": None}, ISSUE | {"id": True}, ISSUE | {"id": -1}, ISSUE | {"id": 0},
        ISSUE | {"id": 1.5}, ISSUE | {"id": 2**63}, ISSUE | {"id": 10**5000}, ISSUE | {"id": "9" * 19},
        ISSUE | {"id": "１２"}, ISSUE | {"id": "7\n"}, ISSUE | {"id": "7;DROP"}, ISSUE | {"number": "7/../8"},
        ISSUE | {"number": None},
        ISSUE | {"repository_url": "https://api.github.com/repos/acme/.."},
        ISSUE | {"repository_url": "https://api.github.com/repos/acme/sh op"},
        ISSUE | {"repository_url": "https://api.github.com/repos/acme/shop\n"},
        ISSUE | {"repository_url": f"https://api.github.com/repos/acme/{'x' * 101}"},
        ISSUE | {"repository_url": "https://api.github.com/repos/ac\x00me/shop"},
    ],
)  # fmt: skip
def test_an_issue_that_names_nothing_usable(issue: Any) -> None:
    assert issues("edited", issue=issue) == Hint("issues", "edited", "ignored", "names no ticket")
    assert comment("created", issue=issue) == Hint("issue_comment", "created", "ignored", "names no ticket")


def test_the_repository_is_taken_from_beside_the_issue_where_it_says_none() -> None:
    bare = {"id": "7001", "number": 7, "repository_url": ["x"], "html_url": {}}
    assert issues("edited", issue=bare).tickets == (REF,)
    assert issues("edited", issue=bare, repository={"full_name": 5}).reason == "names no ticket"


@pytest.mark.parametrize(
    ("value", "found"), [(1, "1"), ("1", "1"), (2**63 - 1, str(2**63 - 1)), ("01", None)]
)
def test_a_number(value: object, found: str | None) -> None:
    assert remote_number(value) == found


def test_names_are_fit_to_be_stored() -> None:
    found = parse_event("iss\x00ues" + "x" * 300, {"action": "\ud800" + "y" * 300})
    assert found.kind == "unknown"
    assert "\x00" not in found.event
    assert len(found.event) <= 100
    assert found.action is not None
    assert len(found.action.encode()) <= 100


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
MEMBERS = st.sampled_from([
    "action", "issue", "repository", "comment", "changes", "new_issue", "new_repository", "parent_issue",
    "sub_issue", "sub_issue_repo", "parent_issue_repo", "id", "number", "full_name", "repository_url",
    "html_url", "pull_request", "body",
])  # fmt: skip
SHAPED = st.recursive(
    JSON | st.sampled_from([7, "7", "acme/shop", "https://api.github.com/repos/acme/shop", "http://["]),
    lambda inner: st.dictionaries(MEMBERS, inner, max_size=6),
    max_leaves=20,
)
EVENTS = st.none() | st.text(max_size=12) | st.sampled_from([*HANDLED, "ping", "push"])
ACTIONS = st.sampled_from(sorted(action for actions in HANDLED.values() for action in actions))


def sound(hint: Hint) -> bool:
    """Refs that a connector can call, and a reason wherever nothing is done."""
    refs = [*hint.tickets, *([hint.comment.ticket] if hint.comment else [])]
    assert all(remote_number(ref.remote_id) and len(ref.key) <= 222 and ref.key.isascii() for ref in refs)
    points = bool(refs) or hint.reread
    assert points is (hint.kind == "handled") is (hint.reason is None)
    return points


@given(EVENTS, JSON | SHAPED)
def test_any_json_at_all_is_heard_without_an_error(event: str | None, payload: Any) -> None:
    sound(parse_event(event, payload))


@given(st.sampled_from(sorted(HANDLED)), ACTIONS, st.dictionaries(MEMBERS, SHAPED, max_size=8))
def test_handled_events_with_anything_inside(event: str, action: str, payload: dict[str, Any]) -> None:
    sound(parse_event(event, payload | {"action": action}))


def test_a_payload_as_deep_as_the_parser_goes() -> None:
    deep: Any = []
    for _ in range(900):
        deep = [deep]
    found = {
        member: parse_event("issues", {"action": "opened", "issue": ISSUE | {"html_url": deep}, member: deep})
        for member in ("issue", "repository", "changes", "action")
    }
    assert {member: hint.kind for member, hint in found.items()} == {
        "issue": "ignored", "repository": "handled", "changes": "handled", "action": "unknown",
    }  # fmt: skip


# --- what GitHub really sends ---------------------------------------------------------------


@expecting(
    remade=({"handled": 43, "ignored": 40}, EpicRef("876734737", "Acme/Shop#7")),
    recorded=({"handled": 43, "ignored": 286}, EpicRef("444500041", "Codertocat/Hello-World#1")),
)
def test_every_delivery_that_github_sends_is_in_one_of_the_three_sets(
    payloads: Payloads, expected: tuple[dict[str, int], EpicRef]
) -> None:
    kinds, ticket = expected
    found = [parse_event(event, payload) for event, payload in payloads.github_webhooks()]
    assert Counter(hint.kind for hint in found) == kinds
    handled = Counter((h.event, h.action) for h in found if h.kind == "handled")
    assert handled == {
        ("issue_comment", "created"): 5, ("issue_comment", "deleted"): 2, ("issue_comment", "edited"): 2,
        ("issues", "assigned"): 3, ("issues", "deleted"): 1, ("issues", "edited"): 3,
        ("issues", "labeled"): 2, ("issues", "opened"): 4, ("issues", "reopened"): 1,
        ("issues", "transferred"): 1, ("issues", "unassigned"): 2, ("issues", "unlabeled"): 2,
        ("issues", "unlocked"): 2,
        ("label", "deleted"): 2, ("milestone", "deleted"): 1, ("organization", "renamed"): 1,
        ("repository", "privatized"): 2, ("repository", "publicized"): 3, ("repository", "renamed"): 1,
        ("repository", "transferred"): 3,
    }  # fmt: skip
    of_handled_events = Counter(
        (h.event, h.reason) for h in found if h.kind == "ignored" and h.event in ("issues", "label")
    )
    assert of_handled_events == {
        ("issues", "is about a pull request"): 4, ("issues", "changes nothing that is stored"): 4,
        ("label", "no issue has it yet"): 3, ("label", "only its name is stored"): 1,
    }  # fmt: skip
    assert {ref for h in found for ref in h.tickets} == {ticket}
    assert {h.comment.ticket for h in found if h.comment} == {ticket}
    assert all(sound(hint) is (hint.kind == "handled") for hint in found)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths into a payload's first levels, where `parse_event` looks."""
    if isinstance(value, dict) and len(path) < 3:
        for key in value:
            yield (*path, key)
            yield from places(value[key], (*path, key))


@cache
def watched(payloads: Payloads) -> list[tuple[str, Any]]:
    return [(event, payload) for event, payload in payloads.github_webhooks() if event in HANDLED]


@both_folders
@given(data=st.data())
def test_deliveries_with_something_else_in_one_place(payloads: Payloads, data: st.DataObject) -> None:
    event, payload = data.draw(st.sampled_from(watched(payloads)))
    path = data.draw(st.sampled_from(list(places(payload))))
    mutant = copy.deepcopy(payload)
    at = mutant
    for key in path[:-1]:
        at = at[key]
    if data.draw(st.booleans()):
        del at[path[-1]]
    else:
        at[path[-1]] = data.draw(JSON)
    sound(parse_event(event, mutant))


# --- what costs no look ---------------------------------------------------------------------


def left_out(
    issue: Any, epics: dict[str, Any] | None = None, scope: dict[str, Any] | None = None
) -> str | None:
    kind = KINDS["github"]
    return kind.webhooks.reason_to_ignore(
        REF,
        {"action": "edited", "issue": issue, "repository": SHOP},
        kind.scope.model_validate(scope or {"repositories": ["acme/shop"]}),
        kind.epics.model_validate(epics or {}),
    )


EPIC = ISSUE | {"labels": [{"name": "Epic"}], "type": None, "sub_issues_summary": {"total": 0}}
TASK = EPIC | {"labels": [{"name": "bug"}], "type": {"name": "Task"}}


@pytest.mark.parametrize(
    ("issue", "epics", "scope", "reason"),
    [
        (EPIC, None, None, None),
        (TASK, None, None, "not_an_epic"),
        (TASK, {"issue_types": ["task"]}, None, None),
        (TASK, {"with_sub_issues": True}, None, "not_an_epic"),
        (TASK | {"sub_issues_summary": {"total": 2}}, {"with_sub_issues": True}, None, None),
        (EPIC, None, {"repositories": ["acme/core"]}, "out_of_scope"),
        (EPIC, None, {"repositories": ["ACME/Shop"]}, None),
        (EPIC, None, {"organizations": ["acme"]}, None),
        (TASK | {"id": 9}, None, None, None),  # the payload tells of another issue
        (None, None, None, None),
        (ISSUE, None, None, None),  # says nothing of its labels
        (TASK | {"labels": 5}, None, None, None),
        (TASK | {"labels": [10**5000]}, None, None, None),
        (TASK | {"sub_issues_summary": {"total": "x"}}, {"with_sub_issues": True}, None, None),
    ],
)
def test_an_issue_not_known_is_left_out_where_the_payload_settles_it(
    issue: Any, epics: dict[str, Any] | None, scope: dict[str, Any] | None, reason: str | None
) -> None:
    assert left_out(issue, epics, scope) == reason


ODD = st.fixed_dictionaries(
    {},
    optional={name: JSON for name in ("labels", "type", "sub_issues_summary", "pull_request", "html_url")},
)


@given(ODD, st.booleans())
def test_whatever_an_issue_says_it_is_left_out_or_looked_at(
    issue: dict[str, Any], by_sub_issues: bool
) -> None:
    epics = {"with_sub_issues": True} if by_sub_issues else {"labels": ["epic"], "issue_types": ["Epic"]}
    assert left_out(ISSUE | issue, epics) in {None, "not_an_epic"}


@pytest.mark.parametrize(
    ("name", "remote_id", "reason"),
    [
        ("acme/store", 1, None),  # renamed a moment ago, and no run has listed it yet
        ("acme/store", 2, "out_of_scope"),
        ("acme/shop", 2, "out_of_scope"),  # another repository has its name now
        ("acme/shop", 1, None),
    ],
)
def test_a_ticket_of_a_renamed_repository_is_known_by_its_id(
    name: str, remote_id: int, reason: str | None
) -> None:
    kind = KINDS["github"]
    scope: Any = kind.scope.model_validate({"repositories": ["Acme/Shop"]})
    known = scope.following({"acme/shop": {"id": "1", "key": "acme/shop"}})
    payload = {"action": "edited", "issue": EPIC, "repository": {"id": remote_id, "full_name": name}}
    epics = kind.epics.model_validate({})
    assert kind.webhooks.reason_to_ignore(EpicRef("9", f"{name}#1"), payload, known, epics) == reason
