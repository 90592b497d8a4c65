"""What a ticket's text, labels and field are kept of, and what is bounded there."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given, settings, strategies as st

from connectors.ticket_text import Cell, Line, NamedField
from mappings.links.keys import KEY, key_words
from mappings.links.references import (
    MOST_WORDS,
    Declaration,
    looks_like_key,
    parse_references,
    read_stored,
    stored_references,
)
from tests.support.ticket_text import text_lines


def words(*lines: str, labels: tuple[str, ...] = ()) -> list[str]:
    found = parse_references(text_lines(*lines), labels)
    return [word for one in found.declarations for word in one.words]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("Key-Result: KR-12", ["KR-12"]),
        ("key-result:kr-12", ["kr-12"]),
        ("   KEY-RESULT : KR-12  ", ["KR-12"]),
        ("\u00a0Key-Result:\u00a0KR-12", ["KR-12"]),
        ("Key-Result: KR-12, KR-13,growth.2026_a", ["KR-12", "KR-13", "growth.2026_a"]),
        ("Key-Result: KR-12,, KR-13,", ["KR-12", "KR-13"]),
        ("Key-Result: KR-12.", ["KR-12"]),
        ("Key-Result: KR-12; KR-13 and KR-14", ["KR-12", "KR-13", "KR-14"]),
        ("Key-Result: KR-12!), KR-13", ["KR-12", "KR-13"]),
        ("Key-Result: KR-12, KR-13 (see wiki), KR-14", ["KR-12", "KR-13", "see", "wiki", "KR-14"]),
        ("Key-Result: KR-12 KR-13", ["KR-12", "KR-13"]),
        ("Key-Result: KR-12, -x, KR-13", ["KR-12"]),
        ("Key-Result: _KR-12, KR-13_", ["KR-12", "KR-13"]),
        ("Key-Result: a_, b_", ["a_", "b_"]),  # a key may end so
        ("Key-Result: KR-12/a, KR-13", []),
        ("Key-Result: KR-12é", []),
        ("Key-Result: https://x/KR-12", []),
        ("Key-Result: @team", []),
        ("Key-Result:", []),
        ("Key-Result: ,", []),
        ("Key-Result KR-12", []),
        ("The Key-Result: KR-12", []),
        ("> Key-Result: KR-12", []),
        ("\u212aey-Result: KR-12", []),  # the Kelvin sign is a k to some
        ("Key-Result: " + "a" * 64, ["a" * 64]),
        ("Key-Result: " + "a" * 65, []),
        ("", []),
    ],
)
def test_which_words_a_line_may_name(line: str, expected: list[str]) -> None:
    assert words(line) == expected


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ("kr:KR-12", ["KR-12"]), ("KR:kr-12", ["kr-12"]), ("kr: KR-12 ", ["KR-12"]), ("kr/KR-12", ["KR-12"]),
        ("key-result:KR-12", ["KR-12"]), ("Key-Results: KR-12, KR-13", ["KR-12", "KR-13"]),
        ("kr:KR-12,KR-13", ["KR-12", "KR-13"]), ("kr：KR-12", ["KR-12"]),
        ("kr:", []), ("xkr:KR-12", []), ("kr-12", []), ("kr", []), ("kr:" + "a" * 10_000, []),
    ],
)  # fmt: skip
def test_which_words_a_label_may_name(label: str, expected: list[str]) -> None:
    assert words(labels=(label,)) == expected


def test_each_place_is_kept_with_what_it_says() -> None:
    lines = (
        *text_lines("Key-Result: KR-1", "text", "kr = KR-2"),
        Line("Key Results", "heading"),
        *text_lines("KR-3: grow", "KR-4", "and so on, more:", "KR-5"),
        Line("Key Result", "cell", cell=Cell(0, 0, 0)),
        Line("Owner", "cell", cell=Cell(0, 0, 1)),
        Line("KR-6", "cell", cell=Cell(0, 1, 0)),
    )
    found = parse_references(lines, ["kr/KR-7", "infra"], NamedField("Goal", ("KR-8", "is: odd")))
    assert found.declarations == (
        Declaration("line", "Key-Result:", ("KR-1",)),
        Declaration("line", "kr =", ("KR-2",)),
        Declaration("heading", "Key Results", ("KR-3", "grow")),
        Declaration("under", "Key Results", ("KR-4",)),
        Declaration("under", "Key Results", ("so", "on", "more")),
        Declaration("under", "Key Results", ("KR-5",)),
        Declaration("beside", "Key Result", ("Owner",)),
        Declaration("else", "Key Result", ("KR-6",)),
        Declaration("label", "kr/KR-7", ("KR-7",)),
        Declaration("field", "Goal", ("KR-8",)),
        Declaration("field", "Goal", ("is", "odd")),
    )
    stored = stored_references(found)
    assert {"line:KR-1", "line:KR-6", "label:KR-7", "line:KR-8"} < set(stored), "found by these in the index"
    assert read_stored(stored) == found


def test_references_of_a_version_without_places_are_read() -> None:
    assert read_stored(["line:KR-1", "label:KR-2"]).declarations == (
        Declaration("line", "Key-Result:", ("KR-1",)),
        Declaration("label", "kr:KR-2", ("KR-2",)),
    )


def test_what_is_kept_is_bounded_and_prose_pushes_nothing_out() -> None:
    """Repeated prose goes before a line that is meant; too many of those are told."""
    prose = [f"KR: talk number{number} of the plan" for number in range(1_000)]
    found = parse_references(text_lines(*prose, "Key-Result: KR-1", "KR: KR-2"), ["kr:KR-3"])
    kept = [word for one in found.declarations for word in one.words]
    assert {"KR-1", "KR-2", "KR-3"} < set(kept)
    assert len(kept) <= MOST_WORDS + 10
    assert not found.more

    many = parse_references(text_lines(*(f"Key-Result: a{number}" for number in range(1_000))), ["kr:b"])
    assert many.more
    assert len(many.declarations) == MOST_WORDS + 1
    assert read_stored(stored_references(many)) == many

    one = parse_references(text_lines("Key-Results: " + ", ".join(f"KR-{n}" for n in range(1_000))), [])
    assert (len(one.declarations[0].words), one.more) == (MOST_WORDS, True)

    same = parse_references(text_lines(*["Key-Result: a"] * 1_000, "Key-Result: b"), [])
    assert [place.words for place in same.declarations] == [("a",), ("b",)]


def test_a_long_line_is_read_whole() -> None:
    assert words("Key-Result: a, " + " " * 60_000 + "b") == ["a", "b"]
    assert words("x" * 60_000 + " Key-Result: a") == []


@pytest.mark.parametrize(
    ("word", "shapes", "looks"),
    [("KR-99", (), True), ("KR_9", (), True), ("Korea", (), False), ("N/A", (), False), ("99", (), False),
     ("growth.26", ("growth.0",), True), ("Growth", ("growth",), True), ("g7h8", ("g0h0",), True),
     ("7", ("0",), True), ("7a", ("0",), False)],
)  # fmt: skip
def test_what_looks_like_a_key(word: str, shapes: tuple[str, ...], *, looks: bool) -> None:
    assert looks_like_key(word, shapes) is looks


_keys = st.from_regex(re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,20}", re.ASCII), fullmatch=True).filter(
    lambda key: key.lower() != "and"
)


@settings(deadline=None)
@given(st.lists(_keys, max_size=30), st.lists(_keys, max_size=30))
def test_what_is_written_is_kept(lines: list[str], labels: list[str]) -> None:
    found = parse_references(
        text_lines(f" key-Result: {', '.join(lines)}"), [f"Kr:{label}" for label in labels]
    )
    kept = [word.lower() for one in found.declarations for word in one.words]
    assert kept == [key.lower() for key in (*lines, *dict.fromkeys(map(str.lower, labels)))]


@settings(deadline=None)
@given(
    st.lists(st.text() | st.text().map(lambda rest: f"Key-Result:{rest}") | st.text().map("KR - {}".format)),
    st.lists(st.text() | st.text().map("kr:{}".format)),
    st.lists(st.text()),
)
@example(["Key-Result: \x00"], ["kr:\x00"], ["\ud800"])
def test_any_text_gives_only_words_of_the_form_and_is_read_as_it_was_stored(
    lines: list[str], labels: list[str], values: list[str]
) -> None:
    found = parse_references(text_lines(*lines), labels, NamedField("Goal", tuple(values)))
    assert all(KEY.fullmatch(word) for one in found.declarations for word in one.words)
    assert read_stored(stored_references(found)) == found
    assert all(len(element) <= 110 and "\n" not in element for element in stored_references(found))


@given(st.text())
def test_the_words_of_any_text_stand_in_it(text: str) -> None:
    for word in key_words(text):
        assert KEY.fullmatch(word)
        assert not text.isascii() or word in text
