"""Key results that may fit an epic, each with the reason for which it was found. Pure.

Only words that the ticket may show are compared: a reason taken from a confidential title
would reveal the title.
"""

from __future__ import annotations

import heapq
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mappings.goals.key_results import KeyResult, is_live, may_name, public_words

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from connectors.base import Epic

MOST_SUGGESTIONS = 3
_MOST_CHARACTERS = 500
_WORD = re.compile(r"[^\W\d_][^\W_]{2,39}")
_STOP_WORDS = frozenset(
    _WORD.findall(
        """
        about after all and any are before below both build can create decrease each epic for from
        has have how improve increase into its less make more most new nor not now off one only other
        our out over own per percent phase project quarter raise reduce remove some such team than
        that the their them then there these they this those through too two under until update upon
        use using via was were what when where which while who why will with within work you your
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


class Candidates:
    """The live key results at one moment, by the words such a ticket may show; built once for many epics.

    One without any such words is not suggested: its key alone would tell that it is there, and live.
    """

    def __init__(
        self, key_results: Iterable[KeyResult], now: datetime, ticket_is_public: bool = True
    ) -> None:
        self._live = {
            goal.id: goal
            for goal in key_results
            if is_live(goal, now) and (may_name(goal, ticket_is_public) or goal.public_label)
        }
        self._by_word: dict[str, list[int]] = {}
        for goal in self._live.values():
            for stem in _words([public_words(goal, ticket_is_public)]):
                self._by_word.setdefault(stem, []).append(goal.id)

    def fitting(
        self, epic: Epic, linked: Mapping[int, int] | None = None, limit: int = MOST_SUGGESTIONS
    ) -> tuple[Suggestion, ...]:
        """The key results that fit best, best first; each has a reason, so the list may be empty.

        A word shared with the title scores 1, a word shared with a label or component 0.5, each divided
        by the number of key results that have it. Links of other epics of the project (`linked`: their
        number by key result id) score up to 1. Key results with equal scores come in the order of their keys.
        """
        title = _words([epic.title])
        marks = _words(value for value in (*epic.labels, *epic.components) if value[:3].lower() != "kr:")
        for stem in title:
            marks.pop(stem, None)
        scores: dict[int, float] = {}
        for words, weight in ((title, 1.0), (marks, 0.5)):
            for stem in words:
                having = self._by_word.get(stem, ())
                for goal_id in having:
                    scores[goal_id] = scores.get(goal_id, 0.0) + weight / len(having)
        counts = {goal_id: n for goal_id, n in (linked or {}).items() if n > 0 and goal_id in self._live}
        most = max(counts.values(), default=1)
        for goal_id, n in counts.items():
            scores[goal_id] = scores.get(goal_id, 0.0) + n / most
        best = heapq.nsmallest(
            limit, scores, key=lambda goal_id: (-scores[goal_id], self._live[goal_id].key, goal_id)
        )
        return tuple(
            Suggestion(self._live[goal_id], self._why(goal_id, epic, title, marks, counts.get(goal_id, 0)))
            for goal_id in best
        )

    def _why(
        self, goal_id: int, epic: Epic, title: Mapping[str, str], marks: Mapping[str, str], linked: int
    ) -> tuple[str, ...]:
        """The reasons, computed only for the few that fit best: hundreds may share a word."""
        parts = []
        for origin, words in (("the title", title), ("a label or component", marks)):
            shared = [word for stem, word in words.items() if goal_id in self._by_word.get(stem, ())]
            if shared:
                parts.append(f"shares {_quoted(shared)} with {origin}")
        if linked:
            epics = "1 other epic" if linked == 1 else f"{linked} other epics"
            parts.append(f"{epics} of {epic.project} {'is' if linked == 1 else 'are'} linked to it")
        return tuple(parts)


def _quoted(words: list[str]) -> str:
    return ", ".join(f"“{word}”" for word in words[:3])


def _words(texts: Iterable[str]) -> dict[str, str]:
    """The words that are no stop words by their stem, in order, each as first written, in lower case."""
    found: dict[str, str] = {}
    for text in texts:
        for match in _WORD.finditer(text[:_MOST_CHARACTERS]):
            word = match.group().lower()
            if word not in _STOP_WORDS:
                found.setdefault(_stem(word), word)
    return found


def _stem(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    if word.endswith("s") and not word.endswith(("ss", "us", "is")) and len(word) > 3:
        return word[:-1]
    return word
