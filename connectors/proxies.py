"""Which proxy the environment names for an address. Pure: the environment is passed in.

The HTTP libraries are not asked, because they disagree: one of them fails on entries of `NO_PROXY` that the
other reads, and both put a proxy's password into the texts of their errors.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING
from urllib.parse import unquote

from connectors.addresses import is_loopback, split_address

if TYPE_CHECKING:
    from collections.abc import Mapping

_DEFAULT_PORTS = {"http": 80, "https": 443}
# [IPv6]:port/prefix, or name:port, or IPv4:port, or IPv4/prefix
_ENTRY = re.compile(
    r"(?:\[(?P<six>[^\[\]]+)\]|(?P<name>[^\[\]:/]+))(?::(?P<port>[0-9]{1,5}))?(?:/(?P<prefix>[0-9.]{1,15}))?"
)


class WrongProxy(ValueError):
    """The variable named `variable` does not hold the address of a proxy that can be used.

    The text never repeats the value, which may hold a password.
    """

    def __init__(self, variable: str, why: str) -> None:
        super().__init__(f"{variable} {why}.")
        self.variable = variable
        self.what_to_do = (
            f"Set {variable} to http://HOST:PORT (a login before it as USER:PASSWORD@, each percent-encoded),"
            " or unset it; then start Northing again."
        )


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy. `url`: its scheme, host and port. `authorization`: the header Proxy-Authorization, where the
    variable named `variable` holds a login."""

    url: str
    variable: str
    authorization: str | None = field(default=None, repr=False)


def proxy_for(environment: Mapping[str, str], url: str) -> Proxy | None:
    """The proxy that a call to `url` goes through; None where it goes directly. Raises `WrongProxy`.

    A proxy carries encrypted connections alone, and never those to this machine: it could read plain http,
    which is allowed only for a tracker on this machine.
    """
    parts = split_address(url)
    if parts is None or parts.scheme != "https" or not parts.hostname or is_loopback(url):
        return None
    named = named_proxy(environment)
    if named is None:
        return None
    _, without = _value(environment, "no_proxy")
    if any(_covers(entry, parts.hostname, parts.port or 443) for entry in re.split(r"[,;\s]+", without)):
        return None
    return parse_proxy(*named)


def named_proxy(environment: Mapping[str, str]) -> tuple[str, str] | None:
    """The variable that names a proxy for encrypted connections, and its value; None where none does."""
    for name in ("https_proxy", "all_proxy"):
        variable, value = _value(environment, name)
        if value:
            return variable, value
    return None


def _value(environment: Mapping[str, str], name: str) -> tuple[str, str]:
    """The variable and its value. The name in lower case hides the others, even where its value is empty."""
    found = [name] if name in environment else sorted(each for each in environment if each.lower() == name)
    return (found[0], environment[found[0]].strip()) if found else (name, "")


def parse_proxy(variable: str, value: str) -> Proxy:
    """The proxy at the address `value`, whose scheme may be left out. Raises `WrongProxy`."""
    parts = split_address(value if "://" in value else f"http://{value.removeprefix('//')}")
    if parts is not None and parts.scheme.startswith("socks"):
        raise WrongProxy(variable, "names a SOCKS proxy, and Northing speaks to HTTP proxies only")
    wrong = WrongProxy(variable, "is not the address of a proxy")
    # A password with `/`, `?` or `#` in it ends the host too early: what follows then holds the real host.
    if (
        parts is None
        or parts.scheme not in _DEFAULT_PORTS
        or not parts.hostname
        or parts.port == 0
        or parts.query
        or parts.fragment
        or "@" in parts.path
        or parts.path.startswith("//")
    ):
        raise wrong
    host = _ascii(parts.hostname)
    if host is None:
        raise wrong
    port = parts.port or _DEFAULT_PORTS[parts.scheme]
    authorization = None
    if parts.username is not None:
        login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        authorization = f"Basic {base64.b64encode(login.encode()).decode()}"
    return Proxy(f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{port}", variable, authorization)


def _covers(entry: str, host: str, port: int) -> bool:
    """Whether an entry of `NO_PROXY` covers the host; False for an entry that cannot be used.

    A name covers its subdomains too, `*.name` these alone. An address may be a network; no name is resolved.
    """
    if entry == "*":
        return True
    scheme, found, rest = entry.rpartition("://")
    if found and scheme.lower() not in ("https", "all"):
        return False
    rest = rest.rstrip("/")
    network = None if "[" in rest else _network(rest)
    parsed = _ENTRY.fullmatch(rest)
    if network is None:
        if parsed is None or (parsed["port"] and int(parsed["port"]) != port):
            return False
        base = parsed["six"] or parsed["name"]
        network = _network(f"{base}/{parsed['prefix']}" if parsed["prefix"] else base)
    address = _address(host)
    if network is not None:
        return address is not None and address in network
    if parsed is None or not parsed["name"] or parsed["prefix"]:
        return False
    return address is None and _name_covers(parsed["name"], host)


def _name_covers(name: str, host: str) -> bool:
    subdomains_alone = name.startswith("*.")
    covering, asked = _ascii(name.removeprefix("*").strip(".")), _ascii(host.strip("."))
    if not covering or not asked or "*" in covering:
        return False
    return asked.endswith(f".{covering}") or (asked == covering and not subdomains_alone)


def _network(text: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


def _address(host: str) -> IPv4Address | IPv6Address | None:
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


def _ascii(host: str) -> str | None:
    """The host as it is asked for: lower case, punycode; None where it can be no host."""
    if host.isascii():
        return host.lower()
    try:
        return host.encode("idna").decode("ascii").lower()
    except UnicodeError:
        return None
