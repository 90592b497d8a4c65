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
    """The writers at work in this process by their sources' ids, and the sources that were refused one."""

    _at_work: Counter[int] = field(default_factory=Counter)
    _refused: set[int] = field(default_factory=set)

    @contextmanager
    def place(self, source_id: int) -> Iterator[bool]:
        """Whether there is room for one more writer of the source, which is taken until the block ends."""
        if self._at_work[source_id] and self._at_work.total() >= WRITERS_IN_PROCESS:
            self._refused.add(source_id)
            yield False
            return
        self._refused.discard(source_id)
        self._at_work[source_id] += 1
        try:
            yield True
        finally:
            self._at_work[source_id] -= 1

    def was_refused(self, source_id: int) -> bool:
        """Whether one was refused since the last began: what it was to write may have become due after the
        others had looked. To be asked by each that ends."""
        return source_id in self._refused
