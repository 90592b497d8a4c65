"""Builders for the texts on tickets: a warning for a check, with what its ticket says and what fits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from connectors.document import Bullets, Link, Paragraph, Text
from connectors.markup import to_plain
from mappings.checks.check import EpicFacts
from mappings.checks.registry import CHECKS
from mappings.goals.key_results import KeyResult, is_live
from mappings.links.resolve import Resolution, ResolvedLink
from mappings.notices.text import NoticeText, warning_text
from mappings.suggestions.material import Suggestion
from tests.support.evaluations import NOW, an_epic, goal, links_to

PAGE = "https://northing.example/why/acme-jira/SHOP-1"
FITTING = [Suggestion(goal(n), (f"shares “word{n}” with the title",)) for n in (1, 2, 3)]


def warn(check: str = "no-key-result", links: Iterable[ResolvedLink] = (), **members: Any) -> NoticeText:
    (words,) = (known.words for known in CHECKS if known.name == check)
    assert words is not None
    facts = EpicFacts(an_epic(), Resolution(tuple(links)))
    return warning_text(
        check,
        words(facts, members.get("public", False), NOW),
        **{
            "unknown": (),
            "suggestions": FITTING,
            "can_link": True,
            "public": False,
            "now": NOW,
            "read_at": datetime(2026, 11, 16, 12, 30, tzinfo=UTC),
            "page_url": PAGE,
            **members,
        },
    )


def closed(*goals: KeyResult) -> list[ResolvedLink]:
    """Links to these goals; those that are live are closed first."""
    ended = (replace(one, state="achieved") if is_live(one, NOW) else one for one in goals)
    return list(links_to(*ended).links)


def lines(made: NoticeText) -> list[str]:
    """What a reader sees, without empty lines."""
    return [line for line in to_plain(made.document).splitlines() if line]


def typed(made: NoticeText) -> list[str]:
    """The pieces of a text that are to be typed."""
    pieces = [piece for block in made.document.blocks for piece in pieces_of(block)]
    return [piece.value for piece in pieces if isinstance(piece, Text) and piece.style == "code"]


def pieces_of(block: Paragraph | Bullets) -> list[Text | Link]:
    if isinstance(block, Paragraph):
        return list(block.content)
    return [piece for item in block.items for piece in item]
