"""The text of a comment: one model for all trackers. `connectors.markup` renders it for each of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


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


def document_as_json(document: Document) -> dict[str, Any]:
    """The document as it is stored; `document_from_json` reads it."""
    return {"blocks": [_block_as_json(block) for block in document.blocks]}


def _block_as_json(block: Block) -> dict[str, Any]:
    if isinstance(block, Bullets):
        return {"items": [list(map(_inline_as_json, item)) for item in block.items]}
    return {"line": list(map(_inline_as_json, block.content)), "small": block.small}


def _inline_as_json(inline: Inline) -> list[str]:
    if isinstance(inline, Link):
        return ["link", inline.label, inline.url]
    return [inline.style, inline.value]


def document_from_json(stored: dict[str, Any]) -> Document:
    return Document(tuple(map(_block_from_json, stored["blocks"])))


def _block_from_json(stored: dict[str, Any]) -> Block:
    if "items" in stored:
        return Bullets(tuple(tuple(map(_inline_from_json, item)) for item in stored["items"]))
    return Paragraph(tuple(map(_inline_from_json, stored["line"])), stored["small"])


def _inline_from_json(stored: list[Any]) -> Inline:
    style, *rest = stored
    return Link(*rest) if style == "link" else Text(rest[0], style)
