"""The registry of checks. The policy, the API and the evaluation take their checks from it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from mappings.checks import closed_goal, no_key_result

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mappings.checks.check import Check

# In the order in which findings are listed; of several open ones, the ticket shows the first.
CHECKS: tuple[Check[Any], ...] = (
    no_key_result.CHECK,
    closed_goal.CHECK,
)
CHECK_NAMES = tuple(check.name for check in CHECKS)

if TYPE_CHECKING:
    CheckName = str
else:
    CheckName = Literal[CHECK_NAMES]  # so that Pydantic and OpenAPI know the names


def checks_on_tickets(checks: Iterable[Check[Any]] = CHECKS) -> list[str]:
    """The names of the checks whose findings may be on a ticket."""
    return [check.name for check in checks if check.channel == "comment"]
