"""The simulated Jira takes and refuses documents as Atlassian's schema does."""

from typing import Any

import pytest

from connectors.sandbox.jira import adf
from tests.support.adf import adf_problems, our_adf_problems, vendors_adf_problems
from tests.support.beside import needs_fixtures

TEXT = {"type": "text", "text": "x"}


def doc(*content: object) -> dict[str, Any]:
    return {"type": "doc", "version": 1, "content": list(content)}


def para(*content: object) -> dict[str, Any]:
    return {"type": "paragraph", "content": list(content)}


def marked(*marks: object) -> dict[str, Any]:
    return {**TEXT, "marks": list(marks)}


STRONG, CODE = {"type": "strong"}, {"type": "code"}
LINK = {"type": "link", "attrs": {"href": "https://acme.example"}}
ITEM = {"type": "listItem", "content": [para(TEXT)]}
NESTED = {"type": "listItem", "content": [para(TEXT), {"type": "bulletList", "content": [ITEM]}]}
HEADING = {"type": "heading", "attrs": {"level": 2}, "content": [TEXT]}

GOOD = {
    "nothing": doc(),
    "paragraph": doc(para(TEXT)),
    "empty paragraph": doc({"type": "paragraph"}),
    "hard break": doc(para(TEXT, {"type": "hardBreak"}, TEXT)),
    "marks": doc(para(marked(STRONG, {"type": "em"}), marked(CODE, LINK))),
    "heading": doc(HEADING),
    "lists": doc({"type": "bulletList", "content": [ITEM]}, {"type": "orderedList", "content": [ITEM]}),
    "nested list": doc({"type": "bulletList", "content": [NESTED]}),
    "code": doc({"type": "codeBlock", "attrs": {"language": "text"}, "content": [TEXT]}),
    "panel": doc({"type": "panel", "attrs": {"panelType": "info"}, "content": [para(TEXT)]}),
    "quote and rule": doc({"type": "blockquote", "content": [para(TEXT)]}, {"type": "rule"}),
    "mention": doc(para({"type": "mention", "attrs": {"id": "5b1", "text": "@x"}})),
    "card": doc(para({"type": "inlineCard", "attrs": {"url": "https://acme.example"}})),
}
BAD: dict[str, Any] = {
    "text": "words",
    "null": None,
    "list": [],
    "no version": {"type": "doc", "content": []},
    "other version": {"type": "doc", "version": 2, "content": []},
    "no content": {"type": "doc", "version": 1},
    "not a doc": {"type": "paragraph", "version": 1, "content": []},
    "more members": {**doc(), "x": 1},
    "empty text": doc(para({"type": "text", "text": ""})),
    "text at the top": doc(TEXT),
    "bare string": doc(para("x")),
    "code with strong": doc(para(marked(CODE, STRONG))),
    "unknown mark": doc(para(marked({"type": "blink"}))),
    "link without target": doc(para(marked({"type": "link", "attrs": {}}))),
    "unknown node": doc({"type": "marquee"}),
    "heading without level": doc({"type": "heading", "content": [TEXT]}),
    "heading of level 7": doc({"type": "heading", "attrs": {"level": 7}, "content": [TEXT]}),
    "heading in an item": doc(
        {"type": "bulletList", "content": [{"type": "listItem", "content": [HEADING]}]}
    ),
    "empty list": doc({"type": "bulletList", "content": []}),
    "paragraph in a list": doc({"type": "bulletList", "content": [para(TEXT)]}),
    "marks in code": doc({"type": "codeBlock", "content": [marked(STRONG)]}),
    "panel of no kind": doc({"type": "panel", "attrs": {"panelType": "loud"}, "content": [para(TEXT)]}),
    "mention of nobody": doc(para({"type": "mention", "attrs": {"text": "@x"}})),
    "break with content": doc(para({"type": "hardBreak", "content": [TEXT]})),
}


@pytest.mark.parametrize("name", GOOD)
def test_good_documents(name: str) -> None:
    assert adf.is_document(GOOD[name])
    assert our_adf_problems(GOOD[name]) == []


@pytest.mark.parametrize("name", BAD)
def test_bad_documents(name: str) -> None:
    assert not adf.is_document(BAD[name])
    assert our_adf_problems(BAD[name]) != []


@needs_fixtures
def test_atlassians_own_schema_agrees() -> None:
    assert [name for name in GOOD if vendors_adf_problems(GOOD[name])] == []
    assert [name for name in BAD if not vendors_adf_problems(BAD[name])] == []


@pytest.mark.parametrize("text", ["", "one", "one\n\ntwo\r\nthree", "<b> & \u0000 𝔘"])
def test_documents_made_from_text(text: str) -> None:
    document = adf.from_text(text)
    assert adf.is_document(document)
    assert adf_problems(document) == []
    assert adf.to_text(document) == "\n".join(line for line in text.replace("\r", "").split("\n") if line)
