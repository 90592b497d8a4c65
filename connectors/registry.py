"""The kinds of tracker, each with its configuration and its connector.

Only `app` imports this module. A new kind of tracker is a row in `KINDS`.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from connectors.addresses import is_loopback, split_address
from connectors.clock import utc_now
from connectors.github.client import GitHubConnector
from connectors.github.comments import comment_body
from connectors.github.config import GitHubCredentials, GitHubEpics, GitHubScope
from connectors.github.set_up import SET_UP as GITHUB_SET_UP
from connectors.github.webhooks import WEBHOOKS as GITHUB_WEBHOOKS
from connectors.jira.client import JiraConnector
from connectors.jira.config import JiraCredentials, JiraEpics, JiraScope
from connectors.jira.set_up import SET_UP as JIRA_SET_UP
from connectors.jira.webhooks import WEBHOOKS as JIRA_WEBHOOKS
from connectors.markup import to_plain
from connectors.network import DIRECT
from connectors.pasted import tracker_pasted
from connectors.shown import shown_markdown, shown_on_github, shown_on_jira, shown_plain
from connectors.timeouts import TIMEOUTS

if TYPE_CHECKING:
    from collections.abc import Callable
    from urllib.parse import SplitResult

    from pydantic import BaseModel

    from connectors.base import Connector
    from connectors.clock import Clock
    from connectors.document import Document
    from connectors.marker import Marker
    from connectors.network import Network
    from connectors.set_up import SetUp
    from connectors.timeouts import Timeouts
    from connectors.webhooks import Webhooks


class Connect(Protocol):
    """Make a connector. It takes values of the kind's three models, and sends no request yet."""

    def __call__(
        self,
        base_url: str,
        credentials: Any,
        scope: Any,
        epics: Any,
        timeouts: Timeouts = TIMEOUTS,
        clock: Clock = utc_now,
        network: Network = DIRECT,
    ) -> Connector: ...


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of tracker.

    `render(document, marker)` is the comment as the API shows it: on GitHub the
    Markdown with its two marker lines; on Jira, where a comment is not text, its words.
    `shown(document)` is what a reader of the ticket sees of the comment, for a page; `shown_body`
    the same of a rendered comment, where nothing else of it is stored.
    `webhooks`: how the tracker sends webhooks, and what they point at. `set_up`: what a person
    does there before.
    """

    name: str
    credentials: type[BaseModel]
    scope: type[BaseModel]
    epics: type[BaseModel]
    connect: Connect
    render: Callable[[Document, Marker], str]
    shown: Callable[[Document], Document]
    shown_body: Callable[[str], Document]
    webhooks: Webhooks
    set_up: SetUp


KINDS: dict[str, Kind] = {
    "jira": Kind(
        "jira",
        JiraCredentials,
        JiraScope,
        JiraEpics,
        JiraConnector,
        lambda document, marker: to_plain(document),
        shown_on_jira,
        shown_plain,
        JIRA_WEBHOOKS,
        JIRA_SET_UP,
    ),
    "github": Kind(
        "github",
        GitHubCredentials,
        GitHubScope,
        GitHubEpics,
        GitHubConnector,
        lambda document, marker: comment_body(document, marker)["body"],
        shown_on_github,
        shown_markdown,
        GITHUB_WEBHOOKS,
        GITHUB_SET_UP,
    ),
}


def check_base_url(kind: str, base_url: str) -> str:
    """`base_url` without a slash at its end. Raises `ValueError` with a text for the person."""
    parts = split_address(base_url)
    if parts is None or parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"must be an address such as {_EXAMPLES.get(kind, 'https://tracker.example')}")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not contain a user name or password; put them into credentials")
    if "?" in base_url or "#" in base_url:
        raise ValueError("must end with the path, without ? or #")
    if _is_not_a_tracker(parts.hostname):
        raise ValueError("is an address that no tracker has")
    pasted = tracker_pasted(base_url)
    is_page = pasted is not None and base_url.strip().rstrip("/").lower() != pasted.base_url.lower()
    if kind == "jira" and pasted is not None and pasted.kind == "jira" and is_page:
        raise ValueError(f"is a page of Jira; the site is {pasted.base_url}")
    local = is_loopback(base_url)
    if parts.scheme == "http" and not local:
        raise ValueError("must begin with https://, so that the token is not sent unencrypted")
    if not local:
        _check_address(kind, parts)
    return base_url.strip().rstrip("/")


def _is_not_a_tracker(host: str) -> bool:
    """Whether the host, as it is written, is an IP address that no tracker has.

    These are link-local addresses, where a cloud gives a machine its secrets, unspecified ones and multicast.
    Private addresses are allowed, because a company's own trackers have them.
    """
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    address = getattr(address, "ipv4_mapped", None) or address
    return address.is_link_local or address.is_unspecified or address.is_multicast


_EXAMPLES = {"jira": "https://acme.atlassian.net", "github": "https://api.github.com"}


def _check_address(kind: str, parts: SplitResult) -> None:
    """Refuse the mistakes that people make with the vendors' addresses. Raises `ValueError`."""
    host = (parts.hostname or "").lower()
    path = parts.path.rstrip("/")
    if kind == "jira" and host == "api.atlassian.com":
        raise ValueError(
            "the gateway for scoped tokens is not in this build; use the site, https://NAME.atlassian.net,"
            " with an API token without scopes"
        )
    if kind != "github":
        return
    if host in {"github.com", "www.github.com"}:
        raise ValueError("is the web site; GitHub's API is at https://api.github.com")
    if host.startswith("api.") and not path:
        return
    if path != "/api/v3":
        raise ValueError(
            "must be https://api.github.com, or https://HOST/api/v3 for GitHub Enterprise Server"
        )


def tracker_id(kind: str, base_url: str) -> str:
    """One name for one tracker, however its address is written: `host[:port][/path]`, lower-case host.

    A ticket's id is unique across sources together with this name. Raises `ValueError` for a text that is
    no address.
    """
    parts = split_address(base_url)
    if parts is None or not parts.hostname:
        raise ValueError("is not an address")
    host = parts.hostname.lower().rstrip(".")
    path = parts.path.rstrip("/")
    if kind == "github" and host in {"github.com", "www.github.com", "api.github.com"}:
        return "api.github.com"
    if ":" in host:
        host = f"[{host}]"
    default_port = {"https": 443, "http": 80}.get(parts.scheme)
    port = f":{parts.port}" if parts.port and parts.port != default_port else ""
    return f"{host}{port}{path}"
