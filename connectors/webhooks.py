"""What webhooks of all trackers have in common: the signature, and how to read what a stranger wrote.

Pure. Which tracker sends what stands in `connectors.github.webhooks` and `connectors.jira.webhooks`.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from connectors.base import EpicRef, Hint
from connectors.json import parse_json
from connectors.markup import storable

_SIGNATURE = re.compile(r"sha256=([0-9A-Fa-f]{64})")
_NUMBER = re.compile(r"[1-9][0-9]{0,18}")
_LARGEST = 2**63 - 1  # both trackers number with 64 bits
_LONGEST_NAME = 100


def signed(secret: str, body: bytes, header: str | None) -> bool:
    """Whether `header` is `sha256=` and the HMAC-SHA256 of the raw `body` in hexadecimal.

    Compared in constant time. Never true without a secret; other algorithms are refused.
    https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries and
    https://developer.atlassian.com/cloud/jira/platform/webhooks/#secure-admin-webhooks
    """
    given = _SIGNATURE.fullmatch(header or "")
    if not secret or given is None:
        return False
    due = hmac.digest(secret.encode("utf-8", "surrogatepass"), body, "sha256")
    return hmac.compare_digest(due, bytes.fromhex(given[1]))


@dataclass(frozen=True, slots=True)
class Webhooks:
    """How one kind of tracker sends webhooks.

    The names of three headers: the signature's, the delivery id's, and the event's (None where the body
    names the event). `takes_forms`: the JSON may come as the member `payload` of a form.
    `hear(event, payload)` says what a delivery points at: `event` is that header's value, `payload` any
    JSON value. It never raises. `leave_out(ticket, payload, scope, epics)` is asked of tickets that are not
    stored: the reason why one is no epic of the source, by its scope and selector, and costs no look; None
    where it may be one.
    """

    signature_header: str
    id_header: str
    event_header: str | None
    takes_forms: bool
    parse_event: Callable[[str | None, object], Hint]
    reason_to_ignore: Callable[[EpicRef, object, Any, Any], str | None]


def payload_of(body: bytes, is_form: bool) -> Any:
    """The JSON of a webhook's body. Raises `ValueError`."""
    if is_form:
        fields = parse_qs(body.decode(), strict_parsing=True, max_num_fields=20)
        body = fields.get("payload", [""])[0].encode()
    return parse_json(body)


def ignored(event: str, action: str | None, reason: str) -> Hint:
    return Hint(event, action, "ignored", reason)


def unknown(event: str, action: str | None) -> Hint:
    return Hint(event, action, "unknown", "unknown")


def member(value: object, *names: str) -> Any:
    """The member at the end of the path, None where there is no such path of objects."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def remote_number(value: object) -> str | None:
    """An id as both trackers write them, a positive number of 64 bits or its digits; None for all else."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if 0 < value <= _LARGEST else None
    if isinstance(value, str) and _NUMBER.fullmatch(value) and int(value) <= _LARGEST:
        return value
    return None


def event_name(value: object) -> str | None:
    """An event's or action's name, fit to be stored; None where there is none."""
    return storable(value[:_LONGEST_NAME]) if isinstance(value, str) and value else None
