"""The keys of goals in what a person typed: in a ticket's text, in a label, in a command. Pure.

The work is linear in the length of the text.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
# Text programs put these in place of the sign in the middle of a key, and input methods full-width ones.
_DASHES = dict.fromkeys(map(ord, "\u2010\u2011\u2012\u2013\u2014\u2015\u2212\ufe58\ufe63\uff0d"), "-")
_FULL_WIDTH = {code: chr(code - 0xFEE0) for code in range(0xFF01, 0xFF5F)}
_SIGNS = _FULL_WIDTH | _DASHES | {0x3000: " ", ord("、"): ",", ord("。"): ".", 0xFF64: ",", 0xFF61: "."}
_BETWEEN = re.compile(r"[\s,;]+")
_AROUND = "\"'`“”„‟‘’‚‛«»‹›「」『』｢｣【】〈〉《》〔〕〖〗´′″()[]{}<>*~"
# A key may end with an underscore and not begin with one: at the end it is markup where the words began so.
_BEFORE, _AFTER = _AROUND + "#_", _AROUND + ".:!?"


def visible(text: str) -> str:
    """`text` without invisible characters (Unicode Cf), with full-width signs and dashes as usual ones."""
    if text.isascii():
        return text
    return "".join(char for char in text if unicodedata.category(char) != "Cf").translate(_SIGNS)


def key_words(text: str) -> Iterator[str]:
    """The words at the start of `text` that have the form of a key, as typed, without what is around them.

    They are separated by commas, semicolons, "and" or blanks, each perhaps in quotes, brackets or code, or
    after `#`; pictures around a key, or before the first, are no words. The first word of another form ends
    them. Whether there are such keys only the goals tell: to its reader, the first word that is no known key
    ends the list.
    """
    after, found = _AFTER, False
    for part in _BETWEEN.split(visible(text)):
        if not part.isascii():
            bare = _without_pictures(part)
            if found and part and not bare:
                return
            part = bare
        word = part.lstrip(_BEFORE)
        if "_" in part[: len(part) - len(word)]:
            after = _AFTER + "_"
        word = word.rstrip(after)
        if not word or word.lower() == "and":
            continue
        if not KEY.fullmatch(word):
            return
        found = True
        yield word


def _without_pictures(word: str) -> str:
    """The word without emoji and other pictures at its ends, and without what composes them."""
    start, end = 0, len(word)
    while start < end and _is_picture(word[start]):
        start += 1
    while start < end and _is_picture(word[end - 1]):
        end -= 1
    return word[start:end]


def _is_picture(char: str) -> bool:
    return not char.isascii() and (
        unicodedata.category(char) in {"So", "Sk", "Mn"} or "\u2190" <= char <= "\u21ff"
    )
