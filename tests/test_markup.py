"""The comment text: hostile words stay words, in every renderer."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, strategies as st
from markdown_it.token import Token

from connectors import markup
from connectors.document import Block, Bullets, Document, Inline, Link, Paragraph, Text
from tests.support.adf import adf_problems
from tests.support.rendered_text import HOSTILE, JOINER, PARSER, REFERENCE, plain_runs


def paragraph(*content: Inline, small: bool = False) -> Document:
    return Document((Paragraph(content, small),))


def shown(inline: Inline) -> str:
    """What a reader should see of one piece, before blanks are folded."""
    return markup.clean(inline.label).strip() if isinstance(inline, Link) else inline.value


def expected(document: Document) -> list[str]:
    lines = []
    for block in document.blocks:
        for content in [block.content] if isinstance(block, Paragraph) else block.items:
            line = markup.clean(" ".join("".join(map(shown, content)).split(" "))).strip()
            lines.append(line)
    return [line for line in lines if line]


def seen(tokens: list[Token]) -> list[str]:
    """The visible text of each line of the parsed Markdown, code included."""
    return [
        "".join(child.content for child in token.children or () if child.type in {"text", "code_inline"})
        .replace(JOINER, "")
        .strip()
        for token in tokens
        if token.type == "inline"
    ]


def allowed(document: Document) -> set[str]:
    """The token types the model itself asks for."""
    types = {"inline", "text", "paragraph_open", "paragraph_close", "code_inline"}
    for block in document.blocks:
        if isinstance(block, Bullets):
            types |= {"bullet_list_open", "bullet_list_close", "list_item_open", "list_item_close"}
        elif block.small:
            types.add("html_inline")
        for content in [block.content] if isinstance(block, Paragraph) else block.items:
            for inline in content:
                if isinstance(inline, Link):
                    types |= {"link_open", "link_close"}
                elif inline.style == "strong":
                    types |= {"strong_open", "strong_close"}
    return types


def check_markdown(document: Document) -> None:
    rendered = markup.to_markdown(document)
    tokens = PARSER.parse(rendered)
    flat = [*tokens, *(child for token in tokens for child in token.children or ())]
    assert {token.type for token in flat} <= allowed(document), rendered
    assert {t.content for t in flat if t.type == "html_inline"} <= {"<sub>", "</sub>"}, rendered
    assert seen(tokens) == expected(document), rendered
    for run in plain_runs(tokens):
        assert not REFERENCE.search(run), (run, rendered)


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("style", ["plain", "strong", "link", "between", "item", "small"])
def test_hostile_words_are_shown_as_typed(text: str, style: str) -> None:
    check_markdown(
        {
            "plain": paragraph(Text(text)),
            "strong": paragraph(Text("a"), Text(text, "strong"), Text("b")),
            "link": paragraph(Text("see!"), Link(text or "x", "https://northing.example/e/1"), Text("(x)")),
            "between": paragraph(Text("Key"), Text(text), Text("Key-Result: KR-1", "code"), Text(text)),
            "item": Document((Bullets(((Text(text),), (Text(text, "strong"), Text(text)))),)),
            "small": paragraph(Text(text), Link("page", "https://northing.example"), small=True),
        }[style]
    )


words = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from(list("@#:.<>[]()!*_`~|\\/&$-+=^{} \n\r\t1a0fG")),
    ),
    max_size=30,
)
seasoned = st.one_of(words, st.builds("".join, st.lists(st.sampled_from([*HOSTILE, " ", "a"]), max_size=3)))
texts = st.builds(Text, seasoned, st.sampled_from(["plain", "strong", "code"]))
links = st.builds(
    Link, seasoned.filter(lambda s: markup.clean(s).strip()), st.just("https://n.example/e/1?a=1&b=2")
)
contents = st.lists(st.one_of(texts, links), min_size=1, max_size=4).map(tuple)
blocks: st.SearchStrategy[Block] = st.one_of(
    st.builds(Paragraph, contents, st.booleans()),
    st.builds(Bullets, st.lists(contents, min_size=1, max_size=3).map(tuple)),
)
documents = st.builds(Document, st.lists(blocks, max_size=4).map(tuple))


def _without_code(document: Document) -> Document:
    """Blanks around code are the author's own and not folded, so the text property leaves code out."""

    def keep(content: tuple[Inline, ...]) -> tuple[Inline, ...]:
        return tuple(i for i in content if isinstance(i, Link) or i.style != "code")

    return Document(
        tuple(
            Bullets(tuple(keep(item) for item in block.items))
            if isinstance(block, Bullets)
            else Paragraph(keep(block.content), block.small)
            for block in document.blocks
        )
    )


@given(documents)
def test_any_document_parses_to_its_own_words_only(document: Document) -> None:
    check_markdown(_without_code(document))


@given(words.filter(lambda s: markup.clean(s).strip()))
def test_code_spans_stay_exactly_copyable(code: str) -> None:
    rendered = markup.to_markdown(paragraph(Text("Type "), Text(code, "code"), Text(" there.")))
    children = next(t for t in PARSER.parse(rendered) if t.type == "inline").children or []
    assert [c.content for c in children if c.type == "code_inline"] == [markup.clean(code)]


@pytest.mark.parametrize(
    ("code", "markdown"),
    [
        ("Key-Result: KR-12", "`Key-Result: KR-12`"),
        ("/northing waive until 2026-12-31 because …", "`/northing waive until 2026-12-31 because …`"),
        ("a`b", "``a`b``"),
        ("`a", "`` `a ``"),
        (" a ", "`  a  `"),
        ("@octocat #1", "`@octocat #1`"),
    ],
)
def test_code_span_table(code: str, markdown: str) -> None:
    assert markup.to_markdown(paragraph(Text(code, "code"))) == markdown


def test_strong_words_hold_a_joiner_only_where_markdown_needs_one() -> None:
    strong = Text("“a?”", "strong")
    assert markup.to_markdown(paragraph(strong)) == "**“a?”**"
    assert markup.to_markdown(paragraph(Text("x "), strong, Text(" y"))) == "x **“a?”** y"
    assert markup.to_markdown(paragraph(Text("x"), strong, Text("y"))) == f"x**{JOINER}“a?”{JOINER}**y"


def test_markdown_of_a_whole_comment() -> None:
    document = Document(
        (
            Paragraph((Text("No key result", "strong"), Text(" is linked. R&D saves $5."))),
            Bullets(
                ((Link("KR-12", "https://n.example/kr/KR 12>"), Text(": shop (2026)")), (Text("1. two"),))
            ),
            Paragraph((Text("Type "), Text("Key-Result: KR-12", "code"))),
            Paragraph((Text("no-key-result"),), small=True),
            Paragraph((Text("  "),)),
        )
    )
    assert markup.to_markdown(document) == (
        "**No key result** is linked. R\\&D saves \\$5.\n\n"
        "- [KR-12](<https://n.example/kr/KR%2012%3E>): shop (2026)\n- 1\\. two\n\n"
        "Type `Key-Result: KR-12`\n\n"
        "<sub>no-key-result</sub>"
    )
    assert markup.to_plain(document) == (
        "No key result is linked. R&D saves $5.\n\n"
        "- KR-12 (https://n.example/kr/KR%2012%3E): shop (2026)\n- 1. two\n\n"
        "Type Key-Result: KR-12\n\n"
        "no-key-result"
    )


@pytest.mark.parametrize("url", ["javascript:alert(1)", "//evil.example", "https://", "data:text/html,x", ""])
def test_a_link_elsewhere_than_the_web_is_only_its_label(url: str) -> None:
    assert markup.to_markdown(paragraph(Link("label", url))) == "label"
    assert "marks" not in json.dumps(markup.to_adf(paragraph(Link("label", url))))


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_words_in_adf(text: str) -> None:
    document = Document(
        (Paragraph((Text(text), Text(text, "code")), small=True), Bullets(((Text(text, "strong"),),)))
    )
    adf = markup.to_adf(document)
    assert adf_problems(adf) == []
    json.dumps(adf, ensure_ascii=False).encode()  # fails for half of a surrogate pair


@given(documents)
def test_any_document_passes_the_adf_schema(document: Document) -> None:
    adf = markup.to_adf(document)
    assert adf_problems(adf) == []
    for node in _text_nodes(adf):
        assert node["text"]
        assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]", node["text"])
        marks = {mark["type"] for mark in node.get("marks", [])}
        assert "code" not in marks or marks <= {"code", "link"}


def _text_nodes(node: dict[str, Any]) -> list[dict[str, Any]]:
    if node["type"] == "text":
        return [node]
    return [found for child in node.get("content", []) for found in _text_nodes(child)]


def test_adf_of_each_piece() -> None:
    document = Document(
        (
            Paragraph(
                (Text("a "), Text("b", "strong"), Text("c", "code"), Link("d", "https://n.example")), True
            ),
            Bullets(((Text("x"),),)),
        )
    )
    sub = {"type": "subsup", "attrs": {"type": "sub"}}
    assert markup.to_adf(document)["content"] == [
        {
            "type": "paragraph",
            "content": [
                {"type": "text", "text": "a ", "marks": [sub]},
                {"type": "text", "text": "b", "marks": [{"type": "strong"}, sub]},
                {"type": "text", "text": "c", "marks": [{"type": "code"}]},
                {
                    "type": "text",
                    "text": "d",
                    "marks": [{"type": "link", "attrs": {"href": "https://n.example"}}, sub],
                },
            ],
        },
        {
            "type": "bulletList",
            "content": [
                {
                    "type": "listItem",
                    "content": [{"type": "paragraph", "content": [{"type": "text", "text": "x"}]}],
                }
            ],
        },
    ]


@pytest.mark.parametrize(
    "document",
    [
        paragraph(Text("故" * 100_000), Text("Key-Result: KR-1", "code")),
        paragraph(*[Text("*" * 900, "strong"), Text(" x ")] * 400),
        Document((Bullets(((Link("l" * 5_000, "https://n.example"),),) * 200),)),
        Document((Paragraph((Text("a" * 50),)),) * 3_000),
    ],
    ids=["one long text", "many texts", "long list", "many blocks"],
)
def test_bodies_fit_their_trackers(document: Document) -> None:
    assert 0 < len(markup.to_markdown(document)) <= markup.MARKDOWN_LIMIT
    adf = markup.to_adf(document)
    assert adf["content"]
    assert len(json.dumps(adf)) <= markup.ADF_LIMIT


def test_cutting_leaves_the_lines_to_type_whole() -> None:
    cut = markup.to_adf(paragraph(Text("故" * 100_000), Text("Key-Result: KR-1", "code")))
    assert cut["content"][0]["content"][-1]["text"] == "Key-Result: KR-1"


@pytest.mark.parametrize(
    ("raw", "kept"),
    [("a\x00b", "ab"), ("\ud83d", "?"), ("two\nlines", "two\nlines"), ("\u200b故事", "\u200b故事")],
)
def test_storable_keeps_all_a_database_takes(raw: str, kept: str) -> None:
    assert markup.storable(raw) == kept


@given(st.lists(words, min_size=2, max_size=4))
def test_pieces_of_one_style_read_as_one_text(parts: list[str]) -> None:
    whole = markup.to_markdown(paragraph(Text("".join(parts))))
    assert markup.to_markdown(paragraph(*map(Text, parts))) == whole
    assert not any(a == b == JOINER for a, b in pairwise(whole))


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("SHOP-1", "SHOP-1"),
        ("a\n\x1b[31mb\u202ec\x9bd\0", "a [31mbcd"),
        ("\ud800", "\ufffd"),
        ("x" * 5_000_000, "x" * 79 + "…"),
        ("x" * 80, "x" * 80),
        (None, "None"),
        (1.9, "1.9"),
        (10**60, "1" + "0" * 17 + "..." + "0" * 19),
        (["a"] * 1_000_000, "['a', 'a', 'a', 'a', 'a', 'a', ...]"),
        ({"a": ["\x1b" * 5_000_000]}, None),
        (ValueError("no " + "x" * 5_000_000), "ValueError no " + "x" * 65 + "…"),
        (KeyError("key\n"), "KeyError key"),
        (ValueError(), "ValueError"),
        ([[[[[[[["deep"]]]]]]]], "[[[[[[[...]]]]]]]"),
    ],
)
def test_what_is_quoted_is_one_bounded_line(value: object, shown: str | None) -> None:
    words = markup.quoted(value)
    assert shown in (None, words)
    assert len(words) <= 80
    assert markup.clean(words) == words
    assert words.isprintable()
