"""Which payloads and lines may hold a command: only these cost a request to the tracker."""

from __future__ import annotations

import json
from urllib.parse import urlencode

import pytest
from hypothesis import given, strategies as st

from mappings.commands.met import may_hold_command

FOR_US = [
    "/northing link KR-1",
    "/Northing link KR-1",
    "Thanks.\n\n/NORTHING snooze 14d",
    "northing link KR-1",
    "Key-Result: KR-1",
    "key result KR-1",
    "KEY RESULTS: KR-1, KR-2",
    "**Key Result:** KR-1",
    "key\u00a0result: KR-1",
    "Key\u2011Result: KR-1",
    "@okr-bot link KR-1",
    "Hello\n@okr-bot link KR-1",
    "[~accountid:5b10a2844c20165700ede21g] link KR-1",
]
FOR_OTHERS = [
    "I will look into it.",
    "We will keep the resulting files.",
    "Ask ada@acme.example about it.",
    "Thanks, @ada",
    "",
]


def forms(text: str) -> list[bytes]:
    """The text itself, and within JSON, escaped or not, in a form, and in both."""
    payload = {"action": "created", "comment": {"id": 7, "body": text}}
    plain = json.dumps(payload, ensure_ascii=False)
    return [
        text.encode(),
        plain.encode(),
        json.dumps(payload).encode(),
        urlencode({"payload": plain}).encode(),
        urlencode({"payload": json.dumps(payload)}).encode(),
    ]


@pytest.mark.parametrize("text", FOR_US)
def test_what_may_be_for_us_is_found_however_it_is_escaped(text: str) -> None:
    assert [may_hold_command(form) for form in forms(text)] == [True] * 5


@pytest.mark.parametrize("text", FOR_OTHERS)
def test_what_is_for_others_costs_nothing(text: str) -> None:
    assert [may_hold_command(form) for form in forms(text)] == [False] * 5


@given(st.text(max_size=200), st.text(max_size=200))
def test_whatever_stands_around_it(before: str, after: str) -> None:
    for form in forms(f"{before}\n/northing help\n{after}"[:400] + "\n/northing help"):
        assert may_hold_command(form)


@pytest.mark.parametrize("piece", ["key", "key%20", "\\u0020", '"   ', "%22%20", "\n", "\\n", "keyresul"])
def test_no_text_makes_it_slow(piece: str) -> None:
    """Texts that begin a match again and again, and end none: these would take hours of a worse pattern."""
    assert not may_hold_command(piece.encode() * 200_000)
