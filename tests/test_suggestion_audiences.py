"""What a ticket's readers may not read moves nothing of what is suggested there: neither order nor score,
reasons nor confidence."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings, strategies as st
from sqlalchemy.ext.asyncio import AsyncSession

from app.runtime import Runtime
from mappings.suggestions.load import Audience, cache_key, load_goal_texts, load_linked_epics
from mappings.suggestions.material import Suggestion, TicketText
from mappings.suggestions.rank import SuggestionIndex
from mappings.tables import LinkRow, SourceProjectRow, SourceRow
from tests.support.epic_rows import add_epic, add_goal, add_source

pytestmark = pytest.mark.database
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
WORDS = ["checkout", "baskets", "search", "Retouren", "warehouse", "latency"]
_text = st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(" ".join)
# A hidden goal's title, and the titles of tickets of other private projects that are linked to goals.
_hidden = st.lists(st.tuples(_text, st.lists(st.tuples(_text, st.booleans()), max_size=2)), max_size=3)


async def _add_project(session: AsyncSession, source: SourceRow, key: str, public: bool) -> None:
    session.add(SourceProjectRow(source_id=source.id, key=key, public=public))


async def _link(session: AsyncSession, epic_id: int, goal_id: int) -> None:
    session.add(LinkRow(epic_id=epic_id, key_result_id=goal_id, origin="manual", why="", created_at=NOW))


async def _found(session: AsyncSession, audience: Audience) -> tuple[Suggestion, ...]:
    await session.flush()
    read = cache_key(audience)
    assert read is not None
    index = SuggestionIndex(await load_goal_texts(session, read), await load_linked_epics(session, read))
    asked = TicketText(
        id=0,
        source_id=audience.source_id,
        project=audience.project,
        key="X-0",
        title="checkout Retouren search",
    )
    return index.fitting(asked, NOW, 50)


async def _with_and_without(
    runtime: Runtime, hidden: list[tuple[str, list[tuple[str, bool]]]], public: bool
) -> tuple[Any, Any]:
    async with runtime.sessions() as session:
        source = await add_source(session)
        for key, is_public in (("OPEN", True), ("SHOP", False), ("SECRET", False)):
            await _add_project(session, source, key, is_public)
        shown = await add_goal(
            session, "KR-1", None, {"visibility": "public"}, description="Checkout baskets"
        )
        other = await add_goal(session, "KR-2", None, {"visibility": "public"}, description="Search latency")
        inner = await add_goal(
            session, "KR-3", None, {"visibility": "internal"}, description="Fewer Retouren"
        )
        for number, (project, goal) in enumerate((("OPEN", shown), ("SHOP", inner), ("OPEN", other))):
            epic = await add_epic(session, source, f"{project}-{number}", title="checkout baskets guest")
            await _link(session, epic.id, goal.id)
        audience = Audience(source.id, "OPEN" if public else "SHOP", public)
        before = await _found(session, audience)
        for number, (title, epics) in enumerate(hidden):
            label = {"visibility": "confidential", "public_label": title}
            goal = await add_goal(session, f"KR-9{number}", None, label, description=title)
            for place, (words, to_shown) in enumerate(epics):
                row = await add_epic(session, source, f"SECRET-{number}{place}", title=words)
                await _link(session, row.id, shown.id if to_shown else goal.id)
                mine = await add_epic(session, source, f"OPEN-9{number}{place}", title=words)
                await _link(session, mine.id, goal.id)
        after = await _found(session, audience)
        await session.rollback()
        return before, after


@pytest.mark.parametrize("public", [True, False])
async def test_what_is_hidden_moves_nothing(runtime: Runtime, public: bool) -> None:
    loop = asyncio.get_running_loop()

    @settings(
        max_examples=12,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
        phases=[Phase.generate],
    )
    @given(_hidden)
    def holds(hidden: list[tuple[str, list[tuple[str, bool]]]]) -> None:
        done = asyncio.run_coroutine_threadsafe(_with_and_without(runtime, hidden, public), loop)
        before, after = done.result(60)
        assert before == after
        assert len(before) == (2 if public else 3)

    await asyncio.to_thread(holds)


async def test_behind_the_login_everything_counts(runtime: Runtime) -> None:
    async with runtime.sessions() as session:
        source = await add_source(session)
        goal = await add_goal(session, "KR-1", None, {"visibility": "confidential"}, description="Checkout")
        epic = await add_epic(session, source, "SECRET-1", title="checkout")
        await _link(session, epic.id, goal.id)
        await session.flush()
        (text,) = await load_goal_texts(session, None)
        (linked,) = await load_linked_epics(session, None)
        assert (text.key_result.id, linked.key_result_ids) == (goal.id, (goal.id,))
        await session.rollback()


@pytest.mark.parametrize(
    ("parent", "project", "read"),
    [("SHOP-2", "SHOP", True), ("SECRET-2", "SHOP", False), ("acme/shop#2", "acme/shop", True)],
)
async def test_a_parents_title_counts_where_the_tickets_readers_see_it(
    runtime: Runtime, parent: str, project: str, read: bool
) -> None:
    async with runtime.sessions() as session:
        source = await add_source(session)
        goal = await add_goal(session, "KR-1", None, {"visibility": "public"})
        epic = await add_epic(
            session, source, "A-1", project=project, parent_key=parent, parent_title="checkout"
        )
        await _link(session, epic.id, goal.id)
        await session.flush()
        for audience, shown in ((Audience(source.id, project, False), read), (None, True)):
            (linked,) = await load_linked_epics(session, audience)
            assert bool(linked.ticket.parent_title) is shown
        await session.rollback()
