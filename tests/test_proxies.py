"""Which proxy the variables of the environment name for an address: one answer, for both trackers."""

from __future__ import annotations

import base64

import pytest

from connectors.proxies import Proxy, WrongProxy, parse_proxy, proxy_for

AT = "http://proxy.acme.com:3128"
GITHUB, SITE = "https://api.github.com", "https://acme.atlassian.net"


@pytest.mark.parametrize(
    ("environment", "variable"),
    [
        ({}, None),
        ({"HTTPS_PROXY": AT}, "HTTPS_PROXY"),
        ({"https_proxy": AT}, "https_proxy"),
        ({"Https_Proxy": AT}, "Https_Proxy"),
        ({"ALL_PROXY": AT}, "ALL_PROXY"),
        ({"all_proxy": AT}, "all_proxy"),
        ({"HTTP_PROXY": AT, "http_proxy": AT}, None),  # for plain http, which no tracker elsewhere speaks
        ({"HTTP_PROXY": "nonsense://", "HTTPS_PROXY": AT}, "HTTPS_PROXY"),
        ({"HTTPS_PROXY": AT, "ALL_PROXY": "socks5://127.0.0.1:7891"}, "HTTPS_PROXY"),
        ({"https_proxy": AT, "HTTPS_PROXY": "nonsense://"}, "https_proxy"),
        ({"https_proxy": "", "HTTPS_PROXY": "nonsense://"}, None),  # empty in lower case: none, as for Python
        ({"HTTPS_PROXY": "", "ALL_PROXY": " "}, None),
        ({"HTTPS_PROXY": "  ", "ALL_PROXY": AT}, "ALL_PROXY"),
        ({"HTTPS_PROXY": f" {AT}\n"}, "HTTPS_PROXY"),
        ({"FTP_PROXY": AT, "SOCKS_PROXY": AT, "NO_PROXY": "*"}, None),
    ],
)
def test_the_variable_that_counts(environment: dict[str, str], variable: str | None) -> None:
    for url in (GITHUB, SITE):
        assert proxy_for(environment, url) == (None if variable is None else Proxy(AT, variable))


@pytest.mark.parametrize(
    "url",
    ["http://tracker.acme.com", "http://127.0.0.1:8080", "https://127.0.0.1", "https://localhost:8443",
     "https://[::1]:8443", "https://127.9.9.9/x", "nonsense", ""],
)  # fmt: skip
def test_neither_plain_calls_nor_this_machine_go_through_a_proxy(url: str) -> None:
    assert proxy_for({"ALL_PROXY": AT, "HTTP_PROXY": AT, "HTTPS_PROXY": AT}, url) is None
    assert proxy_for({"ALL_PROXY": "socks5://x"}, url) is None


def basic(login: str) -> str:
    return f"Basic {base64.b64encode(login.encode()).decode()}"


@pytest.mark.parametrize(
    ("value", "url", "login"),
    [
        ("proxy.acme.com:3128", AT, None),
        ("//proxy.acme.com:3128/", AT, None),
        ("HTTP://Proxy.Acme.com:3128/", AT, None),
        ("http://proxy.acme.com:3128/some/path", AT, None),
        ("proxy", "http://proxy:80", None),
        ("https://proxy.acme.com", "https://proxy.acme.com:443", None),
        ("10.0.0.1:8080", "http://10.0.0.1:8080", None),
        ("http://[fd00::1]:3128", "http://[fd00::1]:3128", None),
        ("http://bücher.example:3128", "http://xn--bcher-kva.example:3128", None),
        ("user:pass@proxy.acme.com:3128", AT, "user:pass"),
        ("http://user:p%40ss%2Fw%C3%B6rd@proxy.acme.com:3128", AT, "user:p@ss/wörd"),
        ("http://user:p@ss@proxy.acme.com:3128", AT, "user:p@ss"),
        ("http://ACME%5Cbot@proxy.acme.com:3128", AT, "ACME\\bot:"),
    ],
)
def test_the_forms_of_an_address(value: str, url: str, login: str | None) -> None:
    found = parse_proxy("HTTPS_PROXY", value)
    assert found == Proxy(url, "HTTPS_PROXY", None if login is None else basic(login))
    assert "pass" not in repr(found)


SECRET = "s3cret-word"


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("http://", "is not the address"), ("://x", "is not the address"),
        ("ftp://proxy", "is not the address"),
        ("http://proxy:99999", "is not the address"), ("http://proxy:0", "is not the address"),
        ("http://proxy:port", "is not the address"), ("http://pro xy:1", "is not the address"),
        ("http://[fd00::1:3128", "is not the address"), ("http://proxy\x00:1", "is not the address"),
        (f"http://user:{SECRET}/@proxy:3128", "is not the address"),
        (f"http://user:1?{SECRET}@proxy:3128", "is not the address"),
        (f"http://user:1#{SECRET}@proxy:3128", "is not the address"),
        (f"http://user:12/{SECRET}@proxy:3128", "is not the address"),
        (f"http://user:{SECRET}@", "is not the address"), ('"http://proxy:3128"', "is not the address"),
        ("http://http://proxy:3128", "is not the address"), (f"http://{'ü' * 300}", "is not the address"),
        ("socks5://proxy:1080", "SOCKS"), ("socks5h://proxy:1080", "SOCKS"), ("socks4://proxy", "SOCKS"),
        (f"SOCKS://user:{SECRET}@proxy", "SOCKS"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "all_proxy"])
def test_a_wrong_address_is_named_by_its_variable(variable: str, value: str, why: str) -> None:
    with pytest.raises(WrongProxy) as caught:
        proxy_for({variable: value}, GITHUB)
    assert str(caught.value).startswith(f"{variable} ")
    assert why in str(caught.value)
    assert variable in caught.value.what_to_do
    assert SECRET not in f"{caught.value} {caught.value.what_to_do}"
    assert proxy_for({variable: value, "NO_PROXY": "github.com"}, GITHUB) is None  # it is not needed


def direct(entries: str, url: str = "https://jira.acme.com:8443", name: str = "NO_PROXY") -> bool:
    return proxy_for({"HTTPS_PROXY": AT, name: entries}, url) is None


@pytest.mark.parametrize(
    "entries",
    ["*", "jira.acme.com", ".acme.com", "acme.com", "ACME.com.", "*.acme.com", "com", " x ,  acme.com ,",
     "x acme.com", "acme.com:8443", "https://acme.com", "all://acme.com/", "x;acme.com",
     "localhost,fd07:b51a:cc66:f0::/64,acme.com", "[,],/,:,::/x,*x*,http://[,acme.com", "\n*\n"],
)  # fmt: skip
def test_entries_that_cover_a_name(entries: str) -> None:
    assert direct(entries)
    assert direct(entries, name="no_proxy")


@pytest.mark.parametrize(
    "entries",
    ["", " , ", "ira.acme.com", "x.jira.acme.com", "*.jira.acme.com", "acme.com:443", "http://acme.com",
     "acme", "localhost,fd07:b51a:cc66:f0::/64", "10.0.0.0/8", "*acme*", "jira.*", "*.*", "[acme.com]",
     "acme.com/24",
     ":8443", ".", "*.", "\x00", "acme.com:x", "//acme.com", "[::1]", "٣.acme.com", "ü" * 300],
)  # fmt: skip
def test_entries_that_do_not_or_cannot_be_used_are_passed_over(entries: str) -> None:
    assert not direct(entries)


@pytest.mark.parametrize(
    ("entry", "inside", "outside"),
    [
        ("fd07:b51a:cc66:f0::/64", "[fd07:b51a:cc66:f0::9]", "[fd07:b51a:cc66:f1::9]"),
        ("[fd07:b51a:cc66:f0::]/64", "[fd07:b51a:cc66:f0::9]", "10.0.0.1"),
        ("fd00::1", "[fd00::1]:8443", "[fd00::2]"),
        ("[fd00::1]", "[fd00::1]:8443", "[fd00::2]"),
        ("[fd00::1]:8443", "[fd00::1]:8443", "[fd00::1]"),
        ("10.0.0.0/8", "10.9.9.9", "11.0.0.1"),
        ("10.1.2.3/8", "10.9.9.9", "11.0.0.1"),
        ("10.0.0.0/255.0.0.0", "10.9.9.9", "11.0.0.1"),
        ("10.0.0.1", "10.0.0.1:8443", "10.0.0.10"),
        ("10.0.0.1:8443", "10.0.0.1:8443", "10.0.0.1"),
        ("10.0.0.0/8", "[::ffff:10.0.0.1]", "ten.acme.com"),
        ("bücher.example", "xn--bcher-kva.example", "bucher.example"),
    ],
)
def test_entries_that_are_addresses_or_networks(entry: str, inside: str, outside: str) -> None:
    assert direct(f"x,{entry}", f"https://{inside}")
    assert not direct(f"x,{entry}", f"https://{outside}")
    assert not direct("0.1,1", "https://10.0.0.1")  # the end of an address is no domain
