"""The body of a tracker's response: read up to a size limit, and shown without our login."""

from __future__ import annotations

import ctypes
import threading
import zlib
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from connectors.base import BadPayload, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

# A hundred issues with the longest texts that either tracker accepts (65,536 characters, of four bytes at the
# most) are 27 MB of JSON. What is larger is asked for again in smaller parts.
MOST_BYTES = 32 * 1024 * 1024
# Of the answers that this process receives or decodes at the same time; each may take `SMALL` uncounted.
MOST_AT_ONCE = 64 * 1024 * 1024
SMALL = 1024 * 1024
ACCEPTED = "gzip"

_SHORTEST_SECRET = 8  # a shorter one may be an ordinary word; replacing it would make the text unreadable
_GZIP = 16 + zlib.MAX_WBITS


class TooLarge(BadPayload):
    """The tracker's answer has more bytes or values, or is nested deeper, than Northing takes.

    The caller may ask for less. `next_page` is the address of the page behind this one, where the response's
    headers gave it.
    """

    next_page: str | None = None


class _Memory:
    """The bytes of one answer that are counted, beyond the first `SMALL` of it."""

    counted_in_process = 0
    _lock = threading.Lock()

    def __init__(self) -> None:
        self._counted = 0

    def grow(self, size: int) -> None:
        """Count an answer of `size` bytes. Raises `Unavailable` if all answers together are too much."""
        more = size - SMALL - self._counted
        if more <= 0:
            return
        with self._lock:
            if _Memory.counted_in_process + more > MOST_AT_ONCE:
                raise Unavailable("Too many large answers came at the same time.", 5)
            _Memory.counted_in_process += more
        self._counted += more

    def release(self) -> None:
        if not self._counted:
            return
        with self._lock:
            _Memory.counted_in_process -= self._counted
        self._counted = 0
        if _trim is not None:
            _trim(0)  # else glibc keeps what was freed, in each thread that decoded a large answer


_trim: Callable[[int], int] | None = getattr(ctypes.CDLL(None), "malloc_trim", None)
_memory: ContextVar[_Memory | None] = ContextVar("memory of an answer", default=None)


@contextmanager
def answer_in_memory() -> Iterator[None]:
    """Around the work with one answer, until its values are made: counts the bytes of its `BoundedBody`.

    Without it, many connectors that each read a large answer would together take memory without a bound. What
    a large answer took is given back at the end. Within another such block it does nothing.
    """
    if _memory.get() is not None:
        yield
        return
    memory = _Memory()
    token = _memory.set(memory)
    try:
        yield
    finally:
        _memory.reset(token)
        memory.release()


class BoundedBody:
    """Collects the pieces of a response body as they arrive from the network, and decompresses them.

    `encoding` is the response's `Content-Encoding`: none, or gzip, the only one that connectors ask for.
    This class decompresses because the HTTP libraries have no limit: they decompress a whole piece, and
    several layers of compression, so that a few kilobytes may become gigabytes. `most` is in bytes.
    """

    def __init__(self, encoding: str | None, most: int | None = None) -> None:
        """Raises `BadPayload` for any other encoding."""
        name = (encoding or "identity").strip().lower()
        if name not in ("identity", "gzip", "x-gzip"):
            raise BadPayload("The tracker compressed its answer in a way that was not asked for.")
        self._gzip = None if name == "identity" else zlib.decompressobj(_GZIP)
        self._most = MOST_BYTES if most is None else most
        self._data = bytearray()
        self._begun = False
        self._memory = _memory.get()

    def take(self, piece: bytes) -> None:
        """Add the next piece. Raises `BadPayload` if the body cannot be decompressed, `TooLarge` for a large
        one, and `Unavailable` if too many large answers come at once (only within `answer_in_memory`)."""
        self._begun = self._begun or bool(piece)
        if self._gzip is None:
            self._data += piece
        elif piece:
            if self._gzip.eof:
                raise BadPayload("The tracker's answer goes on behind its end.")
            self._unpack(self._gzip, piece)
        if len(self._data) > self._most:
            self._data.clear()
            raise TooLarge(f"The tracker's answer is larger than {self._most // 1024**2} MB.")
        if self._memory is not None:
            self._memory.grow(len(self._data))

    def _unpack(self, gzip: zlib._Decompress, piece: bytes) -> None:
        try:
            # One byte more than the limit shows that there is more data; a limit of 0 would mean no limit.
            self._data += gzip.decompress(piece, self._most - len(self._data) + 1)
        except zlib.error:
            raise BadPayload("The tracker's answer cannot be unpacked.") from None
        if gzip.unused_data:
            raise BadPayload("The tracker's answer goes on behind its end.")

    def whole(self) -> bytes:
        """The whole body. Raises `BadPayload` if the compressed data has no end."""
        if self._gzip is not None and self._begun and not self._gzip.eof:
            raise BadPayload("The tracker's answer breaks off.")
        return bytes(self._data)


def redact(content: bytes, secrets: Iterable[str]) -> bytes:
    """`content` with each of `secrets` replaced, so that people may read what a response says."""
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET:
            content = content.replace(secret.encode(), "…".encode())
    return content
