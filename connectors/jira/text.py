"""The lines of a Jira description that may link to key results: those outside code and quotes."""

from __future__ import annotations

import re
from typing import Any

from connectors.markup import storable
from connectors.ticket_text import Line

MAX_LINES = 2_000
MAX_LINE = 1_000
_MAX_NODES = 50_000

# Replaces code, pictures and the like at the start of a line, so that the text behind them does not count
# as the start of the line.
_NOT_WORDS = "\ufffc"

_SKIPPED = {"codeBlock", "blockquote", "mediaSingle", "mediaGroup"}
_LINE_NODES = {"paragraph", "heading", "taskItem", "decisionItem", "caption", "listItem", "tableCell"}


def lines_of(description: Any) -> tuple[Line, ...]:
    """The lines of an ADF document or a plain or wiki string, without empty lines; none for anything else."""
    if isinstance(description, str):
        found = _wiki_lines(description)
    elif isinstance(description, dict):
        found = _adf_lines(description)
    else:
        return ()
    shown = (_shown(line) for line in found)
    return tuple(Line(line[:MAX_LINE]) for line in shown if line)[:MAX_LINES]


def _shown(line: str) -> str:
    line = " ".join(storable(line).split())
    line = line[:1] + line[1:].replace(_NOT_WORDS, " ").rstrip()
    return "" if line == _NOT_WORDS else line


def _adf_lines(document: dict[str, Any]) -> list[str]:
    """The lines of an ADF document. A paragraph, list item or hard break starts a line.

    https://developer.atlassian.com/cloud/jira/platform/apis/document/structure/. The walk uses its own
    stack and stops after `_MAX_NODES` nodes, because the author of the text chooses its depth and size.
    """
    lines: list[list[str]] = [[]]
    stack: list[Any] = [document]
    for _ in range(_MAX_NODES):
        if not stack:
            break
        node = stack.pop()
        if not isinstance(node, dict):
            continue
        kind = node.get("type")
        if kind in _SKIPPED or kind in _LINE_NODES or kind == "hardBreak":
            lines.append([])
        if kind in _SKIPPED:
            continue
        content = node.get("content")
        if isinstance(content, list):
            stack.extend(reversed(content))
        elif kind not in _LINE_NODES and kind not in {"hardBreak", "doc"}:
            lines[-1].append(_inline(node) or _NOT_WORDS)
    return ["".join(line) for line in lines]


def _inline(node: dict[str, Any]) -> str:
    """The words of an inline node; empty for code, pictures and unknown nodes."""
    if node.get("type") == "text":
        marks = node.get("marks") or ()
        code = any(isinstance(mark, dict) and mark.get("type") == "code" for mark in marks)
        text = node.get("text")
        return text if isinstance(text, str) and not code else ""
    attrs = node.get("attrs")
    shown = attrs.get("text") if isinstance(attrs, dict) else None
    return shown if isinstance(shown, str) else ""


# Wiki markup, which webhooks and the older API send.
# https://jira.atlassian.com/secure/WikiRendererHelpAction.jspa?section=all
_WIKI_BLOCK = re.compile(r"\{(code|noformat|quote)(?::[^}\n]{0,200})?\}.*?(?:\{\1\}|\Z)", re.DOTALL)
_WIKI_CODE = re.compile(r"\{\{[^{}\n]*\}\}")


def _wiki_lines(text: str) -> list[str]:
    text = _WIKI_CODE.sub(_NOT_WORDS, _WIKI_BLOCK.sub(f"\n{_NOT_WORDS}", text))
    lines = [line for line in text.splitlines() if not re.match(r"\s*bq\. ", line)]
    return [re.sub(r"^\s*(?:[*#-]+\s+|h[1-6]\.\s+)?", "", line) for line in lines]
