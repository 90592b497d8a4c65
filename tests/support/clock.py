"""The time as tests want it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from datetime import datetime, timedelta

from app.jobs.sweep import sweep
from app.runtime import Runtime
from tests.support.world import World


class CalledClock(ABC):
    """What the product asks of a clock, for one that is called; aware, UTC."""

    @abstractmethod
    def __call__(self) -> datetime: ...

    async def read(self, _database: object) -> datetime:
        return self()

    def running_from(self, _now: datetime) -> Callable[[], datetime]:
        return self

    def in_sql(self) -> str:
        return f"timestamptz '{self().isoformat()}'"


class ClockOf(CalledClock):
    """The clock that a function is."""

    def __init__(self, call: Callable[[], datetime]) -> None:
        self._call = call

    def __call__(self) -> datetime:
        return self._call()


class Clock(CalledClock):
    """Time as the tests want it."""

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
