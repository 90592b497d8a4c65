"""What a run is doing, in words."""

from __future__ import annotations

from datetime import UTC, datetime


def state_in_words(
    state: str, *, finished: bool, pending: int, waiting_until: datetime | None, why: str = ""
) -> str:
    """`finished`: reading and evaluating have ended; `pending`: comments still to be written; `why`: what the
    run waits for, as a sentence."""
    if finished:
        return f"writing comments, {pending} to go" if pending else "done"
    if state == "waiting" and waiting_until is not None:
        return f"{why} Going on at {waiting_until.astimezone(UTC):%H:%M:%S} UTC".strip()
    return {"queued": "waiting its turn", "stalled": "waiting to be taken up again"}.get(
        state, "reading and evaluating"
    )
