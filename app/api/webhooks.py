"""The endpoint for webhooks. A payload is a hint: verified, stored raw, answered, and processed later."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.requests import ClientDisconnect
from starlette.routing import Match, Route
from starlette.types import Scope

from app.api.deps import declared_length
from app.api.problems import RETRY_LATER, UNAVAILABLE, Problem, error_responses
from app.outages import NOT_ANSWERING
from app.runtime import Runtime
from app.secrets import Binding, CannotDecrypt, SecretCipher
from app.webhooks.body_budget import BodyReservation, BudgetExhausted
from app.webhooks.door import DatabaseUnavailable, Intake, KnownSource, ReceivedDelivery
from connectors.markup import storable
from connectors.registry import KINDS
from connectors.webhooks import Webhooks, payload_of, signed
from mappings.errors import NotFound
from mappings.leases import ALWAYS_DUE

T = TypeVar("T")

router = APIRouter(prefix="/webhooks", tags=["webhooks"])

LARGEST = 25 * 1024 * 1024
LARGE = 256 * 1024
NAME = 100
UNOPENED = "Northing cannot open the source's webhook_secret now; send it again."
UNOPENED_SECONDS = 30
EXAMPLE = {
    "action": "labeled",
    "issue": {"id": 2400000012, "number": 7, "labels": [{"name": "epic"}]},
    "label": {"name": "epic"},
    "repository": {"full_name": "acme/shop"},
}
_ID = re.compile(r"[!-~]{1,200}")


class Accepted(BaseModel):
    delivery: int = Field(description="The delivery's id in `/api/v1/deliveries`.", examples=[4711])


@router.post(
    "/{source}",
    status_code=202,
    response_model=Accepted,
    summary="Receive a webhook",
    responses=error_responses(400, 401, 404, 408, 413, 415, 503),
    # Written out: a parameter of the function would announce a 422 that never occurs.
    openapi_extra={
        "parameters": [
            {
                "name": "source",
                "in": "path",
                "required": True,
                "description": "The source's name.",
                "schema": {"type": "string", "examples": ["acme-jira"]},
            }
        ],
        "requestBody": {
            "required": True,
            "description": "The tracker's payload, signed with the source's `webhook_secret`: "
            "`X-Hub-Signature-256` (GitHub), `X-Hub-Signature` (Jira), each `sha256=` and the HMAC of the "
            "raw body.",
            "content": {
                "application/json": {"schema": {"type": "object"}, "example": EXAMPLE},
                "application/x-www-form-urlencoded": {
                    "schema": {
                        "type": "object",
                        "properties": {"payload": {"type": "string", "description": "GitHub's JSON."}},
                    }
                },
            },
        },
    },
)
async def receive(request: Request) -> Response:
    """Needs no token: the signature proves the sender. A repeated delivery gets the same answer and has no
    effect, unless the delivery had failed. A body that comes under a new id while the first waits to be
    processed is stored as `ignored`, reason `repeated`; later, what it names is read again, at most once a
    minute."""
    intake: Intake = request.app.state.intake
    try:
        with intake.body_budget.reserve() as reservation:
            return await _receive(intake, request, reservation)
    except BudgetExhausted:
        raise Problem(
            503,
            "Too many webhooks arrive at once; send it again.",
            headers={"Retry-After": "10", "Connection": "close"},
        ) from None


class ReceivingRoute(Route):
    """Calls `receive` without FastAPI, which would look for parameters that it has none of: that costs a
    third of a request. `described` is FastAPI's route, by which requests are named and documented."""

    def __init__(self) -> None:
        (self.described,) = router.routes
        super().__init__(f"{router.prefix}/{{source}}", receive, methods=["POST"], include_in_schema=False)

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        match, child = super().matches(scope)
        return match, {**child, "route": self.described} if child else child


async def _receive(intake: Intake, request: Request, reservation: BodyReservation) -> Response:
    runtime: Runtime = request.app.state.runtime
    name: str = request.path_params["source"]
    body: bytes | None = None
    try:
        for afresh in (False, True):
            source = await intake.source(name, afresh=afresh) if "\x00" not in name else None
            if source is None:
                raise NotFound.of("source", name)
            body = await _body(intake, request, reservation) if body is None else body
            try:
                refused = await _in_thread_if_large(
                    body, _why_not_authentic, runtime.cipher, source, body, request
                )
            except CannotDecrypt as error:
                if not afresh:
                    continue
                intake.record_unopened(source, error.message)
                raise Problem(503, UNOPENED, headers={"Retry-After": str(UNOPENED_SECONDS)}) from None
            if refused is None:
                delivery = await _read(source, body, request)
                id = await intake.store(source, delivery)
                if id is not None:
                    runtime.outages.wrote()
                    return JSONResponse({"delivery": id}, 202)
            elif afresh:
                if body:  # an empty one is a probe by `northing check`, not a tracker's
                    intake.record_refused(source, refused)
                raise Problem(401, refused)
    except DatabaseUnavailable as error:
        reason = runtime.outages.record(error.__cause__) or NOT_ANSWERING
        raise Problem(503, f"{UNAVAILABLE}: {reason}. Send it again.", headers=RETRY_LATER) from None
    raise Problem(503, "The source is changing at this moment; send it again.", headers=RETRY_LATER)


async def _read(source: KnownSource, body: bytes, request: Request) -> ReceivedDelivery:
    """The delivery to store; 415 or 400 where the request cannot be read."""
    kind = KINDS[source.kind].webhooks
    is_form = _is_form(kind, request)
    payload = await _payload(body, is_form)
    event_header = request.headers.get(kind.event_header) if kind.event_header else None
    hint = kind.parse_event(event_header, payload)
    sent_id = request.headers.get(kind.id_header, "")
    handled = hint.kind == "handled"
    hashed = await _in_thread_if_large(body, _hash, body)
    return ReceivedDelivery(
        remote_id=sent_id if _ID.fullmatch(sent_id) else hashed,
        digest=hashlib.sha256(f"{hashed} {event_header or ''}".encode()).digest(),
        event=storable(hint.event)[:NAME],
        action=None if hint.action is None else storable(hint.action)[:NAME],
        is_form=is_form,
        body=body,
        state="received" if handled else "ignored",
        reason=None if handled else hint.reason,
        due_at=ALWAYS_DUE if handled else None,
    )


async def _in_thread_if_large(body: bytes, call: Callable[..., T], *values: Any) -> T:
    """The result of `call`; for a large body it runs in a thread, so that other requests do not wait."""
    return await asyncio.to_thread(call, *values) if len(body) > LARGE else call(*values)


async def _body(intake: Intake, request: Request, reservation: BodyReservation) -> bytes:
    """The whole body, when it is its turn to be read; 413 as soon as it is too long, whatever Content-Length
    says. The server limits the time it takes."""
    too_long = Problem(
        413, f"A webhook may have {LARGEST // 1024**2} MB at most.", headers={"Connection": "close"}
    )
    if declared_length(request.headers) > LARGEST:
        raise too_long
    chunks: list[bytes] = []
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > LARGEST:
                raise too_long
            reservation.grow(size)
            chunks.append(chunk)
    except ClientDisconnect:
        raise Problem(400, "The body ended before it was complete.") from None
    await intake.turns.wait()
    return b"".join(chunks)


def _why_not_authentic(
    cipher: SecretCipher, source: KnownSource, body: bytes, request: Request
) -> str | None:
    """Why the webhook does not prove that the source's tracker sent it; None where it does.

    Raises `CannotDecrypt`: what we cannot open says nothing about the sender.
    """
    if source.encrypted_secret is None:
        return "This source takes no webhooks: it has no webhook_secret. Give it one with PATCH."
    binding = Binding("webhook_secret", source.uuid, source.kind, source.base_url)
    secret = _decrypted(cipher, source.encrypted_secret, binding)
    header = KINDS[source.kind].webhooks.signature_header
    if signed(secret, body, request.headers.get(header)):
        return None
    return f"{header} is missing or does not fit the body and the source's webhook_secret."


@lru_cache(maxsize=256)
def _decrypted(cipher: SecretCipher, encrypted: bytes, binding: Binding) -> str:
    secret: str = cipher.decrypt(encrypted, binding)
    return secret


def _is_form(kind: Webhooks, request: Request) -> bool:
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given == "application/json":
        return False
    if given == "application/x-www-form-urlencoded" and kind.takes_forms:
        return True
    accepted = "application/json" + (" or application/x-www-form-urlencoded" if kind.takes_forms else "")
    raise Problem(415, f"Send the webhook as {accepted}.")


async def _payload(body: bytes, is_form: bool) -> dict[str, Any]:
    try:
        payload = await _in_thread_if_large(body, payload_of, body, is_form)
    except ValueError:
        payload = None
    if not isinstance(payload, dict):
        what = "a form whose `payload` is a JSON object" if is_form else "a JSON object"
        raise Problem(400, f"The body is not {what}.")
    return payload


def _hash(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()
