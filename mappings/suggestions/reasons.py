"""Why a key result is suggested, in clauses: each names something that its score was computed from. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import TYPE_CHECKING

from mappings.suggestions.material import words

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mappings.suggestions.material import TicketText

_MOST_WORDS = 3
_LEAST_LIKE = 0.2  # a similarity below this is chance
_LEAST_PREFIX = 5
MOST_OF_PROJECT = 20  # as many linked tickets of a key result are looked at


# Of a ticket, by where it has them: words as `words` gives them.
_Words = Sequence[tuple[str, Mapping[str, str]]]


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A linked ticket, how similar it is, from 0 to 1, and its title, labels, components and lines."""

    key: str
    similarity: float
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was found for one key result. `lines`: those of the ticket's description that were compared;
    `of_project`: how many other linked tickets of the project serve it."""

    ticket: TicketText
    lines: tuple[str, ...]
    goal: str
    nearest: Neighbour | None
    of_project: int


def reasons_for(found: Evidence) -> tuple[str, ...]:
    """The clauses, the strongest first; none where only parts of words are alike."""
    goal = _words_of_goal(found.goal)
    own = [(origin, words(texts)) for origin, texts in _origins(found)]
    parts = list(_shared(own, goal)) or list(_alike(found, goal))
    if found.nearest is not None and _is_alike(own, found.nearest):
        parts.append(f"much like {found.nearest.key}, which serves it")
    if found.of_project:
        parts.append(_of_project(found.of_project, found.ticket.project))
    return tuple(parts)


@lru_cache(maxsize=512)
def _words_of_goal(text: str) -> Mapping[str, str]:
    return words([text])


def _is_alike(own: _Words, nearest: Neighbour) -> bool:
    """Whether a reader finds them alike: parts of words, or the team's name, are no reason."""
    if nearest.similarity < _LEAST_LIKE:
        return False
    others = words(nearest.texts)
    return any(not found.keys().isdisjoint(others) for _, found in own)


def _of_project(number: int, project: str) -> str:
    if number == 1:
        return f"1 other epic of {project} serves it"
    more = " or more" if number >= MOST_OF_PROJECT else ""
    return f"{number}{more} other epics of {project} serve it"


def _shared(own: _Words, goal: Mapping[str, str]) -> Iterator[str]:
    seen: set[str] = set()
    for origin, found in own:
        shared = {stem: word for stem, word in found.items() if stem in goal and stem not in seen}
        seen |= shared.keys()
        if shared:
            yield f"shares {_quoted(shared.values())} with {origin}"


def _origins(found: Evidence) -> tuple[tuple[str, tuple[str, ...]], ...]:
    ticket = found.ticket
    return (
        ("the title", (ticket.title,)),
        ("a label or component", ticket.marks),
        ("the parent's title", (ticket.parent_title,)),
        ("the description", found.lines),
    )


def _alike(found: Evidence, goal: Mapping[str, str]) -> Iterator[str]:
    """A word of the title that begins as one of the goal does: a compound, or the same word in German."""
    starts = {stem[:_LEAST_PREFIX]: word for stem, word in reversed(list(goal.items())) if len(stem) >= 5}
    for stem, word in words([found.ticket.title]).items():
        other = starts.get(stem[:_LEAST_PREFIX]) if len(stem) >= _LEAST_PREFIX else None
        if other is not None:
            yield f"“{word}” in the title is close to its “{other}”"
            return


def _quoted(found: Iterable[str]) -> str:
    return ", ".join(f"“{word}”" for word in islice(found, _MOST_WORDS))
