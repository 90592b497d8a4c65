"""Whether webhooks of a source arrive: two requests to our own webhook endpoint, which store nothing.

Both have an empty body, which no tracker sends. The endpoint has to refuse a wrong signature with 401. For
the right one it answers 415, because it checks the content type next, which is wrong on purpose.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import quote

import httpx

from app.secrets import CannotDecrypt, binding_of
from connectors.addresses import is_loopback
from connectors.config import hidden_end
from connectors.diagnostics import Fact
from connectors.network import Network, certificate_refusal, http_client
from connectors.registry import KINDS
from mappings.sources.health import NONE_REFUSED, RefusedSignatures

if TYPE_CHECKING:
    from collections.abc import Iterator

    from app.runtime import Runtime
    from mappings.tables import SourceRow

TIMEOUT = httpx.Timeout(10)
RECENTLY = timedelta(days=1)
WHAT = "webhook address"
PROXY = "Check that the proxy before Northing passes POST /webhooks/… on as it is; check NORTHING_PUBLIC_URL."


@dataclass(frozen=True)
class WebhookHistory:
    """When the last authentic webhook came, and when one with a wrong signature was last refused."""

    last_at: datetime | None
    refused_at: datetime | None
    refused: RefusedSignatures = NONE_REFUSED


async def webhook_facts(
    runtime: Runtime, source: SourceRow, history: WebhookHistory, now: datetime
) -> list[Fact]:
    url = f"{runtime.settings.links_base}/webhooks/{quote(source.name, safe='')}"
    if source.webhook_secret is None:
        timetable = any(moment is not None for moment in source.schedule.values())
        finds = "its timetable finds what changes" if timetable else "and no timetable finds what changes"
        why = f"The source has no webhook_secret, so it takes no webhooks; {finds}."
        todo = f"Give it one with PATCH /api/v1/sources/{source.name}, and the tracker a webhook to {url}."
        return [Fact("warning", "webhook_secret", why, todo)]
    try:
        secret: str = runtime.cipher.decrypt(source.webhook_secret, binding_of(source, "webhook_secret"))
    except CannotDecrypt as error:
        return [Fact("missing", "webhook_secret", error.message, error.what_to_do)]
    facts = list(_address_facts(runtime, source, url))
    hidden = hidden_end(secret)
    if hidden is not None:
        todo = "If webhooks are refused, send it again without, and give the tracker the same."
        facts.append(Fact("warning", "webhook_secret", f"The stored webhook_secret {hidden}.", todo))
    facts.append(await _probe(url, KINDS[source.kind].webhooks.signature_header, secret, runtime.network))
    return [*facts, *_delivery_facts(history, url, now)]


def _address_facts(runtime: Runtime, source: SourceRow, url: str) -> Iterator[Fact]:
    if is_loopback(source.base_url):
        return
    if is_loopback(runtime.settings.links_base):
        why = f"{url} is this machine's own; the tracker is elsewhere and cannot reach it."
        todo = "Set NORTHING_PUBLIC_URL to an https address that the tracker reaches."
        yield Fact("failed", WHAT, why, todo)
    elif url.startswith("http://"):
        refused = f"{source.kind.capitalize()} sends to https only, and "
        what = refused if KINDS[source.kind].webhooks.https_only else ""
        why = f"{url} is not encrypted; {what}others can read it."
        yield Fact(
            "warning", WHAT, why, "Put a proxy with a certificate before Northing; set NORTHING_PUBLIC_URL."
        )


async def _probe(url: str, header: str, secret: str, network: Network) -> Fact:
    right = hmac.digest(secret.encode("utf-8", "surrogatepass"), b"", "sha256").hex()
    route = network.route(url)
    if route.wrong is not None:
        return Fact("failed", WHAT, f"{url} was not called. {route.wrong}", route.wrong.what_to_do)
    async with http_client(network, route.proxy, TIMEOUT) as client:
        try:
            refused = await _post_empty(client, url, header, "0" * 64)
            if refused.status_code != 401 or not _is_northing(refused):
                return _not_northing(url, refused)
            answer = await _post_empty(client, url, header, right)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            return _no_answer(url, error)
    if answer.status_code == 415:
        return Fact("ok", WHAT, f"{url} refuses a wrong signature, and takes the right one.")
    if answer.status_code == 401:
        why = f"{url} refuses what is signed with the stored webhook_secret: it has another database or key."
        return Fact(
            "failed", WHAT, why, "See that the server there has this database and NORTHING_SECRET_KEY."
        )
    return _not_northing(url, answer)


async def _post_empty(client: httpx.AsyncClient, url: str, header: str, signature: str) -> httpx.Response:
    headers = {header: f"sha256={signature}", "Content-Type": "text/plain"}
    return await client.post(url, content=b"", headers=headers, follow_redirects=False)


def _is_northing(answer: httpx.Response) -> bool:
    kind: str = answer.headers.get("content-type", "")
    return kind.startswith("application/problem+json")


def _not_northing(url: str, answer: httpx.Response) -> Fact:
    if answer.is_redirect:
        why = f"{url} redirects to {answer.headers['location']}; trackers do not follow."
        return Fact("failed", WHAT, why, "Set NORTHING_PUBLIC_URL to the address at the end of it.")
    if _is_northing(answer) and answer.status_code == 404:
        why = f"{url} is answered by a Northing that does not know this source."
        return Fact(
            "failed", WHAT, why, "See that the server there has this database, and NORTHING_PUBLIC_URL."
        )
    if _is_northing(answer) and answer.status_code == 503:
        return Fact("failed", WHAT, f"{url}: Northing there cannot store webhooks now.", "See its log.")
    return Fact("failed", WHAT, f"{url} is answered by something else (HTTP {answer.status_code}).", PROXY)


def _no_answer(url: str, error: Exception) -> Fact:
    """Why this machine gets no answer; a tracker elsewhere may get one."""
    if certificate_refusal(error) is not None:
        why = f"{url} has a certificate that is not accepted; a tracker does not accept it either."
        return Fact(
            "failed", WHAT, why, "Renew it, or give the server the certificates between it and the root."
        )
    why = f"{url} does not answer this machine ({type(error).__name__})."
    todo = "Start `northing serve`; set NORTHING_PUBLIC_URL to the address the tracker is to send to."
    return Fact("failed", WHAT, why, todo)


def _delivery_facts(history: WebhookHistory, url: str, now: datetime) -> Iterator[Fact]:
    if history.last_at is None:
        todo = (
            f"Make a webhook to {url} in the tracker, with the source's webhook_secret, and change a ticket."
        )
        yield Fact(
            "warning",
            "deliveries",
            "No webhook of the tracker was ever received, or all are deleted.",
            todo,
        )
    else:
        yield Fact("ok", "deliveries", f"The last webhook came at {history.last_at:%Y-%m-%d %H:%M} UTC.")
    refused = history.refused_at
    if refused is not None and (
        now - refused < RECENTLY or history.last_at is None or refused > history.last_at
    ):
        why = f"At {refused:%Y-%m-%d %H:%M} UTC one with a wrong signature was refused; anyone can send one."
        why = f"{why} {history.refused}".rstrip()
        todo = "If it was the tracker, give it the source's webhook_secret."
        yield Fact("warning", "signature", why, todo)
