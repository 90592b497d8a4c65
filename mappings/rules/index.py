"""Many rules over many epics: the first rule that matches an epic, found without testing every rule.

Every rule is indexed by something that an epic must have for the rule to match: one of a few values
of one kind, or an expression in its title. An epic is tested only by the rules indexed by what it has.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mappings.rules.condition import (
    ATTRIBUTES,
    All,
    AnyOf,
    Condition,
    FieldTest,
    TitleTest,
    ValueTest,
    walk_tests,
)
from mappings.rules.patterns import Glob, SearchSet, fold, is_glob

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from connectors.base import Epic


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule with its condition read. The lowest `priority` is tested first, then the lowest `id`."""

    id: int
    name: str
    condition: Condition
    key_result_id: int
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Winner:
    """The rule that gives an epic's link where the rules are asked. `because`: by what it comes before the
    others that match, which are not asked."""

    rule: Rule
    because: str


# Something that an epic may have: a kind (for a custom field `field:` and its name), and a pattern. The
# pattern is folded, unless it is an expression for the title.
_Trait = tuple[str, str]
_Traits = frozenset[_Trait]


def _traits(test: Condition) -> _Traits | None:
    """The traits of which an epic needs at least one to pass; None where the node is no single test."""
    if isinstance(test, ValueTest):
        return frozenset((test.kind, fold(text)) for text in test.patterns.texts)
    if isinstance(test, FieldTest):
        return frozenset((f"field:{test.name}", fold(text)) for text in test.patterns.texts)
    if isinstance(test, TitleTest):
        return frozenset([("title", test.search.text)])
    return None


class _TraitIndex:
    """Chooses for each rule the traits that are the cheapest to index it by."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = len(rules)
        self._uses = Counter(
            trait for rule in rules for node in walk_tests(rule.condition) for trait in _traits(node) or ()
        )

    def _cost(self, traits: _Traits) -> float:
        # A glob matches more epics than a word does, and an expression is searched for in every title.
        cost = 0.0
        for kind, text in traits:
            cost += self._uses[kind, text]
            if kind == "title":
                cost += 0.2 * self._rules
            elif is_glob(text):
                cost += (0.1 if text.strip("*") else 1.0) * self._rules
        return cost

    def traits(self, condition: Condition) -> _Traits | None:
        """Traits of which every matching epic has at least one; None where no such traits exist."""
        own = _traits(condition)
        if own is not None:
            return own
        below = [self.traits(child) for child in condition.children]
        if isinstance(condition, All):
            return min((traits for traits in below if traits is not None), key=self._cost, default=None)
        if isinstance(condition, AnyOf):
            known = [traits for traits in below if traits is not None]
            return frozenset[_Trait]().union(*known) if len(known) == len(below) else None
        return None


class _TraitBucket:
    """The rules indexed by values of one kind, as positions in `RuleIndex.rules`."""

    _MOST_CACHED = 20_000

    def __init__(self, indexed: dict[str, list[int]]) -> None:
        self._words = {text: positions for text, positions in indexed.items() if not is_glob(text)}
        self._globs = [(Glob(text), positions) for text, positions in indexed.items() if is_glob(text)]
        self._cached: dict[str, frozenset[int]] = {}

    def under(self, value: str) -> frozenset[int]:
        known = self._cached.get(value)
        if known is not None:
            return known
        folded = fold(value)
        found = set(self._words.get(folded, ()))
        for glob, positions in self._globs:
            if glob.matches(folded):
                found.update(positions)
        if len(self._cached) >= self._MOST_CACHED:
            self._cached.clear()
        if len(value) <= 256:
            self._cached[value] = frozenset(found)
        return frozenset(found)


class _TitleBucket:
    """The rules indexed by expressions, as positions in `RuleIndex.rules`."""

    def __init__(self, indexed: dict[str, list[int]]) -> None:
        self._set = SearchSet(list(indexed))
        self._positions = list(indexed.values())

    def under(self, title: str) -> frozenset[int]:
        found = self._set.possible(title)
        return frozenset(position for index in found for position in self._positions[index])


class RuleIndex:
    """The enabled rules at one moment, built once and used for many epics."""

    def __init__(self, rules: Iterable[Rule]) -> None:
        self.rules: tuple[Rule, ...] = tuple(sorted(rules, key=lambda rule: (rule.priority, rule.id)))
        trait_index = _TraitIndex(self.rules)
        indexed: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        unindexed: list[int] = []
        for position, rule in enumerate(self.rules):
            traits = trait_index.traits(rule.condition)
            if traits is None:
                unindexed.append(position)
                continue
            for kind, text in traits:
                indexed[kind][text].append(position)
        titles = indexed.pop("title", None)
        self._titles = _TitleBucket(titles) if titles else None
        self._buckets = [
            (ATTRIBUTES[kind].of, _TraitBucket(by)) for kind, by in indexed.items() if kind in ATTRIBUTES
        ]
        self._fields = [
            (kind.removeprefix("field:"), _TraitBucket(by))
            for kind, by in indexed.items()
            if kind not in ATTRIBUTES
        ]
        self._unindexed = frozenset(unindexed)
        self._why: dict[int, str] = {}

    def _possible(self, source: str, epic: Epic) -> list[int]:
        found = [self._unindexed] if self._unindexed else []
        for values_of, bucket in self._buckets:
            found.extend(map(bucket.under, values_of(source, epic)))
        for name, bucket in self._fields:
            found.extend(map(bucket.under, epic.fields.get(name, ())))
        if self._titles is not None:
            found.append(self._titles.under(epic.title))
        return sorted(frozenset().union(*found))

    def first_match(self, source: str, epic: Epic) -> Rule | None:
        for position in self._possible(source, epic):
            rule = self.rules[position]
            if rule.condition.matches(source, epic):
                return rule
        return None

    def matching(self, source: str, epic: Epic) -> list[Rule]:
        """Every rule that matches, in the order in which they are tested; the first gives the link."""
        possible = (self.rules[position] for position in self._possible(source, epic))
        return [rule for rule in possible if rule.condition.matches(source, epic)]

    def winner(self, source: str, epic: Epic) -> Winner | None:
        """The first rule that matches and why it is the first; None where no rule matches."""
        matching = self.matching(source, epic)
        if not matching:
            return None
        first, *others = matching
        return Winner(first, _because(first, others))

    def why(self, rule: Rule) -> str:
        """The `why` of a link that the rule makes; the same for every epic."""
        if rule.id not in self._why:
            self._why[rule.id] = f"rule {rule.name!r} matches: {rule.condition.words()}"
        return self._why[rule.id]

    def explain(self, source: str, epic: Epic) -> list[tuple[Rule, bool, str]]:
        """Every rule in the order of the tests, whether it matches, and why."""
        return [
            (rule, rule.condition.matches(source, epic), rule.condition.explain(source, epic))
            for rule in self.rules
        ]


def _because(first: Rule, others: Sequence[Rule]) -> str:
    """By what a rule comes before these, which follow it."""
    if not others:
        return "no other rule matches"
    following = f"{others[0].name!r}, the next that matches"
    if first.priority < others[0].priority:
        return f"its priority {first.priority} is lower than {others[0].priority} of {following}"
    return f"it has the same priority {first.priority} as {following}, and is older"


# --- rules that match the same epics ----------------------------------------------------------

MOST_OVERLAPS = 20


@dataclass(frozen=True, slots=True)
class Overlap:
    """Another rule that matches `epics` of the epics that a rule matches. Of these, the rule itself is the
    first that matches on `wins`."""

    rule: Rule
    epics: int
    wins: int


@dataclass(slots=True)
class Overlaps:
    """Counts which other rules match the epics of one rule."""

    _epics: Counter[int] = field(default_factory=Counter)
    _wins: Counter[int] = field(default_factory=Counter)

    def add(self, rule: Rule, matching: Sequence[Rule]) -> None:
        """An epic that `rule` matches; `matching` are all that do, in the order in which they are tested."""
        others = [other.id for other in matching if other.id != rule.id]
        self._epics.update(others)
        if matching[0].id == rule.id:
            self._wins.update(others)

    def largest(self, rules: Iterable[Rule], most: int = MOST_OVERLAPS) -> list[Overlap]:
        """Those of `rules` that match the most of the epics."""
        known = {rule.id: rule for rule in rules}
        counted = sorted(self._epics.items(), key=lambda item: (-item[1], item[0]))
        return [Overlap(known[id], epics, self._wins[id]) for id, epics in counted if id in known][:most]
