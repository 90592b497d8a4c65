"""The indexes of this process, one for each audience, kept as long as what they are made of stays the same.

They are made where a text is written or asked for, never in a sync, and beside the event loop.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from mappings.locks import CHANGES_GOALS
from mappings.suggestions.load import (
    cache_key,
    load_asked,
    load_goal_texts,
    load_linked_epics,
    load_version,
)
from mappings.suggestions.material import MOST_SUGGESTIONS, Suggestion

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from mappings.suggestions.load import Audience
    from mappings.suggestions.material import GoalText, LinkedEpic
    from mappings.suggestions.rank import SuggestionIndex

MOST_INDEXES = 64
MOST_BYTES = 64 * 1024**2
_KNOWN = "suggestion indexes"


@dataclass
class _Indexes:
    """Those of one database, the one that was asked last at the end."""

    by_audience: OrderedDict[Any, tuple[tuple[Any, ...], SuggestionIndex]] = field(
        default_factory=OrderedDict
    )
    building: asyncio.Lock = field(default_factory=asyncio.Lock)

    def find(self, audience: Audience | None, version: tuple[Any, ...]) -> SuggestionIndex | None:
        held = self.by_audience.get(audience)
        if held is None or held[0] != version:
            return None
        self.by_audience.move_to_end(audience)
        return held[1]

    def keep(self, audience: Audience | None, version: tuple[Any, ...], index: SuggestionIndex) -> None:
        self.by_audience[audience] = version, index
        self.by_audience.move_to_end(audience)
        while len(self.by_audience) > 1 and self._is_full():
            self.by_audience.popitem(last=False)

    def _is_full(self) -> bool:
        size = sum(index.size for _, index in self.by_audience.values())
        return len(self.by_audience) > MOST_INDEXES or size > MOST_BYTES


_DATABASES: WeakKeyDictionary[Any, _Indexes] = WeakKeyDictionary()


async def suggest(
    session: AsyncSession,
    epic_id: int,
    audience: Audience | None,
    now: datetime,
    limit: int = MOST_SUGGESTIONS,
) -> Sequence[Suggestion]:
    """The live key results that fit the epic best, best first, confident or not; of the goals, links and
    tickets that this audience may read, and of nothing else. None that the epic is linked to, and none that a
    person rejected for it."""
    return (await suggest_for(session, [epic_id], audience, now, limit))[epic_id]


async def suggest_for(
    session: AsyncSession,
    epic_ids: Collection[int],
    audience: Audience | None,
    now: datetime,
    limit: int = MOST_SUGGESTIONS,
    *,
    confident: bool = False,
) -> dict[int, Sequence[Suggestion]]:
    """As `suggest`, for several epics by their ids: three statements, and about a millisecond of a core for
    each; a third of it where only those are asked for of which we are `confident`."""
    if not epic_ids:
        return {}
    index = await _index_for(session, audience, now)
    asked = await load_asked(session, epic_ids, audience)

    def fit() -> dict[int, Sequence[Suggestion]]:
        each = [(one.ticket, one.without) for one in asked.values()]
        return dict(zip(asked, index.fitting_each(each, now, limit, confident=confident), strict=True))

    return await asyncio.to_thread(fit)


async def prepare(session: AsyncSession, audience: Audience | None, now: datetime) -> None:
    """Make what takes seconds, before a transaction that holds locks asks for suggestions."""
    await _index_for(session, audience, now)


async def _index_for(session: AsyncSession, audience: Audience | None, now: datetime) -> SuggestionIndex:
    """Looked up once for all that a session asks at one moment: a list of texts asks for each."""
    audience = cache_key(audience)
    known: dict[Any, tuple[datetime, SuggestionIndex]] = session.info.setdefault(_KNOWN, {})
    if audience not in known or known[audience][0] != now:
        indexes = _DATABASES.setdefault(session.get_bind(), _Indexes())
        version = await load_version(session, audience)
        found = indexes.find(audience, version)
        known[audience] = now, found or await _build(session, indexes, audience, version)
    return known[audience][1]


async def _build(
    session: AsyncSession, indexes: _Indexes, audience: Audience | None, version: tuple[Any, ...]
) -> SuggestionIndex:
    async with indexes.building:  # one at a time: each takes a core
        index = indexes.find(audience, version)
        if index is None:
            goals = await load_goal_texts(session, audience)
            linked = await load_linked_epics(session, audience)
            index = await asyncio.to_thread(_made, goals, linked)
            if CHANGES_GOALS not in session.info:  # as in `evaluation.known_goals`
                indexes.keep(audience, version, index)
        return index


def _made(goals: Sequence[GoalText], linked: Sequence[LinkedEpic]) -> SuggestionIndex:
    # Here and not above: importing scikit-learn takes two seconds and 120 MB, and few processes suggest.
    from mappings.suggestions.rank import SuggestionIndex

    return SuggestionIndex(goals, linked)
