"""The goals, rules and policy that this process has read, kept as long as their version stays the same.

For what only shows them. What evaluates to record it reads them under their lock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from sqlalchemy import text

from mappings.evaluation.context import KnownGoals, load_goals
from mappings.locks import CHANGES_GOALS
from mappings.policy.document import Policy

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession


# Of each database the last ones: another database may take its place at the same address.
_KNOWN: WeakKeyDictionary[Any, KnownGoals] = WeakKeyDictionary()
_VERSION = text("SELECT uuid, goals_version FROM installation")
_POLICY = text("SELECT policy FROM installation")


async def known_goals(session: AsyncSession) -> KnownGoals:
    """As they are now, or newer: whatever this transaction has read refers to goals that are among them. One
    statement, and three more after each change."""
    installation, version = (await session.execute(_VERSION)).one()
    # The version that a transaction gives to goals is another's where it is rolled back.
    is_kept = CHANGES_GOALS not in session.info
    known = _KNOWN.get(session.get_bind()) if is_kept else None
    if known is None or (known.installation, known.version) != (installation, version):
        # Read after their version: a change in between is read again with the next one.
        goals = await load_goals(session)
        policy = Policy.model_validate(await session.scalar(_POLICY))
        known = KnownGoals(installation, version, goals, policy)
        if is_kept:
            _KNOWN[session.get_bind()] = known
    return known
