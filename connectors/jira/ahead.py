"""The pages of a search, of which the next is on its way while the caller has one."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from connectors.base import BadPayload
from connectors.jira import payloads, search

if TYPE_CHECKING:
    from collections.abc import Callable

    from connectors.jira.paging import Found
    from connectors.jira.transport import Begun


@dataclass(slots=True, eq=False)
class PageAsked:
    """A page that was asked for by its `token`, None for the first. `following`: the token of the next one,
    as far as its answer is decoded, or the `error` in its place."""

    token: str | None
    begun: Begun[Found] = field(init=False)
    following: str | None = None
    error: BadPayload | None = None


class PagesAhead:
    """Asks for a page as soon as the caller waits for the one before and the answer to that has named it: in
    the thread that decodes it, so that it waits for no event loop. At most one page is ahead.

    `begin` sends the request for the page of a token, from any thread; what it is given besides is called
    with the answer as soon as it is decoded.
    """

    def __init__(self, begin: Callable[[str | None, Callable[[Any], None]], Begun[Found]]) -> None:
        self._begin = begin
        self._lock = threading.Lock()
        self._used: set[str] = set()
        self._taken: PageAsked | None = None
        self._next: PageAsked | None = None
        self._has_ended = False
        self._ask(None)

    def take(self) -> PageAsked:
        """The page that is next, which the caller waits for now. Only first, and where there `is_more`."""
        with self._lock:
            taken, self._next = self._next, None
            assert taken is not None
            self._taken = taken
            self._ask_following(taken)
        return taken

    def is_more(self) -> bool:
        """Whether a page comes behind the taken one, which was read. Raises `BadPayload` where it is one that
        was asked for before."""
        with self._lock:
            if self._taken is not None and self._taken.error is not None:
                raise self._taken.error
            return self._next is not None

    def decoded(self, page: PageAsked, answer: Any) -> None:
        """The answer names the page behind `page`. What else is wrong with it is found where it is read."""
        with self._lock:
            try:
                page.following = search.next_token(payloads.only_token(answer), self._used)
            except BadPayload as error:
                page.error = error
            if page is self._taken:
                self._ask_following(page)

    def end(self) -> None:
        """Ask for nothing more."""
        with self._lock:
            self._has_ended = True
            if self._next is not None:
                self._next.begun.future.cancel()

    def _ask_following(self, page: PageAsked) -> None:
        if page.following is not None and not self._has_ended:
            self._ask(page.following)

    def _ask(self, token: str | None) -> None:
        self._next = page = PageAsked(token)
        page.begun = self._begin(token, partial(self.decoded, page))
