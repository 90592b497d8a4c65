"""The body of a tracker's response: read up to a size limit, and shown without our login."""

from __future__ import annotations

import zlib
from collections.abc import Iterable

from connectors.base import BadPayload

# A hundred issues with the longest texts that either tracker accepts are about 40 MB of JSON.
MOST_BYTES = 64 * 1024 * 1024
ACCEPTED = "gzip"

_SHORTEST_SECRET = 8  # a shorter one may be an ordinary word; replacing it would make the text unreadable
_GZIP = 16 + zlib.MAX_WBITS


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

    def take(self, piece: bytes) -> None:
        """Add the next piece. Raises `BadPayload` if the body becomes too large or cannot be decompressed."""
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
