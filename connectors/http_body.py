"""The body of a tracker's answer, taken in within bounds, and shown without our own login."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from connectors.base import BadPayload

# A hundred issues with the longest texts that either tracker takes are some 40 MB of JSON.
MOST_BYTES = 64 * 1024 * 1024
ACCEPTED = "gzip"

_SHORTEST_SECRET = 8  # to blot out a shorter word would blacken half of what is said
_GZIP = 16 + zlib.MAX_WBITS


class BoundedBody:
    """Gathers the pieces of an answer as they come off the network, and unpacks them.

    `encoding` is the answer's `Content-Encoding`: none, or gzip, which is all that is asked for. It is
    unpacked here and not by the HTTP libraries, which unpack all that a piece holds and several layers of it,
    so that a few kilobytes may become gigabytes.
    """

    def __init__(self, encoding: str | None, most: int | None = None) -> None:
        """Raises `BadPayload` for any other encoding."""
        name = (encoding or "identity").strip().lower()
        if name not in ("identity", "gzip", "x-gzip"):
            raise BadPayload("The tracker packed its answer in a way that it was not asked for.")
        self._gzip = None if name == "identity" else zlib.decompressobj(_GZIP)
        self._most = MOST_BYTES if most is None else most
        self._data = bytearray()
        self._begun = False

    def take(self, piece: bytes) -> None:
        """Raises `BadPayload` where it becomes too large, or cannot be unpacked."""
        self._begun = self._begun or bool(piece)
        if self._gzip is None:
            self._data += piece
        elif piece:
            if self._gzip.eof:
                raise BadPayload("The tracker's answer goes on behind its end.")
            self._unpack(self._gzip, piece)
        if len(self._data) > self._most:
            raise BadPayload(f"The tracker's answer is larger than {self._most // 1024**2} MB.")

    def _unpack(self, gzip: zlib._Decompress, piece: bytes) -> None:
        try:
            # One more than is allowed tells that there is more; 0 would mean any number.
            self._data += gzip.decompress(piece, self._most - len(self._data) + 1)
        except zlib.error:
            raise BadPayload("The tracker's answer cannot be unpacked.") from None
        if gzip.unused_data:
            raise BadPayload("The tracker's answer goes on behind its end.")

    def whole(self) -> bytes:
        """Raises `BadPayload` where what was packed does not end."""
        if self._gzip is not None and self._begun and not self._gzip.eof:
            raise BadPayload("The tracker's answer breaks off.")
        return bytes(self._data)


def without(content: bytes, secrets: Iterable[str]) -> bytes:
    """An answer whose words people may read, without what it repeats of our login."""
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET:
            content = content.replace(secret.encode(), "…".encode())
    return content
