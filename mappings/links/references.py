"""Key results that a ticket names: in its description, in labels, in a field. Pure.

Any user of the tracker can write the text: the work is linear in its length, and what is kept is bounded.
Which keys exist only an evaluation knows, so the words are kept in order, up to the first that has not the
form of a key; `mappings.links.resolve` says where a list ends and what is told.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Literal, cast

from mappings.links.keys import key_words, visible

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Sequence

    from connectors.ticket_text import Cell, Line, NamedField

# Raise it whenever another reading may find other references in the same ticket, here, in
# `mappings.links.keys` or in a connector's `text.py`: it is a part of the hash of what is stored of an epic,
# so that the next full run stores and evaluates every epic again.
READER_VERSION = 3

MOST_WORDS = 100  # of the description; labels and the field have as many of their own
_LONGEST_LEAD = 80  # characters in which a line's first words and their sign are looked for
_LONGEST_WRITTEN = 100

_WORDS = r"(?P<words>key[- ]results?|kr)"
_CLOSING = r"[*_~\"'`”’»\])]{0,3}"
# A dash between two words without a blank may be a part of either.
_SIGN = r"(?P<sign> ?[:=]+>? ?| -+>? ?|-+>? |-(?=[a-z]+[-._]?[0-9]))"
_LEAD = re.compile(_WORDS + _CLOSING + _SIGN, re.IGNORECASE | re.ASCII)
_ALONE = re.compile(rf"{_WORDS}{_CLOSING} ?[:=-]*{_CLOSING}", re.IGNORECASE | re.ASCII)
_LABEL = re.compile(rf"{_WORDS} ?[:/=] ?", re.IGNORECASE | re.ASCII)
_MARKS = "•·‣⁃*+-_~"
# A list's mark or a task's box that is typed as text, where the tracker makes neither of it.
_LIST_MARK = re.compile(r"\s*(?:\d{1,3}[.)]\s+)?(?:\[[ xX]?\]\s*)?")
_SHORTCODE = re.compile(r"\s*(?::[a-z0-9_+-]{1,40}:\s*){1,3}", re.ASCII)
# "KR: top-10 markets" is prose, so small letters count only where a known key has that shape.
_SHAPE = re.compile(r"[A-Z]{1,20}[-._][0-9]{1,10}")

How = Literal["line", "heading", "under", "beside", "below", "else", "label", "field"]


@dataclass(frozen=True, slots=True)
class Declaration:
    """One place of a ticket that may name key results, and its words, as typed.

    `how`: a `line` that begins so; the line below a `heading`, and further lines `under` it, which count only
    where they are keys alone; the cell `beside` or `below` one of a table (`else`: below, where the one
    beside names none); a `label`; the named `field`. `written`: the first words with their sign; of a
    heading or cell its words; the whole label; the name of the field. `words` have the form of a key. `rest`
    is the start of what is written where there are none, in one line.
    """

    how: How
    written: str
    words: tuple[str, ...] = ()
    rest: str = ""

    @property
    def is_plain(self) -> bool:
        """Whether it is meant to name a key, whatever follows."""
        plain = self.how == "line" and self.written.lower().replace(" ", "") == "key-result:"
        return plain or self.how in {"label", "field"}


@dataclass(frozen=True, slots=True)
class References:
    """The declarations of one ticket: of its lines, then labels, then the field, each group in order.

    `more`: it has others that look as if they named key results, and too many of them.
    """

    declarations: tuple[Declaration, ...] = ()
    more: bool = False

    def __bool__(self) -> bool:
        return bool(self.declarations)


_NONE = References()


def parse_references(
    lines: Iterable[Line], labels: Iterable[str], field: NamedField | None = None
) -> References:
    """What the ticket may name, as docs/ticket.md tells it; the same place with the same words once."""
    of_labels = [[found] for label in labels if (found := _of_label(label)) is not None]
    of_field = () if field is None else ([found] for found in _of_field(field))
    kept, more = list[Declaration](), False
    for groups in (_of_lines(lines), of_labels, of_field):
        if not groups:
            continue
        bounded, cut = _bounded(groups)
        kept += bounded
        more = more or cut
    return References(tuple(kept), more) if kept or more else _NONE


def looks_like_key(word: str, shapes: Container[str] = ()) -> bool:
    """Whether a reader would take it for a key: capitals, a sign, digits, or the shape of a known one."""
    return bool(_SHAPE.fullmatch(word) or shape_of(word) in shapes)


def shape_of(key: str) -> str:
    """The key in lower case with its digits replaced: `KR-99` has the shape of `KR-1`."""
    return re.sub(r"[0-9]+", "0", key.lower())


# --- the description --------------------------------------------------------------------------


def _of_lines(lines: Iterable[Line]) -> Iterator[list[Declaration]]:
    """The groups that belong together: a line; a heading and the lines under it; a cell and its next ones."""
    seen = lines if isinstance(lines, (tuple, list)) else tuple(lines)
    cells: dict[Cell, str] | None = None
    for at, line in enumerate(seen):
        start = _start(line.text)
        if not start:
            continue
        lead = _LEAD.match(start)
        if lead is not None:
            full = _start(line.text, len(line.text))
            found = _named("line", _written(lead), full[lead.end() :])
            if found is not None:
                yield [found]
                continue
        if line.kind == "text" or not _ALONE.fullmatch(start):
            continue
        if line.kind == "heading":
            yield _under_heading(start, seen, at + 1)
        elif line.cell is not None:
            cells = _cells(seen) if cells is None else cells
            yield _around_cell(start, line.cell, cells)


def _start(text: str, most: int = _LONGEST_LEAD) -> str:
    """The start of a line in usual signs, without marks and pictures before it; empty where it cannot be one
    of ours."""
    first = text[:1]
    if first not in {"k", "K"}:
        if first.isascii() and first.isalpha():
            return ""  # the usual line: it has no mark before its words
        text = _without_marks(text, most)
        if text[:1] not in {"k", "K", "\uff2b", "\uff4b"}:
            return ""
    return " ".join(visible(text[:most]).split())


def _without_marks(text: str, most: int) -> str:
    at = next((at for at, char in enumerate(text[:most]) if not _is_mark(char)), most)
    for marks in (_LIST_MARK, _SHORTCODE):
        found = marks.match(text, at, most)
        at = at if found is None else found.end()
    at = next((at for at in range(at, min(len(text), most)) if not _is_mark(text[at])), at)
    return text[at:]


def _is_mark(char: str) -> bool:
    return char in _MARKS or char.isspace() or unicodedata.category(char) in {"So", "Sk", "Mn", "Cf", "Pd"}


def _written(lead: re.Match[str]) -> str:
    sign = lead["sign"]
    return f"{lead['words']}{sign.rstrip()}" if sign.strip() else lead["words"]


def _named(how: How, written: str, text: str) -> Declaration | None:
    """None where nothing is parts."""
    words = tuple(islice(key_words(text), MOST_WORDS + 1))
    if words:
        return Declaration(how, written, words)
    rest = " ".join(visible(text[: 4 * _LONGEST_WRITTEN]).split())[:_LONGEST_WRITTEN].strip()
    return Declaration(how, written, rest=rest) if any(map(str.isalnum, rest)) else None


def _under_heading(heading: str, lines: Sequence[Line], at: int) -> list[Declaration]:
    """The next line, and further ones while all of their words have the form of a key."""
    found: list[Declaration] = []
    for line in islice(lines, at, None):
        if line.kind != "text" or _LEAD.match(_start(line.text)):
            break
        one = _named("under" if found else "heading", heading, line.text)
        if one is None or (found and not _is_words_alone(line.text, one)):
            break
        found.append(one)
        if not one.words or sum(len(each.words) for each in found) > MOST_WORDS:
            break
    return found


def _is_words_alone(text: str, found: Declaration) -> bool:
    split = re.split(r"[\s,;]+", visible(text[: 80 * MOST_WORDS]))
    parts = [part for part in split if any(map(str.isalnum, part)) and part.lower() != "and"]
    return len(parts) == len(found.words)


def _cells(lines: Iterable[Line]) -> dict[Cell, str]:
    """The text of each cell; its lines are separate words."""
    found: dict[Cell, list[str]] = {}
    for line in lines:
        if line.cell is not None:
            found.setdefault(line.cell, []).append(line.text)
    return {cell: ", ".join(texts) for cell, texts in found.items()}


def _around_cell(head: str, cell: Cell, cells: dict[Cell, str]) -> list[Declaration]:
    beside = cells.get(cell._replace(column=cell.column + 1), "")
    below = cells.get(cell._replace(row=cell.row + 1), "")
    found: list[Declaration] = []
    if (one := _named("beside", head, beside)) is not None:
        found.append(one)
    if (one := _named("else" if found else "below", head, below)) is not None:
        found.append(one)
    return found


# --- labels, the field ------------------------------------------------------------------------


def _of_label(label: str) -> Declaration | None:
    first = label[:1]
    if first not in {"k", "K"} and first.isascii() and first.isalpha():
        return None
    text = " ".join(visible(label[: 40 * _LONGEST_WRITTEN]).split())
    prefix = _LABEL.match(text)
    if prefix is None:
        return None
    return _named("label", " ".join(label[:_LONGEST_WRITTEN].split()), text[prefix.end() :])


def _of_field(field: NamedField) -> Iterator[Declaration]:
    for value in field.values:
        for line in value.splitlines():
            lead = _LEAD.match(start := _start(line, len(line)))
            found = _named("field", field.name, line if lead is None else start[lead.end() :])
            if found is not None:
                yield found


# --- what is kept -----------------------------------------------------------------------------


def _bounded(groups: Iterable[list[Declaration]]) -> tuple[list[Declaration], bool]:
    """The declarations of different groups, with at most `MOST_WORDS` words.

    Where there are more, those that are told if they name nothing stay before the others, so that no repeated
    prose pushes one out; and whether one of those had to go.
    """
    different: dict[tuple[object, ...], list[Declaration]] = {}
    for group in groups:
        if group:
            same = tuple(
                (one.how, one.written.lower(), *map(str.lower, one.words), one.rest) for one in group
            )
            different.setdefault(same, group)
    if not different:
        return [], False
    numbered = list(enumerate(different.values()))
    sizes = [sum(max(len(one.words), 1) for one in group) for group in different.values()]
    if sum(sizes) <= MOST_WORDS:
        return [one for _, group in numbered for one in group], False
    numbered.sort(key=lambda pair: not _is_meant(pair[1]))
    kept, left, more = list[tuple[int, list[Declaration]]](), MOST_WORDS, False
    for at, group in numbered:
        if left <= 0:
            more = more or _is_meant(group)
            continue
        cut = [replace(one, words=one.words[:left]) for one in group[:left]]
        more = more or (sizes[at] > left and _is_meant(group))
        left -= sizes[at]
        kept.append((at, cut))
    return [one for _, group in sorted(kept, key=lambda pair: pair[0]) for one in group], more


def _is_meant(group: Sequence[Declaration]) -> bool:
    return any(one.is_plain or (one.words and looks_like_key(one.words[0])) for one in group)


# --- as it is stored --------------------------------------------------------------------------


def stored_references(found: References) -> list[str]:
    """The elements of `epics.ticket_references`: before the words of each place one that tells the place.

    A word is `line:KR-1`, or `label:KR-1` in a label, by which an index finds the tickets that name a key.
    """
    elements: list[str] = []
    for one in found.declarations:
        elements.append(f"{one.how}={one.written}")
        elements += (f"{'label' if one.how == 'label' else 'line'}:{word}" for word in one.words)
        elements += [f"rest={one.rest}"] if one.rest else []
    return [*elements, "more="] if found.more else elements


_PLACE = re.compile(r"([^=:]*)([=:]?)(.*)", re.DOTALL)


def read_stored(elements: Iterable[str]) -> References:
    """The references as they were stored; of a version without places, each word is a place of its own."""
    found: list[Declaration] = []
    more = placed = False
    for element in elements:
        name, sign, value = _PLACE.fullmatch(element).groups()  # type: ignore[union-attr]  # all of it may be missing
        if sign == ":":
            if placed:
                found[-1] = replace(found[-1], words=(*found[-1].words, value))
            elif name == "label":
                found.append(Declaration("label", f"kr:{value}", (value,)))
            else:
                found.append(Declaration("line", "Key-Result:", (value,)))
        elif name == "more":
            more = True
        elif name == "rest":
            found[-1] = replace(found[-1], rest=value)
        else:
            placed = True
            found.append(Declaration(cast("How", name), value))
    return References(tuple(found), more)
