"""Jira's webhooks: what each delivery points at."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from hypothesis import given, strategies as st

from connectors.base import CommentRef, EpicRef
from connectors.jira.webhooks import COMMENTS, HANDLED, IGNORED, ISSUES, REREADS, parse_event
from connectors.members import remote_number
from connectors.registry import KINDS
from connectors.webhooks import Hint
from tests.support.recorded import Payloads, both_folders, expecting

SITE = "https://acme.atlassian.net/rest/api/2"
REF = EpicRef("10040", "SHOP-41")
ISSUE = {"id": "10040", "key": "SHOP-41", "self": f"{SITE}/issue/10040"}
COMMENT = {"id": "10019", "self": f"{SITE}/issue/10040/comment/10019", "body": "/northing help"}
SAID = CommentRef(REF, "10019")
CHANGE = {"items": [{"field": "summary", "from": None, "toString": "x"}]}


def test_the_headers() -> None:
    message = KINDS["jira"].webhooks
    assert (message.signature_header, message.id_header, message.event_header, message.takes_forms) == (
        "X-Hub-Signature", "X-Atlassian-Webhook-Identifier", None, False,
    )  # fmt: skip
    assert message.parse_event is parse_event


@pytest.mark.parametrize("event", sorted(ISSUES))
def test_a_change_of_an_issue_names_it(event: str) -> None:
    found = parse_event(None, {"webhookEvent": event, "issue": ISSUE, "changelog": CHANGE})
    assert found == Hint(event, tickets=(REF,), removed=event == "jira:issue_deleted")


@pytest.mark.parametrize("event", sorted(COMMENTS))
@pytest.mark.parametrize("reported", [True, False])
def test_trap_23_a_comment_with_or_without_its_issue(event: str, reported: bool) -> None:
    payload = {"webhookEvent": event, "comment": COMMENT} | ({"issue": ISSUE} if reported else {})
    ticket = REF if reported else EpicRef("10040", "")
    comment = CommentRef(ticket, "10019", removed=event == "comment_deleted")
    assert parse_event("ignored", payload) == Hint(event, comment=comment)


@pytest.mark.parametrize(
    ("action", "more", "tickets", "comment"),
    [
        ("issue_commented", {"comment": COMMENT}, (), SAID),
        ("issue_comment_edited", {"comment": COMMENT}, (), SAID),
        ("issue_comment_deleted", {"comment": COMMENT}, (), CommentRef(REF, "10019", removed=True)),
        (None, {"comment": COMMENT}, (), SAID),
        ("issue_commented", {"comment": COMMENT, "changelog": {"items": []}}, (), SAID),
        # A comment written with a change, such as a transition's.
        ("issue_commented", {"comment": COMMENT, "changelog": CHANGE}, (REF,), SAID),
        ("issue_generic", {"comment": COMMENT, "changelog": CHANGE}, (REF,), SAID),
        ("issue_generic", {"comment": COMMENT}, (REF,), SAID),
        # Which comment went is not told, so the ticket is looked at.
        ("issue_comment_deleted", {}, (REF,), None),
        (None, {}, (REF,), None),
        ("issue_commented", {"comment": {"id": "x"}}, (REF,), None),
        ("issue_moved", {"changelog": CHANGE}, (REF,), None),
        ("issue_event_of_a_plug_in", {}, (REF,), None),
    ],
)
def test_an_update_that_may_only_carry_a_comment(
    action: str | None, more: dict[str, Any], tickets: tuple[EpicRef, ...], comment: CommentRef | None
) -> None:
    payload = {"webhookEvent": "jira:issue_updated", "issue_event_type_name": action, "issue": ISSUE} | more
    assert parse_event(None, payload) == Hint("jira:issue_updated", action, tickets=tickets, comment=comment)


def test_a_workflow_names_no_event_but_its_issue() -> None:
    assert parse_event(None, {"issue": ISSUE, "transition": {"to_status": "Done"}}) == Hint(
        "", tickets=(REF,)
    )
    assert parse_event(None, {"transition": {}}) == Hint("", None, "unknown", "unknown")
    assert parse_event(None, {"webhookEvent": 5, "issue": {}}) == Hint("", None, "ignored", "names no ticket")


@pytest.mark.parametrize("kind", [{"subtask": True, "hierarchyLevel": -1}, {"subtask": False}])
def test_trap_7_no_parent_is_taken_for_an_epic(kind: dict[str, Any]) -> None:
    parent = {"id": "1", "key": "SHOP-1", "fields": {"issuetype": {"hierarchyLevel": 0}}}
    issue = ISSUE | {"fields": {"issuetype": kind, "parent": parent, "customfield_10014": "SHOP-1"}}
    found = parse_event(None, {"webhookEvent": "jira:issue_updated", "issue": issue, "changelog": CHANGE})
    assert found.tickets == (REF,)


def changed(*items: Any, parent: object = None) -> tuple[str, ...]:
    issue = ISSUE | {"fields": {"parent": parent}}
    payload = {"webhookEvent": "jira:issue_updated", "issue": issue, "changelog": {"items": list(items)}}
    return parse_event(None, payload).parents


def test_what_may_be_a_parent_is_named_whatever_its_field_is_called() -> None:
    """The field differs by the kind of project: what was and is the parent is found by its id alone."""
    moved = {"field": "Epic Link", "from": "7", "fromString": "SHOP-7", "to": "8", "toString": "SHOP-8"}
    assert changed(moved, parent={"id": "8", "key": "SHOP-8"}) == ("8", "7")
    assert changed({"field": "IssueParentAssociation", "from": None, "to": "8"}) == ("8",)
    deleted = ISSUE | {"fields": {"parent": {"id": "7"}}}
    assert parse_event(None, {"webhookEvent": "jira:issue_deleted", "issue": deleted}).parents == ("7",)
    commented = {"webhookEvent": "comment_created", "issue": deleted, "comment": COMMENT}
    assert parse_event(None, commented).parents == ()


@pytest.mark.parametrize(
    "item", [None, [], "x", 7, {}, {"from": ["7"], "to": {"id": "7"}}, {"from": -7, "to": 10**30}]
)
def test_a_change_that_names_nothing_is_passed_over(item: object) -> None:
    assert changed(item, parent="SHOP-7") == ()
    assert len(changed(*[{"from": str(n), "to": None} for n in range(1, 1000)])) == 100


@pytest.mark.parametrize("event", sorted(REREADS))
def test_what_changes_names_or_visibility_of_many(event: str) -> None:
    assert parse_event(None, {"webhookEvent": event, "project": {"key": "SHOP"}}) == Hint(event, reread=True)


@pytest.mark.parametrize("event", sorted(IGNORED))
def test_what_is_ignored_knowingly(event: str) -> None:
    assert parse_event(None, {"webhookEvent": event, "issue": ISSUE}) == Hint(
        event, None, "ignored", IGNORED[event]
    )


@pytest.mark.parametrize("event", ["jira:issue_invented", "sprint", "issues"])
def test_what_is_unknown(event: str) -> None:
    assert parse_event(None, {"webhookEvent": event, "issue": ISSUE}) == Hint(
        event, None, "unknown", "unknown"
    )


def test_the_sets_do_not_meet() -> None:
    assert not HANDLED & IGNORED.keys()
    assert len(HANDLED) == len(ISSUES) + len(COMMENTS) + len(REREADS)
    assert all(reason and reason not in {"unknown", "own"} for reason in IGNORED.values())


# --- what strangers may send ----------------------------------------------------------------


@pytest.mark.parametrize(
    "issue",
    [
        None, [], "SHOP-41", {}, {"key": "SHOP-41"}, ISSUE | {"id": "10040/../1"}, ISSUE | {"id": "x"},
        ISSUE | {"id": True}, ISSUE | {"id": -1}, ISSUE | {"id": "1" * 20}, ISSUE | {"id": 10**5000},
        ISSUE | {"id": "１２"}, ISSUE | {"id": "7\n"}, ISSUE | {"id": ["10040"]},
    ],
)  # fmt: skip
def test_an_issue_that_names_nothing_usable(issue: Any) -> None:
    payload = {"webhookEvent": "jira:issue_updated", "issue": issue}
    assert parse_event(None, payload) == Hint("jira:issue_updated", None, "ignored", "names no ticket")


@pytest.mark.parametrize(
    "key",
    [
        None, 5, "", "41", "SHOP", "SHOP-", "SHOP-0", "SHOP-4 1", "SHOP-41\n", "SHÖP-1", "S\x00-1",
        "X" * 255 + "-1",
    ],
)  # fmt: skip
def test_where_the_key_is_not_sound_the_id_is_enough(key: Any) -> None:
    found = parse_event(None, {"webhookEvent": "jira:issue_updated", "issue": ISSUE | {"key": key}})
    assert found.tickets == (EpicRef("10040", ""),)


@pytest.mark.parametrize(
    ("comment", "reason"),
    [
        (None, "names no ticket"),
        ({"id": "1"}, "names no ticket"),
        ({"id": "1", "self": f"{SITE}/issue/SHOP-1/comment/1"}, "names no ticket"),
        ({"id": "1", "self": f"{SITE}/issue/{'1' * 20}/comment/1"}, "names no ticket"),
        ({"id": "1", "self": 5}, "names no ticket"),
        ({"id": None, "self": COMMENT["self"]}, "names no comment"),
        ({"id": "1 OR 1", "self": COMMENT["self"]}, "names no comment"),
    ],
)
def test_a_comment_that_names_nothing_usable(comment: Any, reason: str) -> None:
    payload = {"webhookEvent": "comment_created", "comment": comment}
    assert parse_event(None, payload) == Hint("comment_created", None, "ignored", reason)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
MEMBERS = st.sampled_from(
    ["issue", "comment", "changelog", "items", "id", "key", "self", "fields", "issue_event_type_name"]
)
SHAPED = st.recursive(
    JSON | st.sampled_from(["10040", 10040, "SHOP-41", COMMENT["self"], "issue_commented"]),
    lambda inner: st.dictionaries(MEMBERS, inner, max_size=6),
    max_leaves=20,
)


def sound(hint: Hint) -> bool:
    """Refs that a connector can call, and a reason wherever nothing is done."""
    refs = [*hint.tickets, *([hint.comment.ticket] if hint.comment else [])]
    assert all(remote_number(ref.remote_id) and len(ref.key) <= 255 and ref.key.isascii() for ref in refs)
    points = bool(refs) or hint.reread
    assert points is (hint.kind == "handled") is (hint.reason is None)
    return points


@given(st.none() | st.text(max_size=9), JSON | SHAPED)
def test_any_json_at_all_is_heard_without_an_error(event: str | None, payload: Any) -> None:
    sound(parse_event(event, payload))


@given(st.sampled_from(sorted(HANDLED)), st.dictionaries(MEMBERS, SHAPED, max_size=6))
def test_handled_events_with_anything_inside(event: str, payload: dict[str, Any]) -> None:
    found = parse_event(None, payload | {"webhookEvent": event})
    assert found.event == event
    sound(found)


# --- what Jira really sends -----------------------------------------------------------------


@expecting(
    remade={
        "cloud-comment-created-mention-user": CommentRef(EpicRef("25752", "APP-81"), "28404"),
        "cloud-comment-deleted": CommentRef(EpicRef("25071", "SHOP-47"), "22359", removed=True),
        "server-comment-deleted": CommentRef(EpicRef("38786", ""), "24373", removed=True),
        "server-issue-updated-comment-edited": CommentRef(EpicRef("38786", "WEB-54"), "24373"),
        "server-issue-updated-commented-2": CommentRef(EpicRef("32766", "CORE-82"), "29688"),
        "server-issue-updated-commented-mention-user": CommentRef(EpicRef("38786", "WEB-54"), "12412"),
        "server-old-issue-updated-no-event-type-commented": CommentRef(EpicRef("38786", "WEB-54"), "12412"),
    },
    recorded={
        "cloud-comment-created-mention-user": CommentRef(EpicRef("10040", "TES-41"), "10019"),
        "cloud-comment-deleted": CommentRef(EpicRef("10357", "KT-7"), "10757", removed=True),
        "server-comment-deleted": CommentRef(EpicRef("10013", ""), "10084", removed=True),
        "server-issue-updated-comment-edited": CommentRef(EpicRef("10013", "PRJX-14"), "10084"),
        "server-issue-updated-commented-2": CommentRef(EpicRef("10231", "PRJA-42"), "10118"),
        "server-issue-updated-commented-mention-user": CommentRef(EpicRef("10013", "PRJX-14"), "10082"),
        "server-old-issue-updated-no-event-type-commented": CommentRef(EpicRef("10013", "PRJX-14"), "10082"),
    },
)
def test_every_delivery_that_jira_sends_names_its_comment_or_its_issue(
    payloads: Payloads, expected: dict[str, CommentRef]
) -> None:
    """`expected`: the comments of those that are about one."""
    sent = payloads.jira_webhooks()
    found = {name: parse_event(None, payload) for name, payload in sent.items()}
    assert len(found) == 28
    assert Counter(hint.kind for hint in found.values()) == {"handled": 28}
    assert all(sound(hint) for hint in found.values())
    assert {name: hint.comment for name, hint in found.items() if hint.comment} == expected
    for name, hint in found.items():
        issue = sent[name].get("issue")
        tickets = () if hint.comment else (EpicRef(issue["id"], issue["key"]),)
        assert hint.tickets == tickets, name


@cache
def sent_by_jira(payloads: Payloads) -> dict[str, Any]:
    return payloads.jira_webhooks()


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths into a payload's first levels, where `parse_event` looks."""
    if isinstance(value, dict) and len(path) < 2:
        for key in value:
            yield (*path, key)
            yield from places(value[key], (*path, key))


@both_folders
@given(data=st.data())
def test_deliveries_with_something_else_in_one_place(payloads: Payloads, data: st.DataObject) -> None:
    sent = sent_by_jira(payloads)
    mutant = copy.deepcopy(sent[data.draw(st.sampled_from(sorted(sent)))])
    path = data.draw(st.sampled_from(list(places(mutant))))
    at = mutant
    for key in path[:-1]:
        at = at[key]
    if data.draw(st.booleans()):
        del at[path[-1]]
    else:
        at[path[-1]] = data.draw(JSON)
    sound(parse_event(None, mutant))


# --- what costs no look ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "projects", "reason"),
    [
        ("SHOP-41", ["SHOP"], None),
        ("SHOP-41", ["shop", "CORE"], None),
        ("SHOP-41", ["CORE"], "out_of_scope"),
        ("SHOP-41", None, None),
        ("", ["CORE"], None),  # where it is, is not told
    ],
)
def test_an_issue_not_known_is_left_out_by_its_project(
    key: str, projects: list[str] | None, reason: str | None
) -> None:
    kind = KINDS["jira"]
    scope = kind.scope.model_validate({"projects": projects})
    epics = kind.epics.model_validate({})
    assert kind.webhooks.reason_to_ignore(EpicRef("10040", key), {"issue": ISSUE}, scope, epics) == reason


@pytest.mark.parametrize(
    ("key", "project_id", "reason"),
    [
        ("STORE-40", "1", None),  # renamed a moment ago, and no run has listed it yet
        ("STORE-40", "2", "out_of_scope"),
        ("SHOP-40", "2", "out_of_scope"),  # another project has its key now
        ("SHOP-40", "1", None),
        ("SHOP-40", None, None),
    ],
)
def test_a_ticket_of_a_renamed_project_is_known_by_the_projects_id(
    key: str, project_id: str | None, reason: str | None
) -> None:
    kind = KINDS["jira"]
    scope: Any = kind.scope.model_validate({"projects": ["SHOP"]})
    known = scope.following({"shop": {"id": "1", "key": "SHOP"}})
    issue = {"id": "10040", "key": key, "fields": {"project": {"id": project_id}}}
    epics = kind.epics.model_validate({})
    assert kind.webhooks.reason_to_ignore(EpicRef("10040", key), {"issue": issue}, known, epics) == reason
