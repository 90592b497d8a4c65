"""From an address as people paste it, mostly from a browser, to that of the tracker. Pure."""

from __future__ import annotations

import re
from typing import NamedTuple

from connectors.addresses import is_loopback, split_address

_KEY = "[A-Za-z][A-Za-z0-9_]{0,254}"
_BROWSED = re.compile(rf"(?P<site>.*?)/browse/(?P<key>{_KEY})(-[0-9]+)?/?")
# https://acme.atlassian.net/jira/software/c/projects/SHOP/boards/1, /projects/SHOP
_IN_PROJECT = re.compile(rf"(?:^|/)projects/(?P<key>{_KEY})(?:/|$)")
_API = re.compile(r"(?P<site>.*?/api/v3)(?P<rest>/.*)?")
_NAME = "(?P<name>[A-Za-z0-9._-]+?)(?:[.]git)?(?=/|$)"
_OWNER_AND_NAME = re.compile(rf"/(?P<owner>[A-Za-z0-9][A-Za-z0-9_-]*)(?:/{_NAME})?")
# Below these, pages of GitHub are about no repository.
_NO_OWNERS = frozenset(
    {"settings", "notifications", "login", "search", "apps", "topics", "features", "issues", "pulls"}
)
JIRA_CLOUD = (".atlassian.net", ".jira.com")


class Pasted(NamedTuple):
    """`kind`: None where the address does not show it. `project`: the project key, or `owner/name`, that the
    page was about; an owner alone as `owner/*`; empty for none."""

    kind: str | None
    base_url: str
    project: str = ""


def tracker_pasted(text: str) -> Pasted | None:
    """The tracker whose address this is, or a page of which it is; None for a text that is no address."""
    text = text.strip()
    if "://" not in text:
        text = f"{'http' if is_loopback(f'//{text}') else 'https'}://{text}"
    parts = split_address(text)
    if parts is None or not parts.hostname or parts.scheme not in {"http", "https"}:
        return None
    user, at, netloc = parts.netloc.rpartition("@")
    host, path, site = parts.hostname.lower(), parts.path, f"{parts.scheme}://{user}{at}{netloc.lower()}"
    if host in {"github.com", "www.github.com"}:
        return Pasted("github", "https://api.github.com", _repository(path))
    if host == "api.github.com":
        return Pasted("github", "https://api.github.com", _of_call(path))
    if host.endswith(".ghe.com"):
        return Pasted("github", f"https://api.{host.removeprefix('api.')}", _repository(path))
    browsed = _BROWSED.fullmatch(path)
    if host.endswith(JIRA_CLOUD):
        in_project = browsed or _IN_PROJECT.search(path)
        return Pasted("jira", site, in_project["key"].upper() if in_project else "")
    if browsed:
        return Pasted("jira", site + browsed["site"], browsed["key"].upper())
    if api := _API.fullmatch(path):
        return Pasted("github", site + api["site"], _of_call(api["rest"] or ""))
    return Pasted(None, site + path.rstrip("/"))


def page_of_server(base_url: str) -> Pasted | None:
    """The site that the address is a page of, with its repository were it GitHub's; None for a site."""
    parts = split_address(base_url)
    if parts is None or not parts.path.strip("/"):
        return None
    return Pasted(None, f"{parts.scheme}://{parts.netloc}", _repository(parts.path))


def _of_call(path: str) -> str:
    """The repository or organisation of a call of GitHub's API."""
    return _repository(path.removeprefix("/repos")) if path.startswith(("/repos/", "/orgs/")) else ""


def _repository(path: str) -> str:
    if path.startswith("/orgs/"):
        path = "/" + path.split("/")[2]
    found = _OWNER_AND_NAME.match(path)
    if found is None or found["owner"].lower() in _NO_OWNERS:
        return ""
    return f"{found['owner']}/{found['name'] or '*'}"
