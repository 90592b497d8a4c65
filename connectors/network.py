"""How calls leave this machine: through which proxy, and which certificates they trust.

It is the same for every tracker, and so is what a failed connection says.
"""

from __future__ import annotations

import codecs
import os
import re
import ssl
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

from connectors.base import TRIES_AGAIN, UNREACHABLE, Blocked, Unavailable
from connectors.markup import clean
from connectors.proxies import Proxy, WrongProxy, named_proxy, parse_proxy, proxy_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# The variables that other programs take certificates from, with whether each may name a folder.
_USUAL = {"SSL_CERT_FILE": False, "REQUESTS_CA_BUNDLE": True, "CURL_CA_BUNDLE": True}
_OURS = "NORTHING_CA_BUNDLE"
_MOST_BYTES = 32 * 1024 * 1024
_CERTIFICATE_PAUSE = 300.0

# Codes of OpenSSL's verification, https://docs.openssl.org/master/man3/X509_STORE_CTX_get_error/
_TIME, _NAME = {9, 10}, {62, 64}
_TUNNEL_STATUS = re.compile(r"Tunnel connection failed: ([0-9]{3})|^([0-9]{3})\b")


class WrongCertificates(ValueError):
    """A variable names a file of certificates that cannot be used. The text names both, in one line."""


@dataclass(frozen=True, slots=True)
class Network:
    """`environment`: the variables that name proxies. `certificates`: variables, each with the file or folder
    of certificates that it names; these are trusted beside the usual ones."""

    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    certificates: tuple[tuple[str, str], ...] = ()

    @property
    def trusted(self) -> ssl.SSLContext:
        return _trusted(self.certificates)

    @property
    def wrong_proxy(self) -> WrongProxy | None:
        """What is wrong with the proxy that the environment names for encrypted connections."""
        named = named_proxy(self.environment)
        try:
            _ = None if named is None else parse_proxy(*named)
        except WrongProxy as wrong:
            return wrong
        return None

    def route(self, url: str) -> Route:
        """How a call to `url` goes."""
        try:
            return Route(proxy_for(self.environment, url))
        except WrongProxy as wrong:
            return Route(None, wrong)


@dataclass(frozen=True, slots=True)
class Route:
    """`proxy`: the one that a call goes through, None for none. `wrong`: why no call can be made."""

    proxy: Proxy | None
    wrong: WrongProxy | None = None

    def check(self) -> None:
        """Raises `Blocked` where no call can be made."""
        if self.wrong is not None:
            raise Blocked(str(self.wrong), self.wrong.what_to_do)


DIRECT = Network()  # no proxy, the usual certificates


def read_network(environment: Mapping[str, str], ca_bundle: Path | None = None) -> Network:
    """What the environment and the setting for certificates say. Raises `WrongCertificates`."""
    proxies = {name: value for name, value in environment.items() if name.lower().endswith("_proxy")}
    network = Network(proxies, tuple(_certificates(environment, ca_bundle)))
    _ = network.trusted  # read now, so that a wrong file stops the start
    return network


def http_client(network: Network, proxy: Proxy | None, timeout: httpx.Timeout) -> httpx.AsyncClient:
    """A client that reads no environment: neither proxies, nor certificates, nor a `.netrc`."""
    trusted, through = network.trusted, None
    if proxy is not None:
        headers = {} if proxy.authorization is None else {"Proxy-Authorization": proxy.authorization}
        tls = trusted if proxy.url.startswith("https:") else None
        through = httpx.Proxy(proxy.url, headers=headers, ssl_context=tls)
    transport = Transport(verify=trusted, trust_env=False, proxy=through)
    return httpx.AsyncClient(timeout=timeout, follow_redirects=False, trust_env=False, transport=transport)


class Transport(httpx.AsyncHTTPTransport):
    """That of httpx; a connection that is reset as soon as it is made is a `ConnectError` too."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        try:
            return await super().handle_async_request(request)
        except AttributeError as error:
            # anyio asks the socket for its peer after uvloop has taken the socket away; nothing was sent yet.
            if error.name != "getpeername":
                raise
            raise httpx.ConnectError("The connection was reset.", request=request) from error


# --- certificates ---------------------------------------------------------------------------


def _certificates(environment: Mapping[str, str], ca_bundle: Path | None) -> Iterator[tuple[str, str]]:
    if ca_bundle is not None:
        yield _OURS, str(ca_bundle)
    for variable in _USUAL:
        if path := environment.get(variable, "").strip():
            yield variable, path
    folders = [each for each in environment.get("SSL_CERT_DIR", "").split(os.pathsep) if each.strip()]
    # Of a list of folders some may be missing, as for OpenSSL; where none is there, it is a mistake.
    there = [each for each in folders if Path(each).is_dir()]
    yield from (("SSL_CERT_DIR", folder) for folder in there or folders[:1])


@lru_cache(maxsize=4)
def _trusted(certificates: tuple[tuple[str, str], ...]) -> ssl.SSLContext:
    """The trusted certificates, read once: that takes about 60 ms, and every run makes a connector."""
    context = httpx.create_ssl_context(trust_env=False)
    for variable, path in certificates:
        if _USUAL.get(variable, variable == "SSL_CERT_DIR") and Path(path).is_dir():
            context.load_verify_locations(capath=path)
        else:
            _load(context, variable, path)
    return context


def _load(context: ssl.SSLContext, variable: str, path: str) -> None:
    """Trust the certificates of a file: PEM in any encoding that an editor writes, or one in DER."""
    named = f"{variable} names {clean(path)[:300]!r}"
    if not Path(path).exists():
        raise WrongCertificates(f"{named}, which is not there")
    if not Path(path).is_file():
        raise WrongCertificates(f"{named}, which is no file")
    try:
        with Path(path).open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise WrongCertificates(f"{named}, which cannot be read: {error.strerror}") from None
    try:
        if len(data) > _MOST_BYTES:
            raise ValueError(path)
        if b"BEGIN TRUSTED CERTIFICATE" in data:
            context.load_verify_locations(cafile=path)
        else:
            context.load_verify_locations(cadata=_pem_or_der(data))
    except (ValueError, OSError):
        raise WrongCertificates(f"{named}, which holds no certificate that can be read") from None


def _pem_or_der(data: bytes) -> str | bytes:
    for mark, encoding in ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"),
                           (codecs.BOM_UTF16_BE, "utf-16")):  # fmt: skip
        if data.startswith(mark):
            return _ascii(data.decode(encoding, "replace"))
    return _ascii(data.decode("latin-1")) if b"-----BEGIN" in data else data


def _ascii(text: str) -> str:
    """Comments between certificates may be in any language."""
    return text.encode("ascii", "replace").decode("ascii")


# --- what a failed connection says -----------------------------------------------------------


def no_connection(error: BaseException, host: str, proxy: Proxy | None) -> Unavailable:
    """The error where no connection was made, so nothing was sent to the tracker."""
    refused = certificate_refusal(error)
    if refused is not None:
        whose = host if proxy is None or proxy.url.startswith("http:") else f"{host} or of the proxy"
        why = _one_line(refused.verify_message)
        return Unavailable(
            f"The certificate of {whose} was not accepted: {why}.", _CERTIFICATE_PAUSE, _about(refused)
        )
    if proxy is not None:
        status = next(filter(None, map(_tunnel_status, _chain(error))), None)
        answer = "" if status is None else f" (it answers HTTP {status})"
        return Unavailable(
            f"{host} cannot be reached through the proxy that {proxy.variable} names{answer}.",
            what_to_do=f"See that {proxy.variable} is right, has a login if the proxy wants one, and that"
            f" the proxy lets this machine reach {host}; {TRIES_AGAIN}",
        )
    tls = next((each for each in _chain(error) if isinstance(each, ssl.SSLError)), None)
    if tls is not None:
        why = _one_line((tls.reason or "no reason given").replace("_", " ").lower())
        return Unavailable(f"{host} accepts no encrypted connection: {why}.", what_to_do=UNREACHABLE)
    return Unavailable(f"{host} cannot be reached.", what_to_do=UNREACHABLE)


def certificate_refusal(error: BaseException) -> ssl.SSLCertVerificationError | None:
    """What the verification of a certificate said, if that is why the connection was not made."""
    return next((each for each in _chain(error) if isinstance(each, ssl.SSLCertVerificationError)), None)


def _about(refused: ssl.SSLCertVerificationError) -> str:
    if refused.verify_code in _TIME:
        return "Renew the certificate, or set the clock of this machine."
    if refused.verify_code in _NAME:
        return "Set base_url to a name that the certificate is for, or renew it with this name."
    return (
        f"If an authority of your company signed it, set {_OURS} to a file of that authority's certificates"
        " and start Northing again; else see which server or proxy answers there."
    )


def _one_line(text: str) -> str:
    return clean(text).strip(" .")[:300]


def _tunnel_status(error: BaseException) -> str | None:
    found = _TUNNEL_STATUS.search(str(error))
    return None if found is None else found[1] or found[2]


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and its causes; `requests` and `urllib3` keep them in their arguments."""
    waiting, seen = [error], set[int]()
    while waiting:
        current = waiting.pop(0)
        if id(current) in seen:
            continue
        seen.add(id(current))
        yield current
        behind = [current.__cause__, current.__context__, getattr(current, "reason", None), *current.args]
        waiting += [each for each in behind if isinstance(each, BaseException)]
