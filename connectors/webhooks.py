"""What webhooks of all trackers have in common: the signature, and how to read an untrusted payload.

Pure. `connectors.github.webhooks` and `connectors.jira.webhooks` know which events a tracker sends.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qs

from connectors.json import parse_json
from connectors.markup import clean, storable

if TYPE_CHECKING:
    from collections.abc import Callable

    from connectors.base import CommentRef, EpicRef

_SIGNATURE = re.compile(r"sha256=([0-9A-Fa-f]{64})")
_LONGEST_NAME = 100


def signed(secret: str, body: bytes, header: str | None) -> bool:
    """Whether `header` is `sha256=` and the HMAC-SHA256 of the raw `body` in hexadecimal.

    The comparison takes constant time. False without a secret, and for other algorithms.
    https://docs.github.com/webhooks/using-webhooks/validating-webhook-deliveries and
    https://developer.atlassian.com/cloud/jira/platform/webhooks/#secure-admin-webhooks
    """
    given = _SIGNATURE.fullmatch(header or "")
    if not secret or given is None:
        return False
    expected = hmac.digest(secret.encode("utf-8", "surrogatepass"), body, "sha256")
    return hmac.compare_digest(expected, bytes.fromhex(given[1]))


@dataclass(frozen=True, slots=True)
class Hint:
    """What a webhook points at. No ticket data is taken from the payload: the worker fetches the ticket.

    `kind`: `handled` is processed; `ignored` is known and needs nothing (`reason` says why); `unknown` is an
    event or action that this version does not know. `tickets` may have changed; with `removed`, the tracker
    says that they were deleted. `comment` was written, edited or deleted. `reread` asks for a full run: names
    or visibility changed in a whole project: in `project`, or, where that is None, in one that may belong
    to the source but that the payload does not name as the source knows it. The children of `parents`, ids,
    may have changed; ids of other things may be among these.
    """

    event: str
    action: str | None = None
    kind: Literal["handled", "ignored", "unknown"] = "handled"
    reason: str | None = None
    tickets: tuple[EpicRef, ...] = ()
    removed: bool = False
    comment: CommentRef | None = None
    reread: bool = False
    project: str | None = None
    parents: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Webhooks:
    """How one kind of tracker sends webhooks.

    The first three members are names of headers: of the signature, of the delivery id, and of the event
    (None where the body names the event). `takes_forms`: the JSON may come as the field `payload` of a form.
    `https_only`: the tracker sends to no URL that begins with `http://`.
    `parse_event(event, payload)` says what a delivery points at: `event` is the event header's value,
    `payload` any JSON value; it never raises. `reason_to_ignore(ticket, payload, scope, epics)` is called for
    tickets that are not stored: why the ticket, by the source's scope and selector, is no epic of the source
    and need not be fetched; None if it may be one.
    """

    signature_header: str
    id_header: str
    event_header: str | None
    takes_forms: bool
    https_only: bool
    parse_event: Callable[[str | None, object], Hint]
    reason_to_ignore: Callable[[EpicRef, object, Any, Any], str | None]


def payload_of(body: bytes, is_form: bool) -> Any:
    """The JSON of a webhook's body. Raises `ValueError` if it cannot be read."""
    if is_form:
        fields = parse_qs(body.decode(), strict_parsing=True, max_num_fields=20)
        body = fields.get("payload", [""])[0].encode()
    return parse_json(body)


def ignored(event: str, action: str | None, reason: str) -> Hint:
    return Hint(event, action, "ignored", reason)


def unknown(event: str, action: str | None) -> Hint:
    return Hint(event, action, "unknown", "unknown")


def member(value: object, *names: str) -> Any:
    """The member of nested objects at the path `names`; None if the path does not exist."""
    for name in names:
        value = value.get(name) if isinstance(value, dict) else None
    return value


def event_name(value: object) -> str | None:
    """The name of an event or action, shortened, in visible characters; None if `value` is no name."""
    return clean(storable(value[:_LONGEST_NAME])) or None if isinstance(value, str) else None
