"""Key results that a ticket's own text names: a `Key-Result:` line or a `kr:` label. Pure.

Any user of the tracker can write the text: the work is linear in its length, and only the start of a
very long line is read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from mappings.links.keys import KEY

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from connectors.ticket_text import Line

MOST_REFERENCES = 20
_LINE = re.compile(r"key-result[ \t]*:", re.IGNORECASE | re.ASCII)
_LABEL = re.compile(r"kr:", re.IGNORECASE | re.ASCII)
_MOST_CHARACTERS = 4_000
_TRAILING = ".;:!?)]}>\"'”’»"


@dataclass(frozen=True, slots=True)
class Reference:
    """A key as written on the ticket, and whether a line or a label names it."""

    key: str
    how: Literal["line", "label"]


def parse_references(lines: Iterable[Line], labels: Iterable[str]) -> tuple[Reference, ...]:
    """The key results named, lines before labels, each once without regard to case, at most 20.

    `lines` are the description's lines outside code and quotes. A line counts when it starts with
    `Key-Result:` (any case, spaces before it allowed); its keys are separated by commas. Punctuation
    after a key is dropped, so a key that ends in a full stop cannot be named. The first part that is
    not a key ends the list, and so do words after a key: `Key-Result: KR-1, KR-2 (see wiki), KR-3`
    names KR-1 and KR-2. A label names one key.
    """
    found: dict[str, Reference] = {}
    for reference in _references(lines, labels):
        found.setdefault(reference.key.lower(), reference)
        if len(found) == MOST_REFERENCES:
            break
    return tuple(found.values())


def _references(lines: Iterable[Line], labels: Iterable[str]) -> Iterator[Reference]:
    for line in lines:
        for key in _of_line(line.text):
            yield Reference(key, "line")
    for label in labels:
        text = label[:_MOST_CHARACTERS].strip()
        prefix = _LABEL.match(text)
        if prefix is not None:
            key = text[prefix.end() :].strip()
            if KEY.fullmatch(key):
                yield Reference(key, "label")


def _of_line(line: str) -> Iterator[str]:
    text = line[:_MOST_CHARACTERS].lstrip()
    start = _LINE.match(text)
    if start is None:
        return
    rest = text[start.end() :]
    if len(line) > _MOST_CHARACTERS:
        # The cut may lie inside the last key, and half a key may be the key of another key result.
        rest = rest[: max(rest.rfind(","), 0)]
    for part in rest.split(","):
        words = part.split()
        if not words:
            continue
        key = words[0].rstrip(_TRAILING)
        if not KEY.fullmatch(key):
            return
        yield key
        if len(words) > 1:
            return
