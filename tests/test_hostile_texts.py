"""Texts of strangers: read in time linear in their length, and never markup of ours when said back."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from itertools import chain
from typing import Any, TypeVar

import httpx
import orjson
import pytest
import respx
from hypothesis import example, given, strategies as st

from connectors.base import BadPayload, Epic, Project
from connectors.document import Document, Link, Paragraph, Text
from connectors.github import text as github_text
from connectors.github.config import GitHubEpics
from connectors.github.payloads import issue_of
from connectors.github.text import LONGEST, MOST_WORK, lines_of as github_lines, work_of
from connectors.jira.payloads import ticket_of
from connectors.jira.text import lines_of as jira_lines
from connectors.json import parse_json
from connectors.markup import clean, storable, to_adf, to_markdown, to_plain
from connectors.registry import KINDS
from connectors.ticket_text import Line
from mappings.commands.answers import joined_answer
from mappings.commands.model import InvalidCommand, LinkCommand, WaiveCommand
from mappings.commands.parse import parse_commands
from mappings.epics.rows import row_of
from mappings.links.keys import KEY
from mappings.links.references import parse_references
from tests.support.ticket_text import text_lines

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
T = TypeVar("T")


# --- time ---------------------------------------------------------------------------------------

# What makes a careless parser look at everything again for each of them.
PIECES = [
    "[", "![", "[a](", "[a][", "[a]: b\n", "](", "*a ", "**a **", "*_", "_a", "`", "``a", "<a ", "<a href=\"",
    "<!--", "<![CDATA[", "<http://", "\\", "> ", "\n> ", "- ", "\n - ", "1. ", "* a\n", "a\n", "# ", "```\n",
    "~~~", "|a|\n|-|\n", "&amp;", "&#", "{code}", "{code:", "{quote}{code}", "{{a", "{{", "bq. ", "||",
    "@a", "@", "/northing link ", "/northing ", "#1", "GH-1", ":a:", "a.b", "abc1234 ", "http://a.",
    "Key-Result: KR-1,", "Key-Result:", "kr:", "\0", "🚀", "\u202e", "\u0301", "\ud83d", "\r", "\t", "  ",
]  # fmt: skip


def _said_back(text: str) -> None:
    for inline in (Text(text), Text(text, "strong"), Text(text, "code"), Link(text, f"https://a/{text}")):
        document = Document((Paragraph((inline,)),))
        to_markdown(document)
        to_adf(document)
        to_plain(document)


READERS: dict[str, Callable[[str], object]] = {
    "GitHub's Markdown": github_lines,
    "Jira's wiki": jira_lines,
    "Jira's ADF": lambda text: jira_lines(_adf(text)),
    "references": lambda text: parse_references(text_lines(*text.split("\n")), [text]),
    "commands": lambda text: parse_commands(text_lines(*text.split("\n")), NOW),
    "one line": clean,
    "stored": storable,
    "said back": _said_back,
}


def _adf(text: str) -> dict[str, Any]:
    return {"type": "doc", "content": [{"type": "paragraph", "content": [{"type": "text", "text": text}]}]}


def _seconds(read: Callable[[str], object], text: str) -> float:
    """Of this thread's processor: others' work does not count."""
    begin = time.thread_time()
    read(text)
    return time.thread_time() - begin


@pytest.mark.parametrize("reader", READERS)
def test_ten_times_the_text_takes_no_hundred_times_the_time(reader: str) -> None:
    read = READERS[reader]
    slow = {}
    for piece in PIECES:
        long = (piece * 6_000)[:6_000]
        # What is done before anybody could say how it grows takes no harm at ten times the length either.
        if _seconds(read, long) > 0.05:
            took = min(_seconds(read, long) for _ in range(3))
            ratio = took / min(_seconds(read, long[:600]) for _ in range(3))
            if ratio > 40:
                slow[piece] = (ratio, took)
    assert slow == {}


HONEST = """## What it is for

A line with **strong** words, `code`, _emphasis_ and [a link](https://acme.example/plans/12), and more.

- [ ] one of the steps
- [x] another one, see #12

> What somebody said

| a | b |
|---|---|
| 1 | 2 |
"""


def _calls(text: str) -> int:
    """How many Python functions are called while GitHub's Markdown is read."""
    calls = 0

    def count(frame: object, event: str, argument: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        github_lines(text)
    finally:
        sys.setprofile(None)
    return calls


def test_no_text_takes_much_more_work_than_an_honest_one_of_its_length(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """At a small part of the longest text, with as small a part of the work allowed."""
    length = LONGEST // 32
    monkeypatch.setattr(github_text, "MOST_WORK", MOST_WORK // 32)
    honest = _calls((HONEST * length)[:length])
    pieces = [*PIECES, "![](", "[a\n", "*a_", "  - a\n", "* a\n", "+ a\n\n", "a**b_", "[*a](b)*", "&", "<a>"]
    ratios = {}
    for piece in pieces:
        whole = (piece * length)[:length]
        # Also the longest of them that is still parsed.
        fitting = whole[: length * MOST_WORK // max(32 * work_of(whole), MOST_WORK)]
        ratios[piece] = max(_calls(whole), _calls(fitting)) / honest
    assert {piece: ratio for piece, ratio in ratios.items() if ratio > 5} == {}


def test_a_text_that_is_too_much_work_is_read_line_by_line() -> None:
    bomb = "![" * 20_000
    text = (
        f"{bomb}\n\n- **Key-Result:** KR_1\n```\nKey-Result: KR-9\n```\n> Key-Result: KR-8\n"
        "\n    Key-Result: KR-7\n<!-- Key-Result: KR-6\n-->\n`Key-Result: KR-5`\n## Key-Result: KR-2\n"
        "~~~~\n~~~\nKey-Result: KR-4\n"
    )
    assert work_of(text) > MOST_WORK
    expected = (
        Line("Key-Result: KR_1"),
        Line("Key-Result: KR-5", in_code=True),
        Line("Key-Result: KR-2", "heading"),
    )
    assert github_lines(text)[1:] == expected
    assert github_lines(text.replace(bomb, "")) == expected


def test_the_longest_honest_texts_are_parsed() -> None:
    for text in (
        HONEST,
        "- [ ] A step of the work\n",
        "A line of some words.\n",
        "[a link](https://a.example), ",
    ):
        assert work_of((text * LONGEST)[:LONGEST]) <= MOST_WORK, text


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 10_000 + b"]" * 10_000,
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b"[" * 1_000_000,
        b'{"a": ' + b"9" * 5_000 + b"}",
        b"\xff\xfe{",
        b"",
        b"\x00",
        b'{"a": "\xed\xa0\x80"',
    ],
    ids=["lists", "objects", "cut off", "digits", "UTF-16", "empty", "NUL", "surrogate"],
)
def test_json_that_no_tracker_means_is_refused_and_never_a_breakdown(content: bytes) -> None:
    with pytest.raises(ValueError) as refused:  # noqa: PT011  # that it is no other is what counts
        parse_json(content)
    assert len(str(refused.value)) < 1_000


@pytest.mark.parametrize(
    "content",
    [
        b'{"id": NaN, "key": Infinity}',
        b'{"id": 1e400, "id": 2, "id": 184467440737095516160}',
        b'{"\\ud800": "\\udfff", "\\u0000": "\\u0000"}',
        '{"id": "é"}'.encode("utf-16"),
        b'\xef\xbb\xbf{"id": 1}',
    ],
)
def test_json_that_is_only_odd_is_read_and_heard(content: bytes) -> None:
    payload = parse_json(content)
    assert isinstance(payload, dict)
    for kind in KINDS.values():
        for event in (None, "issues", "issue_comment", *payload):
            hint = kind.webhooks.parse_event(event, payload | {"action": payload, "issue": [payload]})
            assert hint.kind in ("ignored", "unknown")


async def test_a_page_of_slow_texts_does_not_hold_up_the_others() -> None:
    """The loop goes on turning while it is read; a page of harmless texts turns it a few times only."""

    def issue(number: int, body: str) -> dict[str, Any]:
        return {
            "id": number, "number": number, "title": "t", "body": body, "state": "open",
            "labels": [{"name": "epic"}], "assignees": [],
            "created_at": "2026-11-01T00:00:00Z", "updated_at": "2026-11-01T00:00:00Z",
            "html_url": f"https://github.com/acme/shop/issues/{number}",
            "repository_url": "https://api.github.com/repos/acme/shop",
        }  # fmt: skip

    async def turns(body: str) -> int:
        kind = KINDS["github"]
        connector = kind.connect(
            "https://api.github.com",
            kind.credentials.model_validate({"type": "token", "token": "t"}),
            kind.scope.model_validate({"repositories": ["acme/shop"]}),
            kind.epics.model_validate({"labels": ["epic"]}),
        )
        turned, reading = 0, True

        async def turn() -> None:
            nonlocal turned
            while reading:
                turned += 1
                await asyncio.sleep(0)

        with respx.mock(base_url="https://api.github.com") as github:
            github.get("/repos/acme/shop/issues").mock(
                return_value=httpx.Response(200, json=[issue(number, body) for number in range(1, 6)])
            )
            turning = asyncio.create_task(turn())
            pages = [page async for page in connector.changed_since(Project("acme/shop"), None)]
            reading = False
            await turning
        await connector.aclose()
        assert [len(page.epics) for page in pages] == [5]
        return turned

    harmless = await turns("Some words")
    assert await turns("![" * 5_000) > harmless + 15


# --- what is read -------------------------------------------------------------------------------

NASTY = st.sampled_from(
    [*PIECES, "KR-1", ",", "link", "snooze 14d", "\n", "Key-Result: KR-1\n", "/northing help\n"]
)
HOSTILE = st.lists(NASTY | st.text(max_size=6), max_size=40).map("".join)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | HOSTILE,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(HOSTILE, inner, max_size=4),
    max_leaves=12,
)
NODES = st.recursive(
    st.builds(lambda text: {"type": "text", "text": text}, JSON),
    lambda inner: st.fixed_dictionaries(
        {"type": st.sampled_from(["doc", "paragraph", "listItem", "codeBlock", "mention", "hardBreak"])},
        optional={"content": st.lists(inner, max_size=4) | JSON, "attrs": JSON, "marks": JSON, "text": JSON},
    ),
    max_leaves=15,
)  # fmt: skip


@given(HOSTILE)
def test_any_description_gives_lines_that_can_be_stored_and_only_keys(text: str) -> None:
    for lines in (github_lines(text), jira_lines(text), jira_lines(_adf(text))):
        texts = [line.text for line in lines]
        assert all("\n" not in text and text == storable(text) for text in texts)
        places = parse_references(lines, [text]).declarations
        assert all(KEY.fullmatch(word) for place in places for word in place.words)
        for command in parse_commands(lines, NOW):
            assert not isinstance(command, LinkCommand) or all(map(KEY.fullmatch, command.keys))
            words = command.reply if isinstance(command, InvalidCommand) else command.typed
            if isinstance(command, WaiveCommand):
                words = command.reason
            assert words == storable(words)
            message = joined_answer([words])
            assert message is None or len(message) <= 2_000


@given(NODES | JSON)
def test_any_adf_at_all_gives_lines(document: Any) -> None:
    assert all(isinstance(line.text, str) and line.text for line in jira_lines(document))


TICKET: dict[str, Any] = {
    "id": "10001",
    "key": "SHOP-1",
    "fields": {
        "summary": "An epic", "project": {"key": "SHOP"}, "issuetype": {"id": "1", "name": "Epic"},
        "status": {"name": "Open", "statusCategory": {"key": "new"}}, "labels": ["a"], "description": None,
        "assignee": {"displayName": "Person"}, "fixVersions": [{"name": "v1"}], "parent": {"key": "SHOP-2"},
        "created": "2026-11-01T00:00:00.000+0000", "updated": "2026-11-01T00:00:00.000+0000",
        "components": [{"name": "b"}],
    },
}  # fmt: skip


ISSUE: dict[str, Any] = {
    "id": 1, "number": 7, "title": "An epic", "body": "Words", "state": "open", "labels": [{"name": "epic"}],
    "assignees": [{"login": "ada"}], "milestone": {"title": "Q4"}, "type": {"name": "Epic"},
    "created_at": "2026-11-01T00:00:00Z", "updated_at": "2026-11-01T00:00:00Z",
    "html_url": "https://github.com/acme/shop/issues/7",
    "repository_url": "https://api.github.com/repos/acme/shop",
    "parent_issue_url": "https://api.github.com/repos/acme/shop/issues/1",
}  # fmt: skip
OBJECT = st.dictionaries(
    st.sampled_from(["key", "name", "displayName", "title", "login", "id"]), JSON, min_size=1, max_size=2
)
VALUES = JSON | NODES | OBJECT | st.lists(OBJECT, max_size=2)


def _read(read: Callable[[], T]) -> tuple[T | None, str]:
    """What is read, or in which words it is refused."""
    try:
        return read(), ""
    except BadPayload as refused:
        return None, refused.message


def _assert_storable(epic: Epic) -> None:
    texts = (epic.key, epic.project, epic.title, epic.url, epic.type, epic.status, epic.milestone)
    lists = (epic.labels, epic.assignees, epic.components, tuple(line.text for line in epic.text))
    assert all(isinstance(text, str) for text in (*texts, *chain(*lists)) if text is not None)
    assert epic.parent is None or epic.parent.key == storable(epic.parent.key)
    assert all(text == storable(text) for text in (*texts, *chain(*lists)) if text is not None)
    assert "\\u0000" not in orjson.dumps(row_of(epic, epic.updated_at)).decode()


@given(st.sampled_from(sorted(TICKET["fields"])), VALUES)
@example("parent", {"key": ["SHOP-2"]})
def test_a_jira_field_of_any_shape_is_stored_or_refused_with_the_ticket_named(name: str, value: Any) -> None:
    raw = parse_json(json.dumps(TICKET | {"fields": TICKET["fields"] | {name: value}}).encode())
    epic, refusal = _read(lambda: ticket_of(raw, "https://acme.example").epic)
    if epic is not None:
        _assert_storable(epic)
    else:
        assert refusal.startswith("Jira's issue SHOP-1 could not be read: ")


@given(st.sampled_from(sorted(ISSUE)), VALUES)
@example("id", "1\0")
def test_a_github_member_of_any_shape_is_stored_or_refused_with_the_issue_named(
    name: str, value: Any
) -> None:
    raw = parse_json(json.dumps(ISSUE | {name: value}).encode())
    found, refusal = _read(
        lambda: issue_of(raw, "acme/shop", "https://github.com", GitHubEpics(labels=["epic"]))
    )
    if found is not None:
        _assert_storable(found.epic)
    else:
        assert refusal.startswith("GitHub's issue ")
        assert "could not be read: " in refusal
        assert name == "number" or "#7 " in refusal
        assert len(refusal) < 500
        assert clean(refusal) == refusal
