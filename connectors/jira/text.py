"""The lines of a Jira text, in ADF or wiki markup, as a reader sees them. Pure."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from connectors.line_writer import LineWriter, Tables

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from connectors.ticket_text import Cell, Line

# A text of 32,767 characters, the longest that Jira accepts, has fewer by far.
MOST_NODES = 200_000

_SKIPPED = {"codeBlock", "blockquote", "mediaSingle", "mediaGroup", "media", "mediaInline", "placeholder"}
_INLINE = {
    "text", "mention", "emoji", "date", "status", "inlineCard", "inlineExtension", "hardBreak",
}  # fmt: skip
# Blocks that say what their lines are.
_WITH_PLACE = {"heading", "table", "tableRow", "tableCell", "tableHeader"}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def lines_of(description: Any) -> tuple[Line, ...]:
    """The lines of an ADF document or a plain or wiki string, without empty lines; none for anything else."""
    if isinstance(description, str):
        return _wiki_lines(description)
    return _AdfReader().read(description) if isinstance(description, dict) else ()


class _AdfReader:
    """Walks an ADF document. Each block and each hard break starts a line.

    https://developer.atlassian.com/cloud/jira/platform/apis/document/structure/. The walk uses its own
    stack and stops after `MOST_NODES` nodes, because the author of the text chooses its depth and size.
    """

    def __init__(self) -> None:
        self._lines, self._tables = LineWriter(), Tables()
        self._left_to_enter = MOST_NODES

    def read(self, document: dict[str, Any]) -> tuple[Line, ...]:
        stack: list[Any] = [document]  # nodes to enter, and the kinds of nodes to leave
        while stack and self._left_to_enter > 0:
            node = stack.pop()
            if isinstance(node, _Left):
                self._leave(node)
                continue
            self._left_to_enter -= 1
            if isinstance(node, dict):
                stack += self._enter(node)
        self._lines.end()
        return tuple(self._lines.lines)

    def _enter(self, node: Mapping[str, Any]) -> Sequence[Any]:
        """Takes in what the node itself says; what to walk through after it, the last first."""
        kind, content = node.get("type"), node.get("content")
        if not isinstance(kind, str):
            kind = ""
        if kind in _INLINE and not isinstance(content, list):
            self._inline(kind, node)
            return ()
        self._lines.end()
        if kind in _SKIPPED:
            return ()
        attrs = node.get("attrs")
        if isinstance(attrs, dict) and (
            words := _text(attrs, "url" if kind in {"blockCard", "embedCard"} else "title")
        ):
            self._lines.add(words)
            self._lines.end()
        left = self._begin(kind, attrs) if kind in _WITH_PLACE else _PLAIN_END
        if not isinstance(content, list):
            return ()
        read = self._read_words(content)
        if read == len(content):  # a paragraph, as a rule
            self._leave(left)
            return ()
        return [left, *reversed(content[read:])]

    def _begin(self, kind: str, attrs: Any) -> _Left:
        left = _Left(kind, self._lines.cell)
        if kind == "heading":
            self._lines.kind = "heading"
        elif kind == "table":
            self._tables.open()
            self._lines.cell = None
        elif kind == "tableRow":
            self._tables.row()
        else:
            self._lines.cell = self._tables.enter(_columns(attrs))
        return left

    def _leave(self, left: _Left) -> None:
        self._lines.end()
        if left.kind == "heading":
            self._lines.kind = "text"
        elif left.kind in {"table", "tableCell", "tableHeader"}:
            self._lines.cell = left.cell
            if left.kind == "table":
                self._tables.close()

    def _read_words(self, content: Sequence[Any]) -> int:
        """Takes in the parts of a line that `content` begins with, off the stack; how many there are."""
        read = 0
        for node in content:
            if not isinstance(node, dict) or read == self._left_to_enter:
                break
            kind = node.get("type")
            if not isinstance(kind, str) or kind not in _INLINE or isinstance(node.get("content"), list):
                break
            self._inline(kind, node)
            read += 1
        self._left_to_enter -= read
        return read

    def _inline(self, kind: str, node: Mapping[str, Any]) -> None:
        if kind == "text":
            marks = node.get("marks")
            if not isinstance(marks, list):
                self._lines.add(_text(node, "text"))
                return
            styles = {str(mark.get("type")) for mark in marks if isinstance(mark, dict)}
            if "strike" not in styles:
                self._lines.add(_text(node, "text"), code="code" in styles)
        elif kind == "hardBreak":
            self._lines.end()
        else:
            attrs = node.get("attrs")
            attrs = attrs if isinstance(attrs, dict) else {}
            shown = _day(attrs.get("timestamp")) if kind == "date" else _text(attrs, "text")
            self._lines.add(shown or _text(attrs, "url"))


class _Left:
    """Stands behind the content of a node, with the cell around it."""

    __slots__ = ("cell", "kind")

    def __init__(self, kind: str, cell: Cell | None) -> None:
        self.kind, self.cell = kind, cell


_PLAIN_END = _Left("", None)


def _text(members: Mapping[str, Any], name: str) -> str:
    value = members.get(name)
    return value if isinstance(value, str) else ""


def _columns(attrs: Any) -> int:
    span = attrs.get("colspan") if isinstance(attrs, dict) else None
    return span if isinstance(span, int) and 1 <= span <= 1_000 else 1


def _day(timestamp: Any) -> str:
    """A date node's day; its timestamp is milliseconds of UTC, as a string."""
    try:
        return (_EPOCH + timedelta(milliseconds=int(timestamp))).date().isoformat()
    except (TypeError, ValueError, OverflowError):
        return ""


# --- wiki markup, which the older API sends -----------------------------------------------------
# https://jira.atlassian.com/secure/WikiRendererHelpAction.jspa?section=all

_WIKI_BLOCK = re.compile(r"\{(code|noformat|quote)(?::[^}\n]{0,200})?\}.*?(?:\{\1\}|\Z)", re.DOTALL)
_WIKI_MACRO = re.compile(r"\{(?:color|panel|info|note|tip|warning|anchor|expand)(?::[^{}\n]{0,200})?\}")
_WIKI_STRUCK = re.compile(r"(?<!\S)-(?=[^\s-])[^\n]{0,200}?(?<=[^\s-])-(?!\S)")
_WIKI_LINK = re.compile(r"\[([^\[\]|\n]{1,300})(?:\|[^\[\]\n]{0,300})?\]")
_WIKI_PICTURE = re.compile(r"!\S[^!\n]{0,200}!")
_WIKI_MARKS = re.compile(r"\s*(?:[*#-]+\s+)?")
_WIKI_HEADING = re.compile(r"\s*h[1-6]\.\s+")
_WIKI_FORCED = re.compile(r"\\\\")


def _wiki_lines(text: str) -> tuple[Line, ...]:
    lines, tables = LineWriter(), Tables()
    in_table = False
    text = _WIKI_FORCED.sub("\n", _WIKI_BLOCK.sub("\n", text))
    for line in text.splitlines():
        is_row = line.lstrip().startswith("|")
        if in_table != is_row:
            tables.open() if is_row else tables.close()
            in_table = is_row
        if is_row:
            tables.row()
            for cell in re.split(r"\|\|?", _wiki_words(line).strip().strip("|")):
                lines.cell = tables.enter()
                lines.add(cell)
                lines.end()
            lines.cell = None
        elif not re.match(r"\s*bq\. ", line):
            _wiki_line(line, lines)
    return tuple(lines.lines)


def _wiki_line(line: str, lines: LineWriter) -> None:
    if (heading := _WIKI_HEADING.match(line)) is not None:
        lines.kind = "heading"
        line = line[heading.end() :]
    elif (marks := _WIKI_MARKS.match(line)) is not None:
        line = line[marks.end() :]
    lines.add(_wiki_words(line), code=line.startswith("{{"))
    lines.end()
    lines.kind = "text"


def _wiki_words(text: str) -> str:
    text = _WIKI_STRUCK.sub("", _WIKI_PICTURE.sub("", _WIKI_MACRO.sub("", text)))
    return _WIKI_LINK.sub(r"\1", text).replace("{{", "").replace("}}", "").replace("*", "")
