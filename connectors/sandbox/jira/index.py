"""The search index of a simulated Jira site, which may lag behind the issues as Jira's does."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator

from connectors.sandbox.jira.records import Issue


class SearchIndex:
    """Issues by id, and as search sees them. `version` moves with every change that a search could show."""

    def __init__(self) -> None:
        self.issues: dict[str, Issue] = {}
        self.version = 0
        self._held: dict[str, Issue | None] | None = None

    def hold_index(self) -> None:
        """Search lags from now on: it goes on showing issues as they are at this moment."""
        self._held = {}

    def release_index(self) -> None:
        self._held = None
        self.version += 1

    def indexed(self, current: Iterable[str] = ()) -> Iterator[Issue]:
        """Issues as search sees them; those whose ids are in `current` as they are."""
        held = self._held or {}
        fresh = set(current)
        for issue in self.issues.values():
            seen = issue if issue.id in fresh else held.get(issue.id, issue)
            if seen is not None:
                yield seen
        for issue_id, old in held.items():
            if old is not None and issue_id not in self.issues:
                yield old

    def _before_change(self, issue: Issue, *, born: bool = False) -> None:
        if self._held is not None and issue.id not in self._held:
            self._held[issue.id] = None if born else _as_it_is(issue)


def _as_it_is(issue: Issue) -> Issue:
    old = copy.copy(issue)
    old.rendered = {}
    old.recorded = dict(issue.recorded)
    return old
