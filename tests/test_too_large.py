"""Answers that would take our memory: refused before they are decoded, and asked for again in parts."""

from __future__ import annotations

import gc
import json
import tracemalloc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import Context
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs

import pytest
from hypothesis import given, strategies as st
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

import connectors.json
from connectors import http_body
from connectors.base import BadPayload, EpicRef, Page, Project, Unanswered, Unavailable, Unreadable
from connectors.github.errors import message_of as github_message
from connectors.github.listing import MOST_LEFT_OUT, Listing
from connectors.http_body import MOST_BYTES, BoundedBody, TooLarge, answer_in_memory
from connectors.jira.errors import messages_of as jira_messages
from connectors.json import MOST_VALUES, OverLimit, parse_json
from connectors.sandbox.faults import Action, answer, answer_of
from connectors.sandbox.github.tracker import GitHubTracker
from connectors.sandbox.jira.tracker import JiraTracker
from connectors.webhooks import payload_of
from tests.support.connector_calls import MARKER, READS, WORDS, WRITES, Target, target

KINDS = ["jira", "github"]
START = datetime(2026, 1, 1, tzinfo=UTC)

# --- before anything is decoded -------------------------------------------------------------------


def listed(item: bytes, size: int) -> bytes:
    return b"[" + item * (size // len(item)) + b"0]"


MOST = 5_000  # as good as a million, and sooner reached
BOMBS: dict[str, bytes] = {
    "lists": listed(b"[],", 60_000),
    "objects": listed(b'{"a":1},', 60_000),
    "numbers": listed(b"0,", 60_000),
    "short strings": listed(b'"a\\"b",', 60_000),
    "names": b"{" + b",".join(b'"%x":0' % number for number in range(MOST + 1)) + b"}",
    "behind a long string": b'["' + b"[" * 60_000 + b'",' + b"[]," * MOST + b"0]",
    "without an end": b'["' + b'\\",' * 100 + b'",' + b"[]," * (2 * MOST),
    "in UTF-16": listed(b"[],", 60_000).decode().encode("utf-16"),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_values_are_counted_before_they_are_made(bomb: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connectors.json, "MOST_VALUES", MOST)
    content = BOMBS[bomb]
    gc.collect()
    tracemalloc.start()
    try:
        with pytest.raises(OverLimit, match="values"):
            parse_json(content)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Decoded, the smallest of them takes seven times its bytes.
    assert peak < 3 * len(content)


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":['])
def test_what_is_nested_too_deeply_is_over_the_limit_too(opening: bytes) -> None:
    depth = 2_000
    closing = opening.translate(bytes.maketrans(b"[{", b"]}"), b'"a:')[::-1]
    with pytest.raises(OverLimit, match="nested"):
        parse_json(opening * depth + b"1" + closing * depth)
    whole = parse_json(opening * 300 + b"1" + closing * 300)
    while isinstance(whole, (list, dict)):
        [whole] = whole if isinstance(whole, list) else whole.values()
    assert whole == 1


@pytest.mark.parametrize("text", ["[],{},", '\\"],['])
def test_what_stands_in_texts_counts_for_nothing(text: str) -> None:
    """A hundred issues with the longest texts that a tracker takes are read whole, whatever they hold."""
    body = (text * 65_536)[:65_536]
    content = json.dumps([{"body": body, "id": number} for number in range(100)]).encode()
    assert content.count(b"[") + content.count(b",") > MOST_VALUES
    assert [row["body"] == body for row in parse_json(content)] == [True] * 100


def test_a_hundred_of_the_longest_texts_fit() -> None:
    assert MOST_BYTES > 100 * (4 * 65_536 + 10_000)


def test_a_webhook_over_the_limit_is_refused_as_unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connectors.json, "MOST_VALUES", MOST)
    with pytest.raises(ValueError, match="values"):
        payload_of(BOMBS["lists"], is_form=False)


# --- several at once ------------------------------------------------------------------------------


def test_large_answers_are_counted_together_and_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_body, "SMALL", 10)
    monkeypatch.setattr(http_body, "MOST_AT_ONCE", 100)

    def take(size: int) -> None:
        BoundedBody(None).take(b"x" * size)

    def take_elsewhere(size: int) -> None:
        def take_in_memory() -> None:
            with answer_in_memory():
                take(size)

        Context().run(take_in_memory)

    with answer_in_memory():
        take(110)
        with pytest.raises(Unavailable) as refused:
            take_elsewhere(11)
        assert refused.value.retry_after == 5
        take_elsewhere(10)  # small ones always find room
        with answer_in_memory():  # a part of the same work
            take(110)
    with answer_in_memory():
        body = BoundedBody(None)
        for _ in range(11):
            body.take(b"x" * 10)
    take_elsewhere(110)
    assert http_body._Memory.counted_in_process == 0  # noqa: SLF001  # what is left over shows nowhere else


@pytest.mark.parametrize("kind", KINDS)
async def test_a_write_whose_answer_finds_no_room_may_have_been_done(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is looked for on the ticket, and not sent again as if it had changed nothing."""
    async with target(kind) as on:
        monkeypatch.setattr(http_body, "SMALL", 10)
        monkeypatch.setattr(http_body, "MOST_AT_ONCE", 10)
        with pytest.raises(Unavailable) as read:
            await READS["fetch"](on)
        assert type(read.value) is Unavailable
        with pytest.raises(Unanswered):
            await WRITES["create"](on)


@pytest.mark.parametrize("message_in", [github_message, jira_messages])
def test_an_error_as_long_as_a_bomb_is_not_decoded(message_in: Callable[[bytes], object]) -> None:
    body = b'{"message":"No.","more":[' + b"[]," * 100_000 + b"0]}"
    tracemalloc.start()
    try:
        assert not message_in(body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < len(body)
    assert message_in(b'{"message":"No.\\u0000","more":[]}') in ("No.", ["No."])


# --- in parts -------------------------------------------------------------------------------------


def bombs(keys: set[str], size: int = 16_000, hidden: str = "") -> Action:
    """The tracker's answer, in which the labels of these tickets have `size` entries, and the row of the
    ticket `hidden` has no id."""

    async def act(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        start, body = await answer_of(app, scope, receive)
        whole = json.loads(body)
        rows = whole["issues"] if "issues" in whole else whole if isinstance(whole, list) else [whole]
        for row in rows:
            key = row.get("key") or f"acme/shop#{row.get('number')}"
            holder = row.get("fields", row)
            if key in keys and "labels" in holder:
                holder["labels"] = ["epic"] * size
            if key == hidden:
                row["id"] = None
        headers = {k.decode(): v.decode() for k, v in start["headers"] if k.lower() == b"link"}
        await Response(json.dumps(whole), start["status"], headers, "application/json")(scope, receive, send)

    return act


def ticket(on: Target, moment: datetime) -> str:
    if isinstance(on.tracker, JiraTracker):
        return on.tracker.site.create("SHOP", "An epic", created=moment, updated=moment).key
    assert isinstance(on.tracker, GitHubTracker)
    return on.tracker.host.create("acme/shop", "An epic", labels=["epic"], created=moment, updated=moment).key


@asynccontextmanager
async def many(kind: str, count: int, step: timedelta) -> AsyncIterator[tuple[Target, list[str]]]:
    async with target(kind) as on:
        yield on, [ticket(on, START + number * step) for number in range(count)]


async def walked(on: Target, since: datetime | None = None) -> list[Page]:
    return [page async for page in on.connector.changed_since(Project(on.project), since)]


def keys_of(pages: list[Page]) -> set[str]:
    return {epic.key for page in pages for epic in page.epics}


def unreadable_of(pages: list[Page]) -> list[Unreadable]:
    return [one for page in pages for one in page.unreadable]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_bomb_among_a_hundred_is_left_out_and_no_other(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with many(kind, 150, timedelta(hours=1)) as (on, keys):
        monkeypatch.setattr(connectors.json, "MOST_VALUES", 15_000)
        left_out = {keys[30], keys[31], keys[140]}
        on.tracker.faults.add("*", bombs(left_out), times=None)
        pages = await walked(on)
        assert keys_of(pages) == {*keys, on.epic.key} - left_out
        found = unreadable_of(pages)
        assert len(found) == 3
        assert {one.ref and one.ref.key for one in found} == (left_out if kind == "jira" else {None})
        assert all("more than 15000 values" in one.reason for one in found)
        # Two pages without bombs; around each bomb a dozen and a half requests more.
        assert on.connector.requests < 2 + 3 * 18
        refs = [EpicRef(epic.remote_id, epic.key) for page in pages for epic in page.epics][:3]
        bomb_ref = EpicRef(_id_of(on, keys[30]), keys[30])
        fetched = await on.connector.fetch([refs[0], bomb_ref, refs[1]])
        assert [isinstance(one, Unreadable) for one in fetched] == [False, True, False]
        assert isinstance(fetched[1], Unreadable)
        assert fetched[1].ref == bomb_ref


def _id_of(on: Target, key: str) -> str:
    if isinstance(on.tracker, JiraTracker):
        return on.tracker.site.issue(key).id
    assert isinstance(on.tracker, GitHubTracker)
    return str(on.tracker.host.issue(key).id)


@pytest.mark.parametrize("kind", KINDS)
async def test_honest_pages_that_are_long_together_are_read_whole(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with many(kind, 119, timedelta(hours=1)) as (on, keys):
        monkeypatch.setattr(connectors.json, "MOST_VALUES", 20_000)
        on.tracker.faults.add("*", bombs(set(keys), size=250), times=None)
        pages = await walked(on)
        assert keys_of(pages) == {*keys, on.epic.key}
        assert unreadable_of(pages) == []
        assert on.connector.requests < 12


async def test_a_row_without_an_id_beside_a_bomb_takes_no_others_along(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with many("jira", 40, timedelta(hours=1)) as (on, keys):
        monkeypatch.setattr(connectors.json, "MOST_VALUES", 15_000)
        on.tracker.faults.add("*", bombs({keys[3]}, hidden=keys[5]), times=None)
        [page] = await walked(on)
        assert keys_of([page]) == {*keys, on.epic.key} - {keys[3], keys[5]}
        assert {one.ref and one.ref.key for one in page.unreadable} == {keys[3], keys[5]}


@pytest.mark.parametrize("kind", KINDS)
async def test_our_comment_is_found_among_many_that_are_long_together(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with target(kind) as on:
        for _ in range(120):
            if isinstance(on.tracker, JiraTracker):
                on.tracker.site.comment(on.epic.key, "Theirs.")
            elif isinstance(on.tracker, GitHubTracker):
                on.tracker.host.comment(on.epic.key, "Theirs.")
        made = await on.connector.put_comment(on.epic, None, WORDS, MARKER)
        monkeypatch.setattr(connectors.json, "MOST_VALUES", 1_000)
        before = on.connector.requests
        assert await on.connector.find_comments(on.epic, MARKER) == [made]
        assert on.connector.requests - before > 4


@pytest.mark.parametrize("kind", KINDS)
async def test_where_nothing_but_bombs_comes_it_ends(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with many(kind, 8, timedelta(hours=1)) as (on, keys):
        monkeypatch.setattr(connectors.json, "MOST_VALUES", 5_000)
        on.tracker.faults.add("*", bombs({*keys, on.epic.key}, size=5_000), times=None)
        pages = await walked(on)
        assert keys_of(pages) == set()
        assert len(unreadable_of(pages)) == 9
        assert on.connector.requests < 30


# --- GitHub's listing, without a network ------------------------------------------------------------


def read_listing(
    moments: list[int], large: Callable[[list[int]], bool], most: int = 5_000
) -> tuple[set[int], int, int]:
    """The issues read of a repository where issue `number` changed in second `moments[number]`; how many
    were left out, and the number of requests."""
    order = sorted(range(len(moments)), key=lambda number: (moments[number], number))
    listing, read, left_out, requests = Listing(None), set[int](), 0, 0
    while listing.url:
        requests += 1
        assert requests < most
        query = parse_qs(listing.url.partition("?")[2])
        since = datetime.fromisoformat(query["since"][0]) if "since" in query else START
        size, page = int(query["per_page"][0]), int(query.get("page", ["1"])[0])
        shown = [number for number in order if START + timedelta(seconds=moments[number]) >= since]
        rows = shown[(page - 1) * size : page * size]
        following = f"{listing.url.partition('&page=')[0]}&page={page + 1}"
        next_page = following if page * size < len(shown) else None
        if large(rows):
            error = TooLarge("Too large.")
            error.next_page = next_page
            left_out += listing.too_large(error)
        else:
            read |= set(rows)
            listing.read([START + timedelta(seconds=moments[number]) for number in rows], next_page)
    return read, left_out, requests


@given(
    st.lists(st.integers(0, 60), max_size=300),
    st.sets(st.integers(0, 299), max_size=6),
    st.integers(1, 100),
)
def test_whatever_the_times_and_sizes_only_bombs_are_left_out(
    moments: list[int], heavy: set[int], most_rows: int
) -> None:
    read, left_out, _ = read_listing(moments, lambda rows: len(rows) > most_rows or bool(heavy & set(rows)))
    assert read == set(range(len(moments))) - heavy
    assert left_out >= len(heavy & set(range(len(moments))))


def test_a_bomb_costs_a_listing_some_twenty_requests() -> None:
    for bomb in range(0, 1_000, 97):
        read, left_out, requests = read_listing([*range(1_000)], lambda rows, bomb=bomb: bomb in rows)  # type: ignore[misc]
        assert (len(read), left_out) == (999, 1)
        assert requests < 10 + 20


def test_a_tracker_of_bombs_alone_is_left() -> None:
    with pytest.raises(BadPayload, match="one after the other"):
        read_listing([*range(1_000)], lambda rows: True)
    read, left_out, _ = read_listing([*range(300)], lambda rows: any(row % 2 for row in rows))
    assert (len(read), left_out) == (150, 150)
    assert left_out > MOST_LEFT_OUT


# --- asked again ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("step", [timedelta(0), timedelta(hours=1)])
async def test_after_an_unreadable_page_a_new_call_goes_on_from_the_last_cursor(
    kind: str, step: timedelta
) -> None:
    """Also where hundreds of tickets changed at the same moment."""
    async with many(kind, 320, step) as (on, keys):
        listing = "POST */search/jql" if kind == "jira" else "GET */issues"
        cut_short = answer(200, '{"issues": [', {"Content-Type": "application/json"})
        on.tracker.faults.add(listing, cut_short, skip=2)
        pages = on.connector.changed_since(Project(on.project), None)
        read = [await anext(pages), await anext(pages)]
        with pytest.raises(BadPayload):
            await anext(pages)
        before = on.connector.requests
        rest = await walked(on, read[-1].cursor)
        assert keys_of(read) | keys_of(rest) == {*keys, on.epic.key}
        assert on.connector.requests - before <= (4 if step == timedelta(0) else 2)
