"""Epics stored as a sync stores them, without a tracker: for tests of what is done to stored ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import httpx
from sqlalchemy import select

from app.pipeline import execute_run
from app.runtime import Runtime
from connectors.base import Epic, Missing
from mappings.epics.upsert import upsert_epics
from mappings.runs.queue import open_run
from mappings.tables import SourceRow
from tests.support.goals_api import send

_AT = datetime(2026, 1, 5, tzinfo=UTC)


def stored_epic(number: int, project: str = "SHOP", **members: Any) -> Epic:
    """`SHOP-1` and so on; its id in the tracker is made of both."""
    key = f"{project}-{number}"
    epic = Epic(
        f"{number:03}{project}",
        key,
        project,
        f"Epic {number}",
        f"https://t/{key}",
        "Epic",
        "Open",
        "todo",
        _AT,
        _AT,
    )
    return replace(epic, **members)


async def source_with(
    api: httpx.AsyncClient, runtime: Runtime, epics: Sequence[Epic], name: str = "jira"
) -> None:
    """A source without a timetable, and these epics in it; none is evaluated."""
    body = {
        "name": name,
        "kind": "jira",
        "base_url": f"http://127.0.0.1:1/{name}",
        "credentials": {"type": "api_token", "email": "bot@acme.com", "token": "t"},
        "schedule": {"every": None, "full": None},
    }
    await send(api, "POST", "/sources", body, 201)
    await store(runtime, name, epics)


async def store(runtime: Runtime, name: str, epics: Sequence[Epic], gone: Sequence[Missing] = ()) -> None:
    """Read these epics, and find that others are gone."""
    async with runtime.sessions.begin() as session:
        source = (await session.scalars(select(SourceRow).where(SourceRow.name == name))).one()
        now = await runtime.now(session)
        await upsert_epics(session, source.id, source.tracker, epics, gone, now)


async def evaluate_due_epics(runtime: Runtime) -> None:
    """Evaluate what is due in every source."""
    async with runtime.sessions.begin() as session:
        now = await runtime.now(session)
        sources = (await session.scalars(select(SourceRow.id).order_by(SourceRow.id))).all()
        runs = [await open_run(session, source, "evaluate", now) for source in sources]
    for run in runs:
        await execute_run(runtime, run.id)
