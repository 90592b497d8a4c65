"""The check `no-key-result`: an epic is linked to no key result. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mappings.checks.check import WHICH_KEY_RESULT, Check, EpicFacts, TicketWords

if TYPE_CHECKING:
    from datetime import datetime

_MISSING = TicketWords(WHICH_KEY_RESULT, "Answer it with any of these:")


def _find(facts: EpicFacts, now: datetime) -> str | None:
    if facts.resolution.links:
        return None
    return f"No key result is linked.{facts.unknown_keys}"


def _words(facts: EpicFacts, public: bool, now: datetime) -> TicketWords:
    return _MISSING


CHECK = Check(
    name="no-key-result",
    about="epic",
    find=_find,
    words=_words,
    channel="comment",
    bears_on_alignment=True,
)
