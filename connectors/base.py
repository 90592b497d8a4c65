"""The contract of a connector: the values it takes and returns, the errors it raises, and its members.

The lowest layer: no vendor's code, no web framework, no database. All times are aware datetimes in UTC.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, datetime
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from connectors.errors import (
    LONGEST_RETRY as LONGEST_RETRY,
    SHORTEST_RETRY as SHORTEST_RETRY,
    TRIES_AGAIN as TRIES_AGAIN,
    UNREACHABLE as UNREACHABLE,
    UNREADABLE as UNREADABLE,
    BadPayload as BadPayload,
    Blocked as Blocked,
    ConnectorError as ConnectorError,
    Gone as Gone,
    Rejected as Rejected,
    Unanswered as Unanswered,
    Unauthorized as Unauthorized,
    Unavailable as Unavailable,
)

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence

    from connectors.answers import Answers, KnownAnswer
    from connectors.comments import CommandOutcome, TicketComment
    from connectors.diagnostics import Choice, Inspection
    from connectors.document import Document
    from connectors.marker import Marker
    from connectors.rate_limits import ResponseMeta
    from connectors.ticket_text import Line, NamedField, UnreadableField

    Wait = Callable[[float], Awaitable[None]]  # for so many seconds

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
class Start:
    """From where on a project is read: `since`, the newest change that is known of it, None where it had no
    ticket. `is_settled`: the project was read to its end so long after that moment that no search shows an
    older change any more."""

    project: Project
    since: datetime | None
    is_settled: bool = False


@dataclass(frozen=True, slots=True)
class SharedPage:
    """One page of a search over several projects, oldest change first. `unreadable`: each with the key of its
    project, empty where its row hides it. `cursors`: by the key of its project, the newest `updated_at` on
    this page; a project without a ticket on it has none."""

    epics: tuple[Epic, ...]
    unreadable: tuple[tuple[str, Unreadable], ...]
    cursors: Mapping[str, datetime]


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


# --- the contract ---------------------------------------------------------------------------


class ManyProjects(Protocol):
    """What a tracker answers for many projects at once. Each method that calls it raises as `Connector`'s."""

    async def with_audience(self, projects: Sequence[Project]) -> list[Project]:
        """These, which an earlier answer of `projects` had, with who may read them now (`public`): what is
        written on their tickets depends on it."""
        ...

    def groups(self, starts: Sequence[Start]) -> list[list[Start]]:
        """All of `starts`, in as few groups as searches are needed for them."""
        ...

    def changed_since(self, group: Sequence[Start]) -> AsyncGenerator[SharedPage, None]:
        """Every epic of these projects that was updated at or after its project's `since`, if it has one, the
        oldest change first, as `Connector.changed_since` of one project.

        Raises `Rejected` where the tracker refuses one of the projects: it then refuses the whole search; or
        where another project has the key of one of them now.
        """
        ...

    def refused(self, projects: Sequence[Project], reason: str) -> list[Project]:
        """Those that the `reason` of a refused search names; none where it names none."""
        ...


class Connector(Protocol):
    """One configured tracker. A connector neither retries nor sleeps, and every call has a timeout.

    Each method that calls the tracker may raise `Unavailable`, `Unauthorized`, `Rejected` or `BadPayload`,
    except `inspect`. `requests` counts the requests that this object has made to the tracker, and
    `uncounted_requests` those of them that the tracker does not count against its limit.

    Facts about the kind of tracker: `tickets_change_id`, a ticket that is transferred to another project gets
    another id; `writes_one_at_a_time`, it asks for writes one after another; `children_on_tickets`, a ticket
    itself says how many children it has; `reads_at_once`, how many projects may be read side by side;
    `many_projects`, how it is asked for many at once, None where it cannot.
    """

    @property
    def tickets_change_id(self) -> bool: ...
    @property
    def writes_one_at_a_time(self) -> bool: ...
    @property
    def children_on_tickets(self) -> bool: ...
    @property
    def reads_at_once(self) -> int: ...
    @property
    def many_projects(self) -> ManyProjects | None: ...
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

    def keep_pace(self, wait: Wait) -> None:
        """Send no more requests side by side than the tracker takes in a minute: before one that would be too
        many, `wait` is called with the seconds to wait, at most two. Call this before `projects` and
        `changed_since` of several projects at once; without it, `projects` asks one after the other."""
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
