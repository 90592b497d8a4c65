"""What a file of goals would change: each line against what is stored and against the other lines. Pure.

A line is known by its key; without one by its title, an objective's within its cycle, a key result's within
its objective. So the same file again finds what it made.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic

from mappings.imports.outcome import LineResult
from mappings.imports.parents import check_parents
from mappings.imports.target import Row, Target, Values, same

if TYPE_CHECKING:
    from mappings.imports.cells import Line
    from mappings.imports.columns import Kind
    from mappings.values import FieldErrors

VOIDS = ", which voids its agreements"
# A cycle is made by no file.
HOW_TO_MAKE = {"cycle": "; POST /api/v1/cycles makes it"}


@dataclass(frozen=True)
class GoalRules(Generic[Row]):
    """What differs between objectives and key results. `within` is the column that its title is unique in,
    `above` the keys that a column may name, by their lower case; `parents` is the column that names another
    goal of the same kind, `fixed` what an import sets once, `signed` what people sign. `errors` are those of
    all values together, with the key of the goal that they change, None for a new one."""

    kind: Kind
    defaults: Values
    within: str
    above: Mapping[str, Mapping[str, str]]
    errors: Callable[[Values, str | None], FieldErrors]
    prefix: str
    parents: str | None = None
    fixed: tuple[str, ...] = ()
    signed: Collection[str] = ()


@dataclass(frozen=True)
class GoalPlan(Generic[Row]):
    """The results of the lines, and what to store: new goals, those that are above others first, and changed
    ones."""

    lines: Sequence[LineResult]
    created: Sequence[Target[Row]]
    changed: Sequence[Target[Row]]


def plan_goals(
    rules: GoalRules[Row], lines: Sequence[Line], stored: Sequence[tuple[str, Row, Values]]
) -> GoalPlan[Row]:
    """`stored` are all goals of this kind, each with its key, its row and its values."""
    return _Planner(rules, stored).plan(lines)


class _Planner(Generic[Row]):
    def __init__(self, rules: GoalRules[Row], stored: Sequence[tuple[str, Row, Values]]) -> None:
        self.rules = rules
        self.by_key: dict[str, Target[Row]] = {}
        for key, row, values in stored:
            self.by_key[key.lower()] = Target(key, row, values, values)
        self.by_title: dict[str, list[Target[Row]]] = defaultdict(list)
        self.made: list[Target[Row]] = []

    def plan(self, lines: Sequence[Line]) -> GoalPlan[Row]:
        results = [LineResult(line.number, "same", line.values.get("key")) for line in lines]
        pairs = list(zip(lines, results, strict=True))
        for line, result in pairs:
            if line.values.get("key") is not None or line.errors:
                self._take(line, result, self._named(line))
        for target in self.by_key.values():
            self.by_title[str(target.values["title"])].append(target)
        for line, result in pairs:
            if line.values.get("key") is None and not line.errors:
                self._take_by_title(line, result)
        if self.rules.parents is not None:
            check_parents(self.made, self.by_key, self.rules.parents)
        self._number()
        touched = [target for target in self.by_key.values() if target.good and target.stored is not None]
        return GoalPlan(
            results, [made for made in self.made if made.good], [found for found in touched if found.changed]
        )

    def _number(self) -> None:
        """Give new goals without a key the next numbers, in the order of their lines."""
        pattern = re.compile(re.escape(self.rules.prefix.lower()) + r"([0-9]{1,18})", re.ASCII)
        taken = (pattern.fullmatch(key) for key in self.by_key)
        number = max((int(found[1]) for found in taken if found), default=0)
        for target in sorted(self.made, key=lambda made: made.lines[0].line):
            if target.key is None and target.good:
                number += 1
                target.key = f"{self.rules.prefix}{number}"
                for line in target.lines:
                    line.key = target.key

    # --- lines --------------------------------------------------------------------------------

    def _named(self, line: Line) -> Target[Row]:
        key = line.values.get("key")
        return self.by_key.get((key or "").lower()) or self._new(key)

    def _new(self, key: str | None) -> Target[Row]:
        return Target(key, None, self.rules.defaults, self.rules.defaults)

    def _take_by_title(self, line: Line, result: LineResult) -> None:
        """A line without a key: the goal with its title, or a new one."""
        title, within = line.values.get("title"), self.rules.within
        if title is None:
            result.fail(
                [("key" if "key" in line.values else "title", "is empty, and no title stands in its place")]
            )
            return
        place = self._known_key(within, line.values.get(within))
        found = [
            target
            for target in self.by_title[title]
            if within not in line.values or _lower(target.values[within]) == _lower(place)
        ]
        if len(found) > 1:
            keys = ", ".join(str(target.key) for target in found[:5])
            result.fail([("key", f"is needed: {len(found)} have this title ({keys})")])
            return
        target = found[0] if found else self._new(None)
        self._take(line, result, target)
        if not found and result.outcome != "error":
            self.by_title[title].append(target)

    def _take(self, line: Line, result: LineResult, target: Target[Row]) -> None:
        """Merge the line into its goal, or say what is wrong."""
        sought = {**target.values, **self._sought(line)}
        errors = [*line.errors, *self._errors(line, target, sought)]
        differing = [name for name in sought if not same(sought[name], target.values[name])]
        if target.lines and differing and not errors:
            first = f"line {target.lines[0].line} says otherwise of the same {self._noun}"
            errors = [(differing[0], first)]
        if errors:
            result.fail(errors)
            return
        result.key = target.key
        if not target.lines:
            is_new = target.stored is None
            result.outcome = "created" if is_new else "changed" if differing else "same"
            if result.outcome == "changed":
                result.message = self._changes(differing)
            target.values = sought
            if is_new:
                self.made.append(target)
                if target.key is not None:
                    self.by_key[target.key.lower()] = target
        target.lines.append(result)

    def _changes(self, columns: list[str]) -> str:
        voids = any(name in self.rules.signed for name in columns)
        return f"changes {', '.join(columns)}{VOIDS if voids else ''}"

    @property
    def _noun(self) -> str:
        return self.rules.kind.name.removesuffix("s").replace("-", " ")

    def _sought(self, line: Line) -> Values:
        """The line's values; an empty cell is its column's default, and a key is as its goal writes it."""
        sought: Values = {}
        for name, value in line.values.items():
            if name == "key":
                continue
            column = self.rules.kind.by_name[name]
            sought[name] = column.default if value is None else self._known_key(name, value)
        return sought

    def _known_key(self, name: str, value: Any) -> Any:
        known = self.rules.above.get(name)
        if known is not None and isinstance(value, str):
            return known.get(value.lower(), value)
        if name == self.rules.parents and isinstance(value, str):
            target = self.by_key.get(value.lower())
            return target.key if target is not None and target.stored is not None else value
        return value

    def _errors(self, line: Line, target: Target[Row], sought: Values) -> list[tuple[str, str]]:
        wrong = {name for name, _ in line.errors}
        found: list[tuple[str, str]] = []
        for name in self.rules.kind.needed:
            if sought.get(name) is None and name not in wrong:
                new = target.stored is None
                found.append((name, f"is needed for a new {self._noun}" if new else "must not be empty"))
        stored_key = None if target.stored is None else target.key
        found += [
            (name.rpartition(".")[2], text)
            for name, text in self.rules.errors({"key": target.key, **sought}, stored_key)
            if text is not None and name not in wrong
        ]
        named = {name for name, _ in found} | wrong
        for name, known in self.rules.above.items():
            value = sought.get(name)
            if value is not None and name not in named and value.lower() not in known:
                found.append((name, f"there is no {name} {value!r}{HOW_TO_MAKE.get(name, '')}"))
        if target.stored is not None:
            found += [
                (name, f"is {target.values[name]}; an import does not change it")
                for name in self.rules.fixed
                if name not in named and not same(sought[name], target.values[name])
            ]
        return found


def _lower(key: str | None) -> str | None:
    return None if key is None else key.lower()
