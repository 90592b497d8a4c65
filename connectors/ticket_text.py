"""What a person wrote on a ticket: the lines of its description or of a comment, and named fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple


class Cell(NamedTuple):
    """Where a table's cell is: the number of its table in the text, of its row there, of its place in the
    row, all from 0."""

    table: int
    row: int
    column: int


class NamedField(NamedTuple):
    """The field of a ticket that a source names for key results: its name or id as the source has it, and its
    values as text."""

    name: str
    values: tuple[str, ...]


FieldKind = Literal["date", "number"]


class UnreadableField(NamedTuple):
    """A field that has a value on a ticket which is no day, or no number: the setting that names it
    (`epics.due_field`), its name, and what its values have to be."""

    setting: str
    name: str
    kind: FieldKind


@dataclass(slots=True)  # not frozen: a sync makes one for each line of each description
class Line:
    """One line as a reader sees it, without markup and without invisible characters. Treat it as immutable.

    What does not count is not in it: code blocks, quotations, HTML comments, tags, struck-out text,
    placeholders, pictures. Inline code is. `in_code`: its first words are inline code. `cell`: its place, for
    the kind `cell`.
    """

    text: str
    kind: Literal["text", "heading", "cell"] = "text"
    in_code: bool = False
    cell: Cell | None = None
