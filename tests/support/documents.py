"""The repository's documents as Markdown: their headings, tables, code, and what they name in code marks."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    str(path.relative_to(ROOT)) for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"))
)
_BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
_SPAN = re.compile(r"(?<!`)`([^`\n]+(?:\n[^`\n]+)?)`(?!`)")


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def section(title: str, text: str) -> str:
    """A section's text, to the next heading of its level or above."""
    begun = re.search(rf"^(#+) {re.escape(title)}\n", text, re.MULTILINE)
    assert begun, f"no section {title!r}"
    rest = text[begun.end() :]
    ended = re.search(rf"^#{{1,{len(begun[1])}}} ", _without_blocks(rest), re.MULTILINE)
    return rest[: ended.start()] if ended else rest


def rows(text: str) -> list[list[str]]:
    """The cells of the tables whose first cell is code, without head and rule."""
    lines = [line for line in text.splitlines() if re.match(r"\| `", line)]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def code(text: str, language: str = "sh") -> str:
    """What stands in the blocks of a language."""
    return "\n".join(found[3] for found in _BLOCK.finditer(text) if found[2] == language)


def spans(text: str) -> list[str]:
    """What stands in code marks within the text; a line's end counts as a blank."""
    return [" ".join(span.split()) for span in _SPAN.findall(_without_blocks(text))]


def headings(text: str) -> list[tuple[int, str]]:
    """Level and title of each heading."""
    found = re.findall(r"^(#+) (.+)$", _without_blocks(text), re.MULTILINE)
    return [(len(marks), title) for marks, title in found]


def anchor(title: str) -> str:
    """A heading's anchor, as GitHub makes it."""
    return re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-")


def links(text: str) -> list[tuple[str, str]]:
    """Label and target of each link and picture."""
    prose = _without_blocks(text)
    found = re.findall(r"\[([^\]]*)\]\(([^)\s]+)\)", prose)
    return found + [("", target) for target in re.findall(r'<img src="([^"]+)"', prose)]


def calls(text: str) -> list[tuple[str, str, str | None]]:
    """Method, path and body of each `call METHOD PATH [BODY]` and of each `curl` to the API, in order."""
    found: list[tuple[str, str, str | None]] = []
    for statement in re.split(r"\n(?=\S)", code(text)):
        if statement.startswith("call "):
            _, method, path, *body = shlex.split(statement)
            assert len(body) <= 1, statement
            found.append((method, path, body[0] if body else None))
        elif statement.startswith("curl ") and "$NORTHING/api/v1/" in statement:
            words = shlex.split(statement)
            after = {word: words[place + 1] for place, word in enumerate(words[:-1])}
            [url] = [word for word in words if word.startswith("$NORTHING/api/v1/")]
            found.append((after["-X"], url.removeprefix("$NORTHING/api/v1/"), after.get("--data")))
    return found


def _without_blocks(text: str) -> str:
    """The text with its code blocks blanked, so that positions stay."""
    return _BLOCK.sub(lambda found: re.sub(r"[^\n]", " ", found[0]), text)
