"""The search index of a simulated Jira site. Like Jira's, it may lag behind the issues."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from connectors.sandbox.jira.records import Issue


class SearchIndex:
    """Issues by id, and as search sees them. `version` grows with each change that a search could show."""

    def __init__(self) -> None:
        self.issues: dict[str, Issue] = {}
        self.version = 0
        self._old: dict[str, Issue | None] | None = None

    def freeze_index(self) -> None:
        """From now on search lags: it shows the issues as they are at this moment."""
        self._old = {}

    def unfreeze_index(self) -> None:
        self._old = None
        self.version += 1

    def indexed(self, current: Iterable[str] = ()) -> Iterator[Issue]:
        """Issues as search sees them. Those whose ids are in `current` are always up to date."""
        old_by_id = self._old or {}
        fresh = set(current)
        for issue in self.issues.values():
            seen = issue if issue.id in fresh else old_by_id.get(issue.id, issue)
            if seen is not None:
                yield seen
        for issue_id, old in old_by_id.items():
            if old is not None and issue_id not in self.issues:
                yield old

    def _before_change(self, issue: Issue, *, born: bool = False) -> None:
        if self._old is not None and issue.id not in self._old:
            self._old[issue.id] = None if born else _copy(issue)


def _copy(issue: Issue) -> Issue:
    old = copy.copy(issue)
    old.rendered = {}
    old.recorded = dict(issue.recorded)
    return old
