"""Ports for what goes away and has to come back at the same address."""

from __future__ import annotations

import secrets
import socket

# Below those that systems hand out by themselves, so that no connection takes one meanwhile.
_FIRST, _COUNT = 20_000, 12_000


def free_port() -> int:
    """A free port of 127.0.0.1, not drawn from any seed: two soaks of one seed may run at once."""
    while True:
        port = _FIRST + secrets.randbelow(_COUNT)
        with socket.socket() as tried:
            try:
                tried.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
