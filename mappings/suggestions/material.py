"""What suggestions are made from: texts of goals, of tickets, and of tickets that people linked; and what
comes of it. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import date

    from mappings.goals.key_results import KeyResult

MOST_SUGGESTIONS = 3  # on a ticket
# Of one goal's text, and of one linked ticket's; a longer one costs memory and says little more.
GOAL_CHARACTERS = 4_000
LINKED_CHARACTERS = 1_000
TICKET_CHARACTERS = 3_000
_LONGEST_KEPT = 500  # characters of a text whose words are remembered, which takes 18 kB at most
_WORD = re.compile(r"[^\W\d_][^\W_]{2,39}")
_STOP_WORDS = frozenset(
    _WORD.findall(
        """
        about after all and any are before below both build can create decrease each epic for from
        has have how improve increase into its less make more most new nor not now off one only other
        our out over own per percent phase project quarter raise reduce remove some such team than
        that the their them then there these they this those through too two under until update upon
        use using via was were what when where which while who why will with within work you your
        aber alle als am an auch auf aus bei bis das dass dem den der des die durch ein eine einem einen einer
        eines für hat haben ich ihr ihre im in ist kann kein keine mehr mit nach neu neue neuen nicht noch nur
        oder ohne pro sein sich sie sind soll über und uns unser unsere vom von vor was wenn werden wie wir
        wird zu zum zur
        """
    )
)


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A key result that may fit an epic. `reasons`: clauses, as `shares “checkout” with the title`, the
    strongest first. `score`: from 0 to 1. `confident`: good enough to be named on a ticket."""

    key_result: KeyResult
    reasons: tuple[str, ...]
    score: float = 0.0
    confident: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class GoalText:
    """A key result with its own words. `text`: title, description, unit, then the title and the description
    of its objective, a line each. `team`: its owner and its category. `starts`: its cycle's first day."""

    key_result: KeyResult
    text: str
    team: str = ""
    starts: date | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TicketText:
    """A ticket's words. `lines`: the first of its description; `parent_title`: empty where it has no parent,
    or where those who read the ticket may not read the parent."""

    id: int
    source_id: int
    project: str
    key: str
    title: str
    lines: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    components: tuple[str, ...] = ()
    parent_title: str = ""

    @property
    def marks(self) -> tuple[str, ...]:
        """Labels and components; a label that names a key result is no word."""
        return (*(label for label in self.labels if label[:3].lower() != "kr:"), *self.components)

    def text(self, without: frozenset[str], most: int) -> str:
        """Its words but those of the lines `without`, and the key of its project: teams are named alike."""
        lines = (line for line in self.lines if line_form(line) not in without)
        return "\n".join((self.title, *self.marks, self.parent_title, self.project, *lines))[:most]


@dataclass(frozen=True, slots=True)
class LinkedEpic:
    """A ticket that people linked to these key results."""

    ticket: TicketText
    key_result_ids: tuple[int, ...]


def line_form(line: str) -> str:
    """A line as it is compared with lines of other tickets."""
    return " ".join(line.lower().split())


def words(texts: Iterable[str]) -> dict[str, str]:
    """The words that are no stop words by their stem, in order, each as it is first written."""
    found: dict[str, str] = {}
    for text in texts:
        stems = _stems if len(text) <= _LONGEST_KEPT else _stems.__wrapped__
        for stem, word in stems(text):
            found.setdefault(stem, word)
    return found


def significant(text: str) -> str:
    """The text in lower case without stop words."""
    return _WORD.sub(_significant_word, text)


def _significant_word(match: re.Match[str]) -> str:
    word = match.group().lower()
    return "" if word in _STOP_WORDS else word


@lru_cache(maxsize=1024)  # a line of a form, a label or a linked ticket is compared with many tickets
def _stems(text: str) -> tuple[tuple[str, str], ...]:
    """The words of a text with their stems."""
    found = ((match.group(), match.group().lower()) for match in _WORD.finditer(text))
    return tuple((_stem(lower), word) for word, lower in found if lower not in _STOP_WORDS)


def _stem(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 3:
        return word[:-1]
    return word
