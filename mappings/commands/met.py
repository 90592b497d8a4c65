"""Which comments can have a command in them, which were executed, and which are still to be looked at."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import func, select, text, update

from connectors.base import EpicRef
from mappings.locks import lock_epics
from mappings.tables import CommandCommentRow, EpicRow, SourceRow

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncSession

    from connectors.base import Epic

# A sync looks for commands that no webhook has told of in comments that are younger than this.
LOOKED_FOR = timedelta(days=7)
# A tracker may show a change in its lists later than its time says.
LAG = timedelta(minutes=10)

# The name of our commands; a line that belongs into a description; the mention of an account at the start of
# a line, for Northing's own account may have any name. Between the words of the second may be what escapes a
# space or hyphen in JSON, in a form, or in both.
_FOR_US = re.compile(
    rb"northing"
    rb"|key(?:[^a-z0-9]|%[0-9a-f]{2}|(?:\\|%5c)u[0-9a-f]{4}){0,6}results?"
    rb"|(?:\A|[\"\n\r]|\\[nr]|%22|%0[ad]|%5cn)(?:\s|\+|%20){0,40}(?:@|%40|\[~|%5b~|%5b%7e)",
    re.IGNORECASE,
)


def may_hold_command(typed: bytes) -> bool:
    """Whether a comment may hold a command, or something that is nearly one.

    `typed` is the comment, or any payload with it, whatever is beside it and however it is escaped: so True
    says little, and False that nobody need read the comment. Takes time in proportion to the text.
    """
    return _FOR_US.search(typed) is not None


async def known_version(session: AsyncSession, epic_id: int, comment_id: str) -> CommandCommentRow | None:
    """The row of a comment on the epic whose commands were executed, in whatever version, as it is now."""
    of_comment = CommandCommentRow.epic_id == epic_id, CommandCommentRow.remote_id == comment_id
    rows = select(CommandCommentRow).where(*of_comment).execution_options(populate_existing=True)
    return (await session.scalars(rows)).one_or_none()


async def store_reaction(
    session: AsyncSession, epic_id: int, comment_id: str, reaction_id: str | None
) -> None:
    of_comment = CommandCommentRow.epic_id == epic_id, CommandCommentRow.remote_id == comment_id
    await session.execute(update(CommandCommentRow).where(*of_comment).values(reaction_id=reaction_id))


# --- comments that no webhook has told of ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ToLookAt:
    """An epic whose ticket changed since its comments were last read. `since`: those of before are read."""

    id: int
    ref: EpicRef
    project: str
    changed_at: datetime
    since: datetime


def oldest_looked_for(source: SourceRow, now: datetime) -> datetime:
    """Comments that are not younger are left alone: of before the source, or of `LOOKED_FOR` ago."""
    return max(source.created_at, now - LOOKED_FOR)


async def mark_changed(
    session: AsyncSession, source: SourceRow, epics: Iterable[Epic], now: datetime
) -> None:
    """Have the comments looked at of those tickets that changed since theirs were read.

    The transaction has locked no epic yet, unless it has just inserted these: they are locked in the order of
    their ids, and those that are marked already are not locked. A ticket that was commented on shows another
    time of update, and else nothing that is stored.
    """
    oldest = oldest_looked_for(source, now)
    recent = {epic.remote_id: epic.updated_at for epic in epics if epic.updated_at > oldest}
    if recent:
        values = {
            "source": source.id,
            "tracker": source.tracker,
            "ids": [*recent],
            "moments": [*recent.values()],
        }
        await session.execute(_MARK_CHANGED, values)


_MARK_CHANGED = text("""
    WITH changed AS (
        SELECT epics.id, shown.at
        FROM unnest(CAST(:ids AS text[]), CAST(:moments AS timestamptz[])) AS shown (remote_id, at)
        JOIN epics ON epics.tracker = :tracker AND epics.remote_id = shown.remote_id
        WHERE epics.source_id = :source
            AND (epics.comments_read_at IS NULL OR epics.comments_read_at < shown.at)
            AND epics.comments_changed_at IS DISTINCT FROM shown.at
        ORDER BY epics.id FOR NO KEY UPDATE OF epics
    )
    UPDATE epics SET comments_changed_at = changed.at FROM changed WHERE epics.id = changed.id
""")


async def load_to_look_at(
    session: AsyncSession, source_id: int, oldest: datetime, limit: int
) -> list[ToLookAt]:
    """The epics of the source that are marked, at most `limit`: of each project the oldest change first, so
    that a project whose comments cannot be read holds up no other."""
    place = func.row_number().over(
        partition_by=EpicRow.project, order_by=(EpicRow.comments_changed_at, EpicRow.id)
    )
    rows = await session.execute(
        select(
            EpicRow.id,
            EpicRow.remote_id,
            EpicRow.key,
            EpicRow.project,
            EpicRow.comments_changed_at,
            EpicRow.comments_read_at,
            SourceRow.comments_cursor,
        )
        .join(SourceRow, SourceRow.id == EpicRow.source_id)
        .where(
            EpicRow.source_id == source_id,
            EpicRow.comments_changed_at.is_not(None),
            EpicRow.comments_changed_at > oldest,
            EpicRow.removed_at.is_(None),
        )
        .order_by(place, EpicRow.comments_changed_at, EpicRow.id)
        .limit(limit)
    )
    return [
        ToLookAt(
            id, EpicRef(remote, key), project, changed or oldest, max(filter(None, (oldest, read, cursor)))
        )
        for id, remote, key, project, changed, read, cursor in rows
    ]


async def mark_looked_at(
    session: AsyncSession, looked_at: Sequence[ToLookAt], until: datetime | None
) -> None:
    """Their comments are read, up to the last change of each; with `until`, up to then at most."""
    rows = {row.id: row for row in await lock_epics(session, [one.id for one in looked_at])}
    for one in looked_at:
        row, whole = rows.get(one.id), until is None or until >= one.changed_at
        if row is not None:
            row.comments_read_at = one.changed_at if whole else until
            if whole and row.comments_changed_at == one.changed_at:
                row.comments_changed_at = None


async def advance_comments_cursor(session: AsyncSession, source_id: int, begun_at: datetime) -> None:
    """All that had changed before a run that began then is looked at."""
    later = func.greatest(SourceRow.comments_cursor, begun_at - LAG)
    await session.execute(update(SourceRow).where(SourceRow.id == source_id).values(comments_cursor=later))
