"""A condition as one sentence for people: what an epic must be for the rule to link it. Pure.

Shorter than `Condition.words`, which says each test as it is compared; here a glob is said by what it means.
"""

from __future__ import annotations

import re

from mappings.rules.condition import AnyOf, Condition, FieldTest, Not, TitleTest, ValueTest
from mappings.rules.patterns import Patterns, is_glob

MOST_VALUES = 5
MOST_TESTS = 10
MOST_CHARACTERS = 60
# Kinds of which an epic may have several values; of the others it has one, or none.
_SEVERAL = {"label", "assignee", "component"}
_IN_ANY_CASE = "(?i)"
_PLAIN = re.compile(r"[\w\s,:;!'\"/&%@#=<>~-]+")


def sentence(condition: Condition) -> str:
    """`Links an epic where its project is SHOP, and one of its labels begins with “growth”.`"""
    always = _decided(condition)
    if always is not None:
        return "Links every epic." if always else "Links no epic."
    return f"Links an epic where {_clause(condition, top=True)}."


def _decided(condition: Condition) -> bool | None:
    """The result for every epic alike, of what holds no test; None where there is one."""
    if isinstance(condition, Not):
        inner = _decided(condition.children[0])
        return None if inner is None else not inner
    if condition.children or isinstance(condition, ValueTest | FieldTest | TitleTest):
        return None
    return not isinstance(condition, AnyOf)


def _clause(condition: Condition, *, negated: bool = False, top: bool = False) -> str:
    if isinstance(condition, Not):
        return _clause(condition.children[0], negated=not negated)
    if isinstance(condition, ValueTest):
        return _value(condition, negated)
    if isinstance(condition, FieldTest):
        return _single(f"its field {_short(condition.name)}", condition.patterns, negated)
    if isinstance(condition, TitleTest):
        return _title(condition.search.text, negated)
    return _group(condition, negated, top)


def _group(condition: Condition, negated: bool, top: bool) -> str:
    either = isinstance(condition, AnyOf)
    if not condition.children:
        # An empty `any` is never true, an empty `all` always.
        return "nothing fits" if either is not negated else "anything fits"
    shown = condition.children[:MOST_TESTS]
    parts = [_clause(child) for child in shown]
    more = len(condition.children) - len(shown)
    if more:
        parts.append(f"{more} more test{'' if more == 1 else 's'} {'passes' if more == 1 else 'pass'}")
    if len(parts) == 1:
        return _clause(shown[0], negated=negated, top=top)
    joined = (", or " if either else ", and ").join(parts)
    if negated:
        return f"not ({joined})"
    return joined if top else f"({joined})"


def _value(test: ValueTest, negated: bool) -> str:
    noun = test.attribute
    if test.kind in _SEVERAL:
        whose = "none" if negated else "one"
        return f"{whose} of its {noun.many} {_alternatives(test.patterns, negated=False)}"
    return _single(f"its {noun.one}", test.patterns, negated)


def _single(noun: str, patterns: Patterns, negated: bool) -> str:
    return f"{noun} {_alternatives(patterns, negated=negated)}"


def _alternatives(patterns: Patterns, *, negated: bool) -> str:
    """`is A or B, or begins with “c”`; negated `is neither A nor B, and does not begin with “c”`."""
    texts = patterns.texts[:MOST_VALUES]
    words = [_short(text) for text in texts if not is_glob(text)]
    more = len(patterns.texts) - len(texts)
    found: list[str] = []
    if words:
        found.append(_is_not(words) if negated else f"is {_or(words)}")
    found += [_glob(text, negated) for text in texts if is_glob(text)]
    if more:
        found.append(f"{'matches none' if negated else 'matches one'} of {more} more")
    joint = "and" if negated else "or"
    return found[0] if len(found) == 1 else f"{', '.join(found[:-1])}, {joint} {found[-1]}"


def _or(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _is_not(words: list[str]) -> str:
    if len(words) == 1:
        return f"is not {words[0]}"
    return f"is neither {' nor '.join(words)}" if len(words) == 2 else f"is none of {_or(words)}"


def _glob(text: str, negated: bool) -> str:
    core = text.strip("*")
    starts, ends = text.startswith("*"), text.endswith("*")
    if not core:
        return "is empty" if negated else "has any value"
    if is_glob(core) or not (starts or ends):
        return f"{'does not fit' if negated else 'fits'} the pattern “{_short(text)}”"
    verb = ("contain" if ends else "end with") if starts else "begin with"
    words = f"does not {verb}" if negated else " ".join([f"{verb.split()[0]}s", *verb.split()[1:]])
    return f"{words} “{_short(core)}”"


def _title(text: str, negated: bool) -> str:
    plain = text.removeprefix(_IN_ANY_CASE)
    if _PLAIN.fullmatch(plain):
        case = ", in any case" if text != plain else ""
        return f"its title {'does not contain' if negated else 'contains'} “{_short(plain)}”{case}"
    return f"its title {'does not match' if negated else 'matches'} the expression “{_short(text)}”"


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= MOST_CHARACTERS else f"{line[:MOST_CHARACTERS]}…"
