"""A finding disputed as a command in a comment does it, without the words of a command."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select

from app import pipeline
from app.runtime import Runtime
from mappings.audit import set_actor
from mappings.checks.registry import CHECKS
from mappings.evaluation.model import FindingState
from mappings.evaluation.operations import change_shown
from mappings.locks import lock_epics
from mappings.runs.reevaluation import open_evaluation
from mappings.tables import EpicRow

DISPUTER = "jira: dev-lead on SHOP-1"


async def dispute(runtime: Runtime, key: str, reason: str, now: datetime) -> FindingState | None:
    """Dispute what the ticket with this key shows, as `DISPUTER`, and evaluate it; the state before."""
    async with runtime.sessions.begin() as session:
        set_actor(session, DISPUTER)
        id = (await session.scalars(select(EpicRow.id).where(EpicRow.key == key))).one()
        (epic,) = await lock_epics(session, [id])
        before = await change_shown(session, id, CHECKS, "disputed", None, reason, now)
        changed = await open_evaluation(session, epic, now)
    await pipeline.evaluate_now(runtime, changed.run_id, [id])
    return before
