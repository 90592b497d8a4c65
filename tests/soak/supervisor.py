"""Processes that are started again a moment after they died, as a service manager does."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from time import monotonic

from tests.soak.process import Given
from tests.support.processes import FORKS

Target = Callable[[Given, Connection], None]

PATIENCE = 90  # seconds for a start, on a machine that is busy with other tests
STOP_SECONDS = 20  # ten are promised; a busy machine gets twice as many


class Supervised:
    """One of them, forked as the tests' commands are.

    `pause` gives the seconds until the next start; `broken` collects what never may be.

    A start may fail where the database is away. One that has said that it works goes on, whatever happens.
    """

    def __init__(
        self,
        target: Target,
        given: Given,
        pause: Callable[[], float],
        counts: Counter[str],
        broken: list[str],
    ) -> None:
        self._target, self._given, self._pause = target, given, pause
        self._counts, self._broken = counts, broken
        self._process: ForkServerProcess | None = None
        self._ready = asyncio.Event()
        self._expected = False

    @property
    def name(self) -> str:
        return self._given.name

    @property
    def is_up(self) -> bool:
        return self._ready.is_set()

    async def up(self) -> None:
        """Wait until it has said that it works."""
        try:
            async with asyncio.timeout(PATIENCE):
                await self._ready.wait()
        except TimeoutError:
            raise RuntimeError(f"{self.name} did not come up within {PATIENCE} s, see its log") from None

    def kill(self) -> bool:
        """SIGKILL; False where there is nothing to kill at this moment."""
        if self._process is None or self._expected:
            return False
        self._expected = True
        self._ready.clear()
        self._process.kill()
        return True

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Up again and again while the block lasts; then told to stop, which it has to do in order."""
        keeping = asyncio.create_task(self._keep(), name=f"keeper of {self.name}")
        try:
            yield
        finally:
            if keeping.done():
                keeping.result()
            keeping.cancel()
            with suppress(asyncio.CancelledError):
                await keeping
            await self._stop()

    async def _keep(self) -> None:
        while True:
            accepts_commands, says = FORKS.Pipe(duplex=False)
            self._expected = False
            self._process = FORKS.Process(target=self._target, args=(self._given, says), name=self.name)
            self._process.start()
            says.close()
            with accepts_commands:
                await _readable(accepts_commands.fileno())
                with suppress(EOFError):
                    if accepts_commands.recv() and not self._expected:
                        self._ready.set()
            await _readable(self._process.sentinel)
            self._process.join()
            code, was_ready = self._process.exitcode, self._ready.is_set()
            self._ready.clear()
            self._process.close()
            self._process = None
            if not self._expected:
                self._counts["starts without a database"] += not was_ready
                if was_ready:
                    self._broken.append(f"{self.name} ended by itself with {code}")
            await asyncio.sleep(self._pause())

    async def _stop(self) -> None:
        process = self._process
        if process is None:
            return
        was_ready, since = self._ready.is_set(), monotonic()
        process.terminate()
        await asyncio.to_thread(process.join, STOP_SECONDS)
        if process.is_alive():
            process.kill()
            await asyncio.to_thread(process.join)
        if was_ready and process.exitcode != 0:
            self._broken.append(
                f"{self.name}, told to stop, ended with {process.exitcode} after {monotonic() - since:.1f} s"
            )
        process.close()
        self._process = None


async def _readable(descriptor: int) -> None:
    """Wait for its first byte, or its end."""
    loop, seen = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(descriptor, seen.set)
    try:
        await seen.wait()
    finally:
        loop.remove_reader(descriptor)
