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
_WITH_TWINS = 0.5  # the chance at most, where they do not
_FEATURES = 2**18
_AT_A_TIME = 100  # tickets that are compared at once: 2 MB for 500 goals and 1,000 linked tickets
# A line in so many linked tickets, and in such a part of them, is the team's form.
_FORM_LINES, _FORM_SHARE = 3, 0.02


@dataclass(frozen=True, slots=True)
class _Parts:
    """For each goal what its sum is made of: from words, and from team and cycle. Of many tickets these are
    matrices, a row each."""

    own: Any  # the similarity to the goal's own text
    text: Any
    around: Any
    nearest: Any  # the most similar linked ticket's similarity
    nearest_place: Any  # and its place among these, -1 for none

    def of(self, row: int) -> _Parts:
        """Those of one ticket."""
        return _Parts(
            self.own[row], self.text[row], self.around[row], self.nearest[row], self.nearest_place[row]
        )


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
        self._matrices: list[Any] = []
        self._rows: Any = self._links
        self._twins_of: dict[int, list[int]] = {}
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
        self._look_up(pairs)

    def _look_up(self, pairs: Sequence[tuple[int, int]]) -> None:
        """The places of linked tickets by what they are asked for. `pairs`: of a ticket and of a goal."""
        self._epics_of: dict[int, list[int]] = {}
        for row, place in pairs:
            self._epics_of.setdefault(place, []).append(row)
        self._linked_goals = sorted(self._epics_of)
        of_goals = [self._epics_of[place] for place in self._linked_goals]
        self._rows_by_goal = np.array([row for rows in of_goals for row in rows], dtype=int)
        self._lengths = [len(rows) for rows in of_goals]
        self._begins = np.cumsum([0, *self._lengths])[:-1]
        self._row_of = {epic.ticket.id: row for row, epic in enumerate(self._linked)}
        self._rows_of_project: dict[tuple[int, str], list[int]] = {}
        self._rows_of_component: dict[str, list[int]] = {}
        for row, epic in enumerate(self._linked):
            of_project = (epic.ticket.source_id, epic.ticket.project)
            self._rows_of_project.setdefault(of_project, []).append(row)
            for name in {name.lower() for name in epic.ticket.components}:
                self._rows_of_component.setdefault(name, []).append(row)

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
        return self.fitting_each([(ticket, without)], now, limit)[0]

    def fitting_each(
        self,
        asked: Sequence[tuple[TicketText, Collection[int]]],
        now: datetime,
        limit: int = MOST_SUGGESTIONS,
        *,
        confident: bool = False,
    ) -> list[tuple[Suggestion, ...]]:
        """As `fitting`, for each ticket with those not to suggest for it: what is the same for all is done
        once. `confident`: only those of which we are."""
        live = [place for place, goal in enumerate(self._goals) if is_live(goal.key_result, now)]
        if not live:
            return [()] * len(asked)
        found: list[tuple[Suggestion, ...]] = []
        for at in range(0, len(asked), _AT_A_TIME):
            some = asked[at : at + _AT_A_TIME]
            parts = self._parts([ticket for ticket, _ in some], now)
            for row, (ticket, without) in enumerate(some):
                left = [place for place in live if self._goals[place].key_result.id not in without]
                found.append(self._best(ticket, left, parts.of(row), limit, confident=confident))
        return found

    def _best(
        self, ticket: TicketText, live: Sequence[int], parts: _Parts, limit: int, *, confident: bool
    ) -> tuple[Suggestion, ...]:
        if not live:
            return ()
        total = (parts.text + parts.around).tolist()
        sums = {place: round(total[place], 6) for place in live}
        best = sorted(live, key=lambda place: (-sums[place], place))
        top = self._chance(best, sums, parts)
        found = []
        for place in best[:limit]:
            # What is left for the others is what the first has not.
            share = top if place == best[0] else min(top, 1 - top) * sums[place] / max(sums[best[0]], 1e-9)
            score = round(share, 4)
            if confident and score < CONFIDENT:
                break
            reasons = reasons_for(self._evidence(ticket, place, parts))
            goal = self._goals[place].key_result
            found.append(Suggestion(goal, reasons, score, score >= CONFIDENT and bool(reasons)))
        return tuple(one for one in found if one.confident or not confident)

    def _chance(self, best: Sequence[int], sums: Mapping[int, float], parts: _Parts) -> float:
        """That the first of `best` fits."""
        first = best[0]
        own, total = float(parts.own[first]), sums[first]
        if total <= 0:
            return 0.0
        lead = (total - sums[best[1]]) / total if len(best) > 1 else _MOST_LEAD
        value = _BASE + _BY_OWN * min(own, _MOST_OWN) + _BY_LEAD * min(lead, _MOST_LEAD)
        chance = 1 / (1 + math.exp(-value - _BY_NEAREST * float(parts.nearest[first])))
        if chance <= _WITH_TWINS:
            return chance
        left, twins = set(best), self._twins(first)
        is_apart = all(own - float(parts.own[place]) >= _APART for place in twins if place in left)
        return chance if is_apart else _WITH_TWINS

    def _twins(self, place: int) -> Sequence[int]:
        """The other goals whose texts are much like this one's; remembered."""
        found = self._twins_of.get(place)
        if found is None:
            alike = (self._rows[[place]] @ self._matrices[0]).toarray()[0]
            alike[place] = 0
            found = self._twins_of[place] = np.flatnonzero(alike >= _TWINS).tolist()
        return found

    def _parts(self, tickets: Sequence[TicketText], now: datetime) -> _Parts:
        texts = [ticket.text(self._forms, TICKET_CHARACTERS) for ticket in tickets]
        number = len(tickets)
        asked = self._weigh(_counted_at_once([*texts, *(ticket.title for ticket in tickets)]))
        whole = asked[:number]
        by_both = (asked @ self._matrices[1]).toarray()
        own = (whole @ self._matrices[0]).toarray()
        nearest, nearest_place = self._nearest(tickets, whole)
        text = OWN * own + WITH_LINKED * by_both[:number] + TITLE * by_both[number:] + NEAREST * nearest
        of_project, of_component = self._shares(tickets)
        today = now.date()
        begun = np.array([goal.starts is None or goal.starts <= today for goal in self._goals])
        around = PROJECT * of_project + COMPONENT * of_component + PRESENT * begun
        return _Parts(own, text, around, nearest, nearest_place)

    def _nearest(self, tickets: Sequence[TicketText], whole: Any) -> tuple[Any, Any]:
        """For each ticket and goal the similarity of the most similar linked ticket, the first of equals, and
        its place; never the ticket itself."""
        shape = (len(tickets), len(self._goals))
        nearest, nearest_place = np.zeros(shape), np.full(shape, -1)
        if not self._linked:
            return nearest, nearest_place
        alike = (whole @ self._matrices[2]).toarray()
        for number, ticket in enumerate(tickets):
            if (own := self._row_of.get(ticket.id)) is not None:
                alike[number, own] = 0
        by_goal = alike[:, self._rows_by_goal]
        most = np.maximum.reduceat(by_goal, self._begins, axis=1)
        is_most = by_goal == np.repeat(most, self._lengths, axis=1)
        first = np.minimum.reduceat(
            np.where(is_most, self._rows_by_goal, len(self._linked)), self._begins, axis=1
        )
        nearest[:, self._linked_goals] = most
        nearest_place[:, self._linked_goals] = np.where(most > 0, first, -1)
        return nearest, nearest_place

    def _shares(self, tickets: Sequence[TicketText]) -> tuple[Any, Any]:
        """By ticket and goal the number of linked tickets of the same project, and with one of its
        components, each divided by the goals' largest."""
        same = np.zeros((2, len(tickets), len(self._linked)))
        for number, ticket in enumerate(tickets):
            same[0, number, self._rows_of_project.get((ticket.source_id, ticket.project), [])] = 1
            if (own := self._row_of.get(ticket.id)) is not None:
                same[0, number, own] = 0
            for name in ticket.components:
                same[1, number, self._rows_of_component.get(name.lower(), [])] = 1
        found = []
        for one in same:
            numbers = (self._links.T @ one.T).T
            found.append(numbers / np.maximum(1.0, numbers.max(axis=1, initial=0))[:, None])
        return found[0], found[1]

    def _evidence(self, ticket: TicketText, place: int, parts: _Parts) -> Evidence:
        row = int(parts.nearest_place[place])
        near = _neighbour(self._linked[row].ticket, float(parts.nearest[place])) if row >= 0 else None
        linked = (self._linked[at].ticket for at in self._epics_of.get(place, ()))
        of_project = sum(
            (other.source_id, other.project) == (ticket.source_id, ticket.project) and other.id != ticket.id
            for other in linked
        )
        lines = tuple(line for line in ticket.lines if line_form(line) not in self._forms)
        return Evidence(ticket, lines, self._goals[place].text[:GOAL_CHARACTERS], near, of_project)


def _neighbour(ticket: TicketText, similarity: float) -> Neighbour:
    return Neighbour(ticket.key, similarity, (ticket.title, *ticket.marks, *ticket.lines))


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
_LONGEST_KEPT = 40  # characters of a word that is remembered, which takes 1 kB


def _counted(texts: Sequence[str]) -> Any:
    return sparse.vstack([_counted_one(text) for text in texts], format="csr")


@lru_cache(maxsize=2048)
def _counted_one(text: str) -> Any:
    return _COUNTER.transform([significant(text)])


def _counted_at_once(texts: Sequence[str]) -> Any:
    """The same, and no text is remembered. A row is the sum of its words', for no run of characters goes
    beyond a word, and tickets have most of their words in common."""
    places: dict[str, int] = {}
    columns: list[int] = []
    begins = [0]
    for text in texts:
        columns += [places.setdefault(word, len(places)) for word in significant(text).split()]
        begins.append(len(columns))
    if not places:
        return sparse.csr_matrix((len(texts), _FEATURES))
    runs = [_runs(word) if len(word) <= _LONGEST_KEPT else _found_runs(word) for word in places]
    ends = np.cumsum([0, *map(len, runs)])
    of_words = sparse.csr_matrix(
        (np.ones(ends[-1]), np.concatenate(runs), ends), shape=(len(places), _FEATURES)
    )
    words = sparse.csr_matrix((np.ones(len(columns)), columns, begins), shape=(len(texts), len(places)))
    found = words @ of_words
    found.sort_indices()
    return found


@lru_cache(maxsize=8192)
def _runs(word: str) -> Any:
    return _found_runs(word)


def _found_runs(word: str) -> Any:
    """The features of a word's runs of characters, one as often as it is there."""
    row = _COUNTER.transform([word])
    return np.repeat(row.indices, row.data.astype(int))
