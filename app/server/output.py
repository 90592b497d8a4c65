"""Standard output and error that outlive their terminal, or the program that reads them."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
from typing import TYPE_CHECKING, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

LOST = (errno.EIO, errno.EPIPE)  # of a terminal, of a pipe or socket


class _Output(io.FileIO):
    """A file descriptor that takes writes after its other end is gone.

    The loss of standard output counts as a SIGHUP, for a closed terminal sends one only to some: it stops the
    command in order, or changes nothing under nohup, and before the command runs the write fails as usual.
    """

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno not in LOST or not self._go_on():
                raise
            return memoryview(data).nbytes

    def _go_on(self) -> bool:
        handled = signal.getsignal(signal.SIGHUP) is not signal.SIG_DFL
        if self.fileno() == 1 and not handled:
            return False
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, self.fileno())
        os.close(nothing)
        if self.fileno() == 1:
            signal.raise_signal(signal.SIGHUP)
        return True


def outlive_terminal() -> None:
    """Let the loss of standard output or error end no command in the midst of its work."""
    sys.stdout, sys.stderr = _outliving(sys.stdout), _outliving(sys.stderr)


def _outliving(stream: TextIO) -> TextIO:
    if not isinstance(stream, io.TextIOWrapper):
        return stream  # of a test, or closed by the caller
    stream.flush()
    output = _Output(stream.fileno(), "w", closefd=False)
    unbuffered = isinstance(stream.buffer, io.RawIOBase)  # PYTHONUNBUFFERED
    return io.TextIOWrapper(
        output if unbuffered else io.BufferedWriter(output),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )
