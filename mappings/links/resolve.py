"""From an epic to its key results: its links, the origin of each, and why. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from mappings.goals.key_results import KeyResult, is_live, why_not_live
from mappings.links.keys import KEY
from mappings.links.references import (
    MOST_WORDS,
    Declaration,
    How,
    looks_like_key,
    read_stored,
    shape_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from connectors.base import Epic
    from mappings.rules.index import RuleIndex

_UNDER = "the description has {key} under the heading `{written}`"
_BELOW = "a table in the description has {key} below `{written}`"
REFERENCE_TEXTS: Mapping[How, str] = {
    "line": "the description says `{written} {key}`",
    "heading": _UNDER,
    "under": _UNDER,
    "beside": "a table in the description has {key} beside `{written}`",
    "below": _BELOW,
    "else": _BELOW,
    "label": "the ticket has the label `{written}`",
    "field": "the ticket's field `{written}` says {key}",
}
_LONGEST_KEY = 80


@dataclass(frozen=True, slots=True)
class ManualLink:
    """A link a person made, by the API (`manual`) or by a command on the ticket (`command`)."""

    key_result_id: int
    origin: str
    why: str
    weight: float = 1
    primary: bool = False


@dataclass(frozen=True, slots=True)
class Ancestor:
    """An epic above another one: the name of its source, its key there, and its title."""

    id: int
    source: str
    key: str
    title: str


@dataclass(slots=True)  # not frozen: an evaluation makes them for each epic
class ResolvedLink:
    """An epic's link to one key result, immutable. `live`: it counts towards alignment at this moment.

    `primary`: a person marked it, or it is the primary link of the parent. `inherited_from`: the epic whose
    own link it is, for an inherited one; `way`: the epics between, the parent first.
    """

    key_result: KeyResult
    origin: str
    why: str
    live: bool
    rule_id: int | None = None
    weight: float = 1
    primary: bool = False
    inherited_from: Ancestor | None = None
    way: tuple[Ancestor, ...] = ()


NAMES = "The ticket names "


@dataclass(frozen=True, slots=True)
class Unknown:
    """What a ticket names in place of a key that a key result has.

    `key`: the word, or the words of a label or field, in one line of at most 80 characters. `how`: where, as
    in `mappings.links.references.Declaration`, and `more` for all that is beyond what is read. `written`:
    as there.
    """

    key: str
    how: How | Literal["more"] = "line"
    written: str = "Key-Result:"

    @property
    def sentence(self) -> str:
        """What is wrong with it, without a full stop."""
        return f"{NAMES}{self.key}{self.wrong}"

    @property
    def wrong(self) -> str:
        """What the sentence says after `NAMES` and the key."""
        if self.how == "more":
            return ", which is more than is read"
        return (
            ", which does not exist" if KEY.fullmatch(self.key) else ", which is not the key of a key result"
        )


@dataclass(frozen=True, slots=True)
class Resolution:
    """The links of one epic. `unknown`: what its ticket names that is no key of a key result."""

    links: tuple[ResolvedLink, ...] = ()
    unknown: tuple[Unknown, ...] = ()

    @property
    def aligned(self) -> bool:
        for link in self.links:  # noqa: SIM110  # a generator costs more than a test, for each epic
            if link.live:
                return True
        return False


@dataclass(frozen=True)
class GoalsAndRules:
    """All key results and rules at one moment, built once and used for many epics."""

    key_results: dict[int, KeyResult]
    rules: RuleIndex
    by_key: dict[str, KeyResult] = field(init=False)
    shapes: frozenset[str] = field(init=False)  # of all keys

    def __post_init__(self) -> None:
        keys = {known.key.lower(): known for known in self.key_results.values()}
        object.__setattr__(self, "by_key", keys)
        object.__setattr__(self, "shapes", frozenset(map(shape_of, keys)))

    def live(self, now: datetime) -> list[KeyResult]:
        return [known for known in self.key_results.values() if is_live(known, now)]


def resolve(
    source: str,
    epic: Epic,
    ticket_references: Sequence[str],
    manual_links: Sequence[ManualLink],
    goals: GoalsAndRules,
    now: datetime,
) -> Resolution:
    """The epic's own links: those by hand and by ticket text; one by a rule only where none of these is live.

    `ticket_references` are the references in the ticket's text as stored
    (`mappings.links.references.stored_references`).
    """
    links: list[ResolvedLink] = []
    for manual in manual_links:
        goal = goals.key_results[manual.key_result_id]
        live = is_live(goal, now)
        links.append(
            ResolvedLink(goal, manual.origin, manual.why, live, weight=manual.weight, primary=manual.primary)
        )
    unknown: tuple[Unknown, ...] = ()
    if ticket_references:
        named, unknown = _of_ticket(ticket_references, goals)
        links += [ResolvedLink(goal, "ticket", why, is_live(goal, now)) for goal, why in named]
    if not links or not any([link.live for link in links]):
        rule = goals.rules.first_match(source, epic)
        if rule is not None:
            goal = goals.key_results[rule.key_result_id]
            links.append(ResolvedLink(goal, "rule", goals.rules.why(rule), is_live(goal, now), rule.id))
    return Resolution(tuple(links), unknown)


def _of_ticket(
    stored: Iterable[str], goals: GoalsAndRules
) -> tuple[list[tuple[KeyResult, str]], tuple[Unknown, ...]]:
    """The key results that a ticket names, each once, with the reason; and what it names that is none."""
    references = read_stored(stored)
    links: dict[int, tuple[KeyResult, str]] = {}
    unknown: dict[str, Unknown] = {}
    is_open = linked = False  # what the place before left: whether a list goes on, whether it made a link
    for place in references.declarations:
        if (place.how == "else" and linked) or (place.how == "under" and not is_open):
            continue
        known = _known(place, goals)
        if place.how == "under" and len(known) < len(place.words):
            is_open = False
            if all(_may_be_key(word, goals) for word in place.words):
                unknown |= {one.key.lower(): one for one in _named_wrongly(place, known, goals)}
            continue
        linked = is_open = bool(known)
        text = REFERENCE_TEXTS[place.how]
        for goal in known:
            written = place.written.replace("`", "'")
            links.setdefault(goal.id, (goal, text.format(key=goal.key, written=written)))
        for one in _named_wrongly(place, known, goals):
            unknown.setdefault(one.key.lower(), one)
    if references.more:
        unknown[""] = Unknown(f"over {MOST_WORDS} words as keys", "more")
    return list(links.values()), tuple(unknown.values())


def _may_be_key(word: str, goals: GoalsAndRules) -> bool:
    return word.lower() in goals.by_key or looks_like_key(word, goals.shapes)


def _known(place: Declaration, goals: GoalsAndRules) -> list[KeyResult]:
    found: list[KeyResult] = []
    for word in place.words:
        goal = goals.by_key.get(word.lower())
        if goal is None:
            break
        found.append(goal)
    return found


def _named_wrongly(place: Declaration, known: Sequence[KeyResult], goals: GoalsAndRules) -> Iterator[Unknown]:
    """What a person plainly tried to name there: nothing of prose.

    Any words after `Key-Result:`, in a label or in the field, where none is a key; else what looks like a
    key or is an address.
    """
    left = place.words[len(known) :]
    tries = place.is_plain and not known
    if not place.words:
        if tries or place.rest.lower().startswith(("http://", "https://")):
            whole = place.how in {"label", "field"}
            yield _unknown(place, place.rest if whole else place.rest.split()[0])
        return
    if tries and place.how in {"label", "field"} and not looks_like_key(left[0], goals.shapes):
        yield _unknown(place, " ".join(left))
        return
    if not place.is_plain and not known and _is_prose(left, goals):
        return
    for at, word in enumerate(left):
        is_wrong = looks_like_key(word, goals.shapes) or (tries and at == 0)
        if word.lower() in goals.by_key or not is_wrong:
            return
        yield _unknown(place, word)


def _is_prose(words: Sequence[str], goals: GoalsAndRules) -> bool:
    """Whether it only begins like a key, and no key has that shape: "ISO-27001 certification"."""
    return shape_of(words[0]) not in goals.shapes and not all(_may_be_key(word, goals) for word in words)


def _unknown(place: Declaration, words: str) -> Unknown:
    short = words if len(words) <= _LONGEST_KEY else words[: _LONGEST_KEY - 1] + "…"
    return Unknown(short, place.how, place.written)


def link_text(link: ResolvedLink, now: datetime) -> str:
    """Why the link exists and, if it does not count, why not."""
    why_not = why_not_live(link.key_result, now)
    return link.why if why_not is None else f"{link.why}; it does not align the epic, {why_not}"
