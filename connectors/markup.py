"""One text, three renderings: Markdown for GitHub, ADF for Jira Cloud, plain text for the API.

Other people wrote many of the words in a document (titles of tickets and goals). The renderers show these
words as they were typed: they never become markup, never leave their line, mention no user and make no
reference.
"""

from __future__ import annotations

import json
import re
import reprlib
import unicodedata
from dataclasses import replace
from functools import lru_cache
from itertools import groupby
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import quote

from connectors.document import Block, Bullets, Document, Inline, Link, Paragraph, Text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

# GitHub accepts 65,536 characters; the difference is for the two marker lines above the text.
MARKDOWN_LIMIT = 65_000
# Jira accepts 32,767 characters. It does not say whether of the text or its JSON; the longer one counts here.
ADF_LIMIT = 32_767

_SHORT = reprlib.Repr()  # looks at a few members only, however large a value is

JOINER = "\u2060"  # word joiner: it has no width, allows no line break, and ends a reference

T = TypeVar("T")


def to_markdown(document: Document) -> str:
    """GitHub Flavored Markdown, at most `MARKDOWN_LIMIT` characters (UTF-16 units)."""
    return _fit(document, _markdown, lambda text: len(text.encode("utf-16-le")) // 2, MARKDOWN_LIMIT)


def to_adf(document: Document) -> dict[str, Any]:
    """An Atlassian Document Format `doc` whose JSON is at most `ADF_LIMIT` characters.

    https://developer.atlassian.com/cloud/jira/platform/apis/document/structure/
    """
    return _fit(document, _adf, lambda doc: len(json.dumps(doc)), ADF_LIMIT)


def to_plain(document: Document) -> str:
    """What a reader sees: links as `label (url)`, and an empty line between blocks."""
    return "\n\n".join(filter(None, map(_plain_block, document.blocks)))


@lru_cache(maxsize=512)  # most blocks of a notice are those of many others
def _plain_block(block: Block) -> str:
    lines = map(_plain, _lines(block))
    return "\n".join(f"- {line}" for line in lines) if isinstance(block, Bullets) else "".join(lines)


def storable(text: str) -> str:
    """`text` without what PostgreSQL and UTF-8 refuse: NUL removed, lone surrogates replaced."""
    if text.isprintable():
        return text
    return text.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")


def clean(text: str) -> str:
    """One line of visible characters: no control characters, no direction overrides, no double blanks.

    A blank at either end stays, because other words may be next to it. The joiners of emoji sequences and
    of Persian or Indic words (U+200C, U+200D) stay too.
    """
    if not text.isprintable():
        text = "".join(map(_visible, text))
    return re.sub(r" {2,}", " ", text)


def quoted(value: object, most: int = 80) -> str:
    """`value` for a message: one line of visible characters, at most `most` of them. It may be a stranger's.

    A text as it is typed, an error as its type and its own words, anything else as Python writes it.
    """
    if isinstance(value, str):
        words = value[: most + 1]
    elif isinstance(value, BaseException):
        words = f"{type(value).__name__} {quoted(value.args[0], most) if value.args else ''}"
    else:
        words = _SHORT.repr(value)
    words = clean(words).strip()
    return words if len(words) <= most else words[: most - 1] + "…"


def _visible(char: str) -> str:
    if char.isspace():
        return " "
    category = unicodedata.category(char)
    if category == "Cs":
        return "\ufffd"
    nonchar = ord(char) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(char) <= 0xFDEF
    if category == "Cc" or nonchar or (category == "Cf" and char not in "\u200c\u200d"):
        return ""
    return char


# --- the model, normalised ------------------------------------------------------------------


def _runs(content: Iterable[Inline]) -> list[Inline]:
    """The content of one line: cleaned, without empty texts, with neighbours of the same style merged.

    Merging prevents two harmless texts from becoming a reference where they meet, and two code spans from
    becoming one.
    """
    pieces = [piece for inline in content for piece in _pieces(inline)]
    runs: list[Inline] = []
    for style, group in groupby(pieces, lambda p: p.style if isinstance(p, Text) else None):
        if style is None:
            runs.extend(group)
        else:
            runs.append(Text(clean("".join(p.value for p in group if isinstance(p, Text))), style))
    if runs and isinstance(first := runs[0], Text) and first.style == "plain":
        runs[0] = replace(first, value=first.value.lstrip())
    if runs and isinstance(last := runs[-1], Text) and last.style == "plain":
        runs[-1] = replace(last, value=last.value.rstrip())
    return [run for run in runs if not isinstance(run, Text) or run.value]


def _pieces(inline: Inline) -> Iterator[Inline]:
    if isinstance(inline, Link):
        url = web_url(inline.url)
        label = clean(inline.label).strip()
        if url:
            yield Link(label or url, url)
        elif label:
            yield Text(label)
        return
    value = clean(inline.value)
    if not value:
        return
    if not value.strip():
        yield Text(" ")
    elif inline.style == "key":
        yield Text(value.strip(), "key")
    elif inline.style == "strong":
        # Blanks go outside the markers: Markdown shows `** a**` with its asterisks.
        yield from (Text(" "),) if value[0] == " " else ()
        yield Text(value.strip(), "strong")
        yield from (Text(" "),) if value[-1] == " " else ()
    else:
        yield Text(value, inline.style)


def web_url(url: str) -> str | None:
    """`url` in ASCII, with `;` encoded so that it contains no HTML entity; None unless http(s)."""
    url = url.strip()
    if not re.match(r"(?i)https?://[^/\s]", url):
        return None
    return quote(url, safe="%:/?#[]@!$&'()*+,=~", errors="replace")


def _lines(block: Block) -> list[list[Inline]]:
    lines = [block.content] if isinstance(block, Paragraph) else block.items
    return [runs for line in lines if (runs := _runs(line))]


# --- Markdown -------------------------------------------------------------------------------

_MARKUP = re.compile(r"[\\`*_\[\]{}<>!|~$^&#]")

# GitHub looks for references in the rendered text, from which a backslash is already removed. A joiner
# remains there and ends the match. https://docs.github.com/get-started/writing-on-github
_REFERENCES: tuple[tuple[re.Pattern[str], str], ...] = (
    (re.compile(r"[@#]"), r"\g<0>" + JOINER),  # @user, @org/team, #12, owner/repo#12, a@b.c
    (re.compile(r"(?i)\bGH-(?=\d)"), r"\g<0>" + JOINER),
    (re.compile(r":(?=//|[\w+-]+:)"), ":" + JOINER),  # https://, :emoji:
    (re.compile(r"(?<=[^\W\d])\.(?=\S)|(?<=\d)\.(?=[^\s\d])"), JOINER + "."),  # www.x, x.com
)
# These characters open a list, a rule or a heading, but only at the start of a line.
_LIST_MARK = re.compile(r"^(?:(?=[-+])|(\d{1,9})(?=[.)]))")
_BLANK = ("", " ")
_BEFORE_KEY, _AFTER_KEY = (*_BLANK, "("), re.compile(r"[ ),]|[.:;] |[.:;]?\Z")
_SHA = re.compile(r"(?<![0-9A-Za-z])[0-9A-Fa-f]{7,}(?![0-9A-Za-z])")


def _markdown(document: Document) -> str:
    blocks = []
    for block in document.blocks:
        lines = [_markdown_line(runs) for runs in _lines(block)]
        if not lines:
            continue
        if isinstance(block, Bullets):
            blocks.append("\n".join(f"- {line}" for line in lines))
        else:
            blocks.append(f"<sub>{lines[0]}</sub>" if block.small else lines[0])
    return "\n\n".join(blocks)


def _markdown_line(runs: list[Inline]) -> str:
    line = ""
    for at, run in enumerate(runs):
        after = _shown(runs[at + 1]) if at + 1 < len(runs) else ""
        piece = _markdown_run(run, line[-1:], after)
        # Two code spans side by side would be one.
        line += JOINER + piece if line[-1:] == piece[:1] == "`" else piece
    return _LIST_MARK.sub(r"\1\\", line)


def _shown(run: Inline) -> str:
    return run.label if isinstance(run, Link) else run.value


def _markdown_run(run: Inline, before: str, after: str) -> str:
    """`before` is the character before it, `after` the text after it; empty at an end of the line."""
    if isinstance(run, Link):
        return f"[{_escaped(run.label)}](<{run.url}>)"
    if run.style == "code":
        return _code_span(run.value)
    text = _escaped(run.value)
    if run.style == "key":
        # Between blanks, brackets and commas it stays what it is. What could become something else is code.
        alone = before in _BEFORE_KEY and _AFTER_KEY.match(after)
        same = text == run.value and not _LIST_MARK.match(text)
        return text if alone and same else _code_span(run.value)
    if run.style == "strong":
        # Markdown does not make `a**(b)**` strong: the asterisks are next to punctuation. A joiner is none.
        opening = "" if run.value[0].isalnum() or before in _BLANK else JOINER
        closing = "" if run.value[-1].isalnum() or after[:1] in _BLANK else JOINER
        return f"**{opening}{text}{closing}**"
    return text


def _escaped(text: str) -> str:
    for pattern, replacement in _REFERENCES:
        text = pattern.sub(replacement, text)
    text = _SHA.sub(lambda sha: JOINER.join(re.findall(r".{1,6}", sha[0])), text)
    return _MARKUP.sub(r"\\\g<0>", text)


def _code_span(code: str) -> str:
    """A code span that shows exactly `code`. https://spec.commonmark.org/0.31.2/#code-spans"""
    fence = "`" * (1 + max((len(run) for run in re.findall(r"`+", code)), default=0))
    edges = code[0] + code[-1]
    pad = " " if "`" in edges or (edges == "  " and code.strip()) else ""
    return f"{fence}{pad}{code}{pad}{fence}"


# --- ADF ------------------------------------------------------------------------------------


def _adf(document: Document) -> dict[str, Any]:
    return {"type": "doc", "version": 1, "content": [_adf_block(b) for b in document.blocks if _lines(b)]}


def _adf_block(block: Block) -> dict[str, Any]:
    small = isinstance(block, Paragraph) and block.small
    paragraphs = [
        {"type": "paragraph", "content": [_adf_text(run, small) for run in runs]} for runs in _lines(block)
    ]
    if isinstance(block, Paragraph):
        return paragraphs[0]
    return {"type": "bulletList", "content": [{"type": "listItem", "content": [p]} for p in paragraphs]}


def _adf_text(run: Inline, small: bool) -> dict[str, Any]:
    marks: list[dict[str, Any]] = []
    if isinstance(run, Link):
        marks.append({"type": "link", "attrs": {"href": run.url}})
    elif run.style in ("strong", "code"):
        marks.append({"type": run.style})
    if small and marks[:1] != [{"type": "code"}]:  # Jira allows the code mark together with links only
        marks.append({"type": "subsup", "attrs": {"type": "sub"}})
    text = run.label if isinstance(run, Link) else run.value
    return {"type": "text", "text": text} | ({"marks": marks} if marks else {})


# --- plain text and length ------------------------------------------------------------------


def _plain(runs: Iterable[Inline]) -> str:
    return "".join(f"{run.label} ({run.url})" if isinstance(run, Link) else run.value for run in runs)


def _fit(document: Document, render: Callable[[Document], T], size: Callable[[T], int], limit: int) -> T:
    """The document rendered: whole if it fits, else with long texts cut, else without the last blocks."""
    made = render(document)
    for longest in (1000, 200, 60):
        if size(made) <= limit:
            return made
        document = _shortened(document, longest)
        made = render(document)
    while size(made) > limit:
        document = Document(document.blocks[: len(document.blocks) // 2])
        made = render(document)
    return made


def _shortened(document: Document, longest: int) -> Document:
    """The document with texts and labels cut to `longest` characters, and lists and lines to `longest` items.

    Code and keys stay whole.
    """

    def cut(text: str) -> str:
        return text if len(text) <= longest else text[: longest - 1] + "…"

    def short(inline: Inline) -> Inline:
        if isinstance(inline, Link):
            return replace(inline, label=cut(inline.label))
        return inline if inline.style in ("code", "key") else replace(inline, value=cut(inline.value))

    def line(content: tuple[Inline, ...]) -> tuple[Inline, ...]:
        return tuple(map(short, content[:longest]))

    def block(old: Block) -> Block:
        if isinstance(old, Bullets):
            return Bullets(tuple(map(line, old.items[:longest])))
        return replace(old, content=line(old.content))

    return Document(tuple(map(block, document.blocks)))
