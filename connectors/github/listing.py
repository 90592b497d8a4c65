"""Which page of a repository's issues is asked for next, also where a page is too large to be read. Pure.

GitHub gives the address of the next page, which may hold a cursor, so no address is computed. A page that
is too large is asked for again by a listing of smaller pages that begins at the last time read, down to a
page of one issue. Where that is still too large, the issue is left out, and the listing goes on behind it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

from connectors.answers import KnownAnswer
from connectors.base import BadPayload
from connectors.github.payloads import PAGE_SIZE, record_page_url
from connectors.members import MISREADINGS, moment_in, row_of

if TYPE_CHECKING:
    from connectors.http_body import TooLarge

OVERLAP = timedelta(minutes=5)  # issues that change while a listing is read move between its pages
SMALLER = {PAGE_SIZE: 50, 50: 25, 25: 5, 5: 1}
MOST_LEFT_OUT = 100  # one after the other: what answers so is no list of issues

_PATH = "/repos/{owner}/{repo}/issues"
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)


class Listing:
    """The open and closed issues of a repository that changed at or after `since`, oldest change first.

    `url` is the page to ask for; None at the end. `cursor` is the newest `updated_at` read so far.
    https://docs.github.com/rest/issues/issues#list-repository-issues

    `known`: a listing of one page, whole in the database, that began at the same time or earlier. It is asked
    for again, by its tag, and what is older than this one's beginning is left out where it has changed: so
    neither a quiet repository costs a request that counts, nor a changed one more than one. `tag`: to be
    named in the request for `url`.
    """

    def __init__(self, since: datetime | None, name: str = "", known: KnownAnswer | None = None) -> None:
        self.cursor: datetime | None = None
        self.url: str | None = None
        self._size = PAGE_SIZE
        self._since = None if since is None else max(since, _EARLIEST + OVERLAP) - OVERLAP
        self._used: set[str] = set()
        self._left_out = False
        self._in_a_row = 0
        self._behind: datetime | None = None  # the first time read behind an issue that was left out
        self._name, self._known = name, known
        self._is_known = known is not None  # and what is known is not yet replaced
        self.tag: str | None = None
        self._begin(PAGE_SIZE)
        self._first = self.url
        if known is not None and self._begins_late_enough(known):
            self.url, self.tag, self._first = known.address, known.tag, known.address

    def _begins_late_enough(self, known: KnownAnswer) -> bool:
        """Whether the known listing shows all that this one does. One from the beginning is for reading all
        issues, though none has changed: it is known only where it had none."""
        began = known.value["since"]
        if self._since is None:
            return began is None and known.value["issues"] == 0
        return began is None or datetime.fromisoformat(began) <= self._since

    def _begin(self, size: int) -> None:
        """Ask for the first page of a listing that begins at the last time read."""
        self._size, self._left_out, self._behind = size, False, None
        query = {"state": "all", "sort": "updated", "direction": "asc", "per_page": str(size)}
        since = self._since if self.cursor is None else self.cursor
        if since is not None:
            query["since"] = max(since, _EARLIEST).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.url, self.tag = f"{_PATH}?{urlencode(query)}", None

    def without_older(self, rows: list[Any]) -> list[Any]:
        """Those that may have changed since this listing begins."""
        if self._since is None:
            return rows
        begins = self._since.replace(microsecond=0)
        return [row for row in rows if (moment := moment_of(row)) is None or moment >= begins]

    def known_by(self, tag: str | None, issues: int = 0) -> KnownAnswer | None:
        """By what the page that was read is known from now on, before `read` is told of it.

        `tag`: None where it is not whole, or cannot be the only one: what is known of a listing before it is
        then forgotten, with the first page that is stored. So it is of one with as many `issues` as fit: it
        stays the same when the next change is on another page.
        """
        was_known, self._is_known = self._is_known, False
        if tag and issues < PAGE_SIZE and self.url is not None and self.url == self._first:
            begins = parse_qs(urlsplit(self.url).query).get("since", [None])[0]
            return KnownAnswer(self._name, self.url, tag, {"since": begins, "issues": issues})
        return KnownAnswer(self._name, "", "") if was_known else None

    def read(self, moments: list[datetime], next_page: str | None) -> None:
        """The page was read; `moments` are its issues' times. Raises `BadPayload` if the list has no end."""
        self._go_to(next_page)
        self._in_a_row = 0
        if not moments:
            return
        self.cursor = max([*moments, *([self.cursor] if self.cursor else [])])
        if self._left_out:
            self._behind = self._behind or min(moments)
            # The issue that was left out did not change later than the first one behind it, and GitHub
            # compares whole seconds: a listing that begins later does not show it again.
            if self.url and self.cursor.replace(microsecond=0) > self._behind.replace(microsecond=0):
                self._begin(PAGE_SIZE)

    def too_large(self, error: TooLarge) -> bool:
        """The page was too large. Whether it was a single issue, which is left out.

        Raises `BadPayload` if nothing but such issues comes.
        """
        if smaller := SMALLER.get(self._size):
            self._begin(smaller)
            return False
        self._in_a_row += 1
        if self._in_a_row > MOST_LEFT_OUT:
            raise BadPayload(f"{MOST_LEFT_OUT} issues one after the other are too large. {error.message}")
        self._left_out, self._behind = True, None
        self._go_to(error.next_page)
        return True

    def _go_to(self, next_page: str | None) -> None:
        record_page_url(next_page, self._used)
        self.url, self.tag = next_page, None


def moment_of(row: Any) -> datetime | None:
    """When a row of the list, an issue or a pull request, was updated, as far as it says it."""
    try:
        return moment_in(row_of(row), "updated_at")
    except MISREADINGS:
        return None
