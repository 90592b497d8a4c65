"""What a person does at a tracker before Northing can be connected, in words. Pure.

The addresses are those of the tracker's own pages: shown as links, never opened by Northing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Right(NamedTuple):
    """A right by the tracker's own name for it, and what Northing does with it. `to_read`: needed in shadow
    too, where nothing is written."""

    name: str
    use: str
    to_read: bool = False


class Page(NamedTuple):
    """A page of the tracker. `url` is empty where the address is not known."""

    words: str
    url: str = ""


@dataclass(frozen=True, slots=True)
class SetUp:
    """`title`: what the tracker is called. `projects`: its word for them, in the plural. `token_page` is
    called with the base URL; `webhook_pages` with it and the projects that are read, none for all."""

    title: str
    projects: str
    account: str
    rights: tuple[Right, ...]
    token_page: Callable[[str], Page]
    token_steps: tuple[str, ...]
    webhook_pages: Callable[[str, Sequence[str]], list[Page]]
    webhook_steps: tuple[str, ...]
