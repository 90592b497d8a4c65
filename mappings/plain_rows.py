"""Rows of links, findings, notices and commands as plain values, for what only reads them: an object that the
session tracks costs several times as much, and a member of SQLAlchemy's own rows ten times."""

from __future__ import annotations

from collections import namedtuple
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from mappings.tables import FindingRow, LinkRow, NoticeRow, among_ids

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mappings.tables.base import Base


def columns_of(row: type[Base], *without: str) -> Sequence[Any]:
    """The columns of its table, but those left out. They name no class, so no object is made of them."""
    return [column for column in row.__table__.columns if column.key not in without]


LINK_COLUMNS = columns_of(LinkRow)
FINDING_COLUMNS = columns_of(FindingRow)
NOTICE_COLUMNS = columns_of(NoticeRow, "posted_document")


def _plain(name: str, columns: Sequence[Any]) -> Any:
    return namedtuple(name, [column.key for column in columns])


# They have the members of the rows, and may stand in their place.
PlainLink: Any = _plain("PlainLink", LINK_COLUMNS)
PlainFinding: Any = _plain("PlainFinding", FINDING_COLUMNS)
_Notice: Any = _plain("_Notice", NOTICE_COLUMNS)


class PlainNotice(_Notice):  # type: ignore[misc]
    __slots__ = ()
    comment_id_unknown = NoticeRow.comment_id_unknown


LINKS_OF_EPICS = select(*LINK_COLUMNS).where(among_ids(LinkRow.__table__.c.epic_id))
FINDINGS_OF_EPICS = select(*FINDING_COLUMNS).where(among_ids(FindingRow.__table__.c.epic_id))
