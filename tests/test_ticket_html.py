"""A comment as a page shows it: the words, order and emphasis of its tracker, and nothing that acts."""

from __future__ import annotations

import json
import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from app.web.templating import templates
from connectors.document import (
    Block,
    Bullets,
    Document,
    Inline,
    Link,
    Paragraph,
    Text,
    document_as_json,
    document_from_json,
)
from connectors.markup import to_plain
from connectors.sandbox.github.page_backend import markdown
from connectors.sandbox.jira import adf
from connectors.shown import shown_adf, shown_markdown, shown_on_github, shown_on_jira, shown_plain
from tests.support.rendered_text import HOSTILE, JOINER

SNAPSHOTS = Path(__file__).parent / "snapshots"
OURS = {"div", "p", "ul", "li", "strong", "code", "a"}
EMPHASIS = {"strong", "code", "a", "li"}


def html_of(document: Document) -> str:
    macros: Any = templates.get_template("ticket.html").module
    return str(macros.says(document))


class Read(HTMLParser):
    """The words of a page in order, each stretch with the tags around it that carry meaning."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.stretches: list[tuple[str, tuple[str, ...]]] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        self._open.remove(tag)

    def handle_data(self, data: str) -> None:
        words = " ".join(data.replace(JOINER, "").split())
        around = tuple(sorted({*self._open} & EMPHASIS))
        if not words:
            return
        if self.stretches and self.stretches[-1][1] == around:
            words = f"{self.stretches.pop()[0]} {words}"
        self.stretches.append((words, around))


def check_harmless(html: str) -> None:
    for tag, attributes in Read(html).tags:
        assert tag in OURS, html
        if tag == "a":
            assert attributes["rel"] == "noreferrer"
            assert re.match(r"https?://[^/\s]", attributes["href"] or "", re.IGNORECASE), html
        assert attributes.keys() <= ({"href", "rel"} if tag == "a" else {"class", "dir"}), html


def words(document: Document) -> str:
    """Without what only says where a link leads, and without blanks."""
    return "".join("".join(value for value in _values(document)).split())


def _values(document: Document) -> list[str]:
    lines = [line for block in document.blocks for line in _lines(block)]
    return [one.label if isinstance(one, Link) else one.value for line in lines for one in line]


def _lines(block: Block) -> tuple[tuple[Inline, ...], ...]:
    return (block.content,) if isinstance(block, Paragraph) else block.items


@pytest.mark.parametrize("name", sorted(path.stem for path in SNAPSHOTS.glob("*.md")))
def test_each_text_is_shown_as_by_the_simulated_trackers(name: str) -> None:
    """The same words, order and emphasis as on the pages of trackers that share no code with this."""
    body = (
        f"<!-- northing:notice -->\n<!-- northing:id i/1 ab -->\n\n{(SNAPSHOTS / f'{name}.md').read_text()}"
    )
    stored = json.loads((SNAPSHOTS / f"{name}.adf.json").read_text())
    on_github, on_jira = shown_markdown(body), shown_adf(stored)
    assert Read(html_of(on_github)).stretches == Read(str(markdown(body))).stretches
    assert Read(html_of(on_jira)).stretches == Read(str(adf.to_html(stored))).stretches
    assert words(on_github) == words(on_jira)
    for shown in (on_github, on_jira):
        check_harmless(html_of(shown))
        assert document_from_json(json.loads(json.dumps(document_as_json(shown)))) == shown


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        ("<!-- northing:notice -->\n<!-- northing:id a/1 ff -->\n\nHello", ["Hello"]),
        ("a <!-- not shown --> b", ["a b"]),
        ("<script>alert(1)</script>", ["<script>alert(1)</script>"]),
        ('<img src=x onerror="alert(1)">', ['<img src=x onerror="alert(1)">']),
        ("[x](javascript:alert(1))", ["[x](javascript:alert(1))"]),
        ("[x](ftp://evil.example) [y](https://ok.example)", ["x", "y"]),
        ("![a picture](https://evil.example/i.png)", ["a picture"]),
        ("# A heading\n\n> a quotation", ["A heading", "a quotation"]),
        ("1. one\n2. two\n   - three", ["one", "two", "three"]),
        ("```\ncode <b>\n```", ["code <b>"]),
        ("&lt;b&gt; \\*star\\*", ["<b> *star*"]),
        ("", []),
    ],
)
def test_what_we_do_not_write_is_shown_as_words(body: str, shown: list[str]) -> None:
    html = html_of(shown_markdown(body))
    check_harmless(html)
    found = [words for words, _ in Read(html).stretches]
    assert " ".join(found) == " ".join(shown)


@pytest.mark.parametrize(
    "stored",
    [
        None, [], "text", {}, {"content": None}, {"content": ["x", None, 3]},
        {"content": [{"type": "paragraph", "content": [{"type": "text"}, {"text": 5}]}]},
        {"content": [{"type": "paragraph", "content": [{"text": "x", "marks": "strong"}]}]},
        {"content": [{"type": "paragraph", "content": [
            {"type": "text", "text": "x", "marks": [{"type": "link"}]}]}]},
        {"content": [{"type": "paragraph", "content": [
            {"type": "text", "text": "x", "marks": [
                {"type": "link", "attrs": {"href": "javascript:x()"}}]}]}]},
    ],
)  # fmt: skip
def test_a_document_of_another_shape_shows_what_it_has(stored: Any) -> None:
    shown = shown_adf(stored)
    assert not any(isinstance(one, Link) for block in shown.blocks for line in _lines(block) for one in line)
    check_harmless(html_of(shown))


def test_a_document_nested_beyond_sense_is_cut() -> None:
    node: dict[str, Any] = {"type": "text", "text": "deep"}
    for _ in range(5_000):
        node = {"type": "bulletList", "content": [node]}
    assert shown_adf({"type": "doc", "content": [node]}) == Document(())


def test_words_alone_are_shown_as_lines_and_lists() -> None:
    document = Document((Paragraph((Text("Which?", "strong"),)), Bullets(((Text("a"),), (Text("b"),)))))
    assert shown_plain(to_plain(document)) == Document(
        (Paragraph((Text("Which?"),)), Bullets(((Text("a"),), (Text("b"),))))
    )


texts = st.one_of(st.text(max_size=30), st.sampled_from(HOSTILE))
inlines = st.one_of(
    st.builds(Text, texts, st.sampled_from(["plain", "strong", "code", "key"])),
    st.builds(Link, texts, st.one_of(texts, st.just("https://ok.example/a?b=1&c=2"))),
)
lines = st.lists(inlines, max_size=4).map(tuple)
documents = st.builds(
    Document,
    st.lists(
        st.one_of(st.builds(Paragraph, lines, st.booleans()), st.builds(Bullets, st.lists(lines).map(tuple))),
        max_size=4,
    ).map(tuple),
)


@given(documents)
def test_no_text_becomes_a_tag_an_attribute_or_an_address(document: Document) -> None:
    on_github, on_jira = shown_on_github(document), shown_on_jira(document)
    for shown in (on_github, on_jira):
        html = html_of(shown)
        check_harmless(html)
        assert words(shown) == "".join(
            "".join(unescape(stretch).split()) for stretch in re.sub(r"<[^>]*>", "", html).split()
        )
    assert words(on_github) == words(on_jira)


@given(st.one_of(st.text(max_size=200), st.sampled_from(HOSTILE)))
def test_no_stored_text_becomes_a_tag_an_attribute_or_an_address(body: str) -> None:
    check_harmless(html_of(shown_markdown(body)))
    check_harmless(html_of(shown_plain(body)))
