"""Addresses as they are written: their parts, and whether they name this machine. Pure."""

from __future__ import annotations

import ipaddress
from urllib.parse import SplitResult, urlsplit


def split_address(url: str) -> SplitResult | None:
    """The URL in parts; None for no URL, a port out of range, or blanks or control characters inside."""
    url = url.strip()
    if not url.isprintable() or " " in url or "\\" in url:
        return None
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts


def is_loopback(url: str) -> bool:
    """Whether the address as it is written names this machine: `localhost`, 127.0.0.0/8 or ::1.

    A name that only resolves to such an address does not count: the address behind a name can change.
    """
    parts = split_address(url)
    if parts is None or not parts.hostname:
        return False
    if parts.hostname.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(parts.hostname).is_loopback
    except ValueError:
        return False
