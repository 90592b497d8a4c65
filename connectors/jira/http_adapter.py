"""Connections of `requests` that another thread can close."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Any
from weakref import WeakSet

from requests.adapters import HTTPAdapter


class AbortableAdapter(HTTPAdapter):
    """An adapter that knows its sockets, so that `cut` can end its calls, and that retries no request.

    The time limit of `requests` starts again with every byte, so a server that sends a few bytes at a time
    could block a thread without end.
    """

    def __init__(self) -> None:
        super().__init__(max_retries=0)
        self._sockets: WeakSet[socket.socket] = WeakSet()

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        if "ConnectionCls" not in vars(pool):
            pool.ConnectionCls = _recording_sockets(pool.ConnectionCls, self._sockets)
        return pool

    def cut(self) -> None:
        """Shut down all sockets. A thread that waits for a response gets an error at once."""
        for each in list(self._sockets):
            with suppress(OSError):  # closed already
                each.shutdown(socket.SHUT_RDWR)


def _recording_sockets(kind: type[Any], sockets: WeakSet[socket.socket]) -> type[Any]:
    class Noting(kind):  # type: ignore[misc]
        def connect(self) -> None:
            super().connect()
            sockets.add(self.sock)

    return Noting
