"""Which page of a repository's issues is asked for next, also where a page is too large to be read. Pure.

GitHub gives the address of the next page, which may hold a cursor, so no address is computed. A page that
is too large is asked for again by a listing of smaller pages that begins at the last time read, down to a
page of one issue. Where that is still too large, the issue is left out, and the listing goes on behind it.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from connectors.base import BadPayload
from connectors.github.payloads import PAGE_SIZE, record_page_url

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
    """

    def __init__(self, since: datetime | None) -> None:
        self.cursor: datetime | None = None
        self.url: str | None = None
        self._size = PAGE_SIZE
        self._since = None if since is None else max(since, _EARLIEST + OVERLAP) - OVERLAP
        self._used: set[str] = set()
        self._left_out = False
        self._in_a_row = 0
        self._behind: datetime | None = None  # the first time read behind an issue that was left out
        self._begin(PAGE_SIZE)

    def _begin(self, size: int) -> None:
        """Ask for the first page of a listing that begins at the last time read."""
        self._size, self._left_out, self._behind = size, False, None
        query = {"state": "all", "sort": "updated", "direction": "asc", "per_page": str(size)}
        since = self._since if self.cursor is None else self.cursor
        if since is not None:
            query["since"] = max(since, _EARLIEST).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.url = f"{_PATH}?{urlencode(query)}"

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
        self.url = next_page
