"""The signature that opens the page behind "Why?" of one epic, and nothing else.

It names the row of the epic, signed by a key of this installation. It holds as long as that row does, through
a rotation of the keys that encrypt; it ends where what signs is made anew.
"""

from __future__ import annotations

import base64
import binascii
import hmac

_ID_BYTES, _DIGEST_BYTES = 8, 16  # together 24, which base64 writes in one way alone
_NO_EPIC = 0  # ids begin with 1


def why_signature(key: bytes, epic_id: int) -> str:
    """32 characters of URL-safe base64: the id of the epic's row, and 128 bits of HMAC-SHA256 over it."""
    id = epic_id.to_bytes(_ID_BYTES)
    return base64.urlsafe_b64encode(id + hmac.digest(key, id, "sha256")[:_DIGEST_BYTES]).decode()


def signed_epic_id(key: bytes, signature: str) -> int | None:
    """The id of the epic's row; None where the signature is not ours. It takes the same time wherever a guess
    is wrong."""
    try:
        epic_id = int.from_bytes(base64.b64decode(signature, b"-_", validate=True)[:_ID_BYTES])
    except (binascii.Error, ValueError):
        epic_id = _NO_EPIC
    right = why_signature(key, epic_id)
    is_ours = hmac.compare_digest(right.encode(), signature.encode(errors="replace"))
    return epic_id if is_ours and epic_id != _NO_EPIC else None
