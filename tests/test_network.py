"""Certificates and proxies: calls to both trackers go the same way, and say the same where they cannot."""

from __future__ import annotations

import asyncio
import codecs
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpcore
import httpx
import pytest

from app.server.server import open_runtime
from app.settings import Settings, WrongSetting
from connectors.base import Blocked, ConnectorError, Unauthorized, Unavailable
from connectors.network import DIRECT, Network, Transport, WrongCertificates, read_network
from connectors.registry import KINDS
from tests.support.certificates import DAY, Authority, authority
from tests.support.http_proxy import http_proxy
from tests.support.raw_host import TOKEN, WRITING, connector_on, host

ELSEWHERE = "https://tracker.acme.example"


@pytest.fixture
def acme(tmp_path: Path) -> Authority:
    return authority(tmp_path)


async def calling(
    kind: str, url: str, network: Network = DIRECT, *, write: bool = False
) -> tuple[type[ConnectorError], str, str]:
    """What a call says that cannot succeed: its type, its message and what to do, without the port."""
    connector = connector_on(kind, url, network)
    try:
        with pytest.raises(ConnectorError) as caught:
            await (WRITING[0](connector, kind) if write else connector.account())
    finally:
        await connector.aclose()
    port = url.rpartition(":")[2]
    return type(caught.value), caught.value.message.replace(port, "PORT"), caught.value.what_to_do


# --- certificates -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
async def test_a_company_certificate_is_trusted_beside_the_usual_ones(kind: str, acme: Authority) -> None:
    path = str(acme.file())
    async with host(acme.server("127.0.0.1")) as tracker:
        tracker.says("401 Unauthorized")
        url = f"https://127.0.0.1:{tracker.port}"
        networks = [
            read_network({}, Path(path)),
            read_network({"SSL_CERT_FILE": path}),
            read_network({"REQUESTS_CA_BUNDLE": path}),
            read_network({"CURL_CA_BUNDLE": path, "SSL_CERT_DIR": str(acme.folder)}),
        ]
        for network in networks:
            for write in (False, True):
                assert (await calling(kind, url, network, write=write))[0] is Unauthorized
            assert len(network.trusted.get_ca_certs()) == len(DIRECT.trusted.get_ca_certs()) + 1
        assert len(tracker.heard) == 2 * len(networks)
    assert len(DIRECT.trusted.get_ca_certs()) > 100
    assert networks[0].trusted is read_network({}, Path(path)).trusted  # a context takes 60 ms


REFUSED = {
    "an authority that nobody trusts": (
        ("127.0.0.1",), DAY, False, "self-signed certificate in certificate chain", "NORTHING_CA_BUNDLE"
    ),
    "over": (("127.0.0.1",), -DAY, True, "certificate has expired", "the clock of this machine"),
    "for another name": (
        ("jira.acme.com",), DAY, True,
        "IP address mismatch, certificate is not valid for '127.0.0.1'", "Set base_url to a name",
    ),
}  # fmt: skip


@pytest.mark.parametrize("why", REFUSED)
async def test_a_refused_certificate_is_said_alike_for_both(acme: Authority, why: str) -> None:
    names, until, trusted, says, to_do = REFUSED[why]
    network = read_network({}, acme.file()) if trusted else DIRECT
    async with host(acme.server(*names, until=until)) as tracker:
        url = f"https://127.0.0.1:{tracker.port}"
        found = {await calling(kind, url, network, write=write) for kind in KINDS for write in (False, True)}
        assert all(request == b"" for request in tracker.heard)
    [(error, message, what_to_do)] = found
    assert error is Unavailable  # nothing was sent, so no write is left unconfirmed
    assert message == f"The certificate of 127.0.0.1:PORT was not accepted: {says}."
    assert to_do in what_to_do


async def test_a_server_without_encryption_is_said_alike_for_both() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        with suppress(ConnectionError):
            await writer.drain()
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        found = {await calling(kind, url, write=write) for kind in KINDS for write in (False, True)}
    [(error, message, _)] = found
    assert error is Unavailable
    assert message == "127.0.0.1:PORT accepts no encrypted connection: wrong version number."


@pytest.mark.parametrize("form", ["crlf", "utf-8 with a mark", "utf-16", "comments", "der", "twice"])
def test_the_forms_of_a_file_of_certificates(acme: Authority, form: str) -> None:
    text = acme.pem.decode()
    content = {
        "crlf": text.replace("\n", "\r\n").encode(),
        "utf-8 with a mark": codecs.BOM_UTF8 + acme.pem,
        "utf-16": text.encode("utf-16"),
        "comments": f"Acme Wurzel für größere Werke\n{text}\nund mehr".encode(),
        "der": acme.der,
        "twice": acme.pem * 2,
    }[form]
    network = read_network({}, acme.file(content=content))
    assert len(network.trusted.get_ca_certs()) == len(DIRECT.trusted.get_ca_certs()) + 1


WRONG = {
    "is not there": None,
    "no certificate": b"no certificate",
    "no certificate that": b"",
    "holds no": b"-----BEGIN CERTIFICATE-----\nbm9uc2Vuc2U=\n-----END CERTIFICATE-----\n",
}
VARIABLES = ["NORTHING_CA_BUNDLE", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"]


@pytest.mark.parametrize("variable", VARIABLES)
def test_a_file_that_cannot_be_used_is_named_with_its_variable(tmp_path: Path, variable: str) -> None:
    path = tmp_path / "root\x1b[2J\n.pem"
    for why, content in WRONG.items():
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(WrongCertificates, match=why) as caught:
            read(variable, path)
        assert str(caught.value).startswith(f"{variable} names ")
        assert "root" in str(caught.value)
        assert str(caught.value).isprintable()
    if variable in VARIABLES[:2]:
        with pytest.raises(WrongCertificates, match="is no file"):
            read(variable, tmp_path)


def read(variable: str, path: Path) -> Network:
    ours = variable == "NORTHING_CA_BUNDLE"
    return read_network({} if ours else {variable: str(path)}, path if ours else None)


def test_of_several_folders_those_that_are_there_count(tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    assert read_network({"SSL_CERT_DIR": f"{missing}:{tmp_path}:"}).certificates == (
        ("SSL_CERT_DIR", str(tmp_path)),
    )
    assert read_network({"SSL_CERT_DIR": "", "SSL_CERT_FILE": " "}) == DIRECT
    with pytest.raises(WrongCertificates, match=r"SSL_CERT_DIR names .*, which is not there"):
        read_network({"SSL_CERT_DIR": missing})


@pytest.mark.parametrize("variable", VARIABLES[:2])
async def test_a_missing_file_stops_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    path = tmp_path / "missing.pem"
    monkeypatch.setenv(variable, str(path))
    with pytest.raises(WrongSetting, match=rf"{variable} names .*missing\.pem', which is not there"):
        async with open_runtime(Settings(), "postgresql://nothing.is.asked/northing"):
            pass


# --- proxies ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("encrypted", [False, True])
async def test_a_proxy_gets_its_own_login_and_never_ours(kind: str, acme: Authority, encrypted: bool) -> None:
    tls = acme.server("tracker.acme.example", "127.0.0.1")
    async with host(tls) as tracker, http_proxy(tracker.port, tls if encrypted else None) as proxy:
        tracker.says("401 Unauthorized")
        scheme = "https" if encrypted else "http"
        environment = {
            "HTTPS_PROXY": f"{scheme}://b%C3%B6t:p%40ss@127.0.0.1:{proxy.port}/",
            "NO_PROXY": "localhost,fd07:b51a:cc66:f0::/64",
        }
        network = read_network(environment, acme.file())
        assert (await calling(kind, ELSEWHERE, network))[0] is Unauthorized
        [head] = proxy.heard
        assert head.startswith(b"CONNECT tracker.acme.example:443 HTTP/1.")
        assert b"\r\nProxy-Authorization: Basic YsO2dDpwQHNz\r\n" in head
        assert TOKEN.encode() not in head
        [request] = tracker.heard
        assert b"Proxy-Authorization" not in request


@pytest.mark.parametrize("answer", [b"HTTP/1.1 407 Proxy Authentication Required", b"HTTP/1.1 403 No", b""])
async def test_a_proxy_that_does_not_let_us_through_is_named_by_its_variable(answer: bytes) -> None:
    async with http_proxy(1) as proxy:
        proxy.answer = answer
        port = proxy.port if answer else 1  # where nothing listens
        network = read_network({"all_proxy": f"bot:s3cret-word@127.0.0.1:{port}"})
        found = {await calling(kind, ELSEWHERE, network, write=True) for kind in KINDS}
    [(error, message, what_to_do)] = found
    status = f" (it answers HTTP {answer[9:12].decode()})" if answer else ""
    named = "tracker.acme.example cannot be reached through the proxy that all_proxy names"
    assert (error, message) == (Unavailable, f"{named}{status}.")
    assert "all_proxy" in what_to_do
    assert "s3cret-word" not in message + what_to_do


WRONG_PROXIES: list[Mapping[str, str]] = [
    {"HTTPS_PROXY": "http://user:s3cret-word/@proxy"},
    {"ALL_PROXY": "socks5://user:s3cret-word@proxy:1080"},
]


@pytest.mark.parametrize("environment", WRONG_PROXIES)
async def test_a_wrong_proxy_is_said_without_its_value(environment: Mapping[str, str]) -> None:
    network = read_network(environment)
    [variable] = environment
    assert str(network.wrong_proxy).startswith(f"{variable} ")
    found = {
        await calling(kind, ELSEWHERE, network, write=write) for kind in KINDS for write in (False, True)
    }
    [(error, message, what_to_do)] = found
    assert (error, message) == (Blocked, str(network.wrong_proxy))
    assert "s3cret-word" not in f"{message} {what_to_do} {network}"
    async with host() as tracker:  # on this machine no proxy is needed
        tracker.says("401 Unauthorized")
        assert (await calling("jira", tracker.url, network))[0] is Unauthorized


# --- connections that end at once ---------------------------------------------------------------


class ResetAtOnce(httpcore.AsyncNetworkBackend):
    """Connections as anyio gives them where uvloop has taken their socket away, because they were reset."""

    async def connect_tcp(self, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        class Reset(httpcore.AsyncMockStream):
            def get_extra_info(self, info: str) -> Any:
                taken_away: Any = None
                return taken_away.getpeername()

        return Reset([])


async def test_a_connection_reset_as_soon_as_it_is_made_is_one_that_was_not_made() -> None:
    transport = Transport()
    vars(transport)["_pool"] = httpcore.AsyncConnectionPool(network_backend=ResetAtOnce())
    async with httpx.AsyncClient(transport=transport) as client:
        with pytest.raises(httpx.ConnectError):
            await client.get("http://tracker.acme.example/")
