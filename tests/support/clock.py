"""The time as tests want it."""

from __future__ import annotations

from datetime import datetime, timedelta

from app.jobs.sweep import sweep
from app.runtime import Runtime
from tests.support.world import World


class Clock:
    """Time as the tests want it; aware, UTC."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **span: float) -> None:
        self.now += timedelta(**span)


class MovingClock(Clock):
    """Moves on by a step with each look."""

    def __init__(self, now: datetime, **step: float) -> None:
        super().__init__(now)
        self._step = timedelta(**step)

    def __call__(self) -> datetime:
        self.now += self._step
        return self.now


async def later(world: World, runtime: Runtime, clock: Clock, **span: float) -> None:
    """Let time pass, and the sweep wake what is due by then."""
    clock.advance(**span)
    await sweep(runtime)
    await world.drain()
