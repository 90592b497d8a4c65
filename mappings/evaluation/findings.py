"""From a gap to a finding: how it opens, stays, resolves and opens again. Pure."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from mappings.evaluation.model import Finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime


class HasState(Protocol):
    """A finding as a value or as a row."""

    @property
    def check(self) -> Any: ...
    @property
    def state(self) -> Any: ...


Kind = TypeVar("Kind", bound=HasState)

# What belongs to the snooze, waiver or dispute of a finding, where it has none.
UNANSWERED: dict[str, Any] = {"until": None, "reason": None, "by": None, "changed_at": None}


def next_finding(
    check: str, before: Finding | None, gap: str | None, severity: str, now: datetime
) -> Finding | None:
    """The finding of `check` at `now`, where it was `before`; None where there is no gap and never was one.

    `gap` is the gap in words, None where there is none. A gap that returns opens the finding again; the end
    of a snooze or waiver changes nothing but its state.
    """
    if gap is None:
        if before is None or before.state == "resolved":
            return before
        return replace(before, state="resolved", resolved_at=now, **UNANSWERED)
    if before is None or before.state == "resolved":
        return Finding(check, "open", now, detail=gap, severity=severity)
    if before.until is not None and before.until <= now:
        before = replace(before, state="open", **UNANSWERED)
    return replace(before, detail=gap, severity=severity)


def shown_finding(findings: Sequence[Kind]) -> Kind | None:
    """Of those that may be on the ticket, the one that it shows: the first that is open, else the first that
    is unresolved."""
    unresolved = [finding for finding in findings if finding.state != "resolved"]
    is_open = (finding for finding in unresolved if finding.state == "open")
    return next(is_open, next(iter(unresolved), None))


def shown_row(rows: Iterable[Kind], on_tickets: Sequence[str]) -> Kind | None:
    """The same of an epic's stored findings in any order. `on_tickets`: the names of the checks whose
    findings may be on the ticket, as the registry has them."""
    of_tickets = [row for row in rows if row.check in on_tickets]
    return shown_finding(sorted(of_tickets, key=lambda row: on_tickets.index(row.check)))
