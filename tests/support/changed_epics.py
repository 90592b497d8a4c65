"""A tracker whose tickets reach Northing otherwise than it shows them, or cannot be read."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any, cast

from app.runtime import Runtime
from connectors.base import Connector, Epic, EpicRef, Missing, Page, Project, Unreadable
from mappings.tables import SourceRow

Change = Callable[[Epic], Epic | Unreadable]


class ChangedEpics:
    """A connector each of whose epics is changed, or made unreadable, by `change`."""

    def __init__(self, real: Connector, change: Change) -> None:
        self._real, self._change = real, change

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    async def changed_since(self, project: Project, since: datetime | None) -> AsyncGenerator[Page, None]:
        async with aclosing(self._real.changed_since(project, since)) as pages:
            async for page in pages:
                changed = [self._change(epic) for epic in page.epics]
                yield replace(
                    page,
                    epics=tuple(one for one in changed if isinstance(one, Epic)),
                    unreadable=tuple(one for one in changed if isinstance(one, Unreadable)),
                )

    async def fetch(self, refs: Sequence[EpicRef]) -> list[Epic | Missing | Unreadable]:
        found = await self._real.fetch(refs)
        return [self._change(one) if isinstance(one, Epic) else one for one in found]


@dataclass(frozen=True)
class _ChangingRuntime(Runtime):
    change: Change = lambda epic: epic

    async def connect(self, source: SourceRow, now: datetime | None = None) -> Connector:
        return cast(Connector, ChangedEpics(await super().connect(source, now), self.change))


def changing(runtime: Runtime, change: Change) -> Runtime:
    """The runtime, on trackers whose epics are changed so."""
    same = {one.name: getattr(runtime, one.name) for one in fields(runtime)}
    return _ChangingRuntime(**same, change=change)


def unreadable(*titles: str, ref: bool = True, reason: str = "its creation time is missing") -> Change:
    """Epics with these titles cannot be read. Without `ref` their rows hide which they are."""

    def change(epic: Epic) -> Epic | Unreadable:
        return Unreadable(epic.ref if ref else None, reason) if epic.title in titles else epic

    return change
