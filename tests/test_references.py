"""Which key results a ticket's text names."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mappings.links.keys import KEY
from mappings.links.references import Reference, parse_references
from tests.support.ticket_text import text_lines


def keys(*lines: str, labels: tuple[str, ...] = ()) -> list[str]:
    return [reference.key for reference in parse_references(text_lines(*lines), labels)]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Key-Result: KR-12", ["KR-12"]),
        ("key-result:kr-12", ["kr-12"]),
        ("   KEY-RESULT : KR-12  ", ["KR-12"]),
        ("\u00a0Key-Result:\u00a0KR-12", ["KR-12"]),
        ("Key-Result: KR-12, KR-13,growth.2026_a", ["KR-12", "KR-13", "growth.2026_a"]),
        ("Key-Result: KR-12,, KR-13,", ["KR-12", "KR-13"]),
        ("Key-Result: KR-12, kr-12, KR-13", ["KR-12", "KR-13"]),
        ("Key-Result: KR-12.", ["KR-12"]),
        ("Key-Result: KR-12; KR-13", ["KR-12"]),
        ("Key-Result: KR-12!), KR-13", ["KR-12", "KR-13"]),
        ("Key-Result: KR-12, KR-13 (see wiki), KR-14", ["KR-12", "KR-13"]),
        ("Key-Result: KR-12 KR-13", ["KR-12"]),
        ("Key-Result: KR-12 first, KR-13", ["KR-12"]),
        ("Key-Result: KR-12, -x, KR-13", ["KR-12"]),
        ("Key-Result: KR-12/a, KR-13", []),
        ("Key-Result: KR-12é", []),
        ("Key-Result: https://x/KR-12", []),
        ("Key-Result: @team", []),
        ("Key-Result:", []),
        ("Key-Result: ,", []),
        ("Key-Result KR-12", []),
        ("Key Result: KR-12", []),
        ("The Key-Result: KR-12", []),
        ("> Key-Result: KR-12", []),
        ("\u212aey-Result: KR-12", []),  # the Kelvin sign is a k to some
        ("Key-Results: KR-12", []),
        ("Key-Result: " + "a" * 64, ["a" * 64]),
        ("Key-Result: " + "a" * 65, []),
        ("", []),
    ],
)
def test_which_keys_a_line_names(line: str, expected: list[str]) -> None:
    assert keys(line) == expected


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("kr:KR-12", ["KR-12"]),
        ("KR:kr-12", ["kr-12"]),
        ("kr: KR-12 ", ["KR-12"]),
        ("kr:KR-12,KR-13", []),
        ("kr:", []),
        ("xkr:KR-12", []),
        ("kr-12", []),
        ("kr:KR-12 and more", []),
        ("kr:" + "a" * 10_000, []),
    ],
)
def test_which_key_a_label_names(label: str, expected: list[str]) -> None:
    assert keys(labels=(label,)) == expected


def test_several_lines_hold_and_the_first_naming_stays() -> None:
    found = parse_references(
        text_lines("Key-Result: KR-1", "text", "key-result: KR-2, kr-1"), ["kr:kr-2", "kr:KR-3"]
    )
    assert found == (Reference("KR-1", "line"), Reference("KR-2", "line"), Reference("KR-3", "label"))


def test_no_more_than_twenty() -> None:
    many = ", ".join(f"KR-{number}" for number in range(50))
    assert keys(f"Key-Result: {many}") == [f"KR-{number}" for number in range(20)]
    lines = text_lines(*(f"Key-Result: a{n}" for n in range(100_000)))
    found = parse_references(lines, ["kr:b"])
    assert [reference.key for reference in found] == [f"a{n}" for n in range(20)]
    assert next(lines) == "Key-Result: a20", "the rest is not looked at"
    assert keys("Key-Result: a, A", *["Key-Result: a"] * 50, "Key-Result: b") == ["a", "b"]


def test_a_cut_line_names_no_half_key() -> None:
    line = "Key-Result: a," + " " * 3_980 + "KR-123456"
    assert keys(line) == ["a"]
    assert keys("Key-Result: " + "a" * 5_000) == []
    assert keys("Key-Result:" + "a" * 5_000) == []
    assert keys("Key-Result:" + " " * 3_982 + "KR-123456") == []
    assert keys("Key-Result: a," + " " * 3_980 + "KR-12") == ["a", "KR-12"]  # 3,999 characters


@pytest.mark.parametrize(("blanks", "expected"), [(3_983, ["a", "b"]), (3_984, ["a", "b"]), (3_985, ["a"])])
def test_a_line_of_4_000_characters_is_read_whole(blanks: int, expected: list[str]) -> None:
    line = "Key-Result: a, " + " " * blanks + "b"
    assert len(line) - blanks == 16
    assert keys(line) == expected


def test_of_a_long_label_the_first_4_000_characters_are_read() -> None:
    assert keys(labels=("kr:" + " " * 3_996 + "a",)) == ["a"]
    assert keys(labels=("kr:" + " " * 3_997 + "a",)) == []


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (" " * 10**7 + "Key-Result: KR-1, KR-2", []),
        ("Key-Result:" + "," * 10**7 + "KR-1,", []),
        ("Key-Result: " + "a,b" * 10**6, ["a", "ba"]),
    ],
    ids=["blanks", "commas", "keys"],
)
def test_of_a_huge_line_only_the_start_is_read(line: str, expected: list[str]) -> None:
    assert keys(line) == expected


_keys = st.from_regex(re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,20}", re.ASCII), fullmatch=True)


@settings(deadline=None)
@given(st.lists(_keys, max_size=30), st.lists(_keys, max_size=30))
def test_what_is_written_is_found(lines: list[str], labels: list[str]) -> None:
    found = parse_references(
        text_lines(f" key-Result: {', '.join(lines)}"), [f"Kr:{label}" for label in labels]
    )
    expected_value = list(dict.fromkeys(key.lower() for key in lines + labels))[:20]
    assert [reference.key.lower() for reference in found] == expected_value


@settings(deadline=None)
@given(st.lists(st.text() | st.text().map(lambda rest: f"Key-Result:{rest}")), st.lists(st.text()))
def test_any_text_gives_only_keys(lines: list[str], labels: list[str]) -> None:
    found = parse_references(text_lines(*lines), labels)
    assert len(found) <= 20
    assert all(KEY.fullmatch(reference.key) for reference in found)
    assert len({reference.key.lower() for reference in found}) == len(found)
