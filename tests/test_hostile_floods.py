"""A tracker that wants our memory: answers and lists without an end, bombs, both connectors."""

from __future__ import annotations

import asyncio
import gzip
import re
import zlib
from collections.abc import AsyncIterator, Callable

import pytest

from connectors import http_body
from connectors.base import BadPayload, ConnectorError, EpicRef, Unanswered
from connectors.github import payloads as github_payloads
from connectors.http_body import BoundedBody
from connectors.jira import search as jira_search
from connectors.registry import KINDS
from tests.support.raw_host import KEYS, MARKER, READING, WRITING, Call, connector_on, host, walk


async def endless(first: bytes, piece: bytes) -> AsyncIterator[bytes]:
    yield first
    while True:
        yield piece


def zeros() -> tuple[bytes, bytes]:
    """The beginning of a gzip file, and what may follow it any number of times: a MB of zeros in a KB."""
    packer = zlib.compressobj(9, wbits=31)
    begin = packer.compress(b" ") + packer.flush(zlib.Z_FULL_FLUSH)
    return begin, packer.compress(b" " * 1024**2) + packer.flush(zlib.Z_FULL_FLUSH)


BOUND = 8 * 1024**2  # as good as 64, and sooner reached
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
# How an answer without an end begins, what it goes on with, and how much of it we take at most.
FLOODS: dict[str, Callable[[], tuple[bytes, bytes, int]]] = {
    "plain": lambda: (OK + b"\r\n[", b" " * 1024**2, 3 * BOUND),
    "chunked": lambda: (
        OK + b"Transfer-Encoding: chunked\r\n\r\n",
        b"100000\r\n" + b" " * 1024**2 + b"\r\n",
        3 * BOUND,
    ),
    "a bomb": lambda: (OK + b"Content-Encoding: gzip\r\n\r\n" + zeros()[0], zeros()[1] * 16, BOUND),
    "a bomb in a bomb": lambda: (OK + b"Content-Encoding: gzip, gzip\r\n\r\n", b" " * 65536, BOUND),
    "a redirect": lambda: (OK.replace(b"200", b"302") + b"Location: /x\r\n\r\n", b" " * 1024**2, 3 * BOUND),
    "headers": lambda: (OK, b"X-More: " + b"x" * 60_000 + b"\r\n", 3 * BOUND),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("flood", FLOODS)
async def test_an_answer_without_an_end_is_left(
    kind: str, flood: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_body, "MOST_BYTES", BOUND)
    first, piece, most = FLOODS[flood]()
    async with host() as tracker:
        connector = connector_on(kind, tracker.url)
        calls: list[tuple[Call, tuple[str, ...]]] = [(READING[0], ("bad_payload", "unavailable"))]
        if flood in ("chunked", "a bomb in a bomb", "headers"):  # the others cost as much again
            calls.append((WRITING[0], ("unanswered",)))
        for call, codes in calls:
            tracker.answer, tracker.sent = endless(first, piece), 0
            with pytest.raises(ConnectorError) as caught:
                await call(connector, kind)
            assert caught.value.code in codes, caught.value
            assert tracker.sent < most
        await connector.aclose()


# Kind, the answers by the path's last word, and the call that reads all pages.
LINK = 'Link: </x/%s?page=NNNN>; rel="next"'
ENDLESS: dict[str, tuple[str, dict[str, tuple[str, bytes]], Call]] = {
    "epics of Jira": (
        "jira",
        {
            "issuetype": ("", b'[{"id": "1", "name": "Epic", "hierarchyLevel": 1}]'),
            "jql": ("", b'{"issues": [], "nextPageToken": "NNNN"}'),
        },
        walk,
    ),
    "projects": (
        "jira",
        {"search": ("", b'{"values": [{"id": "NNNN", "key": "PNNNN"}]}')},
        lambda on, kind: on.projects(),
    ),
    "comments of Jira": (
        "jira",
        {"myself": ("", b'{"accountId": "7"}'), "comment": ("", b'{"comments": [{"id": "NNNN"}]}')},
        lambda on, kind: on.find_comments(EpicRef("1", KEYS[kind]), MARKER),
    ),
    "epics of GitHub": ("github", {"issues": (LINK % "issues", b"[]")}, walk),
    "repositories": (
        "github",
        {
            "shop": ("", b'{"full_name": "acme/shop", "id": 1, "private": true}'),
            "repos": (LINK % "repos", b"[]"),
        },
        lambda on, kind: on.projects(),
    ),
    "comments of GitHub": (
        "github",
        {"user": ("", b'{"id": 7}'), "comments": (LINK % "comments", b"[]")},
        lambda on, kind: on.find_comments(EpicRef("1", KEYS[kind]), MARKER),
    ),
}


@pytest.mark.parametrize("what", ENDLESS)
async def test_a_list_without_an_end_is_left(what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each page is new and leads to another."""
    kind, answers, call = ENDLESS[what]
    for module in (jira_search, github_payloads):
        monkeypatch.setattr(module, "MOST_PAGES", 20)
    async with host() as tracker:
        for path, (header, body) in answers.items():
            headers = ["Content-Type: application/json", *([header] if header else [])]
            tracker.says("200 OK", *headers, body=body, path=path)
        connector = connector_on(kind, tracker.url, organizations=["acme"])
        with pytest.raises(BadPayload, match="more than 20 pages"):
            async with asyncio.timeout(20):
                await call(connector, kind)
        await connector.aclose()
        assert 20 <= len(tracker.heard) <= 23


PACKED = gzip.compress(b'{"id": 1}')


@pytest.mark.parametrize(
    ("encoding", "pieces", "whole"),
    [
        (None, [b"[", b"]"], b"[]"),
        ("identity", [], b""),
        ("gzip", [PACKED], b'{"id": 1}'),
        ("X-GZIP", [PACKED[:4], b"", PACKED[4:]], b'{"id": 1}'),
        ("gzip", [PACKED[i : i + 1] for i in range(len(PACKED))], b'{"id": 1}'),
        ("gzip", [], b""),
        ("gzip", [gzip.compress(b"x" * 100)], b"x" * 100),
        ("gzip", [gzip.compress(b"x" * 101)], "larger"),
        (None, [b"x" * 60, b"x" * 41], "larger"),
        ("gzip", [PACKED[:-1]], "breaks off"),
        ("gzip", [PACKED, PACKED], "behind its end"),
        ("gzip", [PACKED + b"x"], "behind its end"),
        ("gzip", [b"[]"], "cannot be unpacked"),
        ("br", [], "not asked for"),
        ("gzip, gzip", [], "not asked for"),
        ("deflate", [], "not asked for"),
    ],
)
def test_what_a_body_is_taken_for(encoding: str | None, pieces: list[bytes], whole: bytes | str) -> None:
    def taken() -> bytes:
        body = BoundedBody(encoding, most=100)
        for piece in pieces:
            body.take(piece)
        return body.whole()

    if isinstance(whole, bytes):
        assert taken() == whole
    else:
        with pytest.raises(BadPayload, match=whole):
            taken()


@pytest.mark.parametrize("kind", KINDS)
async def test_packed_answers_are_read(kind: str) -> None:
    me = gzip.compress(b'{"accountId":"7","displayName":"Bot","id":7,"login":"bot"}')
    async with host() as tracker:
        tracker.says("200 OK", "Content-Encoding: gzip", "Content-Type: application/json", body=me)
        connector = connector_on(kind, tracker.url)
        assert (await connector.account()).id == "7"
        tracker.says("201 Created", "Content-Encoding: gzip", body=me[:-9])
        with pytest.raises(Unanswered):
            await WRITING[0](connector, kind)
        await connector.aclose()
        assert re.search(rb"(?i)accept-encoding: gzip\r\n", tracker.heard[0])
