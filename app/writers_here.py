"""The writers at work in this process, and for how many more there is room."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# A source that has no writer here gets one all the same. A writer that waits for a tracker as fast as 50 ms
# uses a quarter of a processor, and the process reads, evaluates and answers beside that.
WRITERS_IN_PROCESS = 2


@dataclass
class WritersHere:
    """The writers at work in this process, by their sources' ids."""

    _at_work: Counter[int] = field(default_factory=Counter)

    @contextmanager
    def place(self, source_id: int) -> Iterator[bool]:
        """Whether there is room for one more writer of the source, which is taken until the block ends."""
        if self._at_work[source_id] and self._at_work.total() >= WRITERS_IN_PROCESS:
            yield False
            return
        self._at_work[source_id] += 1
        try:
            yield True
        finally:
            self._at_work[source_id] -= 1
