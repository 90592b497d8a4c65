"""Answers of a tracker that are known by their tags. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class KnownAnswer:
    """An answer of the tracker that is known by its `tag` (an ETag): a later request names the tag, and where
    the answer would be the same, the tracker says so in a few bytes and does not count the request.

    `name`: what was asked for; `address`: how the connector asked. `value`: what of the answer is needed when
    it comes without its body, as JSON. Without a `tag`, what is known of `name` is to be forgotten.
    """

    name: str
    address: str
    tag: str
    value: Any = None

    def forgotten(self) -> KnownAnswer:
        return replace(self, tag="", value=None)


class Answers(Protocol):
    """The answers of a tracker that are known by their tags, and asked for by them."""

    def restore(self, answers: Iterable[KnownAnswer]) -> None:
        """Ask by these whether `account`, `projects` and `changed_since` have anything new. Without them all
        is asked for whole."""
        ...

    def take(self) -> list[KnownAnswer]:
        """What `account` and `projects` are known by from now on, where it came since the last call."""
        ...
