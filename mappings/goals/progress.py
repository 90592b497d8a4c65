"""The progress of a key result, from its check-ins. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime


@dataclass(frozen=True, slots=True)
class CheckIn:
    at: datetime
    value: float


def current_value(check_ins: Iterable[CheckIn], baseline: float | None) -> float | None:
    """The value of the latest check-in (of two at the same moment the later in order), else the baseline."""
    latest: CheckIn | None = None
    for check_in in check_ins:
        if latest is None or check_in.at >= latest.at:
            latest = check_in
    return baseline if latest is None else latest.value


def progress_of(baseline: float | None, target: float | None, current: float | None) -> float | None:
    """(current - baseline) / (target - baseline), cut to 0..1; None where that is not defined."""
    if baseline is None or target is None or current is None or baseline == target:
        return None
    if not all(map(math.isfinite, (baseline, target, current))):
        return None
    # Fractions are exact: the difference of two finite floats may be infinite or zero.
    distance = Fraction(target) - Fraction(baseline)
    return float(min(max((Fraction(current) - Fraction(baseline)) / distance, Fraction(0)), Fraction(1)))


def whole_percent(share: float) -> int:
    """Halves up, as every page shows a share."""
    return int(share * 100 + 0.5)
