"""A clock that every process of a soak shares, and that goes faster than the wall's.

A lease is minutes, a tracker may be away for an hour, and nobody waits for that. Time goes one way only, and
ahead of the wall's: APScheduler, which compares with that one, would else take every moment for past.
"""

from __future__ import annotations

import mmap
import struct
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests.support.clock import CalledClock

# Which piece is in force; then the pieces: from which monotonic second, which moment, how fast.
_NUMBER, _PIECE = struct.Struct("=Q"), struct.Struct("=ddd")
_PIECES = 64


class Clock(CalledClock):
    """Aware moments in UTC. One process makes it and may let it leap, others open it by its path.

    A piece is written before its number is, and is never changed while it counts: readers need no lock,
    which a killed process would keep for ever.
    """

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._pieces = mmap.mmap(file.fileno(), 0)

    @classmethod
    def make(cls, path: Path, speed: float) -> Clock:
        path.write_bytes(bytes(_NUMBER.size + _PIECES * _PIECE.size))
        made = cls(path)
        made._go_on(0, datetime.now(UTC).timestamp(), speed)
        return made

    def __call__(self) -> datetime:
        _, since, moment, speed = self._piece()
        return datetime.fromtimestamp(moment, UTC) + timedelta(seconds=(time.monotonic() - since) * speed)

    def leap(self, span: timedelta) -> None:
        """So much later at once."""
        number, since, moment, speed = self._piece()
        later = moment + (time.monotonic() - since) * speed + span.total_seconds()
        self._go_on(number + 1, later, speed)

    def _piece(self) -> tuple[int, float, float, float]:
        (number,) = _NUMBER.unpack_from(self._pieces)
        return (number, *_PIECE.unpack_from(self._pieces, self._place(number)))

    def _go_on(self, number: int, moment: float, speed: float) -> None:
        _PIECE.pack_into(self._pieces, self._place(number), time.monotonic(), moment, speed)
        _NUMBER.pack_into(self._pieces, 0, number)

    def _place(self, number: int) -> int:
        return _NUMBER.size + number % _PIECES * _PIECE.size
