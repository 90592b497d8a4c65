"""Rows of both trackers with any value at any member: each is read or named, and its neighbours are read."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import astuple
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings, strategies as st

from connectors.base import BadPayload, Epic, EpicRef, Missing, Page, Unauthorized, Unreadable
from connectors.clock import utc_now
from connectors.json import parse_json
from connectors.markup import clean, storable
from connectors.registry import KINDS
from connectors.timeouts import TIMEOUTS
from tests.support.raw_host import CREDENTIALS, KEYS, MARKER, PROJECT, SCOPES, Host, connector_on, host

TYPES = b'[{"id": "1", "name": "Epic", "hierarchyLevel": 1}]'
FIELD = "customfield_1"


def jira_row(number: int) -> dict[str, Any]:
    return {
        "id": str(number), "key": f"SHOP-{number}",
        "fields": {
            "summary": "An epic", "project": {"key": "SHOP"}, "issuetype": {"id": "1", "name": "Epic"},
            "status": {"name": "Open", "statusCategory": {"key": "new"}}, "labels": ["a"],
            "description": {"type": "doc", "content": [{"type": "paragraph", "content": [
                {"type": "text", "text": "Words", "marks": [{"type": "code"}]}]}]},
            "assignee": {"displayName": "Person"}, "fixVersions": [{"name": "v1"}],
            "parent": {"key": "SHOP-2"}, "components": [{"name": "b"}], FIELD: {"value": "Gold"},
            "created": "2026-11-01T00:00:00.000+0000", "updated": "2026-11-01T00:00:00.000+0000",
        },
    }  # fmt: skip


def github_row(number: int) -> dict[str, Any]:
    return {
        "id": number, "number": number, "title": "An epic", "body": "Words", "state": "open",
        "labels": [{"name": "epic"}], "assignees": [{"login": "ada"}], "milestone": {"title": "Q4"},
        "type": {"name": "Epic"}, "sub_issues_summary": {"total": 1},
        "created_at": "2026-11-01T00:00:00Z", "updated_at": "2026-11-01T00:00:00Z",
        "html_url": f"https://github.com/acme/shop/issues/{number}",
        "repository_url": "https://api.github.com/repos/acme/shop",
        "parent_issue_url": "https://api.github.com/repos/acme/shop/issues/1",
    }  # fmt: skip


ROWS: dict[str, Callable[[int], dict[str, Any]]] = {"jira": jira_row, "github": github_row}


def answers(tracker: Host, kind: str, rows: list[Any]) -> None:
    listing = {"issues": rows} if kind == "jira" else rows
    tracker.says("200 OK", "Content-Type: application/json", body=json.dumps(listing).encode())
    tracker.says("200 OK", "Content-Type: application/json", body=TYPES, path="issuetype")


async def pages(kind: str, rows: list[Any]) -> list[Page]:
    of_kind = KINDS[kind]
    epics = {"fields": [FIELD]} if kind == "jira" else {"labels": ["epic"], "with_sub_issues": True}
    async with host() as tracker:
        answers(tracker, kind, rows)
        connector = of_kind.connect(
            tracker.url,
            of_kind.credentials.model_validate(CREDENTIALS[kind]),
            of_kind.scope.model_validate(SCOPES[kind]),
            of_kind.epics.model_validate(epics),
            TIMEOUTS,
            utc_now,
        )
        found = [page async for page in connector.changed_since(PROJECT[kind], None)]
        await connector.aclose()
    return found


# --- any value anywhere -----------------------------------------------------------------------

VALUES: st.SearchStrategy[Any] = st.sampled_from([
    None, True, False, 0, -1, 1.9, 2**63, 10**400, float("nan"), float("-inf"), "", "\0", "1\0", "\ud800",
    "\x1b[31mred\x1b[0m", "\x9b31m", "a\nb\u2028c", "\u202eabc", "x" * 5_000, "0001-01-01T00:00:00+08:00",
    "9999-12-31T23:59:59-08:00", "2026-11-01T00:00:00", "acme/shop#1", "SHOP-0", "SHOP-1\n", "1.9", "01",
    [], {}, [[]], [None], [[[["deep"]]]], {"": ""}, {"id": [], "key": {}, "name": [1], "total": "x"},
    ["x"] * 300, {"type": "doc", "content": [{"type": "text", "text": 5}, 7]},
    "https://api.github.com/repos/acme/shop\0", "https://api.github.com/repos/a\x1b/shop",
]) | st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    entries = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, inner in entries:
        yield value, key
        yield from places(inner)


def spoilt_rows(kind: str, count: int) -> list[Any]:
    made: list[Any] = []

    @seed(1)
    @settings(
        max_examples=count,
        phases=[Phase.generate],
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.integers(0, 10**6), st.booleans(), VALUES)
    def make(place: int, drop: bool, value: Any) -> None:
        row = copy.deepcopy(ROWS[kind](1_000 + len(made)))
        every = [([row], 0), *places(row)]
        container, key = every[place % len(every)]
        if drop and isinstance(container, dict):
            del container[key]
        else:
            container[key] = value
        made.append(row if every[place % len(every)][0] is not every[0][0] else value)

    make()
    return made


def strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from strings(list(value.items()))
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from strings(inner)


def is_a_shown_line(text: str) -> bool:
    return 0 < len(text) < 500 and clean(text) == text


@pytest.mark.parametrize("kind", ROWS)
async def test_any_value_at_any_member_spoils_its_own_row_alone(kind: str) -> None:
    spoilt = spoilt_rows(kind, 400)
    good = [ROWS[kind](number) for number in range(1, len(spoilt) + 1)]
    [page] = await pages(kind, [row for pair in zip(spoilt, good, strict=True) for row in pair])
    assert {str(number) for number in range(1, len(spoilt) + 1)} <= {epic.remote_id for epic in page.epics}
    pull_requests = sum(isinstance(row, dict) and bool(row.get("pull_request")) for row in spoilt)
    assert len(page.epics) + len(page.missing) + len(page.unreadable) == 2 * len(spoilt) - pull_requests
    assert len(page.unreadable) > 50
    for unreadable in page.unreadable:
        assert is_a_shown_line(unreadable.reason), unreadable
        assert all(map(is_a_shown_line, filter(None, strings(unreadable.ref and astuple(unreadable.ref)))))
    items: list[Epic | Missing] = [*page.epics, *page.missing]
    for item in items:
        for text in strings(astuple(item)):
            assert text == storable(text)
            assert not set(text) & set(map(chr, (*range(9), 27, *range(127, 160)))), item


# --- case by case -----------------------------------------------------------------------------

WRONG_IDS: list[Any] = [
    True, 1.9, -1, 0, 2**63, None, [], {"a": 1}, "", "x", "1\n", "１", "1" * 5_000_000,
    "\x1b[31m" * 1_000_000,
]  # fmt: skip


@pytest.mark.parametrize("kind", ROWS)
async def test_an_id_is_a_number_of_64_bits(kind: str) -> None:
    rows = [ROWS[kind](number) for number in range(1, len(WRONG_IDS) + 2)]
    for row, wrong in zip(rows[1:], WRONG_IDS, strict=True):
        row["id"] = wrong
    [page] = await pages(kind, rows)
    assert [epic.remote_id for epic in page.epics] == ["1"]
    assert [one.ref for one in page.unreadable] == [
        EpicRef("", f"SHOP-{number}" if kind == "jira" else f"acme/shop#{number}")
        for number in range(2, len(rows) + 1)
    ]
    assert all("its id is no number but" in one.reason for one in page.unreadable)
    assert all(is_a_shown_line(one.reason) for one in page.unreadable)


async def test_a_number_that_paints_the_terminal_is_one_short_line() -> None:
    [page] = await pages("github", [github_row(1) | {"number": "\x1b[31m\n" + "9" * 5_000_000}])
    [unreadable] = page.unreadable
    assert unreadable.ref == EpicRef("1", "")
    assert is_a_shown_line(unreadable.reason)


@pytest.mark.parametrize(
    ("members", "read"),
    [
        ({"repository_url": "https://api.github.com/repos/acme/shop\0"}, "acme/shop#1"),
        ({"repository_url": "https://api.github.com/repos/ac\x1bme/shop"}, "acme/shop#1"),
        ({"repository_url": "https://api.github.com/repos/acme/sh op"}, None),
        ({"repository_url": "https://api.github.com/repos/acme/.."}, None),
        ({"repository_url": "https://api.github.com/repos/acme/shop\n"}, None),
        ({"id": "1\0"}, "acme/shop#1"),
    ],
)
async def test_a_key_has_the_form_of_githubs(members: dict[str, str], read: str | None) -> None:
    [page] = await pages("github", [github_row(1) | members, github_row(2)])
    assert [epic.key for epic in page.epics] == ([read] if read else []) + ["acme/shop#2"]
    assert len(page.unreadable) == (read is None)


@pytest.mark.parametrize(
    "key", ["SHOP-0", "SHOP-1\n", "shop", "SHOP-" + "1" * 5_000, "A B-1", "../1", 7, None]
)
async def test_a_key_has_the_form_of_jiras(key: Any) -> None:
    [page] = await pages("jira", [jira_row(1) | {"key": key}, jira_row(2)])
    assert [epic.key for epic in page.epics] == ["SHOP-2"]
    assert [one.ref for one in page.unreadable] == [EpicRef("1", "")]


TIMES: list[Any] = [None, "yesterday", 5, [], "0001-01-01T00:00:00+08:00", "9999-12-31T23:59:59-08:00"]


@pytest.mark.parametrize("kind", ROWS)
async def test_a_time_that_is_none_is_said_and_the_cursor_goes_on(kind: str) -> None:
    created, updated = ("created", "updated") if kind == "jira" else ("created_at", "updated_at")
    rows = [ROWS[kind](number) for number in range(1, len(TIMES) + 2)]
    for row, time in zip(rows[1:], TIMES, strict=True):
        row.get("fields", row).update({created: time, updated: "2026-11-02T00:00:00+00:00"})
    [page] = await pages(kind, rows)
    assert [epic.remote_id for epic in page.epics] == ["1"]
    assert [f"its {created} is no time but" in one.reason for one in page.unreadable] == [True] * len(TIMES)
    assert page.cursor == datetime(2026, 11, 2, tzinfo=UTC)
    for row in rows[1:]:
        row.get("fields", row).update({created: row.get("fields", row)[updated], updated: None})
    [page] = await pages(kind, rows)
    assert len(page.unreadable) == len(TIMES)
    assert page.cursor == datetime(2026, 11, 1, tzinfo=UTC)


@pytest.mark.parametrize("kind", ROWS)
async def test_optional_members_may_be_missing_or_null(kind: str) -> None:
    bare, null = ROWS[kind](1), ROWS[kind](2)
    needed = {
        "id", "key", "number", "fields", "created", "updated", "created_at", "updated_at",
        "labels", "state", "issuetype", "status",
    }  # fmt: skip
    for row, change in ((bare, dict.pop), (null, lambda place, name: place.update({name: None}))):
        for place in (row, row.get("fields", {})):
            for name in place.keys() - needed:
                change(place, name)
    [page] = await pages(kind, [bare, null])
    assert ({epic.remote_id for epic in page.epics}, page.unreadable) == ({"1", "2"}, ())


@pytest.mark.parametrize("kind", ROWS)
async def test_where_every_row_is_unreadable_each_is_named(kind: str) -> None:
    [page] = await pages(kind, [5, ROWS[kind](1) | {"id": None}, "x", None])
    assert (page.epics, len(page.unreadable), page.cursor is None) == ((), 4, False)


@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize("listing", ["5", '"x"', "null", "[", '{"issues": {}}', '{"issues": [', "", "{}"])
async def test_an_answer_of_another_shape_is_refused_whole(kind: str, listing: str) -> None:
    async with host() as tracker:
        answers(tracker, kind, [])
        tracker.says("200 OK", "Content-Type: application/json", body=listing.encode())
        connector = connector_on(kind, tracker.url)
        with pytest.raises(BadPayload):
            async for _ in connector.changed_since(PROJECT[kind], None):
                pass
        await connector.aclose()


# --- asked for by their refs --------------------------------------------------------------------


async def fetched(kind: str, rows: list[Any], refs: list[EpicRef]) -> list[Epic | Missing | Unreadable]:
    async with host() as tracker:
        answers(tracker, kind, rows)
        if kind == "github":
            body = json.dumps(rows[0]).encode()
            tracker.says("200 OK", "Content-Type: application/json", body=body)
        connector = connector_on(kind, tracker.url)
        found = list(await connector.fetch(refs))
        await connector.aclose()
    return found


async def test_a_ticket_of_jira_whose_row_hides_what_it_is_never_counts_as_deleted() -> None:
    refs = [EpicRef(str(number), f"SHOP-{number}") for number in (1, 2, 3, 4)]
    first, hidden = jira_row(1), jira_row(3) | {"id": [], "key": {}}
    by_key, by_id = jira_row(2) | {"id": "1.9"}, jira_row(4) | {"key": "?"}
    found = await fetched("jira", [first, by_key, hidden, by_id], refs)
    assert [type(one) for one in found] == [Epic, Unreadable, Unreadable, Unreadable]
    assert [one.ref for one in found] == refs
    found = await fetched("jira", [first, by_key], refs[:3])
    assert [type(one) for one in found] == [Epic, Unreadable, Missing]
    assert [one.ref for one in found] == refs[:3]


@pytest.mark.parametrize("members", [{"id": None}, {"number": True}, {"created_at": None}, {"labels": 5}])
async def test_a_ticket_of_github_that_cannot_be_read_keeps_its_ref(members: dict[str, Any]) -> None:
    ref = EpicRef("1", "acme/shop#1")
    [found] = await fetched("github", [github_row(1) | members], [ref])
    assert isinstance(found, Unreadable)
    assert found.ref == ref
    assert is_a_shown_line(found.reason)


# --- what else has an id --------------------------------------------------------------------------

ACCOUNTS = {
    "jira": [{"accountId": 5}, {"accountId": []}, {"accountId": ""}, [], None],
    "github": [{"id": True}, {"id": 1.9}, {"id": "x"}, {"id": []}, []],
}


@pytest.mark.parametrize("kind", ACCOUNTS)
async def test_an_account_without_an_id_is_nobody(kind: str) -> None:
    for raw in ACCOUNTS[kind]:
        async with host() as tracker:
            tracker.says("200 OK", "Content-Type: application/json", body=json.dumps(raw).encode())
            connector = connector_on(kind, tracker.url)
            with pytest.raises((Unauthorized, BadPayload)):
                await connector.account()
            await connector.aclose()


@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize("row", [5, None, {"id": True}, {"id": "x" * 5_000_000}, {"id": 1, "user": "x"}])
async def test_a_comment_that_cannot_be_read_may_be_ours(kind: str, row: Any) -> None:
    """So the list is refused, in one line, and no second comment is written."""
    if kind == "jira" and row == {"id": 1, "user": "x"}:
        row = {"id": "1.9"}
    comments = {"comments": [row]} if kind == "jira" else [row]
    me = {"accountId": "7", "id": 7, "login": "bot"}
    async with host() as tracker:
        for path, raw in (("myself", me), ("user", me), ("comment", comments), ("comments", comments)):
            body = json.dumps(raw).encode()
            tracker.says("200 OK", "Content-Type: application/json", body=body, path=path)
        connector = connector_on(kind, tracker.url)
        with pytest.raises(BadPayload) as refused:
            await connector.find_comments(EpicRef("1", KEYS[kind]), MARKER)
        assert is_a_shown_line(refused.value.message)
        await connector.aclose()


# --- every string, wherever it stands -----------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (rb'{"a\u0000b": ["c\u0000", {"d": "\u001b[31m"}]}', {"ab": ["c", {"d": "[31m"}]}),
        (rb'["\ud800", "\udfff\ud83d", "\ud83d\ude80"]', ["?", "??", "🚀"]),
        (rb'["a\b\f\u007f\u0085\u009b", "a\tb\nc\rd"]', ["a", "a\tb\nc\rd"]),
        (b'["a\x7f", "\xc2\x9b31m"]', ["a", "31m"]),
        (b'["\xed\xa0\x80"]', ["?"]),
        (rb'["\\u0000", "\\\\ud800"]', ["\\u0000", "\\\\ud800"]),
        (rb'"\u0000"', ""),
        (json.dumps({"é\0": "\x1b"}).encode("utf-16"), {"é": ""}),
    ],
)
def test_a_string_of_a_tracker_can_be_stored_and_shown(sent: bytes, read: Any) -> None:
    assert parse_json(sent) == read
