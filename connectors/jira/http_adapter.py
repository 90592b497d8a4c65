"""Connections of `requests` that another thread can close."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from requests.adapters import HTTPAdapter

if TYPE_CHECKING:
    import ssl

    from connectors.proxies import Proxy


class AbortableAdapter(HTTPAdapter):
    """An adapter that knows its sockets, so that `cut` can end its calls, and that retries no request.

    The time limit of `requests` starts again with every byte, so a server that sends a few bytes at a time
    could block a thread without end. `trusted` holds the certificates that it trusts, and no others;
    `proxy` is the one whose login it sends, if the session has a proxy.
    """

    def __init__(self, trusted: ssl.SSLContext, proxy: Proxy | None) -> None:
        self._trusted, self._proxy = trusted, proxy
        self._sockets: WeakSet[socket.socket] = WeakSet()
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs, ssl_context=self._trusted)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        contexts = {"ssl_context": self._trusted, "proxy_ssl_context": self._trusted}
        return super().proxy_manager_for(proxy, **kwargs, **contexts)

    def proxy_headers(self, proxy: str) -> dict[str, str]:
        # The library knows only a login within the address, and only one in Latin letters.
        login = None if self._proxy is None else self._proxy.authorization
        return {} if login is None else {"Proxy-Authorization": login}

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:
        """The library would load its own file of certificates for each connection."""
        conn.cert_reqs = "CERT_REQUIRED"

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        if "ConnectionCls" not in vars(pool):
            pool.ConnectionCls = _recording_sockets(pool.ConnectionCls, self._sockets)
        return pool

    def cut(self) -> None:
        """Shut down all sockets. A thread that waits for a response gets an error at once."""
        for each in list(self._sockets):
            with suppress(OSError, AttributeError):  # closed already, or TLS within a proxy's TLS
                each.shutdown(socket.SHUT_RDWR)


def _recording_sockets(kind: type[Any], sockets: WeakSet[socket.socket]) -> type[Any]:
    class Noting(kind):  # type: ignore[misc]
        def connect(self) -> None:
            super().connect()
            sockets.add(self.sock)

    return Noting
