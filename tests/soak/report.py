"""What a soak counted, in lines for a person."""

from __future__ import annotations

from tests.soak.chaos import Outcome


def report_text(seed: int, outcome: Outcome) -> str:
    lines = [f"Seed {seed}."]
    lines += [f"{outcome.counts[name]:6d}  {name}" for name in sorted({*outcome.counts, "duplicates"})]
    lines.append(f"{len(outcome.found):6d}  violations")
    lines += [f"        {each}" for each in outcome.found]
    return "\n".join(lines)
