"""A run that is reading, page by page as a test gives them, and what its new epics come to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import select

from app.evaluation import evaluate_due
from app.runtime import Runtime
from app.sync.progress import Batch, Progress
from connectors.base import Epic
from mappings.runs.queue import claim_run, close_run, open_run
from mappings.tables import SourceRow
from tests.support.evaluations import an_epic
from tests.support.queries import all_of
from tests.support.tracker_drivers import JiraDriver
from tests.support.world import World

RULE = {"name": "Checkout", "when": {"title": "(?i)checkout"}, "key_result": "KR-1"}

# Every row that an evaluation writes, without the ids that differ from run to run and when it was.
ROWS = {
    "epics": "SELECT key, to_jsonb(epics) - ARRAY['id', 'evaluated_at'] FROM epics ORDER BY 1",
    "links": "SELECT epics.key, above.key,"
    " to_jsonb(links) - ARRAY['id', 'epic_id', 'inherited_from', 'created_at']"
    " FROM links JOIN epics ON epics.id = epic_id LEFT JOIN epics AS above ON above.id = inherited_from"
    " ORDER BY 1, links.key_result_id, links.origin",
    "findings": "SELECT key, to_jsonb(findings) - ARRAY['id', 'epic_id'] FROM findings"
    ' JOIN epics ON epics.id = epic_id ORDER BY 1, "check"',
    "notices": "SELECT key, to_jsonb(notices) - ARRAY['id', 'epic_id', 'run_id'] FROM notices"
    " JOIN epics ON epics.id = epic_id ORDER BY 1",
}


async def rows(runtime: Runtime) -> dict[str, list[tuple[Any, ...]]]:
    """By table, the rows that an evaluation writes."""
    return {name: await all_of(runtime, query) for name, query in ROWS.items()}


async def evaluated(runtime: Runtime) -> list[str]:
    """The keys of the epics that were evaluated and are not due."""
    found = (
        "SELECT key FROM epics WHERE evaluated_at IS NOT NULL AND evaluated_version IS NOT NULL ORDER BY id"
    )
    return [key for (key,) in await all_of(runtime, found)]


def number(of: int, title: str = "An epic", **members: Any) -> Epic:
    """`SHOP-1` and so on."""
    return an_epic(key=f"SHOP-{of}", remote_id=f"{of:03}", url=f"https://t/SHOP-{of}", title=title, **members)


@dataclass
class Reading:
    """A run that is reading; a test says what the pages are."""

    runtime: Runtime
    progress: Progress

    async def page(self, *epics: Epic) -> None:
        """Store these as a page, with the cursor of SHOP."""
        async with self.runtime.sessions() as session:
            now = await self.runtime.now(session)
        await self.progress.store(Batch(epics, cursors={"SHOP": now}, requested_at=now))

    async def end(self) -> None:
        """As a run ends: what is due is evaluated."""
        runtime, run = self.runtime, self.progress.run
        await evaluate_due(runtime, run, self.progress.source)
        async with runtime.sessions.begin() as session:
            await close_run(session, run, runtime.worker, "succeeded", await runtime.now(session), None)


async def reading(runtime: Runtime, source: str = "jira", mode: str = "full") -> Reading:
    """A run of this source that has just begun. Only one of mode `full` evaluates what its pages bring."""
    async with runtime.sessions.begin() as session:
        row = (await session.scalars(select(SourceRow).where(SourceRow.name == source))).one()
        now = await runtime.now(session)
        opened = await open_run(session, row.id, mode, now)
        run = await claim_run(session, opened.id, runtime.worker, now)
    assert run is not None
    return Reading(runtime, Progress(runtime, run, row, await runtime.connect(row)))


async def connected(world: World, mode: str = "shadow", **members: Any) -> None:
    """A source whose project is known and read, with no epic; a rule, and a key result that is live."""
    await world.goal("KR-1", "Checkout conversion")
    await world.send("POST", "/rules", RULE)
    await JiraDriver(world).connect(mode, scope={"projects": ["SHOP"]}, **members)
    await world.sync("jira", "full")
