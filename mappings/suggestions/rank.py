"""Key results that may fit an epic, best first, each with the reasons for which it was found. Pure.

Everything is computed from the material that one audience may read, and from nothing else: a goal that is not
in it moves nothing. Importing this file takes seconds, so only `mappings.suggestions.cache` does, and late.
`make bench ARGS="--only suggestions"` compares the parts, their sum and other methods.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import HashingVectorizer, TfidfTransformer

from mappings.goals.key_results import is_live
from mappings.suggestions.material import (
    GOAL_CHARACTERS,
    LINKED_CHARACTERS,
    MOST_SUGGESTIONS,
    TICKET_CHARACTERS,
    Suggestion,
    line_form,
    significant,
)
from mappings.suggestions.reasons import Evidence, Neighbour, reasons_for

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from datetime import datetime

    from mappings.suggestions.material import GoalText, LinkedEpic, TicketText

# The weights of the sum, chosen on the bench's data: the similarity of the ticket to the goal's own text; to
# that text with the linked tickets; of its title to the latter; to the most similar linked ticket; then the
# share of the linked tickets of its project, and of its components; and that the goal's cycle has begun.
OWN, WITH_LINKED, TITLE, NEAREST, PROJECT, COMPONENT, PRESENT = 1.0, 1.0, 0.5, 0.5, 0.2, 0.1, 0.05
# The chance that the best one fits: by the similarity to its own text, by the part of its sum that it is
# ahead of the next, and by the most similar linked ticket. Fitted to the same data, with other draws of it.
_BASE, _BY_OWN, _BY_LEAD, _BY_NEAREST = -5.7, 36.8, 5.83, 5.28
_MOST_OWN, _MOST_LEAD = 0.5, 0.5
# From here on a suggestion is confident: a wrong one is a false alarm, so rather none.
CONFIDENT = 0.75
# Near twins (the same metric in another market) have texts as similar as this: the ticket's own words must
# say which of them it is, by so much similarity.
_TWINS, _APART = 0.4, 0.02
_FEATURES = 2**18
# A line in so many linked tickets, and in such a part of them, is the team's form.
_FORM_LINES, _FORM_SHARE = 3, 0.02


@dataclass(frozen=True, slots=True)
class _Parts:
    """For each goal what its sum is made of: from words, and from team and cycle."""

    own: Any  # the similarity to the goal's own text
    text: Any
    around: Any
    nearest: Any  # the most similar linked ticket's similarity
    nearest_place: Any  # and its place among these, -1 for none


class SuggestionIndex:
    """The material of one audience, made ready for many epics. The same material and the same ticket give the
    same answer. For 500 goals and 333 linked tickets it was built in a quarter of a second of a processor."""

    def __init__(self, goals: Sequence[GoalText], linked: Sequence[LinkedEpic] = ()) -> None:
        self._goals = sorted(goals, key=lambda goal: (goal.key_result.key.lower(), goal.key_result.id))
        places = {goal.key_result.id: place for place, goal in enumerate(self._goals)}
        self._linked = sorted(
            (epic for epic in linked if places.keys() & set(epic.key_result_ids)),
            key=lambda epic: epic.ticket.id,
        )
        self._forms = _forms(self._linked)
        pairs = [
            (row, places[id])
            for row, epic in enumerate(self._linked)
            for id in epic.key_result_ids
            if id in places
        ]
        shape = (len(self._linked), len(self._goals))
        rows, columns = ([pair[axis] for pair in pairs] for axis in (0, 1))
        self._links = sparse.csr_matrix((np.ones(len(pairs)), (rows, columns)), shape=shape)
        self._places_of = pairs
        self._matrices: list[Any] = []
        self._rows: Any = self._links
        if not self._goals:
            return
        own = _counted([f"{goal.text[:GOAL_CHARACTERS]}\n{goal.team}" for goal in self._goals])
        epics = [epic.ticket.text(self._forms, LINKED_CHARACTERS) for epic in self._linked]
        counted = _counted(epics) if epics else None
        both = own if counted is None else (own + self._links.T @ counted).tocsr()
        self._weigh = TfidfTransformer(sublinear_tf=True).fit(both).transform
        # A column each, so that a ticket's few runs of characters find their rows at once.
        self._matrices = [self._weigh(of).T.tocsr() for of in (own, both, counted) if of is not None]
        self._rows = self._weigh(own)
        self._epics_of: dict[int, list[int]] = {}
        for row, place in pairs:
            self._epics_of.setdefault(place, []).append(row)

    @property
    def size(self) -> int:
        """Bytes, about."""
        return sum(m.data.nbytes + m.indices.nbytes + m.indptr.nbytes for m in (*self._matrices, self._rows))

    def fitting(
        self,
        ticket: TicketText,
        now: datetime,
        limit: int = MOST_SUGGESTIONS,
        without: Collection[int] = (),
    ) -> tuple[Suggestion, ...]:
        """The live key results that fit best, best first, but those `without`; of equals the first key."""
        live = [
            place
            for place, goal in enumerate(self._goals)
            if goal.key_result.id not in without and is_live(goal.key_result, now)
        ]
        if not live:
            return ()
        parts = self._parts(ticket, now)
        sums = {place: round(float(parts.text[place] + parts.around[place]), 6) for place in live}
        best = sorted(live, key=lambda place: (-sums[place], place))
        top = self._chance(best, sums, parts)
        found = []
        for place in best[:limit]:
            # What is left for the others is what the first has not.
            share = top if place == best[0] else min(top, 1 - top) * sums[place] / max(sums[best[0]], 1e-9)
            score = round(share, 4)
            reasons = reasons_for(self._evidence(ticket, place, parts))
            goal = self._goals[place].key_result
            found.append(Suggestion(goal, reasons, score, score >= CONFIDENT and bool(reasons)))
        return tuple(found)

    def _chance(self, best: Sequence[int], sums: Mapping[int, float], parts: _Parts) -> float:
        """That the first of `best` fits."""
        first = best[0]
        own, total = float(parts.own[first]), sums[first]
        if total <= 0:
            return 0.0
        lead = (total - sums[best[1]]) / total if len(best) > 1 else _MOST_LEAD
        value = _BASE + _BY_OWN * min(own, _MOST_OWN) + _BY_LEAD * min(lead, _MOST_LEAD)
        chance = 1 / (1 + math.exp(-value - _BY_NEAREST * float(parts.nearest[first])))
        alike = (self._rows[[first]] @ self._matrices[0]).toarray()[0]
        twins = [place for place in best[1:] if alike[place] >= _TWINS]
        is_apart = all(own - float(parts.own[place]) >= _APART for place in twins)
        return chance if is_apart else min(chance, 0.5)

    def _parts(self, ticket: TicketText, now: datetime) -> _Parts:
        asked = self._weigh(
            _counted([ticket.text(self._forms, TICKET_CHARACTERS), ticket.title], remember=False)
        )
        whole = asked[0]
        by_both = (asked @ self._matrices[1]).toarray()
        own = (whole @ self._matrices[0]).toarray()[0]
        nearest, nearest_place = np.zeros(len(self._goals)), np.full(len(self._goals), -1)
        if self._linked:
            alike = (whole @ self._matrices[2]).toarray()[0]
            for row, place in self._places_of:
                if alike[row] > nearest[place] and self._linked[row].ticket.id != ticket.id:
                    nearest[place], nearest_place[place] = alike[row], row
        text = OWN * own + WITH_LINKED * by_both[0] + TITLE * by_both[1] + NEAREST * nearest
        counts = self._shares(ticket)
        today = now.date()
        begun = np.array([goal.starts is None or goal.starts <= today for goal in self._goals])
        around = PROJECT * counts[0] + COMPONENT * counts[1] + PRESENT * begun
        return _Parts(own, text, around, nearest, nearest_place)

    def _shares(self, ticket: TicketText) -> tuple[Any, Any]:
        """By goal the number of linked tickets of the same project, and with one of its components, each
        divided by the largest."""
        components = {name.lower() for name in ticket.components}
        found = []
        for same in (
            [_of_project(epic, ticket) for epic in self._linked],
            [bool(components & {name.lower() for name in epic.ticket.components}) for epic in self._linked],
        ):
            numbers = self._links.T @ np.array(same, dtype=float)
            found.append(numbers / max(1.0, float(numbers.max(initial=0))))
        return found[0], found[1]

    def _evidence(self, ticket: TicketText, place: int, parts: _Parts) -> Evidence:
        row = int(parts.nearest_place[place])
        near = _neighbour(self._linked[row].ticket, float(parts.nearest[place])) if row >= 0 else None
        of_project = sum(_of_project(self._linked[at], ticket) for at in self._epics_of.get(place, ()))
        lines = tuple(line for line in ticket.lines if line_form(line) not in self._forms)
        return Evidence(ticket, lines, self._goals[place].text[:GOAL_CHARACTERS], near, of_project)


def _neighbour(ticket: TicketText, similarity: float) -> Neighbour:
    return Neighbour(ticket.key, similarity, (ticket.title, *ticket.marks, *ticket.lines))


def _of_project(epic: LinkedEpic, ticket: TicketText) -> bool:
    other = epic.ticket
    same = (other.source_id, other.project) == (ticket.source_id, ticket.project)
    return same and other.id != ticket.id


def _forms(linked: Sequence[LinkedEpic]) -> frozenset[str]:
    counts = Counter(form for epic in linked for form in {line_form(line) for line in epic.ticket.lines})
    least = max(_FORM_LINES, _FORM_SHARE * len(linked))
    return frozenset(form for form, number in counts.items() if number >= least)


# --- characters ---------------------------------------------------------------------------------


# Counts the runs of three to five characters within each word. It has no vocabulary, so it knows no text of
# another audience.
_COUNTER = HashingVectorizer(
    analyzer="char_wb", ngram_range=(3, 5), norm=None, alternate_sign=False, n_features=_FEATURES
)


def _counted(texts: Sequence[str], *, remember: bool = True) -> Any:
    count = _counted_one if remember else _counted_one.__wrapped__
    return sparse.vstack([count(text) for text in texts], format="csr")


@lru_cache(maxsize=2048)
def _counted_one(text: str) -> Any:
    return _COUNTER.transform([significant(text)])
