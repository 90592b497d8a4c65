"""Questions to the person at the terminal, and what stands in their place where there is none."""

from __future__ import annotations

import asyncio
import os
import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import Protocol

from pydantic import SecretStr
from rich.console import Console
from rich.text import Text

from app.server.signals import CommandFailed
from connectors.markup import clean

STANDARD_INPUT = 0
TOKEN_VARIABLE = "NORTHING_CONNECT_TOKEN"  # noqa: S105  # its name, no token
_LONGEST_LINE = 4096  # of a terminal


class MissingAnswer(CommandFailed):
    """There is nobody to ask; the text names the option."""

    code = 2


class Questions(Protocol):
    """`interactive`: somebody answers. `option` is what gives the same answer without a terminal."""

    @property
    def interactive(self) -> bool: ...

    async def ask(self, question: str, option: str, *, default: str = "", hidden: bool = False) -> str: ...

    def say(self, line: str) -> None: ...


class Terminal:
    """Reads lines from the terminal of standard input without holding up the event loop, so that a signal
    ends a question. A hidden answer is not shown while it is typed."""

    interactive = True

    def __init__(self) -> None:
        self._console = Console(stderr=True, soft_wrap=True, highlight=False)

    async def ask(self, question: str, option: str, *, default: str = "", hidden: bool = False) -> str:
        # Opened anew: the event loop sets what it waits for to non-blocking, which standard output shares.
        terminal = os.open(os.ttyname(STANDARD_INPUT), os.O_RDONLY | os.O_NOCTTY)
        try:
            with _unseen(terminal) if hidden else nullcontext():
                shown = f"{question} [{default}]: " if default else f"{question}: "
                self._console.print(Text(shown, "bold"), end="")
                line = await _line(terminal)
        finally:
            os.close(terminal)
        if hidden or not line:
            self._console.print()
        if not line:
            raise CommandFailed("Stopped; nothing was made.")
        return line.decode("utf-8", "replace").strip() or default

    def say(self, line: str) -> None:
        self._console.print(_harmless(line))


class NoTerminal:
    """Nobody answers: a question takes its default, and one without a default ends the command."""

    interactive = False

    async def ask(self, question: str, option: str, *, default: str = "", hidden: bool = False) -> str:
        if default:
            return default
        raise MissingAnswer(f"{option} is missing, and there is no terminal to ask for it on")

    def say(self, line: str) -> None:
        Console(stderr=True, soft_wrap=True, highlight=False).print(_harmless(line))


def _harmless(line: str) -> Text:
    """The line without what controls a terminal: a tracker's words may be in it."""
    return Text(clean(line))


def questions_here() -> Questions:
    """Questions on the terminal, where standard input and error are one."""
    return Terminal() if os.isatty(STANDARD_INPUT) and sys.stderr.isatty() else NoTerminal()


def token_given() -> SecretStr | None:
    """The token in the environment, else the first line of a standard input that is no terminal."""
    given = os.environ.get(TOKEN_VARIABLE, "")
    if not given and not os.isatty(STANDARD_INPUT):
        with (
            suppress(OSError),
            open(STANDARD_INPUT, encoding="utf-8", errors="replace", closefd=False) as lines,
        ):
            given = lines.readline(_LONGEST_LINE)
    return SecretStr(given.strip()) if given.strip() else None


async def _line(terminal: int) -> bytes:
    """What is typed up to the next Enter; empty once the terminal is closed, or at its end of file."""
    loop = asyncio.get_running_loop()
    typed: asyncio.Future[bytes] = loop.create_future()

    def read() -> None:
        try:
            line = os.read(terminal, _LONGEST_LINE)
        except BlockingIOError:
            return
        except OSError:
            line = b""
        if not typed.done():
            typed.set_result(line)

    loop.add_reader(terminal, read)
    try:
        return await typed
    finally:
        loop.remove_reader(terminal)


@contextmanager
def _unseen(terminal: int) -> Iterator[None]:
    before = termios.tcgetattr(terminal)
    without = termios.tcgetattr(terminal)
    without[3] &= ~termios.ECHO
    termios.tcsetattr(terminal, termios.TCSADRAIN, without)
    try:
        yield
    finally:
        termios.tcsetattr(terminal, termios.TCSADRAIN, before)
