"""On an epic's page: the conflicts on it, the open ones first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from app.web.conflicts import SHOWN_OF_ONE, STEP_WORDS
from app.web.epic_block import Block, ChangeOfEpic, PageOfEpic
from app.web.epic_changes import Changed
from mappings.governance.conflicts import ConflictShown, load_conflicts, raise_conflict
from mappings.policy.operations import load_policy


@dataclass(frozen=True, slots=True)
class ConflictsBlock:
    pending: Sequence[ConflictShown]
    decided: Sequence[ConflictShown]
    words = STEP_WORDS


async def _load(page: PageOfEpic) -> ConflictsBlock:
    now = await page.runtime.now(page.session)
    policy = await load_policy(page.session)
    found = await load_conflicts(page.session, policy, now, epic_id=page.row.id, newest=SHOWN_OF_ONE)
    return ConflictsBlock(
        [one for one in found if one.row.decided_at is None],
        [one for one in reversed(found) if one.row.decided_at is not None],
    )


async def _change(change: ChangeOfEpic) -> Changed:
    async with change.runtime.transaction(change.caller.who) as session:
        await raise_conflict(
            session,
            await change.runtime.now(session),
            epic=(change.source, change.key),
            technical=change.form.get("technical"),
            business=change.form.get("business"),
        )
    return Changed(f"The conflict on {change.key} was recorded.", [], True)


CONFLICTS = Block("conflicts", _load, {"raise-conflict": "POST /conflicts"}, _change)
