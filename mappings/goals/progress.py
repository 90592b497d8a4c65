"""How far a key result is, by its check-ins. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction

# --- how far ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CheckIn:
    at: datetime
    value: float


def current_value(check_ins: Iterable[CheckIn], baseline: float | None) -> float | None:
    """The latest check-in's value (of two at one moment the later given), else the baseline."""
    latest: CheckIn | None = None
    for check_in in check_ins:
        if latest is None or check_in.at >= latest.at:
            latest = check_in
    return baseline if latest is None else latest.value


def progress_of(baseline: float | None, target: float | None, current: float | None) -> float | None:
    """The share of the way from baseline to target, up or down, cut to 0..1; None where there is no way."""
    if baseline is None or target is None or current is None or baseline == target:
        return None
    if not all(map(math.isfinite, (baseline, target, current))):
        return None
    # Exact, since the difference of two finite floats may be infinite or zero.
    way = Fraction(target) - Fraction(baseline)
    return float(min(max((Fraction(current) - Fraction(baseline)) / way, Fraction(0)), Fraction(1)))
