"""Whether a key result is steered: it is measured, both sides have agreed to that, and it has moved. Pure.

Coverage counts the epics that are aligned; beside it stands how many of these serve a steered key result, for
otherwise one goal that takes everything would make a coverage of 1. Each function returns the reason in
words, as it is shown behind the login, and None where there is none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, get_args

from mappings.goals.values import AgreementSide, MetricValues, direction_error

if TYPE_CHECKING:
    from collections.abc import Collection

SIDE_NAMES: dict[AgreementSide, str] = {"business": "the business", "it": "IT"}


def why_not_measured(metric: MetricValues) -> str | None:
    """A baseline and another value as the target, in the direction that is given, if one is."""
    missing = [name for name in ("baseline", "target") if getattr(metric, name) is None]
    if missing:
        return f"it has no {' and no '.join(missing)}"
    if metric.baseline == metric.target:
        return "its target is its baseline"
    if direction_error(metric.baseline, metric.target, metric.direction) is not None:
        return "its direction does not lead from its baseline to its target"
    return None


def why_not_agreed(signed: Collection[AgreementSide]) -> str | None:
    """`signed`: the sides that have signed the metric as it is now."""
    missing = [SIDE_NAMES[side] for side in get_args(AgreementSide) if side not in signed]
    if not missing:
        return None
    have = "has" if len(missing) == 1 else "have"
    return f"{' and '.join(missing)} {have} not signed its metric as it is now"


def why_not_moved(baseline: float | None, latest: float | None) -> str | None:
    """`latest`: the value of the latest check-in, None without one. A value on the far side of the baseline
    has moved too; one that has come back to the baseline has not."""
    if latest is None:
        return "nobody has checked in a value"
    if baseline is None:
        return "it has no baseline to move from"
    return "its latest value is its baseline" if latest == baseline else None


def why_not_steered(
    metric: MetricValues, signed: Collection[AgreementSide], latest: float | None
) -> list[str]:
    """All reasons; empty where the key result is steered."""
    found = (
        why_not_measured(metric),
        why_not_agreed(signed),
        why_not_moved(metric.baseline, latest),
    )
    return [reason for reason in found if reason is not None]
