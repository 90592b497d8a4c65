"""The contract of a connector: the values it takes and returns, the errors it raises, and its members.

The lowest layer: no vendor's code, no web framework, no database. All times are aware datetimes in UTC.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Sequence

    from connectors.comments import CommandOutcome, TicketComment
    from connectors.diagnostics import Choice, Inspection
    from connectors.document import Document
    from connectors.marker import Marker
    from connectors.rate_limits import ResponseMeta
    from connectors.ticket_text import Line, NamedField, UnreadableField

StatusCategory = Literal["todo", "doing", "done"]


@dataclass(frozen=True, slots=True)
class Account:
    """The account that Northing is signed in as. The tracker names `id` as the author of its comments.
    `is_program`: it is an app or a bot, and no person's."""

    id: str
    name: str
    is_program: bool = False


@dataclass(frozen=True, slots=True)
class Project:
    """A Jira project or a GitHub repository. Each project has its own cursor.

    `public`: everyone may read its tickets; None where that could not be asked. `service_desk`: comments
    there reach customers, so Northing writes none. `read_only`: why comments cannot be written there now and
    what to do; None where they can. `problem`: why the project cannot be read now; None where it can, and
    `what_to_do` how to repair that, where the tracker names the cause. `remote_id`: the tracker's immutable
    id, which a renamed project keeps; None where the tracker did not show it. `named`: the names that the
    scope of the source has for this project, among them former keys.
    """

    key: str
    public: bool | None = False
    service_desk: bool = False
    read_only: str | None = None
    problem: str | None = None
    what_to_do: str = ""
    remote_id: str | None = None
    named: tuple[str, ...] = ()


class NamedProject(NamedTuple):
    """The project that a name in the configuration means: its immutable id, and the key that it has now."""

    id: str
    key: str


@dataclass(frozen=True, slots=True)
class EpicRef:
    """A ticket: the tracker's immutable id, and the key last seen, which may have changed since."""

    remote_id: str
    key: str


@dataclass(frozen=True, slots=True)
class Parent:
    """What an epic is part of: another ticket, or a milestone. What its ticket does not say of it is empty:
    `remote_id`, the immutable id of a ticket; `title`; `url`, its page."""

    key: str
    remote_id: str = ""
    title: str = ""
    url: str = ""


@dataclass(frozen=True, slots=True)
class Children:
    """How many tickets have an epic as their parent, and how many of these are `done`."""

    total: int
    done: int


@dataclass(frozen=True, slots=True)
class ChangedChildren:
    """Tickets whose children may have changed, each with when the newest of these was updated; its id or its
    key is empty where the tracker does not say it. `cursor`: from where to go on."""

    parents: tuple[tuple[EpicRef, datetime], ...] = ()
    cursor: datetime | None = None


@dataclass(slots=True)  # not frozen: a sync makes two for each epic, and frozen ones take three times as long
class Epic:
    """One epic as the tracker showed it. Treat it as immutable.

    `text` is the whole description: there a ticket may link to key results. `fields` holds the custom fields
    that the source asks for, by name, as strings that a rule can compare. `key_result_field`: the one in
    which a ticket may name key results; None where the source names none. `former_projects`: the former keys
    of its project by which the configuration still names it. `children`: None where its ticket does not say
    it. `starts_on`, `due_on`: its first and last planned day, both inclusive. `points`: story points.
    `finished_at`: when it was done, None while it is not. `unreadable_fields`: of these; they count as none.
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
    parent: Parent | None = None
    children: Children | None = None
    text: tuple[Line, ...] = ()
    fields: dict[str, tuple[str, ...]] = field(default_factory=dict)
    key_result_field: NamedField | None = None
    former_projects: tuple[str, ...] = ()
    starts_on: date | None = None
    due_on: date | None = None
    points: float | None = None
    finished_at: datetime | None = None
    unreadable_fields: tuple[UnreadableField, ...] = ()

    @property
    def ref(self) -> EpicRef:
        return EpicRef(self.remote_id, self.key)


MissingReason = Literal["deleted", "out_of_scope", "not_an_epic"]


@dataclass(frozen=True, slots=True)
class Missing:
    """A ticket that is not, or no longer, an epic of this source.

    `deleted` also means "no longer visible to Northing": a tracker gives the same answer for both.
    """

    ref: EpicRef
    reason: MissingReason


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A ticket that the tracker showed and that cannot be read: its row has another shape than described, or
    is larger than Northing takes. `ref` as far as it is known: its id or its key is empty where the row hides
    it, and it is None where the row hides both. A ticket that was asked for by its ref has that ref. `reason`
    is one bounded line of visible characters."""

    ref: EpicRef | None
    reason: str


@dataclass(frozen=True, slots=True)
class KnownAnswer:
    """An answer of the tracker that is known by its `tag` (an ETag): a later request names the tag, and where
    the answer would be the same, the tracker says so in a few bytes and does not count the request.

    `name`: what was asked for; `address`: how the connector asked. `value`: what of the answer is needed when
    it comes without its body, as JSON. Without a `tag`, what is known of `name` is to be forgotten.
    """

    name: str
    address: str
    tag: str
    value: Any = None

    def forgotten(self) -> KnownAnswer:
        return replace(self, tag="", value=None)


@dataclass(frozen=True, slots=True)
class Page:
    """One page of `changed_since`, oldest change first. `missing`: tickets on it that do not, or no longer,
    fit the source's selector. `unreadable`: tickets on it that could not be read; the others are whole.
    `cursor` is the newest `updated_at` read so far, that of an unreadable ticket too where its row shows it,
    and never the time of a clock. `changed_children`: the parents of all tickets on it, where
    `Connector.children_on_tickets`. `answer`: by what the tracker is asked next time whether all is as this
    page shows it. It is stored together with the page, or after it, and never before."""

    epics: tuple[Epic, ...]
    missing: tuple[Missing, ...] = ()
    unreadable: tuple[Unreadable, ...] = ()
    cursor: datetime | None = None
    changed_children: ChangedChildren = ChangedChildren()
    answer: KnownAnswer | None = None


@dataclass(frozen=True, slots=True)
class Comment:
    """A comment on a ticket that has our marker. `ours` is False when an account that Northing is not signed
    in as any more wrote it. `author`: the id of the account that wrote it, where the tracker names it."""

    id: str
    url: str
    ours: bool = True
    author: str | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class CommentRef:
    """A comment on a ticket. `removed`: the tracker says that the comment was deleted."""

    ticket: EpicRef
    id: str
    removed: bool = False


@dataclass(frozen=True, slots=True)
class RecentComments:
    """Comments, each with its ticket. `until`: later ones were too many. `unread`: tickets not read now."""

    found: tuple[tuple[EpicRef, TicketComment], ...] = ()
    until: datetime | None = None
    unread: frozenset[EpicRef] = frozenset()


# --- errors: what went wrong, and what the caller should do ---------------------------------

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


# --- the contract ---------------------------------------------------------------------------


class Answers(Protocol):
    """The answers of a tracker that are known by their tags, and asked for by them."""

    def restore(self, answers: Iterable[KnownAnswer]) -> None:
        """Ask by these whether `account`, `projects` and `changed_since` have anything new. Without them all
        is asked for whole."""
        ...

    def take(self) -> list[KnownAnswer]:
        """What `account` and `projects` are known by from now on, where it came since the last call."""
        ...


class Connector(Protocol):
    """One configured tracker. A connector neither retries nor sleeps, but for the moment that its own pace
    asks for; every call has a timeout.

    Each method that calls the tracker may raise `Unavailable`, `Unauthorized`, `Rejected` or `BadPayload`,
    except `inspect`. `requests` counts the requests that this object has made to the tracker, and
    `uncounted_requests` those of them that the tracker does not count against its limit.

    Facts about the kind of tracker: `tickets_change_id`, a ticket that is transferred to another project gets
    another id; `writes_one_at_a_time`, it asks for writes one after another; `children_on_tickets`, a ticket
    itself says how many children it has.
    """

    @property
    def tickets_change_id(self) -> bool: ...
    @property
    def writes_one_at_a_time(self) -> bool: ...
    @property
    def children_on_tickets(self) -> bool: ...
    @property
    def requests(self) -> int: ...
    @property
    def uncounted_requests(self) -> int: ...
    @property
    def answers(self) -> Answers | None:
        """None where the tracker's answers have no tags, and it counts every request."""
        ...

    @property
    def response_meta(self) -> ResponseMeta:
        """What the latest response said about the tracker's rate limit and clock."""
        ...

    def restore_budget(self, response_meta: ResponseMeta, received_at: datetime) -> None:
        """Use the rate limit that another connector with the same login received at `received_at` (UTC).

        Call this first. Where the tracker has one limit for all calls, the connector raises `Unavailable`
        instead of calling while no requests are left.
        """
        ...

    async def account(self) -> Account:
        """The account that Northing is signed in as. Raises `Unauthorized` if the tracker knows none."""
        ...

    async def projects(self) -> list[Project]:
        """The projects in scope; one that cannot be read has a `problem`."""
        ...

    async def unknown_names(self, projects: Sequence[Project]) -> dict[str, list[str]]:
        """The names in the source's `epics` that the tracker certainly does not have, by setting
        (`epics.labels`); `projects` are those in scope. What could not be asked is not among them."""
        ...

    def changed_since(self, project: Project, since: datetime | None) -> AsyncGenerator[Page, None]:
        """Every epic of `project` updated at or after `since` (all for None), the oldest change first.

        The generator ends without an error only when the tracker said that there are no more pages, or that
        nothing has changed since an answer that is known. A row
        that cannot be read is on its page as `Unreadable`; a page that cannot be read raises `BadPayload`.
        After an error, the caller goes on with a new call whose `since` is the `cursor` of the last page
        (`since` as before where there was none): no ticket is left out, and those of the last minutes come
        again. Tickets may also come twice in one call.
        """
        ...

    async def fetch(self, refs: Sequence[EpicRef]) -> Sequence[Epic | Missing | Unreadable]:
        """The current state of each ticket, in the order of `refs`; it does not depend on a search index.

        A ticket whose row cannot be read is `Unreadable`, and never `Missing`.
        """
        ...

    def changed_children(self, since: datetime) -> AsyncGenerator[ChangedChildren, None]:
        """The parents of all tickets updated at or after `since`; nothing where `children_on_tickets`."""
        ...

    async def count_children(self, refs: Sequence[EpicRef]) -> dict[str, Children]:
        """The children of each ticket by its id, without those that could not be counted."""
        ...

    async def read_parents(self, parents: Sequence[Parent]) -> list[Parent]:
        """Each with all that the tracker says of it; one that cannot be read as it is given."""
        ...

    async def find_comments(self, ref: EpicRef, marker: Marker) -> list[Comment]:
        """The comments on the ticket that `marker` fits, from all pages: ours first, each group oldest first.

        A comment by an account that Northing was signed in as before has `ours` False. Raises `Gone` if the
        ticket is not there.
        """
        ...

    async def put_comment(
        self, ref: EpicRef, comment_id: str | None, text: Document, marker: Marker
    ) -> Comment:
        """Create our comment with its marker (`comment_id` None), or edit it, with one write request.

        Raises `Gone` if the ticket or comment is not there, `Unanswered` if the tracker may have done it.
        """
        ...

    async def delete_comment(self, ref: EpicRef, comment_id: str) -> None:
        """Delete a comment of ours with one write request.

        Raises `Gone` if it is not there, `Unanswered` if the tracker may have done it.
        """
        ...

    async def read_comment(self, comment: CommentRef) -> TicketComment | None:
        """The comment as it is now, of one request, without what `with_right` asks; None if it is gone."""
        ...

    async def with_right(self, ticket: EpicRef, comment: TicketComment) -> TicketComment | None:
        """`comment` with whether it is ours by its marker, and its author's right as the tracker states it.

        It takes up to three requests. None if the ticket or comment is gone.
        """
        ...

    async def recent_comments(self, tickets: Sequence[EpicRef], since: datetime) -> RecentComments:
        """The comments on these tickets of one project that were written or changed at or after `since`, as
        `read_comment` gives them, without those that cannot be read. A few requests or one for each ticket.
        """
        ...

    async def acknowledge(
        self, comment: CommentRef, outcome: CommandOutcome, former: str | None
    ) -> str | None:
        """Show at a comment how its commands ended: a reaction in place of our `former` one; its id, which
        is the former one's, without a request, where that shows the same.

        It takes a write request, and one more to take the former one back; sent twice, it changes nothing.
        None, without a request, where the tracker has no reactions. Raises `Gone` without the comment.
        """
        ...

    async def inspect(self, seconds: float | None = None) -> Inspection:
        """What Northing may do in the tracker, found out by requests that write nothing, within `seconds`.

        Raises none of the errors above: a failed request becomes a fact.
        """
        ...

    async def choices(self) -> list[Choice]:
        """The projects that the login sees, whatever the scope: the first `MOST_CHOICES`, by key."""
        ...

    async def aclose(self) -> None: ...
