"""The Atlassian Document Format in the simulated Jira: checked, made from text, rendered as text or HTML.

The check knows the nodes that comments and descriptions consist of and refuses what Jira refuses. The full
schema is Atlassian's (`@atlaskit/adf-schema`); a test compares the check with it.
"""

from __future__ import annotations

from typing import Any

from markupsafe import Markup, escape

Json = dict[str, Any]

INLINE = frozenset({"text", "hardBreak", "mention", "emoji", "inlineCard", "date", "status"})
LISTS = frozenset({"bulletList", "orderedList"})
PLAIN = frozenset({"paragraph", "codeBlock"}) | LISTS
BLOCKS = PLAIN | {"heading", "rule", "blockquote", "panel"}

CHILDREN: dict[str, frozenset[str]] = {
    "doc": BLOCKS,
    "paragraph": INLINE,
    "heading": INLINE,
    "bulletList": frozenset({"listItem"}),
    "orderedList": frozenset({"listItem"}),
    "listItem": PLAIN,
    "blockquote": PLAIN,
    "panel": PLAIN | {"heading", "rule"},
    "codeBlock": frozenset({"text"}),
}
NEEDS_CONTENT = LISTS | {"listItem", "blockquote", "panel"}
LEAVES = (INLINE | {"rule"}) - {"text"}
NEEDED_ATTRIBUTE = {
    "heading": "level",
    "panel": "panelType",
    "mention": "id",
    "emoji": "shortName",
    "date": "timestamp",
    "status": "text",
    "inlineCard": "url",
    "link": "href",
}
MARKS = frozenset({"strong", "em", "strike", "underline", "code", "link", "subsup", "textColor"})
PANELS = frozenset({"info", "note", "tip", "warning", "error", "success", "custom"})
MARK_TAGS = {"strong": "strong", "em": "em", "strike": "s", "underline": "u", "code": "code"}
BLOCK_TAGS = {
    "paragraph": "p",
    "bulletList": "ul",
    "orderedList": "ol",
    "listItem": "li",
    "blockquote": "blockquote",
}
MEMBERS = frozenset({"type", "attrs", "content", "marks"})


def is_document(value: Any) -> bool:
    """Whether Jira would accept `value` as the body of a comment or as a description."""
    if (
        not isinstance(value, dict)
        or value.get("type") != "doc"
        or set(value) != {"type", "version", "content"}
    ):
        return False
    if value["version"] != 1 or isinstance(value["version"], bool):
        return False
    return _children_fit(value, value["content"])


def _fits(node: Any, parent: str) -> bool:
    if not isinstance(node, dict) or node.get("type") not in CHILDREN[parent]:
        return False
    kind = node["type"]
    if not _attributes_fit(node):
        return False
    if kind == "text":
        return set(node) <= {"type", "text", "marks"} and _text_fits(node, parent)
    if not set(node) <= MEMBERS or node.get("marks"):
        return False
    if kind in LEAVES:
        return "content" not in node
    return _children_fit(node, node.get("content", [])) and not (
        kind in NEEDS_CONTENT and not node.get("content")
    )


def _children_fit(node: Json, content: Any) -> bool:
    return isinstance(content, list) and all(_fits(child, node["type"]) for child in content)


def _attributes_fit(node: Json) -> bool:
    kind, attributes = node["type"], node.get("attrs", {})
    if not isinstance(attributes, dict):
        return False
    needed = NEEDED_ATTRIBUTE.get(kind)
    if needed and needed not in attributes:
        return False
    if kind == "heading":
        return attributes["level"] in range(1, 7)
    if kind == "panel":
        return attributes["panelType"] in PANELS
    return True


def _text_fits(node: Json, parent: str) -> bool:
    marks = node.get("marks", [])
    if not isinstance(node.get("text"), str) or not node["text"] or not isinstance(marks, list):
        return False
    if parent == "codeBlock" and marks:
        return False
    if not all(isinstance(mark, dict) and mark.get("type") in MARKS for mark in marks):
        return False
    kinds = [mark["type"] for mark in marks]
    if "code" in kinds and not set(kinds) <= {"code", "link"}:
        return False
    return all(_attributes_fit(mark) for mark in marks if mark["type"] == "link")


def from_text(text: str) -> Json:
    """A document with one paragraph for each line that is not empty, and a code block for the lines between
    fences, as Jira's editor makes them."""
    content: list[Json] = []
    code: list[str] | None = None
    for line in text.replace("\r\n", "\n").split("\n"):
        if line.strip().startswith("```"):
            if code:
                content.append({"type": "codeBlock", "content": [{"type": "text", "text": "\n".join(code)}]})
            code = [] if code is None else None
        elif code is not None:
            code.append(line)
        elif line.strip():
            content.append(paragraph(line))
    if code:
        content.append({"type": "codeBlock", "content": [{"type": "text", "text": "\n".join(code)}]})
    return {"type": "doc", "version": 1, "content": content}


def paragraph(text: str) -> Json:
    return {"type": "paragraph", "content": [{"type": "text", "text": text}]}


def to_text(node: Json) -> str:
    """The text of a document, with one line for each paragraph, list item or hard break."""
    kind = node.get("type")
    if kind == "text":
        return str(node.get("text", ""))
    if kind == "hardBreak":
        return "\n"
    if kind in INLINE:
        return _leaf_text(node)
    between = "" if kind in {"paragraph", "heading", "codeBlock"} else "\n"
    return between.join(to_text(child) for child in node.get("content", []))


def _leaf_text(node: Json) -> str:
    attributes = node.get("attrs", {})
    return str(attributes.get("text") or attributes.get("url") or attributes.get("shortName") or "")


def to_html(node: Json) -> Markup:
    """Safe HTML: all text is escaped, and only http, https and mailto links stay links."""
    kind = str(node.get("type"))
    if kind == "text":
        return _text_html(node)
    if kind in {"hardBreak", "rule"}:
        return Markup("<br>") if kind == "hardBreak" else Markup("<hr>")
    if kind in INLINE:
        return escape(_leaf_text(node))
    inner = Markup("").join(to_html(child) for child in node.get("content", []))
    if kind == "codeBlock":
        return Markup("<pre><code>{}</code></pre>").format(inner)
    if kind == "heading":
        return Markup("<h4>{}</h4>").format(inner)
    if kind == "panel":
        return Markup('<div class="panel">{}</div>').format(inner)
    tag = BLOCK_TAGS.get(kind)
    return Markup("<{0}>{1}</{0}>").format(Markup(tag), inner) if tag else inner  # noqa: S704  # a fixed name


def _text_html(node: Json) -> Markup:
    html = escape(node.get("text", ""))
    for mark in node.get("marks", []):
        tag = MARK_TAGS.get(mark.get("type"))
        href = str(mark.get("attrs", {}).get("href", ""))
        if tag:
            html = Markup("<{0}>{1}</{0}>").format(Markup(tag), html)  # noqa: S704  # a fixed name
        elif mark.get("type") == "subsup":
            tag = "sup" if mark.get("attrs", {}).get("type") == "sup" else "sub"
            html = Markup("<{0}>{1}</{0}>").format(Markup(tag), html)  # noqa: S704  # a fixed name
        elif mark.get("type") == "link" and href.startswith(("https://", "http://", "mailto:")):
            html = Markup('<a href="{}" rel="noreferrer">{}</a>').format(href, html)
    return html
