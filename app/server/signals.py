"""Runs a command in an event loop; after a signal the process stops in order and in time."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NoReturn

from uvicorn.loops.auto import auto_loop_factory

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

THREADS_SECONDS = 0.5
TERMINAL_SECONDS = 1.0
# SIGHUP is sent by a terminal that is closed.
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
# A longer stop is cut short, whatever hangs: claims that are not released then end with their leases.
LONGEST_STOP_SECONDS = 9.5


class CommandFailed(Exception):
    """A command cannot go on. The message is one line: what is wrong, and what to do.

    `code` is the exit code of the process.
    """

    code = 1


def run_command(main: Coroutine[Any, Any, int], *, stopped: int = 0) -> NoReturn:
    """Run `main` and end the process with its exit code.

    SIGINT, SIGTERM or SIGHUP cancels it; then the code is `stopped`. Later signals change nothing: the stop
    is under way already. Where SIGHUP is ignored, as under nohup, it stays so; else it counts as one that the
    terminal is closed in whose foreground the command was started.

    A request to a tracker may hold a thread for half a minute, and Python waits for its threads; after a
    signal the process ends without waiting for such a thread.
    """
    with asyncio.Runner(loop_factory=auto_loop_factory()) as runner:
        signalled, code = runner.run(_until_signalled(main, stopped))
        if signalled and not _threads_end():
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    if signalled:
        for number in STOP_SIGNALS:  # a closing terminal sends two, and the second must not change the code
            signal.signal(number, signal.SIG_IGN)
    sys.exit(code)


async def _until_signalled(main: Coroutine[Any, Any, int], stopped: int) -> tuple[bool, int]:
    loop = asyncio.get_running_loop()
    threads = ThreadPoolExecutor(thread_name_prefix="northing")
    loop.set_default_executor(threads)
    in_foreground = _in_foreground()
    task = asyncio.ensure_future(main)
    signalled = False
    last = threading.Timer(LONGEST_STOP_SECONDS, os._exit, [stopped])
    last.daemon = True

    def stop() -> None:
        nonlocal signalled
        if not signalled:
            signalled = True
            last.start()
            task.cancel()

    for number in STOP_SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
            loop.add_signal_handler(number, stop)
    terminal = asyncio.ensure_future(_after_closed_terminal(stop)) if in_foreground else None
    try:
        code = await task
        return signalled, code
    except asyncio.CancelledError:
        if not signalled:
            raise
        return signalled, stopped
    finally:
        if terminal is not None:
            terminal.cancel()
        last.cancel()
        threads.shutdown(wait=False)


async def _after_closed_terminal(stop: Callable[[], None]) -> None:
    """A closed terminal sends SIGHUP to the leader of its session alone, and `make` does not pass it on."""
    output = select.poll()
    output.register(1, 0)
    while not any(events & select.POLLHUP for _, events in output.poll(0)):  # noqa: ASYNC110  # no event
        await asyncio.sleep(TERMINAL_SECONDS)
    stop()


def _in_foreground() -> bool:
    """Whether standard output is a terminal that runs this process in its foreground; False under nohup."""
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return False
    try:
        return os.tcgetpgrp(1) == os.getpgrp()
    except OSError:
        return False


def _threads_end() -> bool:
    deadline = time.monotonic() + THREADS_SECONDS
    for thread in threading.enumerate():
        if thread is not threading.main_thread() and not thread.daemon:
            thread.join(max(0.0, deadline - time.monotonic()))
    return all(thread.daemon or thread is threading.main_thread() for thread in threading.enumerate())
