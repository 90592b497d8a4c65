"""What went wrong in a call to a tracker, and what the caller should do. They are taken from
`connectors.base`, which has the contract whole."""

from __future__ import annotations

from datetime import timedelta

SHORTEST_RETRY, LONGEST_RETRY = timedelta(seconds=5), timedelta(seconds=60)


class ConnectorError(Exception):
    """A call to the tracker failed. `what_to_do` tells the operator of Northing how to repair it."""

    code = "tracker_error"

    def __init__(self, message: str, what_to_do: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.what_to_do = what_to_do


class Unavailable(ConnectorError):
    """The caller should try again later; the call changed nothing on the tracker.

    `retry_after`: seconds to wait, as the tracker or its documentation says. Where neither says it,
    `has_retry_after` is False and `retry_after` is `LONGEST_RETRY`.
    """

    code = "unavailable"

    def __init__(self, message: str, retry_after: float | None = None, what_to_do: str = "") -> None:
        super().__init__(message, what_to_do or "Nothing; Northing tries again by itself.")
        self.has_retry_after = retry_after is not None
        self.retry_after = LONGEST_RETRY.total_seconds() if retry_after is None else retry_after

    def retry_delay(self, lasted: timedelta) -> timedelta:
        """How long to wait before the next call, when the trouble has lasted for `lasted`.

        The time that the tracker named; else as long as the trouble has lasted, within `SHORTEST_RETRY` and
        `LONGEST_RETRY`: within seconds after a short fault, once a minute in an outage.
        """
        if self.has_retry_after:
            return timedelta(seconds=self.retry_after)
        return min(max(lasted, SHORTEST_RETRY), LONGEST_RETRY)


TRIES_AGAIN = "Northing tries again by itself."
UNREACHABLE = f"See that base_url is right and this machine reaches it; {TRIES_AGAIN}"
UNREADABLE = (
    "Sync again. If it stays, see that base_url is the tracker's own address and that no proxy or sign-in"
    " page answers in its place; else open an issue with this message."
)


class Unanswered(Unavailable):
    """A write was sent, its answer was lost, and it may have changed the tracker, unlike other `Unavailable`
    calls. The caller looks for its effect before sending it again."""

    code = "unanswered"


class Rejected(ConnectorError):
    """The tracker refused the call and will refuse it again until a person changes something."""

    code = "rejected"


class Blocked(Rejected):
    """The call was refused for a reason that has nothing to do with the ticket: the account, the token, the
    network, a rule of the organisation or a setting of this machine. Other tickets are refused alike, so the
    caller writes none for a while.
    """

    code = "blocked"


class Unauthorized(Blocked):
    """The credentials are not, or no longer, valid. The caller must not use what it read with them."""

    code = "unauthorized"


class Gone(ConnectorError):
    """What the call asked for is not there: it was deleted, or Northing may not see it."""

    code = "gone"


class BadPayload(ConnectorError):
    """The connector could not understand the tracker's answer. Nothing of the answer is used.

    The answer is not JSON, is cut short, is too large, or has another shape than described. It may be an
    accident, so the caller may ask again.
    """

    code = "bad_payload"

    def __init__(self, message: str, what_to_do: str = "") -> None:
        super().__init__(message, what_to_do or UNREADABLE)
