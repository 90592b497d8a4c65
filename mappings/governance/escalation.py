"""Who an open conflict is with as its days pass. Pure; all times UTC."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mappings.policy.document import EscalatedTo, escalation_of
from mappings.policy.durations import Duration, add_grace, parse_duration

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from mappings.policy.document import Policy


@dataclass(frozen=True, slots=True)
class LadderStep:
    """`after`: how long after a conflict was raised it goes to them."""

    to: EscalatedTo
    after: Duration


Ladder = tuple[LadderStep, ...]
DEFAULT_LADDER: Ladder = (
    LadderStep("lead", Duration(0)),
    LadderStep("sponsor", Duration(5)),
    LadderStep("committee", Duration(10)),
)


@dataclass(frozen=True, slots=True)
class LadderPosition:
    """`step`: who a conflict is with, None before the first step; `since`: from when on. `next_step`: who it
    goes to at `next_at`, both None where it goes no further."""

    step: EscalatedTo | None
    since: datetime
    next_step: EscalatedTo | None
    next_at: datetime | None


def ladder_of(policy: Policy, source: str, project: str, former_names: Sequence[str] = ()) -> Ladder:
    """Of an epic's project; of a goal `source` and `project` are empty."""
    steps = escalation_of(policy, source, project, former_names)
    return tuple(LadderStep(step.to, parse_duration(step.after)) for step in steps) or DEFAULT_LADDER


def position_on(ladder: Ladder, raised_at: datetime, now: datetime) -> LadderPosition:
    """Of a conflict that is open at `now`. The steps are in the order of their times."""
    step, since = None, raised_at
    for rung in ladder:
        at = add_grace(raised_at, rung.after)
        if at > now:
            return LadderPosition(step, since, rung.to, at)
        step, since = rung.to, at
    return LadderPosition(step, since, None, None)


def conflict_step(raised_at: datetime, ladder: Ladder, now: datetime) -> EscalatedTo | None:
    """Who it is with; None before the ladder's first step."""
    return position_on(ladder, raised_at, now).step
