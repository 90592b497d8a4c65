"""What a person may do to a link: link an epic to a key result, take that back, move it to another one.

The caller has the epic evaluated before it answers.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from mappings.errors import Conflict, NotFound, check_values
from mappings.locks import lock_goals_exclusive
from mappings.lookups import epic_in, key_result_in
from mappings.parents import load_names
from mappings.runs.reevaluation import ChangedEpic, open_evaluation
from mappings.tables import MANUAL_ORIGINS, EpicRow, LinkRow, RuleRow
from mappings.values import Bounds, FieldErrors, key_error, number_error, text_error

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

LINK_WEIGHT: Bounds = {"gt": 0, "le": 1000}
EPIC_KEY_AT_MOST = 300


async def link_epic(
    session: AsyncSession,
    source: str,
    epic: str,
    key_result: str,
    why: str,
    now: datetime,
    *,
    weight: float = 1,
    primary: bool = False,
) -> tuple[LinkRow, ChangedEpic | None]:
    """Link the epic of this source and key by hand; None for the change where a person linked it before.

    `why` is shown with the link, `weight` is relative to the epic's other links, `primary` makes this link
    the primary one. Raises `Invalid` on `epic.source`, `epic.key`, `key_result` or `weight`.
    """
    check_values(link_errors(source, epic, key_result, weight))
    await lock_goals_exclusive(session)
    _, row = await epic_in(session, source, epic, "epic")
    link, is_new = await link_manually(
        session, row.id, key_result, "manual", why, now, weight=weight, primary=primary
    )
    return link, await open_evaluation(session, row, now, links=True) if is_new else None


def link_errors(source: str, epic: str, key_result: str, weight: float | None) -> FieldErrors:
    return [
        ("epic.source", key_error(source)),
        ("epic.key", text_error(epic, EPIC_KEY_AT_MOST)),
        ("key_result", key_error(key_result)),
        ("weight", number_error(weight, LINK_WEIGHT)),
    ]


async def link_manually(
    session: AsyncSession,
    epic_id: int,
    key_result: str,
    origin: str,
    why: str,
    now: datetime,
    *,
    weight: float = 1,
    primary: bool = False,
) -> tuple[LinkRow, bool]:
    """The link, and whether it is new. A link that a person already made, either way, stays as it is.

    Of `link_epic` and of commands, which know the epic. The caller holds the goals' exclusive lock, and has
    the epic evaluated again. Raises `Invalid` on `key_result`.
    """
    goal = await key_result_in(session, key_result, "key_result")
    existing = select(LinkRow).where(
        LinkRow.epic_id == epic_id, LinkRow.key_result_id == goal.id, LinkRow.origin.in_(MANUAL_ORIGINS)
    )
    row = (await session.scalars(existing.order_by(LinkRow.id))).first()
    if row is not None:
        return row, False
    if primary:
        # Row by row, because the audit log does not see bulk updates.
        for other in await session.scalars(
            select(LinkRow).where(LinkRow.epic_id == epic_id, LinkRow.is_primary)
        ):
            other.is_primary = False
        await session.flush()  # before the new row is inserted: an epic has only one primary link
    row = LinkRow(
        epic_id=epic_id,
        key_result_id=goal.id,
        origin=origin,
        weight=weight,
        is_primary=primary,
        why=why,
        created_at=now,
    )
    session.add(row)
    return row, True


async def unlink_epic(session: AsyncSession, link_id: int, now: datetime) -> ChangedEpic:
    """Take a link back that a person made. Raises `NotFound`, and `Conflict` for a link that a rule, the
    ticket or a parent makes: it says where to change that."""
    await lock_goals_exclusive(session)
    row = await session.get(LinkRow, link_id)
    if row is None:
        raise NotFound.of("link", link_id)
    if row.origin not in MANUAL_ORIGINS:
        raise Conflict(await where_to_change(session, row))
    epic = await session.get_one(EpicRow, row.epic_id)
    await session.delete(row)
    return await open_evaluation(session, epic, now, links=True)


async def unlink_manually(
    session: AsyncSession, epic_id: int, key_result_ids: Collection[int]
) -> tuple[bool, list[LinkRow]]:
    """Take back the links that people made, either way, from the epic to these key results: whether there
    were any, and the links to them that a rule, the ticket or a parent makes, which stay.

    Of commands, which know the epic. The caller holds the goals' exclusive lock, and has the epic evaluated
    again.
    """
    links = select(LinkRow).where(LinkRow.epic_id == epic_id, LinkRow.key_result_id.in_(key_result_ids))
    rows = list(await session.scalars(links.order_by(LinkRow.id)))
    made = [row for row in rows if row.origin in MANUAL_ORIGINS]
    # Row by row, because the audit log does not see bulk deletions.
    for row in made:
        await session.delete(row)
    await session.flush()
    return bool(made), [row for row in rows if row.origin not in MANUAL_ORIGINS]


async def move_manually(
    session: AsyncSession, epic_id: int, key_result: str, origin: str, why: str, now: datetime
) -> tuple[LinkRow, bool, list[LinkRow]]:
    """Link the epic to this key result, and take back all links to others that people made: the link, whether
    anything changed, and the links to others that stay.

    Otherwise as `link_manually`. Raises `Invalid` on `key_result`, before anything is changed.
    """
    row, is_new = await link_manually(session, epic_id, key_result, origin, why, now)
    others = select(LinkRow.key_result_id).where(
        LinkRow.epic_id == epic_id, LinkRow.key_result_id != row.key_result_id
    )
    removed, left = await unlink_manually(session, epic_id, set(await session.scalars(others)))
    return row, is_new or removed, left


async def where_to_change(session: AsyncSession, row: LinkRow) -> str:
    """What to do about a link that no person made."""
    if row.origin == "rule":
        rule = None if row.rule_id is None else await session.get(RuleRow, row.rule_id)
        name = f" {rule.name!r} (/api/v1/rules/{rule.id})" if rule is not None else ""
        return f"The rule{name} makes this link; change the rule, or link the epic manually."
    if row.origin == "ticket":
        return "The ticket itself makes this link; remove its `Key-Result:` line or `kr:` label there."
    names = await load_names(session, [] if row.inherited_from is None else [row.inherited_from])
    for above in names.values():
        return (
            f"The link is inherited from {above.key} in {above.source} ({above.title}); change it there, or "
            "link this epic to a key result of its own."
        )
    return "The link is inherited from an epic that is gone; it goes with the next evaluation."
