"""What Northing knows of every tracker: values, errors, and the contract of a connector.

This module is the lowest layer. It knows no vendor, no web framework and no database.
All times are aware datetimes in UTC.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, Protocol

from connectors.diagnostics import Inspection
from connectors.document import Document
from connectors.rate_limits import ResponseMeta

StatusCategory = Literal["todo", "doing", "done"]


@dataclass(frozen=True, slots=True)
class Account:
    """Whom the tracker takes us for; `id` is what its comments name as author."""

    id: str
    name: str


@dataclass(frozen=True, slots=True)
class Project:
    """A Jira project or a GitHub repository; a cursor belongs to one of these.

    `public`: anybody may read its tickets. `service_desk`: comments there reach customers,
    so Northing never writes any. `read_only`: why nobody can write there now, with the way out;
    `problem`: why it cannot be read now. Both in words, and None where it can.
    """

    key: str
    public: bool = False
    service_desk: bool = False
    read_only: str | None = None
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class EpicRef:
    """The tracker's immutable id and the key last seen, which may have changed since."""

    remote_id: str
    key: str


@dataclass(slots=True)  # not frozen: made twice for each epic of a sync, that would cost three times as much
class Epic:
    """One epic as the tracker showed it; nobody changes it.

    `text` is the description's lines outside code and quotes, where ticket text may link
    to key results. `fields` holds the custom fields the source asks for, by name, each as
    the strings a rule can compare.
    """

    remote_id: str
    key: str
    project: str
    title: str
    url: str
    type: str
    status: str
    status_category: StatusCategory
    created_at: datetime
    updated_at: datetime
    labels: tuple[str, ...] = ()
    assignees: tuple[str, ...] = ()
    components: tuple[str, ...] = ()
    milestone: str | None = None
    parent_key: str | None = None
    text: tuple[str, ...] = ()
    fields: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def ref(self) -> EpicRef:
        return EpicRef(self.remote_id, self.key)


MissingReason = Literal["deleted", "out_of_scope", "not_an_epic"]


@dataclass(frozen=True, slots=True)
class Missing:
    """A ticket that is not, or no longer, an epic of this source.

    `deleted` also stands for "no longer visible to us": trackers answer both alike.
    """

    ref: EpicRef
    reason: MissingReason


@dataclass(frozen=True, slots=True)
class Page:
    """One page of `changed_since`, oldest change first.

    `missing` are tickets met on the way that do not fit the selector (they may have fitted
    once). `cursor` is the newest `updated_at` met so far, never the clock's time.
    """

    epics: tuple[Epic, ...]
    missing: tuple[Missing, ...] = ()
    cursor: datetime | None = None


@dataclass(frozen=True, slots=True)
class Marker:
    """Tells our comment from all others: this installation, this epic."""

    installation: str
    epic: int

    def __str__(self) -> str:
        return f"{self.installation}/{self.epic}"

    def fits(self, found: str | None, *, ours: bool) -> bool:
        """Whether a comment on this epic's ticket with the marker `found` is its notice, or passes for it.

        In one that we wrote the ticket may be another epic of ours: it was transferred, or its source
        deleted and made again. Anybody else may have copied that from another ticket.
        """
        return found == str(self) or (ours and str(found).rpartition("/")[0] == self.installation)


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment of ours on a ticket. `ours` is False when its author is somebody else."""

    id: str
    url: str
    ours: bool = True


# --- webhooks: hints, and what they hint at --------------------------------------------------


@dataclass(frozen=True, slots=True)
class CommentRef:
    """A comment on a ticket. `removed`: the tracker says that it was deleted."""

    ticket: EpicRef
    id: str
    removed: bool = False


@dataclass(frozen=True, slots=True)
class Hint:
    """What a webhook points at. It is never believed: what it names is fetched afresh.

    `handled` is acted on, `ignored` left alone knowingly (`reason` says why), `unknown` is an event or
    action this version never heard of. `tickets` may have changed, or with `removed` are said to be deleted;
    `comment` was written; `reread` asks for a full run because names or visibility in a whole project
    changed: in `project`, or, with None, in what may be one of the source's.
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


@dataclass(frozen=True, slots=True)
class TicketComment:
    """A comment as it stands on its ticket.

    `lines` are its words outside code, quotes and HTML. `ours`: it carries a notice's marker, or is a
    program's. `may_steer`: the tracker says that its author may edit the ticket.
    """

    id: str
    author: str
    lines: tuple[str, ...]
    ours: bool
    may_steer: bool


# --- errors, each named by what the caller should do ---------------------------------------

HICCUP, MINUTE = timedelta(seconds=5), timedelta(seconds=60)


class ConnectorError(Exception):
    """Something between us and the tracker. `what_to_do` is for the person who runs Northing."""

    code = "tracker_error"

    def __init__(self, message: str, what_to_do: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.what_to_do = what_to_do


class Unavailable(ConnectorError):
    """Come back later; nothing was changed on the tracker.

    `retry_after`: in how many seconds, as the tracker or its documentation says; where neither does, `named`
    is False and it is `MINUTE`, the most that one waits then (`rest`).
    """

    code = "unavailable"

    def __init__(self, message: str, retry_after: float | None = None, what_to_do: str = "") -> None:
        super().__init__(message, what_to_do or "Nothing; Northing tries again by itself.")
        self.has_retry_after = retry_after is not None
        self.retry_after = MINUTE.total_seconds() if retry_after is None else retry_after

    def retry_delay(self, lasted: timedelta) -> timedelta:
        """How long to leave the tracker alone after trouble that has lasted so long: the time that was named,
        else as long again, so that a hiccup costs seconds and an outage a request a minute."""
        return (
            timedelta(seconds=self.retry_after) if self.has_retry_after else min(max(lasted, HICCUP), MINUTE)
        )


UNREACHABLE = "See that base_url is right and this machine reaches it; Northing tries again by itself."
UNREADABLE = (
    "Sync again. If it stays, see that base_url is the tracker's own address and that no proxy or sign-in"
    " page answers in its place; else open an issue with this message."
)


class Unanswered(Unavailable):
    """A write was sent and its answer lost: look for its effect before sending it again."""

    code = "unanswered"


class Rejected(ConnectorError):
    """The tracker refused; the same call will be refused again until a person changes something."""

    code = "rejected"


class Unauthorized(Rejected):
    """The credentials are not, or no longer, good. Nothing read with them may be believed."""

    code = "unauthorized"


class Gone(ConnectorError):
    """What was asked for is not there (deleted, or not visible to us)."""

    code = "gone"


class BadPayload(ConnectorError):
    """The tracker's answer could not be understood; nothing of it is to be used."""

    code = "bad_payload"

    def __init__(self, message: str, what_to_do: str = "") -> None:
        super().__init__(message, what_to_do or UNREADABLE)


# --- the contract ---------------------------------------------------------------------------


class Connector(Protocol):
    """One configured tracker. Neither sleeps nor retries; every call has a timeout.

    Any member may raise `Unavailable`, `Unauthorized`, `Rejected` or `BadPayload`.
    `requests` counts the calls made to the tracker by this object.
    """

    @property
    def requests(self) -> int: ...

    @property
    def response_meta(self) -> ResponseMeta:
        """What the latest answer told of the tracker's limit and clock."""
        ...

    def restore_budget(self, response_meta: ResponseMeta, received_at: datetime) -> None:
        """Take over what another connector of the same login was told; before the first call."""
        ...

    async def account(self) -> Account:
        """Who we are. Raises `Unauthorized` where the tracker takes us for nobody."""
        ...

    async def projects(self) -> list[Project]:
        """The projects in scope; one that cannot be read comes with its `problem`."""
        ...

    def changed_since(self, project: Project, since: datetime | None) -> AsyncGenerator[Page, None]:
        """Every epic of `project` updated at or after `since` (all for None), oldest first.

        Ends normally only when the tracker said there is no more.
        """
        ...

    async def fetch(self, refs: Sequence[EpicRef]) -> list[Epic | Missing]:
        """The present state of each, in the order asked for, read past any search index."""
        ...

    async def find_comments(self, ref: EpicRef, marker: Marker) -> list[Comment]:
        """The comments on the ticket that `marker` fits, every page looked at: ours first, the oldest first.

        One by another author has `ours` False. Raises `Gone` if the ticket is not there.
        """
        ...

    async def put_comment(
        self, ref: EpicRef, comment_id: str | None, text: Document, marker: Marker
    ) -> Comment:
        """Create our comment (`comment_id` None) with its marker, or edit it: one request.

        Raises `Gone` if the ticket or comment is not there, `Unanswered` if the request may
        have been carried out.
        """
        ...

    async def delete_comment(self, ref: EpicRef, comment_id: str) -> None:
        """Delete a comment of ours: one request.

        Raises `Gone` if it is not there, `Unanswered` if the request may have been carried out.
        """
        ...

    async def read_comment(self, comment: CommentRef) -> TicketComment | None:
        """A comment as it stands now, its author's right asked of the tracker; None where it is gone."""
        ...

    async def inspect(self) -> Inspection:
        """What we may and may not do there, asked of the tracker; nothing is written.

        Raises none of these errors: what failed is a fact like any other.
        """
        ...

    async def aclose(self) -> None: ...
