"""The text of a comment: one model for all trackers. `connectors.markup` renders it for each of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Text:
    """Text as a person wrote it, without markup; every renderer escapes it.

    `code` is to be typed, `key` is the key of a goal inside prose: who copies either gets exactly `value`. In
    plain and strong text a renderer may add invisible characters, so that nothing becomes a reference.
    """

    value: str
    style: Literal["plain", "strong", "code", "key"] = "plain"


@dataclass(frozen=True, slots=True)
class Link:
    label: str
    url: str


Inline = Text | Link


@dataclass(frozen=True, slots=True)
class Paragraph:
    content: tuple[Inline, ...]
    small: bool = False


@dataclass(frozen=True, slots=True)
class Bullets:
    items: tuple[tuple[Inline, ...], ...]


Block = Paragraph | Bullets


@dataclass(frozen=True, slots=True)
class Document:
    blocks: tuple[Block, ...]
