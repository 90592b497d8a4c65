"""The condition of a rule: its JSON form, read once into a tree that tests epics and explains the result.

Values are compared whole and without regard to case, and may be globs (`*`, `?`). A title is searched
with RE2. One matching value is enough for a test; an empty `all` is true, an empty `any` is false.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from mappings.rules.patterns import MAX_LENGTH, Patterns, RegexError, Search, regex_message, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from connectors.base import Epic

MAX_DEPTH = 8
MAX_TESTS = 100
MAX_VALUES = 1_000


class InvalidCondition(ValueError):
    """`path` is the part with the error (`when.all[2].title`), `message` says what to change."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
        self.message = message


class Condition(ABC):
    """One node of the tree. Its methods take an epic and the name of the epic's source."""

    children: tuple[Condition, ...] = ()

    @abstractmethod
    def matches(self, source: str, epic: Epic) -> bool: ...

    @abstractmethod
    def words(self) -> str:
        """The condition in words: `project is SHOP and label matches growth*`."""

    @abstractmethod
    def explain(self, source: str, epic: Epic) -> str:
        """Why it matches the epic or not: `project is CORE, not SHOP`."""


# --- the single tests -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Attribute:
    """A kind of value that epics have: its noun (singular, plural), and its values from source and epic."""

    one: str
    many: str
    of: Callable[[str, Epic], tuple[str, ...]]


ATTRIBUTES: dict[str, Attribute] = {
    "source": Attribute("source", "sources", lambda source, epic: (source,)),
    "project": Attribute("project", "projects", lambda source, epic: (epic.project, *epic.former_projects)),
    "label": Attribute("label", "labels", lambda source, epic: epic.labels),
    "type": Attribute("type", "types", lambda source, epic: (epic.type,)),
    "parent": Attribute("parent", "parents", lambda source, epic: (epic.parent.key,) if epic.parent else ()),
    "assignee": Attribute("assignee", "assignees", lambda source, epic: epic.assignees),
    "component": Attribute("component", "components", lambda source, epic: epic.components),
    "milestone": Attribute(
        "milestone", "milestones", lambda source, epic: (epic.milestone,) if epic.milestone else ()
    ),
}


class ValueTest(Condition):
    """`{"label": ["growth*"]}`: one of the epic's values of this kind matches one of these."""

    __slots__ = ("attribute", "kind", "patterns")

    def __init__(self, kind: str, values: Sequence[str]) -> None:
        self.kind = kind
        self.attribute = ATTRIBUTES[kind]
        self.patterns = Patterns(values)

    def matches(self, source: str, epic: Epic) -> bool:
        return any(map(self.patterns.matches, self.attribute.of(source, epic)))

    def words(self) -> str:
        return self.patterns.asked_of(self.attribute.one)

    def explain(self, source: str, epic: Epic) -> str:
        kind = self.attribute
        return self.patterns.comparison(kind.one, kind.many, kind.of(source, epic))


class FieldTest(Condition):
    """`{"field": {"name": "customfield_10020", "is": ["Growth"]}}`; the name is compared as written."""

    __slots__ = ("name", "patterns")

    def __init__(self, name: str, values: Sequence[str]) -> None:
        self.name = name
        self.patterns = Patterns(values)

    def matches(self, source: str, epic: Epic) -> bool:
        return any(map(self.patterns.matches, epic.fields.get(self.name, ())))

    def words(self) -> str:
        return self.patterns.asked_of(f"field {self.name}")

    def explain(self, source: str, epic: Epic) -> str:
        one, many = f"field {self.name}", f"values of field {self.name}"
        return self.patterns.comparison(one, many, epic.fields.get(self.name, ()))


class TitleTest(Condition):
    """`{"title": "(?i)checkout"}`: RE2, found anywhere in the title; case matters unless `(?i)` is given."""

    __slots__ = ("search",)

    def __init__(self, text: str) -> None:
        self.search = Search(text)

    def matches(self, source: str, epic: Epic) -> bool:
        return self.search.found_in(epic.title)

    def words(self) -> str:
        return f"title matches {shown([self.search.text])}"

    def explain(self, source: str, epic: Epic) -> str:
        verb = "matches" if self.matches(source, epic) else "does not match"
        return f"title “{shown([epic.title])}” {verb} {shown([self.search.text])}"


# --- combinations of tests --------------------------------------------------------------------


class _Group(Condition):
    joint: ClassVar[str]
    of_nothing: ClassVar[str]
    # The result of the group that one child alone decides.
    decided_by_one: ClassVar[bool]

    def __init__(self, children: Sequence[Condition]) -> None:
        self.children = tuple(children)

    def words(self) -> str:
        def part(child: Condition) -> str:
            inner = isinstance(child, _Group) and type(child) is not type(self) and len(child.children) > 1
            return f"({child.words()})" if inner else child.words()

        return self.joint.join(map(part, self.children)) if self.children else self.of_nothing

    def explain(self, source: str, epic: Epic) -> str:
        if not self.children:
            return self.of_nothing
        one = self.decided_by_one
        deciding = [child for child in self.children if child.matches(source, epic) is one]
        if deciding and one:
            return deciding[0].explain(source, epic)
        # A false `all` names every child that is false; otherwise all children decide together.
        explained = [child.explain(source, epic) for child in deciding or self.children]
        more = f"; and {len(explained) - 5} more" if len(explained) > 5 else ""
        return ("; " if deciding or one else " and ").join(explained[:5]) + more


class All(_Group):
    joint = " and "
    of_nothing = "every epic fits"
    decided_by_one = False

    def matches(self, source: str, epic: Epic) -> bool:
        for child in self.children:  # noqa: SIM110  # a generator costs more than a test, for each epic
            if not child.matches(source, epic):
                return False
        return True


class AnyOf(_Group):
    joint = " or "
    of_nothing = "no epic fits"
    decided_by_one = True

    def matches(self, source: str, epic: Epic) -> bool:
        for child in self.children:  # noqa: SIM110  # as above
            if child.matches(source, epic):
                return True
        return False


class Not(Condition):
    def __init__(self, child: Condition) -> None:
        self.children = (child,)

    def matches(self, source: str, epic: Epic) -> bool:
        return not self.children[0].matches(source, epic)

    def words(self) -> str:
        return f"not ({self.children[0].words()})"

    def explain(self, source: str, epic: Epic) -> str:
        explained = self.children[0].explain(source, epic)
        return f"{explained}, as asked" if self.matches(source, epic) else f"{explained}, which is ruled out"


def walk_tests(condition: Condition) -> Iterator[Condition]:
    """The node and all nodes below it."""
    yield condition
    for child in condition.children:
        yield from walk_tests(child)


def nearly_matches(condition: Condition, source: str, epic: Epic) -> str | None:
    """Which one test stands in the way, explained; None where the condition matches, or more than one does.

    Only what joins several tests can nearly match: a rule with a single test matches or does not.
    """
    if not isinstance(condition, All) or len(condition.children) < 2:
        return None
    failing = [child for child in condition.children if not child.matches(source, epic)]
    if len(failing) != 1:
        return None
    (child,) = failing
    # Of several tests joined in the one that fails, perhaps only one fails again.
    return nearly_matches(child, source, epic) or child.explain(source, epic)


def fields(condition: Condition) -> set[str]:
    """The custom fields that the condition reads; the source's `epics.fields` must list them."""
    return {node.name for node in walk_tests(condition) if isinstance(node, FieldTest)}


# --- parsing ----------------------------------------------------------------------------------

_KNOWN = (*ATTRIBUTES, "title", "field", "all", "any", "not")
_FORM = 'one object with one key, such as {"project": ["SHOP"]} or {"all": [...]}'


def parse_condition(when: object) -> Condition:
    """Read a rule's `when` from its JSON value. Raises `InvalidCondition`.

    At most 8 of `all`, `any` and `not` may be nested, and at most 100 tests given; an empty `all` or `any`
    counts as a test. A list holds 1 to 1,000 values of at most 500 characters.
    """
    return _Parser().node(when, "when", 0)


class _Parser:
    def __init__(self) -> None:
        self.tests = 0

    def node(self, value: object, path: str, depth: int) -> Condition:
        if not isinstance(value, dict):
            raise InvalidCondition(path, f"must be {_FORM}.")
        if len(value) != 1:
            count = "is empty" if not value else f"has {len(value)} keys"
            raise InvalidCondition(path, f'{count}; give {_FORM}; join several tests with "all" or "any".')
        (key, inner), *_ = value.items()
        if key not in _KNOWN:
            raise InvalidCondition(
                path, f"there is no test {str(key)[:40]!r}; use one of {', '.join(_KNOWN)}."
            )
        if key in ("all", "any", "not"):
            return self.joined(key, inner, f"{path}.{key}", depth + 1)
        self.count(path)
        return self.test(key, inner, f"{path}.{key}")

    def count(self, path: str) -> None:
        self.tests += 1
        if self.tests > MAX_TESTS:
            raise InvalidCondition(
                path, f"more than {MAX_TESTS} tests; list values in one test, or make several rules."
            )

    def joined(self, key: str, inner: object, path: str, depth: int) -> Condition:
        if depth > MAX_DEPTH:
            raise InvalidCondition(
                path, f"nested more than {MAX_DEPTH} deep; flatten it, or make several rules."
            )
        if key == "not":
            return Not(self.node(inner, path, depth))
        if not isinstance(inner, list):
            raise InvalidCondition(path, "must be a list of conditions.")
        if not inner:
            self.count(path)
        children = [self.node(item, f"{path}[{index}]", depth) for index, item in enumerate(inner)]
        return All(children) if key == "all" else AnyOf(children)

    def test(self, key: str, inner: object, path: str) -> Condition:
        if key == "title":
            return _title(inner, path)
        if key == "field":
            return _field(inner, path)
        return ValueTest(key, _values(inner, path))


def _word(value: object, path: str) -> str:
    if not isinstance(value, str):
        raise InvalidCondition(path, "must be text, or a list of texts.")
    if not value.strip():
        raise InvalidCondition(path, "is empty; give a value, or leave the test out.")
    if len(value) > MAX_LENGTH:
        raise InvalidCondition(path, f"has {len(value)} characters; at most {MAX_LENGTH} are possible.")
    if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
        raise InvalidCondition(path, "contains a character that no ticket can contain; remove it.")
    return value


def _values(inner: object, path: str) -> list[str]:
    if not isinstance(inner, list):
        return [_word(inner, path)]
    if not inner:
        raise InvalidCondition(path, "is an empty list; give at least one value, or leave the test out.")
    if len(inner) > MAX_VALUES:
        raise InvalidCondition(
            path, f"has {len(inner)} values; at most {MAX_VALUES} are possible, use a glob (*)."
        )
    return [_word(item, f"{path}[{index}]") for index, item in enumerate(inner)]


def _title(inner: object, path: str) -> Condition:
    if not isinstance(inner, str):
        raise InvalidCondition(path, "must be one regular expression, as text.")
    text = _word(inner, path)
    try:
        return TitleTest(text)
    except RegexError as error:
        raise InvalidCondition(
            path,
            f"RE2 does not accept this regular expression ({regex_message(error)}); it has no look-around.",
        ) from None


def _field(inner: object, path: str) -> Condition:
    if not isinstance(inner, dict) or set(inner) != {"name", "is"}:
        raise InvalidCondition(path, 'must be {"name": "...", "is": ["..."]}, with nothing else in it.')
    name = inner["name"]
    if not isinstance(name, str):
        raise InvalidCondition(f"{path}.name", "must be the field's name, as text.")
    return FieldTest(_word(name, f"{path}.name"), _values(inner["is"], f"{path}.is"))
