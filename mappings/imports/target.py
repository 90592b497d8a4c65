"""A goal as the lines of a file want it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from mappings.imports.outcome import LineResult

Row = TypeVar("Row")
Values = dict[str, Any]  # of a goal, by the names of the columns


@dataclass(slots=True)
class Target(Generic[Row]):
    """A goal that lines name: `stored` is its row, None for a new one; `before` are its values there, or the
    defaults. `values` are those that the lines want, which are in `lines`."""

    key: str | None
    stored: Row | None
    before: Values
    values: Values
    lines: list[LineResult] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return bool(self.lines) and self.lines[0].outcome != "error"

    @property
    def changed(self) -> set[str]:
        return {name for name, value in self.values.items() if not same(value, self.before[name])}

    def fail(self, column: str, message: str) -> None:
        for line in self.lines:
            line.fail([(column, message)])
        self.values = self.before


def same(one: Any, other: Any) -> bool:
    """A text of blanks alone cannot be told from an empty cell."""
    return one == other or (_is_nothing(one) and _is_nothing(other))


def _is_nothing(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())
