"""What an import answers: a result for each line. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Outcome = Literal["created", "changed", "same", "error"]


@dataclass(slots=True)
class LineResult:
    """`line` as a spreadsheet program counts; `key` is that of the goal, or of the epic; `field` is the first
    column that is wrong, `message` says all that is."""

    line: int
    outcome: Outcome
    key: str | None = None
    field: str | None = None
    message: str = ""

    def fail(self, errors: Sequence[tuple[str, str]]) -> None:
        self.outcome = "error"
        self.field = errors[0][0]
        self.message = "; ".join(f"{name}: {text}" for name, text in errors)


@dataclass(frozen=True, slots=True)
class Imported:
    """`applied`: what the lines without errors say is stored now. `runs` evaluate the epics it affects."""

    lines: Sequence[LineResult]
    applied: bool
    runs: Sequence[int] = ()


class NotApplied(Exception):
    """Raised to roll back what a file has changed so far: some of its lines are wrong."""

    def __init__(self, lines: Sequence[LineResult]) -> None:
        super().__init__("nothing of the file is applied")
        self.result = Imported(lines, applied=False)


def may_apply(lines: Sequence[LineResult], *, partial: bool) -> bool:
    """Whether what the lines say is to be stored: with an error only where `partial` asks for the others."""
    wrong = sum(line.outcome == "error" for line in lines)
    return not wrong or (partial and wrong < len(lines))
