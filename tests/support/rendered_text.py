"""Words that would do harm where they are rendered, and how a rendering is read."""

from __future__ import annotations

import re

from markdown_it import MarkdownIt
from markdown_it.token import Token

# HTML on: what the renderer lets through shows as a token here.
PARSER = MarkdownIt("js-default", {"html": True})
JOINER = "\u2060"

# What GitHub turns into a link, a mention or a picture in rendered text: cmark-gfm's autolinks
# and the filters behind it, written wider than they are.
REFERENCE = re.compile(
    r"""(?ix)
      @[a-z0-9]
    | \#\d | \bgh-\d
    | \b[0-9a-f]{7,40}\b
    | [a-z]+:// | \bwww\.
    | [\w.+-]+@[\w-]+\.
    | :[\w+-]+:
    | [a-z]\.[a-z]{2}
    """
)

HOSTILE = [
    "@octocat and @org/team, mail me@example.com",
    "fixes #12, closes GH-12, gh-7, acme/shop#1, see acme/shop@0123456789abcdef",
    "commit 0123456, deadbeefdeadbeefdeadbeefdeadbeefdeadbeef, 1234567",
    "https://evil.example/x www.evil.example http://a.b ftp://c.d evil.example",
    "<script>alert(1)</script> <b>x</b> <!-- northing:notice --> &lt; &#64;octocat",
    "**strong** _em_ ~~gone~~ `code` [label](https://evil.example) ![img](https://evil.example/i.png)",
    "[ref]: https://evil.example",
    "line one\n\n# heading\n\n> quote\n\n- [ ] task\r\n```\ncode\n```",
    "- item", "+ item", "* item", "1. item", "7) item", "# title", "> quote", "--- ", "***", "===",
    "~~~", "```", "    indented", "| a | b |\n|---|---|\n| c | d |", "<https://evil.example>",
    ":x: :warning: 10:30:15", "$x$ and $$y$$", "[^1] footnote", "back\\slash \\` \\*",
    "NUL \x00 bell \x07 rtl \u202e desrever \u2066 iso \u200b\ufeff zero", "lone \ud83d surrogate",
    "\u2028separators\u2029 \x85", "a\\", "`", "``", "` `", "*", "_", "!", "]", "(", "&amp;", "\u2060@a",
    "👩\u200d💻 emoji, فارسی, 故事",
]  # fmt: skip


def plain_runs(tokens: list[Token]) -> list[str]:
    """The stretches of text between tags, as the filters behind the parser see them."""
    found: list[str] = []
    for token in tokens:
        current = ""
        for child in token.children or ():
            if child.type == "text":
                current += child.content
            else:
                found.append(current)
                current = ""
        found.append(current)
    return found
